//! A bucket that outlives processes: each call takes its time, and some go wrong.

use std::{
    collections::BTreeMap,
    fmt,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use tierlog::testing::cold::{
    store::{Answer, Listed, Source, Store, StoreError, StoreErrorKind},
    unruly::Misdeed,
};
use tokio::time::sleep;

use crate::{clock::Time, points::Points, trace::Trace};

/// What a bucket does to those who call it.
#[derive(Debug, Clone, Default)]
pub struct Manners {
    /// The longest time that a call takes.
    pub latency: Duration,
    /// Of a thousand calls, so many go wrong.
    pub per_mille: u32,
    /// In one of these ways.
    pub misdeeds: Vec<Misdeed>,
    /// Nobody gets through.
    pub down: bool,
}

/// A bucket. A clone is the same.
#[derive(Clone)]
pub struct Bucket(Arc<Inner>);

struct Inner {
    state: Mutex<State>,
    time: Arc<Time>,
    trace: Trace,
    points: Points,
}

struct State {
    objects: BTreeMap<String, Bytes>,
    deleted: BTreeMap<String, u64>,
    /// What is done later, whatever has become of who asked for it.
    late: Vec<(u64, Change)>,
    manners: Manners,
    rng: Rng,
}

#[derive(Debug, Clone)]
enum Change {
    Create(String, Bytes),
    Replace(String, Bytes),
    Delete(String),
}

impl Change {
    fn words(&self) -> (&'static str, &str) {
        match self {
            Self::Create(key, _) => ("create", key),
            Self::Replace(key, _) => ("replace", key),
            Self::Delete(key) => ("delete", key),
        }
    }
}

impl State {
    fn apply(&mut self, change: Change) -> Result<(), StoreError> {
        match change {
            Change::Create(key, _) if self.objects.contains_key(&key) => {
                let what = format!("{key} is there");
                return Err(StoreError::new(StoreErrorKind::Exists, what));
            }
            Change::Create(key, bytes) | Change::Replace(key, bytes) => {
                self.objects.insert(key, bytes);
            }
            Change::Delete(key) => {
                if let Some(bytes) = self.objects.remove(&key) {
                    self.deleted.insert(key, bytes.len() as u64);
                }
            }
        }
        Ok(())
    }

    fn apply_late(&mut self, now: u64) {
        let mut at = 0;
        while at < self.late.len() {
            if self.late[at].0 > now {
                at += 1;
                continue;
            }
            let (_, change) = self.late.remove(at);
            // Nobody waits for the outcome.
            let _ = self.apply(change);
        }
    }

    fn misdeed(&mut self) -> Option<Misdeed> {
        let goes_wrong = self.rng.u32(0..1_000) < self.manners.per_mille;
        goes_wrong
            .then(|| self.rng.choice(self.manners.misdeeds.iter()).copied())
            .flatten()
    }

    fn object(&self, key: &str) -> Result<Bytes, StoreError> {
        let missing = || StoreError::new(StoreErrorKind::Missing, format!("there is no {key}"));
        self.objects.get(key).cloned().ok_or_else(missing)
    }

    fn altered(&mut self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() {
            let at = self.rng.usize(0..bytes.len());
            bytes[at] ^= 1 << self.rng.u8(0..8);
        }
        bytes.into()
    }
}

impl Bucket {
    /// An empty one that behaves.
    pub fn new(seed: u64, time: Arc<Time>, trace: Trace, points: Points) -> Self {
        let state = State {
            objects: BTreeMap::new(),
            deleted: BTreeMap::new(),
            late: Vec::new(),
            manners: Manners::default(),
            rng: Rng::with_seed(seed),
        };
        Self(Arc::new(Inner {
            state: Mutex::new(state),
            time,
            trace,
            points,
        }))
    }

    /// How it behaves from now on.
    pub fn behave(&self, change: impl FnOnce(&mut Manners)) {
        change(&mut self.state().manners);
    }

    /// Puts an object there behind everybody's back.
    pub fn put(&self, key: &str, bytes: impl Into<Bytes>) {
        self.state().objects.insert(key.to_owned(), bytes.into());
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn told(&self, op: &str, key: &str, how: &dyn fmt::Debug) {
        self.0
            .trace
            .say("store", format_args!("{op} {key}: {how:?}"));
    }

    /// A call arrives; what goes wrong with it, if anything does.
    async fn enter(&self, op: &'static str, key: &str) -> Result<Option<Misdeed>, StoreError> {
        let latency = {
            let mut state = self.state();
            let most = u64::try_from(state.manners.latency.as_micros()).expect("a short time");
            Duration::from_micros(state.rng.u64(0..=most))
        };
        if latency.is_zero() {
            tokio::task::yield_now().await;
        } else {
            sleep(latency).await;
        }
        let now = self.0.time.micros();
        let (down, misdeed) = {
            let mut state = self.state();
            state.apply_late(now);
            (state.manners.down, state.misdeed())
        };
        if down {
            self.0.points.pass("trouble: the bucket is out of reach");
            let what = format!("{op} of {key}: out of reach");
            return Err(StoreError::new(StoreErrorKind::Unknown, what));
        }
        if let Some(misdeed) = misdeed {
            self.0.points.pass(format!("misdeed: {}", name(misdeed)));
            self.told(op, key, &misdeed);
        } else {
            self.told(op, key, &"ok");
        }
        if let Some(Misdeed::Delays(time)) = misdeed {
            sleep(time).await;
        }
        Ok(misdeed)
    }

    async fn change(&self, change: Change) -> Result<(), StoreError> {
        let (op, key) = change.words();
        let key = key.to_owned();
        let misdeed = self.enter(op, &key).await?;
        let unknown = |what: &str| {
            let what = format!("{op} of {key}: {what}");
            Err(StoreError::new(StoreErrorKind::Unknown, what))
        };
        match misdeed {
            Some(Misdeed::LosesAnswer) => {
                self.state().apply(change)?;
                unknown("the answer is lost")
            }
            Some(Misdeed::ComesLate(after)) => {
                let micros = u64::try_from(after.as_micros()).expect("a short time");
                let due = self.0.time.micros() + micros;
                self.state().late.push((due, change));
                unknown("it is on its way")
            }
            Some(Misdeed::HangsWhenDone) => {
                self.state().apply(change)?;
                std::future::pending().await
            }
            Some(Misdeed::Hangs) => std::future::pending().await,
            Some(Misdeed::Answers(kind)) => Err(refused(op, &key, kind)),
            _ => self.state().apply(change),
        }
    }

    async fn look<T>(
        &self,
        op: &'static str,
        key: &str,
        look: impl FnOnce(&mut State, Option<Misdeed>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let misdeed = self.enter(op, key).await?;
        match misdeed {
            Some(Misdeed::LosesAnswer | Misdeed::ComesLate(_)) => {
                Err(refused(op, key, StoreErrorKind::Unknown))
            }
            Some(Misdeed::Hangs | Misdeed::HangsWhenDone) => std::future::pending().await,
            Some(Misdeed::Answers(kind)) => Err(refused(op, key, kind)),
            _ => look(&mut self.state(), misdeed),
        }
    }
}

fn name(misdeed: Misdeed) -> String {
    match misdeed {
        Misdeed::ComesLate(_) => "ComesLate".to_owned(),
        Misdeed::Delays(_) => "Delays".to_owned(),
        other => format!("{other:?}"),
    }
}

fn refused(op: &str, key: &str, kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, format!("{op} of {key}: no, says the store"))
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").finish_non_exhaustive()
    }
}

impl Store for Bucket {
    fn place(&self) -> &str {
        "seeds://bucket"
    }

    fn is_durable(&self) -> bool {
        true
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            let read = source.read(0..source.len()).await;
            let failed = |error| StoreError::new(StoreErrorKind::Source, format!("{error}"));
            let bytes = read.map_err(failed)?;
            // What the source shares may be bytes that change.
            let bytes = Bytes::copy_from_slice(&bytes);
            self.change(Change::Create(key.to_owned(), bytes)).await
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(self.change(Change::Replace(key.to_owned(), bytes)))
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(self.look("read", key, move |state, misdeed| {
            let bytes = state.object(key)?;
            let len = bytes.len() as u64;
            if range.end > len {
                let what = format!("{key} has {len} bytes");
                return Err(StoreError::new(StoreErrorKind::Short, what));
            }
            let at = |pos: u64| usize::try_from(pos).expect("it is in memory");
            let bytes = bytes.slice(at(range.start)..at(range.end));
            Ok(match misdeed {
                Some(Misdeed::Shortens) => bytes.slice(..bytes.len() / 2),
                Some(Misdeed::Alters) => state.altered(&bytes),
                _ => bytes,
            })
        }))
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(self.look("stat", key, move |state, misdeed| {
            let len = state.object(key)?.len() as u64;
            match misdeed {
                Some(Misdeed::Alters) => Ok(len / 2),
                _ => Ok(len),
            }
        }))
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(self.change(Change::Delete(key.to_owned())))
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        Box::pin(self.look("list", prefix, move |state, misdeed| {
            let wanted = |key: &str| key.starts_with(prefix) && after.is_none_or(|a| key > a);
            let listed = |(key, len): (&String, u64)| Listed {
                key: key.clone(),
                len,
            };
            let objects = state.objects.iter().filter(|(key, _)| wanted(key));
            let objects = objects.map(|(key, bytes)| (key, bytes.len() as u64));
            let mut found: Vec<Listed> = objects.map(listed).collect();
            if misdeed == Some(Misdeed::IsStale) {
                if !found.is_empty() {
                    let at = state.rng.usize(0..found.len());
                    found.remove(at);
                }
                let gone = state.deleted.iter().filter(|(key, _)| wanted(key));
                found.extend(gone.map(|(key, len)| listed((key, *len))));
                found.sort_unstable();
                found.dedup_by(|a, b| a.key == b.key);
            }
            found.truncate(most);
            Ok(found)
        }))
    }
}
