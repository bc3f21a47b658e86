//! The loop: take what waits, hand it to a thread, answer.

use std::{convert::Infallible, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::{
    StreamId,
    claims::{Claim, ClaimsFile},
    error::StorageError,
};

use super::{
    handle::FlusherHandle,
    queue::{Queue, Wanted},
};
use crate::{
    context::{Counters, LogContext},
    error::Error,
    exec::{JobDied, Work},
    manifest::Ended,
    meters::Share,
    protocol::{Reply, flusher::FlushRequest},
};

/// Streams that are handed over for each thread that syncs: one that has done a sync finds the next one, and
/// does not wait until this actor has heard of it.
const HANDED_OVER: usize = 2;

/// Starts it.
pub fn spawn(
    log: Arc<LogContext>,
    claims: Arc<ClaimsFile>,
) -> (FlusherHandle, Ended<FlusherActor>) {
    let capacity = log.options.flusher_queue;
    let actor = FlusherActor {
        queue: Queue::new(log.options.io_threads * HANDED_OVER),
        most_waiting: log.options.max_streams,
        waiting: Share::of(&log.meters.flusher_queue),
        log,
        claims,
        syncing: FuturesUnordered::new(),
    };
    let prepared = PreparedActor::new(mailbox::bounded(capacity));
    (
        FlusherHandle::new(prepared.actor_ref().clone()),
        prepared.spawn(actor),
    )
}

/// The flusher.
#[derive(Debug)]
pub struct FlusherActor {
    log: Arc<LogContext>,
    claims: Arc<ClaimsFile>,
    queue: Queue,
    most_waiting: usize,
    /// Messages in the mailbox.
    waiting: Share,
    syncing: FuturesUnordered<BoxFuture<'static, Synced>>,
}

struct Synced {
    stream: StreamId,
    replies: Vec<Reply<Result<(), Error>>>,
    outcome: Result<Result<(), StorageError>, JobDied>,
}

impl FlusherActor {
    async fn start(&mut self) {
        while let Some(wanted) = self.queue.take() {
            self.log.faults.at("flusher.before_sync").await;
            self.syncing.push(self.hand_over(wanted));
        }
    }

    fn hand_over(&self, wanted: Wanted) -> BoxFuture<'static, Synced> {
        let Wanted { request, earlier } = wanted;
        let FlushRequest {
            stream,
            files,
            claim,
            slot,
            running,
            done,
        } = request;
        let claims = Arc::clone(&self.claims);
        let log = Arc::clone(&self.log);
        let job = self.log.job(Work::Sync, &running, move || {
            for file in &files {
                log.sync(file)?;
            }
            // Readers of other processes, and a restart of this one, take the claim's word. It is
            // given before the ack, so that whatever was acked is also claimed.
            leave_claim(&claims, slot, &claim);
            Ok(())
        });
        let mut replies = earlier;
        replies.push(done);
        Box::pin(async move {
            Synced {
                stream,
                replies,
                outcome: job.await,
            }
        })
    }

    async fn finish(&mut self, synced: Synced) {
        self.queue.done(synced.stream);
        self.log.faults.at("flusher.after_sync").await;
        let outcome = match synced.outcome {
            Ok(Ok(())) => {
                Counters::add(&self.log.counters.syncs, 1);
                Ok(())
            }
            Ok(Err(error)) => Err(Error::from(error)),
            Err(died) => Err(Error::indeterminate(&died)),
        };
        for reply in synced.replies {
            let _ = reply.send(outcome.clone());
        }
    }

    async fn run(&mut self, mailbox: &mut MailboxReceiver<Self>) -> Option<Signal<Self>> {
        loop {
            let takes_more = self.queue.len() < self.most_waiting;
            if takes_more && let Ok(signal) = mailbox.try_recv() {
                self.waiting.set_len(mailbox.len());
                return Some(signal);
            }
            self.start().await;
            tokio::select! {
                biased;
                Some(synced) = self.syncing.next(), if !self.syncing.is_empty() => {
                    self.finish(synced).await;
                }
                signal = mailbox.recv(), if takes_more => {
                    self.waiting.set_len(mailbox.len());
                    return signal;
                }
            }
        }
    }
}

/// Says in the claims file what is durable. The records are safe without it, so that a failure is
/// no reason to fail a sync that worked: only other processes see the durable end later.
pub(crate) fn leave_claim(claims: &ClaimsFile, slot: u32, claim: &Claim) {
    if let Err(error) = claims.put(slot, claim) {
        tracing::warn!(target: "tierlog::flusher", %error, "a durable end could not be claimed");
    }
}

impl Actor for FlusherActor {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(actor: Self, _: ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(actor)
    }

    async fn next(
        &mut self,
        _: WeakActorRef<Self>,
        mailbox: &mut MailboxReceiver<Self>,
    ) -> Result<Option<Signal<Self>>, Infallible> {
        Ok(self.run(mailbox).await)
    }
}

impl Message<FlushRequest> for FlusherActor {
    type Reply = ();

    async fn handle(&mut self, request: FlushRequest, _: &mut Context<Self, ()>) {
        self.log.faults.at("flusher.take").await;
        self.queue.offer(request);
    }
}
