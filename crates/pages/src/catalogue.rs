//! The words of pages. The English text is its own key, as in gettext: pages say `t("…")`, `english.txt` of a console lists
//! every such text once, and a test keeps the two equal, so that a translation is a second file of the same shape.

use std::collections::BTreeSet;
use std::path::Path;

/// The text in the language of the console.
pub const fn t(text: &'static str) -> &'static str {
    text
}

/// Every text that the source files of these say, a line each; for the test that compares it with `english.txt`.
pub fn said_in(sources: &[&Path]) -> std::io::Result<String> {
    let mut said = BTreeSet::new();
    for source in sources {
        let files = match source.is_dir() {
            true => std::fs::read_dir(source)?
                .map(|entry| Ok(entry?.path()))
                .collect::<std::io::Result<Vec<_>>>()?,
            false => vec![source.to_path_buf()],
        };
        for path in files {
            if path.extension().is_some_and(|extension| extension == "rs") {
                collect(&std::fs::read_to_string(&path)?, &mut said);
            }
        }
    }
    Ok(said.iter().map(|words| format!("{words}\n")).collect())
}

fn collect(text: &str, said: &mut BTreeSet<String>) {
    let mut rest = text;
    while let Some(at) = rest.find("t(\"") {
        let before = rest[..at].chars().next_back();
        rest = &rest[at + 3..];
        // `write(\"` and the like end in the same letters.
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_')
            && let Some((words, _)) = rest.split_once("\")")
        {
            said.insert(words.to_owned());
        }
    }
}
