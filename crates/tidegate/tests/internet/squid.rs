//! Squid: open, with Basic, Digest or NTLM, or looking into TLS.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::authorities::Authority;
use crate::nginx::{free_port, open_to_all, wait_for};

pub const USER: &str = "svc-scp";
pub const PASSWORD: &str = "correct-horse-battery";

/// What the proxy asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    Nothing,
    Basic,
    Digest,
    Ntlm,
    /// All three.
    Everything,
    /// Nothing, and it shows certificates of its own.
    Inspects,
    /// Nothing, and it denies everything.
    Denies,
}

pub struct Squid {
    child: Child,
    pub folder: tempfile::TempDir,
    pub port: u16,
}

impl Squid {
    /// Starts it. It finds `target.test` on loopback.
    pub fn start(asks: Asks) -> Squid {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        open_to_all(at);
        let port = free_port();
        std::fs::write(at.join("hosts"), "127.0.0.1 localhost target.test\n").unwrap();
        let (listen, authentication, access) = configuration(at, port, asks);
        let text = format!(
            "{listen}\npid_filename {at}/squid.pid\ncache_log {at}/cache.log\naccess_log stdio:{at}/access.log\n\
             cache deny all\ncache_mem 8 MB\nmemory_pools off\ncoredump_dir {at}\nshutdown_lifetime 0 seconds\n\
             visible_hostname proxy.test\nhosts_file {at}/hosts\ndns_nameservers 127.0.0.1\npinger_enable off\n\
             workers 1\nmax_filedescriptors 1024\n{authentication}\n{access}\n",
            at = at.display()
        );
        let file = at.join("squid.conf");
        std::fs::write(&file, text).unwrap();
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                use std::os::unix::fs::PermissionsExt;
                std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o644)).unwrap();
            }
        }
        let child = Command::new("squid")
            .args(["-N", "-f"])
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("squid is installed by `cargo xtask test`");
        let squid = Squid { child, folder, port };
        wait_for(port, || squid.log());
        squid
    }

    pub fn url(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn log(&self) -> String {
        ["cache.log", "access.log"]
            .map(|name| std::fs::read_to_string(self.folder.path().join(name)).unwrap_or_default())
            .join("\n")
    }
}

impl Drop for Squid {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn helper(name: &str) -> String {
    format!("/usr/lib/squid/{name}")
}

fn configuration(at: &Path, port: u16, asks: Asks) -> (String, String, String) {
    let listen = format!("http_port 127.0.0.1:{port}");
    let mut lines: Vec<String> = Vec::new();
    let asked = |of: Asks| asks == of || asks == Asks::Everything;
    if asked(Asks::Ntlm) {
        lines.push(format!("auth_param ntlm program {}", helper("ntlm_fake_auth")));
        lines.push("auth_param ntlm children 2".into());
    }
    if asked(Asks::Digest) {
        std::fs::write(at.join("digest"), format!("{USER}:{PASSWORD}\n")).unwrap();
        lines.push(format!(
            "auth_param digest program {} {}",
            helper("digest_file_auth"),
            at.join("digest").display()
        ));
        lines.push("auth_param digest realm test\nauth_param digest children 2".into());
    }
    if asked(Asks::Basic) {
        let hash = Command::new("openssl")
            .args(["passwd", "-apr1", PASSWORD])
            .output()
            .unwrap();
        let hash = String::from_utf8(hash.stdout).unwrap();
        std::fs::write(at.join("passwd"), format!("{USER}:{hash}")).unwrap();
        lines.push(format!(
            "auth_param basic program {} {}",
            helper("basic_ncsa_auth"),
            at.join("passwd").display()
        ));
        lines.push("auth_param basic realm test\nauth_param basic children 2".into());
    }
    let access = match asks {
        Asks::Nothing | Asks::Inspects => "http_access allow all".to_owned(),
        Asks::Denies => "http_access deny all".to_owned(),
        _ => "acl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all".to_owned(),
    };
    let listen = match asks {
        Asks::Inspects => inspecting(at, &listen),
        _ => listen,
    };
    (listen, lines.join("\n"), access)
}

/// A proxy that looks into TLS with an authority of its own.
fn inspecting(at: &Path, listen: &str) -> String {
    let authority = Authority::root(at, "device.pem", "Zscaler Intermediate Root CA", "Zscaler Inc.");
    let key = std::fs::read_to_string(authority.pem.with_extension("key")).unwrap();
    let certificate = std::fs::read_to_string(&authority.pem).unwrap();
    let both = at.join("device-both.pem");
    std::fs::write(&both, format!("{certificate}{key}")).unwrap();
    let store = at.join("store");
    let made = Command::new(helper("security_file_certgen"))
        .args(["-c", "-s"])
        .arg(&store)
        .args(["-M", "4MB"])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let opened = Command::new("chmod")
        .args(["-R", "a+rwX"])
        .arg(&store)
        .status()
        .unwrap();
    assert!(opened.success());
    format!(
        "{listen} ssl-bump generate-host-certificates=on dynamic_cert_mem_cache_size=4MB cert={}\n\
         sslcrtd_program {} -s {} -M 4MB\nsslcrtd_children 1\nssl_bump bump all\nsslproxy_cert_error allow all\n\
         tls_outgoing_options flags=DONT_VERIFY_PEER",
        both.display(),
        helper("security_file_certgen"),
        store.display()
    )
}
