//! Ctrl-C and SIGTERM end what runs in the foreground cleanly; a second one ends it at once.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::failure::Failure;
use crate::output::Output;

/// Runs `work` with a token that is cancelled by the first signal, and gives up waiting at the second.
/// Giving up is safe at any moment: what was acknowledged is durable.
pub async fn until_stopped<F, T>(
    output: &Output,
    work: impl FnOnce(CancellationToken) -> F,
) -> Result<T, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    let unheard = |failure| Failure::new(format!("cannot wait for signals: {failure}"));
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unheard)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(unheard)?;
    let shutdown = CancellationToken::new();
    let mut work = std::pin::pin!(work(shutdown.clone()));
    let mut asked = false;
    loop {
        tokio::select! {
            result = &mut work => return result,
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if asked {
            return Err(Failure::new("stopped before everything had ended")
                .hint("nothing is lost; the next start continues"));
        }
        asked = true;
        shutdown.cancel();
        output.note("stopping; press Ctrl-C again to stop at once");
    }
}

/// Waits for Ctrl-C, or for ever if the platform cannot tell.
pub async fn interrupted() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}
