//! A store with patience: deadlines, retries, a breaker, and outcomes that are known.
//!
//! A [`Store`] makes one attempt, whose outcome may be unknown. A [`Client`] makes several, asks no
//! more of a store that keeps failing, and settles what is unknown by reading back.

use std::{future::Future, ops::Range, sync::Arc};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

pub use crate::store::Created;
use crate::store::{Answer, Listed, Source, Store, StoreError, StoreErrorKind, UploadId};

mod breaker;
mod gate;
mod large;
mod objects;
mod policy;
mod retry;
mod small;
mod watch;

pub use breaker::Phase;
pub use gate::BreakerState;
pub use policy::Policy;
pub use watch::{Op, Unwatched, Watch};

use self::{breaker::Sign, gate::Gate, retry::Next};

/// A cheap clone that makes calls of one store.
///
/// ```text
///  a call ─▶ breaker ─▶ attempt, within its deadline ─▶ answered ─▶ outcome
///               │ open              ▲     │ Busy, Unknown, no answer
///               ▼                   └─────┴─ wait, doubled each time, with jitter
///             Busy, or the last failure if there was an attempt
/// ```
///
/// A call that is refused by the breaker fails with `Busy` at once; [`ready`](Self::ready) tells when
/// to try again. Any failure that comes of a call to create is `Unknown` if it may have been done.
/// Dropping a future gives the call up; whether it happens all the same is unknown.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Arc<dyn Store>,
    policy: Policy,
    gate: Gate,
    watch: Arc<dyn Watch>,
}

/// What came of creating a large object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Large {
    /// It is there, with these bytes.
    Done,
    /// There is one with other bytes.
    Taken,
}

/// Why an attempt failed.
enum Failed {
    /// It was not made.
    Refused(StoreError),
    /// It was made.
    Made(StoreError),
}

impl Client {
    /// A client of a store.
    pub fn new(store: Arc<dyn Store>, policy: Policy, watch: Arc<dyn Watch>) -> Self {
        let gate = Gate::new(policy, Arc::clone(&watch));
        Self {
            shared: Arc::new(Shared {
                store,
                policy,
                gate,
                watch,
            }),
        }
    }

    /// Where the store is, for people.
    pub fn place(&self) -> &str {
        self.shared.store.place()
    }

    /// Whether what the store holds outlives the process.
    pub fn is_durable(&self) -> bool {
        self.shared.store.is_durable()
    }

    /// What is thought of the store.
    pub fn state(&self) -> BreakerState {
        self.shared.gate.state()
    }

    /// Comes back when the breaker would let a call through; somebody else may be faster then.
    pub async fn ready(&self) {
        self.shared.gate.ready().await;
    }

    /// Exactly these bytes of an object.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        let len = range.end.saturating_sub(range.start);
        let read = || async {
            let bytes = self.shared.store.read(key, range.clone()).await?;
            match bytes.len() as u64 == len {
                true => Ok(bytes),
                false => Err(StoreError::new(
                    StoreErrorKind::Unknown,
                    format!("{key}: {} bytes came instead of {len}", bytes.len()),
                )),
            }
        };
        let short = match self.call(Op::Read, key, len, read).await {
            Err(error) if error.kind == StoreErrorKind::Short => error,
            done => return done,
        };
        // An answer that was cut off on its way looks the same; an object that is short stays so.
        let is_there = self.stat(key).await?;
        match range.end <= is_there {
            true => self.call(Op::Read, key, len, read).await,
            false => Err(short),
        }
    }

    /// All of an object that is no longer than `at_most`; a longer one is `Unsupported`, before memory
    /// is spent on it.
    pub async fn get(&self, key: &str, at_most: u64) -> Result<Bytes, StoreError> {
        let mut last = None;
        // Shortened between the two calls, as by a tombstone, it is looked at anew.
        for _ in 0..2 {
            let len = self.stat(key).await?;
            if len > at_most {
                let what = format!("{key} has {len} bytes, and {at_most} are the most here");
                return Err(StoreError::new(StoreErrorKind::Unsupported, what));
            }
            match self.read(key, 0..len).await {
                Err(error) if error.kind == StoreErrorKind::Short => last = Some(error),
                done => return done,
            }
        }
        Err(last.unwrap_or_else(|| StoreError::new(StoreErrorKind::Short, key)))
    }

    /// The length of an object.
    pub async fn stat(&self, key: &str) -> Result<u64, StoreError> {
        self.call(Op::Stat, key, 0, || self.shared.store.stat(key))
            .await
    }

    /// Puts a small object in the place of whatever is there.
    pub async fn replace(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let len = bytes.len() as u64;
        let replace = || self.shared.store.replace(key, bytes.clone());
        self.call(Op::Replace, key, len, replace).await
    }

    /// Removes an object. One that is not there is no error.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.call(Op::Delete, key, 0, || self.shared.store.delete(key))
            .await
    }

    /// Takes back what is left of an upload in parts. One that the store does not know is no error.
    pub async fn abort(&self, key: &str, id: &UploadId) -> Result<(), StoreError> {
        self.call(Op::Abort, key, 0, || self.shared.store.abort(key, id))
            .await
    }

    /// Up to `most` objects whose key begins with `prefix` and is greater than `after`, in order. It
    /// may be stale, in both directions.
    pub async fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> Result<Vec<Listed>, StoreError> {
        let list = || self.shared.store.list(prefix, after, most);
        self.call(Op::List, prefix, 0, list).await
    }

    /// Makes a call until it is answered or given up.
    async fn call<T, F>(
        &self,
        op: Op,
        key: &str,
        len: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let mut tries = Tries::new(self, op);
        loop {
            match self.attempt(op, key, len, &attempt).await {
                Ok(done) => return Ok(done),
                Err(failed) => tries.after(failed).await?,
            }
        }
    }

    /// Creates without looking whose an object is: `Exists` is an answer of the store itself.
    pub(crate) async fn create_bluntly(&self, key: &str, bytes: Bytes) -> Result<(), StoreError> {
        let source: Arc<dyn Source> = Arc::new(bytes);
        let create = || self.shared.store.create(key, Arc::clone(&source));
        self.call(Op::Create, key, source.len(), create).await
    }

    async fn create_once(&self, key: &str, source: &Arc<dyn Source>) -> Result<(), Failed> {
        let create = || -> Answer<'_, ()> { self.shared.store.create(key, Arc::clone(source)) };
        self.attempt(Op::Create, key, source.len(), create).await
    }

    /// Makes one attempt.
    async fn attempt<T, F>(
        &self,
        op: Op,
        key: &str,
        len: u64,
        attempt: impl Fn() -> F,
    ) -> Result<T, Failed>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let Shared {
            gate,
            policy,
            watch,
            store,
        } = &*self.shared;
        let pass = gate.enter().map_err(|why| {
            let what = format!("{} of {key}: {}: {why}", op.name(), store.place());
            Failed::Refused(StoreError::new(StoreErrorKind::Busy, what))
        })?;
        let (begun, deadline) = (Instant::now(), policy.deadline_of(len));
        let outcome = timeout(deadline, attempt()).await.unwrap_or_else(|_| {
            let place = store.place();
            let what = format!("{} of {key}: {place}: no answer in {deadline:?}", op.name());
            Err(StoreError::new(StoreErrorKind::Unknown, what))
        });
        let outcome = outcome.map_err(|error| sensible(op, error));
        watch.called(
            op,
            begun.elapsed(),
            outcome.as_ref().map(drop).map_err(|error| error.kind),
        );
        pass.leave(match &outcome {
            Ok(_) => Sign::Well,
            Err(error) => sign_of(error),
        });
        outcome.map_err(Failed::Made)
    }
}

/// What is no answer to such a call means nothing. An upload in parts whose parts are gone is reported
/// as missing, and may have been completed by an attempt before.
fn sensible(op: Op, error: StoreError) -> StoreError {
    use StoreErrorKind::{Exists, Missing, Short, Unknown};
    let is_answer = match (op, error.kind) {
        (Op::Create, kind) => !matches!(kind, Missing | Short),
        (Op::Read, kind) => kind != Exists,
        (Op::Stat, kind) => !matches!(kind, Exists | Short),
        (Op::Replace | Op::Delete | Op::List | Op::Abort, kind) => {
            !matches!(kind, Exists | Missing | Short)
        }
    };
    match is_answer {
        true => error,
        false => StoreError::new(Unknown, error.what),
    }
}

/// What a failure says of the store.
fn sign_of(error: &StoreError) -> Sign<'_> {
    match error.kind {
        StoreErrorKind::Missing
        | StoreErrorKind::Exists
        | StoreErrorKind::Short
        | StoreErrorKind::Unsupported => Sign::Well,
        // Denied as well: nobody is helped by calls that go on while a bucket is gone.
        StoreErrorKind::Busy | StoreErrorKind::Unknown | StoreErrorKind::Denied => {
            Sign::Ill(&error.what)
        }
        StoreErrorKind::Source => Sign::Nothing,
    }
}

/// The failed attempts of one call.
struct Tries<'a> {
    client: &'a Client,
    op: Op,
    made: u32,
    last: Option<StoreError>,
    /// An attempt may still have its effect.
    pending: bool,
}

impl<'a> Tries<'a> {
    fn new(client: &'a Client, op: Op) -> Self {
        Self {
            client,
            op,
            made: 0,
            last: None,
            pending: false,
        }
    }

    /// Waits until the next attempt is due, or says what to tell if there is none.
    async fn after(&mut self, failed: Failed) -> Result<(), StoreError> {
        let error = match failed {
            // What the attempts before it failed with says more.
            Failed::Refused(error) => return Err(self.told(error)),
            Failed::Made(error) => error,
        };
        self.pending |= error.kind == StoreErrorKind::Unknown;
        self.made = self.made.saturating_add(1);
        let Shared { policy, watch, .. } = &*self.client.shared;
        match retry::next(policy, self.made, error.kind, fastrand::f64()) {
            Next::GiveUp => {
                self.last = None;
                Err(self.told(error))
            }
            Next::After(wait) => {
                watch.retried(self.op);
                self.last = Some(error);
                sleep(wait).await;
                Ok(())
            }
        }
    }

    /// What to tell when an attempt was not made, or is the last one.
    fn told(&mut self, error: StoreError) -> StoreError {
        let mut error = self.last.take().unwrap_or(error);
        // The last one was refused, but an earlier one may be done yet.
        if self.pending && self.op == Op::Create && error.kind != StoreErrorKind::Exists {
            error.kind = StoreErrorKind::Unknown;
        }
        error
    }
}
