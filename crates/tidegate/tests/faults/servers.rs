//! A server of the feed that does each thing a server should not do to a pack, before a site that has to end with the
//! right content and without fetching twice what it had.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use crate::world::{Site, World, now};

const READY: u64 = 262_146;
const PACKAGE: &str = "11111111-1111-1111-1111-111111111111";

/// What happens to a request for a range of a pack.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The whole file, as if no range was asked for.
    IgnoresRange,
    /// Another range, and says so.
    WrongRange,
    /// Another range under the right name.
    LiesAboutRange,
    /// Half of it, and then the connection closes.
    Short,
    Unsatisfiable,
    TooMany,
    Busy,
    /// Half of it right, the rest of other bytes.
    Changes,
    /// Closes without an answer.
    Dies,
}

struct Server {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    repository: PathBuf,
    /// Faults to come, the next one last.
    faults: Mutex<Vec<Fault>>,
    /// Right bytes of packs that were sent.
    sent: AtomicU64,
    asked: AtomicUsize,
}

impl Server {
    fn start(repository: PathBuf, faults: Vec<Fault>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            repository,
            faults: Mutex::new(faults),
            sent: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
        });
        let serving = shared.clone();
        thread("server", move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                // The site may hang up at any time.
                thread("connection", move || drop(serving.answer(stream)));
            }
        });
        Server { port, shared }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut stream = stream;
        loop {
            let (mut path, mut range) = (String::new(), None);
            loop {
                let mut line = String::new();
                if reader.read_line(&mut line)? == 0 {
                    return Ok(());
                }
                let line = line.trim_end().to_owned();
                if let Some(rest) = line.strip_prefix("GET ") {
                    path = rest.split(' ').next().unwrap_or_default().to_owned();
                }
                if let Some(bytes) = line.to_lowercase().strip_prefix("range: bytes=") {
                    let (first, last) = bytes.split_once('-').unwrap();
                    range = Some((first.parse::<u64>().unwrap(), last.parse::<u64>().unwrap()));
                }
                if line.is_empty() {
                    break;
                }
            }
            let file = self
                .repository
                .join(path.trim_start_matches('/').replace("%3A", ":"));
            let is_pack = file.extension().is_some_and(|extension| extension == "pack");
            let Ok(all) = std::fs::read(&file) else {
                write!(stream, "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")?;
                continue;
            };
            match range {
                Some((first, last)) if is_pack => self.range(&mut stream, &all, first, last)?,
                Some((first, last)) => {
                    partial(&mut stream, first, last, &all[first as usize..=last as usize])?
                }
                None => {
                    write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", all.len())?;
                    stream.write_all(&all)?;
                }
            }
        }
    }

    fn range(&self, stream: &mut TcpStream, all: &[u8], first: u64, last: u64) -> std::io::Result<()> {
        let right = &all[first as usize..=last as usize];
        let half = right.len() / 2;
        let fault = self.faults.lock().unwrap().pop().unwrap_or(Fault::None);
        self.asked.fetch_add(1, Ordering::Relaxed);
        let closed = || Err(std::io::ErrorKind::ConnectionAborted.into());
        let empty = |stream: &mut TcpStream, head: &str| {
            write!(stream, "HTTP/1.1 {head}\r\ncontent-length: 0\r\n\r\n")
        };
        match fault {
            Fault::None => {
                self.sent.fetch_add(right.len() as u64, Ordering::Relaxed);
                partial(stream, first, last, right)
            }
            Fault::IgnoresRange => {
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", all.len())?;
                stream.write_all(all)
            }
            Fault::WrongRange => partial(stream, first + 1, last, &right[1..]),
            Fault::LiesAboutRange => {
                let other: Vec<u8> = right.iter().rev().copied().collect();
                partial(stream, first, last, &other)
            }
            Fault::Short => {
                self.sent.fetch_add(half as u64, Ordering::Relaxed);
                head(stream, first, last, right.len())?;
                stream.write_all(&right[..half])?;
                closed()
            }
            Fault::Unsatisfiable => empty(stream, "416 Range Not Satisfiable"),
            Fault::TooMany => empty(stream, "429 Too Many Requests\r\nretry-after: 1"),
            Fault::Busy => empty(stream, "503 Service Unavailable\r\nretry-after: 1"),
            Fault::Changes => {
                self.sent.fetch_add(half as u64, Ordering::Relaxed);
                let changed: Vec<u8> = right[half..].iter().map(|byte| !byte).collect();
                partial(stream, first, last, &[&right[..half], &changed].concat())
            }
            Fault::Dies => closed(),
        }
    }
}

/// It ends with the test's process.
fn thread(name: &str, work: impl FnOnce() + Send + 'static) {
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(work).unwrap();
}

fn head(stream: &mut TcpStream, first: u64, last: u64, length: usize) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 206 Partial Content\r\ncontent-range: bytes {first}-{last}/*\r\ncontent-length: {length}\r\n\r\n"
    )
}

fn partial(stream: &mut TcpStream, first: u64, last: u64, bytes: &[u8]) -> std::io::Result<()> {
    head(stream, first, last, bytes.len())?;
    stream.write_all(bytes)
}

/// A package of some blocks, in a world of its own. Its bytes do not compress.
fn world() -> World {
    let world = World::empty(now());
    let mut random = std::fs::File::open("/dev/urandom").unwrap();
    let mut bytes = vec![0; 12_000_000];
    random.read_exact(&mut bytes).unwrap();
    let large: String = bytes.iter().map(|byte| char::from(b' ' + byte % 95)).collect();
    let description = format!(
        "guid = \"{PACKAGE}\"\nfull-version = \"5.00.9200.1000\"\ntype = \"update\"\nreleased = \"2026-01-02T00:00:00Z\"\n\
         [text.en]\nname = \"Update\"\n[install]\nswitch = true\n"
    );
    world.publish("large", &description, &[("large", &large), ("small", "small")]);
    world
}

/// A site that reads from these servers, the first of them the feed.
fn site(world: &World, name: &str, servers: &[&Server]) -> Site {
    let site = world.site(name);
    let path = site.dir.join("tidegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let old = format!("url = \"file://{}\"", world.repository().display());
    let mirrors: Vec<String> = servers[1..]
        .iter()
        .map(|server| format!("{:?}", server.url()))
        .collect();
    let new = format!("url = {:?}\nmirrors = [{}]", servers[0].url(), mirrors.join(", "));
    assert!(text.contains(&old), "{text}");
    std::fs::write(&path, text.replace(&old, &new)).unwrap();
    site
}

fn pack_bytes(repository: &Path) -> u64 {
    std::fs::read_dir(repository.join("targets/packs"))
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len())
        .sum()
}

#[test]
fn whatever_a_server_does_to_a_range_ends_in_the_right_content_or_a_clear_verdict() {
    let world = world();
    let all = [
        (Fault::IgnoresRange, "does not answer range requests"),
        (Fault::WrongRange, "does not answer range requests"),
        (Fault::LiesAboutRange, "the content is not what was signed"),
        (Fault::Short, "packs/"),
        (Fault::Unsatisfiable, "outside the file"),
        (Fault::TooMany, "429"),
        (Fault::Busy, "503"),
        (Fault::Changes, "the content is not what was signed"),
        (Fault::Dies, "packs/"),
    ];
    let total = pack_bytes(&world.repository());
    std::thread::scope(|scope| {
        for (fault, verdict) in all {
            let world = &world;
            scope.spawn(move || {
                let server = Server::start(world.repository(), vec![fault]);
                let site = site(world, &format!("{fault:?}"), &[&server]);
                let _running = site.started();
                let failed = crate::world::until(&format!("the verdict on {fault:?}"), || {
                    site.all_logs().contains("attempt 1 at").then(|| site.all_logs())
                });
                let line = failed.lines().find(|line| line.contains("attempt 1 at")).unwrap();
                assert!(line.contains(verdict), "{fault:?}: {line}");
                // An administrator does not have to wait for the next attempt.
                site.must(&["updates", "download", PACKAGE]);
                site.wait_for(PACKAGE, READY);
                let lost = server.shared.sent.load(Ordering::Relaxed).saturating_sub(total);
                assert!(lost <= 9_000_000, "{fault:?}: {lost} bytes came twice");
                let checked = site.must(&["content", "verify"]);
                assert!(!checked.contains("damaged:"), "{fault:?}: {checked}");
            });
        }
    });
}

#[test]
fn a_mirror_goes_on_where_the_feed_breaks_off_without_an_attempt_lost() {
    let world = world();
    for fault in [Fault::Dies, Fault::Short, Fault::Busy] {
        let feed = Server::start(world.repository(), vec![fault; 20]);
        let mirror = Server::start(world.repository(), Vec::new());
        let site = site(&world, &format!("mirrored-{fault:?}"), &[&feed, &mirror]);
        let _running = site.started();
        site.wait_for(PACKAGE, READY);
        assert!(!site.all_logs().contains("attempt 1 at"), "{}", site.all_logs());
        let sent = [&feed, &mirror].map(|server| server.shared.sent.load(Ordering::Relaxed));
        let needed = pack_bytes(&world.repository());
        assert!(
            sent.iter().sum::<u64>() <= needed,
            "{fault:?}: {sent:?} of {needed}"
        );
        assert!(mirror.shared.asked.load(Ordering::Relaxed) > 0);
    }
}
