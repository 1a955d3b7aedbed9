//! What a browser says of a request: cookies, and where a form comes from.

use http::header::{COOKIE, HOST, ORIGIN};
use http::{HeaderMap, Uri};

/// Host and port that a request is for. HTTP/2 has them in its address, HTTP/1.1 in a header, and where both are there the
/// address counts (RFC 9112, 3.2.2).
pub fn authority<'a>(headers: &'a HeaderMap, uri: &'a Uri) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(HOST).and_then(|host| host.to_str().ok()),
    }
}

/// Browsers say from which page a form comes; one that says nothing is left to the word in the form.
pub fn is_same_origin(headers: &HeaderMap, uri: &Uri) -> bool {
    let text = |name: &http::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let site = headers
        .get("sec-fetch-site")
        .is_none_or(|site| site == "same-origin" || site == "none");
    let origin = match (text(&ORIGIN), authority(headers, uri)) {
        (Some(origin), host) => host.is_some_and(|host| origin.strip_prefix("https://") == Some(host)),
        (None, _) => true,
    };
    site && origin
}

/// What a cookie holds.
pub fn cookie_named(headers: &HeaderMap, wanted: &str) -> Option<String> {
    headers
        .get_all(COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|text| text.split(';'))
        .find_map(|pair| {
            let (name, value) = pair.trim().split_once('=')?;
            (name == wanted && !value.is_empty()).then(|| value.to_owned())
        })
}

/// A path of this console and nothing else: `//host` and `/\host` would lead away, and so would `/`, a tab and `/host`:
/// browsers leave out tabs and ends of lines.
pub fn own_path(to: &str) -> &str {
    let odd = |c: char| c == '\\' || c.is_control();
    let inside = to.starts_with('/') && !to.starts_with("//") && !to.contains(odd);
    if inside { to } else { "/" }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_redirect_stays_here() {
        for (to, expected) in [
            ("/updates?all=1", "/updates?all=1"),
            ("", "/"),
            ("//evil.example", "/"),
            ("/\\evil.example", "/"),
            ("https://evil.example", "/"),
            ("/\t/evil.example", "/"),
            ("/a\r\nSet-Cookie: x", "/"),
            ("/\t/evil.example", "/"),
        ] {
            assert_eq!(own_path(to), expected, "{to:?}");
        }
    }

    #[test]
    fn cookies_are_found_among_others() {
        let mut headers = HeaderMap::new();
        headers.insert(COOKIE, HeaderValue::from_static("a=b; __Host-tidegate=abc; c=d"));
        assert_eq!(cookie_named(&headers, "__Host-tidegate").as_deref(), Some("abc"));
        headers.insert(COOKIE, HeaderValue::from_static("x__Host-tidegate=abc"));
        assert_eq!(cookie_named(&headers, "__Host-tidegate"), None);
    }

    #[test]
    fn forms_of_other_sites_are_told_by_what_browsers_say() {
        let check = |pairs: &[(&'static str, &'static str)], expected| {
            let mut headers = HeaderMap::new();
            for (name, value) in pairs {
                headers.insert(*name, HeaderValue::from_static(value));
            }
            // HTTP/1.1 has the host in a header, HTTP/2 in the address.
            let uri = match headers.contains_key(HOST) {
                true => Uri::from_static("/sign-in"),
                false => Uri::from_static("https://two.example:1/sign-in"),
            };
            assert_eq!(is_same_origin(&headers, &uri), expected, "{pairs:?}");
        };
        check(&[], true);
        check(&[("host", "s:1"), ("origin", "https://s:1")], true);
        check(&[("host", "s:1"), ("origin", "https://evil.example")], false);
        check(&[("host", "s:1"), ("origin", "null")], false);
        check(&[("origin", "https://two.example:1")], true);
        check(&[("origin", "https://evil.example")], false);
        check(&[("sec-fetch-site", "cross-site")], false);
        check(&[("sec-fetch-site", "same-site")], false);
    }
}
