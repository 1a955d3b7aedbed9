//! `tidegate user`: who may use the API from other machines.

use clap::{Args, Subcommand};
use serde::Serialize;
use site::directory::SiteDirectory;
use site::service::tokens;

use super::Context;
use crate::failure::Failure;

/// Who may use the API of a site from other machines
///
/// On the machine itself the operating system says who asks, and no token is needed.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct UserArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token for the API over HTTPS; it is shown once and kept as a hash only.
    #[command(after_help = "Example:\n  tidegate user token monitoring")]
    Token {
        /// Name of the token, shown in audit messages.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `user token --json`
#[derive(Debug, Serialize)]
struct Token<'a> {
    name: &'a str,
    token: &'a str,
}

/// Runs the command.
pub fn run(arguments: &UserArgs, cx: &Context) -> Result<(), Failure> {
    let Verb::Token { name } = &arguments.verb;
    let directory = SiteDirectory::new(&cx.directory);
    if !directory.configuration().exists() {
        return Err(super::run::no_site(cx));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))?;
    let token = tokens::add(&directory.api_tokens(), name, random)?;
    if cx.output.json {
        return cx.output.json(&Token { name, token: &token });
    }
    cx.output.line(&token)?;
    cx.output.note(
        "keep it: it is not shown again. Send it as `Authorization: Bearer TOKEN` to the address api.listen of tidegate.toml",
    );
    Ok(())
}
