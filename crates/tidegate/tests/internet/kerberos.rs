//! Negotiate against a real key distribution centre and Squid's Kerberos helper. Built with the feature
//! `negotiate` only: `cargo xtask test --negotiate` installs what it needs.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::check::check_with;
use crate::nginx::{Nginx, free_port, open_to_all, wait_for};

/// A realm of its own on loopback.
struct Realm {
    folder: tempfile::TempDir,
    _kdc: Ended,
}

struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Realm {
    fn start() -> Realm {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        open_to_all(at);
        let port = free_port();
        std::fs::write(
            at.join("krb5.conf"),
            format!(
                "[libdefaults]\ndefault_realm = TEST.REALM\ndns_lookup_kdc = false\ndns_lookup_realm = false\n\
                 rdns = false\ndns_canonicalize_hostname = false\nudp_preference_limit = 1\n\
                 [realms]\nTEST.REALM = {{\n kdc = 127.0.0.1:{port}\n}}\n[domain_realm]\nlocalhost = TEST.REALM\n"
            ),
        )
        .unwrap();
        std::fs::write(
            at.join("kdc.conf"),
            format!(
                "[realms]\nTEST.REALM = {{\n kdc_listen = \"\"\n kdc_tcp_listen = 127.0.0.1:{port}\n \
                 database_name = {at}/principal\n key_stash_file = {at}/stash\n acl_file = {at}/acl\n}}\n",
                at = at.display()
            ),
        )
        .unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let output = command(at, program).args(arguments).output().unwrap();
            assert!(
                output.status.success(),
                "{program}: {}",
                String::from_utf8_lossy(&output.stderr)
            );
        };
        run("kdb5_util", &["create", "-s", "-r", "TEST.REALM", "-P", "master"]);
        let keytab = at.join("keytab").display().to_string();
        run("kadmin.local", &["-q", "addprinc -randkey svc"]);
        run("kadmin.local", &["-q", "addprinc -randkey HTTP/localhost"]);
        run(
            "kadmin.local",
            &["-q", &format!("ktadd -k {keytab} HTTP/localhost")],
        );
        run("kadmin.local", &["-q", &format!("ktadd -k {keytab}.svc svc")]);
        let kdc = command(at, "krb5kdc")
            .arg("-n")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let realm = Realm {
            folder,
            _kdc: Ended(kdc),
        };
        wait_for(port, String::new);
        realm
    }

    fn at(&self) -> &Path {
        self.folder.path()
    }

    /// Gets a ticket into a cache of its own.
    fn ticket(&self) -> PathBuf {
        let cache = self.at().join("cache");
        let output = command(self.at(), "kinit")
            .args(["-k", "-t"])
            .arg(self.at().join("keytab.svc"))
            .arg("-c")
            .arg(&cache)
            .arg("svc")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        cache
    }
}

fn command(at: &Path, program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("KRB5_CONFIG", at.join("krb5.conf"))
        .env("KRB5_KDC_PROFILE", at.join("kdc.conf"))
        .env("KRB5RCACHETYPE", "none")
        .stdin(Stdio::null());
    command
}

#[test]
fn i5_negotiate_with_a_ticket_and_without() {
    let realm = Realm::start();
    let nginx = Nginx::start("https://localhost:1/");
    let at = realm.at();
    let port = free_port();
    let text = format!(
        "http_port 127.0.0.1:{port}\npid_filename {at}/squid.pid\ncache_log {at}/cache.log\naccess_log stdio:{at}/access.log\n\
         cache deny all\ncache_mem 8 MB\ncoredump_dir {at}\nshutdown_lifetime 0 seconds\nvisible_hostname localhost\n\
         pinger_enable off\nmax_filedescriptors 1024\n\
         auth_param negotiate program /usr/lib/squid/negotiate_kerberos_auth -r -k {at}/keytab -s HTTP/localhost@TEST.REALM\n\
         auth_param negotiate children 2\nacl known proxy_auth REQUIRED\nhttp_access allow known\nhttp_access deny all\n",
        at = at.display()
    );
    std::fs::write(at.join("squid.conf"), text).unwrap();
    for name in ["squid.conf", "keytab", "krb5.conf"] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(at.join(name), std::fs::Permissions::from_mode(0o644)).unwrap();
    }
    let squid = command(at, "squid")
        .args(["-N", "-f"])
        .arg(at.join("squid.conf"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let _squid = Ended(squid);
    let log = || std::fs::read_to_string(at.join("cache.log")).unwrap_or_default();
    wait_for(port, log);
    let configuration = at.join("krb5.conf").display().to_string();
    let (ca, proxy) = (nginx.ca().display().to_string(), format!("localhost:{port}"));
    let arguments = ["--ca", &ca, "--proxy", &proxy, &nginx.url("sound")];
    let missing = format!("FILE:{}", at.join("none").display());
    let said = check_with(
        &arguments,
        &[("KRB5_CONFIG", &configuration), ("KRB5CCNAME", &missing)],
        None,
    );
    assert_eq!(said.fault(), "proxy.auth-required", "{}\n{}", said.printed, log());
    assert!(said.evidence().contains("no Kerberos ticket"), "{}", said.printed);
    let cache = format!("FILE:{}", realm.ticket().display());
    let said = check_with(
        &arguments,
        &[("KRB5_CONFIG", &configuration), ("KRB5CCNAME", &cache)],
        None,
    );
    assert_eq!(said.fault(), "passed", "{}\n{}", said.printed, log());
}
