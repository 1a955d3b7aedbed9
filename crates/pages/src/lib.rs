//! What the pages of both consoles are made of, the site's and the connected service's: style sheet, headers, tables and
//! fields, plots, and what a browser says of where a form comes from.
//!
//! It refuses to know what is shown: no route, no session, no text of the product.

mod catalogue;
pub mod forms;
mod headers;
pub mod parts;
pub mod plot;
pub mod requests;

pub use catalogue::{said_in, t};
pub use headers::add_headers;

/// The style sheet of every page.
pub const STYLE: &str = include_str!("style.css");
