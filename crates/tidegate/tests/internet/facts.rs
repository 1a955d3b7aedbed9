//! Direct ways: DNS, TCP, TLS, certificates, HTTP.

use crate::authorities::{Authority, Valid};
use crate::check::check;
use crate::nginx::{Nginx, free_port};
use crate::stubs::{BlackHole, NameServer, answering, dripping, request, resetting, serve, silent};

#[test]
fn i1_listed_codes_fail_and_all_others_prove_the_way() {
    let nginx = Nginx::start("https://localhost:1/");
    let ca = nginx.ca().display().to_string();
    for (code, expected) in [
        (407, "http.proxy-auth"),
        (426, "http.upgrade"),
        (451, "http.legal"),
        (502, "http.gateway"),
        (511, "http.captive"),
        (598, "http.timeout"),
        (599, "http.timeout"),
        (200, "passed"),
        (400, "passed"),
        (401, "passed"),
        (403, "passed"),
        (404, "passed"),
        (405, "passed"),
        (500, "passed"),
        (503, "passed"),
    ] {
        let said = check(&["--ca", &ca, &format!("{}{code}", nginx.url("status"))]);
        assert_eq!(said.fault(), expected, "{code}: {}", said.printed);
        assert_eq!(said.only()["http_status"], code, "{}", said.printed);
        if expected != "passed" {
            assert!(said.evidence().contains("possible reason"), "{}", said.printed);
        }
    }
    // nginx closes without a word where it is told to say 408.
    let port = answering(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n");
    let said = check(&[&format!("http://127.0.0.1:{port}/")]);
    assert_eq!(said.fault(), "http.timeout", "{}", said.printed);
    // 301 with a good target.
    let good = Nginx::start(&format!("{}200", nginx.url("status")));
    let both = good.folder.path().join("both.pem");
    let pems = [nginx.ca(), good.ca()].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, pems.join("")).unwrap();
    let said = check(&["--ca", &both.display().to_string(), &good.url("redirect")]);
    assert_eq!(said.fault(), "passed", "{}", said.printed);
    assert_eq!(said.only()["redirects"].as_array().unwrap().len(), 1);
}

#[test]
fn i4_ports_that_drop_refuse_or_reset() {
    let hole = BlackHole::new();
    let said = check(&[&format!("https://127.0.0.1:{}/", hole.port)]);
    assert_eq!(said.fault(), "tcp.timeout", "{}", said.printed);
    assert!(
        said.only()["took_ms"].as_f64().unwrap() < 4_000.0,
        "{}",
        said.printed
    );
    let said = check(&[&format!("https://127.0.0.1:{}/", free_port())]);
    assert_eq!(said.fault(), "tcp.refused", "{}", said.printed);
    let said = check(&[&format!("https://localhost:{}/", resetting())]);
    assert_eq!(said.fault(), "tls.reset", "{}", said.printed);
    let said = check(&[&format!("https://localhost:{}/", silent())]);
    assert_eq!(said.fault(), "tls.reset", "{}", said.printed);
    assert!(said.evidence().contains("silence"), "{}", said.printed);
}

#[test]
fn i7_certificates_are_told_apart_and_a_wrong_clock_is_named() {
    let nginx = Nginx::start("https://localhost:1/");
    let ca = nginx.ca().display().to_string();
    for (listener, expected, evidence) in [
        ("sound", "passed", ""),
        ("expired", "cert.expired", "the clocks of both sides agree"),
        ("future", "cert.not-yet-valid", "2090"),
        ("wrong-name", "cert.name", "other.example"),
        ("incomplete", "cert.incomplete", "Test Issuing"),
        ("stranger", "cert.intercepted", "a device of Fortinet"),
        ("old", "tls.version", "TLS 1.2"),
    ] {
        let said = check(&["--ca", &ca, &nginx.url(listener)]);
        assert_eq!(said.fault(), expected, "{listener}: {}", said.printed);
        assert!(said.evidence().contains(evidence), "{listener}: {}", said.printed);
    }
    // A server that lives in another time: its certificate was good then, and its Date says so.
    let skewed = tls_server(
        nginx.folder.path(),
        "expired",
        b"HTTP/1.1 200 OK\r\nDate: Tue, 15 Jun 2010 12:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
    );
    let said = check(&["--ca", &ca, &format!("https://localhost:{skewed}/")]);
    assert_eq!(said.fault(), "cert.expired", "{}", said.printed);
    assert!(
        said.evidence().contains("ahead of the other side's"),
        "{}",
        said.printed
    );
    // TLS where none is.
    let said = check(&[&format!("https://localhost:{}/", nginx.port("plain"))]);
    assert_eq!(said.fault(), "tls.plaintext", "{}", said.printed);
}

#[test]
fn i8_a_wildcard_without_a_stand_in_is_not_testable() {
    let nginx = Nginx::start("https://localhost:1/");
    let catalogue = nginx.folder.path().join("own.toml");
    std::fs::write(
        &catalogue,
        format!(
            "schema_version = 1\ncatalogue = \"own\"\nnewest_source = \"2026-01-01\"\n\
             [[endpoint]]\nid = \"one\"\nfeature = \"f\"\npattern = \"*.nowhere.test\"\nhost = \"*.nowhere.test\"\n\
             wildcard = true\nprobe = []\ncritical = true\n\
             [[endpoint]]\nid = \"two\"\nfeature = \"f\"\npattern = \"localhost\"\nhost = \"localhost\"\nport = {}\ncritical = true\n",
            nginx.port("sound")
        ),
    )
    .unwrap();
    let (ca, catalogue) = (nginx.ca().display().to_string(), catalogue.display().to_string());
    let said = check(&["--ca", &ca, "--catalog", &catalogue]);
    assert_eq!(said.code, 0, "{}", said.printed);
    assert_eq!(said.report["not_testable"][0]["pattern"], "*.nowhere.test");
    assert!(
        said.report["summary"]
            .as_str()
            .unwrap()
            .contains("1 not testable"),
        "{}",
        said.printed
    );
    assert_eq!(said.report["outcome"], "passed");
}

#[test]
fn i9_a_redirect_to_a_host_that_is_blocked() {
    let blocked = BlackHole::new();
    let nginx = Nginx::start(&format!("https://127.0.0.1:{}/onward", blocked.port));
    let ca = nginx.ca().display().to_string();
    let said = check(&["--ca", &ca, &nginx.url("redirect")]);
    assert_eq!(said.fault(), "http.redirect-target", "{}", said.printed);
    let evidence = said.evidence();
    assert!(
        evidence.contains("127.0.0.1") && evidence.contains("tcp.timeout"),
        "{evidence}"
    );
    // The name in the certificate is checked anew: here the address of the same server.
    let named = Nginx::start(&format!("https://127.0.0.1:{}/", nginx.port("sound")));
    let both = named.folder.path().join("both.pem");
    let pems = [nginx.ca(), named.ca()].map(|path| std::fs::read_to_string(path).unwrap());
    std::fs::write(&both, pems.join("")).unwrap();
    let both = both.display().to_string();
    let said = check(&["--ca", &both, &named.url("redirect")]);
    assert_eq!(said.fault(), "http.redirect-target", "{}", said.printed);
    assert!(said.evidence().contains("cert.name"), "{}", said.printed);
    let said = check(&["--ca", &both, &format!("{}loop", named.url("redirect"))]);
    assert_eq!(said.fault(), "http.redirect-loop", "{}", said.printed);
    let said = check(&["--ca", &both, &format!("{}plain", named.url("redirect"))]);
    assert_eq!(said.fault(), "passed", "{}", said.printed);
    assert!(said.printed.contains("which is not followed"), "{}", said.printed);
}

#[test]
fn i10_nothing_runs_after_a_phase_that_failed() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    let said = check(&[&format!("https://127.0.0.1:{}/", free_port())]);
    assert_eq!(
        said.phases(),
        [
            "passed", "passed", "failed", "skipped", "skipped", "skipped", "skipped"
        ]
    );
    // A plain server that is asked for TLS sees one connection and never a request.
    let requests = Arc::new(AtomicUsize::new(0));
    let count = requests.clone();
    let port = serve(move |mut stream| {
        use std::io::Write;
        let _ = stream.write_all(b"220 mail.example ESMTP\r\n");
        if request(&mut stream).is_some() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    let said = check(&[&format!("https://127.0.0.1:{port}/")]);
    assert_eq!(said.fault(), "tls.plaintext", "{}", said.printed);
    assert_eq!(said.phases()[5..], ["skipped", "skipped"]);
    assert_eq!(requests.load(Ordering::Relaxed), 0);
}

#[test]
fn i11_what_is_no_longer_listed_never_changes_the_exit_code() {
    let nginx = Nginx::start("https://localhost:1/");
    let catalogue = nginx.folder.path().join("own.toml");
    std::fs::write(
        &catalogue,
        format!(
            "schema_version = 1\ncatalogue = \"own\"\nnewest_source = \"2026-01-01\"\n\
             [[endpoint]]\nid = \"one\"\nfeature = \"f\"\npattern = \"localhost\"\nhost = \"localhost\"\nport = {}\ncritical = true\n\
             [[endpoint]]\nid = \"two\"\nfeature = \"f\"\npattern = \"127.0.0.1\"\nhost = \"127.0.0.1\"\nport = {}\nstatus = \"retired\"\n",
            nginx.port("sound"),
            free_port()
        ),
    )
    .unwrap();
    let (ca, catalogue) = (nginx.ca().display().to_string(), catalogue.display().to_string());
    let said = check(&["--ca", &ca, "--catalog", &catalogue]);
    assert_eq!(
        (said.code, said.report["results"].as_array().unwrap().len()),
        (0, 1)
    );
    let said = check(&["--ca", &ca, "--catalog", &catalogue, "--retired"]);
    assert_eq!(
        (said.code, said.report["results"].as_array().unwrap().len()),
        (0, 2)
    );
    assert_eq!(said.report["results"][1]["fault"]["code"], "tcp.refused");
}

#[test]
fn names_that_do_not_resolve() {
    let names = NameServer::start();
    let resolver = names.address.to_string();
    for (host, expected) in [
        ("missing.test", "dns.nxdomain"),
        ("servfail.test", "dns.servfail"),
        ("silent.test", "dns.timeout"),
        ("sinkhole.test", "dns.sinkhole"),
    ] {
        let said = check(&["--resolver", &resolver, &format!("https://{host}/")]);
        assert_eq!(said.fault(), expected, "{host}: {}", said.printed);
    }
    // A public host on a loopback address that does not answer as it should: a filter.
    let folder = tempfile::tempdir().unwrap();
    let catalogue = folder.path().join("own.toml");
    std::fs::write(
        &catalogue,
        format!(
            "schema_version = 1\ncatalogue = \"own\"\nnewest_source = \"2026-01-01\"\n\
             [[endpoint]]\nid = \"one\"\nfeature = \"f\"\npattern = \"filtered.test\"\nhost = \"filtered.test\"\nport = {}\n",
            free_port()
        ),
    )
    .unwrap();
    let said = check(&[
        "--resolver",
        &resolver,
        "--catalog",
        &catalogue.display().to_string(),
    ]);
    assert_eq!(said.fault(), "dns.sinkhole", "{}", said.printed);
    assert!(said.evidence().contains("tcp.refused"), "{}", said.printed);
    assert_eq!(said.code, 1, "nothing depends on it");
}

#[test]
fn hostile_answers_end_in_a_named_fault() {
    static HUGE: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let huge: &'static [u8] =
        HUGE.get_or_init(|| [b"HTTP/1.1 200 OK\r\nA: ".to_vec(), vec![b'a'; 10 << 20]].concat());
    static MANY: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    let many: &'static [u8] =
        MANY.get_or_init(|| format!("HTTP/1.1 200 OK\r\n{}", "A: b\r\n".repeat(100_000)).into_bytes());
    for (port, expected) in [
        (answering(huge), "http.malformed"),
        (answering(many), "http.malformed"),
        (answering(b"SSH-2.0-OpenSSH_9\r\n"), "http.malformed"),
        (
            answering(b"HTTP/1.1 200 OK\r\nServer: \xff\xfe\r\nContent-Length: 0\r\n\r\n"),
            "passed",
        ),
        (
            answering(
                b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 999999999999\r\n\r\n\x1f\x8b",
            ),
            "passed",
        ),
        (
            answering(
                b"HTTP/1.1 302 Found\r\nLocation: http://login.portal.example/\r\nContent-Length: 0\r\n\r\n",
            ),
            "http.captive",
        ),
        (resetting(), "http.closed"),
        (dripping(), "http.timeout"),
        (silent(), "http.timeout"),
    ] {
        let said = check(&[&format!("http://127.0.0.1:{port}/")]);
        assert_eq!(said.fault(), expected, "{}", said.printed);
        assert!(said.printed.len() < 20_000, "the output grew with the answer");
    }
}

#[test]
fn revoked_certificates_and_lists_that_cannot_be_had() {
    let folder = tempfile::tempdir().unwrap();
    let root = Authority::root(folder.path(), "root.pem", "Test Root", "Test Authority");
    let list = |revoked: bool| {
        let der = root.revocations(revoked);
        serve(move |mut stream| {
            use std::io::Write;
            if request(&mut stream).is_some() {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", der.len());
                let _ = stream.write_all(&[head.as_bytes(), &der].concat());
            }
        })
    };
    let (good, bad, gone) = (list(false), list(true), free_port());
    let ca = root.pem.display().to_string();
    for (port, expected) in [
        (good, "passed"),
        (bad, "cert.revoked"),
        (gone, "cert.revocation-unreachable"),
    ] {
        let url = format!("http://127.0.0.1:{port}/list.crl");
        root.server(
            folder.path(),
            "server",
            &["localhost"],
            Valid::Now,
            &[],
            Some(&url),
        );
        let server = tls_server(
            folder.path(),
            "server",
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        );
        let address = format!("https://localhost:{server}/");
        assert_eq!(
            check(&["--ca", &ca, &address]).fault(),
            "passed",
            "nobody asks unless told to"
        );
        let said = check(&["--ca", &ca, "--revocation", &address]);
        assert_eq!(said.fault(), expected, "{}", said.printed);
    }
}

/// A TLS server with the certificate of this name and one answer.
fn tls_server(folder: &std::path::Path, name: &str, answer: &'static [u8]) -> u16 {
    use std::sync::Arc;

    use rustls::pki_types::pem::PemObject;
    let pem = std::fs::read(folder.join(format!("{name}.pem"))).unwrap();
    let key = std::fs::read(folder.join(format!("{name}.key"))).unwrap();
    let chain = rustls::pki_types::CertificateDer::pem_slice_iter(&pem)
        .map(Result::unwrap)
        .collect();
    let key = rustls::pki_types::PrivateKeyDer::from_pem_slice(&key).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let config = Arc::new(config);
    serve(move |mut stream| {
        use std::io::{Read, Write};
        let mut connection = rustls::ServerConnection::new(config.clone()).unwrap();
        let mut tls = rustls::Stream::new(&mut connection, &mut stream);
        let mut buffer = [0; 4096];
        if tls.read(&mut buffer).is_ok() {
            let _ = tls.write_all(answer);
        }
    })
}

#[test]
fn a_hundred_that_hang_cost_one_time_out() {
    let hole = BlackHole::new();
    // The same address counts once: each has a path of its own.
    let urls: Vec<String> = (0..100)
        .map(|number| format!("https://127.0.0.1:{}/{number}", hole.port))
        .collect();
    let arguments: Vec<&str> = urls.iter().map(String::as_str).collect();
    let said = check(&arguments);
    assert_eq!(said.report["results"].as_array().unwrap().len(), 100);
    let results = said.report["results"].as_array().unwrap();
    assert!(
        results
            .iter()
            .all(|result| result["fault"]["code"] == "tcp.timeout")
    );
    let took = said.report["took_ms"].as_f64().unwrap();
    assert!(took < 2_200.0, "{took} ms for a time-out of 2000 ms");
}

#[test]
fn i15_the_json_is_as_published() {
    let said = check(&[&format!("https://127.0.0.1:{}/", free_port())]);
    let published = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/openapi.json");
    let document: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(published).unwrap()).unwrap();
    let schemas = &document["components"]["schemas"];
    let conforms = |value: &serde_json::Value, name: &str| {
        let schema = &schemas[name];
        for required in schema["required"].as_array().unwrap() {
            assert!(
                !value[required.as_str().unwrap()].is_null(),
                "{name} lacks {required}"
            );
        }
        for field in value.as_object().unwrap().keys() {
            assert!(
                !schema["properties"][field].is_null(),
                "{name}.{field} is not published"
            );
        }
    };
    conforms(&said.report, "CheckReport");
    conforms(said.only(), "TargetReport");
    conforms(&said.only()["fault"], "FaultReport");
    for phase in said.only()["phases"].as_array().unwrap() {
        conforms(phase, "PhaseReport");
    }
    assert_eq!(said.report["run_id"].as_str().unwrap().len(), 32);
    let catalogue = check(&[
        "--feature",
        "redirectors",
        "--resolver",
        &format!("127.0.0.1:{}", free_port()),
    ]);
    assert_eq!(catalogue.report["catalogue"]["version"], "2026-06-08");
}
