//! Media and time: late, with a clock that is wrong or has none, and across a root rotation.

use std::path::PathBuf;
use std::sync::Arc;

use executive::{Clock, FakeClock};
use jiff::Timestamp;
use protocol::transfer::Cabinet;
use site::offline::connect::{ConnectOptions, Scope, connect};
use site::offline::import::{ImportState, ImportStatus, Verdict, load, request};
use site::offline::prepare::Carried;
use store::{Store, StoreError};

use crate::until;
use crate::usage_weeks::{Site, day};

struct Round {
    site: Site,
    stick: PathBuf,
}

impl Round {
    /// A site set up offline, and a service with one package, published on day 0.
    fn new() -> Self {
        let site = Site::new();
        let store = Store::open(&site.dir().join("site.db")).unwrap();
        store
            .write_blocking::<_, StoreError>(|tx| tx.set_setting("scp.mode", Some("offline")))
            .unwrap();
        let folder = site.dir().parent().unwrap().to_owned();
        let payload = folder.join("payload");
        std::fs::create_dir(&payload).unwrap();
        std::fs::write(payload.join("file"), "content").unwrap();
        let package = folder.join("package.toml");
        std::fs::write(
            &package,
            "guid = \"11111111-1111-4111-8111-111111111111\"\nfull-version = \"5.00.9100.1000\"\ntype = \"update\"\n\
             released = 2026-10-01T08:00:00Z\n[text.en]\nname = \"Next\"\n[install]\nswitch = true\n",
        )
        .unwrap();
        let publish = cloud::PublishRequest {
            level: 3,
            ..cloud::PublishRequest::new(folder.join("service"), package, payload)
        };
        cloud::publish(&publish, day(0), &mut |_| {}).unwrap();
        Round {
            stick: folder.join("stick"),
            site,
        }
    }

    /// What the site would prepare, without its process.
    async fn prepare(&mut self) {
        self.site.start();
        let directory = site::directory::SiteDirectory::new(self.site.dir());
        until("the start", || directory.api_socket().exists().then_some(())).await;
        self.site.stop().await;
        let settings = site::settings::Settings::load(&directory.configuration()).unwrap();
        let now = Clock::Fake(self.site.clock.clone()).now();
        let context =
            Arc::new(site::context::open(directory, settings, jiff::tz::TimeZone::UTC, now).unwrap());
        let clock = Clock::Fake(FakeClock::new(now));
        let bytes = site::offline::prepare::prepare(&context, &clock, Carried::Nothing)
            .await
            .unwrap();
        let read: Cabinet = protocol::transfer::read(&bytes).unwrap();
        assert_eq!(read.site.site_version, "5.00.9096.1000");
        std::fs::create_dir_all(&self.stick).unwrap();
        std::fs::write(self.stick.join("site.cab"), bytes).unwrap();
    }

    async fn connect(&self, at: Timestamp) {
        let options = ConnectOptions {
            source: self.stick.clone(),
            destination: self.stick.join("updates"),
            scope: Scope::LatestUpdate,
            proxy: None,
            plan_only: false,
        };
        let connected = connect(&options, &Clock::Fake(FakeClock::new(at)), &|_| {})
            .await
            .unwrap();
        assert_eq!(connected.hierarchies[0].bundle.packages.len(), 1);
    }

    /// Imports at a time of the site's clock.
    async fn import(&mut self, at: Timestamp) -> ImportStatus {
        self.site.stop().await;
        self.site.clock.set(at);
        let store = Store::open(&self.site.dir().join("site.db")).unwrap();
        let folder = self.stick.join("updates").display().to_string();
        let asked = store
            .write_blocking::<_, StoreError>(move |tx| request(tx, &folder))
            .unwrap();
        self.site.start();
        until("the end of the import", || {
            let status = store.read_blocking::<_, StoreError>(load).unwrap()?;
            (status.id == asked.id && status.state.is_done()).then_some(status)
        })
        .await
    }

    fn expiry(&self) -> Timestamp {
        let path = self
            .site
            .dir()
            .parent()
            .unwrap()
            .join("service/repository/metadata/timestamp.json");
        let text = std::fs::read_to_string(path).unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        json["signed"]["expires"].as_str().unwrap().parse().unwrap()
    }

    fn messages(&self) -> Vec<u32> {
        let store = Store::open(&self.site.dir().join("site.db")).unwrap();
        let rows = store
            .read_blocking::<_, StoreError>(|tx| tx.status_messages(&store::StatusFilter::default(), 500));
        rows.unwrap()
            .into_iter()
            .map(|row| row.message.message_id)
            .collect()
    }
}

fn after(at: Timestamp, days: i64) -> Timestamp {
    at.checked_add(jiff::SignedDuration::from_hours(24 * days))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bundle_may_arrive_late_and_not_too_late() {
    let mut round = Round::new();
    round.prepare().await;
    round.connect(day(1)).await;
    let expires = round.expiry();
    // Thirty days after its expiry the grace is over.
    let status = round.import(after(expires, 31)).await;
    assert_eq!(
        (status.state, status.verdict),
        (ImportState::Refused, Verdict::Expired),
        "{}",
        status.detail
    );
    let status = round.import(after(expires, 29)).await;
    assert_eq!(
        (status.state, status.verdict),
        (ImportState::Done, Verdict::Done),
        "{}",
        status.detail
    );
    assert!(
        round.messages().contains(&60_242),
        "the administrator is told that it runs out"
    );
    round.site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_machine_without_a_clock_takes_media_and_never_goes_back() {
    let mut round = Round::new();
    round.prepare().await;
    round.connect(day(1)).await;
    let old = round.stick.join("old");
    copy(&round.stick.join("updates"), &old);
    cloud::rollout(
        &round.site.dir().parent().unwrap().join("service"),
        "11111111-1111-4111-8111-111111111111".parse().unwrap(),
        &cloud::Rollout::share(100),
        day(2),
    )
    .unwrap();
    cloud::renew(&round.site.dir().parent().unwrap().join("service"), day(2)).unwrap();
    round.connect(day(2)).await;
    let status = round.import(Timestamp::UNIX_EPOCH).await;
    assert_eq!(status.verdict, Verdict::Done, "{}", status.detail);
    std::fs::remove_dir_all(round.stick.join("updates")).unwrap();
    copy(&old, &round.stick.join("updates"));
    let status = round.import(Timestamp::UNIX_EPOCH).await;
    assert_eq!(status.verdict, Verdict::Older, "{}", status.detail);
    round.site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_root_rotation_comes_by_medium() {
    let mut round = Round::new();
    round.prepare().await;
    let service = round.site.dir().parent().unwrap().join("service");
    for at in [1, 2] {
        cloud::rotate_key(&service, cloud::KeyRole::Root, None, day(at)).unwrap();
    }
    round.connect(day(3)).await;
    let status = round.import(day(4)).await;
    assert_eq!(status.verdict, Verdict::Done, "{}", status.detail);
    let root = std::fs::read_to_string(round.site.dir().join("trust/feed/root.json")).unwrap();
    let root: serde_json::Value = serde_json::from_str(&root).unwrap();
    assert_eq!(root["signed"]["version"], 3);
    round.site.stop().await;
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}
