//! Supervision on a clock that the test moves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::component::{ComponentName, ComponentState};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::{
    Activation, Clock, Component, ComponentError, Executive, ExecutiveEvent, ExecutiveHandle, FakeClock,
    Next, Report, Supervision,
};

/// Does what the test says at each activation, counted from 1.
struct Scripted {
    name: ComponentName,
    activations: AtomicU32,
    act: fn(u32) -> Result<Next, ComponentError>,
}

impl Component for Scripted {
    fn name(&self) -> ComponentName {
        self.name
    }

    fn activate<'a>(&'a self, _cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move {
            let number = self.activations.fetch_add(1, Ordering::SeqCst) + 1;
            (self.act)(number).map(|next| Report {
                summary: format!("run {number}"),
                next,
                waiting: None,
            })
        }
        .boxed()
    }
}

fn scripted(name: ComponentName, act: fn(u32) -> Result<Next, ComponentError>) -> Arc<Scripted> {
    Arc::new(Scripted {
        name,
        activations: AtomicU32::new(0),
        act,
    })
}

fn start(
    components: &[Arc<Scripted>],
) -> (Executive, tokio::sync::mpsc::Receiver<ExecutiveEvent>, FakeClock) {
    let clock = FakeClock::new(Timestamp::UNIX_EPOCH);
    let components = components
        .iter()
        .map(|component| component.clone() as Arc<dyn Component>)
        .collect();
    let (executive, events) =
        Executive::start(components, &[], Supervision::new(Clock::Fake(clock.clone()), 1));
    (executive, events, clock)
}

/// Lets the tasks run until the condition holds.
async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..100_000 {
        if holds() {
            return;
        }
        tokio::task::yield_now().await;
    }
    panic!("{what} did not happen");
}

fn activations(handle: &ExecutiveHandle, name: ComponentName) -> u64 {
    handle.query(name).unwrap().activations
}

#[tokio::test]
async fn a_panic_is_told_backed_off_and_touches_nobody_else() {
    let healthy = scripted(ComponentName::HierarchyManager, |_| {
        Ok(Next::After(Duration::from_secs(1)))
    });
    let broken = scripted(ComponentName::DmpDownloader, |number| {
        assert!(number > 3, "out of order");
        Ok(Next::WhenWoken)
    });
    let (executive, mut events, clock) = start(&[healthy, broken]);
    let handle = executive.handle();
    let mut waits = Vec::new();
    for failures in 1..=3 {
        let failed = || {
            handle
                .query(ComponentName::DmpDownloader)
                .unwrap()
                .failures_in_row
                == failures
        };
        until("the panic", failed).await;
        let snapshot = handle.query(ComponentName::DmpDownloader).unwrap();
        assert_eq!(snapshot.state, ComponentState::Paused);
        assert!(snapshot.waiting.unwrap().what.contains("out of order"));
        let next = snapshot.next_activation.unwrap();
        waits.push(next.as_second() - snapshot.last_finished.unwrap().as_second());
        clock.set(next);
    }
    until("the recovery", || {
        handle
            .query(ComponentName::DmpDownloader)
            .unwrap()
            .failures_in_row
            == 0
    })
    .await;
    assert!(waits[2] > waits[0], "{waits:?}");
    assert_eq!(handle.query(ComponentName::DmpDownloader).unwrap().panics, 3);
    assert_eq!(handle.query(ComponentName::HierarchyManager).unwrap().failures, 0);
    let mut told = Vec::new();
    while let Ok(event) = events.try_recv() {
        told.push(event);
    }
    assert!(told.contains(&ExecutiveEvent::Recovered(ComponentName::DmpDownloader)));
    executive.shut_down().await;
}

#[tokio::test]
async fn stopping_one_leaves_the_others_running() {
    let a = scripted(ComponentName::HierarchyManager, |_| {
        Ok(Next::After(Duration::from_secs(60)))
    });
    let b = scripted(ComponentName::DmpDownloader, |_| {
        Ok(Next::After(Duration::from_secs(60)))
    });
    let (executive, _events, clock) = start(&[a, b]);
    let handle = executive.handle();
    let state = |name| handle.query(name).unwrap().state;
    until("the start", || {
        activations(&handle, ComponentName::DmpDownloader) == 1
    })
    .await;
    handle.stop(ComponentName::DmpDownloader).unwrap();
    until("the stop", || {
        state(ComponentName::DmpDownloader) == ComponentState::Stopped
    })
    .await;
    handle.wake(ComponentName::DmpDownloader);
    clock.advance(Duration::from_secs(60));
    until("the other's timer", || {
        activations(&handle, ComponentName::HierarchyManager) == 2
    })
    .await;
    assert_eq!(activations(&handle, ComponentName::DmpDownloader), 1);
    handle.start(ComponentName::DmpDownloader).unwrap();
    until("the start again", || {
        activations(&handle, ComponentName::DmpDownloader) >= 2
    })
    .await;
    let before = activations(&handle, ComponentName::DmpDownloader);
    handle.restart(ComponentName::DmpDownloader).unwrap();
    until("the restart", || {
        activations(&handle, ComponentName::DmpDownloader) > before
    })
    .await;
    assert!(handle.stop(ComponentName::StateSystem).is_err());
    executive.shut_down().await;
}

#[tokio::test]
async fn several_wake_ups_are_one_and_idleness_is_quiet() {
    let quiet = scripted(ComponentName::DmpDownloader, |_| Ok(Next::WhenWoken));
    let (executive, _events, clock) = start(&[quiet]);
    let handle = executive.handle();
    until("the start", || {
        activations(&handle, ComponentName::DmpDownloader) == 1
    })
    .await;
    clock.advance(Duration::from_secs(1_000_000));
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    assert_eq!(activations(&handle, ComponentName::DmpDownloader), 1);
    for _ in 0..10 {
        handle.wake(ComponentName::DmpDownloader);
    }
    until("the wake-up", || {
        activations(&handle, ComponentName::DmpDownloader) > 1
    })
    .await;
    for _ in 0..1_000 {
        tokio::task::yield_now().await;
    }
    // One for the waiter, and one for all that came after it.
    assert!(activations(&handle, ComponentName::DmpDownloader) <= 3);
    executive.shut_down().await;
}
