//! Servers that misbehave in ways that no real one can be told to, each on a port of its own. They end
//! with the process.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A server whose every connection is handled by `handle`.
#[expect(
    clippy::disallowed_methods,
    reason = "a test's server lives as long as the test"
)]
pub fn serve(handle: impl Fn(TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handle = Arc::new(handle);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let handle = handle.clone();
            std::thread::spawn(move || handle(stream));
        }
    });
    port
}

/// Reads up to the end of a request's head.
pub fn request(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).ok()? == 0 || bytes.len() > 64 * 1024 {
            return None;
        }
        bytes.push(byte[0]);
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Plain HTTP that gives the same answer to everything.
pub fn answering(answer: &'static [u8]) -> u16 {
    serve(move |mut stream| {
        while request(&mut stream).is_some() {
            if stream.write_all(answer).is_err() {
                return;
            }
        }
    })
}

/// Closes with a reset as soon as the first bytes are there: unread bytes make the kernel send RST.
pub fn resetting() -> u16 {
    serve(|stream| {
        let mut byte = [0; 1];
        let _ = stream.peek(&mut byte);
        std::thread::park_timeout(Duration::from_millis(20));
    })
}

/// Takes connections and says nothing.
pub fn silent() -> u16 {
    serve(|mut stream| {
        let mut sink = [0; 4096];
        while stream.read(&mut sink).is_ok_and(|read| read > 0) {}
    })
}

/// Sends a byte now and then for ever.
pub fn dripping() -> u16 {
    serve(|mut stream| {
        for byte in b"HTTP/1.1 200 OK\r\nX-Slow: "
            .iter()
            .chain(std::iter::repeat(&b'a'))
        {
            if stream.write_all(&[*byte]).is_err() {
                return;
            }
            std::thread::park_timeout(Duration::from_millis(200));
        }
    })
}

/// A port whose queue of connections is full: further ones get no answer, as behind a firewall that drops.
pub struct BlackHole {
    pub port: u16,
    _held: Vec<std::net::TcpStream>,
    _listener: std::os::fd::OwnedFd,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
        let listener = socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
        listen(&listener, 0).unwrap();
        let name: SocketAddr = rustix::net::getsockname(&listener).unwrap().try_into().unwrap();
        let mut held = Vec::new();
        while let Ok(stream) = TcpStream::connect_timeout(&name, Duration::from_millis(200)) {
            held.push(stream);
            assert!(held.len() < 100, "the queue never fills");
        }
        BlackHole {
            port: name.port(),
            _held: held,
            _listener: listener,
        }
    }
}

/// A name server: each name has its own way to answer. Keeps the names it was asked for.
pub struct NameServer {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    #[expect(
        clippy::disallowed_methods,
        reason = "a test's server lives as long as the test"
    )]
    pub fn start() -> NameServer {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let names = asked.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 1500];
            while let Ok((length, from)) = socket.recv_from(&mut buffer) {
                let (name, kind, end) = question(&buffer[..length]);
                names.lock().unwrap().push(name.clone());
                if let Some(answer) = reply(&buffer[..end], &name, kind) {
                    let _ = socket.send_to(&answer, from);
                }
            }
        });
        NameServer { address, asked }
    }
}

fn question(message: &[u8]) -> (String, u16, usize) {
    let (mut at, mut labels) = (12, Vec::new());
    while message[at] != 0 {
        let length = usize::from(message[at]);
        labels.push(String::from_utf8_lossy(&message[at + 1..at + 1 + length]).to_lowercase());
        at += 1 + length;
    }
    let kind = u16::from_be_bytes([message[at + 1], message[at + 2]]);
    (labels.join("."), kind, at + 5)
}

/// The names of the tests.
fn reply(query: &[u8], name: &str, kind: u16) -> Option<Vec<u8>> {
    let (code, address): (u8, Option<Ipv4Addr>) = match name {
        "silent.test" => return None,
        "servfail.test" => (2, None),
        "sinkhole.test" => (0, Some(Ipv4Addr::UNSPECIFIED)),
        "filtered.test" => (0, Some(Ipv4Addr::new(127, 0, 0, 1))),
        name if name.starts_with("missing") => (3, None),
        _ => (0, Some(Ipv4Addr::LOCALHOST)),
    };
    let address = address.filter(|_| kind == 1);
    let mut answer = query.to_vec();
    answer[2] = 0x81;
    answer[3] = 0x80 | code;
    answer[6] = 0;
    answer[7] = u8::from(address.is_some());
    answer[8..12].fill(0);
    if let Some(address) = address {
        answer.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4]);
        answer.extend_from_slice(&address.octets());
    }
    Some(answer)
}

/// A proxy that does what it is told, and counts the credentials it was sent.
pub struct StubProxy {
    pub port: u16,
    pub credentials: Arc<AtomicUsize>,
}

impl StubProxy {
    /// Answers every CONNECT with these bytes.
    pub fn answering(answer: &'static str) -> StubProxy {
        let credentials = Arc::new(AtomicUsize::new(0));
        let count = credentials.clone();
        let port = serve(move |mut stream| {
            while let Some(request) = request(&mut stream) {
                if request.to_lowercase().contains("proxy-authorization:") {
                    count.fetch_add(1, Ordering::Relaxed);
                }
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        StubProxy { port, credentials }
    }

    /// Walks through NTLM and refuses at its end.
    pub fn refusing_ntlm() -> StubProxy {
        let credentials = Arc::new(AtomicUsize::new(0));
        let count = credentials.clone();
        let port = serve(move |mut stream| {
            while let Some(request) = request(&mut stream) {
                let value = request
                    .lines()
                    .find_map(|line| line.strip_prefix("Proxy-Authorization: NTLM "));
                let challenge = match value {
                    // The second message: a challenge and nothing else.
                    Some(value) if value.starts_with("TlRMTVNTUAABAAAA") => {
                        "NTLM TlRMTVNTUAACAAAAAAAAADAAAAAFAoECASNFZ4mrze8AAAAAAAAAAA=="
                    }
                    Some(_) => {
                        count.fetch_add(1, Ordering::Relaxed);
                        "NTLM"
                    }
                    None => "NTLM",
                };
                let answer = format!(
                    "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: {challenge}\r\nContent-Length: 2\r\n\r\nno"
                );
                if stream.write_all(answer.as_bytes()).is_err() {
                    return;
                }
            }
        });
        StubProxy { port, credentials }
    }

    pub fn url(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }
}
