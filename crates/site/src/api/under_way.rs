//! What is under way on a connection: one on which nobody asks anything does not keep its place for ever.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, HttpBody};
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::sync::watch;

/// A connection on which nothing is under way for so long has to be made anew. Pings alone keep no place.
pub(super) const IDLE_TIME_MAX: Duration = Duration::from_secs(3 * 60);

/// What is asked on one connection.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct UnderWay {
    /// Requests so far.
    asked: u64,
    /// Those whose answer has not gone out yet.
    open: usize,
}

/// Waits until nothing was under way on a connection for longer than it may be; `first` is granted for the first request.
pub(super) async fn idle(seen: &mut watch::Receiver<UnderWay>, first: Duration) {
    loop {
        let UnderWay { asked, open } = *seen.borrow_and_update();
        let patience = match asked {
            0 => first,
            _ => IDLE_TIME_MAX,
        };
        let changed = match open {
            0 => tokio::time::timeout(patience, seen.changed()).await,
            _ => Ok(seen.changed().await),
        };
        match changed {
            Ok(Ok(())) => {}
            // The connection itself ends.
            Ok(Err(_)) => std::future::pending().await,
            Err(_) => return,
        }
    }
}

/// A request of a connection, until the last of its answer was handed over.
pub(super) struct Open(watch::Sender<UnderWay>);

impl Open {
    pub(super) fn new(under_way: &watch::Sender<UnderWay>) -> Self {
        under_way.send_modify(|now| {
            now.asked += 1;
            now.open += 1;
        });
        Open(under_way.clone())
    }

    /// The body of the answer.
    pub(super) fn until_sent(self, body: Body) -> Counted {
        Counted { body, _open: self }
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.send_modify(|now| now.open -= 1);
    }
}

/// The body of an answer that counts as under way.
pub(super) struct Counted {
    body: Body,
    _open: Open,
}

impl HttpBody for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
