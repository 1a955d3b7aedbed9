//! Digest authentication (RFC 7616) for CONNECT; the computation is a library's.

use digest_auth::{AuthContext, HttpMethod, WwwAuthenticateHeader};

use super::{Challenge, Credentials};

/// The value of `Proxy-Authorization`, unless the challenge asks for something unknown.
pub fn answer(
    challenge: &Challenge,
    credentials: &Credentials,
    method: &'static str,
    uri: &str,
) -> Option<String> {
    let parameters: Vec<String> = challenge
        .parameters
        .iter()
        .map(|(name, value)| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
        .collect();
    let mut header = WwwAuthenticateHeader::parse(&format!("Digest {}", parameters.join(", "))).ok()?;
    let context = AuthContext::new_with_method(
        credentials.user.as_str(),
        credentials.password.as_str(),
        uri,
        Option::<&[u8]>::None,
        HttpMethod::from(method),
    );
    Some(header.respond(&context).ok()?.to_string())
}

/// Whether the proxy calls our answer stale rather than wrong: another nonce, the same password.
pub fn is_stale(challenge: &Challenge) -> bool {
    challenge
        .parameter("stale")
        .is_some_and(|stale| stale.eq_ignore_ascii_case("true"))
}

#[cfg(test)]
mod tests {
    use zeroize::Zeroizing;

    use super::*;

    #[test]
    fn the_answer_names_what_was_asked_and_hides_the_password() {
        let challenge = super::super::parse_challenges([
            "Digest realm=\"r\", nonce=\"n\", qop=\"auth\", algorithm=MD5, stale=TRUE",
        ]);
        let credentials = Credentials {
            user: "u".into(),
            password: Zeroizing::new("secret".into()),
        };
        let answer = answer(&challenge[0], &credentials, "CONNECT", "host:443").unwrap();
        for part in [
            "username=\"u\"",
            "realm=\"r\"",
            "nonce=\"n\"",
            "uri=\"host:443\"",
            "response=\"",
        ] {
            assert!(answer.contains(part), "{answer}");
        }
        assert!(!answer.contains("secret"));
        assert!(is_stale(&challenge[0]));
    }
}
