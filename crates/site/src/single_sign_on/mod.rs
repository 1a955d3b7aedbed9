//! Single sign-on by OpenID Connect: what is configured, what a provider is asked, and when its word is believed.
//!
//! Nothing here knows of sessions or accounts; `service::single_sign_on` makes them of a [`Person`] that was proved.

pub mod id_token;
pub mod person;
pub mod provider;
pub mod settings;

pub use id_token::{Claims, Expected, TokenError};
pub use person::{Person, PersonError};
pub use provider::{Keys, Metadata, Provider, ProviderError};
pub use settings::OidcSettings;

use std::fmt;

/// Longest words of others in a message, in characters.
const WORD_MAX: usize = 64;

/// A word of somebody else, fit to be shown: short, and without anything that moves a cursor.
pub(crate) fn shown(word: &str) -> String {
    let text: String = word.chars().filter(|c| !c.is_control()).take(WORD_MAX).collect();
    format!("{text:?}")
}

/// A word that nobody may see.
pub struct Hidden(pub zeroize::Zeroizing<String>);

impl fmt::Debug for Hidden {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hidden")
    }
}
