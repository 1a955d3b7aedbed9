//! `cargo xtask …`: what people who work on the project type.

mod bench;
mod check;
mod package;
mod test;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words.as_slice() {
        ["test"] => test::run(false),
        ["test", "--negotiate"] => test::run(true),
        ["check"] => check::run(),
        ["package", arguments @ ..] => package::run(arguments),
        // What a benchmark measures from outside, as a process of its own.
        ["delta", arguments @ ..] => bench::delta(arguments),
        ["bench", names @ ..] => bench::run(names),
        _ => {
            eprintln!(
                "usage: cargo xtask test              install what the tests need, then run all of them\n       \
                 cargo xtask test --negotiate  the tests of the optional feature negotiate\n       \
                 cargo xtask check             house rules, licences and bans\n       \
                 cargo xtask package           a Debian package in target/package\n       \
                 cargo xtask bench [NAME…]     measure: {}",
                bench::NAMES.join(", ")
            );
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure:#}");
            ExitCode::FAILURE
        }
    }
}
