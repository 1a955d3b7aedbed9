//! Who somebody is here, by the claims that were believed.

use domain::access::{Access, Role};
use serde_json::{Map, Value};

use super::{Claims, OidcSettings, shown};

/// Somebody whom the provider vouched for, and what that gives here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Issuer and subject: what stays when names change.
    pub subject: String,
    /// Name that is shown.
    pub name: String,
    /// What the claims give.
    pub access: Access,
}

/// Why somebody is not let in.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PersonError {
    /// No role.
    #[error("none of the values of the claim {} has a role in oidc.roles", shown(.claim))]
    NoRole {
        /// The claim that was looked at.
        claim: String,
    },
    /// No name.
    #[error("no claim gives a name that a user can have; oidc.name_claim may name another")]
    NoName,
}

impl Person {
    /// Reads the claims; `is_name` says what may be the name of a user.
    pub fn of(
        claims: &Claims,
        settings: &OidcSettings,
        is_name: impl Fn(&str) -> bool,
    ) -> Result<Self, PersonError> {
        let values = match claim(&claims.all, &settings.roles_claim) {
            Some(Value::Array(values)) => values.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(value)) => vec![value.as_str()],
            _ => Vec::new(),
        };
        // Roles are in order, the strongest first.
        let role: Option<Role> = values
            .into_iter()
            .filter_map(|value| settings.roles.get(value).copied())
            .min();
        let role = role.ok_or_else(|| PersonError::NoRole {
            claim: settings.roles_claim.clone(),
        })?;
        let name = [settings.name_claim.as_str(), "email", "sub"]
            .into_iter()
            .filter_map(|name| claim(&claims.all, name)?.as_str())
            .find(|name| is_name(name))
            .ok_or(PersonError::NoName)?;
        Ok(Person {
            // An issuer is an address and has no space.
            subject: format!("{} {}", settings.issuer, claims.subject),
            name: name.to_owned(),
            access: Access {
                role,
                scope: settings.scope,
            },
        })
    }
}

/// A claim by its name; where there is none, dots lead into nested ones, as in `realm_access.roles`.
fn claim<'a>(all: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    all.get(name).or_else(|| {
        let (outer, inner) = name.split_once('.')?;
        claim(all.get(outer)?.as_object()?, inner)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::access::Scope;

    #[test]
    fn claims_give_role_and_name() {
        let settings = |claim: &str| OidcSettings {
            issuer: "https://id.example".into(),
            client_id: "site".into(),
            client_secret_expires: None,
            client_secret: None,
            ca: None,
            scopes: Vec::new(),
            name_claim: "preferred_username".into(),
            roles_claim: claim.into(),
            roles: [("a", Role::ReadOnlyAnalyst), ("b", Role::OperationsAdministrator)]
                .map(|(value, role)| (value.to_owned(), role))
                .into(),
            scope: Scope::Default,
        };
        let check = |from: &str, all: Value, expected: Result<(&str, Role), PersonError>| {
            let claims = Claims {
                subject: "7".into(),
                all: all.as_object().unwrap().clone(),
            };
            let person = Person::of(&claims, &settings(from), |name| !name.contains(' '));
            let expected = expected.map(|(name, role)| Person {
                subject: "https://id.example 7".into(),
                name: name.into(),
                access: Access {
                    role,
                    scope: Scope::Default,
                },
            });
            assert_eq!(person, expected, "{all}");
        };
        use serde_json::json;
        let no_role = |claim: &str| Err(PersonError::NoRole { claim: claim.into() });
        check(
            "roles",
            json!({ "preferred_username": "eva", "roles": ["x", "a", "b"] }),
            Ok(("eva", Role::OperationsAdministrator)),
        );
        check(
            "roles",
            json!({ "sub": "7", "email": "e@x", "preferred_username": "e v", "roles": "a" }),
            Ok(("e@x", Role::ReadOnlyAnalyst)),
        );
        check(
            "r.roles",
            json!({ "sub": "7", "r": { "roles": ["a"] } }),
            Ok(("7", Role::ReadOnlyAnalyst)),
        );
        check(
            "r.roles",
            json!({ "sub": "7", "r.roles": ["a"] }),
            Ok(("7", Role::ReadOnlyAnalyst)),
        );
        check(
            "roles",
            json!({ "sub": "7", "roles": ["A", "c", 5] }),
            no_role("roles"),
        );
        check("r.roles", json!({ "sub": "7", "r": "a" }), no_role("r.roles"));
        check(
            "roles",
            json!({ "roles": ["a"], "email": "e v" }),
            Err(PersonError::NoName),
        );
    }
}
