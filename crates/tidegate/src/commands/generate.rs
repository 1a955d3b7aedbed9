//! `tidegate generate`: manual pages and completions of shells, for packages. Hidden: nobody else needs it.

use std::path::{Path, PathBuf};

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::failure::Failure;

/// Write manual pages and completions of shells, as `cargo xtask package` needs them
#[derive(Debug, Args)]
pub struct GenerateArgs {
    /// Folder; `man` and `completions` are made in it.
    #[arg(value_name = "FOLDER")]
    folder: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &GenerateArgs) -> Result<(), Failure> {
    let (man, completions) = (arguments.folder.join("man"), arguments.folder.join("completions"));
    for folder in [&man, &completions] {
        std::fs::create_dir_all(folder).map_err(|failure| cannot(folder, &failure))?;
    }
    let mut command = Cli::command();
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        clap_complete::generate_to(shell, &mut command, "tidegate", &completions)
            .map_err(|failure| cannot(&completions, &failure))?;
    }
    command.build();
    pages(&command, "tidegate", "tidegate", &man)
}

/// The page of a command and of every command below it: `tidegate updates install` is in `tidegate-updates-install.1`.
fn pages(command: &Command, typed: &str, name: &str, folder: &Path) -> Result<(), Failure> {
    let path = folder.join(format!("{name}.1"));
    let mut text = Vec::new();
    // A command that is shown with its own name would be `install(1)`.
    let named = command
        .clone()
        .display_name(name.to_owned())
        .bin_name(typed.to_owned());
    clap_mangen::Man::new(named)
        .title(name.to_owned())
        .source(format!("tidegate {}", env!("CARGO_PKG_VERSION")))
        .manual("Tidegate".to_owned())
        .render(&mut text)
        .and_then(|()| std::fs::write(&path, text))
        .map_err(|failure| cannot(&path, &failure))?;
    for below in command.get_subcommands() {
        if below.get_name() != "help" && !below.is_hide_set() {
            let last = below.get_name();
            pages(
                below,
                &format!("{typed} {last}"),
                &format!("{name}-{last}"),
                folder,
            )?;
        }
    }
    Ok(())
}

fn cannot(path: &Path, failure: &std::io::Error) -> Failure {
    Failure::new(format!("cannot write {}: {failure}", path.display()))
}
