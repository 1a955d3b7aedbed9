//! The limit on what comes over the link to the feed: changed while downloads run, counted in bytes.

use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use domain::throttle::{Limit, Meter, Schedule, Verdict};
use executive::Clock;
use feed::transport::ByteStream;
use feed::{Kind, Response, Transport, TransportError};
use futures_util::future::BoxFuture;
use futures_util::stream;
use futures_util::{FutureExt, StreamExt};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use store::{StoreError, Tx};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Name of the setting with the rules.
const SETTING: &str = "throttle.feed";
/// A wait is cut into pieces of this length, so that the hour may change meanwhile.
const WAIT_AT_ONCE: Duration = Duration::from_secs(1);

/// A server may have given up on a connection on which nothing was read for so long.
const STARVED_AFTER: Duration = Duration::from_secs(5);

/// Limits of the link to the feed.
#[derive(Debug)]
pub struct Throttle {
    schedule: RwLock<Schedule>,
    meter: Mutex<Meter>,
    changed: Notify,
    /// Held from before new rules are stored until they are in force.
    changing: tokio::sync::Mutex<()>,
    zone: TimeZone,
    begin: Instant,
}

impl Throttle {
    /// The configured rules, by the hours of `zone`.
    pub fn open(tx: &Tx<'_>, zone: TimeZone) -> Result<Self, StoreError> {
        let rules = rules(tx)?;
        let schedule = Schedule::parse(&rules).unwrap_or_else(|failure| {
            // They were checked when they were stored; another release may have known more.
            tracing::error!("the rules of the throttle cannot be read, nothing is throttled: {failure}");
            Schedule::default()
        });
        Ok(Throttle {
            schedule: RwLock::new(schedule),
            meter: Mutex::default(),
            changed: Notify::new(),
            changing: tokio::sync::Mutex::default(),
            zone,
            begin: Instant::now(),
        })
    }

    /// To be held while rules are stored and put in force: of two changes, the one stored last is the one in force.
    pub async fn change(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// The zone of the site, by whose hours everything goes.
    pub fn zone(&self) -> &TimeZone {
        &self.zone
    }

    /// Puts a schedule in force, for transfers under way too.
    pub fn set(&self, schedule: Schedule) {
        *self.schedule.write().unwrap_or_else(PoisonError::into_inner) = schedule;
        self.changed.notify_waiters();
    }

    /// The schedule in force.
    pub fn schedule(&self) -> Schedule {
        self.schedule
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// The limit of this moment.
    pub fn limit(&self, now: Timestamp) -> Limit {
        let hour = self.hour(now);
        self.schedule
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .at(hour)
    }

    /// When something may come again: nothing if it may now, or never may.
    pub fn opens_at(&self, now: Timestamp) -> Option<Timestamp> {
        let hour = self.hour(now);
        let ahead = self.schedule().opens_after(hour).filter(|ahead| *ahead > 0)?;
        let local = now.to_zoned(self.zone.clone());
        let begin = local.date().at(local.hour(), 0, 0, 0);
        let opens = begin.checked_add(i64::try_from(ahead).ok()?.hours()).ok()?;
        Some(opens.to_zoned(self.zone.clone()).ok()?.timestamp())
    }

    /// The hour of the week at which this instant is here.
    fn hour(&self, now: Timestamp) -> usize {
        let local = now.to_zoned(self.zone.clone());
        let day = usize::try_from(local.weekday().to_monday_zero_offset()).unwrap_or_default();
        day * 24 + usize::try_from(local.hour()).unwrap_or_default()
    }

    /// Waits until some of the wanted bytes may pass and says how many; nothing in an hour that is closed.
    async fn pass(&self, clock: &Clock, wanted: u64) -> Option<u64> {
        loop {
            let changed = self.changed.notified();
            let limit = self.limit(clock.now());
            if limit == Limit::Closed {
                return None;
            }
            let verdict = {
                let mut meter = self.meter.lock().unwrap_or_else(PoisonError::into_inner);
                meter.pass(limit, self.begin.elapsed(), wanted)
            };
            match verdict {
                Verdict::Pass(bytes) => return Some(bytes),
                Verdict::Wait(wait) => {
                    tokio::select! {
                        () = tokio::time::sleep(wait.min(WAIT_AT_ONCE)) => {}
                        () = changed => {}
                    }
                }
            }
        }
    }

    /// What a transfer is told in an hour that is closed.
    fn closed(&self, now: Timestamp) -> TransportError {
        let opens = self.opens_at(now);
        let until = match opens {
            Some(opens) => format!("until {}", opens.to_zoned(self.zone.clone()).strftime("%a %H:%M")),
            None => "at all hours; see tidegate hierarchy throttle".to_owned(),
        };
        let wait = opens
            .map(|opens| opens.duration_since(now))
            .and_then(|wait| Duration::try_from(wait).ok());
        TransportError::Held {
            why: format!("the throttle of this site is closed {until}"),
            wait: wait.unwrap_or(Duration::from_secs(3600)),
        }
    }
}

/// The stored rules.
pub fn rules(tx: &Tx<'_>) -> Result<String, StoreError> {
    Ok(tx.setting(SETTING)?.unwrap_or_default())
}

/// Stores rules that were checked.
pub fn store_rules(tx: &Tx<'_>, rules: &str) -> Result<(), StoreError> {
    tx.set_setting(SETTING, (!rules.is_empty()).then_some(rules))
}

/// A way to the feed on which targets come no faster than the throttle lets them. Metadata is small and has deadlines of
/// its own.
pub struct Throttled {
    way: Arc<dyn Transport>,
    throttle: Arc<Throttle>,
    clock: Clock,
}

impl Throttled {
    /// The same way, throttled.
    pub fn new(way: Arc<dyn Transport>, throttle: Arc<Throttle>, clock: Clock) -> Self {
        Throttled { way, throttle, clock }
    }
}

impl Transport for Throttled {
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        if kind == Kind::Metadata {
            return self.way.fetch(kind, path, range);
        }
        async move {
            let now = self.clock.now();
            if self.throttle.limit(now) == Limit::Closed {
                return Err(self.throttle.closed(now));
            }
            let start = range.as_ref().map_or(0, |range| range.start);
            let end = range.as_ref().map(|range| range.end);
            let Response { length, body } = self.way.fetch(kind, path, range).await?;
            let paced = Paced {
                way: self.way.clone(),
                throttle: self.throttle.clone(),
                clock: self.clock.clone(),
                kind,
                path: path.to_owned(),
                body,
                came: start,
                end: end.or_else(|| length.map(|length| start + length)),
                rest: Bytes::new(),
                waited: Duration::ZERO,
            };
            let throttled = stream::unfold(paced, |mut paced| async move {
                let item = paced.next().await?;
                Some((item, paced))
            });
            let body = throttled.boxed();
            Ok(Response { length, body })
        }
        .boxed()
    }
}

/// A body that is let through piece by piece.
struct Paced {
    way: Arc<dyn Transport>,
    throttle: Arc<Throttle>,
    clock: Clock,
    kind: Kind,
    path: String,
    body: ByteStream,
    /// How far it came, let through or not.
    came: u64,
    /// Where it ends, if that is known.
    end: Option<u64>,
    /// What came and was not let through yet.
    rest: Bytes,
    /// How long it was made to wait since something came.
    waited: Duration,
}

impl Paced {
    async fn next(&mut self) -> Option<Result<Bytes, TransportError>> {
        // What comes may be empty, as the last frame of HTTP/2 often is: there is nothing to wait for then.
        while self.rest.is_empty() {
            self.rest = match self.more().await? {
                Ok(chunk) => chunk,
                Err(failure) => return Some(Err(failure)),
            };
            self.came += self.rest.len() as u64;
            if !self.rest.is_empty() {
                self.waited = Duration::ZERO;
            }
        }
        let begun = Instant::now();
        let passed = self.throttle.pass(&self.clock, self.rest.len() as u64).await;
        self.waited += begun.elapsed();
        Some(match passed {
            Some(bytes) => {
                let length = usize::try_from(bytes).unwrap_or(usize::MAX);
                Ok(self.rest.split_to(length.min(self.rest.len())))
            }
            None => Err(self.throttle.closed(self.clock.now())),
        })
    }

    /// What comes next. A server gives up on a connection that nobody reads; where that was our own doing, nothing
    /// failed: the rest is asked for anew.
    async fn more(&mut self) -> Option<Result<Bytes, TransportError>> {
        let came = self.body.next().await;
        match self.end {
            Some(end) if self.came < end && self.waited >= STARVED_AFTER && !matches!(came, Some(Ok(_))) => {
                let again = self.way.fetch(self.kind, &self.path, Some(self.came..end)).await;
                match again {
                    Ok(response) => self.body = response.body,
                    Err(failure) => return Some(Err(failure)),
                }
                self.body.next().await
            }
            _ => came,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// Gives up on whoever reads nothing for a minute, as servers do: with a failure, or with an end.
    struct Impatient {
        asked: AtomicU64,
        fails: bool,
    }

    impl Transport for Impatient {
        fn fetch<'a>(
            &'a self,
            _: Kind,
            _: &'a str,
            range: Option<Range<u64>>,
        ) -> BoxFuture<'a, Result<Response, TransportError>> {
            self.asked.fetch_add(1, Ordering::Relaxed);
            let fails = self.fails;
            let state = (range.unwrap(), Instant::now());
            let body = stream::unfold(state, move |(range, read_at)| async move {
                if range.is_empty() {
                    return None;
                }
                if read_at.elapsed() > Duration::from_secs(60) {
                    let broken = TransportError::Held {
                        why: "broken".into(),
                        wait: Duration::ZERO,
                    };
                    return fails.then_some((Err(broken), (0..0, read_at)));
                }
                // Each byte says where it belongs.
                let end = (range.start + 16_000).min(range.end);
                let chunk: Bytes = (range.start..end).map(|at| (at % 251) as u8).collect();
                Some((Ok(chunk), (end..range.end, Instant::now())))
            });
            let body = body.boxed();
            async move { Ok(Response { length: None, body }) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_gave_up_while_it_was_made_to_wait_is_asked_for_the_rest() {
        for fails in [true, false] {
            let (template, ..) = throttled("pulse 100 KB every 600 s");
            let source = Arc::new(Impatient {
                asked: AtomicU64::new(0),
                fails,
            });
            let way = Throttled::new(source.clone(), template.throttle.clone(), template.clock.clone());
            let mut body = body(&way, 1_000_000).await.unwrap();
            let mut got = Vec::new();
            while let Some(chunk) = body.next().await {
                got.extend_from_slice(&chunk.unwrap());
            }
            let expected: Vec<u8> = (0..1_000_000_u64).map(|at| (at % 251) as u8).collect();
            assert!(got == expected, "{} bytes came", got.len());
            let asked = source.asked.load(Ordering::Relaxed);
            assert!((5..20).contains(&asked), "{asked} requests");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_breaks_by_itself_is_a_failure() {
        let (way, ..) = throttled("100 MB/s");
        let source = Arc::new(Impatient {
            asked: AtomicU64::new(0),
            fails: true,
        });
        let way = Throttled::new(source.clone(), way.throttle.clone(), way.clock.clone());
        let mut body = body(&way, 1_000_000).await.unwrap();
        body.next().await.unwrap().unwrap();
        tokio::time::advance(Duration::from_secs(100)).await;
        let failed = body.any(async |chunk| chunk.is_err()).await;
        assert!(failed && source.asked.load(Ordering::Relaxed) == 1);
    }

    /// Gives as many bytes as are asked for, at once, in chunks as a network would.
    struct Endless(AtomicU64);

    impl Transport for Endless {
        fn fetch<'a>(
            &'a self,
            _: Kind,
            _: &'a str,
            range: Option<Range<u64>>,
        ) -> BoxFuture<'a, Result<Response, TransportError>> {
            self.0.fetch_add(1, Ordering::Relaxed);
            let range = range.unwrap_or(0..1000);
            let length = usize::try_from(range.end - range.start).unwrap();
            // HTTP/2 has frames without bytes, the last one often.
            let chunks: Vec<_> = Bytes::from(vec![7; length])
                .chunks(16_000)
                .flat_map(|chunk| [Ok(Bytes::copy_from_slice(chunk)), Ok(Bytes::new())])
                .collect();
            let body = stream::iter(chunks).boxed();
            async move { Ok(Response { length: None, body }) }.boxed()
        }
    }

    fn throttled(rules: &str) -> (Throttled, Arc<Endless>, Arc<Throttle>) {
        let throttle = Arc::new(Throttle {
            schedule: RwLock::new(Schedule::parse(rules).unwrap()),
            meter: Mutex::default(),
            changed: Notify::new(),
            changing: tokio::sync::Mutex::default(),
            zone: TimeZone::UTC,
            begin: Instant::now(),
        });
        // A Wednesday.
        let clock = Clock::Fake(executive::FakeClock::new("2026-11-18T10:30:00Z".parse().unwrap()));
        let endless = Arc::new(Endless(AtomicU64::new(0)));
        (
            Throttled::new(endless.clone(), throttle.clone(), clock),
            endless,
            throttle,
        )
    }

    async fn body(way: &Throttled, bytes: u64) -> Result<ByteStream, TransportError> {
        let response = way.fetch(Kind::Target, "packs/a.pack", Some(0..bytes)).await?;
        Ok(response.body)
    }

    /// Seconds, on tokio's clock, until so many bytes have come.
    async fn seconds(way: &Throttled, bytes: u64) -> f64 {
        let begin = Instant::now();
        let mut body = body(way, bytes).await.unwrap();
        let mut got = 0;
        while let Some(chunk) = body.next().await {
            got += chunk.unwrap().len() as u64;
        }
        assert_eq!(got, bytes);
        begin.elapsed().as_secs_f64()
    }

    #[tokio::test(start_paused = true)]
    async fn a_rate_is_held_over_a_minute_by_one_and_by_many() {
        let (way, ..) = throttled("1 MB/s");
        let took = seconds(&way, 60_000_000).await;
        assert!((58.2..61.8).contains(&took), "{took}");
        let all = futures_util::future::join_all((0..4).map(|_| seconds(&way, 15_000_000))).await;
        let took = all.into_iter().fold(0.0, f64::max);
        assert!((58.2..61.8).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_counts_at_once() {
        let (way, _, throttle) = throttled("pulse 100 KB every 3600 s");
        let changing = async {
            tokio::time::sleep(Duration::from_secs(10)).await;
            throttle.set(Schedule::parse("10 MB/s").unwrap());
        };
        let (took, ()) = tokio::join!(seconds(&way, 10_100_000), changing);
        assert!((10.9..11.2).contains(&took), "{took}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_hour_lets_nothing_through_and_says_until_when() {
        let (way, endless, throttle) = throttled("08-18 closed");
        let Err(failure) = body(&way, 10).await else {
            panic!("it is closed");
        };
        assert!(matches!(failure, TransportError::Held { .. }));
        assert!(failure.to_string().contains("until Wed 18:00"), "{failure}");
        assert_eq!(failure.retry_after(), Some(Duration::from_secs(7 * 3600 + 1800)));
        assert_eq!(endless.0.load(Ordering::Relaxed), 0, "nothing was asked for");
        throttle.set(Schedule::default());
        let mut body = body(&way, 40_000).await.unwrap();
        body.next().await.unwrap().unwrap();
        throttle.set(Schedule::parse("closed").unwrap());
        let failure = body.next().await.unwrap().unwrap_err();
        assert!(failure.to_string().contains("at all hours"), "{failure}");
    }
}
