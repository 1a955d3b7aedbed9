//! Tells the service manager that started this program how it stands: the protocol of sd_notify(3), datagrams on the
//! socket that NOTIFY_SOCKET names. Without a service manager nothing is told to nobody.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// Most characters of a status line.
const STATUS_CHARACTERS_MAX: usize = 200;
/// Shortest time between two signs of life, whatever the service manager asks for.
const PING_LEAST: Duration = Duration::from_millis(10);

/// The way to the service manager; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ServiceManager {
    socket: Option<Arc<UnixDatagram>>,
    /// It ends this program when it hears nothing for so long.
    watchdog: Option<Duration>,
}

impl ServiceManager {
    /// From the variables NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID of the environment; what they hold and this
    /// program cannot use counts as not there, as the protocol wants it.
    pub fn from_environment(variable: impl Fn(&str) -> Option<std::ffi::OsString>) -> Self {
        let socket = variable("NOTIFY_SOCKET").and_then(|name| connect(&name).map(Arc::new));
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let meant = match variable("WATCHDOG_PID") {
            // The variables were inherited: the watchdog is another process's.
            Some(_) => number("WATCHDOG_PID") == Some(u64::from(std::process::id())),
            None => true,
        };
        let watchdog = number("WATCHDOG_USEC").filter(|microseconds| meant && *microseconds > 0);
        ServiceManager {
            socket,
            watchdog: watchdog.map(Duration::from_micros),
        }
    }

    /// It does its work from now on.
    pub fn ready(&self, status: &str) {
        self.tell(&format!("READY=1\nSTATUS={}", line(status)));
    }

    /// What it is doing, in a few words.
    pub fn status(&self, status: &str) {
        self.tell(&format!("STATUS={}", line(status)));
    }

    /// It ends.
    pub fn stopping(&self) {
        self.tell("STOPPING=1\nSTATUS=stopping");
    }

    /// Tells that it ends as soon as `shutdown` asks for that, unless `ended` comes first.
    pub async fn tell_stop(&self, shutdown: &CancellationToken, ended: &CancellationToken) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => self.stopping(),
            () = ended.cancelled() => {}
        }
    }

    /// Gives a sign of life at half of the watchdog's time for ever, each time `alive` says so within that time. A program
    /// that does not is ended and started again by the service manager, and goes on where it was.
    pub async fn keep_alive(&self, alive: impl AsyncFn() -> bool) {
        let (Some(_), Some(watchdog)) = (&self.socket, self.watchdog) else {
            return;
        };
        let half = (watchdog / 2).max(PING_LEAST);
        let mut ticks = tokio::time::interval(half);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if tokio::time::timeout(half, alive()).await == Ok(true) {
                self.tell("WATCHDOG=1");
            }
        }
    }

    fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket {
            // A service manager that does not listen is none: nothing here depends on it.
            let _ = socket.send(state.as_bytes());
        }
    }
}

/// A path, or with `@` before it a name that no file stands for. Other ways, such as vsock, are for virtual machines.
fn connect(name: &OsStr) -> Option<UnixDatagram> {
    let address = match name.as_bytes() {
        [b'/', ..] => SocketAddr::from_pathname(name),
        [b'@', rest @ ..] => SocketAddr::from_abstract_name(rest),
        _ => return None,
    };
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect_addr(&address.ok()?).ok()?;
    // A full queue must not hold up the work; the next sign of life comes soon.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// One line: a line break would begin another variable.
fn line(text: &str) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(STATUS_CHARACTERS_MAX).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listen(name: &str) -> UnixDatagram {
        let address = match name.strip_prefix('@') {
            Some(rest) => SocketAddr::from_abstract_name(rest),
            None => SocketAddr::from_pathname(name),
        };
        let socket = UnixDatagram::bind_addr(&address.unwrap()).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        socket
    }

    fn heard(socket: &UnixDatagram) -> String {
        let mut bytes = [0; 1_000];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    }

    #[test]
    fn both_kinds_of_names_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("notify").display().to_string();
        let unnamed = format!("@tidegate-test-{}", std::process::id());
        for name in [file, unnamed] {
            let socket = listen(&name);
            let manager = ServiceManager::from_environment(|variable| {
                (variable == "NOTIFY_SOCKET").then(|| name.clone().into())
            });
            manager.ready("two\nlines");
            assert_eq!(heard(&socket), "READY=1\nSTATUS=two lines");
            manager.stopping();
            assert_eq!(heard(&socket), "STOPPING=1\nSTATUS=stopping");
        }
    }

    #[test]
    fn what_cannot_be_used_is_not_there() {
        for (name, pid, microseconds, expected) in [
            ("vsock:2:1", None, "1000", Some(Duration::from_millis(1))),
            ("", None, "1000", Some(Duration::from_millis(1))),
            ("/no/such/socket", Some("1"), "1000", None),
            ("/no/such/socket", None, "many", None),
            ("/no/such/socket", None, "0", None),
            ("/no/such/socket", None, "2000000", Some(Duration::from_secs(2))),
        ] {
            let manager = ServiceManager::from_environment(|variable| match variable {
                "NOTIFY_SOCKET" => Some(name.into()),
                "WATCHDOG_PID" => pid.map(Into::into),
                _ => Some(microseconds.into()),
            });
            assert!(manager.socket.is_none());
            assert_eq!(manager.watchdog, expected, "{name} {pid:?} {microseconds}");
            manager.ready("heard by nobody");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn signs_of_life_stop_when_nothing_lives() {
        let name = format!("@tidegate-watchdog-{}", std::process::id());
        let socket = listen(&name);
        let manager = ServiceManager::from_environment(|variable| match variable {
            "NOTIFY_SOCKET" => Some(name.clone().into()),
            "WATCHDOG_USEC" => Some("30000000".into()),
            _ => None,
        });
        let looks = std::cell::Cell::new(0);
        let alive = async || {
            looks.set(looks.get() + 1);
            if looks.get() == 3 {
                // Hangs: no answer within half of the time.
                std::future::pending::<()>().await;
            }
            looks.get() != 2
        };
        let five_looks = Duration::from_secs(15 * 5 + 1);
        assert!(
            tokio::time::timeout(five_looks, manager.keep_alive(alive))
                .await
                .is_err()
        );
        assert!((4..=6).contains(&looks.get()), "{}", looks.get());
        socket.set_nonblocking(true).unwrap();
        let mut heard = 0;
        while socket.recv(&mut [0; 100]).is_ok() {
            heard += 1;
        }
        assert_eq!(heard, looks.get() - 2, "not those that found nothing alive");
    }
}
