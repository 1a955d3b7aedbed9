//! `tidegate config check`: the settings in force and where each comes from.

use clap::{Args, Subcommand};
use serde::Serialize;
use site::directory::SiteDirectory;
use site::settings::Settings;

use super::Context;
use crate::failure::Failure;
use crate::output::Style;
use crate::table::{Cell, Table};

/// The configuration of a site, tidegate.toml
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct ConfigArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Validate tidegate.toml and show the settings in force.
    ///
    /// A running site has the settings it was started with.
    Check,
}

/// `config check --json`
#[derive(Debug, Serialize)]
struct Checked {
    file: String,
    settings: Vec<Setting>,
}

/// A setting in force.
#[derive(Debug, Serialize)]
struct Setting {
    key: &'static str,
    value: serde_json::Value,
    /// `file` or `default`.
    source: &'static str,
}

/// Runs the command.
pub fn run(arguments: &ConfigArgs, cx: &Context) -> Result<(), Failure> {
    match arguments.verb {
        Verb::Check => check(cx),
    }
}

fn check(cx: &Context) -> Result<(), Failure> {
    let path = SiteDirectory::new(&cx.directory).configuration();
    let settings = Settings::load(&path)?;
    // Loading has validated the file and bounded its size.
    let written: toml::Table = toml::from_str(&std::fs::read_to_string(&path)?)?;
    let checked = Checked {
        file: path.display().to_string(),
        settings: in_force(&settings, &written),
    };
    if cx.output.json {
        return cx.output.json(&checked);
    }
    let mut table = Table::new(&["SETTING", "VALUE", "FROM"]);
    for setting in &checked.settings {
        let value = match &setting.value {
            serde_json::Value::String(text) => text.clone(),
            serde_json::Value::Null => "-".to_owned(),
            other => other.to_string(),
        };
        let style = if setting.source == "default" {
            Style::Faint
        } else {
            Style::Plain
        };
        table.row([
            setting.key.into(),
            value.into(),
            Cell::styled(style, setting.source),
        ]);
    }
    table.print(&cx.output)?;
    cx.output.note(format_args!("{} is valid", checked.file));
    Ok(())
}

fn in_force(settings: &Settings, written: &toml::Table) -> Vec<Setting> {
    let setting = |key: &'static str, value: serde_json::Value| {
        let in_file = key
            .split_once('.')
            .and_then(|(table, key)| written.get(table)?.as_table()?.get(key))
            .is_some();
        Setting {
            key,
            value,
            source: if in_file { "file" } else { "default" },
        }
    };
    vec![
        setting("feed.url", settings.feed_url.clone().into()),
        setting("feed.mirrors", settings.feed_mirrors.clone().into()),
        setting(
            "feed.ca",
            settings
                .feed_ca
                .as_ref()
                .map(|ca| ca.display().to_string())
                .into(),
        ),
        setting(
            "feed.check_interval",
            interval(settings.check_interval.as_secs()).into(),
        ),
        setting("feed.rings", settings.rings.clone().into()),
        setting("log.max_bytes", settings.log_bytes_max.into()),
        setting("log.history", settings.log_history.into()),
        setting("site.message_days", settings.message_days.into()),
        setting("site.free_bytes_min", settings.free_bytes_min.into()),
        setting(
            "site.non_critical_notifications",
            settings.non_critical_notifications.into(),
        ),
        setting("internet.features", settings.internet_features.clone().into()),
        setting("internet.cloud", settings.internet_cloud.clone().into()),
        setting(
            "internet.catalogue",
            settings
                .internet_catalogue
                .as_ref()
                .map(|path| path.display().to_string())
                .into(),
        ),
        setting("internet.revocation", settings.internet_revocation.into()),
        setting(
            "offline.grace_days",
            (settings.offline_grace.as_secs() / 86_400).into(),
        ),
        setting(
            "api.listen",
            settings.api_listen.map(|address| address.to_string()).into(),
        ),
        setting(
            "alerts.syslog",
            settings.alerts.syslog.as_ref().map(ToString::to_string).into(),
        ),
        // The rest of its address may be a secret.
        setting(
            "alerts.webhook",
            settings
                .alerts
                .webhook
                .as_ref()
                .map(|webhook| webhook.place())
                .into(),
        ),
        setting(
            "alerts.email",
            settings
                .alerts
                .email
                .as_ref()
                .map(|email| format!("{} by {}:{}", email.to.join(", "), email.host, email.port))
                .into(),
        ),
        setting(
            "oidc.issuer",
            settings.oidc.as_ref().map(|oidc| oidc.issuer.clone()).into(),
        ),
        setting(
            "oidc.client_id",
            settings.oidc.as_ref().map(|oidc| oidc.client_id.clone()).into(),
        ),
        setting("oidc.roles", settings.oidc.as_ref().map(roles_by_value).into()),
    ]
}

/// Who gets which role by single sign-on.
fn roles_by_value(oidc: &site::single_sign_on::OidcSettings) -> Vec<String> {
    let pairs = oidc.roles.iter();
    pairs
        .map(|(value, role)| format!("{value} = {} ({})", role.word(), oidc.scope.as_str()))
        .collect()
}

/// A time as the configuration file has it.
fn interval(seconds: u64) -> String {
    [(86_400, "d"), (3_600, "h"), (60, "m")]
        .into_iter()
        .find(|(unit, _)| seconds.is_multiple_of(*unit))
        .map_or_else(
            || format!("{seconds}s"),
            |(unit, name)| format!("{}{name}", seconds / unit),
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_says_where_it_comes_from() {
        let text = "[feed]\nurl = \"https://feed.example\"\n[log]\nhistory = false\n";
        let settings = Settings::parse(text, std::path::Path::new("tidegate.toml")).unwrap();
        let found = in_force(&settings, &toml::from_str(text).unwrap());
        let of = |key| found.iter().find(|setting| setting.key == key).unwrap();
        assert_eq!(
            (of("feed.url").source, of("feed.rings").source),
            ("file", "default")
        );
        assert_eq!(
            (of("log.history").source, &of("log.history").value),
            ("file", &false.into())
        );
        assert_eq!(of("feed.check_interval").value, "1d");
        assert_eq!(
            [interval(90), interval(5400), interval(7200)],
            ["90s", "90m", "2h"]
        );
        // A key that the configuration knows and this list forgot would be missed here.
        assert_eq!(found.len(), 22);
    }
}
