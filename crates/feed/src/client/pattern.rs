//! Which targets a delegation covers: shell patterns per path segment, hash prefixes, succinct hash bins.
//!
//! The specification means Unix shell patterns: `*`, `?` and `[…]` never cross a `/`, and a bracket that is not
//! closed is an ordinary character. Nothing here can fail, since a pattern that matched nothing by error would let a
//! later, less trusted role answer.

use sha2::{Digest, Sha256};
use sigstore_tuf::DelegatedRole;

/// A target path with what is needed to ask many delegations about it.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) path: &'a str,
    digest: [u8; 32],
    digest_hex: String,
}

impl<'a> Wanted<'a> {
    pub(crate) fn new(path: &'a str) -> Self {
        let digest: [u8; 32] = Sha256::digest(path.as_bytes()).into();
        Self {
            path,
            digest,
            digest_hex: hex::encode(digest),
        }
    }

    /// Whether `role` may speak about this target.
    pub(crate) fn is_delegated_to(&self, role: &DelegatedRole) -> bool {
        if let Some(prefixes) = &role.path_hash_prefixes {
            return prefixes
                .iter()
                .any(|prefix| self.digest_hex.starts_with(prefix.as_str()));
        }
        role.paths
            .iter()
            .flatten()
            .any(|pattern| matches(pattern, self.path))
    }

    /// The bin of `2^bits` that the leading bits of the path's digest choose.
    pub(crate) fn bin(&self, bits: u32) -> u32 {
        let leading = u32::from_be_bytes([self.digest[0], self.digest[1], self.digest[2], self.digest[3]]);
        leading.checked_shr(32 - bits).unwrap_or(0)
    }
}

/// Whether a path matches a pattern, segment by segment.
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let mut patterns = pattern.split('/');
    let mut segments = path.split('/');
    loop {
        match (patterns.next(), segments.next()) {
            (None, None) => return true,
            (Some(pattern), Some(segment)) => {
                let pattern: Vec<char> = pattern.chars().collect();
                let segment: Vec<char> = segment.chars().collect();
                if !segment_matches(&pattern, &segment) {
                    return false;
                }
            }
            _ => return false,
        }
    }
}

/// Greedy matching with one point to return to: linear in the product of the two lengths at worst, never exponential.
fn segment_matches(pattern: &[char], text: &[char]) -> bool {
    let (mut p, mut t) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    while t < text.len() {
        if pattern.get(p) == Some(&'*') {
            retry = Some((p, t));
            p += 1;
            continue;
        }
        if let Some(width) = one_matches(&pattern[p..], text[t]) {
            p += width;
            t += 1;
            continue;
        }
        match retry {
            Some((star, from)) => {
                retry = Some((star, from + 1));
                p = star + 1;
                t = from + 1;
            }
            None => return false,
        }
    }
    pattern[p..].iter().all(|&c| c == '*')
}

/// How many pattern characters match this one character, if they do.
fn one_matches(pattern: &[char], c: char) -> Option<usize> {
    match pattern.first()? {
        '?' => Some(1),
        '[' => match bracket(pattern) {
            Some((members, negated, width)) => (contains(members, c) != negated).then_some(width),
            None => (c == '[').then_some(1),
        },
        &literal => (literal == c).then_some(1),
    }
}

/// The members of a bracket expression at the start of `pattern`, whether it is negated, and its width.
fn bracket(pattern: &[char]) -> Option<(&[char], bool, usize)> {
    let negated = pattern.get(1) == Some(&'!');
    let start = if negated { 2 } else { 1 };
    // A `]` right after the opening is a member, not the end.
    let end = pattern.iter().skip(start + 1).position(|&c| c == ']')? + start + 1;
    Some((&pattern[start..end], negated, end + 1))
}

fn contains(members: &[char], c: char) -> bool {
    let mut i = 0;
    while i < members.len() {
        if i + 2 < members.len() && members[i + 1] == '-' {
            if (members[i]..=members[i + 2]).contains(&c) {
                return true;
            }
            i += 3;
        } else {
            if members[i] == c {
                return true;
            }
            i += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shell_patterns() {
        for (pattern, path, expected) in [
            ("*", "a", true),
            ("*", "a/b", false),
            ("*/*", "a/b", true),
            ("targets/*.tgz", "targets/foo.tgz", true),
            ("targets/*.tgz", "targets/foo.txt", false),
            ("foo-version-?.tgz", "foo-version-a.tgz", true),
            ("foo-version-?.tgz", "foo-version-alpha.tgz", false),
            ("a**b", "axxb", true),
            ("**", "a/b", false),
            ("[ab]x", "bx", true),
            ("[!ab]x", "bx", false),
            ("[!ab]x", "cx", true),
            ("[a-c]x", "bx", true),
            ("[]]", "]", true),
            ("a[b", "a[b", true),
            ("a[b", "ab", false),
            ("[]", "[]", true),
            ("*.txt", ".txt", true),
            (
                "*a*a*a*a*a*a*a*b",
                "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
                false,
            ),
            ("", "", true),
            ("ä?", "äö", true),
            ("A", "a", false),
            ("a/", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern:?} against {path:?}");
        }
    }

    #[test]
    fn bins_are_the_leading_bits() {
        let wanted = Wanted::new("a/path");
        let first = u32::from(wanted.digest[0]);
        assert_eq!(wanted.bin(8), first);
        assert_eq!(wanted.bin(1), first >> 7);
        assert_eq!(
            wanted.bin(32),
            u32::from_be_bytes(wanted.digest[..4].try_into().unwrap())
        );
    }
}
