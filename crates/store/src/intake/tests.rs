//! The same behaviour on both engines, on a real file and on a real server.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::*;

const QUOTA: IntakeQuota = IntakeQuota {
    reports_per_day: 3,
    new_hierarchies_per_day: 4,
};

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

fn report(id: &str, hierarchy: &str, key: &str, second: i64, version: &str) -> IntakeReport {
    IntakeReport {
        report: id.into(),
        hierarchy: hierarchy.into(),
        public_key: key.into(),
        received_at: at(second),
        collected_at: at(second),
        level: "basic".into(),
        sha256: format!("sha of {id}"),
        verdict: "accepted".into(),
        problem: String::new(),
        body: "{}\n".into(),
        receipt: format!("receipt of {id}"),
        facts: Some(FleetFacts {
            site_version: version.into(),
            program_version: "0.1.0".into(),
            os: "debian 12".into(),
            arch: "x86_64".into(),
            mode: "online".into(),
            sites: 2,
            devices: 64,
        }),
    }
}

async fn behaves(store: &IntakeStore) {
    let accept = async |report: &IntakeReport| store.accept(report, QUOTA).await.unwrap();
    let first = report("r1", "h1", "k1", 0, "5.00.1");
    assert_eq!(accept(&first).await, Stored::New);
    // Again, later: the receipt of then, and nothing counted twice.
    let again = IntakeReport {
        received_at: at(9),
        receipt: "another".into(),
        ..first.clone()
    };
    let before = Stored::Before {
        receipt: "receipt of r1".into(),
    };
    assert_eq!(accept(&again).await, before);
    // The same id with other content, by its owner and by somebody else.
    let other = IntakeReport {
        sha256: "x".into(),
        ..first.clone()
    };
    assert_eq!(accept(&other).await, Stored::Another);
    assert_eq!(
        accept(&report("r1", "h2", "k2", 1, "5.00.9")).await,
        Stored::Another
    );
    // Somebody else's hierarchy.
    assert_eq!(
        accept(&report("r2", "h1", "k9", 2, "5.00.9")).await,
        Stored::ForeignKey
    );
    // A newer report counts, a late one does not.
    assert_eq!(accept(&report("r3", "h1", "k1", 20, "5.00.2")).await, Stored::New);
    assert_eq!(accept(&report("r4", "h1", "k1", 10, "5.00.1")).await, Stored::New);
    assert_eq!(
        accept(&report("r5", "h1", "k1", 30, "5.00.3")).await,
        Stored::OverQuota
    );
    assert_eq!(accept(&first).await, before, "a repetition is no new report");
    // A day later there is room again.
    assert_eq!(
        accept(&report("r6", "h1", "k1", 90_000, "5.00.3")).await,
        Stored::New
    );
    assert_eq!(
        accept(&report("r7", "h2", "k2", 90_001, "5.00.3")).await,
        Stored::New
    );
    let quarantined = IntakeReport {
        verdict: "quarantined".into(),
        problem: "news".into(),
        facts: None,
        ..report("r8", "h3", "k3", 90_002, "")
    };
    assert_eq!(accept(&quarantined).await, Stored::New);
    assert_eq!(
        accept(&report("ra", "h4", "k4", 90_003, "5.00.1")).await,
        Stored::New
    );
    assert_eq!(
        accept(&report("rb", "h5", "k5", 90_004, "5.00.1")).await,
        Stored::New
    );
    assert_eq!(
        accept(&report("rc", "h6", "k6", 90_005, "5.00.1")).await,
        Stored::New
    );
    assert_eq!(
        accept(&report("rd", "h7", "k7", 90_006, "5.00.1")).await,
        Stored::OverQuota
    );

    let day = at(0).as_second() / 86_400;
    let counted = vec![(day, "malformed".to_owned(), 2), (day, "oversized".to_owned(), 1)];
    store.count_refused(&counted).await.unwrap();
    store.count_refused(&counted[..1]).await.unwrap();
    let fleet = store.fleet(at(-86_400)).await.unwrap();
    assert_eq!((fleet.hierarchies, fleet.sites, fleet.devices), (5, 10, 320));
    assert_eq!(
        fleet.by["version"],
        [("5.00.1".to_owned(), 3), ("5.00.3".to_owned(), 2)]
    );
    assert_eq!(fleet.by["level"], [("basic".to_owned(), 5)]);
    assert_eq!(
        fleet.refused,
        [(day, "malformed".to_owned(), 4), (day, "oversized".to_owned(), 1)]
    );
    assert_eq!(fleet.reports.iter().map(|(_, _, count)| count).sum::<u64>(), 9);
    let listed = store.reports(true, 10).await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (listed[0].report.as_str(), listed[0].problem.as_str()),
        ("r8", "news")
    );
    assert_eq!(store.body("r1").await.unwrap().as_deref(), Some("{}\n"));
    assert_eq!(store.body("nothing").await.unwrap(), None);

    store.forget(at(1_000)).await.unwrap();
    let left = store.reports(false, 100).await.unwrap();
    assert!(left.iter().all(|listed| listed.received_at >= at(1_000)) && left.len() == 6);
}

/// Many at once: each is kept once, and each gets an answer.
async fn takes_a_crowd(store: &IntakeStore) {
    let quota = IntakeQuota {
        reports_per_day: 1_000,
        new_hierarchies_per_day: 1_000,
    };
    let reports: Vec<IntakeReport> = (0..200)
        .map(|number| {
            let hierarchy = format!("crowd {}", number % 20);
            // Every report comes twice.
            report(
                &format!("c{}", number / 2),
                &hierarchy,
                &hierarchy,
                200_000,
                "5.00.5",
            )
        })
        .collect();
    let accepting = reports.iter().map(|report| store.accept(report, quota));
    let stored = futures_util::future::join_all(accepting).await;
    let new = stored
        .iter()
        .filter(|stored| matches!(stored, Ok(Stored::New)))
        .count();
    assert_eq!(new, 100, "{stored:?}");
    assert!(
        stored
            .iter()
            .all(|stored| matches!(stored, Ok(Stored::New | Stored::Before { .. } | Stored::Another)))
    );
}

#[tokio::test]
async fn the_embedded_database() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("usage.db");
    let store = IntakeStore::open(&IntakeDatabase::Embedded(path.clone()))
        .await
        .unwrap();
    behaves(&store).await;
    takes_a_crowd(&store).await;
    drop(store);
    let store = IntakeStore::open(&IntakeDatabase::Embedded(path)).await.unwrap();
    assert_eq!(store.reports(false, 1_000).await.unwrap().len(), 106);
}

#[tokio::test]
async fn a_postgresql_server() {
    let server = Server::start();
    let database = IntakeDatabase::Postgres {
        url: format!("postgres://tidegate@127.0.0.1:{}/postgres", server.port),
        password: Some(Zeroizing::new("right".into())),
        roots_pem: Vec::new(),
    };
    let store = IntakeStore::open(&database).await.unwrap();
    behaves(&store).await;
    takes_a_crowd(&store).await;
    drop(store);
    let store = IntakeStore::open(&database).await.unwrap();
    assert_eq!(store.reports(false, 1_000).await.unwrap().len(), 106);

    let wrong = |password: &str, url: String| IntakeDatabase::Postgres {
        url,
        password: Some(Zeroizing::new(password.into())),
        roots_pem: Vec::new(),
    };
    let failure = async |database: IntakeDatabase| match IntakeStore::open(&database).await {
        Err(failure) => failure.to_string(),
        Ok(_) => panic!("{database:?} was opened"),
    };
    let url = format!("postgres://tidegate@127.0.0.1:{}/postgres", server.port);
    let said = failure(wrong("wrong-secret", url)).await;
    assert!(
        said.contains("password authentication failed") && !said.contains("wrong-secret"),
        "{said}"
    );
    let said = failure(wrong("x", "postgres://tidegate:sesame@127.0.0.1/postgres".into())).await;
    assert!(
        said.contains("database-password-file") && !said.contains("sesame"),
        "{said}"
    );
    let said = failure(wrong("x", "postgres://tidegate@127.0.0.1:1/postgres".into())).await;
    assert!(said.contains("127.0.0.1/postgres"), "{said}");
}

/// A PostgreSQL server of its own, on a free port, ended with the test.
struct Server {
    port: u16,
    root: bool,
    data: PathBuf,
    folder: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let programs = programs();
        let data = folder.path().join("data");
        std::fs::create_dir(&data).unwrap();
        std::fs::write(folder.path().join("password"), "right").unwrap();
        let root = rustix_is_root();
        if root {
            // The server refuses to run as root.
            let owned = Command::new("chown")
                .args(["-R", "postgres"])
                .arg(folder.path())
                .status()
                .unwrap();
            assert!(owned.success());
        }
        let made = as_server(root, &programs.join("initdb"))
            .args([
                "--username=tidegate",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--no-sync",
                "--no-locale",
            ])
            .arg(format!("--pwfile={}", folder.path().join("password").display()))
            .arg("-D")
            .arg(&data)
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = Server {
            port: 0,
            root,
            data,
            folder,
        };
        // Somebody else may take a free port before the server does; then there is another one.
        for _ in 0..5 {
            server.port = {
                let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
                listener.local_addr().unwrap().port()
            };
            let options = format!(
                "-h 127.0.0.1 -p {} -k {} -c fsync=off",
                server.port,
                server.folder.path().display()
            );
            // It comes back once the server accepts connections.
            if server.control(&["-w", "-t", "60", "-o", &options, "start"]) {
                return server;
            }
        }
        let log = std::fs::read_to_string(server.folder.path().join("log")).unwrap_or_default();
        panic!("no server could be started: {log}");
    }

    /// Whether it did what it was told.
    fn control(&self, arguments: &[&str]) -> bool {
        let done = as_server(self.root, &programs().join("pg_ctl"))
            .arg("-D")
            .arg(&self.data)
            .arg("-l")
            .arg(self.folder.path().join("log"))
            .args(arguments)
            .stdout(Stdio::null())
            .status();
        done.is_ok_and(|done| done.success())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asserting here would abort the process where a test has failed already.
        self.control(&["-w", "-m", "fast", "stop"]);
    }
}

fn rustix_is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    String::from_utf8_lossy(&id.stdout).trim() == "0"
}

/// A program of the server, as a user that it accepts.
fn as_server(root: bool, program: &Path) -> Command {
    match root {
        true => {
            let mut command = Command::new("setpriv");
            command
                .args(["--reuid=postgres", "--regid=postgres", "--clear-groups"])
                .arg(program);
            command
        }
        false => Command::new(program),
    }
}

/// Where the distribution keeps the server's programs.
fn programs() -> PathBuf {
    let mut versions: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .filter_map(|entry| Some(entry.ok()?.path().join("bin")))
                .collect()
        })
        .unwrap_or_default();
    versions.sort();
    versions
        .pop()
        .expect("no PostgreSQL server; `cargo xtask test` installs it")
}
