//! The program under a service manager: what it tells on the socket of sd_notify(3), as the real binary.

use std::io::{Read, Write};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::program::Sealed;

/// The test as service manager of one program.
struct Manager {
    socket: UnixDatagram,
    child: Child,
}

impl Manager {
    fn start(sealed: &Sealed, arguments: &[&str], watchdog: Option<&str>) -> Self {
        let path = sealed.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut command: Command = sealed.command(arguments);
        command.env("NOTIFY_SOCKET", &path);
        if let Some(microseconds) = watchdog {
            command.env("WATCHDOG_USEC", microseconds);
        }
        let child = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Manager { socket, child }
    }

    fn heard(&self) -> String {
        let mut bytes = [0; 1_000];
        let length = self.socket.recv(&mut bytes).expect("nothing was told");
        String::from_utf8(bytes[..length].to_vec()).unwrap()
    }

    /// What is told until something that begins so.
    fn heard_until(&self, begin: &str) -> String {
        loop {
            let heard = self.heard();
            if heard.starts_with(begin) {
                return heard;
            }
        }
    }

    fn stop(mut self) -> Vec<String> {
        let child = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(child, rustix::process::Signal::TERM).unwrap();
        assert!(self.child.wait().unwrap().success());
        self.socket.set_nonblocking(true).unwrap();
        let mut rest = Vec::new();
        let mut bytes = [0; 1_000];
        while let Ok(length) = self.socket.recv(&mut bytes) {
            rest.push(String::from_utf8(bytes[..length].to_vec()).unwrap());
        }
        rest
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // A test that failed leaves nothing running.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_site_tells_that_it_is_ready_lives_and_ends() {
    let sealed = Sealed::new();
    let service = sealed.path().join("service");
    let made = sealed.run(&[
        "cloud",
        "init",
        "--dir",
        service.to_str().unwrap(),
        "--name",
        "Test",
    ]);
    assert_eq!(made.code, 0, "{}", made.err);
    let feed = format!("file://{}", service.join("repository").display());
    let root = service.join("repository/metadata/1.root.json");
    let made = sealed.run(&[
        "site",
        "init",
        "--code",
        "P01",
        "--name",
        "Test",
        "--feed",
        &feed,
        "--root",
        root.to_str().unwrap(),
        "--product-version",
        "5.00.9096.1000",
    ]);
    assert_eq!(made.code, 0, "{}", made.err);

    let manager = Manager::start(&sealed, &["run"], Some("400000"));
    assert_eq!(manager.heard(), "STATUS=starting");
    let ready = manager.heard();
    assert!(ready.starts_with("READY=1\nSTATUS=the site in "), "{ready}");
    // The components answer, again and again.
    assert_eq!(manager.heard(), "WATCHDOG=1");
    assert_eq!(manager.heard(), "WATCHDOG=1");
    // Ready means ready: for probes, and for commands.
    assert!(probe(&sealed, "/healthz").starts_with("HTTP/1.1 200 "));
    let readiness = probe(&sealed, "/readyz");
    assert!(readiness.starts_with("HTTP/1.1 200 "), "{readiness}");
    let notifications = sealed.run(&["notifications", "list", "--all", "--json"]);
    assert_eq!(notifications.code, 0, "{}", notifications.err);
    let list: serde_json::Value = serde_json::from_str(&notifications.out).unwrap();
    assert!(list.is_array(), "{list}");
    let unknown = sealed.run(&["notifications", "dismiss", "no-such-thing"]);
    assert_eq!(unknown.code, 1);
    assert!(
        unknown
            .err
            .contains("no notification \"no-such-thing\" is in force"),
        "{}",
        unknown.err
    );
    let rest = manager.stop();
    assert!(
        rest.iter().any(|told| told == "STOPPING=1\nSTATUS=stopping"),
        "{rest:?}"
    );
}

/// What the site's socket answers to a probe.
fn probe(sealed: &Sealed, path: &str) -> String {
    let mut socket = UnixStream::connect(sealed.dir().join("run/api.sock")).unwrap();
    write!(
        socket,
        "GET {path} HTTP/1.1\r\nhost: site\r\nconnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_feed_server_tells_the_same() {
    let sealed = Sealed::new();
    let dir = sealed.path().join("service");
    let dir = dir.to_str().unwrap();
    let made = sealed.run(&["cloud", "init", "--dir", dir, "--name", "Test"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let serve = ["cloud", "serve", "--dir", dir, "--listen", "127.0.0.1:0"];
    let manager = Manager::start(&sealed, &serve, Some("100000"));
    let ready = manager.heard();
    assert!(
        ready.starts_with("READY=1\nSTATUS=serving at https://127.0.0.1:"),
        "{ready}"
    );
    manager.heard_until("WATCHDOG=1");
    let rest = manager.stop();
    assert!(
        rest.iter().any(|told| told == "STOPPING=1\nSTATUS=stopping"),
        "{rest:?}"
    );
}

#[test]
fn without_a_watchdog_there_are_no_signs_of_life() {
    let sealed = Sealed::new();
    let dir = sealed.path().join("service");
    let dir = dir.to_str().unwrap();
    let made = sealed.run(&["cloud", "init", "--dir", dir, "--name", "Test"]);
    assert_eq!(made.code, 0, "{}", made.err);
    let serve = ["cloud", "serve", "--dir", dir, "--listen", "127.0.0.1:0"];
    let manager = Manager::start(&sealed, &serve, None);
    manager.heard_until("READY=1");
    assert_eq!(manager.stop(), ["STOPPING=1\nSTATUS=stopping"]);
}
