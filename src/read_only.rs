//! Looking at a log without owning it.

use std::{path::Path, sync::Arc};

use tierlog_actors::{
    Error,
    cold::{self, Remote},
    exec::Executor,
    options::Options,
    place,
    read::{Attached, From, ReadLimits},
    stream::shared::{StreamShared, Watermarks},
};
use tierlog_cold::store::Store;
use tierlog_storage::{
    StreamId,
    disk::{Disk, RealDisk},
    error::StorageError,
    layout::Layout,
    manifest::Inspection,
    recovery::RecoveryReport,
};

use crate::{
    handles,
    info::{self, SegmentInfo, StreamInfo},
    log::check_name,
    parts::Parts,
    reader::ReaderBuilder,
    settings::Settings,
    verify::{self, VerifyReport},
};

/// A log, read beside its owner or without one. Nothing is locked, written or created; what an
/// unclean stop left behind is recovered in memory only. It shows as durable what the files and the
/// manifest claim.
///
/// ```
/// use tierlog::{From, ReadOnly, Settings, Supervisor};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tierlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let path = dir.path().join("log");
/// # let supervisor = Supervisor::open(Settings::new(&path)).await?;
/// # supervisor.log().stream("orders").await?.append("hello").await?;
/// let view = ReadOnly::attach(&path).await?; // its owner may be at work meanwhile
/// for stream in view.streams() {
///     println!("{}: durable up to {}", stream.name, stream.watermarks.durable);
/// }
/// let mut reader = view.stream("orders")?.reader(From::Earliest).await?;
/// assert_eq!(reader.next_batch(10).await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct ReadOnly {
    attached: Arc<Attached>,
    layout: Layout,
}

/// A stream of a log that was attached read-only.
#[derive(Debug, Clone)]
pub struct ReadStream {
    attached: Arc<Attached>,
    layout: Layout,
    pub(crate) shared: Arc<StreamShared>,
}

impl ReadOnly {
    /// Attaches to the log in a directory.
    ///
    /// # Errors
    /// `Storage` when there is no log, or one that can't be read.
    pub async fn attach(path: impl AsRef<Path>) -> Result<Self, Error> {
        Self::attach_with(Settings::new(path.as_ref())).await
    }

    /// [`attach`](Self::attach) with settings: `data`, `cold`, `read`, `read_cache` and `io_threads`
    /// count.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    pub async fn attach_with(settings: Settings) -> Result<Self, Error> {
        Self::attach_with_parts(settings, Parts::new()).await
    }

    /// [`attach_with`](Self::attach_with) what the app brings along. A store is read, and neither claimed
    /// nor written.
    ///
    /// # Errors
    /// As [`attach`](Self::attach); `Settings` also when the parts can't work, or contradict the settings.
    pub async fn attach_with_parts(settings: Settings, parts: Parts) -> Result<Self, Error> {
        let options = handles::options(&settings)?;
        let executor = handles::threads_for_reading(&options)?;
        let store = handles::store(&settings, &executor, parts)?;
        Self::attach_on(&options, Arc::new(RealDisk), executor, store).await
    }

    /// [`attach_with`](Self::attach_with) on another disk.
    ///
    /// # Errors
    /// As [`attach`](Self::attach).
    #[cfg(feature = "fault-injection")]
    #[doc(hidden)]
    pub async fn attach_injected(
        settings: Settings,
        injected: tierlog_actors::supervisor::Injected,
    ) -> Result<Self, Error> {
        let options = handles::options(&settings)?;
        let tierlog_actors::supervisor::Injected {
            disk,
            executor,
            store,
            ..
        } = injected;
        Self::attach_on(&options, disk, executor, store).await
    }

    async fn attach_on(
        options: &Options,
        disk: Arc<dyn Disk>,
        executor: Arc<dyn Executor>,
        store: Option<Arc<dyn Store>>,
    ) -> Result<Self, Error> {
        let data = place::resolve(&disk, &executor, options.data.clone()).await?;
        let layout = Layout::new(data);
        let limits = ReadLimits {
            mode: options.read,
            cache: options.read_cache,
            ..ReadLimits::default()
        };
        let attached = Attached::open(disk, layout.clone(), executor, &limits).await?;
        if let Some(store) = store {
            // Read, and neither claimed nor written.
            let remote = Remote::new(cold::client(store));
            attached.context().reads_through(remote);
        }
        Ok(Self {
            attached: Arc::new(attached),
            layout,
        })
    }

    /// Its streams, by name.
    pub fn streams(&self) -> Vec<StreamInfo> {
        let mut streams: Vec<_> = self
            .attached
            .streams()
            .iter()
            .map(|stream| info::open_stream(stream))
            .collect();
        streams.sort_by(|a, b| a.name.cmp(&b.name));
        streams
    }

    /// The stream of this name.
    ///
    /// # Errors
    /// `UnknownStream`, `StreamName`.
    pub fn stream(&self, name: &str) -> Result<ReadStream, Error> {
        check_name(name)?;
        let shared = self.attached.stream(name)?;
        let (attached, layout) = (Arc::clone(&self.attached), self.layout.clone());
        Ok(ReadStream {
            attached,
            layout,
            shared,
        })
    }

    /// Looks again: new streams, new records, what was trimmed. Readers that follow do it by
    /// themselves.
    ///
    /// # Errors
    /// When it can't be read.
    pub async fn refresh(&self) -> Result<(), Error> {
        self.attached.refresh().await
    }

    /// What a recovery would cut, copy or report.
    pub fn recovery(&self) -> RecoveryReport {
        RecoveryReport::clone(self.attached.recovery())
    }

    /// Reads every byte of one stream, or of all, and checks it: headers, checksums, offsets,
    /// digests, footers, in every file of this machine. What is in Tier 2 alone is counted and not read;
    /// [`verify_archived`](Self::verify_archived) does. `progress` is told the bytes checked and the bytes in all.
    ///
    /// # Errors
    /// When something can't be read at all. Damage is no error here; the report lists it.
    pub async fn verify(
        &self,
        stream: Option<&str>,
        progress: impl FnMut(u64, u64),
    ) -> Result<VerifyReport, Error> {
        if let Some(name) = stream {
            check_name(name)?;
        }
        verify::verify(&self.attached, &self.layout, stream, false, progress).await
    }

    /// The same, and every byte of the objects in Tier 2, which it downloads whole, 10 MiB at
    /// a time. A missing object is damage.
    ///
    /// # Errors
    /// As [`verify`](Self::verify). `Unsupported` when the log was attached without `cold`, `Unavailable`
    /// when Tier 2 does not answer.
    pub async fn verify_archived(
        &self,
        stream: Option<&str>,
        progress: impl FnMut(u64, u64),
    ) -> Result<VerifyReport, Error> {
        if let Some(name) = stream {
            check_name(name)?;
        }
        verify::verify(&self.attached, &self.layout, stream, true, progress).await
    }

    /// The manifest's files, chunks and entries, as far as they can be read; for looking into a
    /// log that can't be opened as well. Blocks.
    ///
    /// # Errors
    /// When there is no log.
    pub fn inspect_manifest(path: impl AsRef<Path>) -> Result<Inspection, Error> {
        let data = RealDisk
            .resolve(path.as_ref())
            .map_err(|error| StorageError::io("follow", path.as_ref(), error))?;
        Ok(tierlog_storage::manifest::inspect(
            &RealDisk,
            &Layout::new(data),
        )?)
    }
}

impl ReadStream {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Its identity.
    pub fn id(&self) -> StreamId {
        self.shared.id
    }

    /// Where it stood when it was last looked at.
    pub fn watermarks(&self) -> Watermarks {
        self.shared.watermarks()
    }

    /// A reader that begins at `from`. One that follows looks for news by itself.
    pub fn reader(&self, from: From) -> ReaderBuilder {
        ReaderBuilder::attached(Arc::clone(&self.attached), Arc::clone(&self.shared), from)
    }

    /// Where its segments live.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        let segments = self.shared.segments.all();
        segments
            .iter()
            .map(|s| info::segment(&self.layout, self.shared.id, s))
            .collect()
    }
}
