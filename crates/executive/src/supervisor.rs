//! The loop around each component, and the handle that steers them by name.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use domain::component::{ComponentName, ComponentState};
use domain::schedule::{Backoff, later};
use futures_util::FutureExt;
use jiff::Timestamp;
use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::activation::{Activation, Component, Next, Report, Waiting};
use crate::clock::Clock;

/// Events that may wait for the observer; more are dropped and counted in the log.
const EVENTS_MAX: usize = 1_024;

/// How components are supervised.
#[derive(Debug, Clone)]
pub struct Supervision {
    /// Clock of every component.
    pub clock: Clock,
    /// Seed of every component's randomness.
    pub seed: u64,
    /// Waits after failures.
    pub backoff: Backoff,
    /// How long a component may take to end when it is stopped, before it is abandoned.
    pub stop_deadline: Duration,
}

impl Supervision {
    /// What a site uses: from 5 seconds doubling to 15 minutes, and 30 seconds to stop.
    pub fn new(clock: Clock, seed: u64) -> Self {
        let backoff = Backoff {
            first: Duration::from_secs(5),
            longest: Duration::from_secs(900),
        };
        Supervision {
            clock,
            seed,
            backoff,
            stop_deadline: Duration::from_secs(30),
        }
    }
}

/// What happened to a component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ExecutiveEvent {
    /// It began to run.
    Started(ComponentName),
    /// It was stopped.
    Stopped(ComponentName),
    /// An activation failed; the first of a row.
    Failed {
        /// Component.
        component: ComponentName,
        /// Why, with causes.
        failure: String,
        /// Next try.
        next_try: Timestamp,
    },
    /// An activation panicked.
    Panicked {
        /// Component.
        component: ComponentName,
        /// The panic's words.
        failure: String,
        /// Next try.
        next_try: Timestamp,
    },
    /// An activation succeeded after failures.
    Recovered(ComponentName),
}

/// How a component is now.
#[derive(Debug, Clone)]
pub struct ComponentSnapshot {
    /// Name.
    pub name: ComponentName,
    /// Stopped, started or paused after a failure.
    pub state: ComponentState,
    /// Whether an activation is under way.
    pub active: bool,
    /// Begin of the last activation.
    pub last_started: Option<Timestamp>,
    /// End of the last activation.
    pub last_finished: Option<Timestamp>,
    /// Summary or failure of the last activation.
    pub last_result: String,
    /// What it is doing, while active.
    pub activity: String,
    /// What it waits for.
    pub waiting: Option<Waiting>,
    /// Next activation by timer.
    pub next_activation: Option<Timestamp>,
    /// Failures in a row.
    pub failures_in_row: u32,
    /// Failures since the process began.
    pub failures: u64,
    /// Panics since the process began.
    pub panics: u64,
    /// Activations since the process began.
    pub activations: u64,
}

/// No component of that name runs here.
#[derive(Debug, thiserror::Error)]
#[error("{0} does not run on this server")]
pub struct UnknownComponent(pub ComponentName);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Desired {
    running: bool,
    /// Counts restarts.
    epoch: u64,
}

struct Supervised {
    component: Arc<dyn Component>,
    wake: Notify,
    desired: watch::Sender<Desired>,
    snapshot: Mutex<ComponentSnapshot>,
    activity: Mutex<String>,
}

impl Supervised {
    fn snapshot(&self) -> MutexGuard<'_, ComponentSnapshot> {
        self.snapshot.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

struct Inner {
    components: BTreeMap<ComponentName, Arc<Supervised>>,
    supervision: Supervision,
    shutdown: CancellationToken,
    events: mpsc::Sender<ExecutiveEvent>,
}

/// Steers components by name; clones steer the same ones.
#[derive(Clone)]
pub struct ExecutiveHandle {
    inner: Arc<Inner>,
}

/// The running components.
pub struct Executive {
    handle: ExecutiveHandle,
    tasks: TaskTracker,
}

impl Executive {
    /// Starts every component that is not listed as stopped. Events go to the returned receiver.
    pub fn start(
        components: Vec<Arc<dyn Component>>,
        stopped: &[ComponentName],
        supervision: Supervision,
    ) -> (Executive, mpsc::Receiver<ExecutiveEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS_MAX);
        let components: BTreeMap<ComponentName, Arc<Supervised>> = components
            .into_iter()
            .map(|component| {
                let name = component.name();
                let running = !stopped.contains(&name);
                (name, Arc::new(Supervised::new(component, name, running)))
            })
            .collect();
        let shutdown = CancellationToken::new();
        let handle = ExecutiveHandle {
            inner: Arc::new(Inner {
                components,
                supervision,
                shutdown,
                events,
            }),
        };
        let tasks = TaskTracker::new();
        for (index, supervised) in handle.inner.components.values().enumerate() {
            let (inner, supervised) = (handle.inner.clone(), supervised.clone());
            // Each component has its own stream of chance, so that one's use does not shift another's.
            let random = ChaCha8Rng::seed_from_u64(inner.supervision.seed.wrapping_add(index as u64));
            let span = tracing::info_span!("component", component = supervised.component.name().as_str());
            tasks.spawn(async move { supervise(&inner, &supervised, random).await }.instrument(span));
        }
        tasks.close();
        (Executive { handle, tasks }, receiver)
    }

    /// The handle to steer with.
    pub fn handle(&self) -> ExecutiveHandle {
        self.handle.clone()
    }

    /// Stops every component and waits for them, each no longer than its deadline.
    pub async fn shut_down(self) {
        self.handle.inner.shutdown.cancel();
        self.tasks.wait().await;
    }
}

impl Supervised {
    fn new(component: Arc<dyn Component>, name: ComponentName, running: bool) -> Self {
        Supervised {
            component,
            wake: Notify::new(),
            desired: watch::Sender::new(Desired { running, epoch: 0 }),
            snapshot: Mutex::new(ComponentSnapshot {
                name,
                state: ComponentState::Stopped,
                active: false,
                last_started: None,
                last_finished: None,
                last_result: String::new(),
                activity: String::new(),
                waiting: None,
                next_activation: None,
                failures_in_row: 0,
                failures: 0,
                panics: 0,
                activations: 0,
            }),
            activity: Mutex::default(),
        }
    }
}

impl ExecutiveHandle {
    fn get(&self, name: ComponentName) -> Result<&Arc<Supervised>, UnknownComponent> {
        self.inner.components.get(&name).ok_or(UnknownComponent(name))
    }

    /// Activates a component soon. Several wake-ups before it runs are one.
    pub fn wake(&self, name: ComponentName) {
        if let Ok(supervised) = self.get(name) {
            supervised.wake.notify_one();
        }
    }

    /// How a component is now.
    pub fn query(&self, name: ComponentName) -> Result<ComponentSnapshot, UnknownComponent> {
        let supervised = self.get(name)?;
        let mut snapshot = supervised.snapshot().clone();
        if snapshot.active {
            snapshot.activity = supervised
                .activity
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
        }
        Ok(snapshot)
    }

    /// How every component is now, by name.
    pub fn query_all(&self) -> Vec<ComponentSnapshot> {
        self.inner
            .components
            .keys()
            .filter_map(|name| self.query(*name).ok())
            .collect()
    }

    /// Asks a component to stop. It ends what it is doing first.
    pub fn stop(&self, name: ComponentName) -> Result<(), UnknownComponent> {
        self.get(name)?
            .desired
            .send_modify(|desired| desired.running = false);
        Ok(())
    }

    /// Starts a component that was stopped.
    pub fn start(&self, name: ComponentName) -> Result<(), UnknownComponent> {
        self.get(name)?
            .desired
            .send_modify(|desired| desired.running = true);
        Ok(())
    }

    /// Stops a component and starts it again.
    pub fn restart(&self, name: ComponentName) -> Result<(), UnknownComponent> {
        self.get(name)?.desired.send_modify(|desired| {
            desired.running = true;
            desired.epoch += 1;
        });
        Ok(())
    }
}

async fn supervise(inner: &Inner, supervised: &Supervised, mut random: ChaCha8Rng) {
    let mut desired = supervised.desired.subscribe();
    loop {
        let run = tokio::select! {
            wanted = desired.wait_for(|desired| desired.running) => wanted.map(|desired| *desired).ok(),
            () = inner.shutdown.cancelled() => None,
        };
        let Some(run) = run else { return };
        let name = supervised.component.name();
        tracing::info!("{name} started");
        supervised.snapshot().state = ComponentState::Started;
        inner.tell(ExecutiveEvent::Started(name));
        run_until_stopped(inner, supervised, &mut random, run).await;
        {
            let mut snapshot = supervised.snapshot();
            snapshot.state = ComponentState::Stopped;
            snapshot.waiting = None;
            snapshot.next_activation = None;
        }
        tracing::info!("{name} stopped");
        inner.tell(ExecutiveEvent::Stopped(name));
        if inner.shutdown.is_cancelled() {
            return;
        }
    }
}

/// Activates until the administrator or the end of the process wants otherwise.
async fn run_until_stopped(inner: &Inner, supervised: &Supervised, random: &mut ChaCha8Rng, run: Desired) {
    let clock = &inner.supervision.clock;
    let mut desired = supervised.desired.subscribe();
    loop {
        let cancelled = CancellationToken::new();
        let outcome = {
            let activation = activate(inner, supervised, random, cancelled.clone());
            tokio::pin!(activation);
            tokio::select! {
                outcome = &mut activation => Some(outcome),
                () = ended(inner, &mut desired, run) => {
                    cancelled.cancel();
                    tokio::time::timeout(inner.supervision.stop_deadline, activation).await.ok()
                }
            }
        };
        if cancelled.is_cancelled() {
            if outcome.is_none() {
                tracing::warn!("the activation did not end in time and was abandoned");
            }
            supervised.snapshot().active = false;
            return;
        }
        let Some(next) = outcome else { return };
        let timer = async {
            match next {
                Some(at) => clock.sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = timer => {}
            () = supervised.wake.notified() => {}
            () = ended(inner, &mut desired, run) => return,
        }
    }
}

/// Resolves when the component is no longer to run as it does.
async fn ended(inner: &Inner, desired: &mut watch::Receiver<Desired>, run: Desired) {
    tokio::select! {
        _ = desired.wait_for(|desired| *desired != run) => {}
        () = inner.shutdown.cancelled() => {}
    }
}

/// One activation with everything around it; returns when the next one is due by timer.
async fn activate(
    inner: &Inner,
    supervised: &Supervised,
    random: &mut ChaCha8Rng,
    cancelled: CancellationToken,
) -> Option<Timestamp> {
    let supervision = &inner.supervision;
    let clock = &supervision.clock;
    supervised
        .activity
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clear();
    {
        let mut snapshot = supervised.snapshot();
        snapshot.active = true;
        snapshot.activations += 1;
        snapshot.last_started = Some(clock.now());
    }
    let cx = Activation {
        clock,
        random: ChaCha8Rng::seed_from_u64(random.next_u64()),
        backoff: supervision.backoff,
        cancelled,
        activity: &supervised.activity,
    };
    let result = AssertUnwindSafe(async { supervised.component.activate(cx).await })
        .catch_unwind()
        .await;
    let now = clock.now();
    let outcome = match result {
        Ok(Ok(report)) => Outcome::Succeeded(report),
        Ok(Err(failure)) => Outcome::Failed(failure.to_string()),
        Err(panic) => Outcome::Panicked(panic_text(panic.as_ref())),
    };
    let name = supervised.component.name();
    let mut snapshot = supervised.snapshot();
    snapshot.active = false;
    snapshot.last_finished = Some(now);
    let (failure, panicked) = match outcome {
        Outcome::Succeeded(report) => {
            let recovered = snapshot.failures_in_row > 0;
            snapshot.failures_in_row = 0;
            snapshot.state = ComponentState::Started;
            snapshot.last_result = report.summary;
            snapshot.waiting = report.waiting;
            snapshot.next_activation = match report.next {
                Next::At(at) => Some(at),
                Next::After(wait) => Some(later(now, wait)),
                Next::WhenWoken => None,
            };
            let next = snapshot.next_activation;
            drop(snapshot);
            if recovered {
                tracing::info!("{name} works again");
                inner.tell(ExecutiveEvent::Recovered(name));
            }
            return next;
        }
        Outcome::Failed(failure) => (failure, false),
        Outcome::Panicked(failure) => (failure, true),
    };
    snapshot.failures_in_row += 1;
    snapshot.failures += 1;
    snapshot.panics += u64::from(panicked);
    snapshot.state = ComponentState::Paused;
    let wait = supervision
        .backoff
        .wait(snapshot.failures_in_row, random.next_u64());
    let next_try = later(now, wait);
    let first = snapshot.failures_in_row == 1;
    snapshot.last_result = failure.clone();
    snapshot.next_activation = Some(next_try);
    snapshot.waiting = Some(Waiting {
        what: format!("the next try after: {failure}"),
        since: now,
        next_try: Some(next_try),
        action: format!(
            "see {}; `tidegate component restart {name}` tries at once",
            name.log_file()
        ),
    });
    drop(snapshot);
    if panicked {
        tracing::error!("{name} crashed: {failure}; restart at {next_try}");
        inner.tell(ExecutiveEvent::Panicked {
            component: name,
            failure,
            next_try,
        });
    } else {
        tracing::warn!("{name} failed: {failure}; next try at {next_try}");
        if first {
            inner.tell(ExecutiveEvent::Failed {
                component: name,
                failure,
                next_try,
            });
        }
    }
    Some(next_try)
}

enum Outcome {
    Succeeded(Report),
    Failed(String),
    Panicked(String),
}

impl Inner {
    fn tell(&self, event: ExecutiveEvent) {
        if let Err(mpsc::error::TrySendError::Full(event)) = self.events.try_send(event) {
            tracing::warn!("an event of the executive had no room and was dropped: {event:?}");
        }
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".to_owned())
}
