//! A published sample feed and sites that read it from a folder, driven through the real program.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_secs(180);

/// A folder with a connected service, made once per test.
pub struct World {
    pub folder: tempfile::TempDir,
}

/// The time now, as the program sees it.
pub fn now() -> Timestamp {
    executive::Clock::System.now()
}

impl World {
    /// A service without packages.
    pub fn empty(at: Timestamp) -> World {
        let folder = tempfile::tempdir().unwrap();
        let options = cloud::InitOptions::new(folder.path().join("service"), "Test");
        cloud::init(&options, at).unwrap();
        World { folder }
    }

    /// A service with the sample feed.
    pub fn with_sample(at: Timestamp) -> World {
        let folder = tempfile::tempdir().unwrap();
        cloud::sample::generate(&folder.path().join("service"), at, 7, &mut |_| {}).unwrap();
        World { folder }
    }

    pub fn service(&self) -> PathBuf {
        self.folder.path().join("service")
    }

    pub fn repository(&self) -> PathBuf {
        self.service().join("repository")
    }

    /// Publishes a package from a description and files; those that begin with `#!` are executable.
    pub fn publish(&self, name: &str, description: &str, files: &[(&str, &str)]) {
        use std::os::unix::fs::PermissionsExt;
        let folder = self.folder.path().join(format!("package-{name}"));
        let payload = folder.join("payload");
        for (path, text) in files {
            let path = payload.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            if text.starts_with("#!") {
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
            }
        }
        let package_toml = folder.join("package.toml");
        std::fs::write(&package_toml, description).unwrap();
        let request = cloud::PublishRequest {
            level: 3,
            ..cloud::PublishRequest::new(self.service(), package_toml, payload)
        };
        if let Err(failure) = cloud::publish(&request, now(), &mut |_| {}) {
            panic!("{failure}: {:?}", std::error::Error::source(&failure));
        }
    }

    /// A site that reads the feed's folder.
    pub fn site(&self, name: &str) -> Site {
        self.site_at(&self.folder.path().join(name))
    }

    /// The same in any folder.
    pub fn site_at(&self, dir: &Path) -> Site {
        let site = Site { dir: dir.to_owned() };
        let feed = format!("file://{}", self.repository().display());
        let root = self
            .repository()
            .join("metadata/1.root.json")
            .display()
            .to_string();
        let mut arguments = vec![
            "site", "init", "--code", "P01", "--name", "Test", "--feed", &feed, "--root", &root,
        ];
        arguments.extend(["--product-version", cloud::sample::SITE_VERSION]);
        site.must(&arguments);
        site
    }
}

/// A site directory.
pub struct Site {
    pub dir: PathBuf,
}

/// A running site; killed with the value.
pub struct Running(Child);

impl Running {
    /// One that was started in another way.
    pub fn of(child: Child) -> Self {
        Running(child)
    }

    /// Ends it as a power cut would.
    pub fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Site {
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        command
            .env_clear()
            .env("TZ", "UTC")
            .arg("--dir")
            .arg(&self.dir)
            .args(arguments)
            .stdin(Stdio::null());
        command
    }

    /// Starts the site in the background.
    pub fn start(&self) -> Running {
        let mut command = self.command(&["run"]);
        Running(
            command
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .unwrap(),
        )
    }

    /// Starts the site and waits until it answers.
    pub fn started(&self) -> Running {
        let running = self.start();
        until("the start of the site", || self.json(&["site", "show"]).map(drop));
        running
    }

    /// Runs a command to its end, whatever that is.
    pub fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    /// Runs a command that has to succeed.
    pub fn must(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The JSON a command prints, or nothing if it fails.
    pub fn json(&self, arguments: &[&str]) -> Option<Value> {
        let output = self.command(arguments).arg("--json").output().unwrap();
        if !output.status.success() {
            return None;
        }
        serde_json::from_slice(&output.stdout).ok()
    }

    /// Every package as (GUID, state code), by GUID.
    pub fn states(&self) -> Vec<(String, u64)> {
        let list = self.json(&["updates", "list", "--all"]).unwrap_or_default();
        let mut states: Vec<(String, u64)> = list
            .as_array()
            .into_iter()
            .flatten()
            .map(|update| {
                (
                    update["guid"].as_str().unwrap().to_owned(),
                    update["state"]["code"].as_u64().unwrap(),
                )
            })
            .collect();
        states.sort();
        states
    }

    /// The state of one package.
    pub fn state(&self, guid: &str) -> Option<u64> {
        self.states()
            .into_iter()
            .find(|(found, _)| found == guid)
            .map(|(_, state)| state)
    }

    /// Waits until a package is in a state.
    pub fn wait_for(&self, guid: &str, state: u64) {
        until_or(
            &format!("{guid} in state {state}"),
            || (self.state(guid) == Some(state)).then_some(()),
            || format!("{:?}\n{}", self.states(), self.all_logs()),
        );
    }

    /// The last failure of synchronisation, one word.
    pub fn sync_failure(&self) -> Option<String> {
        self.json(&["site", "show"])?["sync"]["failure_reason"]
            .as_str()
            .map(str::to_owned)
    }

    /// Ids of all status messages.
    pub fn message_ids(&self) -> Vec<u64> {
        let list = self
            .json(&["status", "messages", "--limit", "1000"])
            .unwrap_or_default();
        list.as_array()
            .into_iter()
            .flatten()
            .filter_map(|message| message["message_id"].as_u64())
            .collect()
    }

    /// Where `current` points.
    pub fn current(&self) -> Option<String> {
        let target = std::fs::read_link(self.dir.join("product/current")).ok()?;
        Some(target.file_name()?.to_str()?.to_owned())
    }

    /// Everything that was logged, for failures.
    pub fn all_logs(&self) -> String {
        let mut text = String::new();
        for entry in std::fs::read_dir(self.dir.join("logs"))
            .into_iter()
            .flatten()
            .flatten()
        {
            let log = std::fs::read_to_string(entry.path()).unwrap_or_default();
            text.push_str(&format!("--- {}\n{log}\n", entry.path().display()));
        }
        text
    }
}

/// Asks until there is an answer.
pub fn until<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    until_or(what, ask, String::new)
}

/// Asks until there is an answer; explains itself otherwise.
#[expect(clippy::disallowed_methods, reason = "a test gives up after a real time")]
pub fn until_or<T>(what: &str, mut ask: impl FnMut() -> Option<T>, explain: impl FnOnce() -> String) -> T {
    let start = std::time::Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen: {}", explain());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Copies a folder, replacing what is there.
pub fn copy_folder(from: &Path, to: &Path) {
    if to.exists() {
        std::fs::remove_dir_all(to).unwrap();
    }
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &to.join(entry.file_name()));
        } else {
            std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}
