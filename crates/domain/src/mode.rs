//! The mode of the service connection point and what it permits (role-and-modes, section 6).

/// Online or offline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Mode {
    /// Reaches the vendor by itself, every 24 hours and on demand.
    #[default]
    Online,
    /// Opens no connection to anybody outside; a medium carries what comes and goes.
    Offline,
}

impl Mode {
    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Mode::Online => "online",
            Mode::Offline => "offline",
        }
    }

    /// The stored form back.
    pub fn parse(text: &str) -> Option<Mode> {
        [Mode::Online, Mode::Offline]
            .into_iter()
            .find(|mode| mode.as_str() == text)
    }

    /// Whether anything may go out.
    pub fn may_connect(self) -> bool {
        match self {
            Mode::Online => true,
            Mode::Offline => false,
        }
    }
}
