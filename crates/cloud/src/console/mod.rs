//! The console of the connected service: catalogue, publish history, roll-out with a halt, fleet, health of the intake,
//! messages to administrators, keys. Rendered here, complete without script.
//!
//! It has no accounts: whoever can read the service folder lets people in by links that work once (`links`). A route
//! cannot be written down without the right it takes. Everything that changes something is a form with the session's own
//! word in it, is entered in the history with who did it, and is signed before the answer.

mod catalogue;
mod door;
mod links;
mod page;
mod views;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::extract::Path;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use http::StatusCode;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use jiff::Timestamp;
use pages::forms::FORM_BYTES_MAX;
use tower_http::timeout::TimeoutLayer;

use crate::error::CloudError;
use crate::files::ServiceDir;
use crate::history::Stamp;
use crate::intake::Intake;

pub use door::Right;
pub use links::{ConsoleLink, make_link};

/// Longest time for a page, the reading of its form included. Signing waits for another step on the feed, too.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(60);

/// What the pages are made from.
pub struct Console {
    dir: ServiceDir,
    /// The vendor's name.
    name: String,
    intake: Option<Arc<Intake>>,
    clock: Box<dyn Fn() -> Timestamp + Send + Sync>,
    sessions: door::Sessions,
}

impl Console {
    /// The console of the service in `dir`.
    pub fn new(
        dir: ServiceDir,
        name: &str,
        intake: Option<Arc<Intake>>,
        clock: impl Fn() -> Timestamp + Send + Sync + 'static,
    ) -> Self {
        Console {
            dir,
            name: name.to_owned(),
            intake,
            clock: Box::new(clock),
            sessions: door::Sessions::default(),
        }
    }

    fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Runs what reads or signs files.
    async fn blocking<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&std::path::Path) -> Result<T, CloudError> + Send + 'static,
    ) -> Result<T, CloudError> {
        let console = self.clone();
        let done = tokio::task::spawn_blocking(move || work(console.dir.root())).await;
        done.map_err(|failure| CloudError::Invalid {
            what: "page",
            detail: format!("it failed inside the service: {failure}"),
        })?
    }

    /// The same as a change of this author.
    async fn change<T: Send + 'static>(
        self: &Arc<Self>,
        author: &str,
        work: impl FnOnce(&std::path::Path, Stamp) -> Result<T, CloudError> + Send + 'static,
    ) -> Result<T, CloudError> {
        let stamp = Stamp::new(self.now(), author);
        self.blocking(move |dir| work(dir, stamp)).await
    }
}

/// The console, for a listener that speaks TLS.
pub fn router(console: Console) -> Router {
    let console = Arc::new(console);
    let guarded = routes()
        .into_iter()
        .fold(Router::new(), |router, (path, right, methods)| {
            let check = from_fn_with_state((console.clone(), right), door::check);
            router.route(path, methods.layer(check))
        });
    guarded
        .route("/enter", get(door::enter_page).post(door::enter))
        .route("/assets/{name}", get(asset))
        .with_state(console)
        .layer(TimeoutLayer::with_status_code(
            StatusCode::SERVICE_UNAVAILABLE,
            ANSWER_TIME_MAX,
        ))
        .layer(from_fn(pages::add_headers))
        .layer(DefaultBodyLimit::max(FORM_BYTES_MAX))
}

type GuardedRoute = (&'static str, Right, MethodRouter<Arc<Console>>);

/// Every page with the right it takes.
fn routes() -> Vec<GuardedRoute> {
    vec![
        ("/", Right::Look, get(catalogue::home)),
        ("/catalogue", Right::Look, get(catalogue::list)),
        ("/packages/{guid}", Right::Look, get(catalogue::one)),
        (
            "/packages/{guid}/roll-out",
            Right::Steer,
            post(catalogue::roll_out),
        ),
        ("/packages/{guid}/halt", Right::Steer, post(catalogue::halt)),
        (
            "/packages/{guid}/withdraw",
            Right::Steer,
            post(catalogue::withdraw),
        ),
        ("/history", Right::Look, get(views::history)),
        ("/fleet", Right::Look, get(views::fleet)),
        ("/intake", Right::Look, get(views::intake)),
        ("/notices", Right::Look, get(views::notices)),
        ("/notices/publish", Right::Steer, post(views::publish_notice)),
        ("/notices/retract", Right::Steer, post(views::retract_notice)),
        ("/keys", Right::Look, get(views::keys)),
        ("/leave", Right::Look, post(door::leave)),
    ]
}

async fn asset(Path(name): Path<String>) -> Response {
    match name.as_str() {
        "style.css" => (
            [
                (CONTENT_TYPE, "text/css; charset=utf-8"),
                (CACHE_CONTROL, "max-age=3600"),
            ],
            pages::STYLE,
        )
            .into_response(),
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}
