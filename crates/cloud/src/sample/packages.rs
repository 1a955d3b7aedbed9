//! The packages of the sample feed and their descriptions, for a site that starts at 5.00.9096.1000.

/// One package.
pub(super) struct SamplePackage {
    pub(super) guid: &'static str,
    pub(super) version: &'static str,
    pub(super) name: &'static str,
    /// See [`super::tree::Release`].
    pub(super) revision: u32,
    pub(super) product: &'static str,
    /// Keys at the top of the description.
    keys: &'static str,
    description: &'static str,
    /// Tables between texts and install plan.
    tables: &'static str,
    pub(super) runtime: bool,
}

/// In the order in which they are published.
pub(super) const PACKAGES: [SamplePackage; 6] = [
    SamplePackage {
        guid: "3F0C6D1A-52B7-4E1D-8A4F-61D0B7C2E901",
        version: "5.00.9098.1000",
        name: "Release 2603",
        revision: 0,
        product: "main",
        keys: r#"type = "update"
released = 2026-03-09T09:00:00Z
impact = ["site-server", "bug-fixes"]
min-site-version = "5.00.9078.0000"
"#,
        description: "An older release. Later ones contain everything in it, so it is no longer offered.",
        tables: "",
        runtime: false,
    },
    SamplePackage {
        guid: "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4",
        version: "5.00.9100.1000",
        name: "Release 2606",
        revision: 1,
        product: "main",
        keys: r#"type = "update"
released = 2026-06-15T09:00:00Z
impact = ["site-server", "console", "bug-fixes"]
min-site-version = "5.00.9078.0000"
supersedes = ["3F0C6D1A-52B7-4E1D-8A4F-61D0B7C2E901"]
"#,
        description: "Faster replication and a smaller content library.",
        tables: "",
        runtime: false,
    },
    SamplePackage {
        guid: "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2",
        version: "5.00.9110.1000",
        name: "Release 2609",
        revision: 2,
        product: "main",
        keys: r#"type = "update"
released = 2026-09-14T09:00:00Z
impact = ["site-server", "console", "client", "new-features", "bug-fixes"]
min-site-version = "5.00.9096.0000"
client-version = "5.00.9110.1000"
more-info = "https://example.com/release-notes/2609"
supersedes = ["8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4", "3F0C6D1A-52B7-4E1D-8A4F-61D0B7C2E901"]
applicability = 'site.release >= 9096 && host.cores >= 1'
"#,
        description: "The newest release: new reports, two optional features and a smaller client.",
        tables: r#"
[[feature]]
guid = "C9B1D2E3-4F50-4617-8A9B-0C1D2E3F4A5B"
name = "Live reports"
description = "Reports that follow the hierarchy as it changes."
default-on = true

[[feature]]
guid = "D1A7E5B4-8C2F-4B39-9E60-7F3A5C1D2B64"
name = "Orchestration groups"
description = "Updates servers of one group one after another."
pre-release = true
more-info = "https://example.com/orchestration-groups"

[[prerequisite-rule]]
name = "Memory of the site server"
category = "system-requirements"
role = "site-server"
severity = "warning"
rule = 'host.memory_bytes >= 1073741824'
text = "The site server has less than 1 GiB of memory. The installation works, and reports are slow afterwards."
link = "https://example.com/requirements#memory"

[[prerequisite-rule]]
name = "Free disk space"
category = "system-requirements"
role = "site-server"
severity = "error"
rule = 'disk.free_bytes >= 104857600'
text = "Less than 100 MiB are free on the disk of the site. Free some space and run the check again."

[[prerequisite-rule]]
name = "Release of the site"
category = "site-upgrade-requirements"
role = "site-server"
severity = "error"
rule = 'site.version >= version("5.00.9096.1000")'
text = "The site must run 5.00.9096.1000 or later. Install an earlier release first."
"#,
        runtime: true,
    },
    SamplePackage {
        guid: "5E3F1D20-93B4-4B61-8E0C-7A6D2C4F8B15",
        version: "5.00.9110.1025",
        name: "Hotfix rollup for release 2609",
        revision: 3,
        product: "main",
        keys: r#"type = "hotfix"
released = 2026-10-19T09:00:00Z
impact = ["site-server", "bug-fixes"]
min-site-version = "5.00.9110.0000"
max-site-version = "5.00.9110.0000"
prerequisite = "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2"
applicability = 'installed("0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2")'
"#,
        description: "Fixes for release 2609. Offered once that release is installed.",
        tables: "",
        runtime: false,
    },
    SamplePackage {
        guid: "A4D2F6C8-1B3E-4A57-B9D0-5C7E8F1A2B36",
        version: "5.00.9120.1000",
        name: "Preview of release 2612",
        revision: 4,
        product: "main",
        keys: r#"type = "preview"
released = 2026-11-02T09:00:00Z
impact = ["site-server", "new-features"]
min-site-version = "5.00.9096.0000"
rings = ["preview"]
"#,
        description: "What comes next, for hierarchies that joined the preview ring.",
        tables: "",
        runtime: false,
    },
    SamplePackage {
        guid: "E7B8C9D0-2F41-4D63-A5B7-9C0E1F2A3B48",
        version: "5.00.9105.1000",
        name: "Secondary site pack",
        revision: 0,
        product: "secondary",
        keys: r#"type = "update"
released = 2026-08-03T09:00:00Z
impact = ["site-server"]
min-site-version = "5.00.9078.0000"
applicability = 'site.type == "secondary"'
"#,
        description: "Only for secondary sites, so a primary site hides it.",
        tables: "",
        runtime: false,
    },
];

/// The file name of the redistributable.
pub(super) const RUNTIME: &str = "sample-runtime-5.bin";

impl SamplePackage {
    /// Its `package.toml`.
    pub(super) fn toml(&self) -> String {
        let redistributable = if self.runtime {
            format!("\n[[redistributable]]\nfile = \"{RUNTIME}\"\n")
        } else {
            String::new()
        };
        format!(
            "guid = \"{}\"\nfull-version = \"{}\"\n{}\n[text.en]\nname = \"{}\"\ndescription = \"{}\"\n{}{}\n{}",
            self.guid,
            self.version,
            self.keys,
            self.name,
            self.description,
            redistributable,
            self.tables,
            INSTALL
        )
    }
}

const INSTALL: &str = r#"[install]
switch = true

[[install.after]]
program = "bin/after-install"
time-limit-s = 60

[[install.rollback]]
program = "bin/roll-back"
time-limit-s = 60

[install.health]
program = "bin/health"
time-limit-s = 30
attempts = 3
interval-s = 1
"#;
