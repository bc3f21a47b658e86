//! A store in memory that loses requests and answers, and lets lost requests land when it likes.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{history::History, schedule::Pause};
use crate::{
    sequence::Objects,
    store::{Created, StoreError, StoreErrorKind},
};

/// How often what goes wrong, in percent.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Trouble {
    /// The request never arrives, or later.
    pub(super) request_lost: u32,
    /// It was done, and the answer never arrives.
    pub(super) answer_lost: u32,
    /// Nothing came of it.
    pub(super) refused: u32,
    /// A lost request lands, at each call.
    pub(super) landing: u32,
}

impl Trouble {
    pub(super) const NONE: Self = Self {
        request_lost: 0,
        answer_lost: 0,
        refused: 0,
        landing: 0,
    };
    pub(super) const SOME: Self = Self {
        request_lost: 10,
        answer_lost: 10,
        refused: 5,
        landing: 5,
    };
}

#[derive(Debug)]
struct State {
    objects: BTreeMap<String, Bytes>,
    /// Creations that were given up, and may land.
    late: Vec<(String, Bytes)>,
    trouble: Trouble,
    /// What becomes of the next creations, before `trouble` is asked.
    script: Vec<Fault>,
    rng: fastrand::Rng,
    history: History,
    calls: usize,
    /// Each call takes a few polls.
    slow: bool,
}

/// What becomes of one creation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    RequestLost,
    AnswerLost,
    Refused,
    /// It arrives, and what is read back was altered on the way.
    Garbled,
}

#[derive(Debug, Clone)]
pub(super) struct Bucket(Arc<Mutex<State>>);

/// A creation on its way. Who gives it up does not know what becomes of it.
#[derive(Debug)]
struct OnItsWay<'a>(&'a Bucket, Option<(String, Bytes)>);

impl Drop for OnItsWay<'_> {
    fn drop(&mut self) {
        if let Ok(mut state) = self.0.0.lock() {
            state.late.extend(self.1.take());
        }
    }
}

impl Bucket {
    pub(super) fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            late: Vec::new(),
            trouble: Trouble::NONE,
            script: Vec::new(),
            rng: fastrand::Rng::with_seed(seed),
            history: History::default(),
            calls: 0,
            slow: false,
        })))
    }

    /// One whose calls take a few polls, so that others come in between.
    pub(super) fn slow(seed: u64, trouble: Trouble) -> Self {
        let bucket = Self::new(seed);
        bucket.state().slow = true;
        bucket.trouble(trouble);
        bucket
    }

    pub(super) fn objects(&self) -> Arc<dyn Objects> {
        Arc::new(self.clone())
    }

    pub(super) fn trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// What becomes of the next creations, in order.
    pub(super) fn next(&self, faults: &[Fault]) {
        self.state().script = faults.iter().rev().copied().collect();
    }

    /// Everything that was lost on its way arrives now.
    pub(super) fn land(&self) {
        let mut state = self.state();
        for (key, bytes) in std::mem::take(&mut state.late) {
            state.create(&key, &bytes);
        }
    }

    pub(super) fn history<T>(&self, f: impl FnOnce(&mut History) -> T) -> T {
        f(&mut self.state().history)
    }

    pub(super) fn read(&self, key: &str) -> Option<Bytes> {
        self.state().objects.get(key).cloned()
    }

    /// Somebody changes the bucket by hand.
    pub(super) fn put(&self, key: &str, bytes: Option<Bytes>) {
        let mut state = self.state();
        match bytes {
            Some(bytes) => state.objects.insert(key.to_owned(), bytes),
            None => state.objects.remove(key),
        };
    }

    pub(super) fn calls(&self) -> usize {
        self.state().calls
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no test goes on after a panic")
    }

    async fn pause(&self) {
        let polls = {
            let mut state = self.state();
            match state.slow {
                true => state.rng.u32(..3),
                false => 0,
            }
        };
        for _ in 0..polls {
            Pause::default().await;
        }
    }

    /// A call that changes nothing, or the same when it is made twice.
    async fn call<T>(
        &self,
        f: impl FnOnce(&mut State) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        self.pause().await;
        let answer = {
            let mut state = self.state();
            state.begin();
            match state.fault(false) {
                None => f(&mut state),
                Some(Fault::AnswerLost) => f(&mut state).and_then(|_| Err(unknown())),
                Some(_) => Err(unknown()),
            }
        };
        self.pause().await;
        answer
    }
}

fn unknown() -> StoreError {
    StoreError::new(StoreErrorKind::Unknown, "no answer")
}

fn missing(key: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Missing, format!("{key} is not there"))
}

impl State {
    fn begin(&mut self) {
        self.calls += 1;
        if !self.late.is_empty() && self.rng.u32(..100) < self.trouble.landing {
            let at = self.rng.usize(..self.late.len());
            let (key, bytes) = self.late.swap_remove(at);
            self.create(&key, &bytes);
        }
    }

    fn fault(&mut self, scripted: bool) -> Option<Fault> {
        if scripted && let Some(fault) = self.script.pop() {
            return Some(fault);
        }
        let Trouble {
            request_lost,
            answer_lost,
            refused,
            ..
        } = self.trouble;
        let roll = self.rng.u32(..100);
        [
            (Fault::RequestLost, request_lost),
            (Fault::AnswerLost, request_lost + answer_lost),
            (Fault::Refused, request_lost + answer_lost + refused),
        ]
        .into_iter()
        .find(|(_, below)| roll < *below)
        .map(|(fault, _)| fault)
    }

    fn create(&mut self, key: &str, bytes: &Bytes) -> Created {
        match self.objects.get(key) {
            Some(there) if there == bytes => Created::Ours,
            Some(there) => Created::Taken(there.clone()),
            None => {
                self.history.created(key, bytes);
                self.objects.insert(key.to_owned(), bytes.clone());
                Created::New
            }
        }
    }
}

impl Objects for Bucket {
    fn create<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Created, StoreError>> {
        Box::pin(async move {
            let mut way = OnItsWay(self, Some((key.to_owned(), bytes)));
            self.pause().await;
            let answer = {
                let mut state = self.state();
                state.begin();
                match (state.fault(true), way.1.take()) {
                    (Some(Fault::RequestLost), request) => {
                        state.late.extend(request);
                        Err(unknown())
                    }
                    (Some(Fault::Refused), _) => {
                        Err(StoreError::new(StoreErrorKind::Busy, "no time now"))
                    }
                    (fault, Some((key, bytes))) => match (state.create(&key, &bytes), fault) {
                        (_, Some(Fault::AnswerLost)) => Err(unknown()),
                        (_, Some(Fault::Garbled)) => Ok(Created::Taken(bytes.slice(1..))),
                        (created, _) => Ok(created),
                    },
                    (_, None) => unreachable!("it was taken nowhere else"),
                }
            };
            self.pause().await;
            answer
        })
    }

    fn get<'a>(&'a self, key: &'a str, at_most: u64) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        let most = usize::try_from(at_most).unwrap();
        Box::pin(self.call(move |state| {
            let found = state.objects.get(key).ok_or_else(|| missing(key))?;
            Ok(found.slice(..found.len().min(most)))
        }))
    }

    fn has<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(self.call(move |state| Ok(state.objects.contains_key(key))))
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.call(move |state| {
            state.history.replaced(key, &bytes);
            state.objects.insert(key.to_owned(), bytes);
            Ok(())
        }))
    }
}
