//! Every route for everybody, links and sessions, forms from elsewhere, and what a halt leaves.

use std::sync::atomic::{AtomicI64, Ordering};

use axum::body::Body;
use http::header::{COOKIE, LOCATION, SET_COOKIE};
use http::{Method, Request};
use http_body_util::BodyExt;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use tower::ServiceExt;

use super::*;
use crate::{InitOptions, PublishRequest};

const GUID: &str = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4";
/// A name as somebody would write it who wants to be in a page.
const HOSTILE: &str = "<script>alert(1)</script>";

struct World {
    folder: tempfile::TempDir,
    router: Router,
    clock: Arc<AtomicI64>,
}

struct Answer {
    status: StatusCode,
    location: String,
    cookie: String,
    text: String,
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_795_000_000 + second).unwrap()
}

impl World {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dir = folder.path().join("service");
        let options = InitOptions {
            bins: 4,
            ..InitOptions::new(&dir, "Example vendor")
        };
        crate::init_with(&options, &mut ChaCha20Rng::seed_from_u64(1), at(0)).unwrap();
        let payload = folder.path().join("payload");
        std::fs::create_dir_all(&payload).unwrap();
        std::fs::write(payload.join("text"), "content").unwrap();
        let description = folder.path().join("package.toml");
        let text = format!(
            "guid = \"{GUID}\"\nfull-version = \"5.00.9106.1000\"\ntype = \"update\"\n\
             released = 2026-10-01T08:00:00Z\nrollout-percent = 25\n[text.en]\nname = \"{HOSTILE}\"\n[install]\nswitch = true\n"
        );
        std::fs::write(&description, text).unwrap();
        let request = PublishRequest {
            level: 3,
            ..PublishRequest::new(&dir, &description, &payload)
        };
        crate::publish(&request, Stamp::new(at(0), "ada"), &mut |_| {}).unwrap();
        let clock = Arc::new(AtomicI64::new(0));
        let time = clock.clone();
        let console = Console::new(ServiceDir::new(&dir), HOSTILE, None, move || {
            at(time.load(Ordering::Relaxed))
        });
        World {
            router: router(console),
            clock,
            folder,
        }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("service")
    }

    fn link(&self, read_only: bool) -> String {
        let now = at(self.clock.load(Ordering::Relaxed));
        make_link(&self.dir(), "eva", read_only, now).unwrap().path
    }

    async fn send(&self, method: Method, path: &str, cookie: &str, form: &str) -> Answer {
        self.send_from(method, path, cookie, form, None).await
    }

    async fn send_from(
        &self,
        method: Method,
        path: &str,
        cookie: &str,
        form: &str,
        origin: Option<&str>,
    ) -> Answer {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "console.example")
            .header("content-type", "application/x-www-form-urlencoded");
        if !cookie.is_empty() {
            request = request.header(COOKIE, cookie);
        }
        if let Some(origin) = origin {
            request = request.header("origin", origin);
        }
        let request = request.body(Body::from(form.to_owned())).unwrap();
        let answer = self.router.clone().oneshot(request).await.unwrap();
        let header = |name| {
            let value = answer.headers().get(name);
            value.map_or(String::new(), |value| value.to_str().unwrap().to_owned())
        };
        let (status, location) = (answer.status(), header(LOCATION));
        let cookie = header(SET_COOKIE)
            .split(';')
            .next()
            .unwrap_or_default()
            .to_owned();
        let bytes = answer.into_body().collect().await.unwrap().to_bytes();
        Answer {
            status,
            location,
            cookie,
            text: String::from_utf8(bytes.to_vec()).unwrap(),
        }
    }

    async fn get(&self, path: &str, cookie: &str) -> Answer {
        self.send(Method::GET, path, cookie, "").await
    }

    /// Comes in by a link; returns the cookie.
    async fn enter(&self, read_only: bool) -> String {
        let path = self.link(read_only);
        let form = path.split_once('?').unwrap().1;
        let entered = self.send(Method::POST, "/enter", "", form).await;
        assert_eq!(
            (entered.status, entered.location.as_str()),
            (StatusCode::SEE_OTHER, "/")
        );
        entered.cookie
    }

    /// The word of the session's forms.
    async fn word(&self, cookie: &str) -> String {
        let page = self.get("/catalogue", cookie).await.text;
        let begin = "name=\"_csrf\" value=\"";
        let at = page.find(begin).unwrap() + begin.len();
        page[at..at + 64].to_owned()
    }
}

#[tokio::test]
async fn every_route_for_everybody() {
    let world = World::new();
    let (looker, operator) = (world.enter(true).await, world.enter(false).await);
    for (path, right, _) in routes() {
        let path = path.replace("{guid}", GUID);
        for method in [Method::GET, Method::POST] {
            let status = async |cookie: &str| {
                let word = match cookie {
                    "" => String::new(),
                    cookie => format!("_csrf={}", world.word(cookie).await),
                };
                world.send(method.clone(), &path, cookie, &word).await.status
            };
            let nobody = status("").await;
            assert_eq!(nobody, StatusCode::UNAUTHORIZED, "{method} {path}");
            if path == "/leave" {
                continue;
            }
            let refused = status(&looker).await == StatusCode::FORBIDDEN;
            assert_eq!(refused, right == Right::Steer, "{method} {path}");
            let let_in = status(&operator).await;
            assert!(
                !matches!(let_in, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
                    && !let_in.is_server_error(),
                "{method} {path}: {let_in}"
            );
        }
    }
}

#[tokio::test]
async fn a_link_opens_once_and_sessions_end() {
    let world = World::new();
    let path = world.link(false);
    for _ in 0..2 {
        // Looking at it, as programs do that warn of links, uses nothing up.
        assert_eq!(world.get(&path, "").await.status, StatusCode::OK);
    }
    let form = path.split_once('?').unwrap().1.to_owned();
    let from = Some("https://evil.example");
    let foreign = world.send_from(Method::POST, "/enter", "", &form, from).await;
    assert_eq!(foreign.status, StatusCode::FORBIDDEN);
    let entered = world.send(Method::POST, "/enter", "planted=1", &form).await;
    let again = world.send(Method::POST, "/enter", "", &form).await;
    assert_eq!(
        (entered.status, again.status),
        (StatusCode::SEE_OTHER, StatusCode::GONE)
    );
    assert!(
        entered.cookie.starts_with("__Host-tidegate-service="),
        "{}",
        entered.cookie
    );
    assert_eq!(world.get("/keys", &entered.cookie).await.status, StatusCode::OK);

    let late = world.link(false);
    world.clock.store(11 * 60, Ordering::Relaxed);
    assert_eq!(world.get(&late, "").await.status, StatusCode::GONE);
    // Used now and then it goes on for twelve hours, unused for one.
    for minutes in (30..12 * 60).step_by(30) {
        world.clock.store(minutes * 60, Ordering::Relaxed);
        assert_eq!(
            world.get("/keys", &entered.cookie).await.status,
            StatusCode::OK,
            "{minutes}"
        );
    }
    world.clock.store(12 * 60 * 60, Ordering::Relaxed);
    let over = world.get("/keys", &entered.cookie).await.status;
    assert_eq!(over, StatusCode::UNAUTHORIZED);
    let other = world.enter(false).await;
    world.clock.store(13 * 60 * 60, Ordering::Relaxed);
    assert_eq!(world.get("/keys", &other).await.status, StatusCode::UNAUTHORIZED);

    let third = world.enter(false).await;
    let word = format!("_csrf={}", world.word(&third).await);
    assert_eq!(
        world.send(Method::POST, "/leave", &third, &word).await.status,
        StatusCode::OK
    );
    assert_eq!(world.get("/keys", &third).await.status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_halt_is_signed_and_told_and_taken_back() {
    let world = World::new();
    let cookie = world.enter(false).await;
    let word = world.word(&cookie).await;
    let page = format!("/packages/{GUID}");
    let percent = || {
        let package = crate::packages(&world.dir()).unwrap().remove(0);
        (package.rollout_percent, package.rollout_when)
    };
    for (form, origin) in [
        ("", None),
        ("_csrf=00", None),
        (word.as_str(), Some("https://evil.example")),
    ] {
        let form = form.replace(&word, &format!("_csrf={word}"));
        let halt = format!("{page}/halt");
        let refused = world.send_from(Method::POST, &halt, &cookie, &form, origin).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{form} {origin:?}");
    }
    assert_eq!(percent().0, 25);
    let own = format!("_csrf={word}");
    let halted = world
        .send(Method::POST, &format!("{page}/halt"), &cookie, &own)
        .await;
    assert_eq!(halted.location, format!("{page}?done"));
    assert_eq!(percent().0, 0);
    let shown = world.get(&page, &cookie).await.text;
    assert!(
        shown.contains("Go on with 25 %") && !shown.contains("Halt the roll-out"),
        "{shown}"
    );
    assert!(
        shown.contains("eva (console)") && shown.contains("25 % to 0 %"),
        "{shown}"
    );
    assert!(!shown.contains(HOSTILE), "names are text");

    let on = format!("{own}&percent=50&rule=inventory.devices+%3C+5000");
    world
        .send(Method::POST, &format!("{page}/roll-out"), &cookie, &on)
        .await;
    assert_eq!(percent(), (50, Some("inventory.devices < 5000".to_owned())));
    for (form, why) in [
        ("percent=101", "101 percent"),
        ("percent=5&rule=moon+%3D%3D+1", "the rule"),
    ] {
        let odd = format!("{own}&{form}");
        let refused = world
            .send(Method::POST, &format!("{page}/roll-out"), &cookie, &odd)
            .await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{form}");
        assert!(refused.text.contains(why), "{}", refused.text);
    }
    let missing = format!("/packages/{}", GUID.replace('8', "9"));
    assert_eq!(world.get(&missing, &cookie).await.status, StatusCode::NOT_FOUND);
    assert_eq!(
        world.get("/packages/x", &cookie).await.status,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn messages_are_published_and_taken_back() {
    let world = World::new();
    let cookie = world.enter(false).await;
    let own = format!("_csrf={}", world.word(&cookie).await);
    let form = format!(
        "{own}&id=gateway&category=plan-for-change&title=A+%3Cb%3Etitle&text=Two%0D%0Alines&link=&until=2027-01-31"
    );
    let set = world.send(Method::POST, "/notices/publish", &cookie, &form).await;
    assert_eq!(set.location, "/notices?done", "{}", set.text);
    let notice = crate::notices(&world.dir()).unwrap().remove(0);
    assert_eq!(notice.body, "Two lines");
    assert_eq!(notice.until, Some("2027-02-01T00:00:00Z".parse().unwrap()));
    let shown = world.get("/notices", &cookie).await.text;
    assert!(shown.contains("A &lt;b&gt;title"), "{shown}");
    for odd in ["until=tomorrow", "link=javascript:alert(1)", "id=Not+An+Id"] {
        let name = odd.split('=').next().unwrap();
        let rest: Vec<&str> = form
            .split('&')
            .filter(|field| !field.starts_with(&format!("{name}=")))
            .collect();
        let form = format!("{}&{odd}", rest.join("&"));
        let refused = world.send(Method::POST, "/notices/publish", &cookie, &form).await;
        assert_eq!(refused.status, StatusCode::BAD_REQUEST, "{odd}: {}", refused.text);
    }
    let gone = world
        .send(
            Method::POST,
            "/notices/retract",
            &cookie,
            &format!("{own}&id=gateway"),
        )
        .await;
    assert_eq!(gone.status, StatusCode::SEE_OTHER);
    assert_eq!(crate::notices(&world.dir()).unwrap(), []);
    let history = crate::history(&ServiceDir::new(world.dir()), None).unwrap();
    assert_eq!(history.len(), 3, "published, message, taken back: {history:?}");
}

#[test]
fn the_catalogue_of_words_lists_what_pages_say() {
    let sources = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let listed = sources.join("console/english.txt");
    let shared = sources.join("../../pages/src/forms.rs");
    let said = pages::said_in(&[&sources.join("console"), &sources.join("fleet.rs"), &shared]).unwrap();
    if std::env::var_os("UPDATE_REFERENCE").is_some() {
        std::fs::write(&listed, &said).unwrap();
    }
    assert!(
        said == std::fs::read_to_string(&listed).unwrap_or_default(),
        "english.txt is out of date; run this test once with UPDATE_REFERENCE=1"
    );
}
