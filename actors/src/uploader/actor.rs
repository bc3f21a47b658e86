//! The loop: the claim first, then as many transfers as there is room for; what is beyond waits in the
//! mailbox.

use std::{convert::Infallible, fmt, sync::Arc};

use futures::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use kameo::{
    actor::{ActorRef, PreparedActor, WeakActorRef},
    mailbox::{self, MailboxReceiver, Signal},
    message::{Context, Message},
    prelude::Actor,
};
use tierlog_cold::{client::Large, sequence::PublishError};
use tierlog_storage::{
    catalog::{Catalog, Change, SegmentKey},
    disk::GentleDisk,
    manifest::WarmCopy,
    warm,
};
use tokio::sync::{Notify, watch};

use super::{
    claim::{Claimant, Owned},
    handle::UploaderHandle,
    parts::{Unfinished, take_back},
    source::FileSource,
    survey::{discard, survey},
    tidy::tidy,
};
use crate::{
    cold::{ColdLink, LinkState},
    context::LogContext,
    error::Error,
    exec::{Running, Work},
    manifest::Ended,
    protocol::{
        Reply,
        sweep::{Discard, Survey},
        uploader::{Delete, Fetch, Look, Publish, TransferFault, Upload},
    },
};

/// Messages that may wait. The coordinator has as many uploads under way as there are workers, and
/// a publication and a few fetches beside.
const MAILBOX: usize = 64;

/// What it needs.
#[derive(Debug)]
pub struct UploaderArgs {
    /// The log.
    pub log: Arc<LogContext>,
    /// Its Tier 2.
    pub link: Arc<ColdLink>,
    /// Who claims it, and what it knows.
    pub claimant: Claimant,
    /// Jobs of this actor.
    pub running: Running,
}

/// Starts it.
pub fn spawn(args: UploaderArgs) -> (UploaderHandle, Ended<UploaderActor>) {
    let UploaderArgs {
        log,
        link,
        claimant,
        running,
    } = args;
    let under_way: FuturesUnordered<BoxFuture<'static, ()>> = FuturesUnordered::new();
    let owned = Arc::clone(&claimant.owned);
    let unfinished = claimant.unfinished.clone();
    link.set(LinkState::Claiming(None));
    let published = Arc::new(Notify::new());
    let (claim, claimed) = (claimant.claim(Arc::clone(&link)), Arc::clone(&published));
    under_way.push(Box::pin(async move {
        claim.await;
        claimed.notify_one();
    }));
    let actor = UploaderActor {
        // Beside uploads there is a publication, whoever looks at an object or deletes it, and a sweep.
        most: log.options.upload_workers * 2 + 3,
        tidying: tidy(
            Arc::clone(&link),
            Arc::clone(&owned),
            Arc::clone(&published),
        ),
        taking_back: take_back(Arc::clone(&link), unfinished.clone()),
        unfinished,
        published,
        log,
        link,
        owned,
        running,
        under_way,
        alive: watch::Sender::new(()),
    };
    let prepared = PreparedActor::new(mailbox::bounded(MAILBOX));
    let handle = UploaderHandle::new(prepared.actor_ref().clone());
    (handle, prepared.spawn(actor))
}

/// The uploader.
pub struct UploaderActor {
    log: Arc<LogContext>,
    link: Arc<ColdLink>,
    /// The sequence, once it is claimed.
    owned: Owned,
    running: Running,
    most: usize,
    under_way: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Rung when something was published.
    published: Arc<Notify>,
    /// Puts tombstones in the place of old catalog objects; not counted, and never over.
    tidying: BoxFuture<'static, ()>,
    /// Takes back what is left of uploads in parts; the same.
    taking_back: BoxFuture<'static, ()>,
    unfinished: Unfinished,
    /// Gone with this actor. A job that waits for a store that hangs ends then: a successor does not begin
    /// before it has, nor does another owner of the directory.
    alive: watch::Sender<()>,
}

impl UploaderActor {
    fn begin<T: Send + 'static>(
        &mut self,
        done: Reply<Result<T, TransferFault>>,
        work: impl Future<Output = Result<T, TransferFault>> + Send + 'static,
    ) {
        self.under_way.push(Box::pin(async move {
            let _ = done.send(work.await);
        }));
    }

    async fn run(&mut self, mailbox: &mut MailboxReceiver<Self>) -> Option<Signal<Self>> {
        loop {
            // The claim is not counted: it may be under way for as long as the store is down.
            let takes_more = self.under_way.len() <= self.most;
            tokio::select! {
                biased;
                Some(()) = self.under_way.next(), if !self.under_way.is_empty() => {}
                signal = mailbox.recv(), if takes_more => return signal,
                () = &mut self.tidying => {}
                () = &mut self.taking_back => {}
            }
        }
    }
}

async fn upload(
    link: Arc<ColdLink>,
    source: FileSource,
    key: SegmentKey,
    copy: WarmCopy,
) -> Result<(), TransferFault> {
    let (key, source) = (key.to_string(), Arc::new(source));
    let client = &link.client;
    for last in [false, true] {
        let outcome = client
            .create_large(&key, Arc::clone(&source) as _, copy.crc, true)
            .await?;
        match outcome {
            Large::Done => return Ok(()),
            Large::Taken if last => break,
            // No catalog names it, or it would not be uploaded: an earlier attempt left it behind, of
            // a compressed file that was lost since.
            Large::Taken => client.delete(&key).await?,
        }
    }
    let what = format!("{key} holds other bytes, again and again");
    Err(TransferFault::Damaged(what))
}

async fn publish(
    link: Arc<ColdLink>,
    owned: Owned,
    changes: Vec<Change>,
) -> Result<u64, TransferFault> {
    let mut owned = owned.lock().await;
    let Some(sequence) = owned.as_mut() else {
        return Err(TransferFault::Stopped);
    };
    // Whatever an earlier call has left open comes first: it may have named some of these.
    let outcome = match sequence.settle().await {
        Ok(_) => {
            let fresh = fresh(sequence.catalog(), changes);
            match fresh.is_empty() {
                true => Ok(()),
                false => sequence.publish(fresh).await.map(drop),
            }
        }
        Err(error) => Err(error),
    };
    match outcome {
        Ok(()) => Ok(sequence.head()),
        Err(error) => Err(lost(&link, error)),
    }
}

/// Why nothing was published. An end of the ownership is told to everybody.
pub(super) fn lost(link: &ColdLink, error: PublishError) -> TransferFault {
    match error {
        PublishError::Store(error) => TransferFault::Store(error),
        PublishError::Fenced { .. } | PublishError::OtherLog { .. } => {
            let error = Error::Fenced {
                what: error.to_string().into(),
            };
            link.set(LinkState::Ended(error.clone()));
            TransferFault::Ended(error)
        }
        error => TransferFault::Damaged(error.to_string()),
    }
}

/// What the catalog does not say yet.
fn fresh(catalog: &Catalog, mut changes: Vec<Change>) -> Vec<Change> {
    changes.retain(|change| {
        let known = catalog.streams.get(&change.stream());
        let is_known = known.is_some_and(|known| match change {
            Change::Stream { .. } => true,
            Change::Segment { archived, .. } => archived.facts.end <= known.end(),
            Change::Trimmed { start, .. } => *start <= known.start,
        });
        !is_known
    });
    changes
}

impl fmt::Debug for UploaderActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UploaderActor")
            .field("under_way", &self.under_way.len())
            .finish_non_exhaustive()
    }
}

impl Actor for UploaderActor {
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

impl Message<Upload> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Upload, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.take").await;
        let Upload { key, copy, done } = message;
        let (log, link) = (Arc::clone(&self.log), Arc::clone(&self.link));
        let sender = || self.unfinished.sender(log, link, key.to_string());
        let sender = self.link.is_durable.then(sender);
        let source = FileSource {
            path: self.log.layout.warm(key.stream, key.segment),
            log: Arc::clone(&self.log),
            running: self.running.clone(),
            len: copy.file_len,
            sender,
        };
        self.begin(done, upload(Arc::clone(&self.link), source, key, copy));
    }
}

impl Message<Publish> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Publish, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.publish").await;
        let Publish { changes, done } = message;
        let (link, owned) = (Arc::clone(&self.link), Arc::clone(&self.owned));
        let published = Arc::clone(&self.published);
        self.begin(done, async move {
            let outcome = publish(link, owned, changes).await;
            if outcome.is_ok() {
                published.notify_one();
            }
            outcome
        });
    }
}

impl Message<Delete> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Delete, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.take").await;
        let Delete { keys, done } = message;
        let link = Arc::clone(&self.link);
        self.begin(done, async move {
            for key in keys {
                link.client.delete(&key).await?;
            }
            Ok(())
        });
    }
}

impl Message<Fetch> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Fetch, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.take").await;
        let Fetch {
            identity,
            key,
            copy,
            hold,
            done,
        } = message;
        let (log, link) = (Arc::clone(&self.log), Arc::clone(&self.link));
        let alive = self.alive.subscribe();
        let job = self.log.job(Work::Fetch, &self.running, move || {
            let _hold = hold;
            let mut pace = |_| alive.has_changed().is_ok();
            let remote = &link.remote;
            let source = remote.whole(key, copy.file_len, Some(alive.clone()));
            let disk = GentleDisk::new(Arc::clone(&log.disk));
            warm::fetch(&disk, &log.layout, &identity, &copy, &source, &mut pace)
        });
        self.begin(done, async move {
            let fetched = job.await.map_err(|_| TransferFault::Stopped)?;
            fetched.map_err(TransferFault::from)
        });
    }
}

impl Message<Look> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Look, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.take").await;
        let Look { key, len, done } = message;
        let link = Arc::clone(&self.link);
        self.begin(done, async move {
            let found = link.client.stat(&key.to_string()).await?;
            match found == len {
                true => Ok(()),
                false => {
                    let what = format!("{key} has {found} bytes, and not {len}");
                    Err(TransferFault::Damaged(what))
                }
            }
        });
    }
}

impl Message<Survey> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Survey, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.take").await;
        let Survey { after, done } = message;
        let (link, owned) = (Arc::clone(&self.link), Arc::clone(&self.owned));
        self.begin(done, survey(link, owned, after));
    }
}

impl Message<Discard> for UploaderActor {
    type Reply = ();

    async fn handle(&mut self, message: Discard, _: &mut Context<Self, ()>) {
        self.log.faults.at("uploader.take").await;
        let Discard { key, done } = message;
        let (link, owned) = (Arc::clone(&self.link), Arc::clone(&self.owned));
        self.begin(done, discard(link, owned, key));
    }
}
