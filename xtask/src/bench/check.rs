//! Checks of internet access: a hundred healthy TLS endpoints against curl and the Prometheus blackbox
//! exporter; a whole catalogue of which everything hangs; memory of a thousand.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::{Background, Row, now, time, until};

const ENDPOINTS: usize = 100;
const PORT: u16 = 28543;
const EXPORTER_PORT: u16 = 28544;
const RUNS: usize = 5;

pub fn run(program: &Path) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let ca = certificates(folder.path())?;
    let _nginx = nginx(folder.path())?;
    let urls: Vec<String> = (0..ENDPOINTS)
        .map(|number| format!("https://localhost:{PORT}/{number}"))
        .collect();
    let ours = median(|| {
        let mut command = Command::new(program);
        command
            .args(["check", "--json", "--proxy", "none", "--ca"])
            .arg(&ca)
            .args(&urls);
        time(&mut command)
    })?;
    let curl = median(|| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--fail",
            "--head",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "128",
            "--cacert",
        ]);
        command.arg(&ca).args(["--output", "/dev/null"]).args(&urls);
        time(&mut command)
    })?;
    let mut rows = vec![Row::times(
        "check 100 healthy TLS endpoints",
        ours,
        "curl --parallel",
        curl,
    )];
    match exporter(folder.path(), &ca, &urls) {
        Ok(exporter) => rows.push(Row::times(
            "check 100 healthy TLS endpoints",
            ours,
            "blackbox exporter",
            exporter,
        )),
        Err(failure) => eprintln!("without the blackbox exporter: {failure:#}"),
    }
    rows.extend(hanging(program)?);
    Ok(rows)
}

fn median(mut run: impl FnMut() -> Result<Duration>) -> Result<Duration> {
    let mut times = (0..RUNS).map(|_| run()).collect::<Result<Vec<_>>>()?;
    times.sort();
    Ok(times[RUNS / 2])
}

fn certificates(folder: &Path) -> Result<PathBuf> {
    let ca = folder.join("ca.pem");
    time(
        Command::new("openssl")
            .args([
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:P-256",
                "-nodes",
                "-days",
                "30",
            ])
            .args([
                "-subj",
                "/CN=localhost",
                "-addext",
                "subjectAltName=DNS:localhost",
                "-addext",
                "basicConstraints=critical,CA:FALSE",
                "-keyout",
            ])
            .arg(folder.join("ca.key"))
            .arg("-out")
            .arg(&ca),
    )?;
    Ok(ca)
}

fn nginx(folder: &Path) -> Result<Background> {
    let at = folder.display();
    let text = format!(
        "daemon off; master_process off; pid {at}/nginx.pid; error_log {at}/error.log;\n\
         events {{ worker_connections 1024; }}\n\
         http {{ access_log off; client_body_temp_path {at}/t1; proxy_temp_path {at}/t2; fastcgi_temp_path {at}/t3;\n\
         uwsgi_temp_path {at}/t4; scgi_temp_path {at}/t5;\n\
         server {{ listen 127.0.0.1:{PORT} ssl backlog=1024; ssl_certificate {at}/ca.pem; ssl_certificate_key {at}/ca.key;\n\
         location / {{ return 200; }} }} }}\n"
    );
    let file = folder.join("nginx.conf");
    std::fs::write(&file, text)?;
    let (prefix, file) = (folder.display().to_string(), file.display().to_string());
    let server = Background::start(Path::new("nginx"), &["-p", &prefix, "-c", &file])?;
    listening(PORT)?;
    Ok(server)
}

fn listening(port: u16) -> Result<()> {
    until("the start of a server", Duration::from_secs(10), || {
        std::net::TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    })
}

/// The exporter probes one target per request; curl asks for all of them at once.
fn exporter(folder: &Path, ca: &Path, urls: &[String]) -> Result<Duration> {
    let file = folder.join("exporter.yml");
    std::fs::write(
        &file,
        format!(
            "modules:\n  https:\n    prober: http\n    http:\n      method: HEAD\n      preferred_ip_protocol: ip4\n      tls_config:\n        ca_file: {}\n",
            ca.display()
        ),
    )?;
    let listen = format!("--web.listen-address=127.0.0.1:{EXPORTER_PORT}");
    let config = format!("--config.file={}", file.display());
    let _server = Background::start(
        Path::new("prometheus-blackbox-exporter"),
        &[&config, &listen, "--log.level=error"],
    )
    .context("install prometheus-blackbox-exporter for this comparison")?;
    listening(EXPORTER_PORT)?;
    let probes: Vec<String> = urls
        .iter()
        .map(|url| format!("http://127.0.0.1:{EXPORTER_PORT}/probe?module=https&target={url}"))
        .collect();
    let answer = Command::new("curl").args(["--silent", &probes[0]]).output()?;
    if !String::from_utf8_lossy(&answer.stdout).contains("probe_success 1") {
        bail!("the exporter does not reach the endpoints");
    }
    median(|| {
        let mut command = Command::new("curl");
        command.args([
            "--silent",
            "--fail",
            "--parallel",
            "--parallel-immediate",
            "--parallel-max",
            "128",
        ]);
        command.args(["--output", "/dev/null"]).args(&probes);
        time(&mut command)
    })
}

/// Every host of the catalogue behind a firewall that drops: the time of a run is bounded by one time-out
/// per round of sockets. And the memory of a thousand endpoints.
fn hanging(program: &Path) -> Result<Vec<Row>> {
    use rustix::net::{AddressFamily, SocketType, bind, listen, socket};
    let listener = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&listener, &std::net::SocketAddr::from(([127, 0, 0, 1], 0)))?;
    listen(&listener, 0)?;
    let address: std::net::SocketAddr = rustix::net::getsockname(&listener)?.try_into()?;
    let mut held = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        held.push(stream);
    }
    let urls = |count: usize| -> Vec<String> {
        (0..count)
            .map(|number| format!("https://{address}/{number}"))
            .collect()
    };
    let start = now();
    // Everything fails: the exit code says so, and is no failure of the measurement.
    let _ = Command::new(program)
        .args(["check", "--json", "--proxy", "none"])
        .args(urls(100))
        .output()?;
    let took = start.elapsed();
    let mut arguments = vec![
        "check".to_owned(),
        "--json".into(),
        "--proxy".into(),
        "none".into(),
        "--timeout".into(),
        "1s".into(),
    ];
    arguments.extend(urls(1000));
    let shown: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let running = Background::start(program, &shown)?;
    std::thread::sleep(Duration::from_secs(5));
    let peak = running.memory_mib("VmHWM")?;
    Ok(vec![
        Row::limit(
            "100 endpoints that all hang (TCP time-out 10 s)",
            took.as_secs_f64(),
            "s",
            11.0,
        ),
        Row::limit("peak memory of a check of 1,000 endpoints", peak, "MiB", 30.0),
    ])
}
