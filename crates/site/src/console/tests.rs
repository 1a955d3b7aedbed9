//! Who may what: every route of API and console, every role, and nobody, against one table and against the routers.

use axum::Router;
use axum::body::Body;
use domain::access::{Access, Role, Scope};
use http::{Method, Request, StatusCode};
use tower::ServiceExt;

use crate::api;
use crate::api::guard::Route;
use crate::service::Actor;
use crate::testing::service;

/// Everybody who may come: each role with each scope, and nobody.
fn everybody() -> Vec<Option<Access>> {
    let mut all = vec![None];
    for role in Role::ALL {
        for scope in [Scope::Default, Scope::All] {
            all.push(Some(Access { role, scope }));
        }
    }
    all
}

fn name(access: Option<Access>) -> String {
    access.map_or("nobody".to_owned(), |access| {
        format!("{} ({})", access.role.as_str(), access.scope.as_str())
    })
}

/// All routes with the path at which they answer.
fn all_routes() -> Vec<(String, Route)> {
    let api = api::routes::quick_routes()
        .into_iter()
        .chain(api::routes::long_routes())
        .chain([api::routes::event_route()])
        .map(|route| (format!("/v1{}", route.path), route));
    let pages = super::routes()
        .into_iter()
        .map(|route| (route.path.to_owned(), route));
    api.chain(pages).collect()
}

#[test]
fn the_table_of_who_may_what() {
    let mut table = String::new();
    for (path, route) in all_routes() {
        for (word, method) in [("look", Method::GET), ("change", Method::POST)] {
            if let Some(needed) = route.needs.of(&method) {
                let who: Vec<String> = everybody()
                    .into_iter()
                    .filter(|access| access.is_some_and(|access| access.allows(needed)))
                    .map(name)
                    .collect();
                let who = match who.len() {
                    8 => "everybody who is signed in".to_owned(),
                    _ => who.join(", "),
                };
                table.push_str(&format!("{path} {word}: {who}\n"));
            }
        }
    }
    insta::assert_snapshot!("authorisation", table);
}

/// A request of somebody, as the listener would hand it on.
fn request(method: &Method, path: &str, actor: Option<&Actor>, with_session: bool) -> Request<Body> {
    let path = path
        .replace("{guid}", "0B5A4C1E-6D8F-4F0A-9C57-2E1D7A90B3F2")
        .replace("{name}", "SMS_STATUS_MANAGER")
        .replace("{report}", "x")
        .replace("{table}", "devices");
    let mut request = Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap();
    if let Some(actor) = actor {
        request.extensions_mut().insert(actor.clone());
        if with_session {
            request.extensions_mut().insert(crate::service::Session {
                actor: actor.clone(),
                account: "eve".into(),
                csrf: "word".into(),
            });
        }
    }
    request
}

#[tokio::test]
async fn whoever_is_not_in_the_table_is_refused_by_every_route() {
    let (_folder, service) = service();
    let api = api::router(service.clone());
    let pages = super::routes()
        .into_iter()
        .fold(Router::new(), |router, route| {
            router.route(route.path, route.guarded())
        })
        .with_state(service);
    let mut refused = 0;
    for (path, route) in all_routes() {
        let is_api = path.starts_with("/v1");
        let router = if is_api { &api } else { &pages };
        for method in [
            Method::GET,
            Method::HEAD,
            Method::POST,
            Method::PUT,
            Method::DELETE,
            Method::PATCH,
        ] {
            let Some(needed) = route.needs.of(&method) else {
                continue;
            };
            for access in everybody() {
                if access.is_some_and(|access| access.allows(needed)) {
                    continue;
                }
                let actor = access.map(|access| Actor::user("eve", access));
                let asked = request(&method, &path, actor.as_ref(), !is_api);
                let answer = router.clone().oneshot(asked).await.unwrap().status();
                let expected: &[StatusCode] = match access {
                    // A method that the route does not have at all may also say so.
                    None => &[StatusCode::UNAUTHORIZED, StatusCode::METHOD_NOT_ALLOWED],
                    Some(_) => &[StatusCode::FORBIDDEN, StatusCode::METHOD_NOT_ALLOWED],
                };
                assert!(
                    expected.contains(&answer),
                    "{method} {path} of {}: {answer}",
                    name(access)
                );
                refused += usize::from(answer != StatusCode::METHOD_NOT_ALLOWED);
            }
        }
    }
    assert!(refused > 300, "only {refused} refusals were seen");
}

#[tokio::test]
async fn without_a_session_every_page_leads_to_the_door() {
    let (_folder, service) = service();
    let console = super::router(service);
    for route in super::routes() {
        for method in [Method::GET, Method::POST] {
            let asked = request(&method, route.path, None, false);
            let answer = console.clone().oneshot(asked).await.unwrap();
            assert_eq!(answer.status(), StatusCode::SEE_OTHER, "{method} {}", route.path);
            let to = answer.headers()["location"].to_str().unwrap();
            assert!(to.starts_with("/sign-in"), "{method} {}: {to}", route.path);
            assert!(answer.headers().contains_key("content-security-policy"));
        }
    }
}

#[tokio::test]
async fn sessions_begin_anew_end_and_cannot_be_chosen_by_others() {
    let (_folder, service) = service();
    let console = super::router(service.clone());
    let local = Actor::user("root", Access::FULL);
    let request = protocol::api::AccountRequest {
        name: "alice".into(),
        role: "read-only-analyst".into(),
        scope: None,
        password: "four words are enough".into(),
    };
    service.add_account(request, &local).await.unwrap();
    let sign_in = async |cookie: &str| {
        let form = "name=alice&password=four+words+are+enough";
        let asked = Request::post("/sign-in")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookie)
            .body(Body::from(form))
            .unwrap();
        let answer = console.clone().oneshot(asked).await.unwrap();
        let set = answer.headers()["set-cookie"].to_str().unwrap().to_owned();
        assert!(set.contains("HttpOnly") && set.contains("Secure") && set.contains("SameSite=Strict"));
        set.split(';').next().unwrap().to_owned()
    };
    let see = async |cookie: String| {
        let asked = Request::get("/overview")
            .header("cookie", cookie)
            .body(Body::empty())
            .unwrap();
        console.clone().oneshot(asked).await.unwrap().status()
    };
    // A cookie that somebody else planted is not the one of the session.
    let planted = "__Host-tidegate-P01=planted";
    let (first, second) = (sign_in(planted).await, sign_in(planted).await);
    assert!(first != planted && second != first);
    assert_eq!(see(planted.to_owned()).await, StatusCode::SEE_OTHER);
    // The executive is not running here: the page says so, to somebody who is in.
    assert_eq!(see(first.clone()).await, StatusCode::SERVICE_UNAVAILABLE);
    service.remove_account("alice", &local).await.unwrap();
    assert_eq!(
        see(first).await,
        StatusCode::SEE_OTHER,
        "with the account its sessions end"
    );
}

#[tokio::test(start_paused = true)]
async fn a_form_that_never_comes_to_its_end_is_not_waited_for() {
    let (_folder, service) = service();
    let cookie = signed_in(&service).await;
    let console = super::router(service);
    for path in ["/sign-in", "/setup", "/check", "/sign-out"] {
        let endless = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        let asked = Request::post(path)
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", &cookie)
            .body(Body::from_stream(endless))
            .unwrap();
        let begun = tokio::time::Instant::now();
        let answer = console.clone().oneshot(asked).await.unwrap();
        assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE, "{path}");
        assert_eq!(begun.elapsed(), super::LIMITS.within, "{path}");
    }
}

#[tokio::test(start_paused = true)]
async fn strangers_have_few_things_under_way_at_a_time() {
    let (_folder, service) = service();
    let routers = [super::router(service.clone()), api::router(service.clone())];
    let ask = async |of: usize, path: &str| {
        let asked = Request::get(path)
            .header("cookie", "__Host-tidegate-P01=bogus")
            .body(Body::empty())
            .unwrap();
        let answer = routers[of].clone().oneshot(asked).await.unwrap();
        let retry = answer.headers().contains_key("retry-after");
        (answer.status().as_u16(), retry)
    };
    let mut held = Vec::new();
    while let Ok(place) = service.stranger_place().await {
        held.push(place);
    }
    for path in ["/sign-in", "/setup", "/sign-in/oidc", "/sign-in/oidc/callback"] {
        assert_eq!(ask(0, path).await, (503, true), "{path}");
    }
    assert_eq!(ask(0, "/assets/style.css").await.0, 200);
    // Who is signed in is not held up by who is not, unless those look like them.
    assert_eq!(ask(0, "/overview").await.0, 303);
    while let Ok(place) = service.lookup_place().await {
        held.push(place);
    }
    assert_eq!(ask(0, "/overview").await, (503, true));
    assert_eq!(ask(1, "/readyz").await, (503, true));
    assert!(held.len() <= 16);
    drop(held);
    assert_eq!(ask(0, "/sign-in").await.0, 200);
    assert_eq!(ask(0, "/overview").await.0, 303);
}

#[tokio::test]
async fn looking_on_keeps_no_session_alive() {
    let (_folder, service, clock) = crate::testing::service_with("");
    let cookie = signed_in(&service).await;
    let console = super::router(service);
    let see = async |path: &str| {
        let asked = Request::get(path)
            .header("cookie", &cookie)
            .body(Body::empty())
            .unwrap();
        console.clone().oneshot(asked).await.unwrap().status()
    };
    let minutes = |minutes: u64| clock.advance(std::time::Duration::from_secs(60 * minutes));
    minutes(50);
    assert_ne!(see("/own-password").await, StatusCode::SEE_OTHER);
    minutes(50);
    assert_eq!(see("/live?page=/overview").await, StatusCode::OK);
    minutes(20);
    assert_eq!(see("/own-password").await, StatusCode::SEE_OTHER);
}

/// The cookie of a new user who has just signed in.
async fn signed_in(service: &crate::service::SiteService) -> String {
    let request = protocol::api::AccountRequest {
        name: "alice".into(),
        role: "full-administrator".into(),
        scope: None,
        password: "four words are enough".into(),
    };
    let local = Actor::user("root", Access::FULL);
    service.add_account(request, &local).await.unwrap();
    let address = std::net::Ipv4Addr::LOCALHOST.into();
    let signed_in = service
        .sign_in("alice", "four words are enough", address, None)
        .await
        .unwrap();
    format!("__Host-tidegate-P01={}", signed_in.cookie)
}

#[tokio::test]
async fn a_browser_keeps_what_tells_that_a_user_signed_in_there() {
    let (_folder, service) = service();
    signed_in(&service).await;
    let console = super::router(service);
    let sign_in = async |cookie: &str| {
        let asked = Request::post("/sign-in")
            .header("content-type", "application/x-www-form-urlencoded")
            .header("cookie", cookie)
            .body(Body::from("name=alice&password=four+words+are+enough"))
            .unwrap();
        let answer = console.clone().oneshot(asked).await.unwrap();
        let set = answer.headers().get_all("set-cookie").iter();
        let device = set.filter_map(|value| value.to_str().ok());
        let mut device = device.filter(|value| value.starts_with("__Host-tidegate-device-P01="));
        device.next().unwrap().to_owned()
    };
    let first = sign_in("").await;
    for word in [
        "Path=/",
        "Secure",
        "HttpOnly",
        "SameSite=Strict",
        "Max-Age=34560000",
    ] {
        assert!(first.contains(word), "{first}");
    }
    let kept = first.split(';').next().unwrap();
    assert_eq!(sign_in(kept).await, first, "it stays the same, for longer");
    assert_ne!(sign_in("__Host-tidegate-device-P01=made.up").await, first);
}
