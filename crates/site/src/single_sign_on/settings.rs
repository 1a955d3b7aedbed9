//! `[oidc]` of `tidegate.toml`: the provider of single sign-on, and who gets which role. The client's secret is not in
//! it: it names a file of `secrets/`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use domain::access::{Role, Scope};
use jiff::Timestamp;
use serde::Deserialize;
use url::Url;

use crate::alert_settings::{Refused, refused, secret_name};

/// Most scopes, and most values with a role.
const ENTRIES_MAX: usize = 200;
/// Longest name or value.
const WORD_BYTES_MAX: usize = 256;

/// The provider, and what its words mean here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OidcSettings {
    /// Who vouches, exactly as the provider calls itself.
    pub issuer: String,
    /// What the provider calls this site.
    pub client_id: String,
    /// File of `secrets/` with the client's secret; none for a public client.
    pub client_secret: Option<String>,
    /// When the provider stops taking it, as far as it is known here.
    pub client_secret_expires: Option<Timestamp>,
    /// Certificates (PEM) trusted for the provider beside the platform's.
    pub ca: Option<PathBuf>,
    /// What is asked for.
    pub scopes: Vec<String>,
    /// Claim with the name of a user.
    pub name_claim: String,
    /// Claim whose values give a role; dots lead into nested claims.
    pub roles_claim: String,
    /// Role by value.
    pub roles: BTreeMap<String, Role>,
    /// Scope of everybody who comes this way.
    pub scope: Scope,
}

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct OidcTable {
    issuer: String,
    client_id: String,
    client_secret: Option<String>,
    client_secret_expires: Option<String>,
    ca: Option<PathBuf>,
    scopes: Option<Vec<String>>,
    name_claim: Option<String>,
    roles_claim: Option<String>,
    #[serde(default)]
    roles: BTreeMap<String, String>,
    scope: Option<String>,
}

impl OidcTable {
    /// Validates; relative names of certificates are those of files in `folder`.
    pub(crate) fn validated(self, folder: &Path) -> Result<OidcSettings, Refused> {
        let is_issuer = Url::parse(&self.issuer).is_ok_and(|url| {
            is_private_way(&url)
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        });
        if !is_issuer {
            // The value is not repeated: it may hold a password.
            return refused(
                "oidc.issuer",
                "(not shown)",
                "write the provider's https:// address without user, query and fragment; http:// is for this machine only",
            );
        }
        if !is_word(&self.client_id) {
            return refused(
                "oidc.client_id",
                &self.client_id,
                "write the name under which the provider knows this site, 1 to 256 printable ASCII characters",
            );
        }
        if let Some(name) = &self.client_secret {
            secret_name("oidc.client_secret", name)?;
        }
        let client_secret_expires = match &self.client_secret_expires {
            None => None,
            Some(text) => match (end_of_day(text), &self.client_secret) {
                (Some(at), Some(_)) => Some(at),
                _ => {
                    return refused(
                        "oidc.client_secret_expires",
                        text,
                        "write a date such as \"2027-06-30\", beside client_secret",
                    );
                }
            },
        };
        let scopes = self
            .scopes
            .unwrap_or_else(|| ["openid", "profile", "email"].map(str::to_owned).to_vec());
        let plain = |scope: &String| is_word(scope) && !scope.contains([' ', '"', '\\']);
        if scopes.len() > ENTRIES_MAX || !scopes.iter().all(plain) || !scopes.iter().any(|s| s == "openid") {
            return refused(
                "oidc.scopes",
                &scopes.join(" "),
                "write scopes without spaces, \"openid\" among them",
            );
        }
        let claim = |key, given: Option<String>, usual: &str| match given {
            None => Ok(usual.to_owned()),
            Some(name) if is_word(&name) => Ok(name),
            Some(name) => refused(key, &name, "write the name of a claim, such as \"roles\""),
        };
        let name_claim = claim("oidc.name_claim", self.name_claim, "preferred_username")?;
        let roles_claim = claim("oidc.roles_claim", self.roles_claim, "roles")?;
        if self.roles.is_empty() || self.roles.len() > ENTRIES_MAX {
            return refused(
                "oidc.roles",
                &self.roles.len().to_string(),
                "write 1 to 200 lines such as \"site-admins\" = \"operations-administrator\"; nobody else is let in",
            );
        }
        let mut roles = BTreeMap::new();
        for (value, role) in self.roles {
            match role.parse() {
                Ok(known) => roles.insert(value, known),
                Err(problem) => return Err(("oidc.roles", role, problem)),
            };
        }
        let scope = match self.scope.as_deref().map(str::parse) {
            None => Scope::Default,
            Some(Ok(scope)) => scope,
            Some(Err(problem)) => {
                return Err(("oidc.scope", self.scope.unwrap_or_default(), problem));
            }
        };
        Ok(OidcSettings {
            issuer: self.issuer,
            client_id: self.client_id,
            client_secret: self.client_secret,
            client_secret_expires,
            ca: self.ca.map(|ca| folder.join(ca)),
            scopes,
            name_claim,
            roles_claim,
            roles,
            scope,
        })
    }
}

/// The first moment after this day, in UTC: providers say days.
fn end_of_day(text: &str) -> Option<Timestamp> {
    let day: jiff::civil::Date = text.parse().ok()?;
    let next = day.tomorrow().ok()?.to_zoned(jiff::tz::TimeZone::UTC).ok()?;
    Some(next.timestamp())
}

fn is_word(text: &str) -> bool {
    (1..=WORD_BYTES_MAX).contains(&text.len()) && text.chars().all(|c| c.is_ascii_graphic() || c == ' ')
}

/// Whether nobody on the way can read or change what goes there: HTTPS, or a host that is this machine.
pub(crate) fn is_private_way(url: &Url) -> bool {
    let loopback = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => return false,
    };
    url.scheme() == "https" || (url.scheme() == "http" && loopback)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn parse(oidc: &str) -> Result<Option<OidcSettings>, String> {
        let text = format!("[feed]\nurl = \"https://a\"\n{oidc}");
        Settings::parse(&text, Path::new("/site/tidegate.toml"))
            .map(|settings| settings.oidc)
            .map_err(|failure| failure.to_string())
    }

    const LEAST: &str = "[oidc]\nissuer = \"https://id.example/realm\"\nclient_id = \"site\"\n";
    const ROLES: &str =
        "[oidc.roles]\nadmins = \"full-administrator\"\n\"the others\" = \"Read-only Analyst\"\n";

    #[test]
    fn what_is_written_is_understood() {
        assert_eq!(parse(""), Ok(None));
        let oidc = parse(&format!("{LEAST}ca = \"id.pem\"\n{ROLES}"))
            .unwrap()
            .unwrap();
        assert_eq!(oidc.issuer, "https://id.example/realm");
        assert_eq!(oidc.scopes, ["openid", "profile", "email"]);
        assert_eq!(
            (oidc.name_claim.as_str(), oidc.roles_claim.as_str()),
            ("preferred_username", "roles")
        );
        assert_eq!(oidc.ca.as_deref(), Some(Path::new("/site/id.pem")));
        assert_eq!(oidc.roles["the others"], Role::ReadOnlyAnalyst);
        assert_eq!(oidc.scope, Scope::Default);
    }

    #[test]
    fn refusals_name_the_key_and_show_no_secret() {
        let check = |text: String, expected: &str| {
            let message = parse(&text).unwrap_err();
            assert!(message.contains(expected), "{text:?} gave {message:?}");
            assert!(!message.contains("hunter2"), "{message:?}");
        };
        let with = |line: &str| format!("{LEAST}{line}\n{ROLES}");
        let issuer = |url: &str| with("").replace("https://id.example/realm", url);
        assert!(parse(&issuer("http://127.0.0.1:9/")).is_ok());
        check(LEAST.to_owned(), "oidc.roles");
        check(issuer("http://id.example"), "oidc.issuer");
        check(issuer("https://u:hunter2@id.example"), "oidc.issuer");
        check(issuer("https://id.example/?a=b"), "oidc.issuer");
        check(issuer("file:///id"), "oidc.issuer");
        check(with("client_secret = \"../x\""), "oidc.client_secret");
        check(with("scopes = [\"profile\"]"), "oidc.scopes");
        check(with("scopes = [\"openid a\"]"), "oidc.scopes");
        check(with("name_claim = \"\""), "oidc.name_claim");
        check(with("scope = \"Some\""), "there is no scope");
        check(with("").replace("full-administrator", "root"), "there is no role");
        check(with("secret = \"hunter3\""), "unknown field `secret`");
    }
}
