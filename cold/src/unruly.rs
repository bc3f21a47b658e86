//! A store that misbehaves on order; for tests.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use fastrand::Rng;
use tokio::{sync::Notify, time::sleep};

use crate::store::{Answer, Listed, Source, Store, StoreError, StoreErrorKind, UploadId};

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misdeed {
    /// It is done, and reported as `Unknown`.
    LosesAnswer,
    /// It is reported as `Unknown`, and done after this time, whatever has become of the caller.
    ComesLate(Duration),
    /// It is done after this time; given up before, it is not done.
    Delays(Duration),
    /// It is not done, and there is no answer.
    Hangs,
    /// It is done, and there is no answer.
    HangsWhenDone,
    /// It is not done, and this is the answer.
    Answers(StoreErrorKind),
    /// A read gives fewer bytes than it should, without a word. Other calls are done.
    Shortens,
    /// A read gives other bytes, a stat another length. Other calls are done.
    Alters,
    /// A listing leaves out something that was made through this store, and has something that was
    /// deleted. Other calls are done.
    IsStale,
}

impl Misdeed {
    /// One of each kind.
    pub const ALL: [Self; 13] = [
        Self::LosesAnswer,
        Self::ComesLate(Duration::from_millis(500)),
        Self::Delays(Duration::from_secs(3)),
        Self::Hangs,
        Self::HangsWhenDone,
        Self::Answers(StoreErrorKind::Missing),
        Self::Answers(StoreErrorKind::Exists),
        Self::Answers(StoreErrorKind::Busy),
        Self::Answers(StoreErrorKind::Unknown),
        Self::Answers(StoreErrorKind::Denied),
        Self::Shortens,
        Self::Alters,
        Self::IsStale,
    ];
}

/// A store that does what another one does, but for the calls that are told to go wrong.
///
/// Calls are counted from 1 in the order in which they are first polled. What happens by chance is
/// decided by the seed and that order.
#[derive(Debug)]
pub struct Unruly {
    inner: Arc<dyn Store>,
    state: Mutex<State>,
    /// The store is no longer held.
    released: Notify,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    calls: u64,
    /// What goes wrong with which call.
    planned: BTreeMap<u64, Misdeed>,
    /// What goes wrong with all others.
    always: Option<Misdeed>,
    /// With how many of a thousand others something of this goes wrong.
    chance: (u32, Vec<Misdeed>),
    held: bool,
    waiting: usize,
    made: BTreeSet<String>,
    deleted: BTreeMap<String, u64>,
}

impl Unruly {
    /// A store that behaves, so far.
    pub fn new(inner: Arc<dyn Store>, seed: u64) -> Self {
        Self {
            inner,
            state: Mutex::new(State {
                rng: Rng::with_seed(seed),
                calls: 0,
                planned: BTreeMap::new(),
                always: None,
                chance: (0, Vec::new()),
                held: false,
                waiting: 0,
                made: BTreeSet::new(),
                deleted: BTreeMap::new(),
            }),
            released: Notify::new(),
        }
    }

    /// How many calls there have been.
    pub fn calls(&self) -> u64 {
        self.state().calls
    }

    /// The `nth` call from now goes wrong; 1 is the next one.
    pub fn nth(&self, nth: u64, misdeed: Misdeed) {
        let mut state = self.state();
        let call = state.calls + nth;
        state.planned.insert(call, misdeed);
    }

    /// Every call goes wrong from now on, but for those that are planned.
    pub fn always(&self, misdeed: Misdeed) {
        self.state().always = Some(misdeed);
    }

    /// Of a thousand calls so many go wrong, each in one of these ways.
    pub fn sometimes(&self, per_mille: u32, misdeeds: &[Misdeed]) {
        self.state().chance = (per_mille, misdeeds.to_vec());
    }

    /// The store behaves again. What is late comes all the same.
    pub fn behave(&self) {
        let mut state = self.state();
        state.planned.clear();
        state.always = None;
        state.chance = (0, Vec::new());
    }

    /// Calls wait, before anything is done, until they are released.
    pub fn hold(&self) {
        self.state().held = true;
    }

    /// Lets calls go on.
    pub fn release(&self) {
        self.state().held = false;
        self.released.notify_waiters();
    }

    /// How many calls are held now.
    pub fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// Passes the gate and says what goes wrong.
    async fn enter(&self) -> Option<Misdeed> {
        let misdeed = self.state().next();
        let mut waits = None;
        loop {
            let released = self.released.notified();
            tokio::pin!(released);
            released.as_mut().enable();
            if !self.state().held {
                break;
            }
            waits.get_or_insert_with(|| Waits::new(self));
            released.await;
        }
        drop(waits);
        if let Some(Misdeed::Delays(time)) = misdeed {
            sleep(time).await;
        }
        misdeed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn next(&mut self) -> Option<Misdeed> {
        self.calls += 1;
        let planned = self.planned.remove(&self.calls).or(self.always);
        let (per_mille, misdeeds) = &self.chance;
        if planned.is_some() || misdeeds.is_empty() || self.rng.u32(0..1_000) >= *per_mille {
            return planned;
        }
        self.rng.choice(misdeeds).copied()
    }

    fn altered(&mut self, bytes: &Bytes) -> Bytes {
        let mut bytes = bytes.to_vec();
        if !bytes.is_empty() {
            let at = self.rng.usize(0..bytes.len());
            bytes[at] ^= 1 << self.rng.u8(0..8);
        }
        bytes.into()
    }

    fn stale(&mut self, mut listed: Vec<Listed>, asked: &Asked<'_>) -> Vec<Listed> {
        let known = |listed: &Listed| self.made.contains(&listed.key);
        let candidates: Vec<usize> = (0..listed.len()).filter(|&at| known(&listed[at])).collect();
        if let Some(&at) = self.rng.choice(&candidates) {
            listed.remove(at);
        }
        let gone = self.deleted.iter().filter(|(key, _)| {
            key.starts_with(asked.prefix) && asked.after.is_none_or(|after| key.as_str() > after)
        });
        listed.extend(gone.map(|(key, &len)| Listed {
            key: key.clone(),
            len,
        }));
        listed.sort_unstable();
        listed.truncate(asked.most);
        listed
    }
}

struct Asked<'a> {
    prefix: &'a str,
    after: Option<&'a str>,
    most: usize,
}

struct Waits<'a>(&'a Unruly);

impl<'a> Waits<'a> {
    fn new(store: &'a Unruly) -> Self {
        store.state().waiting += 1;
        Self(store)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

fn misbehaved(what: &str, key: &str, kind: StoreErrorKind) -> StoreError {
    StoreError::new(kind, format!("{key}: {what}"))
}

/// Does a call that changes something, or not.
async fn change(
    misdeed: Option<Misdeed>,
    key: &str,
    done: impl Future<Output = Result<(), StoreError>> + Send + 'static,
) -> Result<(), StoreError> {
    match misdeed {
        Some(Misdeed::LosesAnswer) => {
            done.await?;
            Err(misbehaved("answer lost", key, StoreErrorKind::Unknown))
        }
        Some(Misdeed::ComesLate(time)) => {
            tokio::spawn(async move {
                sleep(time).await;
                // Nobody waits for the outcome.
                let _ = done.await;
            });
            Err(misbehaved("comes late", key, StoreErrorKind::Unknown))
        }
        Some(Misdeed::HangsWhenDone) => {
            done.await?;
            std::future::pending().await
        }
        Some(Misdeed::Hangs) => std::future::pending().await,
        Some(Misdeed::Answers(kind)) => Err(misbehaved("no, says the store", key, kind)),
        _ => done.await,
    }
}

/// Does a call that changes nothing, or not.
async fn look<T>(
    misdeed: Option<Misdeed>,
    key: &str,
    done: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match misdeed {
        Some(Misdeed::LosesAnswer | Misdeed::ComesLate(_)) => {
            Err(misbehaved("answer lost", key, StoreErrorKind::Unknown))
        }
        Some(Misdeed::Hangs | Misdeed::HangsWhenDone) => std::future::pending().await,
        Some(Misdeed::Answers(kind)) => Err(misbehaved("no, says the store", key, kind)),
        _ => done.await,
    }
}

impl Store for Unruly {
    fn place(&self) -> &str {
        self.inner.place()
    }

    fn is_durable(&self) -> bool {
        self.inner.is_durable()
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            self.state().made.insert(key.to_owned());
            let (inner, owned) = (Arc::clone(&self.inner), key.to_owned());
            let done = async move { inner.create(&owned, source).await };
            change(misdeed, key, done).await
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            self.state().made.insert(key.to_owned());
            let (inner, owned) = (Arc::clone(&self.inner), key.to_owned());
            let done = async move { inner.replace(&owned, bytes).await };
            change(misdeed, key, done).await
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            let bytes = look(misdeed, key, self.inner.read(key, range)).await?;
            match misdeed {
                Some(Misdeed::Shortens) => Ok(bytes.slice(..bytes.len() / 2)),
                Some(Misdeed::Alters) => Ok(self.state().altered(&bytes)),
                _ => Ok(bytes),
            }
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            let len = look(misdeed, key, self.inner.stat(key)).await?;
            match misdeed {
                Some(Misdeed::Alters) => Ok(len / 2),
                _ => Ok(len),
            }
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            if let Ok(len) = self.inner.stat(key).await {
                self.state().deleted.insert(key.to_owned(), len);
            }
            let (inner, owned) = (Arc::clone(&self.inner), key.to_owned());
            let done = async move { inner.delete(&owned).await };
            change(misdeed, key, done).await
        })
    }

    fn abort<'a>(&'a self, key: &'a str, id: &'a UploadId) -> Answer<'a, ()> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            let (inner, owned, id) = (Arc::clone(&self.inner), key.to_owned(), id.clone());
            let done = async move { inner.abort(&owned, &id).await };
            change(misdeed, key, done).await
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let misdeed = self.enter().await;
            let listed = look(misdeed, prefix, self.inner.list(prefix, after, most)).await?;
            let asked = Asked {
                prefix,
                after,
                most,
            };
            match misdeed {
                Some(Misdeed::IsStale) => Ok(self.state().stale(listed, &asked)),
                _ => Ok(listed),
            }
        })
    }
}
