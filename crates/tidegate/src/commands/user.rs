//! `tidegate user`: who may use console and API, and as what.

use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::{Args, Subcommand};
use domain::access::{Access, Role, Scope};
use protocol::api::{
    AccountInfo, AccountRequest, NewToken, PasswordRequest, RoleRequest, SetupLink, TokenInfo, TokenRequest,
};
use site::directory::SiteDirectory;
use site::service::tokens;

use super::Context;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::table::Table;

/// Users of the console and tokens of the API
///
/// On the machine itself the operating system says who asks, and neither is needed.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct UserArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a link, good for one day and once, by which the first user sets name and password in a browser.
    Setup,
    /// Add a user; the password is read from the first line of standard input.
    #[command(
        after_help = "Example:\n  tidegate user add alice --role operations-administrator < password.txt"
    )]
    Add {
        /// Name, as it signs in.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        given: Given,
        /// Read the password from the first line of this file instead.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Show the users with their roles.
    List,
    /// Give a user another role; it counts from the user's next request on.
    #[command(after_help = "Example:\n  tidegate user role alice read-only-analyst")]
    Role {
        /// User.
        #[arg(value_name = "NAME")]
        name: String,
        /// Role.
        #[arg(value_name = "ROLE", value_parser = role)]
        role: Role,
        /// Scope; unchanged if absent.
        #[arg(long, value_name = "SCOPE", value_parser = scope)]
        scope: Option<Scope>,
    },
    /// Set the password of a user, read from standard input; ends the user's sessions and a lock.
    Password {
        /// User.
        #[arg(value_name = "NAME")]
        name: String,
        /// Read the password from the first line of this file instead.
        #[arg(long, value_name = "FILE")]
        password_file: Option<PathBuf>,
    },
    /// Remove a user; their sessions end.
    Remove {
        /// User.
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Make a token for the API over HTTPS; it is shown once and kept as a hash only.
    #[command(after_help = "Example:\n  tidegate user token monitoring --role read-only-analyst")]
    Token {
        /// Name of the token, shown in audit messages.
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        given: Given,
    },
    /// Show the tokens with their roles.
    Tokens,
    /// Revoke a token.
    Revoke {
        /// Name of the token.
        #[arg(value_name = "NAME")]
        name: String,
    },
}

/// What somebody is given.
#[derive(Debug, Args)]
struct Given {
    /// full-administrator, operations-administrator, infrastructure-administrator or read-only-analyst.
    #[arg(long, value_name = "ROLE", value_parser = role, default_value = "full-administrator")]
    role: Role,
    /// Default, or All for what binds the whole hierarchy too.
    #[arg(long, value_name = "SCOPE", value_parser = scope, default_value = "All")]
    scope: Scope,
}

fn role(text: &str) -> Result<Role, String> {
    text.parse()
}

fn scope(text: &str) -> Result<Scope, String> {
    text.parse()
}

/// Runs the command.
pub async fn run(arguments: UserArgs, cx: &Context) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Setup => setup(cx).await,
        Verb::Add {
            name,
            given,
            password_file,
        } => {
            let request = AccountRequest {
                password: password(password_file, &name)?,
                role: given.role.word().to_owned(),
                scope: Some(given.scope.as_str().to_owned()),
                name,
            };
            Client::open(&cx.directory)?.post("/accounts", &request).await?;
            cx.output.note(format_args!("added {}", request.name));
            Ok(())
        }
        Verb::List => list(cx).await,
        Verb::Role { name, role, scope } => {
            let request = RoleRequest {
                role: role.word().to_owned(),
                scope: scope.map(|scope| scope.as_str().to_owned()),
            };
            let path = format!("/accounts/{}/role", segment(&name));
            Client::open(&cx.directory)?.put(&path, &request).await?;
            cx.output.note(format_args!("{name} is {} now", role.as_str()));
            Ok(())
        }
        Verb::Password { name, password_file } => {
            let request = PasswordRequest {
                password: password(password_file, &name)?,
            };
            let path = format!("/accounts/{}/password", segment(&name));
            Client::open(&cx.directory)?.put(&path, &request).await?;
            cx.output.note(format_args!(
                "the password of {name} is set; their sessions have ended"
            ));
            Ok(())
        }
        Verb::Remove { name } => {
            let path = format!("/accounts/{}", segment(&name));
            Client::open(&cx.directory)?.delete(&path).await?;
            cx.output.note(format_args!("removed {name}"));
            Ok(())
        }
        Verb::Token { name, given } => token(name, &given, cx).await,
        Verb::Tokens => show_tokens(cx).await,
        Verb::Revoke { name } => {
            let path = format!("/tokens/{}", segment(&name));
            Client::open(&cx.directory)?.delete(&path).await?;
            cx.output.note(format_args!("revoked {name}"));
            Ok(())
        }
    }
}

async fn setup(cx: &Context) -> Result<(), Failure> {
    let link: SetupLink = Client::open(&cx.directory)?.post_for("/setup-link", &()).await?;
    if cx.output.json {
        return cx.output.json(&link);
    }
    match &link.url {
        Some(url) => {
            cx.output.line(url)?;
            cx.output.note(format_args!("it works once, until {}", link.expires_at));
            Ok(())
        }
        None => Err(Failure::new("the console is not served: tidegate.toml has no api.listen").hint(
            "write listen = \"0.0.0.0:8446\" below [api], start the site again, and repeat this; or add a user with `tidegate user add`",
        )),
    }
}

async fn list(cx: &Context) -> Result<(), Failure> {
    let accounts: Vec<AccountInfo> = Client::open(&cx.directory)?.get("/accounts").await?;
    if cx.output.json {
        return cx.output.json(&accounts);
    }
    if accounts.is_empty() {
        cx.output.note("there are no users yet: tidegate user setup");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "ROLE", "SCOPE", "LAST SIGN-IN", "LOCKED UNTIL"]);
    for account in accounts {
        let time = |at: Option<jiff::Timestamp>| at.map(|at| at.to_string()).unwrap_or_default();
        table.row([
            account.name.as_str().into(),
            account.role.as_str().into(),
            account.scope.as_str().into(),
            time(account.signed_in_at).into(),
            time(account.locked_until).into(),
        ]);
    }
    table.print(&cx.output)
}

async fn show_tokens(cx: &Context) -> Result<(), Failure> {
    let found: Vec<TokenInfo> = Client::open(&cx.directory)?.get("/tokens").await?;
    if cx.output.json {
        return cx.output.json(&found);
    }
    let mut table = Table::new(&["NAME", "ROLE", "SCOPE"]);
    for token in found {
        table.row([
            token.name.as_str().into(),
            token.role.as_str().into(),
            token.scope.as_str().into(),
        ]);
    }
    table.print(&cx.output)
}

/// By the site if it runs, else in its files.
async fn token(name: String, given: &Given, cx: &Context) -> Result<(), Failure> {
    let directory = SiteDirectory::new(&cx.directory);
    if !directory.configuration().exists() {
        return Err(super::run::no_site(cx));
    }
    let made = match Client::open_if_running(&cx.directory)? {
        Some(client) => {
            let request = TokenRequest {
                name,
                role: given.role.word().to_owned(),
                scope: Some(given.scope.as_str().to_owned()),
            };
            client.post_for("/tokens", &request).await?
        }
        None => {
            let mut random = [0; 32];
            getrandom::fill(&mut random)
                .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))?;
            let access = Access {
                role: given.role,
                scope: given.scope,
            };
            let token = tokens::add(&directory.api_tokens(), &name, access, random)?;
            NewToken { name, token }
        }
    };
    if cx.output.json {
        return cx.output.json(&made);
    }
    cx.output.line(&made.token)?;
    cx.output.note(
        "keep it: it is not shown again. Send it as `Authorization: Bearer TOKEN` to the address api.listen of tidegate.toml",
    );
    Ok(())
}

/// The first line of a file or of standard input.
fn password(file: Option<PathBuf>, name: &str) -> Result<String, Failure> {
    let mut line = String::new();
    match file {
        Some(path) => {
            let opened = std::fs::File::open(&path)
                .map_err(|failure| Failure::new(format!("cannot read {}: {failure}", path.display())))?;
            std::io::BufReader::new(opened).read_line(&mut line)?;
        }
        None => {
            let input = std::io::stdin();
            if input.is_terminal() {
                eprintln!(
                    "password of {name} (it is shown while you type; use --password-file to avoid that):"
                );
            }
            input.lock().read_line(&mut line)?;
        }
    }
    let length = line.trim_end_matches(['\r', '\n']).len();
    line.truncate(length);
    Ok(line)
}
