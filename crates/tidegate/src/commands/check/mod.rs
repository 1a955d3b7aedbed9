//! `tidegate check`: internet access, on any machine, with or without a site.

mod live;
mod page;
mod show;

pub use show::report as print_report;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use cloud_client::probe::{Prober, RunInfo, STANDING};
use cloud_client::{Credentials, Proxy, ProxySettings, Resolver, Roots, WayOut};
use domain::connectivity::{Fault, Outcome, Plan, Selection, Target};
use protocol::connectivity::{Catalogue, CheckReport, parse_address};
use zeroize::Zeroizing;

use super::Context;
use crate::failure::Failure;
use crate::output::Output;

/// Largest file that is read for an option.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Check that the internet can be reached, and say whose fault it is if not
///
/// Tries every endpoint of the named features, or the URLs given, phase by phase: DNS, TCP, proxy, TLS,
/// certificate, HTTP. Works on any machine, before any site exists. Without features and URLs the
/// features that every service connection point needs are checked.
#[derive(Debug, Args)]
#[command(after_help = "\
Exit codes: 0 everything answered, 1 something failed that nothing depends on, 2 something failed that is
needed, 3 nothing could be found out.

Examples:
  tidegate check
  tidegate check --feature tenant-attach --proxy proxy.example:3128
  tidegate check https://updates.example/health --json
  tidegate check --site --report firewall-request.html")]
pub struct CheckArgs {
    /// Addresses to check beside or instead of features; `https://` unless given otherwise.
    #[arg(value_name = "URL")]
    urls: Vec<String>,
    /// Check the endpoints of this feature; repeatable. `all` stands for every feature in the catalogue.
    #[arg(long = "feature", value_name = "FEATURE")]
    features: Vec<String>,
    /// List the features of the catalogue and end.
    #[arg(long)]
    list_features: bool,
    /// Have the running site of this directory check what it uses, and show that.
    #[arg(long, conflicts_with_all = ["urls", "features", "proxy", "catalog", "resolver", "compare", "standing", "revocation"])]
    site: bool,
    /// Take the endpoints from this file instead of the catalogue that comes with the program.
    #[arg(long, value_name = "FILE")]
    catalog: Option<PathBuf>,
    /// The sovereign cloud whose endpoints are meant.
    #[arg(long, value_enum, default_value_t = Cloud::Public, value_name = "CLOUD")]
    cloud: Cloud,
    /// Check endpoints too that are no longer listed; they do not change the exit code.
    #[arg(long)]
    retired: bool,
    #[command(flatten)]
    proxy: ProxyArgs,
    /// Certificates (PEM) to trust beside the platform's own; repeatable.
    #[arg(long, value_name = "FILE")]
    ca: Vec<PathBuf>,
    /// Ask this name server instead of the platform's.
    #[arg(long, value_name = "ADDRESS:PORT")]
    resolver: Option<SocketAddr>,
    /// Ask also whether certificates were revoked; needs HTTP on port 80 to the issuers' lists.
    #[arg(long)]
    revocation: bool,
    /// Try the direct way beside the proxy and say which of them is to blame.
    #[arg(long)]
    compare: bool,
    /// Leave a connection through the proxy quiet for three minutes and see whether it is cut.
    #[arg(long)]
    standing: bool,
    /// Longest time for each phase, instead of 5 s for DNS, 10 s for TCP and TLS and 20 s for HTTP.
    #[arg(long, value_name = "SPAN", value_parser = super::duration)]
    timeout: Option<Duration>,
    /// Check again and again, until Ctrl-C.
    #[arg(long)]
    watch: bool,
    /// Time between the checks of --watch.
    #[arg(long, value_name = "SPAN", value_parser = super::duration, default_value = "30s", requires = "watch")]
    every: Duration,
    /// Write a page to hand to the people of firewall and proxy.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// The proxy of a command; passwords never stand on a command line.
#[derive(Debug, Default, Args)]
pub struct ProxyArgs {
    /// Go through this proxy: HOST:PORT (port 80 unless given) or https://HOST:PORT. Otherwise
    /// HTTPS_PROXY and NO_PROXY of the environment count; `none` ignores them.
    #[arg(long, value_name = "URL")]
    pub proxy: Option<String>,
    /// Account of the proxy: USER or DOMAIN\USER.
    #[arg(long, value_name = "USER", requires = "proxy_password_file")]
    pub proxy_user: Option<String>,
    /// File with the account's password; `-` reads it from standard input.
    #[arg(long, value_name = "FILE", requires = "proxy_user")]
    pub proxy_password_file: Option<PathBuf>,
    /// Allow the password to be sent readable (Basic over a connection without TLS).
    #[arg(long)]
    pub proxy_basic: bool,
}

/// Sovereign clouds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cloud {
    Public,
    UsGov,
    China,
}

impl Cloud {
    fn as_str(self) -> &'static str {
        match self {
            Cloud::Public => "public",
            Cloud::UsGov => "us-gov",
            Cloud::China => "china",
        }
    }
}

/// Runs the command.
pub async fn run(arguments: CheckArgs, cx: &Context) -> Result<(), Failure> {
    let output = &cx.output;
    let catalogue = catalogue(&arguments)?;
    if arguments.list_features {
        return show::features(&catalogue, output);
    }
    if arguments.site {
        let report = ask_site(cx).await?;
        return told(&report, &arguments, output);
    }
    let plan = plan(&arguments, &catalogue)?;
    let given = !arguments.urls.is_empty() && arguments.features.is_empty() && arguments.catalog.is_none();
    let stamp = (!given).then(|| catalogue.stamp.clone());
    let prober = match prober(&arguments) {
        Ok(prober) => prober,
        Err(Refusal::Proxy(text)) => {
            let (info, fault) = (info(output, stamp)?, Fault::ProxyInvalid);
            let server = site::host::machine_name();
            let report = cloud_client::probe::refused(&plan, &info, &server, "online", fault, &text);
            return told(&report, &arguments, output);
        }
        Err(Refusal::Failed(failure)) => return Err(failure),
    };
    loop {
        let info = info(output, stamp.clone())?;
        let report = tokio::select! {
            report = live::run(&prober, &plan, &info, output) => report,
            () = crate::signals::interrupted() => return Err(Failure::Told),
        };
        if !arguments.watch {
            standing(&prober, &plan, &arguments, &info, output).await?;
            return told(&report, &arguments, output);
        }
        shown(&report, &arguments, output)?;
        tokio::select! {
            () = tokio::time::sleep(arguments.every) => {}
            () = crate::signals::interrupted() => return ended(&report),
        }
    }
}

fn info(
    output: &Output,
    catalogue: Option<protocol::connectivity::CatalogueStamp>,
) -> Result<RunInfo, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|failure| Failure::new(format!("the machine gives no random numbers: {failure}")))?;
    Ok(RunInfo {
        run_id: hex::encode(random),
        now: output.now(),
        catalogue,
    })
}

/// Has the running site check and gets its report.
async fn ask_site(cx: &Context) -> Result<CheckReport, Failure> {
    let client = cx.client()?;
    client.post_and_wait("/internet/check").await
}

fn catalogue(arguments: &CheckArgs) -> Result<Catalogue, Failure> {
    let Some(path) = &arguments.catalog else {
        return Ok(Catalogue::shipped()?);
    };
    let text =
        String::from_utf8(read(path)?).map_err(|_| Failure::new(format!("{} is no text", path.display())))?;
    Catalogue::parse(&text).map_err(|failure| Failure::new(format!("{}: {failure}", path.display())))
}

fn plan(arguments: &CheckArgs, catalogue: &Catalogue) -> Result<Plan, Failure> {
    let mut plan = Plan::default();
    for url in &arguments.urls {
        let address = parse_address(url).map_err(Failure::usage)?;
        plan.add(Target {
            address,
            endpoints: Vec::new(),
            features: Vec::new(),
            stands_for: Vec::new(),
            critical: true,
            retired: false,
            public: false,
        });
    }
    let all = arguments.features.iter().any(|feature| feature == "all");
    let own_list = arguments.catalog.is_some() && arguments.features.is_empty();
    let features: Vec<String> = if all || own_list {
        let mut names: Vec<String> = catalogue
            .endpoints
            .iter()
            .map(|entry| entry.feature.clone())
            .collect();
        names.sort();
        names.dedup();
        names
    } else if arguments.features.is_empty() && arguments.urls.is_empty() {
        catalogue.always()
    } else {
        arguments.features.clone()
    };
    for feature in &features {
        let known = catalogue.features.contains_key(feature)
            || catalogue.endpoints.iter().any(|entry| entry.feature == *feature);
        if !known {
            return Err(
                Failure::usage(format!("the catalogue has no feature {feature:?}"))
                    .hint("see them with: tidegate check --list-features"),
            );
        }
    }
    let selection = Selection {
        features,
        cloud: arguments.cloud.as_str().into(),
        retired: arguments.retired,
        ..Selection::default()
    };
    plan.add_catalogue(&catalogue.endpoints, &selection);
    Ok(plan)
}

/// Why there is no prober.
enum Refusal {
    /// The proxy's description is wrong: a finding of the check.
    Proxy(String),
    /// Anything else.
    Failed(Failure),
}

impl<E: Into<Failure>> From<E> for Refusal {
    fn from(failure: E) -> Self {
        Refusal::Failed(failure.into())
    }
}

fn prober(arguments: &CheckArgs) -> Result<Prober, Refusal> {
    let pems = arguments.ca.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let roots = Roots::load(&pems)?;
    let proxy = proxy(&arguments.proxy)?;
    let mut limits = cloud_client::Limits::default();
    if let Some(timeout) = arguments.timeout {
        (limits.dns, limits.tcp, limits.tls, limits.http) = (timeout, timeout, timeout, timeout);
    }
    let resolver = match arguments.resolver {
        Some(server) => Resolver::at(server, limits.dns)?,
        None => Resolver::system(limits.dns)?,
    };
    let mut way = WayOut::new(roots, proxy.map(Proxy::new), resolver);
    way.limits = limits;
    let mut prober = Prober::new(way, site::host::machine_name());
    prober.revocation = arguments.revocation;
    prober.compare = arguments.compare;
    Ok(prober)
}

/// The proxy that was named, or the environment's.
fn proxy(arguments: &ProxyArgs) -> Result<Option<ProxySettings>, Refusal> {
    let mut settings = match arguments.proxy.as_deref() {
        Some("none") => return Ok(None),
        Some(text) => ProxySettings::parse(text).map_err(|wrong| Refusal::Proxy(wrong.to_string()))?,
        None => return environment_proxy().map_err(Refusal::Proxy),
    };
    settings.basic_over_clear_text = arguments.proxy_basic;
    if let (Some(user), Some(file)) = (&arguments.proxy_user, &arguments.proxy_password_file) {
        settings.credentials = Some(Credentials {
            user: user.clone(),
            password: password(file)?,
        });
    }
    Ok(Some(settings))
}

/// What HTTPS_PROXY, ALL_PROXY and NO_PROXY say, in either spelling.
pub fn environment_proxy() -> Result<Option<ProxySettings>, String> {
    let variable = |name: &str| {
        let either = [name.to_ascii_lowercase(), name.to_owned()];
        either.into_iter().find_map(crate::environment_text)
    };
    let Some(text) = variable("HTTPS_PROXY").or_else(|| variable("ALL_PROXY")) else {
        return Ok(None);
    };
    // Here an account inside the address is common, and whoever reads the environment has it anyway.
    let (address, account) = match text.split_once("://").unwrap_or(("", &text)).1.rsplit_once('@') {
        Some((account, host)) => {
            let scheme = text.split_once("://").map_or("http", |(scheme, _)| scheme);
            (format!("{scheme}://{host}"), account.split_once(':'))
        }
        None => (text.clone(), None),
    };
    let mut settings = ProxySettings::parse(&address).map_err(|wrong| format!("HTTPS_PROXY: {wrong}"))?;
    settings.credentials = account.map(|(user, password)| Credentials {
        user: user.to_owned(),
        password: Zeroizing::new(password.to_owned()),
    });
    settings.basic_over_clear_text = true;
    let exceptions = variable("NO_PROXY").unwrap_or_default();
    for exception in exceptions
        .split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
    {
        settings.exceptions.push(exception.to_owned());
        if !exception.starts_with(['.', '*']) {
            settings.exceptions.push(format!(".{exception}"));
        }
    }
    Ok(Some(settings))
}

/// A password from a file or standard input, without its line end.
pub fn password(file: &PathBuf) -> Result<Zeroizing<String>, Failure> {
    let bytes = Zeroizing::new(match file.as_os_str() == "-" {
        true => {
            let mut bytes = Vec::new();
            std::io::Read::read_to_end(&mut std::io::Read::take(std::io::stdin(), 4096), &mut bytes)?;
            bytes
        }
        false => read(file)?,
    });
    let text = std::str::from_utf8(&bytes).map_err(|_| Failure::new("the password is no text"))?;
    let text = text.trim_end_matches(['\r', '\n']);
    match text.is_empty() {
        true => Err(Failure::new("the password is empty")),
        false => Ok(Zeroizing::new(text.to_owned())),
    }
}

fn read(path: &PathBuf) -> Result<Vec<u8>, Failure> {
    let unreadable =
        |failure: std::io::Error| Failure::new(format!("cannot read {}: {failure}", path.display()));
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(unreadable)?;
    std::io::Read::read_to_end(&mut std::io::Read::take(file, FILE_BYTES_MAX + 1), &mut bytes)
        .map_err(unreadable)?;
    match bytes.len() as u64 > FILE_BYTES_MAX {
        true => Err(Failure::new(format!(
            "{} has more than {FILE_BYTES_MAX} bytes",
            path.display()
        ))),
        false => Ok(bytes),
    }
}

/// The standing connection, to the first host of the plan.
async fn standing(
    prober: &Prober,
    plan: &Plan,
    arguments: &CheckArgs,
    info: &RunInfo,
    output: &Output,
) -> Result<(), Failure> {
    let Some(target) = plan.targets.first().filter(|_| arguments.standing) else {
        return Ok(());
    };
    if prober.way.proxy.is_none() {
        return Err(Failure::usage(
            "--standing finds out the idle time-out of a proxy, and there is none",
        ));
    }
    output.note(format_args!(
        "leaving a connection to {} quiet for {} s …",
        target.address.host,
        STANDING.as_secs()
    ));
    match prober.standing(&target.address, STANDING, info.now).await {
        Ok(()) => {
            output.note("the quiet connection stood");
            Ok(())
        }
        Err((fault, evidence)) => Err(Failure::new(format!("{}: {evidence}", fault.code()))
            .hint("raise the proxy's idle time-out to three minutes or more")),
    }
}

fn told(report: &CheckReport, arguments: &CheckArgs, output: &Output) -> Result<(), Failure> {
    shown(report, arguments, output)?;
    ended(report)
}

fn shown(report: &CheckReport, arguments: &CheckArgs, output: &Output) -> Result<(), Failure> {
    if let Some(path) = &arguments.report {
        let text = page::page(report);
        site::directory::write_durably(path, text.as_bytes(), 0o644)
            .map_err(|failure| Failure::new(format!("cannot write {}: {failure}", path.display())))?;
        output.note(format_args!(
            "the page for firewall and proxy is in {}",
            path.display()
        ));
    }
    match (output.json, arguments.watch) {
        (true, true) => output.json_line(report),
        (true, false) => output.json(report),
        (false, _) => show::report(report, output),
    }
}

/// The exit code says how it stands.
fn ended(report: &CheckReport) -> Result<(), Failure> {
    let outcome = Outcome::parse(&report.outcome).unwrap_or(Outcome::Unknown);
    match outcome.exit_code() {
        0 => Ok(()),
        code => Err(Failure::Found(code)),
    }
}
