//! Who does something.

use domain::access::Access;

/// Who does something, for audit messages, and what they may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Actor {
    name: String,
    access: Access,
}

impl Actor {
    /// A user of this machine, by user id.
    pub fn local(user_id: u32) -> Self {
        let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
        let name = passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            let name = fields.next()?;
            (fields.nth(1)? == user_id.to_string()).then(|| name.to_owned())
        });
        Actor {
            name: name.unwrap_or_else(|| format!("user {user_id}")),
            // Whoever owns the files of the site can do everything anyway.
            access: Access::FULL,
        }
    }

    /// Somebody with an API token of this name.
    pub fn token(name: &str, access: Access) -> Self {
        let name = format!("token {name}");
        Actor { name, access }
    }

    /// A user of the console.
    pub fn user(name: &str, access: Access) -> Self {
        let name = format!("user {name}");
        Actor { name, access }
    }

    /// What they may do.
    pub fn access(&self) -> Access {
        self.access
    }

    /// The name that audit messages show.
    pub fn as_str(&self) -> &str {
        &self.name
    }
}
