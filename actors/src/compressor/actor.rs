//! The loop: as many jobs as there are threads for them; what is beyond waits in the mailbox.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_storage::{
    disk::{Disk, GentleDisk},
    layout::Layout,
    manifest::WarmCopy,
    warm::{WarmFault, WarmIdentity, WarmOptions, finish, hydrate, make},
};

use super::handle::CompressorHandle;
use crate::{
    context::LogContext,
    exec::{Running, Work},
    manifest::Ended,
    protocol::compressor::{Compress, Made, Restore},
};

/// Messages that may wait. The coordinator has as many under way as there are workers, and a few
/// hydrations beside.
const MAILBOX: usize = 64;

/// The longest rest after one piece of work.
const LONGEST_REST: Duration = Duration::from_millis(50);

/// Starts it.
pub fn spawn(log: Arc<LogContext>, running: Running) -> (CompressorHandle, Ended<CompressorActor>) {
    let actor = CompressorActor {
        workers: log.options.compression_workers,
        log,
        running,
        stop: Arc::default(),
        under_way: FuturesUnordered::new(),
    };
    let prepared = PreparedActor::new(mailbox::bounded(MAILBOX));
    let handle = CompressorHandle::new(prepared.actor_ref().clone());
    (handle, prepared.spawn(actor))
}

/// The compressor.
pub struct CompressorActor {
    log: Arc<LogContext>,
    running: Running,
    workers: usize,
    /// Tells jobs that nobody waits for them any more: a successor must not wait for a large segment.
    stop: Arc<AtomicBool>,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
}

impl CompressorActor {
    /// Gives way while anything waits to be durable: works no more than half of the time then.
    fn pace(&self) -> impl FnMut(u64) -> bool + Send + 'static {
        let (log, stop) = (Arc::clone(&self.log), Arc::clone(&self.stop));
        let mut begun = Instant::now();
        move |_| {
            if log.dirty.load(Ordering::Relaxed) > 0 {
                thread::sleep(begun.elapsed().min(LONGEST_REST));
            }
            begun = Instant::now();
            !stop.load(Ordering::Relaxed)
        }
    }

    fn begin<T: Send + 'static>(
        &mut self,
        done: tokio::sync::oneshot::Sender<Result<T, WarmFault>>,
        work: impl FnOnce(&dyn Disk, &Layout) -> Result<T, WarmFault> + Send + 'static,
    ) {
        let log = Arc::clone(&self.log);
        let job = self.log.job(Work::Compress, &self.running, move || {
            let disk = GentleDisk::new(Arc::clone(&log.disk));
            work(&disk, &log.layout)
        });
        self.under_way.push(Box::pin(async move {
            let outcome = job.await.unwrap_or(Err(WarmFault::Stopped));
            let _ = done.send(outcome);
        }));
    }

    async fn run(&mut self, mailbox: &mut MailboxReceiver<Self>) -> Option<Signal<Self>> {
        loop {
            let takes_more = self.under_way.len() < self.workers;
            tokio::select! {
                biased;
                Some(()) = self.under_way.next(), if !self.under_way.is_empty() => {}
                signal = mailbox.recv(), if takes_more => return signal,
            }
        }
    }
}

/// Blocks. A segment that is only closed is sealed first.
fn compress(
    disk: &dyn Disk,
    layout: &Layout,
    mut identity: WarmIdentity,
    is_open_ended: bool,
    options: &WarmOptions,
    pace: &mut dyn FnMut(u64) -> bool,
) -> Result<Made, WarmFault> {
    if is_open_ended {
        identity.facts = finish(disk, layout, &identity, pace)?;
    }
    let written = make(disk, layout, &identity, options, pace)?;
    Ok(Made {
        facts: identity.facts,
        copy: WarmCopy {
            file_len: written.file_len,
            crc: written.crc,
        },
    })
}

impl Drop for CompressorActor {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

impl fmt::Debug for CompressorActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CompressorActor")
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

impl Actor for CompressorActor {
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

impl Message<Compress> for CompressorActor {
    type Reply = ();

    async fn handle(&mut self, compress_it: Compress, _: &mut Context<Self, ()>) {
        self.log.faults.at("compressor.take").await;
        let Compress {
            identity,
            finish,
            hold,
            done,
        } = compress_it;
        let options = WarmOptions {
            level: self.log.options.compression_level,
            ..WarmOptions::default()
        };
        let mut pace = self.pace();
        self.begin(done, move |disk, layout| {
            let _hold = hold;
            compress(disk, layout, identity, finish, &options, &mut pace)
        });
    }
}

impl Message<Restore> for CompressorActor {
    type Reply = ();

    async fn handle(&mut self, restore: Restore, _: &mut Context<Self, ()>) {
        self.log.faults.at("compressor.take").await;
        let Restore {
            identity,
            copy,
            hold,
            done,
        } = restore;
        let mut pace = self.pace();
        self.begin(done, move |disk, layout| {
            let _hold = hold;
            hydrate(disk, layout, &identity, &copy, &mut pace)
        });
    }
}
