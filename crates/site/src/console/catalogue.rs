//! The words of the console: `english.txt` beside this file lists what pages say.

pub(super) use pages::t;

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn the_catalogue_lists_what_pages_say() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/console");
        let shared = Path::new(env!("CARGO_MANIFEST_DIR")).join("../pages/src/forms.rs");
        let (said, listed) = (
            pages::said_in(&[&folder, &shared]).unwrap(),
            folder.join("english.txt"),
        );
        if std::env::var_os("UPDATE_REFERENCE").is_some() {
            std::fs::write(&listed, &said).unwrap();
        }
        assert!(
            said == std::fs::read_to_string(&listed).unwrap_or_default(),
            "english.txt is out of date; run this test once with UPDATE_REFERENCE=1"
        );
    }
}
