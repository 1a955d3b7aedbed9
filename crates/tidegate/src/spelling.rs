//! The original's spellings of the service connection tool: `-prepare -usagedatadest FILE` in any case, with
//! `-` or `/`, in any order, and the program called by the original's name.

use std::ffi::OsString;
use std::path::Path;

/// The original's name of the program.
const NAME: &str = "serviceconnectiontool";
const ACTIONS: [&str; 5] = ["prepare", "export", "connect", "import", "register"];
const OPTIONS: [&str; 10] = [
    "usagedatadest",
    "dest",
    "usagedatasrc",
    "updatepackdest",
    "updatepacksrc",
    "proxyserveruri",
    "proxyusername",
    "downloadall",
    "downloadhotfix",
    "downloadsiteversion",
];

/// The command line in our own spelling; anything else as it was.
pub fn of_the_original(arguments: Vec<OsString>) -> Vec<OsString> {
    let renamed = arguments.first().is_some_and(|program| {
        let stem = Path::new(program).file_stem().unwrap_or_default();
        stem.to_string_lossy().eq_ignore_ascii_case(NAME)
    });
    let at = command(&arguments).filter(|at| arguments[*at] == "tool");
    let (head, rest) = match (renamed, at) {
        (true, _) => (arguments[..1].to_vec(), &arguments[1..]),
        (false, Some(at)) => (arguments[..at].to_vec(), &arguments[at + 1..]),
        (false, None) => return arguments,
    };
    let mut action = None;
    let mut others = Vec::new();
    for argument in rest {
        match original(argument) {
            Some(word) if action.is_none() && ACTIONS.contains(&word.as_str()) => action = Some(word),
            Some(word) => others.push(format!("--{word}").into()),
            None => others.push(argument.clone()),
        }
    }
    let mut line = head;
    line.push("tool".into());
    line.extend(action.map(OsString::from));
    line.extend(others);
    line
}

/// Where the command is: the first argument that is no option of every command, or its value.
fn command(arguments: &[OsString]) -> Option<usize> {
    let mut at = 1;
    while let Some(argument) = arguments.get(at) {
        let text = argument.to_string_lossy();
        match text.as_ref() {
            "--dir" | "--color" => at += 2,
            text if text.starts_with('-') => at += 1,
            _ => return Some(at),
        }
    }
    None
}

/// A word of the original, without its mark and in lower case.
fn original(argument: &OsString) -> Option<String> {
    let text = argument.to_str()?;
    let word = text
        .strip_prefix('/')
        .or_else(|| text.strip_prefix('-'))?
        .to_ascii_lowercase();
    let known = ACTIONS.contains(&word.as_str()) || OPTIONS.contains(&word.as_str());
    known.then_some(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_originals_lines_are_ours() {
        for (line, expected) in [
            (
                "tidegate tool -prepare -usagedatadest a.cab",
                "tidegate tool prepare --usagedatadest a.cab",
            ),
            (
                "tidegate tool -UsageDataDest a.cab /PREPARE",
                "tidegate tool prepare --usagedatadest a.cab",
            ),
            (
                "/opt/ServiceConnectionTool.exe -connect -downloadsiteversion -usagedatasrc /in -updatepackdest /out/",
                "/opt/ServiceConnectionTool.exe tool connect --downloadsiteversion --usagedatasrc /in --updatepackdest /out/",
            ),
            (
                "tidegate --dir /x tool prepare --usagedatadest a",
                "tidegate --dir /x tool prepare --usagedatadest a",
            ),
            ("tidegate site -prepare", "tidegate site -prepare"),
            (
                "tidegate --dir tool site -prepare",
                "tidegate --dir tool site -prepare",
            ),
            ("tidegate tool -import -export", "tidegate tool import --export"),
        ] {
            let words = |line: &str| line.split(' ').map(OsString::from).collect::<Vec<_>>();
            assert_eq!(of_the_original(words(line)), words(expected), "{line}");
        }
    }
}
