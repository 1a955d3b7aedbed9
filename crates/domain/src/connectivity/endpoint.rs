//! Endpoints and which of them a run tries.

use std::collections::BTreeMap;

/// Only what the service connection point itself connects to is its to check.
const ROLE: &str = "scp";

/// Whether an endpoint is still to be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Listed now.
    Current,
    /// Listed, on its way out.
    Deprecated,
    /// Another took its place.
    Replaced,
    /// Gone from the newest list.
    Delisted,
    /// The feature is gone.
    Retired,
}

impl Listing {
    /// Whether a run tries it without being asked.
    pub fn is_active(self) -> bool {
        match self {
            Listing::Current | Listing::Deprecated => true,
            Listing::Replaced | Listing::Delisted | Listing::Retired => false,
        }
    }
}

/// `http` or `https`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// Plain.
    Http,
    /// Over TLS.
    Https,
}

impl Scheme {
    /// As in a URL.
    pub fn as_str(self) -> &'static str {
        match self {
            Scheme::Http => "http",
            Scheme::Https => "https",
        }
    }

    /// The port that a URL need not name.
    pub fn default_port(self) -> u16 {
        match self {
            Scheme::Http => 80,
            Scheme::Https => 443,
        }
    }
}

/// An entry of a catalogue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Stable name of the entry.
    pub id: String,
    /// The feature that needs it.
    pub feature: String,
    /// As its source prints it.
    pub pattern: String,
    /// Whether the pattern stands for many hosts.
    pub wildcard: bool,
    /// Hosts that stand for it; none means that it cannot be tested.
    pub probe: Vec<String>,
    /// What to ask for instead of the host's root.
    pub probe_url: Option<Address>,
    /// Scheme.
    pub scheme: Scheme,
    /// Port.
    pub port: u16,
    /// Whether the feature stops without it.
    pub critical: bool,
    /// Still listed?
    pub listing: Listing,
    /// Who connects to it.
    pub roles: Vec<String>,
    /// The sovereign cloud it belongs to; `any` for all.
    pub cloud: String,
    /// What to ask for on its host.
    pub path: String,
    /// Why it cannot be tested, or anything else worth saying.
    pub note: String,
}

/// What is asked for: a URL without user, query and fragment.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// Scheme.
    pub scheme: Scheme,
    /// Lower-case host name or address, without brackets.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Path with query, beginning with `/`.
    pub path: String,
}

impl Address {
    /// `host:port`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        match self.host.contains(':') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        }
    }

    /// The `Host` header: the port only where it is not the scheme's own.
    pub fn host_header(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port == self.scheme.default_port() {
            true => host,
            false => format!("{host}:{}", self.port),
        }
    }

    /// As shown: without the query, which may say more than others should read.
    pub fn shown(&self) -> String {
        let path = self.path.split('?').next().unwrap_or("/");
        format!("{}://{}{path}", self.scheme.as_str(), self.host_header())
    }
}

/// One thing to try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub address: Address,
    /// Entries of the catalogue that it stands for.
    pub endpoints: Vec<String>,
    /// Features that need it.
    pub features: Vec<String>,
    /// Patterns it stands in for.
    pub stands_for: Vec<String>,
    /// Whether any feature in use stops without it.
    pub critical: bool,
    /// No longer listed; tried because somebody asked.
    pub retired: bool,
    /// A host of the public internet, for which a private address is a sign of a filter.
    pub public: bool,
}

/// An entry that nothing can stand for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotTestable {
    /// The entry.
    pub id: String,
    /// Its feature.
    pub feature: String,
    /// Its pattern.
    pub pattern: String,
    /// Why.
    pub why: String,
}

/// What to take from a catalogue.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Features in use.
    pub features: Vec<String>,
    /// The sovereign cloud of the tenant: `public`, `us-gov` or `china`.
    pub cloud: String,
    /// Also what is no longer listed.
    pub retired: bool,
    /// Hosts that this site reached before, by wildcard pattern; they come before documented stand-ins.
    pub learned: BTreeMap<String, Vec<String>>,
}

/// What a run tries.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Each address once, in the order of the catalogue.
    pub targets: Vec<Target>,
    /// What nothing can stand for.
    pub not_testable: Vec<NotTestable>,
}

impl Plan {
    /// Adds a target; one that is there already takes on its features, and is critical if either is.
    pub fn add(&mut self, target: Target) {
        let Some(known) = self
            .targets
            .iter_mut()
            .find(|known| known.address == target.address)
        else {
            self.targets.push(target);
            return;
        };
        known.critical |= target.critical;
        known.retired &= target.retired;
        known.public &= target.public;
        let merge = |into: &mut Vec<String>, from: Vec<String>| {
            for item in from {
                if !into.contains(&item) {
                    into.push(item);
                }
            }
        };
        merge(&mut known.endpoints, target.endpoints);
        merge(&mut known.features, target.features);
        merge(&mut known.stands_for, target.stands_for);
    }

    /// Takes from a catalogue what the features in use need of the service connection point.
    pub fn add_catalogue(&mut self, endpoints: &[Endpoint], selection: &Selection) {
        for endpoint in endpoints {
            let retired = !endpoint.listing.is_active();
            let elsewhere = endpoint.cloud != "any" && endpoint.cloud != selection.cloud;
            if elsewhere || !endpoint.roles.iter().any(|role| role == ROLE) {
                continue;
            }
            if !selection.features.contains(&endpoint.feature) || (retired && !selection.retired) {
                continue;
            }
            let learned = selection
                .learned
                .get(&endpoint.pattern)
                .filter(|_| endpoint.wildcard);
            let hosts = learned
                .filter(|hosts| !hosts.is_empty())
                .unwrap_or(&endpoint.probe);
            if hosts.is_empty() {
                self.not_testable.push(NotTestable {
                    id: endpoint.id.clone(),
                    feature: endpoint.feature.clone(),
                    pattern: endpoint.pattern.clone(),
                    why: match endpoint.wildcard {
                        true => "no host is known that could stand for the pattern".to_owned(),
                        false => "its host comes from the configuration of a feature".to_owned(),
                    },
                });
            }
            for host in hosts {
                let address = endpoint
                    .probe_url
                    .clone()
                    .filter(|url| url.host == *host)
                    .unwrap_or_else(|| Address {
                        scheme: endpoint.scheme,
                        host: host.to_ascii_lowercase(),
                        port: endpoint.port,
                        path: endpoint.path.clone(),
                    });
                self.add(Target {
                    address,
                    endpoints: vec![endpoint.id.clone()],
                    features: vec![endpoint.feature.clone()],
                    stands_for: match endpoint.wildcard {
                        true => vec![endpoint.pattern.clone()],
                        false => Vec::new(),
                    },
                    critical: endpoint.critical && !retired,
                    retired,
                    public: true,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(id: &str, feature: &str, probe: &[&str], critical: bool, listing: Listing) -> Endpoint {
        Endpoint {
            id: id.into(),
            feature: feature.into(),
            pattern: format!("*.{id}.example"),
            wildcard: true,
            probe: probe.iter().map(|host| (*host).to_owned()).collect(),
            probe_url: None,
            scheme: Scheme::Https,
            port: 443,
            critical,
            listing,
            roles: vec!["scp".into()],
            cloud: "any".into(),
            path: "/".into(),
            note: String::new(),
        }
    }

    fn hosts(plan: &Plan) -> Vec<(&str, bool)> {
        plan.targets
            .iter()
            .map(|target| (target.address.host.as_str(), target.critical))
            .collect()
    }

    #[test]
    fn features_merge_and_the_retired_are_left_out() {
        let catalogue = [
            endpoint("one", "a", &["x", "y"], false, Listing::Current),
            endpoint("two", "b", &["X"], true, Listing::Current),
            endpoint("three", "a", &["z"], true, Listing::Retired),
            endpoint("four", "a", &[], true, Listing::Current),
            endpoint("five", "c", &["w"], true, Listing::Current),
        ];
        let mut selection = Selection {
            features: vec!["a".into(), "b".into()],
            ..Selection::default()
        };
        let mut plan = Plan::default();
        plan.add_catalogue(&catalogue, &selection);
        assert_eq!(hosts(&plan), [("x", true), ("y", false)]);
        assert_eq!(plan.targets[0].endpoints, ["one", "two"]);
        assert_eq!(plan.not_testable[0].id, "four");
        selection.retired = true;
        selection
            .learned
            .insert("*.four.example".into(), vec!["learned".into()]);
        let mut plan = Plan::default();
        plan.add_catalogue(&catalogue, &selection);
        assert_eq!(
            hosts(&plan),
            [("x", true), ("y", false), ("z", false), ("learned", true)]
        );
        assert!(plan.targets[2].retired && plan.not_testable.is_empty());
    }

    #[test]
    fn addresses_as_shown() {
        let address = |host: &str, port| Address {
            scheme: Scheme::Https,
            host: host.into(),
            port,
            path: "/a?token=secret".into(),
        };
        assert_eq!(address("h", 443).shown(), "https://h/a");
        assert_eq!(address("::1", 8443).shown(), "https://[::1]:8443/a");
        assert_eq!(address("::1", 443).authority(), "[::1]:443");
    }
}
