//! Names in URLs: percent-encoding of one file name and of a path, and the refusal of paths that climb out.

use super::TransportError;

/// Encodes one file name so that it stays one path segment: every byte outside `A-Z a-z 0-9 - _ . ~` is escaped,
/// `/` included. This is also how a delegated role is named in the trust folder.
pub fn encode_name(name: &str) -> String {
    encode(name, |byte| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~')
    })
}

/// Encodes a target path segment by segment. What RFC 3986 allows in a segment stays as it is, since servers exist
/// that compare paths without decoding them.
pub fn encode_path(path: &str) -> Result<String, TransportError> {
    check_path(path)?;
    Ok(encode(path, |byte| {
        byte.is_ascii_alphanumeric()
            || matches!(byte, b'-' | b'_' | b'.' | b'~' | b'/')
            || matches!(
                byte,
                b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
            )
            || matches!(byte, b':' | b'@')
    }))
}

/// Refuses a path with a `.` or `..` segment, which a URL parser would resolve before it is sent.
pub(crate) fn check_path(path: &str) -> Result<(), TransportError> {
    let climbs = path.split('/').any(|segment| segment == "." || segment == "..");
    if path.is_empty() || climbs || path.contains('\0') {
        return Err(TransportError::InvalidPath {
            path: path.to_owned(),
        });
    }
    Ok(())
}

fn encode(text: &str, plain: impl Fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if plain(byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte >> 4)]));
            out.push(char::from(b"0123456789ABCDEF"[usize::from(byte & 15)]));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_name_is_one_segment() {
        for (name, expected) in [
            ("targets", "targets"),
            ("?", "%3F"),
            ("#", "%23"),
            ("/delegatedrole", "%2Fdelegatedrole"),
            ("../delegatedrole", "..%2Fdelegatedrole"),
            ("ä b", "%C3%A4%20b"),
            ("100%", "100%25"),
        ] {
            assert_eq!(encode_name(name), expected);
        }
    }

    #[test]
    fn paths_keep_their_folders_and_never_climb() {
        for (path, expected) in [
            ("a/b c.txt", Some("a/b%20c.txt")),
            ("a/50%.txt", Some("a/50%25.txt")),
            ("q?x#y", Some("q%3Fx%23y")),
            ("a+b@c", Some("a+b@c")),
            ("a/../b", None),
            ("..", None),
            ("./a", None),
            ("", None),
            ("a\0b", None),
            ("..a/b..", Some("..a/b..")),
        ] {
            assert_eq!(encode_path(path).ok().as_deref(), expected, "{path:?}");
        }
    }
}
