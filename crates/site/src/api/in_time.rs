//! A deadline for every answer, for the API and the console.
//!
//! What only looks ends with its deadline. A change does not: it runs in a task of its own from the moment its body is
//! there, so that nothing is committed and then not put in force because somebody waited too long for the answer.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::Method;
use http_body_util::{BodyExt, Limited};
use tokio::time::{Instant, timeout_at};
use tokio_util::task::TaskTracker;

/// The changes under way that the listener waits for when the site stops.
#[derive(Debug, Clone, Default)]
pub(crate) struct Changes(pub(crate) TaskTracker);

/// What is granted, and what is answered when it was not enough.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Longest time, the reading of the body included.
    pub(crate) within: Duration,
    /// Largest body.
    pub(crate) bytes: usize,
    /// It took longer; a change goes on.
    pub(crate) late: fn() -> Response,
    /// The body is larger, or broke off.
    pub(crate) unread: fn() -> Response,
}

/// Whether a method only looks.
pub(crate) fn looks(method: &Method) -> bool {
    matches!(*method, Method::GET | Method::HEAD)
}

/// Answers within the limits.
pub(crate) async fn answer(State(limits): State<Limits>, request: Request, next: Next) -> Response {
    let deadline = Instant::now() + limits.within;
    if looks(request.method()) {
        let answered = timeout_at(deadline, next.run(request)).await;
        return answered.unwrap_or_else(|_| (limits.late)());
    }
    let (parts, body) = request.into_parts();
    // Read here, under the deadline: a task that waits for the rest of a body could wait for ever.
    let bytes = match timeout_at(deadline, Limited::new(body, limits.bytes).collect()).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(_)) => return (limits.unread)(),
        Err(_) => return (limits.late)(),
    };
    // Where no listener is, as in tests, nobody waits for it beyond the answer.
    let Changes(tasks) = parts.extensions.get().cloned().unwrap_or_default();
    let change = next.run(Request::from_parts(parts, Body::from(bytes)));
    match timeout_at(deadline, tasks.spawn(change)).await {
        Ok(Ok(response)) => response,
        Ok(Err(ended)) => match ended.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => (limits.late)(),
        },
        Err(_) => (limits.late)(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use axum::Router;
    use axum::middleware::from_fn_with_state;
    use axum::response::IntoResponse;
    use axum::routing::post;
    use http::StatusCode;
    use tower::ServiceExt;

    use super::*;

    const LIMITS: Limits = Limits {
        within: Duration::from_secs(60),
        bytes: 10,
        late: || StatusCode::SERVICE_UNAVAILABLE.into_response(),
        unread: || StatusCode::PAYLOAD_TOO_LARGE.into_response(),
    };

    /// A route that takes 90 seconds and notes when it has come to its end.
    fn slow() -> (Router, Arc<AtomicBool>) {
        let done = Arc::new(AtomicBool::new(false));
        let noted = done.clone();
        let work = async move |_: bytes::Bytes| {
            tokio::time::sleep(Duration::from_secs(90)).await;
            noted.store(true, Ordering::Relaxed);
        };
        let router = Router::new()
            .route("/", post(work.clone()).get(work))
            .layer(from_fn_with_state(LIMITS, answer));
        (router, done)
    }

    async fn status(router: Router, method: Method, body: Body, tasks: &TaskTracker) -> StatusCode {
        let mut request = Request::builder().method(method).body(body).unwrap();
        request.extensions_mut().insert(Changes(tasks.clone()));
        router.oneshot(request).await.unwrap().status()
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_runs_to_its_end_though_nobody_waits_so_long() {
        let (router, done) = slow();
        let tasks = TaskTracker::new();
        let answer = status(router, Method::POST, Body::empty(), &tasks).await;
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
        assert!(!done.load(Ordering::Relaxed));
        tasks.close();
        tasks.wait().await;
        assert!(done.load(Ordering::Relaxed));
    }

    #[tokio::test(start_paused = true)]
    async fn what_looks_and_what_is_not_said_to_its_end_is_over_with_the_deadline() {
        let (router, done) = slow();
        let tasks = TaskTracker::new();
        let begun = Instant::now();
        let answer = status(router.clone(), Method::GET, Body::empty(), &tasks).await;
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
        let endless = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
        let answer = status(router.clone(), Method::POST, Body::from_stream(endless), &tasks).await;
        assert_eq!(answer, StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(begun.elapsed().as_secs(), 120);
        let answer = status(router, Method::POST, Body::from("more than ten"), &tasks).await;
        assert_eq!(answer, StatusCode::PAYLOAD_TOO_LARGE);
        assert!(tasks.is_empty() && !done.load(Ordering::Relaxed));
    }
}
