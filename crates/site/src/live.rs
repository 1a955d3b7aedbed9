//! Live views: something that is asked for again and again on the server, of which every change is sent on.
//!
//! A view costs one answer a tick and holds one hash; nothing queues up behind a slow reader. Whoever looks is looked at
//! anew each time, so that a session that ended, or a right that was taken away, ends the view.

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use futures_util::future::BoxFuture;
use futures_util::stream;
use http::Extensions;
use http_body_util::BodyExt;
use sha2::{Digest, Sha256};
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// How often it is looked at.
const TICK: Duration = Duration::from_secs(1);
/// Largest answer that is sent.
const BYTES_MAX: usize = 1024 * 1024;
/// A view that is open for longer begins anew, which readers of event streams do by themselves.
const TICKS_MAX: u32 = 4 * 60 * 60;

/// Says who looks, as what a request carries; nothing once they may not any more.
pub type Admit = Box<dyn Fn() -> BoxFuture<'static, Option<Extensions>> + Send + Sync>;

/// A place for one view, and what ends it: the site stops.
pub struct Place {
    pub(crate) _permit: OwnedSemaphorePermit,
    pub(crate) closing: CancellationToken,
}

struct Watching {
    router: Router,
    path: String,
    admit: Admit,
    place: Place,
    seen: Option<[u8; 32]>,
    ticks: u32,
    ended: bool,
}

/// What there is to see.
enum Seen {
    Answer(String),
    /// It is larger than what is sent; that does not get better by asking again at once.
    TooLarge,
    /// Nothing, for whoever looks.
    Nothing,
}

/// The events `changed`, with the answer to a GET of `path`; `ended`, when whoever looks may not any more; and `too-large`
/// in place of an answer that is, after which nothing more comes.
/// Without a place for one more, 429.
pub fn watch(router: Router, path: String, admit: Admit, place: Option<Place>) -> Response {
    let Some(place) = place else {
        let retry = [(http::header::RETRY_AFTER, "10")];
        return (
            http::StatusCode::TOO_MANY_REQUESTS,
            retry,
            "too many live views are open\n",
        )
            .into_response();
    };
    let watching = Watching {
        router,
        path,
        admit,
        place,
        seen: None,
        ticks: 0,
        ended: false,
    };
    let events = stream::unfold(watching, |mut watching| async move {
        if watching.ended {
            return None;
        }
        let event = watching.next().await;
        Some((Ok::<_, Infallible>(event), watching))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}

impl Watching {
    /// Waits for the next change.
    async fn next(&mut self) -> Event {
        loop {
            if self.ticks > 0 {
                // Nobody waits for a view when the site stops.
                let closing = self.place.closing.cancelled();
                let _ = tokio::time::timeout(TICK, closing).await;
            }
            self.ticks += 1;
            let over = self.ticks >= TICKS_MAX || self.place.closing.is_cancelled();
            let seen = match (self.admit)().await {
                Some(extensions) if !over => self.ask(extensions).await,
                _ => Seen::Nothing,
            };
            let answer = match seen {
                Seen::Answer(answer) => answer,
                Seen::TooLarge => {
                    self.ended = true;
                    return Event::default().event("too-large").data("over");
                }
                Seen::Nothing => {
                    self.ended = true;
                    return Event::default().event("ended").data("over");
                }
            };
            let hash: [u8; 32] = Sha256::digest(answer.as_bytes()).into();
            if self.seen.replace(hash) != Some(hash) {
                return Event::default().event("changed").data(answer);
            }
        }
    }

    async fn ask(&self, extensions: Extensions) -> Seen {
        let Ok(mut request) = Request::get(&self.path).body(Body::empty()) else {
            return Seen::Nothing;
        };
        *request.extensions_mut() = extensions;
        let response = self
            .router
            .clone()
            .oneshot(request)
            .await
            .unwrap_or_else(|never| match never {});
        if !response.status().is_success() {
            return Seen::Nothing;
        }
        let body = http_body_util::Limited::new(response.into_body(), BYTES_MAX);
        match body.collect().await {
            Ok(body) => String::from_utf8(body.to_bytes().to_vec()).map_or(Seen::Nothing, Seen::Answer),
            Err(failure) if failure.is::<http_body_util::LengthLimitError>() => Seen::TooLarge,
            Err(_) => Seen::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use futures_util::{FutureExt, StreamExt};
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_view_of_something_too_large_says_so_and_ends() {
        let pages = Router::new()
            .route("/large", get(async || "x".repeat(BYTES_MAX + 1)))
            .route("/gone", get(async || http::StatusCode::NOT_FOUND));
        for (path, expected) in [("/large", "event: too-large"), ("/gone", "event: ended")] {
            let place = Place {
                _permit: std::sync::Arc::new(Semaphore::new(1))
                    .acquire_owned()
                    .await
                    .unwrap(),
                closing: CancellationToken::new(),
            };
            let admit: Admit = Box::new(|| async { Some(Extensions::new()) }.boxed());
            let answer = watch(pages.clone(), path.to_owned(), admit, Some(place));
            let mut events = answer.into_body().into_data_stream();
            let event = events.next().await.unwrap().unwrap();
            let event = String::from_utf8(event.to_vec()).unwrap();
            assert!(event.starts_with(expected), "{event}");
            assert!(events.next().await.is_none(), "nothing more comes");
        }
    }
}
