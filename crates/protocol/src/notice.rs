//! What a vendor tells administrators through the feed beside packages: messages, and the configuration of its service.
//! Both are targets of the feed, so that they are signed and reach hierarchies without internet on the medium.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use url::Url;

/// Where a feed keeps the vendor's messages.
pub const NOTICES_TARGET: &str = "config/notices.json";
/// Where a feed keeps the configuration of its service.
pub const SERVICE_TARGET: &str = "config/service.json";
/// Largest of either that is read, in bytes.
pub const NOTICES_BYTES_MAX: usize = 64 * 1024;
/// Most messages at a time.
pub const NOTICES_MAX: usize = 50;
/// Most copies of a feed that its vendor names.
pub const MIRRORS_MAX: usize = 8;
const FORMAT: u32 = 1;
const ID_BYTES_MAX: usize = 40;
const TITLE_CHARACTERS_MAX: usize = 120;
const BODY_CHARACTERS_MAX: usize = 1_000;
const LINK_BYTES_MAX: usize = 500;
/// Longest sentence about a change of the service.
const WHAT_CHARACTERS_MAX: usize = 300;

/// Why it cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoticeError {
    /// Not what we write.
    #[error("it cannot be read: {0}")]
    Malformed(String),
    /// A value that is not allowed.
    #[error("{field}: {problem}")]
    Value {
        /// Field.
        field: String,
        /// What is wrong and what to write.
        problem: String,
    },
}

fn value(field: impl Into<String>, problem: impl Into<String>) -> NoticeError {
    NoticeError::Value {
        field: field.into(),
        problem: problem.into(),
    }
}

/// What a message is for (role-and-modes, section 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NoticeCategory {
    /// Something is wrong or about to be, and can be prevented or mended.
    PreventOrFix,
    /// Something will change.
    PlanForChange,
    /// Good to know.
    StayInformed,
}

impl NoticeCategory {
    /// Every category, the most pressing first.
    pub const ALL: [NoticeCategory; 3] = [
        NoticeCategory::PreventOrFix,
        NoticeCategory::PlanForChange,
        NoticeCategory::StayInformed,
    ];

    /// The word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            NoticeCategory::PreventOrFix => "prevent-or-fix",
            NoticeCategory::PlanForChange => "plan-for-change",
            NoticeCategory::StayInformed => "stay-informed",
        }
    }

    /// The words for people.
    pub fn title(self) -> &'static str {
        match self {
            NoticeCategory::PreventOrFix => "Prevent or fix",
            NoticeCategory::PlanForChange => "Plan for change",
            NoticeCategory::StayInformed => "Stay informed",
        }
    }
}

impl std::str::FromStr for NoticeCategory {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words = || Self::ALL.map(NoticeCategory::as_str).join(", ");
        Self::ALL
            .into_iter()
            .find(|category| category.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no category of messages; there are {}", words()))
    }
}

/// A message of the vendor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notice {
    /// Its name: lower-case letters, digits and hyphens. The same name again is the same message, put differently.
    pub id: String,
    /// What it is for.
    pub category: NoticeCategory,
    /// One line.
    pub title: String,
    /// What the matter is and what to do.
    pub body: String,
    /// Where more is said, an `https:` address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub link: Option<String>,
    /// Since when.
    pub published: Timestamp,
    /// Until when it is shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Notice {
    /// Checks every bound.
    pub fn check(&self) -> Result<(), NoticeError> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if self.id.is_empty() || self.id.len() > ID_BYTES_MAX || !self.id.bytes().all(plain) {
            return Err(value(
                "id",
                format!("write 1 to {ID_BYTES_MAX} lower-case letters, digits and hyphens"),
            ));
        }
        line("title", &self.title, TITLE_CHARACTERS_MAX)?;
        line("text", &self.body, BODY_CHARACTERS_MAX)?;
        if let Some(link) = &self.link {
            secure_address("link", link)?;
        }
        if self.until.is_some_and(|until| until <= self.published) {
            return Err(value("until", "it ends before it begins"));
        }
        Ok(())
    }
}

/// Every message of a vendor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notices {
    /// Version of the form.
    pub format: u32,
    /// The messages, by id.
    pub notices: Vec<Notice>,
}

impl Default for Notices {
    fn default() -> Self {
        Notices {
            format: FORMAT,
            notices: Vec::new(),
        }
    }
}

impl Notices {
    /// Reads and checks them.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoticeError> {
        let read: Notices = parse_bounded(bytes)?;
        known_format(read.format)?;
        if read.notices.len() > NOTICES_MAX {
            return Err(value("notices", format!("there are more than {NOTICES_MAX}")));
        }
        for notice in &read.notices {
            notice.check()?;
        }
        let mut ids: Vec<&str> = read.notices.iter().map(|notice| notice.id.as_str()).collect();
        ids.sort_unstable();
        match ids.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => Err(value("id", format!("{:?} is there twice", pair[0]))),
            None => Ok(read),
        }
    }
}

/// How a vendor's service wants to be used. A site lets it come into force when an administrator restarts SMS_EXECUTIVE:
/// no host is connected to that nobody there has agreed to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ServiceConfig {
    /// Version of the form.
    pub format: u32,
    /// Which configuration it is; a later one has a higher number.
    pub version: u64,
    /// What changed, for administrators.
    pub what: String,
    /// Since when.
    pub published: Timestamp,
    /// Base addresses of copies of the feed, asked after those of the site's own configuration.
    #[serde(default)]
    pub mirrors: Vec<String>,
}

impl ServiceConfig {
    /// A configuration with this number.
    pub fn new(version: u64, what: &str, mirrors: Vec<String>, published: Timestamp) -> Self {
        ServiceConfig {
            format: FORMAT,
            version,
            what: what.to_owned(),
            published,
            mirrors,
        }
    }

    /// Checks every bound.
    pub fn check(&self) -> Result<(), NoticeError> {
        known_format(self.format)?;
        line("what", &self.what, WHAT_CHARACTERS_MAX)?;
        if self.mirrors.len() > MIRRORS_MAX {
            return Err(value("mirrors", format!("there are more than {MIRRORS_MAX}")));
        }
        self.mirrors
            .iter()
            .try_for_each(|mirror| secure_address("mirrors", mirror))
    }

    /// Reads and checks it.
    pub fn parse(bytes: &[u8]) -> Result<Self, NoticeError> {
        let read: ServiceConfig = parse_bounded(bytes)?;
        read.check()?;
        Ok(read)
    }
}

fn parse_bounded<T: serde::de::DeserializeOwned>(bytes: &[u8]) -> Result<T, NoticeError> {
    if bytes.len() > NOTICES_BYTES_MAX {
        return Err(NoticeError::Malformed(format!(
            "it has more than {NOTICES_BYTES_MAX} bytes"
        )));
    }
    serde_json::from_slice(bytes).map_err(|failure| NoticeError::Malformed(failure.to_string()))
}

fn known_format(format: u32) -> Result<(), NoticeError> {
    match format {
        FORMAT => Ok(()),
        other => Err(NoticeError::Malformed(format!(
            "format {other} is not known to this release"
        ))),
    }
}

fn line(field: &str, text: &str, characters_max: usize) -> Result<(), NoticeError> {
    let characters = text.chars().count();
    if text.trim().is_empty() || characters > characters_max || text.chars().any(char::is_control) {
        return Err(value(
            field,
            format!("write one line of at most {characters_max} characters"),
        ));
    }
    Ok(())
}

fn secure_address(field: &str, text: &str) -> Result<(), NoticeError> {
    let plain = Url::parse(text).is_ok_and(|url| {
        url.scheme() == "https"
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
    });
    match plain && text.len() <= LINK_BYTES_MAX {
        true => Ok(()),
        false => Err(value(
            field,
            format!(
                "write an https:// address of at most {LINK_BYTES_MAX} bytes, without user, query and fragment"
            ),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notice(id: &str) -> Notice {
        Notice {
            id: id.into(),
            category: NoticeCategory::PreventOrFix,
            title: "Renew the certificate of the gateway".into(),
            body: "It ends in May.".into(),
            link: Some("https://docs.example/gateway".into()),
            published: "2026-11-01T00:00:00Z".parse().unwrap(),
            until: None,
        }
    }

    #[test]
    fn what_is_written_is_read_and_what_is_odd_is_refused() {
        let all = Notices {
            notices: vec![notice("a"), notice("b")],
            ..Notices::default()
        };
        let bytes = serde_json::to_vec(&all).unwrap();
        assert_eq!(Notices::parse(&bytes), Ok(all.clone()));
        let refused = |edit: &dyn Fn(&mut Notices), field: &str| {
            let mut odd = all.clone();
            edit(&mut odd);
            let failure = Notices::parse(&serde_json::to_vec(&odd).unwrap()).unwrap_err();
            assert!(failure.to_string().starts_with(field), "{failure}");
        };
        refused(&|odd| odd.notices[1].id = "a".into(), "id");
        refused(&|odd| odd.notices[0].id = "A b".into(), "id");
        refused(&|odd| odd.notices[0].title = "two\nlines".into(), "title");
        refused(&|odd| odd.notices[0].body = " ".into(), "text");
        refused(&|odd| odd.notices[0].body = "x".repeat(1_001), "text");
        refused(
            &|odd| odd.notices[0].link = Some("javascript:alert(1)".into()),
            "link",
        );
        refused(
            &|odd| odd.notices[0].link = Some("http://a.example".into()),
            "link",
        );
        refused(
            &|odd| odd.notices[0].until = Some(odd.notices[0].published),
            "until",
        );
        refused(&|odd| odd.notices = vec![notice("a"); NOTICES_MAX + 1], "notices");
        refused(&|odd| odd.format = 2, "it cannot be read");
        assert!(Notices::parse(&vec![b' '; NOTICES_BYTES_MAX + 1]).is_err());
    }

    #[test]
    fn copies_of_a_feed_are_secure_addresses() {
        let config = |mirror: &str| {
            let config = ServiceConfig::new(3, "Another mirror", vec![mirror.into()], Timestamp::UNIX_EPOCH);
            ServiceConfig::parse(&serde_json::to_vec(&config).unwrap())
        };
        assert_eq!(config("https://mirror.example/feed").unwrap().version, 3);
        for odd in [
            "http://mirror.example",
            "file:///feed",
            "https://jo:pw@mirror.example",
            "mirror",
        ] {
            assert!(config(odd).is_err(), "{odd}");
        }
    }
}
