//! The dictionary: one entry per datum. What is not in it cannot be collected, shown or sent.

use super::Level;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Yes or no.
    Flag,
    /// A whole number, not negative.
    Count,
    /// A word out of a known set, a version, or a hash.
    Text,
    /// Words or ids, sorted.
    Texts,
    /// Counts by word.
    Histogram,
}

impl Kind {
    /// As shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Flag => "flag",
            Kind::Count => "count",
            Kind::Text => "text",
            Kind::Texts => "texts",
            Kind::Histogram => "histogram",
        }
    }
}

/// How a value is kept from telling more than it should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protection {
    /// It tells nothing of anybody.
    Plain,
    /// Rounded up to the next power of two, so that a rare size does not mark a site.
    Bucketed,
    /// Words with fewer than five of them are told together as `rare`, so that a rare word does not mark a site.
    Thresholded,
    /// Paths, addresses, names and whatever stands in quotation marks are taken out.
    Scrubbed,
    /// HMAC-SHA-256 under a key that never leaves the hierarchy.
    KeyedHash,
    /// The original's unkeyed hash, because the vendor compares it with hashes of names it knows.
    MatchHash,
}

impl Protection {
    /// As shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Protection::Plain => "plain",
            Protection::Bucketed => "bucketed",
            Protection::Thresholded => "rare words together",
            Protection::Scrubbed => "names taken out",
            Protection::KeyedHash => "keyed hash",
            Protection::MatchHash => "hash to be matched",
        }
    }
}

/// What a datum is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Category {
    /// Sites and the service connection point.
    Hierarchy,
    /// Versions and age.
    Setup,
    /// The machine.
    Platform,
    /// The database.
    Database,
    /// Features on and off.
    Features,
    /// Update packages.
    Updates,
    /// Components and messages.
    Components,
    /// The content library.
    Content,
    /// Internet access.
    Internet,
    /// Crashes.
    Crashes,
    /// Devices, users, collections and deployments of the sites' product.
    Inventory,
}

impl Category {
    /// As shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Category::Hierarchy => "hierarchy",
            Category::Setup => "setup",
            Category::Platform => "platform",
            Category::Database => "database",
            Category::Features => "features",
            Category::Updates => "updates",
            Category::Components => "components",
            Category::Content => "content",
            Category::Internet => "internet",
            Category::Crashes => "crashes",
            Category::Inventory => "inventory",
        }
    }
}

/// One datum.
#[derive(Debug, Clone, Copy)]
pub struct Metric {
    /// Stable name, `category.what`.
    pub name: &'static str,
    /// The smallest level it belongs to.
    pub level: Level,
    /// What it is about.
    pub category: Category,
    /// What its value is.
    pub kind: Kind,
    /// Unit, or what is counted.
    pub unit: &'static str,
    /// How it is kept from telling too much.
    pub protection: Protection,
    /// Where it comes from.
    pub source: &'static str,
    /// Why the vendor wants it.
    pub purpose: &'static str,
    /// An example value, as sent.
    pub example: &'static str,
    /// The release that first had it.
    pub since: &'static str,
}

macro_rules! metrics {
    ($( $name:literal $level:ident $category:ident $kind:ident $protection:ident
        $unit:literal, $source:literal, $purpose:literal, $example:literal; )*) => {
        /// Every datum, by name.
        pub const METRICS: &[Metric] = &[$(Metric {
            name: $name,
            level: Level::$level,
            category: Category::$category,
            kind: Kind::$kind,
            unit: $unit,
            protection: Protection::$protection,
            source: $source,
            purpose: $purpose,
            example: $example,
            since: "0.1",
        }),*];
    };
}

metrics! {
    "components.crashes" Basic Components Histogram Plain "crashes in 7 days by component", "status messages 60001", "find releases whose components crash", "{\"SMS_DMP_DOWNLOADER\":1}";
    "components.failures" Basic Components Histogram Plain "failures in 7 days by component", "status messages 60000", "find components that fail in the field", "{\"SMS_DMP_DOWNLOADER\":3}";
    "components.log-levels" Enhanced Components Histogram Plain "components by log level", "component settings", "see where administrators look for trouble", "{\"default\":9}";
    "components.messages" Enhanced Components Histogram Plain "messages in 7 days by id", "status messages", "see which warnings administrators live with", "{\"11410\":7}";
    "components.stopped" Enhanced Components Texts Plain "components that an administrator stopped", "component settings", "understand what does not happen", "[]";
    "components.uptime-hours" Basic Components Count Bucketed "hours since the site started", "program", "tell crashes from planned restarts", "128";
    "content.bytes" Enhanced Content Count Bucketed "bytes stored", "content library", "plan the size of downloads", "16777216";
    "content.objects" Enhanced Content Count Bucketed "objects stored", "content library", "plan the size of downloads", "512";
    "content.packages" Enhanced Content Count Plain "packages held", "content library", "see how many releases sites keep", "2";
    "crashes.reports" Full Crashes Texts Scrubbed "words of crashes in 30 days", "status messages 60001", "mend crashes that nobody can repeat", "[\"index out of bounds\"]";
    "database.bytes" Basic Database Count Bucketed "bytes", "size of the database file", "plan migrations", "1048576";
    "database.engine" Basic Database Text Plain "name", "configuration", "support the engines in use", "\"sqlite\"";
    "database.engine-version" Basic Database Text Plain "version", "database", "support the engines in use", "\"3.50.4\"";
    "database.schema" Basic Database Texts MatchHash "hashes of table names", "database schema", "see that a database has exactly the tables of its release, without learning names of others", "[\"fgkaTxoDH0lLR/4arxi6mLN1gUhrisMjdXl2ZgFeoDM=\"]";
    "features.on" Basic Features Texts Plain "ids of the vendor's features", "features", "offer updates that the features in use need", "[]";
    "features.pre-release-on" Basic Features Count Plain "features", "features", "see how far pre-release features are tried", "0";
    "hierarchy.id" Basic Hierarchy Text KeyedHash "hash", "identity of the hierarchy", "bring reports of one hierarchy together without naming it", "\"5b1f…\"";
    "hierarchy.site-types" Basic Hierarchy Histogram Plain "sites by type", "sites", "test the shapes of hierarchies that exist", "{\"stand-alone-primary\":1}";
    "hierarchy.sites" Basic Hierarchy Count Plain "sites", "sites", "test the sizes of hierarchies that exist", "1";
    "internet.faults" Enhanced Internet Histogram Plain "failing endpoints by fault code in the last check", "checks of internet access", "see what keeps updates from arriving", "{\"proxy.auth-required\":1}";
    "internet.features" Basic Internet Texts Plain "features of the endpoint catalogue in use", "configuration", "offer updates that cloud services need", "[]";
    "internet.outcomes" Enhanced Internet Histogram Plain "checks kept by outcome", "checks of internet access", "see what keeps updates from arriving", "{\"passed\":9}";
    "internet.proxy" Enhanced Internet Flag Plain "", "proxy settings", "test what is in use", "true";
    "internet.proxy-account" Enhanced Internet Flag Plain "", "proxy settings", "test what is in use", "false";
    "inventory.arch" Basic Inventory Histogram Thresholded "devices by processor architecture", "table devices", "build clients for the processors in use", "{\"x86_64\":970}";
    "inventory.client-versions" Basic Inventory Histogram Thresholded "devices by client version, three parts of it", "table devices", "offer updates for the clients in use", "{\"5.0.9110\":970}";
    "inventory.clients" Basic Inventory Count Bucketed "devices", "table devices", "test the sizes of hierarchies that exist", "1024";
    "inventory.collection-members" Enhanced Inventory Histogram Plain "collections by members, to the next power of two", "table collections", "test the shapes of collections that exist", "{\"64\":12}";
    "inventory.collections" Basic Inventory Histogram Plain "collections by kind", "table collections", "test the sizes of hierarchies that exist", "{\"device\":30,\"user\":8}";
    "inventory.deployment-errors" Full Inventory Histogram Thresholded "deployments by their commonest error code", "table deployments", "mend what fails in the field", "{\"-2147467259\":6}";
    "inventory.deployment-outcomes" Full Inventory Histogram Plain "targets of deployments by outcome", "table deployments", "see how deployments arrive", "{\"failed\":12,\"succeeded\":950,\"targeted\":1000}";
    "inventory.deployment-purposes" Enhanced Inventory Histogram Plain "deployments by purpose", "table deployments", "see how the product is used", "{\"available\":3,\"required\":40}";
    "inventory.deployments" Enhanced Inventory Histogram Plain "deployments by kind", "table deployments", "see how the product is used", "{\"application\":20}";
    "inventory.join" Basic Inventory Histogram Thresholded "devices by how they are joined to a directory", "table devices", "support the directories in use", "{\"hybrid\":970}";
    "inventory.last-seen-days" Full Inventory Histogram Thresholded "devices by days since they were seen, to the next power of two", "table devices", "tell idle devices from lost ones", "{\"1\":900,\"8\":70}";
    "inventory.managed" Enhanced Inventory Histogram Thresholded "devices by who manages them", "table devices", "see how the product is used", "{\"client\":970}";
    "inventory.memory-gib" Enhanced Inventory Histogram Thresholded "devices by memory in GiB, to the next power of two", "table devices", "plan memory of clients", "{\"16\":970}";
    "inventory.os" Basic Inventory Histogram Thresholded "devices by operating system", "table devices", "support the systems in use", "{\"windows\":970}";
    "inventory.os-versions" Basic Inventory Histogram Thresholded "devices by operating system and three parts of its version", "table devices", "support the systems in use", "{\"windows 10.0.22631\":970}";
    "inventory.processors" Full Inventory Histogram Thresholded "devices by processor name, the fifty commonest", "table devices", "test on the processors in use", "{\"Intel Core i5-1240P\":120}";
    "inventory.users" Basic Inventory Histogram Plain "users by directory, to the next power of two", "table users", "test the sizes of hierarchies that exist", "{\"entra\":1024}";
    "inventory.virtual" Enhanced Inventory Count Bucketed "devices that are virtual machines", "table devices", "see how the product is used", "64";
    "platform.arch" Basic Platform Text Plain "name", "operating system", "build for the processors in use", "\"x86_64\"";
    "platform.cores" Basic Platform Count Bucketed "processor cores", "operating system", "plan work in parallel", "8";
    "platform.free-bytes" Basic Platform Count Bucketed "bytes", "file system of the site", "refuse updates that cannot fit before they are fetched", "68719476736";
    "platform.memory-bytes" Basic Platform Count Bucketed "bytes", "operating system", "plan memory", "17179869184";
    "platform.os" Basic Platform Text Plain "name", "operating system", "support the systems in use", "\"debian\"";
    "platform.os-version" Basic Platform Text Plain "version", "operating system", "support the systems in use", "\"12\"";
    "platform.process-bytes" Basic Platform Count Bucketed "bytes of memory the site holds", "operating system", "plan memory", "67108864";
    "platform.virtual" Basic Platform Flag Plain "", "operating system", "test what is in use", "true";
    "scp.level" Basic Hierarchy Text Plain "level", "usage data settings", "read the report by its level", "\"enhanced\"";
    "scp.mode" Basic Hierarchy Text Plain "mode", "mode of the service connection point", "plan media for hierarchies without internet", "\"online\"";
    "scp.sending" Basic Hierarchy Text Plain "word", "usage data settings", "read gaps in reports rightly", "\"automatic\"";
    "setup.age-months" Basic Setup Count Plain "months since setup", "identity of the site", "see how long installations live", "14";
    "setup.base-version" Basic Setup Text Plain "version", "identity of the site", "test upgrades from the versions that exist", "\"5.00.9096.1000\"";
    "setup.tidegate-version" Basic Setup Text Plain "version", "program", "offer updates that this release can read", "\"0.1.0\"";
    "setup.version" Basic Setup Text Plain "version", "installed packages", "offer the updates that apply", "\"5.00.9110.1000\"";
    "updates.failure-reason" Basic Updates Text Plain "word", "last synchronisation", "see what keeps updates from arriving", "\"network\"";
    "updates.failures-in-row" Basic Updates Count Plain "synchronisations", "synchronisation", "see what keeps updates from arriving", "0";
    "updates.installed" Basic Updates Texts Plain "ids of the vendor's packages", "installed packages", "offer the updates that apply", "[\"0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2\"]";
    "updates.prerequisites" Basic Updates Histogram Plain "prerequisite rules by result in the last check", "prerequisite checks", "mend rules that stand in the way", "{\"error\":1,\"passed\":7}";
    "updates.rings" Basic Updates Texts Plain "rings of the vendor", "configuration", "plan roll-outs", "[\"early\"]";
    "updates.rolled-back" Basic Updates Count Plain "packages", "packages", "halt releases that fail in the field", "0";
    "updates.states" Basic Updates Histogram Plain "packages by state", "packages", "see how releases arrive", "{\"APPLICABILITY_SUCCESS\":2}";
    "usage.last-collection-ms" Basic Setup Count Bucketed "milliseconds the last collection took", "collection of usage data", "keep collecting cheap", "64";
}

/// What is never collected at any level, and why not. Tests look for it in every report.
pub const NEVER: &[(&str, &str)] = &[
    ("addresses", "IP and hardware addresses of anything"),
    (
        "names of people",
        "users, e-mail addresses, accounts, who is signed in",
    ),
    (
        "names of machines",
        "site servers, devices, proxies, hosts of endpoints, domains",
    ),
    (
        "names of sites",
        "site names and site codes; they can be guessed from any hash",
    ),
    (
        "identifiers of devices and users",
        "ids, serial numbers and keys of the inventory; only counts leave it",
    ),
    ("paths and file names", "folders of the site, packages, logs"),
    ("places", "time zones, locations, network maps"),
    (
        "contents",
        "files, settings inside policies, tables that are not the product's own",
    ),
    ("secrets", "passwords, tokens, keys, or hashes of them"),
    ("memory", "dumps of memory, at any level"),
];

/// The entry of a name.
pub fn metric(name: &str) -> Option<&'static Metric> {
    METRICS.iter().find(|metric| metric.name == name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_unique() {
        assert!(METRICS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for metric in METRICS {
            assert!(metric.name.starts_with(|c: char| c.is_ascii_lowercase()));
            assert!(!metric.purpose.is_empty() && !metric.source.is_empty() && !metric.example.is_empty());
        }
    }

    /// A change of what a level holds shows in review.
    #[test]
    fn the_reference_lists_every_datum() {
        let mut table = String::from(
            "| Name | Level | Kind | Unit | Protection | Source | Purpose |\n| --- | --- | --- | --- | --- | --- | --- |\n",
        );
        for metric in METRICS {
            table.push_str(&format!(
                "| `{}` | {} | {} | {} | {} | {} | {} |\n",
                metric.name,
                metric.level,
                metric.kind.as_str(),
                metric.unit,
                metric.protection.as_str(),
                metric.source,
                metric.purpose
            ));
        }
        let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/usage-data.md");
        let text = std::fs::read_to_string(page).unwrap_or_default();
        assert!(text.contains(&table), "{page} lacks this table:\n{table}");
    }
}
