//! Ways through proxies.

use std::sync::atomic::Ordering;

use crate::check::{check, check_with};
use crate::nginx::{Nginx, free_port};
use crate::squid::{Asks, PASSWORD, Squid, USER};
use crate::stubs::{NameServer, StubProxy, silent};

/// A file with a password.
fn password_file(folder: &std::path::Path, password: &str) -> String {
    let path = folder.join("password");
    std::fs::write(&path, format!("{password}\n")).unwrap();
    path.display().to_string()
}

#[test]
fn i5_authentication_of_every_kind() {
    let nginx = Nginx::start("https://localhost:1/");
    let (ca, url) = (nginx.ca().display().to_string(), nginx.url("sound"));
    let good = tempfile::tempdir().unwrap();
    let right = password_file(good.path(), PASSWORD);
    let bad = tempfile::tempdir().unwrap();
    let wrong = password_file(bad.path(), "wrong-password");
    for asks in [Asks::Basic, Asks::Digest, Asks::Ntlm, Asks::Everything] {
        let squid = Squid::start(asks);
        let proxy = squid.url();
        let through = ["--ca", &ca, "--proxy", &proxy, "--proxy-basic"];
        let said = check(&[&through[..], &[&url]].concat());
        assert_eq!(
            said.fault(),
            "proxy.auth-required",
            "{}\n{}",
            said.printed,
            squid.log()
        );
        let account = ["--proxy-user", USER, "--proxy-password-file", &right];
        let said = check(&[&through[..], &account, &[&url]].concat());
        assert_eq!(said.fault(), "passed", "{}\n{}", said.printed, squid.log());
        // Squid's NTLM helper for tests believes everybody.
        if !matches!(asks, Asks::Ntlm | Asks::Everything) {
            let account = ["--proxy-user", USER, "--proxy-password-file", &wrong];
            let said = check(&[&through[..], &account, &[&url]].concat());
            assert_eq!(
                said.fault(),
                "proxy.auth-rejected",
                "{}\n{}",
                said.printed,
                squid.log()
            );
            assert!(!said.printed.contains("wrong-password"), "{}", said.printed);
        }
        assert!(!squid.log().contains(PASSWORD));
    }
    let refusing = StubProxy::refusing_ntlm();
    let account = ["--proxy-user", USER, "--proxy-password-file", &wrong];
    let said = check(&[&["--ca", &ca, "--proxy", &refusing.url()][..], &account, &[&url]].concat());
    assert_eq!(said.fault(), "proxy.auth-rejected", "{}", said.printed);
    assert!(
        said.evidence().contains("ntlm") && said.evidence().contains(USER),
        "{}",
        said.printed
    );
}

#[test]
fn a_wrong_password_is_sent_once_and_never_without_being_asked() {
    let folder = tempfile::tempdir().unwrap();
    let wrong = password_file(folder.path(), "wrong-password");
    let account = ["--proxy-user", USER, "--proxy-password-file", &wrong];
    let refusing = StubProxy::refusing_ntlm();
    let urls: Vec<String> = (0..20)
        .map(|number| format!("https://host{number}.example/"))
        .collect();
    let urls: Vec<&str> = urls.iter().map(String::as_str).collect();
    let said = check(&[&["--proxy", &refusing.url()][..], &account, &urls].concat());
    let results = said.report["results"].as_array().unwrap();
    assert!(
        results
            .iter()
            .all(|result| result["fault"]["code"] == "proxy.auth-rejected"),
        "{}",
        said.printed
    );
    assert_eq!(
        refusing.credentials.load(Ordering::Relaxed),
        1,
        "accounts get locked"
    );
    // Nobody asks, nothing is sent; Basic in clear text is not sent unless allowed.
    let denying =
        StubProxy::answering("HTTP/1.1 403 Forbidden\r\nX-Reference-Id: 4711\r\nContent-Length: 0\r\n\r\n");
    let said = check(&[&["--proxy", &denying.url()][..], &account, &urls[..1]].concat());
    assert_eq!(said.fault(), "proxy.denied", "{}", said.printed);
    assert!(said.evidence().contains("4711"), "{}", said.printed);
    assert_eq!(denying.credentials.load(Ordering::Relaxed), 0);
    let basic = StubProxy::answering(
        "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
    );
    let said = check(&[&["--proxy", &basic.url()][..], &account, &urls[..1]].concat());
    assert_eq!(said.fault(), "proxy.auth-scheme", "{}", said.printed);
    assert_eq!(basic.credentials.load(Ordering::Relaxed), 0);
    let said = check(
        &[
            &["--proxy", &basic.url(), "--proxy-basic"][..],
            &account,
            &urls[..1],
        ]
        .concat(),
    );
    assert_eq!(said.fault(), "proxy.auth-rejected", "{}", said.printed);
    assert_eq!(basic.credentials.load(Ordering::Relaxed), 1);
    let kerberos = StubProxy::answering(
        "HTTP/1.1 407 Auth\r\nProxy-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n",
    );
    let said = check(&[&["--proxy", &kerberos.url()][..], &account, &urls[..1]].concat());
    assert_eq!(said.fault(), "proxy.auth-scheme", "{}", said.printed);
    assert!(said.evidence().contains("negotiate"), "{}", said.printed);
}

#[test]
fn proxies_that_are_none_or_cannot_help() {
    let url = "https://target.example/";
    let nginx = Nginx::start("https://localhost:1/");
    for (proxy, expected) in [
        (format!("127.0.0.1:{}", free_port()), "proxy.tcp"),
        (format!("127.0.0.1:{}", silent()), "proxy.timeout"),
        (format!("127.0.0.1:{}", nginx.port("plain")), "proxy.denied"),
        (StubProxy::answering("SSH-2.0-x\r\n").url(), "proxy.not-a-proxy"),
        (
            StubProxy::answering(
                "HTTP/1.1 503 No\r\nX-Squid-Error: ERR_DNS_FAIL 0\r\nContent-Length: 0\r\n\r\n",
            )
            .url(),
            "proxy.upstream",
        ),
        (
            format!("https://localhost:{}", nginx.port("stranger")),
            "proxy.tls",
        ),
    ] {
        let said = check(&["--proxy", &proxy, url]);
        assert_eq!(said.fault(), expected, "{proxy}: {}", said.printed);
        assert_eq!(
            said.phases()[..3],
            ["passed", "not-needed", "not-needed"],
            "{}",
            said.printed
        );
    }
    let names = NameServer::start();
    let said = check(&[
        "--resolver",
        &names.address.to_string(),
        "--proxy",
        "missing.test:3128",
        url,
    ]);
    assert_eq!(said.fault(), "proxy.dns", "{}", said.printed);
    let said = check(&["--proxy", "pro xy:0", url]);
    assert_eq!(
        said.report["fault"]["code"], "cfg.proxy-invalid",
        "{}",
        said.printed
    );
    assert_eq!(said.code, 3);
    let denying = Squid::start(Asks::Denies);
    let said = check(&["--proxy", &denying.url(), url]);
    assert_eq!(said.fault(), "proxy.denied", "{}", said.printed);
    let open = Squid::start(Asks::Nothing);
    let said = check(&[
        "--proxy",
        &open.url(),
        &format!("https://localhost:{}/", free_port()),
    ]);
    assert_eq!(said.fault(), "proxy.upstream", "{}", said.printed);
}

#[test]
fn i6_with_a_proxy_nothing_else_is_asked_or_reached() {
    let nginx = Nginx::start("https://localhost:1/");
    let squid = Squid::start(Asks::Nothing);
    let names = NameServer::start();
    let resolver = names.address.to_string();
    let proxy = format!("proxy.test:{}", squid.port);
    let url = format!("https://target.test:{}/", nginx.port("sound"));
    let ca = nginx.ca().display().to_string();
    let said = check(&["--ca", &ca, "--resolver", &resolver, "--proxy", &proxy, &url]);
    // The certificate is for localhost: what matters is that the proxy got there.
    assert_eq!(said.fault(), "cert.name", "{}\n{}", said.printed, squid.log());
    let asked = names.asked.lock().unwrap().clone();
    assert!(
        !asked.is_empty() && asked.iter().all(|name| name == "proxy.test"),
        "{asked:?}"
    );
    let peer = said.only()["peer"].as_str().unwrap();
    assert!(peer.ends_with(&format!(":{}", squid.port)), "{peer}");
    assert!(squid.log().contains("CONNECT target.test"), "{}", squid.log());
}

#[test]
fn a_proxy_that_looks_into_tls_is_found_out() {
    let nginx = Nginx::start("https://localhost:1/");
    let squid = Squid::start(Asks::Inspects);
    let (ca, url) = (nginx.ca().display().to_string(), nginx.url("sound"));
    let said = check(&["--ca", &ca, "--proxy", &squid.url(), "--compare", &url]);
    assert_eq!(
        said.fault(),
        "cert.intercepted",
        "{}\n{}",
        said.printed,
        squid.log()
    );
    assert!(said.evidence().contains("Zscaler"), "{}", said.printed);
    assert_eq!(said.only()["fault"]["party"], "inspection device");
    let direct = &said.only()["direct"];
    assert_eq!(direct["result"], "passed", "{}", said.printed);
    assert!(
        direct["verdict"].as_str().unwrap().contains("looks into TLS"),
        "{direct}"
    );
}

#[test]
fn the_environment_names_the_proxy_and_its_exceptions() {
    let nginx = Nginx::start("https://localhost:1/");
    let squid = Squid::start(Asks::Basic);
    let (ca, url) = (nginx.ca().display().to_string(), nginx.url("sound"));
    let with_account = format!("http://{USER}:{PASSWORD}@127.0.0.1:{}", squid.port);
    let said = check_with(&["--ca", &ca, &url], &[("HTTPS_PROXY", &with_account)], None);
    assert_eq!(said.fault(), "passed", "{}\n{}", said.printed, squid.log());
    assert!(!said.printed.contains(PASSWORD), "{}", said.printed);
    let dead = format!("http://127.0.0.1:{}", free_port());
    let said = check_with(
        &["--ca", &ca, &url],
        &[("https_proxy", &dead), ("NO_PROXY", "localhost")],
        None,
    );
    assert_eq!(said.fault(), "passed", "{}", said.printed);
    let said = check_with(
        &["--ca", &ca, "--proxy", "none", &url],
        &[("https_proxy", &dead)],
        None,
    );
    assert_eq!(said.fault(), "passed", "{}", said.printed);
    // Plain HTTP through a proxy is asked for with the whole URL.
    let plain = format!("http://localhost:{}/404", nginx.port("plain"));
    let from_stdin = [
        "--proxy-user",
        USER,
        "--proxy-password-file",
        "-",
        "--proxy-basic",
    ];
    let proxy = squid.url();
    let arguments = [&["--proxy", proxy.as_str()][..], &from_stdin, &[&plain]].concat();
    let said = check_with(&arguments, &[], Some(PASSWORD));
    assert_eq!(said.fault(), "passed", "{}\n{}", said.printed, squid.log());
    assert_eq!(said.only()["http_status"], 404);
}
