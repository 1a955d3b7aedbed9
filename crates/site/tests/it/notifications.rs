//! Notifications of a whole site: from what is stored to what a user sees, and when they are looked at.

use std::sync::Arc;
use std::time::Duration;

use domain::access::Access;
use domain::component::ComponentName;
use domain::notification::Evaluated;
use domain::servicing::install::Journal;
use domain::servicing::package::PackageGuid;
use domain::servicing::transition::{PackageEvent as E, PrereqOutcome, Verdict};
use domain::status_message::systems::{SPACE_KIB_MAX, SpaceThresholds, SystemObject};
use executive::logs::{CmTraceLayer, LogSettings};
use executive::{Activation, Clock, Component, ComponentError, Executive, FakeClock, Report, Supervision};
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use protocol::api::{NotificationInfo, NotificationStanding};
use protocol::connectivity::{CheckReport, FaultReport, TargetReport};
use site::context::SiteContext;
use site::directory::SiteDirectory;
use site::notifications::evaluate;
use site::service::{Actor, ServiceError, SiteService};
use site::settings::Settings;
use store::{EndpointRunRow, InstallRun, ListedPackage, Store, StoreError, Tx};

use crate::status_system::running_from;
use crate::until;
use crate::usage_weeks::{Site, day};

const ALL: &[Evaluated] = &[
    Evaluated::AtConsoleStart,
    Evaluated::EveryFiveMinutes,
    Evaluated::Hourly,
];

/// The service layer of a site whose components do not run.
pub struct Still {
    pub context: Arc<SiteContext>,
    pub service: Arc<SiteService>,
    pub clock: FakeClock,
    // Holds the folder.
    _site: Site,
}

impl Still {
    pub fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let site = Site::new();
        let directory = SiteDirectory::new(site.dir());
        let mut settings = Settings::load(&directory.configuration()).unwrap();
        change(&mut settings);
        let context =
            Arc::new(site::context::open(directory, settings, jiff::tz::TimeZone::UTC, day(0)).unwrap());
        let clock = FakeClock::new(day(0));
        let logs = CmTraceLayer::new(LogSettings {
            folder: site.dir().join("logs"),
            bytes_max: 1 << 20,
            history: false,
            zone: TimeZone::UTC,
            clock: Clock::Fake(clock.clone()),
        });
        let service = SiteService::new(context.clone(), Clock::Fake(clock.clone()), TimeZone::UTC, logs);
        Still {
            context,
            service: Arc::new(service),
            clock,
            _site: site,
        }
    }

    fn write(&self, work: impl FnOnce(&Tx<'_>) -> Result<(), StoreError>) {
        self.context.store.write_blocking(work).unwrap();
    }

    /// Looks at everything at this time.
    async fn look(&self, at: Timestamp) {
        self.clock.set(at);
        evaluate(&self.context, ALL, at).await.unwrap();
    }

    /// Those that a user sees now, without the free space of the machine that runs the test.
    async fn shown(&self, user: &str, all: bool) -> Vec<NotificationInfo> {
        let actor = Actor::token(user, Access::FULL);
        let mut list = self.service.notifications(&actor, all).await.unwrap();
        list.retain(|info| info.kind != "disk-space-low");
        list
    }

    async fn keys(&self, user: &str) -> Vec<(String, String)> {
        let list = self.shown(user, false).await;
        list.into_iter().map(|info| (info.key, info.severity)).collect()
    }
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected
        .iter()
        .map(|(key, severity)| ((*key).to_owned(), (*severity).to_owned()))
        .collect()
}

fn fail_checks(tx: &Tx<'_>, times: u32, reason: &str) -> Result<(), StoreError> {
    (0..times).try_for_each(|_| tx.record_sync_failed(day(0), day(1), reason, "no answer"))
}

#[tokio::test]
async fn low_space_is_what_was_set_in_system_status() {
    let site = Still::new();
    // More than any machine has; and below the critical threshold nothing ever is.
    let set = SpaceThresholds {
        warning_kib: SPACE_KIB_MAX,
        critical_kib: 0,
    };
    site.write(|tx| tx.set_system_threshold(SystemObject::FileSystem, Some(set)));
    site.look(day(0)).await;
    let anna = Actor::token("anna", Access::FULL);
    let list = site.service.notifications(&anna, false).await.unwrap();
    let low = list.iter().find(|info| info.kind == "disk-space-low");
    assert_eq!(
        low.map(|info| info.severity.as_str()),
        Some("warning"),
        "{list:?}"
    );
}

#[tokio::test]
async fn each_user_dismisses_and_snoozes_for_itself() {
    let site = Still::new();
    site.write(|tx| fail_checks(tx, 3, "network"));
    site.look(day(0)).await;
    let failing = pairs(&[("update-checks-failing", "warning")]);
    assert_eq!(site.keys("anna").await, failing);

    let anna = Actor::token("anna", Access::FULL);
    site.service
        .dismiss_notification("update-checks-failing", &anna)
        .await
        .unwrap();
    assert_eq!(site.keys("anna").await, []);
    // From a second console of the same user: the same answer; another user sees it.
    assert_eq!(site.keys("otto").await, failing);
    let all = site.shown("anna", true).await;
    assert_eq!(all[0].standing, NotificationStanding::Dismissed);
    assert_eq!(all[0].first_seen, day(0));

    let otto = Actor::token("otto", Access::FULL);
    for (length, back) in [("hour", 1), ("day", 24), ("week", 7 * 24), ("month", 30 * 24)] {
        let now = site.clock_now();
        let until = site
            .service
            .snooze_notification("update-checks-failing", length, &otto)
            .await
            .unwrap();
        assert_eq!(until.as_second() - now.as_second(), back * 3_600);
        assert_eq!(site.keys("otto").await, []);
        site.clock.set(until);
        assert_eq!(site.keys("otto").await, failing);
    }
    let wrong = site
        .service
        .snooze_notification("update-checks-failing", "fortnight", &otto)
        .await;
    assert!(matches!(wrong, Err(ServiceError::Invalid { .. })), "{wrong:?}");

    // Another cause is news for who dismissed it.
    site.write(|tx| fail_checks(tx, 1, "tampered"));
    site.look(day(200)).await;
    assert_eq!(site.keys("anna").await, failing);
    assert_eq!(site.shown("anna", false).await[0].first_seen, day(200));

    // What is gone is gone with everything; when it comes back it is shown.
    site.service
        .dismiss_notification("update-checks-failing", &anna)
        .await
        .unwrap();
    site.write(|tx| tx.record_sync_succeeded(day(200), day(201), "[]"));
    site.look(day(200)).await;
    assert_eq!(site.shown("anna", true).await, []);
    let gone = site
        .service
        .dismiss_notification("update-checks-failing", &anna)
        .await;
    assert!(matches!(gone, Err(ServiceError::NotFound { .. })), "{gone:?}");
    site.write(|tx| fail_checks(tx, 3, "tampered"));
    site.look(day(201)).await;
    assert_eq!(site.keys("anna").await, failing);

    // Worse is shown at once, and critical ones stay.
    site.service
        .dismiss_notification("update-checks-failing", &anna)
        .await
        .unwrap();
    site.look(day(208)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("update-checks-failing", "critical")])
    );
    assert!(!site.shown("anna", false).await[0].dismissible);
    let refused = site
        .service
        .dismiss_notification("update-checks-failing", &anna)
        .await;
    assert!(
        matches!(refused, Err(ServiceError::Refused { .. })),
        "{refused:?}"
    );
    let refused = site
        .service
        .snooze_notification("update-checks-failing", "hour", &anna)
        .await;
    assert!(
        matches!(refused, Err(ServiceError::Refused { .. })),
        "{refused:?}"
    );

    // Who did what is recorded.
    let messages = site
        .context
        .store
        .read_blocking::<_, StoreError>(|tx| tx.status_messages(&store::StatusFilter::default(), 100))
        .unwrap();
    let told: Vec<&str> = messages.iter().map(|row| row.message.text.as_str()).collect();
    assert_eq!(told.len(), 7, "{told:?}");
    assert_eq!(
        told[6],
        "token anna dismissed the notification update-checks-failing."
    );
}

impl Still {
    fn clock_now(&self) -> Timestamp {
        Clock::Fake(self.clock.clone()).now()
    }
}

#[tokio::test]
async fn a_site_may_show_critical_ones_only() {
    let site = Still::with(|settings| settings.non_critical_notifications = false);
    site.write(|tx| {
        tx.record_sync_succeeded(day(0), day(1), "[]")?;
        fail_checks(tx, 3, "network")
    });
    site.look(day(1)).await;
    assert_eq!(site.shown("anna", true).await, []);
    site.look(day(8)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("update-checks-failing", "critical")])
    );
}

#[tokio::test]
async fn a_package_from_offer_to_recovery() {
    let site = Still::new();
    let guid = PackageGuid(0x8576_527e_dde7_4e3c_a0e1_6fb0_f0a3_b1c4);
    site.write(|tx| {
        let package = ListedPackage {
            guid,
            name: "Release 2610".into(),
            full_version: "5.00.9141.1000".parse().unwrap(),
            released_at: day(0),
            record: "{}".into(),
        };
        tx.store_shard("catalogue/0", &[package], day(0))?;
        let row = tx.package(guid)?;
        tx.apply_all(&row, &[E::Listed, E::Evaluated(Verdict::Applicable)], "", day(0))?;
        tx.set_newest(Some(guid))
    });
    // Looked at when the list is asked for, without an evaluation before.
    let listed = site.shown("anna", false).await;
    assert_eq!(
        (listed.len(), listed[0].key.as_str()),
        (1, "site-upgrade-available")
    );
    assert_eq!(
        (listed[0].severity.as_str(), listed[0].evaluated.as_str()),
        ("warning", "at console start")
    );
    site.service
        .dismiss_notification("site-upgrade-available", &Actor::token("anna", Access::FULL))
        .await
        .unwrap();
    site.write(|tx| {
        let row = tx.package(guid)?;
        let way = [
            E::DownloadStarted,
            E::DownloadSucceeded,
            E::Start,
            E::ReplicationStarted,
            E::ReplicationSucceeded,
            E::PrereqStarted,
        ];
        tx.apply_all(&row, &way[..2], "", day(0)).map(drop)
    });
    site.look(day(0)).await;
    assert_eq!(site.keys("anna").await, [], "downloaded is the same upgrade");
    let ready = site.shown("otto", false).await;
    assert!(
        ready[0].command.starts_with("tidegate updates install 8576527E"),
        "{ready:?}"
    );

    site.write(|tx| {
        let row = tx.package(guid)?;
        let way = [
            E::Start,
            E::ReplicationStarted,
            E::ReplicationSucceeded,
            E::PrereqStarted,
            E::PrereqFinished(PrereqOutcome::Passed),
            E::InstallStarted,
        ];
        tx.apply_all(&row, &way, "", day(1)).map(drop)
    });
    site.look(day(1)).await;
    assert_eq!(
        site.keys("otto").await,
        pairs(&[("site-in-upgrade-mode", "informational")])
    );
    site.write(|tx| {
        let run = InstallRun {
            attempt: 1,
            journal: Journal {
                steps_done: 3,
                rollback_done: Some(1),
            },
            previous_version: None,
            failure: Some("a hook failed".into()),
            features_on: Vec::new(),
            features_off: Vec::new(),
            started_at: day(1),
        };
        tx.record_install_run(guid, &run)
    });
    site.look(day(1)).await;
    assert_eq!(
        site.keys("otto").await,
        pairs(&[("site-in-recovery-mode", "warning")])
    );
}

#[tokio::test]
async fn what_ends_and_what_cannot_be_reached() {
    let site = Still::new();
    let secrets = site.context.directory.secrets();
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    site::api::certificate::server_config(&secrets, "host", day(0)).unwrap();
    site.write(|tx| {
        let roles = format!(
            r#"[{{"role":"timestamp","version":3,"expires":"{}"}},{{"role":"root","version":1,"expires":"{}"}}]"#,
            day(7),
            day(365)
        );
        tx.record_sync_succeeded(day(0), day(1), &roles)
    });
    site.look(day(5)).await;
    assert_eq!(site.keys("anna").await, []);
    site.look(day(6)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("feed-metadata-expiring-timestamp", "warning")])
    );
    site.look(day(7)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("feed-metadata-expiring-timestamp", "critical")])
    );
    site.write(|tx| tx.record_sync_succeeded(day(7), day(8), "[]"));
    site.look(day(800)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("certificate-expiring-secrets-api-pem", "warning")])
    );
    site.look(day(821)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("certificate-expiring-secrets-api-pem", "critical")])
    );
    std::fs::remove_file(secrets.join("api.pem")).unwrap();
    site.write(|tx| tx.record_endpoint_run(&run("1", day(821), false)));
    site.look(day(821)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("endpoints-unreachable", "warning")])
    );
    site.write(|tx| tx.record_endpoint_run(&run("2", day(822), true)));
    site.look(day(822)).await;
    assert_eq!(
        site.keys("anna").await,
        pairs(&[("endpoints-unreachable", "critical")])
    );
}

/// A run of checks in which one endpoint failed.
fn run(id: &str, at: Timestamp, critical: bool) -> EndpointRunRow {
    let fault = FaultReport {
        code: "tcp.timeout".into(),
        phase: "tcp".into(),
        party: "firewall".into(),
        evidence: String::new(),
        advice: String::new(),
    };
    let target = TargetReport {
        url: "https://updates.example/".into(),
        host: "updates.example".into(),
        port: 443,
        features: Vec::new(),
        endpoints: Vec::new(),
        stands_for: Vec::new(),
        critical,
        retired: false,
        result: "failed".into(),
        took_ms: 1.0,
        phases: Vec::new(),
        fault: Some(fault),
        notes: Vec::new(),
        http_status: None,
        addresses: Vec::new(),
        peer: None,
        tls: None,
        redirects: Vec::new(),
        clock_ahead_s: None,
        direct: None,
    };
    let report = CheckReport {
        schema: 1,
        run_id: id.into(),
        started_at: at,
        took_ms: 1.0,
        server: "host".into(),
        mode: "online".into(),
        catalogue: None,
        proxy: None,
        outcome: if critical { "critical" } else { "warning" }.into(),
        summary: String::new(),
        fault: None,
        results: vec![target],
        not_testable: Vec::new(),
        clock_ahead_s: None,
    };
    EndpointRunRow {
        run_id: id.into(),
        started_at: at,
        cause: "timer".into(),
        outcome: report.outcome.clone(),
        summary: String::new(),
        took_ms: 1,
        report: serde_json::to_string(&report).unwrap(),
    }
}

struct Crashing;

impl Component for Crashing {
    fn name(&self) -> ComponentName {
        ComponentName::StateSystem
    }

    fn activate<'a>(&'a self, _cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        Box::pin(async { panic!("a hole in the logic") })
    }
}

#[tokio::test]
async fn crashed_components_are_told() {
    let site = Still::new();
    let supervision = Supervision::new(Clock::Fake(site.clock.clone()), 1);
    let (executive, mut events) = Executive::start(vec![Arc::new(Crashing)], &[], supervision);
    let handle = executive.handle();
    assert!(site.context.executive.set(handle).is_ok());
    while !matches!(
        events.recv().await,
        Some(executive::ExecutiveEvent::Panicked { .. })
    ) {}
    site.look(day(0)).await;
    let shown = site.shown("anna", false).await;
    assert_eq!(shown.len(), 1, "{shown:?}");
    assert_eq!(
        (shown[0].key.as_str(), shown[0].severity.as_str()),
        ("component-crashed-sms-state-system", "warning")
    );
    assert!(shown[0].body.contains("a hole in the logic"), "{}", shown[0].body);
    executive.shut_down().await;
}

/// The component that evaluates them, on a running site: endpoints within five minutes, certificates within an hour.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_site_looks_on_time() {
    let site = Site::new();
    let directory = SiteDirectory::new(site.dir());
    let mut parameters = rcgen::CertificateParams::new(vec!["old".to_owned()]).unwrap();
    parameters.not_after = rcgen::date_time_ymd(2020, 1, 1);
    let pair = rcgen::KeyPair::generate().unwrap();
    let pem = parameters.self_signed(&pair).unwrap().pem();
    std::fs::create_dir_all(directory.secrets()).unwrap();
    std::fs::write(directory.secrets().join("first.pem"), &pem).unwrap();
    // Once the first look has ended, the next one is five minutes from then.
    let mut site = running_from(site).await;
    let store = Store::open(&directory.database()).unwrap();
    let in_force = |key: &str| {
        let row = store.read_blocking::<_, StoreError>(|tx| tx.notification(key));
        row.unwrap().map(drop)
    };
    until("the first look", || {
        in_force("certificate-expiring-secrets-first-pem")
    })
    .await;
    std::fs::write(directory.secrets().join("later.pem"), pem).unwrap();
    let later = "certificate-expiring-secrets-later-pem";
    store
        .write_blocking::<_, StoreError>(|tx| tx.record_endpoint_run(&run("later", day(2), true)))
        .unwrap();
    site.clock.advance(Duration::from_secs(300));
    // The clock goes on: a look that ended only just now counts its five minutes from here.
    let clock_goes_on = |key: &str, by: u64| {
        site.clock.advance(Duration::from_secs(by));
        in_force(key)
    };
    until("endpoints within five minutes", || {
        clock_goes_on("endpoints-unreachable", 1)
    })
    .await;
    assert_eq!(in_force(later), None);
    clock_goes_on(later, 3_600);
    until("certificates within the hour", || clock_goes_on(later, 10)).await;
    site.stop().await;
}
