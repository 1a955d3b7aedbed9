//! Role-based administration: who may look at what and who may change it. One table for command line, API and console.
//!
//! Roles and their names are the product's built-in ones that matter to this role (updates-and-servicing, section 11).

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// What is looked at or changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectClass {
    /// The site itself and its synchronisation.
    Site,
    /// Components and their logs.
    Components,
    /// Update packages and their features.
    UpdatePackages,
    /// The content library and the links that fill it.
    Content,
    /// Status messages, their rules and thresholds.
    StatusMessages,
    /// Mode, proxy, internet access.
    ServiceConnectionPoint,
    /// Usage data, its level, its ledger.
    UsageData,
    /// Users, tokens, sessions.
    Accounts,
}

impl ObjectClass {
    /// Every class.
    pub const ALL: [ObjectClass; 8] = [
        ObjectClass::Site,
        ObjectClass::Components,
        ObjectClass::UpdatePackages,
        ObjectClass::Content,
        ObjectClass::StatusMessages,
        ObjectClass::ServiceConnectionPoint,
        ObjectClass::UsageData,
        ObjectClass::Accounts,
    ];

    /// The words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            ObjectClass::Site => "site",
            ObjectClass::Components => "components",
            ObjectClass::UpdatePackages => "update packages",
            ObjectClass::Content => "content",
            ObjectClass::StatusMessages => "status messages",
            ObjectClass::ServiceConnectionPoint => "service connection point",
            ObjectClass::UsageData => "usage data",
            ObjectClass::Accounts => "accounts",
        }
    }
}

/// How far a permission reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// What every administrator works with.
    Default,
    /// Everything, what binds the whole hierarchy included, such as turning features on afterwards.
    All,
}

impl Scope {
    /// The product's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Scope::Default => "Default",
            Scope::All => "All",
        }
    }
}

impl FromStr for Scope {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [Scope::Default, Scope::All]
            .into_iter()
            .find(|scope| scope.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| format!("there is no scope {text:?}; write Default or All"))
    }
}

/// What it takes to do something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permission {
    /// To be signed in.
    SignedIn,
    /// To look.
    Read(ObjectClass),
    /// To change, within a scope.
    Modify(ObjectClass, Scope),
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Permission::SignedIn => f.write_str("a signed-in user"),
            Permission::Read(class) => write!(f, "Read on {}", class.as_str()),
            Permission::Modify(class, Scope::Default) => write!(f, "Modify on {}", class.as_str()),
            Permission::Modify(class, Scope::All) => write!(f, "Modify on {} with scope All", class.as_str()),
        }
    }
}

/// A built-in role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Everything.
    FullAdministrator,
    /// Everything but accounts.
    OperationsAdministrator,
    /// Looks at everything, changes what is infrastructure.
    InfrastructureAdministrator,
    /// Looks at everything.
    ReadOnlyAnalyst,
}

impl Role {
    /// Every role, the strongest first.
    pub const ALL: [Role; 4] = [
        Role::FullAdministrator,
        Role::OperationsAdministrator,
        Role::InfrastructureAdministrator,
        Role::ReadOnlyAnalyst,
    ];

    /// The product's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::FullAdministrator => "Full Administrator",
            Role::OperationsAdministrator => "Operations Administrator",
            Role::InfrastructureAdministrator => "Infrastructure Administrator",
            Role::ReadOnlyAnalyst => "Read-only Analyst",
        }
    }

    /// The word of command lines and stored records.
    pub fn word(self) -> &'static str {
        match self {
            Role::FullAdministrator => "full-administrator",
            Role::OperationsAdministrator => "operations-administrator",
            Role::InfrastructureAdministrator => "infrastructure-administrator",
            Role::ReadOnlyAnalyst => "read-only-analyst",
        }
    }

    /// What it is for, in one line.
    pub fn description(self) -> &'static str {
        match self {
            Role::FullAdministrator => "does everything, accounts included",
            Role::OperationsAdministrator => "does everything but manage accounts",
            Role::InfrastructureAdministrator => {
                "looks at everything; changes the site, its components, its content and its way to the internet"
            }
            Role::ReadOnlyAnalyst => "looks at everything and changes nothing",
        }
    }

    fn modifies(self, class: ObjectClass) -> bool {
        match self {
            Role::FullAdministrator => true,
            Role::OperationsAdministrator => class != ObjectClass::Accounts,
            Role::InfrastructureAdministrator => matches!(
                class,
                ObjectClass::Site
                    | ObjectClass::Components
                    | ObjectClass::Content
                    | ObjectClass::StatusMessages
                    | ObjectClass::ServiceConnectionPoint
            ),
            Role::ReadOnlyAnalyst => false,
        }
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|role| role.word() == text || role.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| {
                let words: Vec<&str> = Self::ALL.iter().map(|role| role.word()).collect();
                format!("there is no role {text:?}; there are {}", words.join(", "))
            })
    }
}

/// What somebody was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// Role.
    pub role: Role,
    /// Scope.
    pub scope: Scope,
}

impl Access {
    /// Whoever owns the process.
    pub const FULL: Access = Access {
        role: Role::FullAdministrator,
        scope: Scope::All,
    };

    /// Whether this is enough.
    pub fn allows(self, permission: Permission) -> bool {
        match permission {
            Permission::SignedIn | Permission::Read(_) => true,
            Permission::Modify(class, scope) => self.role.modifies(class) && self.scope >= scope,
        }
    }
}

/// Wrong passwords in a row that lock nothing yet.
const FAILURES_FREE: u32 = 4;
/// Longest lock; longer ones would let anybody lock others out.
const LOCK_MINUTES_MAX: u64 = 15;

/// How long an account is locked after so many wrong passwords in a row: a minute, then twice as long each time.
pub fn lock_after(failures: u32) -> Option<Duration> {
    let beyond = failures.checked_sub(FAILURES_FREE + 1)?;
    let minutes = 1_u64
        .checked_shl(beyond)
        .unwrap_or(LOCK_MINUTES_MAX)
        .min(LOCK_MINUTES_MAX);
    Some(Duration::from_secs(minutes.max(1) * 60))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for role in Role::ALL {
            for scope in [Scope::Default, Scope::All] {
                let access = Access { role, scope };
                for class in ObjectClass::ALL {
                    assert!(access.allows(Permission::Read(class)));
                    let may = |scope| access.allows(Permission::Modify(class, scope));
                    assert!(may(Scope::Default) || !may(Scope::All));
                    if may(Scope::Default) {
                        let reach = if may(Scope::All) { "All" } else { "Default" };
                        table.push_str(&format!(
                            "{} ({}) modifies {} ({reach})\n",
                            role.word(),
                            scope.as_str(),
                            class.as_str()
                        ));
                    }
                }
            }
        }
        insta::assert_snapshot!("access", table);
    }

    #[test]
    fn locks_grow_to_a_bound() {
        let minutes = |failures| lock_after(failures).map(|lock| lock.as_secs() / 60);
        assert_eq!(
            [4, 5, 6, 7, 8, 9, 40, 69, u32::MAX].map(minutes),
            [
                None,
                Some(1),
                Some(2),
                Some(4),
                Some(8),
                Some(15),
                Some(15),
                Some(15),
                Some(15)
            ]
        );
    }

    #[test]
    fn words_read_back() {
        for role in Role::ALL {
            assert_eq!(role.word().parse(), Ok(role));
            assert_eq!(role.as_str().to_lowercase().parse(), Ok(role));
        }
        assert_eq!("all".parse(), Ok(Scope::All));
        assert!("root".parse::<Role>().unwrap_err().contains("read-only-analyst"));
    }
}
