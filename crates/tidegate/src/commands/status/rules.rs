//! `tidegate status rules`: which messages are written, counted and told to others.

use clap::{Args, Subcommand, ValueEnum};
use domain::component::ComponentName;
use protocol::api::{
    StatusRule, StatusRuleActions, StatusRuleAddRequest, StatusRuleChangeRequest, StatusRuleCriteria,
};

use super::{Severity, component_name};
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

#[derive(Debug, Args)]
pub struct RulesArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// The rules in their order.
    List,
    /// Add a rule: which messages it is about, and what becomes of them.
    ///
    /// Rules are looked at in their order, each that matches adds its actions, and the first that writes says for how
    /// long. After the last, a message is written for site.message_days days. So a rule with --stop and without --write
    /// keeps messages out of the database; audit messages are written all the same. A message is counted for its
    /// component unless a rule says --do-not-forward, written or not.
    #[command(after_help = "Examples:\n  \
        tidegate status rules add noise --id 60122 --do-not-forward --stop\n  \
        tidegate status rules add keep --severity error --write --days 365\n  \
        tidegate status rules add page --severity error --alert webhook --alert syslog --place 1\n  \
        tidegate status rules add alice --property user --value alice --alert syslog")]
    Add(Box<New>),
    /// Remove a rule.
    Remove {
        /// Rule.
        name: String,
    },
    /// Move a rule to another place; those between move up or down.
    Move {
        /// Rule.
        name: String,
        /// New place, counted from 1.
        #[arg(value_parser = clap::value_parser!(u32).range(1..))]
        place: u32,
    },
    /// Have a rule looked at again.
    Enable {
        /// Rule.
        name: String,
    },
    /// Have a rule not looked at.
    Disable {
        /// Rule.
        name: String,
    },
}

#[derive(Debug, Args)]
struct New {
    /// Name of the rule.
    name: String,
    /// Only messages of this source: acts of administrators, or everything else.
    #[arg(long, value_enum, help_heading = "Criteria")]
    source: Option<Source>,
    /// Only messages of this site.
    #[arg(long, value_name = "CODE", help_heading = "Criteria")]
    site_code: Option<String>,
    /// Only messages raised on this machine.
    #[arg(long, value_name = "NAME", help_heading = "Criteria")]
    system: Option<String>,
    /// Only messages of this component.
    #[arg(long, value_name = "NAME", value_parser = component_name, help_heading = "Criteria")]
    component: Option<ComponentName>,
    /// Only this kind of message.
    #[arg(long = "type", value_enum, help_heading = "Criteria")]
    message_type: Option<Kind>,
    /// Only this severity.
    #[arg(long, value_enum, help_heading = "Criteria")]
    severity: Option<Severity>,
    /// Only this message id.
    #[arg(long, value_name = "ID", help_heading = "Criteria")]
    id: Option<u32>,
    /// Only messages with this property: the package they are about, or whose act they tell.
    #[arg(long, value_enum, help_heading = "Criteria")]
    property: Option<Property>,
    /// Only with this value of it.
    #[arg(long, value_name = "VALUE", requires = "property", help_heading = "Criteria")]
    value: Option<String>,
    /// Write the message to the database.
    #[arg(long, help_heading = "Actions")]
    write: bool,
    /// Days until it may be deleted there; site.message_days unless given.
    #[arg(long, value_name = "N", requires = "write", help_heading = "Actions")]
    days: Option<u32>,
    /// Leave the counts of its component as they are.
    #[arg(long, help_heading = "Actions")]
    do_not_forward: bool,
    /// Tell of it; the table alerts of tidegate.toml sets the targets. May be repeated.
    #[arg(long, value_enum, value_name = "TARGET", help_heading = "Actions")]
    alert: Vec<Target>,
    /// Look at no lower rule.
    #[arg(long, help_heading = "Actions")]
    stop: bool,
    /// Place of the rule, counted from 1; the last unless given.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    place: Option<u32>,
    /// Add it without having it looked at.
    #[arg(long)]
    disabled: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Source {
    Provider,
    SiteServer,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Milestone,
    Detail,
    Audit,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Property {
    Package,
    User,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Target {
    Syslog,
    Email,
    Webhook,
}

/// The word that the API takes: that of the command line.
fn word(value: impl ValueEnum) -> String {
    value
        .to_possible_value()
        .map_or_else(String::new, |value| value.get_name().to_owned())
}

pub async fn run(client: &Client, output: &Output, arguments: RulesArgs) -> Result<(), Failure> {
    let change = async |name: String, request: StatusRuleChangeRequest| {
        client
            .put_for(&format!("/status/rules/{}", segment(&name)), &request)
            .await
    };
    let switch = |enabled| StatusRuleChangeRequest {
        enabled: Some(enabled),
        ..StatusRuleChangeRequest::default()
    };
    let rules: Vec<StatusRule> = match arguments.verb.unwrap_or(Verb::List) {
        Verb::List => client.get("/status/rules").await?,
        Verb::Add(new) => client.post_for("/status/rules", &request(*new)).await?,
        Verb::Remove { name } => {
            client
                .delete_for(&format!("/status/rules/{}", segment(&name)))
                .await?
        }
        Verb::Move { name, place } => {
            let request = StatusRuleChangeRequest {
                place: Some(place),
                ..StatusRuleChangeRequest::default()
            };
            change(name, request).await?
        }
        Verb::Enable { name } => change(name, switch(true)).await?,
        Verb::Disable { name } => change(name, switch(false)).await?,
    };
    show(output, &rules)
}

fn request(new: New) -> StatusRuleAddRequest {
    StatusRuleAddRequest {
        rule: StatusRule {
            name: new.name,
            enabled: !new.disabled,
            criteria: StatusRuleCriteria {
                source: new.source.map(word),
                site_code: new.site_code,
                system: new.system,
                component: new.component.map(|name| name.to_string()),
                message_type: new.message_type.map(word),
                severity: new.severity.map(word),
                message_id: new.id,
                property: new.property.map(word),
                property_value: new.value,
            },
            actions: StatusRuleActions {
                write: new.write,
                write_days: new.days,
                do_not_forward: new.do_not_forward,
                alert: new.alert.into_iter().map(word).collect(),
                stop: new.stop,
            },
        },
        place: new.place,
    }
}

fn show(output: &Output, rules: &[StatusRule]) -> Result<(), Failure> {
    if output.json {
        return output.json(&rules);
    }
    if rules.is_empty() {
        output.note("no rules: every message is written and counted");
        return Ok(());
    }
    let mut table = Table::new(&["PLACE", "RULE", "ON", "MESSAGES", "ACTIONS"]);
    for (index, rule) in rules.iter().enumerate() {
        table.row([
            (index as u64 + 1).into(),
            rule.name.as_str().into(),
            match rule.enabled {
                true => Cell::styled(Style::Good, "yes"),
                false => Cell::styled(Style::Faint, "no"),
            },
            criteria(&rule.criteria).into(),
            actions(&rule.actions).into(),
        ]);
    }
    table.right(0);
    table.print(output)
}

fn criteria(criteria: &StatusRuleCriteria) -> String {
    let id = criteria.message_id.map(|id| id.to_string());
    let named = [
        ("source", &criteria.source),
        ("site", &criteria.site_code),
        ("system", &criteria.system),
        ("component", &criteria.component),
        ("type", &criteria.message_type),
        ("severity", &criteria.severity),
        ("id", &id),
        ("property", &criteria.property),
        ("value", &criteria.property_value),
    ];
    let given = named
        .iter()
        .filter_map(|(name, value)| value.as_ref().map(|value| format!("{name} {value}")));
    given.collect::<Vec<_>>().join(", ")
}

fn actions(actions: &StatusRuleActions) -> String {
    let write = match (actions.write, actions.write_days) {
        (true, Some(days)) => Some(format!("write for {days} days")),
        (true, None) => Some("write".to_owned()),
        (false, _) => None,
    };
    let alert = (!actions.alert.is_empty()).then(|| format!("tell {}", actions.alert.join(" and ")));
    let forward = actions.do_not_forward.then(|| "do not count".to_owned());
    let stop = actions.stop.then(|| "stop".to_owned());
    [write, forward, alert, stop]
        .into_iter()
        .flatten()
        .collect::<Vec<_>>()
        .join(", ")
}
