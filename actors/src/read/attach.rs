//! A log that is read without owning it: beside its writer, or without one.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use tierlog_storage::{
    LogId, StorageError,
    disk::Disk,
    layout::Layout,
    manifest::ManifestState,
    recovery::{RecoveryReport, read_only},
};

use super::{
    cursor::{Reader, ReaderOptions},
    follow::Follower,
    resolve::From,
    source::{Closing, ReadContext, ReadLimits},
    view::View,
};
use crate::{error::Error, exec::Executor, exec::JobDied, stream::shared::StreamShared};

/// A log that was attached read-only. Nothing is locked, written or created.
///
/// What it shows is what the files and the manifest claimed when it was attached or last
/// [refreshed](Self::refresh); while a reader follows, it is refreshed all the time.
pub struct Attached {
    view: Arc<View>,
    report: Arc<RecoveryReport>,
    follower: Mutex<Weak<Follower>>,
}

impl Attached {
    /// Attaches to the log in a directory.
    ///
    /// # Errors
    /// When there is no log, or it can't be read.
    pub async fn open(
        disk: Arc<dyn Disk>,
        layout: Layout,
        executor: Arc<dyn Executor>,
        limits: &ReadLimits,
    ) -> Result<Self, Error> {
        let ctx = ReadContext::new(disk, layout, executor, limits);
        let inner = Arc::clone(&ctx);
        let opened = ctx.job(move || {
            let found = read_only(&*inner.disk, &inner.layout)?;
            inner.is_of(found.log);
            let view = View::new(inner, &found);
            // Which segments are still open stands in the manifest alone; where it changes under
            // our hands, what was found above holds until the next look.
            view.refresh()?;
            Ok::<_, StorageError>((view, found.report))
        });
        let (view, report) = opened.await.map_err(died)?.map_err(Error::from)?;
        let damage = report.damage().count() as u64;
        ctx.meters.damage_at_open.increment(damage);
        let view = Arc::new(view);
        let _ = ctx.view.set(Arc::downgrade(&view));
        Ok(Self {
            view,
            report: Arc::new(report),
            follower: Mutex::default(),
        })
    }

    /// Which log it is.
    pub fn log(&self) -> LogId {
        self.view.log()
    }

    /// What was found when it was attached: what a recovery would cut, copy or report.
    pub fn recovery(&self) -> &Arc<RecoveryReport> {
        &self.report
    }

    /// What the manifest said when it was last read.
    pub fn manifest(&self) -> ManifestState {
        self.view.manifest()
    }

    /// What its readers share.
    pub fn context(&self) -> &Arc<ReadContext> {
        self.view.context()
    }

    /// Its streams, by identity.
    pub fn streams(&self) -> Vec<Arc<StreamShared>> {
        self.view.streams()
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// `UnknownStream`.
    pub fn stream(&self, name: &str) -> Result<Arc<StreamShared>, Error> {
        self.view
            .streams()
            .into_iter()
            .find(|stream| &*stream.name == name)
            .ok_or_else(|| Error::UnknownStream {
                name: name.to_owned(),
            })
    }

    /// Reads the claims and the manifest again: streams, ends, trims and truncations since the last
    /// time. Cancel-safe.
    ///
    /// # Errors
    /// When they can't be read.
    pub async fn refresh(&self) -> Result<(), Error> {
        let view = Arc::clone(&self.view);
        let done = self.view.context().job(move || view.refresh());
        done.await.map_err(died)?.map_err(Error::from)
    }

    /// A reader of one of its streams. One that follows keeps following, even beyond the life of
    /// this value.
    ///
    /// # Errors
    /// As [`Reader::open`].
    pub async fn reader(
        &self,
        stream: &Arc<StreamShared>,
        from: From,
        options: ReaderOptions,
    ) -> Result<Reader, Error> {
        let closing = if options.follow {
            Closing::Attached(self.follower()?)
        } else {
            Closing::Door
        };
        let options = ReaderOptions { closing, ..options };
        let ctx = Arc::clone(self.context());
        let mut reader = Reader::open(ctx, Arc::clone(stream), from, options).await?;
        reader.view = Some(Arc::clone(&self.view));
        Ok(reader)
    }

    fn follower(&self) -> Result<Arc<Follower>, Error> {
        let mut slot = self.follower.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(follower) = slot
            .upgrade()
            .filter(|follower| follower.failure().is_none())
        {
            return Ok(follower);
        }
        let follower = Follower::start(&self.view)?;
        *slot = Arc::downgrade(&follower);
        Ok(follower)
    }
}

fn died(_: JobDied) -> Error {
    Error::Unavailable {
        why: "a reading job ended without result".into(),
    }
}
