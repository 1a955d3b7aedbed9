//! `tidegate scp`: the service connection point, its mode and its proxy.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use domain::connectivity::Outcome;
use protocol::api::{EndpointRunInfo, ModeRequest, ProxyInfo, ProxyRequest, ScpShow, UsageLevel};
use protocol::connectivity::CheckReport;

use super::Context;
use super::check::{password, print_report};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// The service connection point: mode, proxy, last check of internet access
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct ScpArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show mode, proxy and how the last check of internet access ended.
    Show,
    /// Configure the mode; it comes into force when SMS_DMP_DOWNLOADER restarts.
    #[command(after_help = "Example:\n  tidegate scp mode offline --restart")]
    Mode {
        /// The mode.
        #[arg(value_enum)]
        mode: ModeName,
        /// Restart SMS_DMP_DOWNLOADER now.
        #[arg(long)]
        restart: bool,
    },
    /// Show or set how much usage data is collected: basic, enhanced or full.
    Level {
        /// The level; without one, the configured one is shown.
        #[arg(value_name = "LEVEL")]
        level: Option<String>,
    },
    /// The one proxy of this server, for everything that goes out.
    Proxy {
        #[command(subcommand)]
        verb: ProxyVerb,
    },
    /// Checks of internet access in the past.
    History {
        /// Show so many.
        #[arg(long, default_value_t = 20)]
        limit: u32,
    },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ModeName {
    Online,
    Offline,
}

#[derive(Debug, Subcommand)]
enum ProxyVerb {
    /// Show the proxy; its password is never shown.
    Show,
    /// Set the proxy. It replaces the one before, account and exceptions included.
    #[command(after_help = "\
Examples:
  tidegate scp proxy set --host proxy.example --port 3128
  tidegate scp proxy set --host proxy.example --user 'PLANT\\svc-scp' --password-file /run/secrets/proxy")]
    Set(SetArgs),
    /// Remove the proxy: what goes out goes directly.
    Clear,
    /// Try the checks of this site through a proxy, the one in force unless another is named.
    Test(TestArgs),
}

#[derive(Debug, Args)]
struct SetArgs {
    /// Name or address.
    #[arg(long, value_name = "HOST")]
    host: String,
    #[command(flatten)]
    rest: RestArgs,
}

#[derive(Debug, Args)]
struct TestArgs {
    /// Name or address of a proxy that is not in force.
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    #[command(flatten)]
    rest: RestArgs,
}

#[derive(Debug, Args)]
struct RestArgs {
    /// Port.
    #[arg(long, default_value_t = cloud_client::PROXY_PORT, value_parser = clap::value_parser!(u16).range(1..))]
    port: u16,
    /// Speak TLS to the proxy itself.
    #[arg(long)]
    tls: bool,
    /// Account: USER or DOMAIN\USER. It is sent only when the proxy asks for one.
    #[arg(long, value_name = "USER", requires = "password_file")]
    user: Option<String>,
    /// File with the account's password; `-` reads it from standard input.
    #[arg(long, value_name = "FILE", requires = "user")]
    password_file: Option<PathBuf>,
    /// Allow the password to be sent readable (Basic over a connection without TLS).
    #[arg(long)]
    allow_basic: bool,
    /// Reach this host directly: a name, *.SUFFIX, an address, or `<local>`; repeatable.
    #[arg(long = "exception", value_name = "HOST")]
    exceptions: Vec<String>,
}

impl RestArgs {
    fn request(self, host: String) -> Result<ProxyRequest, Failure> {
        let password = self.password_file.as_ref().map(password).transpose()?;
        Ok(ProxyRequest {
            host,
            port: self.port,
            tls: self.tls,
            user: self.user,
            password: password.map(|password| password.as_str().to_owned()),
            basic_over_clear_text: self.allow_basic,
            exceptions: self.exceptions,
        })
    }
}

/// Runs the command.
pub async fn run(arguments: ScpArgs, cx: &Context) -> Result<(), Failure> {
    let (client, output) = (cx.client()?, &cx.output);
    match arguments.verb {
        Verb::Show => shown(&client.get("/scp").await?, output, cx),
        Verb::Mode { mode, restart } => {
            let mode = match mode {
                ModeName::Online => "online",
                ModeName::Offline => "offline",
            };
            let request = ModeRequest {
                mode: mode.into(),
                restart,
            };
            shown(&client.put_for("/scp/mode", &request).await?, output, cx)
        }
        Verb::Level { level } => {
            let shown: UsageLevel = match level {
                None => client.get("/usage/level").await?,
                Some(level) => client.put_for("/usage/level", &UsageLevel { level }).await?,
            };
            match output.json {
                true => output.json(&shown),
                false => output.line(&shown.level),
            }
        }
        Verb::History { limit } => {
            let runs: Vec<EndpointRunInfo> = client.get(&format!("/internet/history?limit={limit}")).await?;
            history(&runs, output)
        }
        Verb::Proxy { verb } => match verb {
            ProxyVerb::Show => proxy(
                client.get::<Option<ProxyInfo>>("/scp/proxy").await?.as_ref(),
                output,
            ),
            ProxyVerb::Set(arguments) => {
                let request = arguments.rest.request(arguments.host)?;
                let info: ProxyInfo = client.put_for("/scp/proxy", &request).await?;
                proxy(Some(&info), output)?;
                output.note(format_args!(
                    "in force now; try it: {}",
                    output.command(format_args!("tidegate scp proxy test{}", cx.dir_option()))
                ));
                Ok(())
            }
            ProxyVerb::Clear => {
                client.delete("/scp/proxy").await?;
                output.note("there is no proxy now; what goes out goes directly");
                Ok(())
            }
            ProxyVerb::Test(arguments) => {
                let request = arguments
                    .host
                    .map(|host| arguments.rest.request(host))
                    .transpose()?;
                let report: CheckReport = client.post_for("/scp/proxy/test", &request).await?;
                match output.json {
                    true => output.json(&report)?,
                    false => print_report(&report, output)?,
                }
                match Outcome::parse(&report.outcome) {
                    Some(Outcome::Passed) => Ok(()),
                    _ => Err(Failure::Told),
                }
            }
        },
    }
}

fn shown(scp: &ScpShow, output: &Output, cx: &Context) -> Result<(), Failure> {
    if output.json {
        return output.json(scp);
    }
    let mut table = Table::of_values();
    table.value("Mode in force", scp.mode_effective.as_str());
    if scp.mode_configured != scp.mode_effective {
        let text = format!(
            "{} (waits for a restart of SMS_DMP_DOWNLOADER)",
            scp.mode_configured
        );
        table.value("Mode configured", Cell::styled(Style::Warning, text));
    }
    table.value("Proxy", scp.proxy.as_ref().map_or("none".to_owned(), words));
    let features = match scp.features.is_empty() {
        true => "only the feed".to_owned(),
        false => scp.features.join(", "),
    };
    table.value("Features in use", features);
    if let Some(last) = &scp.internet {
        table.value(
            "Internet access",
            format!(
                "{}, {}: {}",
                last.outcome,
                output.when(last.started_at),
                last.summary
            ),
        );
    }
    table.print(output)?;
    if scp.mode_configured != scp.mode_effective {
        let command = format!("tidegate component restart SMS_DMP_DOWNLOADER{}", cx.dir_option());
        output.note(format_args!(
            "bring the mode into force: {}",
            output.command(command)
        ));
    }
    Ok(())
}

fn words(proxy: &ProxyInfo) -> String {
    let scheme = if proxy.tls { "https" } else { "http" };
    let account = proxy
        .user
        .as_ref()
        .map_or_else(String::new, |user| format!(" as {user}"));
    let host = match proxy.host.contains(':') {
        true => format!("[{}]", proxy.host),
        false => proxy.host.clone(),
    };
    format!("{scheme}://{host}:{}{account}", proxy.port)
}

fn proxy(info: Option<&ProxyInfo>, output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(&info);
    }
    let Some(info) = info else {
        return output.line("no proxy: what goes out goes directly");
    };
    let mut table = Table::of_values();
    table.value("Proxy", words(info));
    let basic = match info.basic_over_clear_text {
        true => "NTLM, Digest, Basic",
        false if info.tls => "NTLM, Digest, Basic (over TLS)",
        false => "NTLM, Digest",
    };
    table.value("Authentication", if info.user.is_some() { basic } else { "none" });
    if !info.exceptions.is_empty() {
        table.value("Directly reached", info.exceptions.join(", "));
    }
    table.print(output)
}

fn history(runs: &[EndpointRunInfo], output: &Output) -> Result<(), Failure> {
    if output.json {
        return output.json(&runs);
    }
    let mut table = Table::new(&["When", "Cause", "Outcome", "Took", "Summary"]);
    for run in runs {
        table.row([
            output.when(run.started_at).into(),
            run.cause.as_str().into(),
            run.outcome.as_str().into(),
            format!("{:.1} s", run.took_ms as f64 / 1000.0).into(),
            run.summary.as_str().into(),
        ]);
    }
    match table.is_empty() {
        true => output.line("internet access was not checked yet"),
        false => table.print(output),
    }
}
