//! `Proxy-Authenticate`: one or more challenges per line (RFC 9110, section 11.6.1).

/// Most characters of a header value that are looked at.
const VALUE_MAX: usize = 16 * 1024;
/// Most challenges of one answer, and parameters of one challenge.
const ITEMS_MAX: usize = 32;

/// One way to authenticate that the proxy offers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    /// Scheme in lower case: `basic`, `digest`, `ntlm`, `negotiate`.
    pub scheme: String,
    /// A single value without a name, as NTLM and Negotiate use.
    pub token: Option<String>,
    /// Named parameters, names in lower case.
    pub parameters: Vec<(String, String)>,
}

impl Challenge {
    /// A parameter by name.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(found, _)| found == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// Reads the values of every `Proxy-Authenticate` line. What cannot be read is left out.
pub fn parse<'a>(values: impl IntoIterator<Item = &'a str>) -> Vec<Challenge> {
    let mut challenges = Vec::new();
    for value in values {
        if value.len() <= VALUE_MAX {
            parse_line(value, &mut challenges);
        }
    }
    challenges.truncate(ITEMS_MAX);
    challenges
}

fn parse_line(value: &str, challenges: &mut Vec<Challenge>) {
    for item in items(value) {
        let item = item.trim();
        if item.is_empty() {
            continue;
        }
        let name_end = item.find(|c: char| !is_token(c)).unwrap_or(item.len());
        let (name, rest) = item.split_at(name_end);
        let rest_trimmed = rest.trim_start();
        let is_parameter = rest_trimmed.starts_with('=') && !name.is_empty();
        if is_parameter && let Some(challenge) = challenges.last_mut() {
            push(challenge, item);
            continue;
        }
        if name.is_empty() || challenges.len() >= ITEMS_MAX {
            continue;
        }
        let mut challenge = Challenge {
            scheme: name.to_ascii_lowercase(),
            token: None,
            parameters: Vec::new(),
        };
        let first = rest_trimmed.trim_end();
        if !first.is_empty() {
            match is_pair(first) {
                true => push(&mut challenge, first),
                false => challenge.token = Some(first.to_owned()),
            }
        }
        challenges.push(challenge);
    }
}

/// `name=value` and not a base64 token that happens to end in `=`.
fn is_pair(item: &str) -> bool {
    let Some((name, value)) = item.split_once('=') else {
        return false;
    };
    !name.is_empty() && name.trim_end().chars().all(is_token) && !value.is_empty() && value != "="
}

fn push(challenge: &mut Challenge, item: &str) {
    let Some((name, value)) = item.split_once('=') else {
        return;
    };
    if challenge.parameters.len() < ITEMS_MAX {
        let value = unquote(value.trim());
        challenge
            .parameters
            .push((name.trim().to_ascii_lowercase(), value));
    }
}

fn unquote(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let mut text = String::new();
    let mut characters = inner.chars();
    while let Some(c) = characters.next() {
        match c {
            '"' => break,
            '\\' => text.extend(characters.next()),
            other => text.push(other),
        }
    }
    text
}

fn is_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c)
}

/// Splits at commas outside quotes.
fn items(value: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ',' if !quoted => {
                parts.push(&value[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&value[start..]);
    parts
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn challenges_as_proxies_send_them() {
        let lines = [
            "Negotiate",
            "NTLM TlRMTVNTUAACAAAA==",
            "Basic realm=\"Squid, the \\\"proxy\\\"\", Digest realm=\"r\", qop=\"auth,auth-int\", nonce=abc, algorithm=SHA-256",
        ];
        let found = parse(lines);
        let schemes: Vec<&str> = found.iter().map(|challenge| challenge.scheme.as_str()).collect();
        assert_eq!(schemes, ["negotiate", "ntlm", "basic", "digest"]);
        assert_eq!(found[1].token.as_deref(), Some("TlRMTVNTUAACAAAA=="));
        assert_eq!(found[2].parameter("realm"), Some("Squid, the \"proxy\""));
        assert_eq!(found[3].parameter("qop"), Some("auth,auth-int"));
        assert_eq!(found[3].parameter("algorithm"), Some("SHA-256"));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_everything_is_bounded(lines in proptest::collection::vec(".{0,300}", 0..40)) {
            let found = parse(lines.iter().map(String::as_str));
            prop_assert!(found.len() <= ITEMS_MAX);
            prop_assert!(found.iter().all(|challenge| challenge.parameters.len() <= ITEMS_MAX));
        }

        #[test]
        fn near_valid_lines_do_not_panic(line in "(basic|ntlm|digest)? ?[a-z]{0,4}=?\"?[\\\\a-z,=\" ]{0,40}") {
            parse([line.as_str()]);
        }
    }
}
