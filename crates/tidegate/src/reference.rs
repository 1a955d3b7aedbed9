//! `docs/reference/commands.md` is written from the help of every command and kept equal by a test.

use clap::{Command, CommandFactory};

use crate::cli::Cli;

/// The page, from the same definitions that the program parses with.
fn page() -> String {
    let mut text = String::from(
        "# Commands\n\n\
         Written from `tidegate --help`; a test keeps it equal. Where a command prints data, `--json` prints the types\n\
         that [api.md](api.md) describes. Exit codes: 0 done, 1 failed with one clear sentence on stderr and what to do,\n\
         2 wrong usage; `tidegate tuf` ends with 0 or 1 only.\n",
    );
    let mut command = Cli::command().term_width(100);
    command.build();
    describe(&command, "", &mut text);
    text
}

fn describe(command: &Command, above: &str, text: &mut String) {
    let name = format!("{above}{}", command.get_name());
    let help = command
        .clone()
        .bin_name(&name)
        .term_width(100)
        .render_long_help()
        .to_string();
    text.push_str(&format!("\n## {name}\n\n```text\n"));
    for line in without_global_options(&help, above.is_empty()).lines() {
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.push_str("```\n");
    for below in command
        .get_subcommands()
        .filter(|below| below.get_name() != "help" && !below.is_hide_set())
    {
        describe(below, &format!("{name} "), text);
    }
}

/// The options of every command are shown once, at the top.
fn without_global_options(help: &str, keep: bool) -> String {
    const HEADING: &str = "Options of every command:";
    let (Some(start), false) = (help.find(HEADING), keep) else {
        return help.to_owned();
    };
    let rest = &help[start..];
    // What follows the block begins at the edge again: another heading, or examples.
    let end = rest
        .lines()
        .skip(1)
        .scan(
            rest.find('\n').map_or(rest.len(), |end| end + 1),
            |offset, line| {
                let here = *offset;
                *offset += line.len() + 1;
                Some((here, line))
            },
        )
        .find(|(_, line)| !line.is_empty() && !line.starts_with(' '))
        .map_or(rest.len(), |(offset, _)| offset);
    format!("{}{}", &help[..start], &rest[end.min(rest.len())..])
        .trim_end()
        .to_owned()
}

#[test]
fn the_reference_is_the_help() {
    let text = page();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/commands.md");
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(path, &text).unwrap();
    }
    let written = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        written == text,
        "{path} is out of date; run this test once with UPDATE_REFERENCE=1"
    );
}

#[test]
fn definitions_hold() {
    Cli::command().debug_assert();
}
