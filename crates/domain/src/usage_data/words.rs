//! Words that may leave: whatever looks like an address, a path, a host or a person's name is kept back.

/// Longest word of a report, in characters.
pub const WORD_CHARACTERS_MAX: usize = 200;
/// Parts of a version that are told: with four, a version could be an address.
const VERSION_PARTS: usize = 3;

/// A version of digits and dots, cut to three parts, leading zeros taken off.
pub fn version(text: &str) -> Option<String> {
    let parts: Vec<&str> = text.split('.').collect();
    let sound = |part: &&str| (1..=9).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    if parts.len() > 6 || !parts.iter().all(sound) {
        return None;
    }
    let told: Vec<String> = parts
        .iter()
        .take(VERSION_PARTS)
        .map(|part| match part.trim_start_matches('0') {
            "" => "0".to_owned(),
            digits => digits.to_owned(),
        })
        .collect();
    Some(told.join("."))
}

/// The name of a piece of hardware, if nothing in it looks like an address, a path or a host.
pub fn hardware(text: &str) -> Option<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let plain = |c: char| c.is_ascii_alphanumeric() || " ()@.+-,".contains(c);
    let sound = (1..=64).contains(&text.len())
        && text.chars().all(plain)
        && text
            .split(' ')
            .all(|token| token == "@" || telling(token).is_none())
        && !text.split([' ', '-', '(', ')']).any(is_serial);
    sound.then_some(text)
}

/// Longer than any model number, and with digits: somebody's serial number.
fn is_serial(part: &str) -> bool {
    part.len() >= 9 && part.bytes().filter(u8::is_ascii_digit).count() >= 3
}

/// A text without paths, addresses, hosts, quoted parts and the names given: what is taken out leaves a word
/// in angle brackets.
pub fn scrub(text: &str, names: &[&str]) -> String {
    let mut scrubbed: Vec<String> = Vec::new();
    for token in unquoted(text).split_whitespace() {
        let bare = token
            .trim_matches(|c: char| !c.is_alphanumeric() && c != '/' && c != '\\' && c != '<' && c != '>');
        let named = names
            .iter()
            .any(|name| !name.is_empty() && contains_name(token, name));
        scrubbed.push(match telling(bare) {
            _ if token.starts_with('<') && token.ends_with('>') => token.to_owned(),
            Some(what) => what.to_owned(),
            None if named => "<name>".to_owned(),
            None => token.to_owned(),
        });
    }
    scrubbed.join(" ").chars().take(WORD_CHARACTERS_MAX).collect()
}

fn contains_name(token: &str, name: &str) -> bool {
    token.to_lowercase().contains(&name.to_lowercase())
}

/// Replaces everything between quotation marks.
fn unquoted(text: &str) -> String {
    let mut kept = String::new();
    let mut open: Option<char> = None;
    for c in text.chars() {
        match open {
            Some(mark) if c == mark => open = None,
            Some(_) => {}
            None => {
                let closing = match c {
                    '"' | '`' => Some(c),
                    '\u{201c}' => Some('\u{201d}'),
                    '\u{2018}' => Some('\u{2019}'),
                    // An apostrophe inside a word opens nothing.
                    '\'' if !kept.ends_with(char::is_alphanumeric) => Some(c),
                    _ => None,
                };
                match closing {
                    Some(mark) => {
                        open = Some(mark);
                        kept.push_str(" <quoted> ");
                    }
                    None => kept.push(c),
                }
            }
        }
    }
    kept
}

/// What a token would tell, if it tells anything.
fn telling(token: &str) -> Option<&'static str> {
    if token.contains('/') || token.contains('\\') {
        return Some("<path>");
    }
    let at = token
        .char_indices()
        .any(|(at, c)| c == '@' && at > 0 && at + 1 < token.len());
    if at || token.contains("::") || token.matches(':').count() >= 2 {
        return Some("<address>");
    }
    let head = token.split(':').next().unwrap_or_default();
    let labels: Vec<&str> = head.split('.').collect();
    let digits = |label: &&str| !label.is_empty() && label.bytes().all(|byte| byte.is_ascii_digit());
    if labels.len() == 4 && labels.iter().all(digits) {
        return Some("<address>");
    }
    let hex = |label: &str| label.len() == 2 && label.bytes().all(|byte| byte.is_ascii_hexdigit());
    let hardware: Vec<&str> = token.split('-').collect();
    if hardware.len() == 6 && hardware.iter().all(|part| hex(part)) {
        return Some("<address>");
    }
    let label = |label: &&str| {
        !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let named = labels
        .last()
        .is_some_and(|last| last.chars().count() >= 2 && last.chars().all(char::is_alphabetic));
    if labels.len() >= 2 && labels.iter().all(label) && named {
        return Some("<name>");
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn versions_have_three_parts_at_most() {
        for (text, expected) in [
            ("10.0.22631.2861", Some("10.0.22631")),
            ("5.00.9110.1000", Some("5.0.9110")),
            ("12", Some("12")),
            ("192.168.1.7", Some("192.168.1")),
            ("", None),
            ("1..2", None),
            ("1.2-plant7", None),
            ("fe80::1", None),
        ] {
            assert_eq!(version(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn hardware_has_a_name_and_nobody_elses() {
        for sound in [
            "Intel(R) Core(TM) i5-1240P",
            "AMD EPYC 7B13",
            "Intel Xeon @ 2.20GHz",
            "Core i9-13900HX",
        ] {
            assert_eq!(hardware(sound).as_deref(), Some(sound));
        }
        for telling in [
            "10.1.2.3",
            "cpu of host7.plant.example",
            "jo@example.com",
            "/dev/cpu",
            "00-11-22-33-44-55",
            "fe80::1",
            "SN0123456789",
            "",
            "caf\u{e9}",
        ] {
            assert_eq!(hardware(telling), None, "{telling}");
        }
    }

    #[test]
    fn scrubbed_texts_keep_what_failed_and_no_names() {
        let names = ["PLANT7SRV", "Plant 7", "P07"];
        for (text, expected) in [
            (
                "index out of bounds: the len is 3",
                "index out of bounds: the len is 3",
            ),
            (
                "cannot open /srv/tidegate/site.db: denied",
                "cannot open <path> denied",
            ),
            ("no route to 10.1.2.3:443", "no route to <address>"),
            ("lookup of proxy.plant7.example failed", "lookup of <name> failed"),
            ("user jo@example.com refused", "user <address> refused"),
            ("value \"secret words\" is odd", "value <quoted> is odd"),
            ("plant7srv answered", "<name> answered"),
            ("C:\\Users\\jo", "<path>"),
            (
                "called `Option::unwrap()` on a `None` value",
                "called <quoted> on a <quoted> value",
            ),
            ("fe80::1%eth0 down", "<address> down"),
        ] {
            assert_eq!(scrub(text, &names), expected, "{text}");
        }
        assert!(scrub(&"x ".repeat(1000), &[]).chars().count() <= WORD_CHARACTERS_MAX);
    }

    proptest! {
        #[test]
        fn nothing_planted_survives(before in "[a-z ]{0,20}", after in "[a-z ]{0,20}", octets in any::<[u8; 4]>(), name in "[a-z]{3,8}") {
            let [a, b, c, d] = octets;
            for planted in [
                format!("{a}.{b}.{c}.{d}"),
                format!("{name}@{name}.example"),
                format!("/home/{name}/x"),
                format!("{name}.plant.example"),
                format!("\"{name} x\""),
            ] {
                let text = format!("{before} {planted} {after}");
                let scrubbed = scrub(&text, &[]);
                prop_assert!(!scrubbed.contains(&planted), "{scrubbed}");
                prop_assert_eq!(hardware(&format!("x {planted}")), None);
            }
        }

        #[test]
        fn odd_texts_do_no_harm(text in any::<String>()) {
            let scrubbed = scrub(&text, &["x"]);
            prop_assert!(scrubbed.chars().count() <= WORD_CHARACTERS_MAX);
            let _ = (version(&text), hardware(&text));
        }
    }
}
