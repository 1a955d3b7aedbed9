//! A lower bound on how fast a body arrives. An idle limit alone lets a server hold a download for years, one byte a
//! minute.

use bytes::Bytes;
use feed::TransportError;
use futures_util::stream::{self, BoxStream, Stream, StreamExt};
use std::time::Duration;
use tokio::time::Instant;

struct Paced {
    body: BoxStream<'static, Result<Bytes, TransportError>>,
    url: String,
    window: Duration,
    bytes_min: u64,
    /// End of the running window and what it has brought so far; starts with the first read.
    running: Option<(Instant, u64)>,
}

/// Ends `body` with a time-out when a window brings less than `bytes_min` bytes. Time in which the reader does not
/// ask for more does not count against the server: a window that it overslept starts anew.
pub(crate) fn paced(
    body: BoxStream<'static, Result<Bytes, TransportError>>,
    url: String,
    window: Duration,
    bytes_min: u64,
) -> impl Stream<Item = Result<Bytes, TransportError>> + Send + 'static {
    let paced = Paced {
        body,
        url,
        window,
        bytes_min,
        running: None,
    };
    stream::unfold(Some(paced), |paced| async move {
        let mut paced = paced?;
        let (item, go_on) = paced.next().await?;
        Some((item, go_on.then_some(paced)))
    })
}

impl Paced {
    async fn next(&mut self) -> Option<(Result<Bytes, TransportError>, bool)> {
        let now = Instant::now();
        let (end, brought) = match self.running {
            Some((end, brought)) if now < end => (end, brought),
            _ => (now + self.window, 0),
        };
        let mut state = (end, brought);
        loop {
            match tokio::time::timeout_at(state.0, self.body.next()).await {
                Ok(Some(Ok(chunk))) => {
                    self.running = Some((state.0, state.1 + chunk.len() as u64));
                    return Some((Ok(chunk), true));
                }
                Ok(Some(Err(error))) => return Some((Err(error), false)),
                Ok(None) => return None,
                Err(_) if state.1 >= self.bytes_min => state = (state.0 + self.window, 0),
                Err(_) => {
                    return Some((
                        Err(TransportError::Timeout {
                            url: self.url.clone(),
                        }),
                        false,
                    ));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Chunks that are there at once, then nothing more, with or without an end.
    async fn run(chunks: usize, ends: bool) -> Result<usize, TransportError> {
        let chunks = stream::iter(0..chunks).map(|_| Ok(Bytes::from_static(&[0; 100])));
        let body = if ends {
            chunks.boxed()
        } else {
            chunks.chain(stream::pending()).boxed()
        };
        let mut body = Box::pin(paced(body, "u".to_owned(), Duration::from_millis(20), 1_000));
        let mut received = 0;
        while let Some(chunk) = body.next().await {
            received += chunk?.len();
        }
        Ok(received)
    }

    #[tokio::test]
    async fn a_trickle_is_cut_and_a_flow_is_not() {
        assert_eq!(run(1_000, true).await.unwrap(), 100_000);
        // Short bodies end before anybody can complain.
        assert_eq!(run(1, true).await.unwrap(), 100);
        assert!(matches!(run(1, false).await, Err(TransportError::Timeout { .. })));
        // One good window does not pay for the silence after it.
        assert!(matches!(
            run(100, false).await,
            Err(TransportError::Timeout { .. })
        ));
    }
}
