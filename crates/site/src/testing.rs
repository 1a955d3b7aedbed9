//! A site's service for tests of what stands before it.

use std::sync::Arc;

use executive::logs::{CmTraceLayer, LogSettings};
use executive::{Clock, FakeClock};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::context::SiteContext;
use crate::directory::SiteDirectory;
use crate::service::SiteService;
use crate::settings::Settings;

/// The service of a site in a folder of its own; nothing runs there.
pub(crate) fn service() -> (tempfile::TempDir, Arc<SiteService>) {
    let (folder, service, _) = service_with("");
    (folder, service)
}

/// The same with more in its configuration, and its clock.
pub(crate) fn service_with(configuration: &str) -> (tempfile::TempDir, Arc<SiteService>, FakeClock) {
    let (folder, context, fake) = context_in(TimeZone::UTC, configuration);
    let clock = Clock::Fake(fake.clone());
    let logs = CmTraceLayer::new(LogSettings {
        folder: context.directory.logs(),
        bytes_max: 100_000,
        history: true,
        zone: TimeZone::UTC,
        clock: clock.clone(),
    });
    let service = SiteService::new(Arc::new(context), clock, TimeZone::UTC, logs);
    (folder, Arc::new(service), fake)
}

/// What the components of such a site share, in a zone.
pub(crate) fn context_in(zone: TimeZone, configuration: &str) -> (tempfile::TempDir, SiteContext, FakeClock) {
    let folder = tempfile::tempdir().unwrap();
    let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
    let keys = folder.path().join("vendor");
    cloud::init(&cloud::InitOptions::new(&keys, "Vendor"), now).unwrap();
    let dir = folder.path().join("site");
    crate::init::init(
        crate::init::InitOptions {
            dir: dir.clone(),
            code: "P01".parse().unwrap(),
            name: "Test".into(),
            version: "5.00.9096.1000".parse().unwrap(),
            feed_url: format!("file://{}", keys.join("repository").display()),
            root: std::fs::read(keys.join("repository/metadata/1.root.json")).unwrap(),
            ca: None,
            rings: Vec::new(),
            hierarchy_id: "h".into(),
            listen: None,
        },
        now,
    )
    .unwrap();
    let directory = SiteDirectory::new(&dir);
    let path = directory.configuration();
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n{configuration}")).unwrap();
    let settings = Settings::load(&path).unwrap();
    let context = crate::context::open(directory, settings, zone, now).unwrap();
    (folder, context, FakeClock::new(now))
}
