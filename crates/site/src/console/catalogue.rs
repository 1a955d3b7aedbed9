//! The words of the console. The English text is its own key, as in gettext: pages say `t("…")`, `english.txt` lists
//! every such text once, and a test keeps the two equal, so that a translation is a second file of the same shape.

/// Every text of the console, one a line, sorted.
#[cfg(test)]
const ENGLISH: &str = include_str!("english.txt");

/// The text in the language of the console.
pub(super) fn t(text: &'static str) -> &'static str {
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ENGLISH;

    #[test]
    fn the_catalogue_lists_what_pages_say() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/console");
        let mut said = BTreeSet::new();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "rs") && !path.ends_with("catalogue.rs")
            {
                let text = std::fs::read_to_string(&path).unwrap();
                for part in text.split(" t(\"").chain(text.split("(t(\"")).skip(1) {
                    if let Some((words, _)) = part.split_once("\")") {
                        said.insert(words.replace("\\\"", "\""));
                    }
                }
            }
        }
        // What the first split leaves before the first text is no text.
        said.retain(|words| !words.contains("//!"));
        let listed: String = said.iter().map(|words| format!("{words}\n")).collect();
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(format!("{folder}/english.txt"), &listed).unwrap();
        }
        assert!(
            listed == ENGLISH,
            "english.txt is out of date; run this test once with UPDATE_REFERENCE=1"
        );
    }
}
