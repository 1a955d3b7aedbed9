//! Single sign-on against a provider on this machine: who comes in, as whom, and what is not believed.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use domain::access::Access;
use executive::FakeClock;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use protocol::api::{AccountRequest, RoleRequest};
use serde_json::{Value, json};
use tower::ServiceExt;

use super::Peer;
use super::stub_provider::{SECRET, Signed, StubProvider};
use crate::service::{Actor, SiteService};
use crate::testing::service_with;

/// A console and its provider.
struct World {
    provider: StubProvider,
    console: Router,
    service: Arc<SiteService>,
    clock: FakeClock,
    /// Addresses that requests came from: each has its own, since the door takes a few attempts of one each minute.
    addresses: AtomicU32,
    folder: tempfile::TempDir,
}

/// What a browser holds of one attempt.
struct Begun {
    location: String,
    cookie: String,
}

/// How an attempt ended.
struct Ended {
    status: StatusCode,
    cookies: Vec<String>,
    page: String,
}

impl Ended {
    fn session(&self) -> Option<&str> {
        let cookie = self
            .cookies
            .iter()
            .find(|cookie| cookie.starts_with("__Host-tidegate-P01="))?;
        assert!(
            cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
        cookie.split(';').next()
    }
}

async fn ended(answer: Response) -> Ended {
    let cookies = answer.headers().get_all("set-cookie").iter();
    let cookies = cookies
        .map(|cookie| cookie.to_str().unwrap().to_owned())
        .collect();
    let status = answer.status();
    let page = answer.into_body().collect().await.unwrap().to_bytes();
    Ended {
        status,
        cookies,
        page: String::from_utf8(page.to_vec()).unwrap(),
    }
}

fn root() -> Actor {
    Actor::user("root", Access::FULL)
}

impl World {
    async fn new() -> Self {
        let provider = StubProvider::start().await;
        let (folder, service, clock) = service_with(&format!(
            "[oidc]\nissuer = \"{}\"\nclient_id = \"site\"\nclient_secret = \"oidc.secret\"\n\
             [oidc.roles]\nops = \"operations-administrator\"\nstaff = \"read-only-analyst\"\n\
             chiefs = \"full-administrator\"\n",
            provider.issuer
        ));
        let secrets = folder.path().join("site/secrets");
        std::fs::write(secrets.join("oidc.secret"), format!("{SECRET}\n")).unwrap();
        World {
            console: super::router(service.clone()),
            provider,
            service,
            clock,
            addresses: AtomicU32::new(0xC000_0200),
            folder,
        }
    }

    async fn get(&self, path: &str, cookie: &str) -> Response {
        let asked = Request::get(path)
            .header("host", "site.example:8446")
            .header("cookie", cookie)
            .body(Body::empty());
        let mut asked = asked.unwrap();
        let address = Ipv4Addr::from(self.addresses.fetch_add(1, Ordering::Relaxed));
        asked.extensions_mut().insert(Peer((address, 1).into()));
        self.console.clone().oneshot(asked).await.unwrap()
    }

    async fn begin(&self, to: &str) -> Begun {
        let answer = self.get(&format!("/sign-in/oidc?to={to}"), "").await;
        assert_eq!(answer.status(), StatusCode::SEE_OTHER);
        let cookie = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(
            cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600"),
            "{cookie}"
        );
        Begun {
            location: answer.headers()["location"].to_str().unwrap().to_owned(),
            cookie: cookie.split(';').next().unwrap().to_owned(),
        }
    }

    async fn come_back(&self, cookie: &str, code: &str, state: &str) -> Ended {
        let path = format!("/sign-in/oidc/callback?code={code}&state={state}");
        ended(self.get(&path, cookie).await).await
    }

    /// A whole attempt of somebody about whom the provider says this.
    async fn attempt(&self, signed: Signed, claims: Value) -> Ended {
        {
            let mut script = self.provider.script();
            (script.signed, script.claims) = (signed, claims);
        }
        let begun = self.begin("/updates").await;
        let (code, state) = self.provider.authorize(&begun.location);
        self.come_back(&begun.cookie, &code, &state).await
    }

    async fn refused(&self, signed: Signed, claims: Value, why: &str) {
        let ended = self.attempt(signed, claims.clone()).await;
        assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "{signed:?} {claims}");
        assert!(ended.page.contains(why), "{signed:?} {claims}: {}", ended.page);
        assert_eq!(ended.session(), None, "{signed:?} {claims}");
    }

    /// Texts of status messages, the newest first.
    async fn told(&self) -> Vec<String> {
        let query = protocol::api::StatusMessageQuery::default();
        let rows = self.service.status_messages(query).await.unwrap();
        rows.into_iter().map(|row| row.text).collect()
    }

    async fn add_local(&self, name: &str) {
        let request = AccountRequest {
            name: name.into(),
            role: "full-administrator".into(),
            scope: Some("All".into()),
            password: "four words are enough".into(),
        };
        self.service.add_account(request, &root()).await.unwrap();
    }
}

#[tokio::test]
async fn somebody_comes_in_with_the_strongest_role_of_the_claims() {
    let world = World::new().await;
    let door = ended(world.get("/sign-in?to=%2Fupdates", "").await).await;
    assert!(
        door.page.contains("href=\"/sign-in/oidc?to=%2Fupdates\""),
        "{}",
        door.page
    );
    assert!(!door.page.contains("Nobody can sign in yet"));
    for signed in [Signed::Rs256, Signed::Ps256, Signed::Es256] {
        let ended = world.attempt(signed, json!({})).await;
        assert_eq!(ended.status, StatusCode::OK, "{signed:?}: {}", ended.page);
        // A page of ours leads on; a redirect would come without the session's cookie.
        assert!(
            ended
                .page
                .contains("<meta http-equiv=\"refresh\" content=\"0; url=/updates\">")
        );
        let gone = "__Host-tidegate-sign-on=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0";
        assert!(ended.cookies.iter().any(|cookie| cookie == gone));
        let inside = world.get("/messages", ended.session().unwrap()).await;
        assert_eq!(inside.status(), StatusCode::OK);
    }
    let accounts = world.service.accounts().await.unwrap();
    assert_eq!(accounts.len(), 1);
    let eva = &accounts[0];
    assert_eq!(
        (eva.name.as_str(), eva.role.as_str(), eva.scope.as_str()),
        ("eva", "operations-administrator", "Default")
    );
    // What was learned of the provider serves all three.
    assert_eq!(
        (world.provider.asked("description"), world.provider.asked("keys")),
        (1, 1)
    );
    let told = world.told().await;
    assert!(told.contains(&"single sign-on added the user eva with the role Operations Administrator and the scope Default.".to_owned()), "{told:?}");
    assert_eq!(
        told.iter()
            .filter(|text| text.starts_with("user eva signed in from 192.0.2."))
            .count(),
        3
    );
}

#[tokio::test]
async fn tokens_that_do_not_say_what_they_should_are_not_believed() {
    let world = World::new().await;
    let now = 1_795_262_400;
    for (signed, claims, why) in [
        (
            Signed::Rs256,
            json!({ "nonce": "another" }),
            "belongs to another sign-in",
        ),
        (
            Signed::Rs256,
            json!({ "nonce": null }),
            "belongs to another sign-in",
        ),
        (Signed::Rs256, json!({ "aud": "another" }), "for another client"),
        (Signed::Rs256, json!({ "aud": [] }), "for another client"),
        (
            Signed::Rs256,
            json!({ "aud": ["site", "another"] }),
            "for another client",
        ),
        (
            Signed::Rs256,
            json!({ "aud": ["site", "b"], "azp": "b" }),
            "for another client",
        ),
        (Signed::Rs256, json!({ "azp": "another" }), "for another client"),
        (
            Signed::Rs256,
            json!({ "iss": "https://evil.example" }),
            "not from the configured issuer",
        ),
        (Signed::Rs256, json!({ "exp": now - 60 }), "its time is over"),
        (Signed::Rs256, json!({ "exp": null }), "its time is over"),
        (
            Signed::Rs256,
            json!({ "iat": now + 61 }),
            "its time has not begun",
        ),
        (
            Signed::Rs256,
            json!({ "nbf": now + 61 }),
            "its time has not begun",
        ),
        (Signed::Rs256, json!({ "sub": "" }), "names no subject"),
        (Signed::None, json!({}), "only RS256, PS256 and ES256"),
        (Signed::Hs256, json!({}), "only RS256, PS256 and ES256"),
        (Signed::Forged, json!({}), "signature of the ID token is wrong"),
        (Signed::Changed, json!({}), "signature of the ID token is wrong"),
        (
            Signed::Rs256,
            json!({ "roles": ["visitors"] }),
            "has a role in oidc.roles",
        ),
        (
            Signed::Rs256,
            json!({ "roles": null }),
            "has a role in oidc.roles",
        ),
        (
            Signed::Rs256,
            json!({ "preferred_username": "a b" , "sub": "c d" }),
            "no claim gives a name",
        ),
    ] {
        world.refused(signed, claims, why).await;
    }
    assert!(world.service.accounts().await.unwrap().is_empty());
    let told = world.told().await;
    let first =
        "A sign-in as single sign-on from 192.0.2.1 was refused: the ID token belongs to another sign-in.";
    assert!(told.contains(&first.to_owned()), "{told:?}");
    // Within the leeway of a minute, and for several.
    for claims in [
        json!({ "exp": now - 59 }),
        json!({ "iat": now + 60 }),
        json!({ "aud": ["b", "site"], "azp": "site" }),
    ] {
        assert_eq!(
            world.attempt(Signed::Rs256, claims.clone()).await.status,
            StatusCode::OK,
            "{claims}"
        );
    }
}

#[tokio::test]
async fn an_unknown_key_is_asked_for_once() {
    let world = World::new().await;
    assert_eq!(
        world.attempt(Signed::Rs256, json!({})).await.status,
        StatusCode::OK
    );
    {
        let mut script = world.provider.script();
        (script.kid, script.published) = ("two", "two");
    }
    assert_eq!(
        world.attempt(Signed::Es256, json!({})).await.status,
        StatusCode::OK
    );
    assert_eq!(
        world.provider.asked("keys"),
        2,
        "the provider has changed its keys"
    );
    world.provider.script().kid = "three";
    world
        .refused(
            Signed::Rs256,
            json!({}),
            "a key that the provider does not publish",
        )
        .await;
    assert_eq!(world.provider.asked("keys"), 3);
}

#[tokio::test]
async fn an_answer_counts_once_in_the_browser_that_asked() {
    let world = World::new().await;
    world.provider.script().careless = true;
    let begun = world.begin("%2F%09%2Fevil.example").await;
    let (code, state) = world.provider.authorize(&begun.location);
    let other = world.begin("/").await;
    for (cookie, state, why) in [
        ("", state.as_str(), "this browser began no sign-in"),
        (
            "__Host-tidegate-sign-on=00",
            &state,
            "this browser began no sign-in",
        ),
        (&other.cookie, &state, "the answer belongs to another sign-in"),
        (&begun.cookie, "another", "the answer belongs to another sign-in"),
        (&begun.cookie, "", "the answer belongs to another sign-in"),
    ] {
        let ended = world.come_back(cookie, &code, state).await;
        assert_eq!(ended.status, StatusCode::UNAUTHORIZED, "{cookie} {state}");
        assert!(ended.page.contains(why), "{why}: {}", ended.page);
    }
    assert_eq!(
        world.provider.asked("token"),
        0,
        "no code was shown to the provider"
    );
    let first = world.come_back(&begun.cookie, &code, &state).await;
    assert!(first.session().is_some());
    assert!(
        first.page.contains("content=\"0; url=/\""),
        "no way leads out of here: {}",
        first.page
    );
    let again = world.come_back(&begun.cookie, &code, &state).await;
    assert!(
        again.page.contains("this answer was used before"),
        "{}",
        again.page
    );
    assert_eq!((again.session(), world.provider.asked("token")), (None, 1));
    // A provider that refuses: its code is told, its other words are not.
    world.provider.script().careless = false;
    let begun = world.begin("/").await;
    let (_, state) = world.provider.authorize(&begun.location);
    let answer = world.come_back(&begun.cookie, "wrong", &state).await;
    let page = answer.page;
    assert!(
        page.contains("invalid_grant") && !page.contains("hunter2"),
        "{page}"
    );
    for (query, why) in [
        ("error=access_denied&code=x", "the provider says access_denied"),
        ("error=%3Cscript%3E", "something that is no code"),
        ("nothing=1", "the answer has no code"),
        ("code=x&iss=https%3A%2F%2Fevil.example", "from another provider"),
        ("code=x&code=y", "belongs to another sign-in"),
    ] {
        let begun = world.begin("/").await;
        let (_, state) = world.provider.authorize(&begun.location);
        let path = format!("/sign-in/oidc/callback?{query}&state={state}");
        let answer = ended(world.get(&path, &begun.cookie).await).await;
        assert!(answer.page.contains(why), "{query}: {}", answer.page);
    }
    let begun = world.begin("/").await;
    let (code, state) = world.provider.authorize(&begun.location);
    world.clock.advance(Duration::from_secs(600));
    let late = world.come_back(&begun.cookie, &code, &state).await;
    assert!(late.page.contains("within the last 10 minutes"), "{}", late.page);
}

#[tokio::test]
async fn names_change_and_are_taken_but_nobody_becomes_somebody_else() {
    let world = World::new().await;
    world.add_local("anna").await;
    world
        .refused(
            Signed::Rs256,
            json!({ "preferred_username": "anna" }),
            "another user here has the name anna",
        )
        .await;
    let session = |ended: &Ended| ended.session().map(str::to_owned);
    let eva = world.attempt(Signed::Rs256, json!({})).await;
    let first = session(&eva).unwrap();
    // The same person with another name and less to do: the session before has less to do as well.
    let claims = json!({ "preferred_username": "eva.maria", "roles": "staff" });
    assert_eq!(world.attempt(Signed::Rs256, claims).await.status, StatusCode::OK);
    let accounts = world.service.accounts().await.unwrap();
    let of = |name: &str| accounts.iter().find(|account| account.name == name);
    assert_eq!(of("eva").unwrap().role, "read-only-analyst");
    assert!(of("eva.maria").is_none());
    assert_eq!(of("anna").unwrap().role, "full-administrator");
    let cookie = first.strip_prefix("__Host-tidegate-P01=").unwrap();
    let now = world.service.session(cookie, false).await.unwrap().unwrap();
    assert_eq!(now.actor.access().role.word(), "read-only-analyst");
    // Another person with the name of the first.
    world
        .refused(
            Signed::Rs256,
            json!({ "sub": "8" }),
            "another user here has the name eva",
        )
        .await;
    // Nothing of it gives a password, and no password lets in.
    for password in ["", "four words are enough"] {
        let address = "192.0.2.1".parse().unwrap();
        assert!(
            world
                .service
                .sign_in("eva", password, address, None)
                .await
                .is_err()
        );
    }
    let long = "four words are enough";
    assert!(
        world
            .service
            .set_account_password("eva", long, &root())
            .await
            .is_err()
    );
    let role = RoleRequest {
        role: "full-administrator".into(),
        scope: None,
    };
    assert!(
        world
            .service
            .set_account_role("eva", role, &root())
            .await
            .is_err()
    );
    // Whoever the provider lets in does not stand for the last administrator of this site.
    assert_eq!(
        world
            .attempt(Signed::Rs256, json!({ "roles": ["chiefs"] }))
            .await
            .status,
        StatusCode::OK
    );
    assert!(world.service.remove_account("anna", &root()).await.is_err());
    world.service.remove_account("eva", &root()).await.unwrap();
    assert_eq!(
        world.get("/messages", &first).await.status(),
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn a_provider_that_is_another_or_away_is_told_of() {
    let world = World::new().await;
    // Administrators read the reason; a browser that may be anybody's does not.
    let check = async |answer: Ended, why: &str| {
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{why}");
        assert!(answer.page.contains("does not work now"), "{}", answer.page);
        let told = world.told().await.swap_remove(0);
        assert!(told.contains(why) && !told.contains(SECRET), "{told}");
        assert!(!answer.page.contains(why), "{}", answer.page);
    };
    let issuer = world.provider.issuer.clone();
    world.provider.script().issuer = Some(format!("{issuer}/"));
    check(
        ended(world.get("/sign-in/oidc", "").await).await,
        "it calls itself",
    )
    .await;
    world.provider.script().issuer = None;
    world.provider.script().padding = 70_000;
    let why = "cannot get its description (.well-known/openid-configuration)";
    check(ended(world.get("/sign-in/oidc", "").await).await, why).await;
    world.provider.script().padding = 0;
    let begun = world.begin("/").await;
    let (code, state) = world.provider.authorize(&begun.location);
    std::fs::remove_file(world.folder.path().join("site/secrets/oidc.secret")).unwrap();
    let answer = world.come_back(&begun.cookie, &code, &state).await;
    check(answer, "cannot use the secret").await;
}

#[tokio::test]
async fn offline_nothing_is_offered_or_asked() {
    let world = World::new().await;
    let begun = world.begin("/").await;
    let (code, state) = world.provider.authorize(&begun.location);
    let offline = domain::mode::Mode::Offline;
    world.service.context().internet.apply_mode(offline);
    assert!(
        !ended(world.get("/sign-in", "").await)
            .await
            .page
            .contains("/sign-in/oidc")
    );
    assert_eq!(
        world.get("/sign-in/oidc", "").await.status(),
        StatusCode::SERVICE_UNAVAILABLE
    );
    let answer = world.come_back(&begun.cookie, &code, &state).await;
    assert_eq!(
        (answer.status, answer.session()),
        (StatusCode::SERVICE_UNAVAILABLE, None)
    );
    assert_eq!(
        (world.provider.asked("description"), world.provider.asked("token")),
        (1, 0)
    );
}

#[tokio::test]
async fn without_configuration_there_is_no_such_way() {
    let (_folder, service, _) = service_with("");
    let console = super::router(service);
    let ask = async |path: &str| {
        let asked = Request::get(path)
            .header("host", "s")
            .body(Body::empty())
            .unwrap();
        ended(console.clone().oneshot(asked).await.unwrap()).await
    };
    assert!(!ask("/sign-in").await.page.contains("/sign-in/oidc"));
    assert_eq!(ask("/sign-in/oidc").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask("/sign-in/oidc/callback").await.status, StatusCode::NOT_FOUND);
}
