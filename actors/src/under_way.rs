//! Whose files somebody is making, naming or removing at this moment.
//!
//! ```text
//!   maker    hold ─▶ make the file ─▶ commit that names it is queued ─▶ let go
//!   remover  hold ─▶ commit that gives it up is queued ─▶ remove the file ─▶ let go
//!   sweep    take, unless held ─▶ what does the manifest say? ─▶ judge, remove ─▶ let go
//! ```
//!
//! The manifest answers behind all that was queued before. So what it tells whoever has taken a name
//! holds until that is let go: every commit that could change it comes from a holder, and there is none.
//! A sweep takes nothing that is held and waits for nobody; a holder waits while a sweep has the name.

use std::collections::{BTreeMap, BTreeSet};

use tierlog_storage::{SegmentNo, StreamId, planted};

use crate::{
    stream::bell::Bell,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

type Id = (StreamId, SegmentNo);

/// Who is at work on which files: those of a segment together, whatever their kind.
#[derive(Debug, Default)]
pub struct UnderWay {
    names: Mutex<Names>,
    let_go: Bell,
}

#[derive(Debug, Default)]
struct Names {
    /// How many are at work on a segment's files.
    held: BTreeMap<Id, usize>,
    /// How many are at work on those of segments of a stream whose numbers they find on their way.
    streams: BTreeMap<StreamId, usize>,
    /// What a sweep has.
    taken: BTreeSet<Id>,
}

/// Somebody is at work on some files, as long as this or a clone of it lives. It goes into every job that
/// touches them: one that outlives who asked for it is at work all the same.
#[derive(Debug, Clone)]
pub struct Hold(#[expect(dead_code, reason = "it is dropped, and that is all")] Arc<Held>);

#[derive(Debug)]
struct Held {
    of: Arc<UnderWay>,
    what: What,
}

#[derive(Debug)]
enum What {
    Segment(Id),
    Stream(StreamId),
    Taken(Vec<Id>),
}

impl UnderWay {
    /// Holds the files of a segment, as soon as no sweep has them. Cancel-safe.
    pub async fn hold(self: &Arc<Self>, id: Id) -> Hold {
        self.wait(|names| {
            if names.taken.contains(&id) {
                return None;
            }
            *names.held.entry(id).or_default() += 1;
            Some(What::Segment(id))
        })
        .await
    }

    /// The same for several segments of a stream, one after the other.
    pub async fn hold_all(
        self: &Arc<Self>,
        stream: StreamId,
        numbers: Vec<SegmentNo>,
    ) -> Vec<Hold> {
        let mut holds = Vec::new();
        for no in numbers {
            holds.push(self.hold((stream, no)).await);
        }
        holds
    }

    /// Holds whatever is in the folder of a stream, as soon as no sweep has anything in it. Cancel-safe.
    pub async fn hold_stream(self: &Arc<Self>, stream: StreamId) -> Hold {
        self.wait(|names| {
            if names.taken.iter().any(|(of, _)| *of == stream) {
                return None;
            }
            *names.streams.entry(stream).or_default() += 1;
            Some(What::Stream(stream))
        })
        .await
    }

    /// Takes the files of those segments of a stream on which nobody is at work, for a sweep; gives their
    /// numbers.
    pub fn take(
        self: &Arc<Self>,
        stream: StreamId,
        numbers: impl IntoIterator<Item = SegmentNo>,
    ) -> (Hold, BTreeSet<SegmentNo>) {
        let mut names = self.lock();
        let is_free = |no: &SegmentNo| {
            let id = (stream, *no);
            !names.held.contains_key(&id)
                && !names.streams.contains_key(&stream)
                && !names.taken.contains(&id)
        };
        let free: BTreeSet<_> = numbers.into_iter().filter(is_free).collect();
        let ids: Vec<_> = free.iter().map(|no| (stream, *no)).collect();
        names.taken.extend(&ids);
        drop(names);
        (self.held(What::Taken(ids)), free)
    }

    async fn wait(
        self: &Arc<Self>,
        mut attempt: impl FnMut(&mut Names) -> Option<What> + Send,
    ) -> Hold {
        let mut hold = None;
        self.let_go
            .wait_until(|| {
                // A hold that is not handed out gives back what it had by itself.
                let what = attempt(&mut self.lock());
                hold = what.map(|what| self.held(what));
                hold.is_some()
            })
            .await;
        match hold {
            Some(hold) => hold,
            None => unreachable!("it has waited until there was one"),
        }
    }

    fn held(self: &Arc<Self>, what: What) -> Hold {
        let of = Arc::clone(self);
        Hold(Arc::new(Held { of, what }))
    }

    fn lock(&self) -> MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if planted::is("rung_before_it_is_let_go") {
            self.of.let_go.ring();
        }
        let mut names = self.of.lock();
        match &self.what {
            What::Segment(id) => count_down(&mut names.held, id),
            What::Stream(stream) => count_down(&mut names.streams, stream),
            What::Taken(ids) => ids.iter().for_each(|id| {
                names.taken.remove(id);
            }),
        }
        drop(names);
        if !planted::is("rung_before_it_is_let_go") {
            self.of.let_go.ring();
        }
    }
}

fn count_down<K: Ord>(counts: &mut BTreeMap<K, usize>, key: &K) {
    if let Some(count) = counts.get_mut(key) {
        *count -= 1;
        if *count == 0 {
            counts.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    const STREAM: StreamId = StreamId::from_bytes([1; 16]);

    fn id(no: u64) -> Id {
        (STREAM, SegmentNo(no))
    }

    fn taken(of: &Arc<UnderWay>) -> (Hold, Vec<u64>) {
        let (hold, free) = of.take(STREAM, (0..4).map(SegmentNo));
        (hold, free.iter().map(|no| no.get()).collect())
    }

    #[tokio::test]
    async fn a_sweep_takes_nothing_that_somebody_holds() {
        let of = Arc::<UnderWay>::default();
        let first = of.hold(id(1)).await;
        let second = of.hold(id(1)).await;
        let (hold, free) = taken(&of);
        assert_eq!(free, [0, 2, 3]);
        let (_none, free) = taken(&of);
        assert_eq!(free, [0; 0], "what one has no other takes");
        drop(hold);
        let job = first.clone();
        drop((first, second));
        assert_eq!(taken(&of).1, [0, 2, 3], "its job is still at work");
        drop(job);
        assert_eq!(taken(&of).1, [0, 1, 2, 3]);
        let _whole = of.hold_stream(STREAM).await;
        assert_eq!(taken(&of).1, [0; 0]);
    }

    #[tokio::test]
    async fn who_wants_to_be_at_work_waits_until_a_sweep_lets_go() {
        let of = Arc::<UnderWay>::default();
        let (hold, _) = of.take(STREAM, [SegmentNo(1)]);
        assert!(of.hold(id(2)).now_or_never().is_some());
        assert!(of.hold(id(1)).now_or_never().is_none());
        assert!(of.hold_stream(STREAM).now_or_never().is_none());
        assert!(
            of.hold_all(STREAM, vec![SegmentNo(1)])
                .now_or_never()
                .is_none()
        );
        let other = Arc::clone(&of);
        let waiting = tokio::spawn(async move { other.hold(id(1)).await });
        tokio::task::yield_now().await;
        drop(hold);
        let _hold = waiting.await.unwrap();
        assert_eq!(taken(&of).1, [0, 2, 3]);
        // Nothing is left of those who gave up.
        let names = of.lock();
        assert_eq!((names.held.len(), names.streams.len()), (1, 0));
    }
}
