//! `tidegate user`: who may use the API from other machines.

use clap::{Args, Subcommand};
use serde::Serialize;
use site::directory::SiteDirectory;

use super::Context;
use crate::failure::Failure;

/// API tokens for other machines.
///
/// On this machine the user of the site and root need no token.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  tidegate user token monitoring --dir /srv/site")]
pub struct UserArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and show it once; only its hash is kept.
    Token {
        /// What the token is called in audit messages.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// `user token --json`
#[derive(Debug, Serialize)]
struct Made {
    name: String,
    token: String,
}

/// Runs the command.
pub fn run(arguments: UserArgs, cx: &Context) -> Result<(), Failure> {
    let Verb::Token { name } = arguments.verb;
    let directory = SiteDirectory::new(&cx.directory);
    if !directory.configuration().exists() {
        return Err(super::run::no_site(cx));
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))?;
    let token = site::service::tokens::add(&directory.api_tokens(), &name, random)?;
    if cx.output.json {
        return cx.output.json(&Made { name, token });
    }
    cx.output.line(&token)?;
    cx.output.note(
        "send it as \"Authorization: Bearer …\" to the address that api.listen names; it is not shown again",
    );
    Ok(())
}
