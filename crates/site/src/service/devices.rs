//! Browsers in which a user signed in before, told by a cookie that they keep ("device cookies", OWASP).
//!
//! Who knows the name of a user can have that user locked out, again and again, by guessing. A browser in which the user
//! signed in has a counter of its own that guesses from elsewhere do not move. The cookie opens nothing: it says for whom
//! the counter is, and this site said it.

use aws_lc_rs::constant_time::verify_slices_are_equal;

use super::sign_in::{hash_of, random_word};
use super::{ServiceError, SiteService};

/// Sets this fingerprint apart from those of anything else.
const PURPOSE: &[u8] = b"device cookie";

impl SiteService {
    /// What is stored of a browser, if its cookie was given to this user here.
    pub(super) fn known_device(&self, name: &str, cookie: Option<&str>) -> Option<String> {
        let (nonce, tag) = cookie?.split_once('.')?;
        let expected = self.device_tag(name, nonce);
        verify_slices_are_equal(tag.as_bytes(), expected.as_bytes()).ok()?;
        Some(hash_of(nonce))
    }

    /// The cookie of a browser in which a user has just signed in: the one it has, or a new one.
    pub(super) fn device_cookie(&self, name: &str, before: Option<&str>) -> Result<String, ServiceError> {
        if let (Some(before), Some(_)) = (before, self.known_device(name, before)) {
            return Ok(before.to_owned());
        }
        let nonce = random_word()?;
        Ok(format!("{nonce}.{}", self.device_tag(name, &nonce)))
    }

    fn device_tag(&self, name: &str, nonce: &str) -> String {
        self.fingerprint(&[PURPOSE, name.as_bytes(), nonce.as_bytes()])
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use domain::access::Access;
    use protocol::api::AccountRequest;

    use super::super::Actor;

    const PASSWORD: &str = "four words are enough";

    #[tokio::test]
    async fn guesses_from_elsewhere_do_not_lock_a_known_browser_out() {
        let (_folder, service, clock) = crate::testing::service_with("");
        for name in ["alice", "bob"] {
            let request = AccountRequest {
                name: name.into(),
                role: "read-only-analyst".into(),
                scope: None,
                password: PASSWORD.into(),
            };
            let local = Actor::user("root", Access::FULL);
            service.add_account(request, &local).await.unwrap();
        }
        let (home, elsewhere): (IpAddr, IpAddr) =
            ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let try_it = async |name: &str, password: &str, address, device: Option<&str>| {
            service.sign_in(name, password, address, device).await.ok()
        };
        let device = try_it("alice", PASSWORD, home, None).await.unwrap();
        let device = device.device.unwrap();
        let guess = async |device: Option<&str>| {
            for _ in 0..7 {
                clock.advance(Duration::from_secs(20));
                assert!(try_it("alice", "a guess", elsewhere, device).await.is_none());
            }
        };
        guess(None).await;
        assert!(
            try_it("alice", PASSWORD, home, None).await.is_none(),
            "it is locked"
        );
        // Not for the browser, whose cookie stays as it is.
        let again = try_it("alice", PASSWORD, home, Some(&device)).await.unwrap();
        assert_eq!(again.device.as_ref(), Some(&device));
        assert!(
            try_it("alice", PASSWORD, home, None).await.is_none(),
            "that opened nothing for others"
        );
        // Neither one of somebody else's nor one that was made up counts.
        let of_bob = try_it("bob", PASSWORD, home, None).await.unwrap();
        let of_bob = of_bob.device.unwrap();
        let made_up = format!("{}.{}", "0".repeat(64), "0".repeat(64));
        for other in [of_bob.as_str(), &made_up, "", ".", &device[..64]] {
            assert!(
                try_it("alice", PASSWORD, home, Some(other)).await.is_none(),
                "{other}"
            );
        }
        // Guesses in the browser itself lock it, and it alone.
        guess(Some(&device)).await;
        assert!(try_it("alice", PASSWORD, home, Some(&device)).await.is_none());
        assert!(try_it("bob", PASSWORD, home, Some(&of_bob)).await.is_some());
        // A new password ends every lock.
        let local = Actor::user("root", Access::FULL);
        service
            .set_account_password("alice", PASSWORD, &local)
            .await
            .unwrap();
        assert!(try_it("alice", PASSWORD, home, Some(&device)).await.is_some());
        assert!(try_it("alice", PASSWORD, home, None).await.is_some());
    }
}
