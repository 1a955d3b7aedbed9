//! The Range header (RFC 9110, section 14): which bytes of a file a client wants.
//!
//! It refuses to work for a client that asks for silly things: too many ranges, or ranges that overlap into more than
//! the whole file, are answered with the whole file, as the specification allows.

/// Most ranges answered in one response.
pub(super) const RANGES_MAX: usize = 64;

/// What to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Selection {
    /// The whole file: no range, or none that we understand.
    Whole,
    /// These parts, each `(first byte, number of bytes)`, in the order asked for; never empty.
    Parts(Vec<(u64, u64)>),
    /// Nothing of what was asked for is in the file.
    Unsatisfiable,
}

/// Reads a Range header for a file of `length` bytes.
pub(super) fn select(header: &str, length: u64) -> Selection {
    let Some((unit, set)) = header.split_once('=') else {
        return Selection::Whole;
    };
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return Selection::Whole;
    }
    let mut parts = Vec::new();
    let mut seen = 0_usize;
    for spec in set.split(',') {
        let spec = spec.trim_matches([' ', '\t']);
        if spec.is_empty() {
            continue;
        }
        seen += 1;
        if seen > RANGES_MAX {
            return Selection::Whole;
        }
        match part(spec, length) {
            Ok(Some(part)) => parts.push(part),
            Ok(None) => {}
            Err(Malformed) => return Selection::Whole,
        }
    }
    if seen == 0 {
        return Selection::Whole;
    }
    if parts.is_empty() {
        return Selection::Unsatisfiable;
    }
    let wanted = parts
        .iter()
        .try_fold(0_u64, |sum, (_, bytes)| sum.checked_add(*bytes));
    if parts.len() > 1 && wanted.is_none_or(|wanted| wanted > length) {
        return Selection::Whole;
    }
    Selection::Parts(parts)
}

struct Malformed;

/// One range; none where it lies outside the file.
fn part(spec: &str, length: u64) -> Result<Option<(u64, u64)>, Malformed> {
    let (first, last) = spec.split_once('-').ok_or(Malformed)?;
    match (first.is_empty(), last.is_empty()) {
        (true, true) => Err(Malformed),
        // The last so many bytes.
        (true, false) => {
            let bytes = number(last)?.min(length);
            Ok((bytes > 0).then(|| (length - bytes, bytes)))
        }
        (false, _) => {
            let first = number(first)?;
            let last = if last.is_empty() { u64::MAX } else { number(last)? };
            if last < first {
                return Err(Malformed);
            }
            if first >= length {
                return Ok(None);
            }
            Ok(Some((first, last.min(length - 1) - first + 1)))
        }
    }
}

/// Digits only; a number too large for us lies behind the end of every file.
fn number(text: &str) -> Result<u64, Malformed> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Malformed);
    }
    Ok(text.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_what_the_specification_names() {
        let parts = |parts: &[(u64, u64)]| Selection::Parts(parts.to_vec());
        let check = |header: &str, length: u64, expected: Selection| {
            assert_eq!(select(header, length), expected, "{header} of {length}");
        };
        check("bytes=0-0", 10, parts(&[(0, 1)]));
        check("bytes=0-", 10, parts(&[(0, 10)]));
        check("bytes=3-5", 10, parts(&[(3, 3)]));
        check("BYTES=3-500", 10, parts(&[(3, 7)]));
        check("bytes=-4", 10, parts(&[(6, 4)]));
        check("bytes=-400", 10, parts(&[(0, 10)]));
        check("bytes=0-1, 8-9", 10, parts(&[(0, 2), (8, 2)]));
        check("bytes=0-1,20-30", 10, parts(&[(0, 2)]));
        check("bytes=10-", 10, Selection::Unsatisfiable);
        check("bytes=-0", 10, Selection::Unsatisfiable);
        check("bytes=0-", 0, Selection::Unsatisfiable);
        check("bytes=99999999999999999999999-", 10, Selection::Unsatisfiable);
        check("bytes=5-3", 10, Selection::Whole);
        check("bytes=", 10, Selection::Whole);
        check("bytes=a-b", 10, Selection::Whole);
        check("bytes=--1", 10, Selection::Whole);
        check("bytes=+1-2", 10, Selection::Whole);
        check("items=0-1", 10, Selection::Whole);
        check("0-1", 10, Selection::Whole);
        // Overlapping into more than the file itself.
        check("bytes=0-9,0-9", 10, Selection::Whole);
        let many: Vec<String> = (0..=RANGES_MAX).map(|at| format!("{at}-{at}")).collect();
        check(&format!("bytes={}", many.join(",")), 1000, Selection::Whole);
    }

    proptest! {
        #[test]
        fn never_leaves_the_file(header in "bytes=[-,0-9 ]{0,40}", length in 0_u64..200) {
            if let Selection::Parts(parts) = select(&header, length) {
                prop_assert!(!parts.is_empty() && parts.len() <= RANGES_MAX);
                for (start, bytes) in parts {
                    prop_assert!(bytes > 0 && start + bytes <= length);
                }
            }
        }
    }
}
