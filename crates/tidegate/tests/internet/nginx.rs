//! nginx with one listener per way to be wrong.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::authorities::{Authority, Valid};

/// Each listener of the configuration, by name.
pub struct Nginx {
    child: Child,
    pub folder: tempfile::TempDir,
    pub root: Authority,
    ports: Vec<(&'static str, u16)>,
}

/// Name, certificate, other directives.
const SECURE: [(&str, &str, &str); 9] = [
    ("sound", "sound", "location / { return 200; }"),
    ("expired", "expired", "location / { return 200; }"),
    ("future", "future", "location / { return 200; }"),
    ("wrong-name", "wrong-name", "location / { return 200; }"),
    ("incomplete", "incomplete", "location / { return 200; }"),
    ("stranger", "stranger", "location / { return 200; }"),
    (
        "old",
        "sound",
        "ssl_protocols TLSv1.1; ssl_ciphers ALL:@SECLEVEL=0; location / { return 200; }",
    ),
    (
        "status",
        "sound",
        "location ~ ^/([0-9]+)$ { set $code $1; return 200; }",
    ),
    ("redirect", "sound", ""),
];

/// Codes that a listener answers with, by path.
pub const CODES: [u16; 16] = [
    200, 400, 401, 403, 404, 405, 407, 408, 426, 451, 500, 502, 503, 511, 598, 599,
];

impl Nginx {
    /// Starts it; `elsewhere` is where its redirects lead.
    pub fn start(elsewhere: &str) -> Nginx {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        open_to_all(at);
        let root = Authority::root(at, "root.pem", "Test Root", "Test Authority");
        let intermediate = root.below(at, "intermediate.pem", "Test Issuing", "Test Authority");
        let stranger = Authority::root(at, "stranger-root.pem", "FortiGate CA", "Fortinet");
        let local = ["localhost"];
        intermediate.server(at, "sound", &local, Valid::Now, &[&intermediate], None);
        intermediate.server(at, "expired", &local, Valid::Past, &[&intermediate], None);
        intermediate.server(at, "future", &local, Valid::Future, &[&intermediate], None);
        intermediate.server(
            at,
            "wrong-name",
            &["other.example"],
            Valid::Now,
            &[&intermediate],
            None,
        );
        intermediate.server(at, "incomplete", &local, Valid::Now, &[], None);
        stranger.server(at, "stranger", &local, Valid::Now, &[&stranger], None);
        let mut servers = String::new();
        let mut ports = Vec::new();
        let codes: String = CODES
            .iter()
            .map(|code| format!("location = /{code} {{ return {code}; }}\n"))
            .collect();
        for (name, certificate, rest) in SECURE {
            let port = free_port();
            let rest = match name {
                "status" => codes.clone(),
                "redirect" => format!(
                    "location / {{ return 302 {elsewhere}; }} location /loop {{ return 302 /loop; }} \
                     location /plain {{ return 302 http://localhost:1/; }}"
                ),
                _ => rest.to_owned(),
            };
            servers.push_str(&format!(
                "server {{ listen 127.0.0.1:{port} ssl; server_name localhost; ssl_certificate {certificate}.pem; \
                 ssl_certificate_key {certificate}.key; {rest} }}\n"
            ));
            ports.push((name, port));
        }
        let port = free_port();
        servers.push_str(&format!(
            "server {{ listen 127.0.0.1:{port}; {codes} location / {{ return 200; }} }}\n"
        ));
        ports.push(("plain", port));
        let configuration = format!(
            "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/error.log;\n\
             events {{ worker_connections 256; }}\n\
             http {{ access_log off; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3; \
             uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5; default_type text/plain;\n{servers} }}\n",
            at = at.display()
        );
        let file = at.join("nginx.conf");
        std::fs::write(&file, configuration).unwrap();
        let child = Command::new("nginx")
            .arg("-p")
            .arg(at)
            .arg("-c")
            .arg(&file)
            .arg("-e")
            .arg(at.join("error.log"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nginx is installed by `cargo xtask test`");
        let nginx = Nginx {
            child,
            folder,
            root,
            ports,
        };
        for (_, port) in &nginx.ports {
            wait_for(*port, || {
                std::fs::read_to_string(nginx.folder.path().join("error.log")).unwrap_or_default()
            });
        }
        nginx
    }

    pub fn port(&self, name: &str) -> u16 {
        self.ports.iter().find(|(found, _)| *found == name).unwrap().1
    }

    pub fn url(&self, name: &str) -> String {
        format!("https://localhost:{}/", self.port(name))
    }

    pub fn ca(&self) -> PathBuf {
        self.root.pem.clone()
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A port that was free a moment ago.
pub fn free_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// Servers that give up their rights must reach their files.
pub fn open_to_all(folder: &Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o777)).unwrap();
}

/// Waits until something listens.
pub fn wait_for(port: u16, why_not: impl Fn() -> String) {
    for _ in 0..500 {
        if std::net::TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return;
        }
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    panic!("nothing listens on {port}: {}", why_not());
}
