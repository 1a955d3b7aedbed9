//! `tidegate status systems`: how much room there is where the site keeps things.

use clap::{Args, Subcommand, ValueEnum};
use protocol::api::{SpaceRequest, SystemInfo};

use super::severity_style;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;
use crate::table::{Cell, Table};

#[derive(Debug, Args)]
pub struct SystemsArgs {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Set the free space below which an object is shown as Warning and as Critical.
    #[command(after_help = "Example:\n  \
        tidegate status systems set database --warning-kb 2097152 --critical-kb 1048576")]
    Set {
        /// What the thresholds are for.
        #[arg(value_enum)]
        object: Object,
        /// Warning below this many KB; 0 for never.
        #[arg(long, value_name = "KB")]
        warning_kb: u64,
        /// Critical below this many KB; 0 for never.
        #[arg(long, value_name = "KB")]
        critical_kb: u64,
    },
    /// Take back what was set: Warning below 10485760 KB, Critical below 5242880 KB.
    Reset {
        /// What the thresholds are for.
        #[arg(value_enum)]
        object: Object,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Object {
    /// The file system of the site's directory.
    FileSystem,
    /// The database: room in its file and around it.
    Database,
}

impl Object {
    fn path(self) -> &'static str {
        match self {
            Object::FileSystem => "/status/systems/file-system",
            Object::Database => "/status/systems/database",
        }
    }
}

pub async fn run(client: &Client, output: &Output, arguments: SystemsArgs) -> Result<(), Failure> {
    let systems: Vec<SystemInfo> = match arguments.verb {
        None => client.get("/status/systems").await?,
        Some(Verb::Set {
            object,
            warning_kb,
            critical_kb,
        }) => {
            let request = SpaceRequest {
                warning_below_kib: warning_kb,
                critical_below_kib: critical_kb,
            };
            client.put_for(object.path(), &request).await?
        }
        Some(Verb::Reset { object }) => client.delete_for(object.path()).await?,
    };
    if output.json {
        return output.json(&systems);
    }
    let mut table = Table::new(&[
        "OBJECT",
        "STATUS",
        "FREE KB",
        "OF KB",
        "WARNING BELOW",
        "CRITICAL BELOW",
        "LOOKED AT",
        "PLACE",
    ]);
    for system in &systems {
        let status = system.status.as_deref().unwrap_or("not looked at yet");
        let number = |value: Option<u64>| value.map_or_else(String::new, |value| value.to_string());
        table.row([
            system.object.as_str().into(),
            Cell::styled(severity_style(status), status),
            number(system.free_kib).into(),
            number(system.total_kib).into(),
            system.warning_below_kib.into(),
            system.critical_below_kib.into(),
            system
                .checked_at
                .map_or_else(String::new, |at| super::local(at, output))
                .into(),
            system.place.as_deref().unwrap_or_default().into(),
        ]);
    }
    for column in 2..6 {
        table.right(column);
    }
    table.print(output)
}
