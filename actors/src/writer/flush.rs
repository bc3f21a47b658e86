//! From written to durable.

use std::sync::Arc;

use tierlog_storage::{Offset, planted};
use tokio::{
    sync::oneshot::{self, error::RecvError},
    time::Instant,
};

use super::{
    actor::{FlushInFlight, WriterActor},
    policy::{Unsynced, When, when},
};
use crate::{
    context::Counters, error::Error, kind::Kind, options::FlushPolicy,
    protocol::flusher::FlushRequest, stream::marks::Level,
};

impl WriterActor {
    /// Somebody waits for durability whatever the policy says.
    pub(super) fn is_urgent(&self) -> bool {
        !self.flush_waiters.is_empty()
            || self.nobody_can_flush()
            || self
                .barrier
                .as_ref()
                .is_some_and(super::controls::Barrier::needs_durable)
    }

    /// Under `manual` a stream whose door is shut, since somebody else owns its Tier 2, takes no `flush`
    /// any more: what it had accepted would wait for one until the log is closed.
    fn nobody_can_flush(&self) -> bool {
        let is_manual = self.generation.log.options.flush == FlushPolicy::Manual;
        is_manual && !self.held.is_empty() && self.stream.is_shut().is_some()
    }

    pub(super) fn when_to_flush(&self) -> When {
        let options = &self.generation.log.options;
        let write_syncs = self
            .write
            .as_ref()
            .is_some_and(super::write::WriteInFlight::is_synced);
        let unsynced = Unsynced {
            bytes: self.held_bytes,
            // Of the oldest one: what was written during a sync does not begin to wait at its end.
            since: self.held.front().map(|held| held.since),
            urgent: self.is_urgent(),
            syncing: self.flush.is_some() || write_syncs,
            half_window: options.stream_unsynced() as u64 / 2,
        };
        when(options.flush, unsynced, Instant::now())
    }

    /// Asks the flusher for a sync, if one is due. It covers what is written by now; what is
    /// written while it runs is covered by the next one.
    pub(super) async fn start_flush(&mut self) {
        if self.when_to_flush() != When::Now {
            return;
        }
        let mut files = Vec::new();
        if let Some(sealing) = &self.sealing
            && !planted::is("rolled_segment_not_synced")
            && self.held.iter().any(|held| held.segment == sealing.no())
        {
            files.push(sealing.file());
        }
        if let Some(active) = &self.active
            && self.held.iter().any(|held| held.segment == active.no)
        {
            files.push(Arc::clone(&active.file));
        }
        let up_to = Offset(self.written());
        let (done, outcome) = oneshot::channel();
        let request = FlushRequest {
            stream: self.stream_id(),
            files,
            claim: self.claim(up_to),
            slot: self.slot,
            running: self.running.clone(),
            done,
        };
        self.flush = Some(FlushInFlight {
            done: Some(outcome),
            up_to,
            since: Instant::now(),
        });
        let flusher = &self.generation.flusher;
        match flusher.try_flush(request) {
            Ok(None) => {}
            Ok(Some(request)) => {
                self.flush_send = Some(flusher.flush_when_room(request));
                if self.blocked.is_none() {
                    self.set_blocked(Some(Kind::Flush));
                }
            }
            // Its slot was dropped with it; the supervisor makes a new generation.
            Err(_) => {}
        }
    }

    /// The request that had to wait is in the flusher's mailbox.
    pub(super) fn flusher_has_room(&mut self) {
        if self.blocked == Some(Kind::Flush) {
            self.set_blocked(None);
        }
    }

    pub(super) async fn flushed(&mut self, outcome: Result<Result<(), Error>, RecvError>) {
        let Some(flush) = self.flush.take() else {
            return;
        };
        match outcome {
            Ok(Ok(())) => {
                self.fault("writer.flush_done").await;
                self.durable_to(flush.up_to).await;
            }
            Ok(Err(error)) => self.repair(Vec::new(), error).await,
            Err(_) => {
                // The flusher died; nobody knows whether the sync happened. The generation is
                // about to end, and what is held is recovered from disk then.
                self.flush_send = None;
                self.flush = Some(FlushInFlight {
                    done: None,
                    ..flush
                });
            }
        }
    }

    /// Everything below `end` is durable: says so, frees what was held for it, answers.
    pub(super) async fn durable_to(&mut self, end: Offset) {
        self.fault("writer.before_ack").await;
        while let Some(first) = self.held.front()
            && first.frame.end() <= end
        {
            self.held_bytes -= first.frame.len();
            self.held.pop_front();
        }
        // Not what was held: after a repair nothing is, and it is durable all the same.
        let records = end.get().saturating_sub(self.durable());
        if records == 0 {
            return;
        }
        Counters::add(&self.generation.log.counters.durable_records, records);
        self.life.marks.advance_durable(end.get());
        self.stream.publish();
        let meters = &self.generation.log.meters;
        meters.group_records.record(records as f64);
        if let Some(took) = self.stream.timed_append() {
            meters.append_seconds.record(took);
        }
        let durable = self.life.marks.get(Level::Durable);
        while let Some((target, _)) = self.flush_waiters.front()
            && *target <= durable
        {
            if let Some((_, reply)) = self.flush_waiters.pop_front() {
                let _ = reply.send(Ok(Offset(durable)));
            }
        }
        self.note_idle();
    }
}
