//! Usage data over weeks: when it is collected, and that nothing goes out offline.

use std::net::TcpListener;
use std::path::Path;

use executive::logs::{CmTraceLayer, LogSettings};
use executive::{Clock, FakeClock};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use site::RunOptions;
use site::init::{InitOptions, init};
use site::run::RunError;
use store::{Store, StoreError, UsageReportRow};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::until;

const DAY: i64 = 24 * 3_600;

pub fn day(days: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + days * DAY).unwrap()
}

pub struct Site {
    folder: tempfile::TempDir,
    pub clock: FakeClock,
    running: Option<(JoinSet<Result<(), RunError>>, CancellationToken)>,
}

impl Site {
    /// A site set up on day 0 whose feed is a folder.
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let service = folder.path().join("service");
        cloud::init(&cloud::InitOptions::new(&service, "Test"), day(0)).unwrap();
        let options = InitOptions {
            dir: folder.path().join("site"),
            code: "P01".parse().unwrap(),
            name: "Test".into(),
            version: "5.00.9096.1000".parse().unwrap(),
            listen: None,
            feed_url: format!("file://{}", service.join("repository").display()),
            root: std::fs::read(service.join("repository/metadata/1.root.json")).unwrap(),
            ca: None,
            rings: Vec::new(),
            hierarchy_id: "00112233-4455-6677-8899-aabbccddeeff".into(),
        };
        init(options, day(0)).unwrap();
        Site {
            folder,
            clock: FakeClock::new(day(0)),
            running: None,
        }
    }

    pub fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("site")
    }

    pub fn start(&mut self) {
        let clock = Clock::Fake(self.clock.clone());
        let options = RunOptions {
            dir: self.dir(),
            clock: clock.clone(),
            seed: 7,
            zone: TimeZone::UTC,
            logs: CmTraceLayer::new(LogSettings {
                folder: self.dir().join("logs"),
                bytes_max: 1 << 20,
                history: false,
                zone: TimeZone::UTC,
                clock,
            }),
        };
        let stop = CancellationToken::new();
        let mut running = JoinSet::new();
        running.spawn(site::run(options, stop.clone()));
        self.running = Some((running, stop));
    }

    pub async fn stop(&mut self) {
        if let Some((mut running, stop)) = self.running.take() {
            stop.cancel();
            while let Some(ended) = running.join_next().await {
                ended.unwrap().unwrap();
            }
        }
    }

    /// The weeks of all reports, oldest first, once there are so many.
    async fn weeks(&self, expected: usize) -> Vec<(Option<u64>, Timestamp)> {
        until(&format!("report {expected}"), || {
            let reports = reports(&self.dir());
            assert!(reports.len() <= expected, "{reports:?}");
            let weeks = reports
                .iter()
                .rev()
                .map(|report| (report.week, report.collected_at));
            (reports.len() == expected).then(|| weeks.collect())
        })
        .await
    }

    /// Moves the clock and waits until the site has acted on it: the check for updates that is due by then began.
    async fn move_to(&self, at: Timestamp) {
        self.clock.set(at);
        let store = Store::open(&self.dir().join("site.db")).unwrap();
        until(&format!("a check at {at}"), || {
            let sync = store.read_blocking::<_, StoreError>(|tx| tx.sync()).unwrap();
            // A feed that has expired by then is an answer too.
            (sync.succeeded_at.max(sync.failed_at) >= Some(at)).then_some(())
        })
        .await;
    }

    /// Waits until the uploader says that it holds a report back.
    async fn held_back(&self, words: &str) {
        let log = self.dir().join("logs/smsexec.log");
        let socket = self.dir().join("run/api.sock");
        until(&format!("{words:?} ({})", log.display()), || {
            use std::io::{Read, Write};
            let mut stream = std::os::unix::net::UnixStream::connect(&socket).ok()?;
            let request =
                "GET /v1/components/SMS_DMP_UPLOADER HTTP/1.1\r\nHost: site\r\nConnection: close\r\n\r\n";
            stream.write_all(request.as_bytes()).ok()?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer).ok()?;
            answer.contains(words).then_some(())
        })
        .await;
    }
}

fn reports(dir: &Path) -> Vec<UsageReportRow> {
    let store = Store::open(&dir.join("site.db")).unwrap();
    store
        .read_blocking::<_, StoreError>(|tx| tx.usage_reports(100))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a4_every_seven_days_from_the_installation_whatever_the_clock_does() {
    let mut site = Site::new();
    site.start();
    site.move_to(day(6)).await;
    assert!(reports(&site.dir()).is_empty(), "nothing before the seventh day");
    site.clock.set(day(7));
    assert_eq!(site.weeks(1).await, [(Some(1), day(7))]);
    // Within the week: not again, also not after a restart.
    site.stop().await;
    site.clock.set(day(9));
    site.start();
    site.move_to(day(13)).await;
    site.weeks(1).await;
    // Switched off for a month: one report for the week it is now.
    site.stop().await;
    site.clock.set(day(45));
    site.start();
    assert_eq!(site.weeks(2).await[1], (Some(6), day(45)));
    // A clock that ran ahead by a hundred weeks and was set right again costs no week.
    site.clock.set(day(7 * 107));
    assert_eq!(site.weeks(3).await[2].0, Some(107));
    site.stop().await;
    site.clock.set(day(50));
    site.start();
    let mut seen: Vec<u64> = site
        .weeks(4)
        .await
        .into_iter()
        .filter_map(|(week, _)| week)
        .collect();
    seen.sort_unstable();
    assert_eq!(seen, [1, 6, 7, 107]);
    site.stop().await;
}

/// A5: thirty days offline, with a proxy that would see whatever goes out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a5_offline_nothing_opens_a_connection() {
    let trap = TcpListener::bind("127.0.0.1:0").unwrap();
    trap.set_nonblocking(true).unwrap();
    let port = trap.local_addr().unwrap().port();
    let mut site = Site::new();
    let store = Store::open(&site.dir().join("site.db")).unwrap();
    store
        .write_blocking::<_, StoreError>(|tx| {
            tx.set_setting("scp.mode", Some("offline"))?;
            let proxy = serde_json::json!({
                "host": "127.0.0.1", "port": port, "tls": false, "user": null, "password": null,
                "basic_over_clear_text": false, "exceptions": [],
            });
            tx.set_setting("scp.proxy", Some(&proxy.to_string()))
        })
        .unwrap();
    drop(store);
    // What the feed would say, so that the uploader has somewhere to send to.
    let config = protocol::usage::IntakeConfig::new("https://updates.example/usage/v1/", vec!["00".into()]);
    let payload = site.dir().join("EasySetupPayload");
    std::fs::create_dir_all(&payload).unwrap();
    std::fs::write(payload.join("usage.json"), serde_json::to_vec(&config).unwrap()).unwrap();
    site.start();
    for days in 0..30 {
        site.clock.set(day(days));
        site.weeks(usize::try_from(days / 7).unwrap()).await;
    }
    site.held_back("the service connection point is offline").await;
    assert!(trap.accept().is_err(), "something connected");
    let states: Vec<&str> = reports(&site.dir())
        .iter()
        .map(|report| report.state.as_str())
        .collect();
    assert_eq!(states, ["collected", "replaced", "replaced", "replaced"]);
    // Online, the same site would have asked the proxy.
    site.stop().await;
    let store = Store::open(&site.dir().join("site.db")).unwrap();
    store
        .write_blocking::<_, StoreError>(|tx| tx.set_setting("scp.mode", Some("online")))
        .unwrap();
    drop(store);
    site.start();
    until("a connection of the site to its proxy", || trap.accept().ok()).await;
    site.stop().await;
}
