//! Manual pages and completions, as a package gets them.

use crate::program::Sealed;

#[test]
fn every_command_has_a_manual_page_and_completions() {
    let sealed = Sealed::new();
    let ran = sealed.run(&["generate", "out"]);
    assert_eq!(ran.code, 0, "{}", ran.err);
    let out = sealed.path().join("out");
    let page = std::fs::read_to_string(out.join("man/tidegate-updates-install.1")).unwrap();
    assert!(
        page.contains(".TH tidegate-updates-install 1") && page.contains("tidegate updates install"),
        "{page}"
    );
    let top = std::fs::read_to_string(out.join("man/tidegate.1")).unwrap();
    for command in ["notifications", "updates", "site", "cloud"] {
        assert!(top.contains(command), "{command} is not in {top}");
        assert!(
            out.join(format!("man/tidegate-{command}.1")).is_file(),
            "{command}"
        );
    }
    assert!(!out.join("man/tidegate-generate.1").exists());
    for file in ["tidegate.bash", "_tidegate", "tidegate.fish"] {
        let text = std::fs::read_to_string(out.join("completions").join(file)).unwrap();
        assert!(text.contains("notifications"), "{file}");
    }
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let sealed = Sealed::new();
    std::fs::write(sealed.path().join("out"), "a file").unwrap();
    let ran = sealed.run(&["generate", "out"]);
    assert_eq!(ran.code, 1);
    assert!(ran.err.contains("cannot write out/man"), "{}", ran.err);
}
