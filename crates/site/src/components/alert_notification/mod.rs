//! SMS_ALERT_NOTIFICATION: tells others of the messages that status filter rules select.
//!
//! Alerts wait in a queue that is as durable as the messages. Each target gets its own in their order, one at a time
//! under a deadline: while the oldest waits for its next try, so do those behind it, so that a server that is down is
//! asked seldom and gets everything once it is back. Where only some receivers of a target refuse, the others get what
//! is behind. An alert is recorded as delivered after the target took it; a
//! crash in between sends it again with the same key. After some attempts, or a refusal that speaks of the alert
//! itself, it is given up, and that is told once for each target and activation.

mod deliver;

use std::sync::Arc;
use std::time::Duration;

use domain::component::ComponentName;
use domain::schedule::{Backoff, is_due, later};
use domain::status_message::StatusMessageId;
use domain::status_message::rules::AlertTarget;
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use store::{ALERTS_WAITING_MAX, AlertRow, StoreError};

use crate::context::SiteContext;
use deliver::{Deliveries, NotDelivered};

/// Attempts before an alert is given up. With the waits below, the last is more than two hours after the first.
const ATTEMPTS_MAX: u32 = 13;
/// Waits between attempts.
const BACKOFF: Backoff = Backoff {
    first: Duration::from_secs(10),
    longest: Duration::from_secs(60 * 60),
};
/// Alerts of one target in one activation, so that a long queue does not hold up a stop.
const BATCH: usize = 50;
/// No attempt is planned further ahead than this.
const WAIT_MAX: Duration = Duration::from_secs(60 * 60);
/// How long until it is looked again whether a target may be told.
const HELD: Duration = Duration::from_secs(5 * 60);
/// Looked at this often even if nothing wakes it.
const INTERVAL: Duration = Duration::from_secs(60 * 60);

/// The component.
pub struct AlertNotification {
    context: Arc<SiteContext>,
}

/// What became of the alerts of a target.
#[derive(Default)]
struct Outcome {
    delivered: u32,
    given_up: u32,
    /// Why the last one was given up.
    why: String,
    /// When the target is tried again, and why not before.
    held: Option<(Timestamp, String)>,
    /// There is more to do at once.
    more: bool,
}

impl Outcome {
    /// Something waits until then; the soonest counts.
    fn hold(&mut self, next: Timestamp, why: String) {
        if self.held.as_ref().is_none_or(|(sooner, _)| next < *sooner) {
            self.held = Some((next, why));
        }
    }
}

impl AlertNotification {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        AlertNotification { context }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        let deliveries = Deliveries::new(&self.context);
        let (mut delivered, mut given_up, mut more) = (0, 0, false);
        let mut held: Option<(Timestamp, String)> = None;
        for target in AlertTarget::ALL {
            let outcome = self.serve(cx, &deliveries, target).await?;
            if outcome.given_up > 0 {
                let strings = [
                    outcome.given_up.to_string(),
                    target.as_str().to_owned(),
                    outcome.why,
                ];
                let strings = strings.each_ref().map(String::as_str);
                self.context
                    .raise(StatusMessageId::AlertsGivenUp, &strings, cx.now())
                    .await?;
            }
            delivered += outcome.delivered;
            given_up += outcome.given_up;
            more |= outcome.more;
            if let Some((next, why)) = outcome.held {
                let why = format!("{}: {why}", target.as_str());
                held = Some(match held {
                    Some((sooner, reason)) if sooner <= next => (sooner, reason),
                    Some(_) | None => (next, why),
                });
            }
        }
        let next = match (more, &held) {
            (true, _) => Next::After(Duration::from_millis(10)),
            (false, Some((next, _))) => Next::At(*next),
            (false, None) => Next::After(INTERVAL),
        };
        let now = cx.now();
        Ok(Report {
            summary: format!("{delivered} alert(s) delivered, {given_up} given up"),
            next,
            waiting: held.map(|(next, what)| Waiting {
                what,
                since: now,
                next_try: Some(next),
                action: "`tidegate status alerts` shows what waits and why".into(),
            }),
        })
    }

    /// Delivers what waits for a target, oldest first, until one has to wait.
    async fn serve(
        &self,
        cx: &mut Activation<'_>,
        deliveries: &Deliveries<'_>,
        target: AlertTarget,
    ) -> Result<Outcome, ComponentError> {
        let mut outcome = Outcome::default();
        let waiting = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.alerts_waiting(target, ALERTS_WAITING_MAX as u32))
            .await?;
        if !waiting.is_empty()
            && let Some(why) = deliveries.held_back(target)
        {
            outcome.held = Some((later(cx.now(), HELD), why.to_owned()));
            return Ok(outcome);
        }
        let mut tried = 0;
        for alert in waiting {
            if !is_due(Some(alert.next_attempt_at), cx.now(), WAIT_MAX) {
                let why = alert.failure.unwrap_or_else(|| "not due yet".to_owned());
                outcome.hold(alert.next_attempt_at, why);
                if alert.taken_by.is_empty() {
                    break;
                }
                continue;
            }
            if tried == BATCH {
                outcome.more = true;
                break;
            }
            tried += 1;
            cx.progress(format!("telling {} of alert {}", target.as_str(), alert.id));
            let result = tokio::select! {
                result = deliveries.deliver(target, &alert) => result,
                () = cx.cancelled().cancelled() => break,
            };
            if !self.record(cx, &alert, result, &mut outcome).await? {
                break;
            }
        }
        outcome.more &= !cx.cancelled().is_cancelled();
        Ok(outcome)
    }

    /// Records how an attempt ended; says whether the next alert may be tried.
    async fn record(
        &self,
        cx: &mut Activation<'_>,
        alert: &AlertRow,
        result: Result<(), NotDelivered>,
        outcome: &mut Outcome,
    ) -> Result<bool, ComponentError> {
        let (now, id) = (cx.now(), alert.id);
        let failure = match result {
            Ok(()) => {
                outcome.delivered += 1;
                self.context
                    .store
                    .write::<_, StoreError, _>(move |tx| tx.alert_delivered(id, now))
                    .await?;
                return Ok(true);
            }
            Err(failure) => failure,
        };
        let attempts = alert.attempts + 1;
        tracing::warn!(
            "alert {id} was not delivered, attempt {attempts}: {}",
            failure.why
        );
        let again = failure.may_pass && attempts < ATTEMPTS_MAX;
        let next = again.then(|| {
            let wait = BACKOFF.wait(attempts, cx.random());
            let asked = failure.retry_after.unwrap_or_default();
            let next = later(now, wait.max(asked).min(WAIT_MAX));
            // As the store keeps it: activated at that very instant, the alert is due.
            Timestamp::from_millisecond(next.as_millisecond()).unwrap_or(next)
        });
        let why = failure.why.clone();
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| tx.alert_failed(id, &why, next, now))
            .await?;
        match next {
            Some(next) => {
                outcome.hold(next, failure.why);
                Ok(failure.only_some)
            }
            None => {
                outcome.given_up += 1;
                outcome.why = failure.why;
                Ok(true)
            }
        }
    }
}

impl Component for AlertNotification {
    fn name(&self) -> ComponentName {
        ComponentName::AlertNotification
    }

    fn activate<'a>(&'a self, mut cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&mut cx).await }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_tried_for_more_than_two_hours_even_with_the_shortest_waits() {
        let shortest: Duration = (1..ATTEMPTS_MAX)
            .map(|failures| BACKOFF.wait(failures, 0).min(WAIT_MAX))
            .sum();
        assert!(shortest > Duration::from_secs(2 * 60 * 60), "{shortest:?}");
    }
}
