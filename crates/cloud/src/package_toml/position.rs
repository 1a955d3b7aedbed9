//! Where a character of a TOML string stands in the file, so that an error inside a rule points into `package.toml`.
//!
//! It refuses to guess: past the end of the string the answer is the end of the string.

/// The byte offset in `source` of the character at `line` and `column` (both from 1) of the string value that is
/// written at `start..end`.
pub(super) fn inside(source: &str, start: usize, end: usize, line: u32, column: u32) -> usize {
    let Some(raw) = source.get(start..end) else {
        return start;
    };
    let delimiter = ["\"\"\"", "'''", "\"", "'"]
        .into_iter()
        .find(|quotes| raw.starts_with(quotes));
    let Some(delimiter) = delimiter else { return start };
    let escapes = delimiter.starts_with('"');
    let mut at = delimiter.len();
    if delimiter.len() == 3 {
        // The line break right after the quotes is not part of the text.
        at += if raw[at..].starts_with("\r\n") {
            2
        } else {
            usize::from(raw[at..].starts_with('\n'))
        };
    }
    let last = raw.len().saturating_sub(delimiter.len()).max(at);
    let (mut now_line, mut now_column) = (1, 1);
    while at < last {
        let rest = &raw[at..last];
        let Some(first) = rest.chars().next() else { break };
        let reached = (now_line, now_column) >= (line, column);
        if escapes && first == '\\' {
            let (bytes, visible) = escape(rest);
            if reached && visible {
                break;
            }
            at += bytes;
            now_column += u32::from(visible);
            continue;
        }
        if reached {
            break;
        }
        at += first.len_utf8();
        if first == '\n' {
            (now_line, now_column) = (now_line + 1, 1);
        } else {
            now_column += 1;
        }
    }
    start + at.min(last)
}

/// How long an escape is and whether it stands for a character.
fn escape(rest: &str) -> (usize, bool) {
    let Some(second) = rest[1..].chars().next() else {
        return (1, true);
    };
    let bytes = match second {
        'x' => 4,
        'u' => 6,
        'U' => 10,
        // A backslash at the end of a line swallows the white space that follows.
        c if c.is_whitespace() => {
            let text = rest[1..].trim_start();
            return (rest.len() - text.len(), false);
        }
        c => 1 + c.len_utf8(),
    };
    (bytes.min(rest.len()), true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_at_the_character_meant() {
        let check = |value: &str, line: u32, column: u32, expected: &str| {
            let source = format!("rule = {value}\n");
            let at = inside(&source, 7, 7 + value.len(), line, column);
            assert!(
                source[at..].starts_with(expected),
                "{value} {line}:{column} gives {:?}",
                &source[at..]
            );
        };
        check("\"abc\"", 1, 3, "c");
        check("'abc'", 1, 1, "abc");
        check("\"a\\\"b\\u0041c\"", 1, 5, "c");
        check("'''\nab\ncd'''", 2, 2, "d");
        check("\"\"\"ab\\\n   cd\"\"\"", 1, 3, "cd");
        check("\"äöx\"", 1, 3, "x");
        check("\"abc\"", 9, 9, "\"\n");
        check("\"\"", 1, 1, "\"");
    }
}
