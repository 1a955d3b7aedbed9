//! The words of the console. The English text is its own key, as in gettext: pages say `t("…")`, `english.txt` lists
//! every such text once, and a test keeps the two equal, so that a translation is a second file of the same shape.

/// The text in the language of the console.
pub(super) const fn t(text: &'static str) -> &'static str {
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    #[test]
    fn the_catalogue_lists_what_pages_say() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console");
        let mut said = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("catalogue.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                let mut rest = text.as_str();
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
        }
        let listed: String = said.iter().map(|words| format!("{words}\n")).collect();
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(format!("{folder}/english.txt"), &listed).unwrap();
        }
        assert!(
            listed == std::fs::read_to_string(format!("{folder}/english.txt")).unwrap_or_default(),
            "english.txt is out of date; run this test once with UPDATE_REFERENCE=1"
        );
    }
}
