//! `tidegate notifications`: what an administrator has to see.

use clap::{Args, Subcommand};
use domain::notification::Snooze;
use protocol::api::{NotificationInfo, NotificationStanding, NotificationsQuery, SnoozeRequest, SnoozedInfo};

use super::Context;
use crate::client::{Client, segment};
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::table::{Cell, Table};

/// What is the matter with this site, worst first, and what to do
///
/// A notification is there as long as its cause is. Each user may dismiss or snooze those that are not critical; one
/// comes back when it gets worse or has another cause.
#[derive(Debug, Args)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub struct NotificationsArgs {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List what is in force.
    List {
        /// Also what you dismissed or snoozed.
        #[arg(long)]
        all: bool,
    },
    /// Hide one from you until it gets worse or has another cause; refused for critical ones.
    #[command(after_help = "Example:\n  tidegate notifications dismiss site-upgrade-available")]
    Dismiss(Key),
    /// Hide one from you for a while; refused for critical ones.
    #[command(after_help = "Example:\n  tidegate notifications snooze disk-space-low --for week")]
    Snooze {
        #[command(flatten)]
        key: Key,
        /// For how long: hour, day, week or month.
        #[arg(long = "for", value_name = "LENGTH", value_parser = length)]
        length: Snooze,
    },
}

#[derive(Debug, Args)]
struct Key {
    /// Key of the notification, as the list shows it.
    #[arg(value_name = "KEY")]
    key: String,
}

fn length(text: &str) -> Result<Snooze, String> {
    text.parse()
}

/// Runs the command.
pub async fn run(arguments: NotificationsArgs, cx: &Context) -> Result<(), Failure> {
    let client = cx.client()?;
    match arguments.verb {
        Verb::List { all } => list(&client, &cx.output, all).await,
        Verb::Dismiss(Key { key }) => {
            client
                .post(&format!("/notifications/{}/dismiss", segment(&key)), &())
                .await?;
            if cx.output.json {
                return cx.output.json(&serde_json::json!({ "key": key }));
            }
            cx.output.note(format_args!(
                "{key} is dismissed for you until it gets worse or has another cause"
            ));
            Ok(())
        }
        Verb::Snooze {
            key: Key { key },
            length,
        } => {
            let request = SnoozeRequest {
                length: length.as_str().to_owned(),
            };
            let snoozed: SnoozedInfo = client
                .post_for(&format!("/notifications/{}/snooze", segment(&key)), &request)
                .await?;
            if cx.output.json {
                return cx.output.json(&snoozed);
            }
            cx.output.note(format_args!(
                "{key} is snoozed for you; it is back {}",
                cx.output.when(snoozed.until)
            ));
            Ok(())
        }
    }
}

async fn list(client: &Client, output: &Output, all: bool) -> Result<(), Failure> {
    let notifications: Vec<NotificationInfo> = client
        .get_with("/notifications", &NotificationsQuery { all })
        .await?;
    if output.json {
        return output.json(&notifications);
    }
    if notifications.is_empty() {
        output.note("nothing is the matter");
        return Ok(());
    }
    let mut table = Table::new(&["SEVERITY", "KEY", "SINCE", "WHAT IS THE MATTER"]);
    for notification in &notifications {
        let (key, now) = (notification.key.as_str(), output.now());
        table.row([
            severity(notification),
            key.into(),
            crate::words::relative(notification.first_seen, now).into(),
            notification.title.as_str().into(),
        ]);
        let hidden = match (notification.standing, notification.snoozed_until) {
            (NotificationStanding::Shown, _) => String::new(),
            (NotificationStanding::Dismissed, _) => " Dismissed by you.".to_owned(),
            (NotificationStanding::Snoozed, until) => {
                format!(" Snoozed by you until {}.", output.when_if(until))
            }
        };
        table.row([
            "".into(),
            "".into(),
            "".into(),
            Cell::styled(
                Style::Faint,
                format!("{} See: {}{hidden}", notification.body, notification.command),
            ),
        ]);
    }
    table.print(output)
}

fn severity(notification: &NotificationInfo) -> Cell {
    let style = match notification.severity.as_str() {
        "critical" => Style::Bad,
        "warning" => Style::Warning,
        _ => Style::Plain,
    };
    Cell::styled(style, &notification.severity)
}
