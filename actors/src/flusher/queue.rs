//! Which stream is synced next: a pure decision.

use std::collections::{HashMap, HashSet, VecDeque};

use tierlog_storage::{StreamId, planted};

use crate::error::Error;
use crate::protocol::{Reply, flusher::FlushRequest};

/// A stream that waits for a sync, with everybody who asked for it.
#[derive(Debug)]
pub struct Wanted {
    /// The newest request; it covers the older ones.
    pub request: FlushRequest,
    /// Those who asked before.
    pub earlier: Vec<Reply<Result<(), Error>>>,
}

/// Streams that wait, in the order in which they first asked; and those being synced.
#[derive(Debug)]
pub struct Queue {
    waiting: HashMap<StreamId, Wanted>,
    order: VecDeque<StreamId>,
    syncing: HashSet<StreamId>,
    parallel: usize,
}

impl Queue {
    /// At most `parallel` syncs at once.
    pub fn new(parallel: usize) -> Self {
        Self {
            waiting: HashMap::new(),
            order: VecDeque::new(),
            syncing: HashSet::new(),
            parallel: parallel.max(1),
        }
    }

    /// Adds a request; one entry a stream.
    pub fn offer(&mut self, request: FlushRequest) {
        let stream = request.stream;
        let Some(entry) = self.waiting.get_mut(&stream) else {
            self.order.push_back(stream);
            let earlier = Vec::new();
            self.waiting.insert(stream, Wanted { request, earlier });
            return;
        };
        // The greater claim stays, whatever came last: keeping the last one would leave the
        // waiters of a greater one without their sync.
        let mut newer = request;
        if !planted::is("last_request_kept") && newer.claim.durable < entry.request.claim.durable {
            std::mem::swap(&mut newer, &mut entry.request);
        }
        let older = std::mem::replace(&mut entry.request, newer);
        for file in older.files {
            if !entry
                .request
                .files
                .iter()
                .any(|known| std::sync::Arc::ptr_eq(known, &file))
            {
                entry.request.files.insert(0, file);
            }
        }
        entry.earlier.push(older.done);
    }

    /// The next one to sync, which is then under way until [`done`](Self::done).
    pub fn take(&mut self) -> Option<Wanted> {
        if self.syncing.len() >= self.parallel {
            return None;
        }
        let is_free = |stream| !self.syncing.contains(stream);
        let stream = self.order.remove(self.order.iter().position(is_free)?)?;
        self.syncing.insert(stream);
        self.waiting.remove(&stream)
    }

    /// A sync has ended, in whatever way.
    pub fn done(&mut self, stream: StreamId) {
        self.syncing.remove(&stream);
    }

    /// Streams that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use tierlog_storage::{Epoch, Incarnation, Offset, claims::Claim};
    use tokio::sync::oneshot;

    use super::*;
    use crate::exec::Running;

    fn request(stream: StreamId, durable: u64) -> FlushRequest {
        FlushRequest {
            stream,
            files: Vec::new(),
            claim: Claim {
                stream,
                epoch: Epoch(1),
                incarnation: Incarnation(1),
                durable: Offset(durable),
            },
            slot: 0,
            running: Running::default(),
            done: oneshot::channel().0,
        }
    }

    #[test]
    fn one_entry_a_stream_and_the_greatest_claim_stays() {
        let (a, b) = (StreamId::generate(), StreamId::generate());
        let mut queue = Queue::new(4);
        for (stream, durable) in [(a, 5), (b, 1), (a, 9), (a, 7)] {
            queue.offer(request(stream, durable));
        }
        assert_eq!(queue.len(), 2);
        let first = queue.take().expect("a waits");
        assert_eq!(first.request.claim.durable, Offset(9));
        assert_eq!(first.earlier.len(), 2, "everybody who asked is answered");
    }

    #[test]
    fn a_stream_is_never_synced_twice_at_once_and_does_not_hold_up_others() {
        let (a, b) = (StreamId::generate(), StreamId::generate());
        let mut queue = Queue::new(4);
        queue.offer(request(a, 1));
        assert!(queue.take().is_some());
        queue.offer(request(a, 2));
        queue.offer(request(b, 1));
        assert_eq!(queue.take().expect("b is free").request.stream, b);
        assert!(queue.take().is_none());
        queue.done(a);
        assert_eq!(
            queue.take().expect("a is free again").request.claim.durable,
            Offset(2)
        );
    }

    #[test]
    fn at_most_so_many_run_in_parallel() {
        let mut queue = Queue::new(2);
        let streams: Vec<_> = (0..3).map(|_| StreamId::generate()).collect();
        streams
            .iter()
            .for_each(|stream| queue.offer(request(*stream, 1)));
        assert!(queue.take().is_some() && queue.take().is_some());
        assert!(queue.take().is_none());
        queue.done(streams[0]);
        assert!(queue.take().is_some());
    }
}
