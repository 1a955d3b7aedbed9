//! One repository at several places. What a place cannot deliver comes from the next, in the middle of a body too; since
//! everything is verified, no place has to be trusted more than another.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};

use super::{ByteStream, Kind, Response, Transport, TransportError};

/// Reads from the first place that delivers and stays with it.
#[derive(Clone)]
pub struct Mirrors(Arc<Places>);

struct Places {
    places: Vec<Arc<dyn Transport>>,
    /// Number of the place that targets are asked of first.
    current: AtomicUsize,
}

impl Mirrors {
    /// Metadata is asked of the first place first; targets of number `begin`, counted round.
    pub fn new(places: Vec<Arc<dyn Transport>>, begin: usize) -> Self {
        let current = AtomicUsize::new(begin % places.len().max(1));
        Mirrors(Arc::new(Places { places, current }))
    }
}

impl Transport for Mirrors {
    fn fetch<'a>(
        &'a self,
        kind: Kind,
        path: &'a str,
        range: Option<Range<u64>>,
    ) -> BoxFuture<'a, Result<Response, TransportError>> {
        let begin = match kind {
            Kind::Metadata => 0,
            Kind::Target => self.0.current.load(Ordering::Relaxed),
        };
        async move {
            let (place, response) = self.0.open(kind, path, range.clone(), begin, 0).await?;
            let length = response.length;
            let body = match range {
                Some(range) if kind == Kind::Target => Whole {
                    places: self.0.clone(),
                    path: path.to_owned(),
                    range,
                    place,
                    body: Some(response.body),
                    changes: 0,
                }
                .stream(),
                _ => response.body,
            };
            Ok(Response { length, body })
        }
        .boxed()
    }
}

impl Places {
    /// Asks each place that was not asked yet, from `begin` on. The first failure is the one that is told: the others
    /// are second choices.
    async fn open(
        &self,
        kind: Kind,
        path: &str,
        range: Option<Range<u64>>,
        begin: usize,
        asked: usize,
    ) -> Result<(usize, Response), TransportError> {
        let mut first = None;
        for step in 0..self.places.len().saturating_sub(asked) {
            let place = (begin + step) % self.places.len();
            match self.places[place].fetch(kind, path, range.clone()).await {
                Ok(response) => {
                    if kind == Kind::Target {
                        self.current.store(place, Ordering::Relaxed);
                    }
                    return Ok((place, response));
                }
                // That there is no newer root is an answer, and no path becomes good elsewhere.
                Err(failure) if kind == Kind::Metadata && failure.is_absent() => return Err(failure),
                Err(failure @ TransportError::InvalidPath { .. }) => return Err(failure),
                Err(failure) => {
                    if self.places.len() > 1 {
                        tracing::info!("{failure}; the next place of the feed is asked");
                    }
                    first.get_or_insert(failure);
                }
            }
        }
        Err(first.unwrap_or(TransportError::NotFound { url: path.to_owned() }))
    }
}

/// A range that goes on at another place where one breaks off.
struct Whole {
    places: Arc<Places>,
    path: String,
    /// What is still to come.
    range: Range<u64>,
    place: usize,
    body: Option<ByteStream>,
    /// How often it changed places; each may break off once.
    changes: usize,
}

impl Whole {
    fn stream(self) -> ByteStream {
        stream::unfold(self, |mut whole| async move {
            loop {
                let failure = match whole.body.as_mut()?.next().await {
                    Some(Ok(chunk)) => {
                        let came = (chunk.len() as u64).min(whole.range.end - whole.range.start);
                        whole.range.start += came;
                        return Some((Ok(chunk), whole));
                    }
                    None if whole.range.is_empty() => return None,
                    // The reader tells that it ended early where there is nowhere else to go.
                    None => None,
                    Some(Err(failure)) => Some(failure),
                };
                whole.changes += 1;
                let next = (whole.place + 1) % whole.places.places.len();
                let rest = Some(whole.range.clone());
                match whole
                    .places
                    .open(Kind::Target, &whole.path, rest, next, whole.changes)
                    .await
                {
                    Ok((place, response)) => {
                        whole.place = place;
                        whole.body = Some(response.body);
                    }
                    Err(_) => {
                        whole.body = None;
                        return Some((Err(failure?), whole));
                    }
                }
            }
        })
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use bytes::Bytes;

    use super::*;

    /// A place that says no, or breaks off after so many bytes of each answer.
    struct Place {
        up: bool,
        bytes_max: usize,
        asked: Mutex<Vec<Range<u64>>>,
    }

    impl Place {
        fn new(up: bool, bytes_max: usize) -> Arc<Self> {
            Arc::new(Place {
                up,
                bytes_max,
                asked: Mutex::default(),
            })
        }
    }

    impl Transport for Place {
        fn fetch<'a>(
            &'a self,
            _: Kind,
            path: &'a str,
            range: Option<Range<u64>>,
        ) -> BoxFuture<'a, Result<Response, TransportError>> {
            let range = range.unwrap_or(0..100);
            self.asked.lock().unwrap().push(range.clone());
            let url = path.to_owned();
            if !self.up {
                return async move { Err(TransportError::Timeout { url }) }.boxed();
            }
            let bytes: Vec<u8> = range.map(|at| at as u8).collect();
            let cut = bytes.len() > self.bytes_max;
            let mut chunks: Vec<Result<Bytes, TransportError>> = bytes[..bytes.len().min(self.bytes_max)]
                .chunks(7)
                .map(|chunk| Ok(Bytes::copy_from_slice(chunk)))
                .collect();
            if cut {
                chunks.push(Err(TransportError::Timeout { url }));
            }
            let body = stream::iter(chunks).boxed();
            async move { Ok(Response { length: None, body }) }.boxed()
        }
    }

    async fn read(mirrors: &Mirrors, range: Range<u64>) -> Result<Vec<u8>, TransportError> {
        let mut body = mirrors.fetch(Kind::Target, "packs/a", Some(range)).await?.body;
        let mut bytes = Vec::new();
        while let Some(chunk) = body.next().await {
            bytes.extend_from_slice(&chunk?);
        }
        Ok(bytes)
    }

    fn mirrors(places: &[Arc<Place>], begin: usize) -> Mirrors {
        let places = places.iter().map(|place| place.clone() as Arc<dyn Transport>);
        Mirrors::new(places.collect(), begin)
    }

    #[tokio::test]
    async fn a_dead_place_is_passed_over_and_not_asked_again() {
        let places = [Place::new(false, 0), Place::new(true, 1000)];
        let mirrors = mirrors(&places, 0);
        assert_eq!(read(&mirrors, 3..9).await.unwrap(), [3, 4, 5, 6, 7, 8]);
        read(&mirrors, 0..50).await.unwrap();
        assert_eq!(places[0].asked.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_body_that_breaks_off_goes_on_elsewhere_without_a_byte_twice() {
        let places = [Place::new(true, 20), Place::new(true, 30), Place::new(true, 1000)];
        let mirrors = mirrors(&places, 0);
        let bytes = read(&mirrors, 10..110).await.unwrap();
        assert_eq!(bytes, (10..110).collect::<Vec<u8>>());
        let asked: Vec<Vec<(u64, u64)>> = places
            .iter()
            .map(|place| {
                place.asked.lock().unwrap()[..]
                    .iter()
                    .map(|range| (range.start, range.end))
                    .collect()
            })
            .collect();
        assert_eq!(asked, [vec![(10, 110)], vec![(30, 110)], vec![(60, 110)]]);
    }

    #[tokio::test]
    async fn where_every_place_fails_the_first_failure_is_told() {
        let places = [Place::new(true, 20), Place::new(false, 0)];
        let failed = read(&mirrors(&places, 0), 0..100).await.unwrap_err();
        assert!(matches!(failed, TransportError::Timeout { .. }), "{failed}");
        assert_eq!(places[0].asked.lock().unwrap().len(), 1, "each is asked once");
        let dead = [Place::new(false, 0), Place::new(false, 0)];
        read(&mirrors(&dead, 1), 0..100).await.unwrap_err();
        assert_eq!(dead[0].asked.lock().unwrap().len(), 1);
    }
}
