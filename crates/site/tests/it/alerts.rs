//! Alerts of a running site to stubs on this machine: a web address, a system log, a mail server.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::status_system::{ask, running_from};
use crate::until;
use crate::usage_weeks::{Site, day};

const SECRET: &str = "of the hook";

/// Head, in lower case, and body.
pub type Request = (String, Vec<u8>);

/// A web server that answers with these status codes in turn, the last one for ever.
pub struct Hook {
    pub port: u16,
    requests: Arc<Mutex<Vec<Request>>>,
    _tasks: JoinSet<()>,
}

impl Hook {
    pub async fn start(statuses: &'static [u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = requests.clone();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let count = seen.lock().unwrap().len();
                let status = statuses[count.min(statuses.len() - 1)];
                let request = answer(stream, status).await;
                seen.lock().unwrap().push(request);
            }
        });
        Hook {
            port,
            requests,
            _tasks: tasks,
        }
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().clone()
    }
}

async fn answer(stream: TcpStream, status: u16) -> Request {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        assert!(stream.read_line(&mut head).await.unwrap() > 0);
    }
    let head = head.to_lowercase();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    let mut body = vec![0; length.trim().parse().unwrap()];
    stream.read_exact(&mut body).await.unwrap();
    let answer = format!("HTTP/1.1 {status} X\r\nConnection: close\r\nContent-Length: 3\r\n\r\nno!");
    stream.get_mut().write_all(answer.as_bytes()).await.unwrap();
    (head, body)
}

/// A site with these tables in its configuration.
pub async fn site_with(alerts: &str) -> Site {
    let site = Site::new();
    let path = site.dir().join("tidegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{text}\n{alerts}")).unwrap();
    let secrets = site.dir().join("secrets");
    std::fs::create_dir_all(&secrets).unwrap();
    std::fs::write(secrets.join("hook.key"), format!("{SECRET}\n")).unwrap();
    running_from(site).await
}

/// Has every act on the log level told to these targets, and does one.
fn act(site: &Site, targets: &[&str], level: &str) {
    let rules = ask(site, "GET", "/status/rules", &Value::Null, 200);
    if rules.as_array().unwrap().is_empty() {
        let rule = json!({ "rule": {
            "name": "levels", "criteria": { "message_id": 60209 }, "actions": { "alert": targets },
        } });
        ask(site, "POST", "/status/rules", &rule, 200);
    }
    let path = "/components/SMS_STATE_SYSTEM/log-level";
    ask(site, "PUT", path, &json!({ "level": level }), 204);
}

fn alerts(site: &Site) -> Value {
    ask(site, "GET", "/status/alerts", &Value::Null, 200)
}

async fn newest_is(site: &Site, state: &str) -> Value {
    until(&format!("an alert that is {state}"), || {
        let alert = alerts(site)["alerts"][0].clone();
        (alert["state"] == state).then_some(alert)
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_web_address_gets_each_alert_until_it_takes_it() {
    let hook = Hook::start(&[503, 200, 422, 200]).await;
    let mut site = site_with(&format!(
        "[alerts.webhook]\nurl = \"http://127.0.0.1:{}/T0KEN\"\nsecret = \"hook.key\"\n",
        hook.port
    ))
    .await;
    act(&site, &["webhook"], "errors");
    // Refused, and taken at a later try: meanwhile the failure is seen.
    let waiting = until("a failed attempt", || {
        let alert = alerts(&site)["alerts"][0].clone();
        (alert["failed_attempts"] == 1).then_some(alert)
    })
    .await;
    assert_eq!(waiting["state"], "waiting");
    assert_eq!(waiting["failure"], "127.0.0.1 answered 503: no!");
    assert_eq!(hook.requests().len(), 1);
    let next: jiff::Timestamp = waiting["next_attempt"].as_str().unwrap().parse().unwrap();
    // A restart in between loses nothing and hurries nothing.
    site.stop().await;
    let mut site = running_from(site).await;
    assert_eq!(hook.requests().len(), 1);
    site.clock.set(next);
    newest_is(&site, "delivered").await;
    let requests = hook.requests();
    assert_eq!(requests.len(), 2);
    assert_eq!(requests[0], requests[1], "the same alert, the same key");
    let (head, body) = &requests[1];
    assert!(head.starts_with("post /t0ken http/1.1"), "{head}");
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, SECRET.as_bytes());
    let tag = hex::encode(aws_lc_rs::hmac::sign(&key, body).as_ref());
    assert!(
        head.contains(&format!("tidegate-signature: sha256={tag}")),
        "{head}"
    );
    let alert: protocol::alert::Alert = serde_json::from_slice(body).unwrap();
    assert_eq!(
        (alert.message_id, alert.rule.as_str(), alert.severity.as_str()),
        (60209, "levels", "informational")
    );
    assert!(
        head.contains(&format!("idempotency-key: {}\r\n", alert.key.to_lowercase())),
        "{head}"
    );
    // A refusal that speaks of the alert itself: given up at once, told, and the next one goes through.
    act(&site, &["webhook"], "default");
    newest_is(&site, "given up").await;
    let told = until("the message that an alert is given up", || {
        let told = ask(&site, "GET", "/status/messages?id=60252", &Value::Null, 200);
        told[0].is_object().then(|| told[0].clone())
    })
    .await;
    assert_eq!(told["component"], "SMS_ALERT_NOTIFICATION");
    act(&site, &["webhook"], "errors");
    newest_is(&site, "delivered").await;
    let all = alerts(&site);
    assert_eq!(
        all["targets"][2]["place"],
        format!("http://127.0.0.1:{}", hook.port)
    );
    site.stop().await;
    let shown = all.to_string();
    assert!(shown.contains("answered 422") && !shown.contains("T0KEN") && !shown.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_alert_is_given_up_after_thirteen_attempts() {
    // Nobody listens there any more.
    let port = TcpListener::bind("127.0.0.1:0")
        .await
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut site = site_with(&format!("[alerts.webhook]\nurl = \"http://127.0.0.1:{port}/\"\n")).await;
    act(&site, &["webhook", "email"], "errors");
    let find = |site: &Site, target: &str| {
        let all = alerts(site);
        let mut listed = all["alerts"].as_array().unwrap().iter();
        listed.find(|alert| alert["target"] == target).unwrap().clone()
    };
    // A target that is not set: given up at once, with the reason.
    until("mail to be given up", || {
        (find(&site, "email")["state"] == "given up").then_some(())
    })
    .await;
    assert_eq!(
        find(&site, "email")["failure"],
        "there is no [alerts.email] in tidegate.toml"
    );
    for attempt in 1..=12 {
        let alert = until(&format!("attempt {attempt}"), || {
            let alert = find(&site, "webhook");
            (alert["failed_attempts"] == attempt).then_some(alert)
        })
        .await;
        site.clock
            .set(alert["next_attempt"].as_str().unwrap().parse().unwrap());
    }
    let alert = until("the last attempt", || {
        let alert = find(&site, "webhook");
        (alert["state"] == "given up").then_some(alert)
    })
    .await;
    assert_eq!(alert["failed_attempts"], 13);
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn offline_nothing_leaves_this_machine() {
    let hook = Hook::start(&[200]).await;
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("log");
    let log = tokio::net::UnixDatagram::bind(&socket).unwrap();
    let site = Site::new();
    let store = store::Store::open(&site.dir().join("site.db")).unwrap();
    store
        .write_blocking::<_, store::StoreError>(|tx| tx.set_setting("scp.mode", Some("offline")))
        .unwrap();
    drop(store);
    let path = site.dir().join("tidegate.toml");
    let text = std::fs::read_to_string(&path).unwrap();
    let alerts_text = format!(
        "[alerts.webhook]\nurl = \"http://127.0.0.1:{}/\"\n[alerts.syslog]\nserver = \"unix://{}\"\n",
        hook.port,
        socket.display()
    );
    std::fs::write(&path, format!("{text}\n{alerts_text}")).unwrap();
    let mut site = running_from(site).await;
    act(&site, &["webhook", "syslog"], "errors");
    let mut line = vec![0; 4096];
    let length = tokio::time::timeout(crate::PATIENCE, log.recv(&mut line))
        .await
        .unwrap()
        .unwrap();
    let line = String::from_utf8(line[..length].to_vec()).unwrap();
    assert!(line.starts_with("<30>1 2026-"), "{line}");
    assert!(line.contains("SMS_EXECUTIVE P01 60209: "), "{line}");
    site.clock.set(day(1));
    let held = until("what waits", || {
        let path = "/components/SMS_ALERT_NOTIFICATION";
        let waiting = ask(&site, "GET", path, &Value::Null, 200)["waiting"].clone();
        waiting.is_object().then_some(waiting)
    })
    .await;
    assert_eq!(held["what"], "webhook: the service connection point is offline");
    assert!(hook.requests().is_empty());
    let all = alerts(&site);
    let mut listed = all["alerts"].as_array().unwrap().iter();
    let webhook = listed.find(|alert| alert["target"] == "webhook").unwrap();
    assert_eq!(
        (&webhook["state"], &webhook["failed_attempts"]),
        (&json!("waiting"), &json!(0))
    );
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mail_goes_through_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let taken = mails.clone();
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let mail = take_mail(stream, "").await;
            taken.lock().unwrap().push(mail);
        }
    });
    let mut site = site_with(&format!(
        "[alerts.email]\nserver = \"127.0.0.1:{port}\"\ntls = \"off\"\nfrom = \"site@example.org\"\n\
         to = [\"a@example.org\", \"b@example.org\"]\n"
    ))
    .await;
    act(&site, &["email"], "errors");
    newest_is(&site, "delivered").await;
    let mails = mails.lock().unwrap().clone();
    // Each receiver gets it by itself, and sees who else did.
    assert_eq!(mails.len(), 2);
    assert!(mails[1].contains("RCPT TO:<b@example.org>") && !mails[1].contains("RCPT TO:<a@"));
    let mail = &mails[0];
    for part in [
        "MAIL FROM:<site@example.org>",
        "RCPT TO:<a@example.org>",
        "<b@example.org>",
        "Subject: =?utf-8?B?",
        "Message-ID: <00112233-4455-6677-8899-aabbccddeeff-P01-1@example.org>",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    site.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_receiver_costs_the_others_nothing_until_somebody_mends_it() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let mails: Arc<Mutex<Vec<String>>> = Arc::default();
    let refused: Arc<Mutex<&'static str>> = Arc::new(Mutex::new("a@example.org"));
    let (taken, refusing) = (mails.clone(), refused.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let refused = *refusing.lock().unwrap();
            let mail = take_mail(stream, refused).await;
            taken.lock().unwrap().push(mail);
        }
    });
    let taken_by = |receiver: &str| {
        let mails = mails.lock().unwrap();
        let to = format!("RCPT TO:<{receiver}>");
        let got = mails
            .iter()
            .filter(|mail| mail.contains(&to) && mail.contains("DATA"));
        got.count()
    };
    let mut site = site_with(&format!(
        "[alerts.email]\nserver = \"127.0.0.1:{port}\"\ntls = \"off\"\nfrom = \"site@example.org\"\n\
         to = [\"a@example.org\", \"b@example.org\"]\n"
    ))
    .await;
    act(&site, &["email"], "errors");
    let failed = |index: usize| {
        let alert = alerts(&site)["alerts"][index].clone();
        (alert["failed_attempts"] == 1).then_some(alert)
    };
    let waiting = until("a refused receiver", || failed(0)).await;
    assert_eq!(waiting["state"], "waiting");
    let why = waiting["failure"].as_str().unwrap();
    assert!(
        why.starts_with("a@example.org: ") && why.contains("550") && !why.contains("b@"),
        "{why}"
    );
    // The alert behind it does not wait.
    act(&site, &["email"], "default");
    until("the next alert", || failed(0)).await;
    assert_eq!((taken_by("a@example.org"), taken_by("b@example.org")), (0, 2));
    // Mended: who got it before does not get it again.
    *refused.lock().unwrap() = "";
    site.clock.set(day(1));
    until("both to be delivered", || {
        let all = alerts(&site);
        let mut listed = all["alerts"].as_array().unwrap().iter();
        listed.all(|alert| alert["state"] == "delivered").then_some(())
    })
    .await;
    assert_eq!((taken_by("a@example.org"), taken_by("b@example.org")), (2, 2));
    site.stop().await;
}

/// A mail server's half of one conversation, in which it knows one receiver not; what the client said.
async fn take_mail(stream: TcpStream, refused: &str) -> String {
    let mut stream = BufReader::new(stream);
    let mut said = String::new();
    stream.get_mut().write_all(b"220 stub\r\n").await.unwrap();
    let mut data = false;
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line).await.unwrap() == 0 {
            return said;
        }
        said.push_str(&line);
        let answer: &[u8] = match line.trim_end() {
            "." => {
                data = false;
                b"250 taken\r\n"
            }
            _ if data => b"",
            to if !refused.is_empty() && to == format!("RCPT TO:<{refused}>") => b"550 no such user\r\n",
            "DATA" => {
                data = true;
                b"354 go on\r\n"
            }
            "QUIT" => {
                stream.get_mut().write_all(b"221 bye\r\n").await.unwrap();
                return said;
            }
            _ => b"250 fine\r\n",
        };
        stream.get_mut().write_all(answer).await.unwrap();
    }
}
