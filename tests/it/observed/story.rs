//! All that can be measured or told happens to one log.

use std::{fs, path::PathBuf, sync::Arc};

use futures::future::join_all;
use tierlog::{
    Error, From, Keep, Kind, Level, NewRecord, Offset, ReadOnly, Retention, Size, Stream,
    Supervisor, TryAppend, TryRead,
    testing::{
        Action, Injected,
        storage::{
            SegmentNo,
            disk::{
                Access, Disk,
                fault::{CallKind, Calls, Fault},
                sim::SimDisk,
            },
            layout::Layout,
        },
    },
};
use tracing::Dispatch;

use super::listener::Heard;
use crate::{
    cold::bucket::Bucket,
    faults::rig::{Rig, eventually, segment, settle, until},
    support::{close, is_locked, read_all, within},
};

/// What stands in each payload, and in each key.
pub const PAYLOAD: &str = "the-payload";
pub const KEY: &str = "the-key";

/// A log in a directory, whose threads tell the test what they do.
pub struct Story {
    pub rig: Rig,
    pub to: Dispatch,
}

fn record(no: usize) -> NewRecord {
    let mut record = NewRecord::new(format!("{PAYLOAD} {no:04} {}", "x".repeat(80)));
    record.key = Some(KEY.into());
    record
}

/// Flips a bit of what stands behind `mark` in a file.
fn flip(path: &PathBuf, mark: &str) {
    let mut bytes = fs::read(path).expect("a file");
    let found = bytes.windows(mark.len()).position(|w| w == mark.as_bytes());
    let at = found.expect("it stands there") + mark.len() + 10;
    bytes[at] ^= 1;
    fs::write(path, bytes).expect("written");
}

impl Story {
    fn injected(&self) -> Injected {
        let mut injected = self.rig.injected();
        injected.executor = Arc::new(Heard {
            threads: injected.executor,
            to: self.to.clone(),
        });
        injected
    }

    async fn open(&self) -> Supervisor {
        within(async {
            loop {
                match Supervisor::open_with(self.rig.settings.clone(), self.injected()).await {
                    Ok(log) => return log,
                    Err(error) if is_locked(&error) => tokio::task::yield_now().await,
                    Err(error) => panic!("{error}"),
                }
            }
        })
        .await
    }

    fn file(&self, stream: &Stream, no: u64) -> PathBuf {
        Layout::new(&self.rig.settings.data).segment(stream.id(), SegmentNo(no))
    }

    pub async fn happens(&self) {
        self.load().await;
        self.faults().await;
        self.restarts().await;
        self.crash().await;
        self.damage().await;
        self.tiers().await;
        self.bucket().await;
    }

    /// A log with Tier 2 that fails once, loses a file, and is read from there.
    async fn bucket(&self) {
        let (disk, bucket) = (SimDisk::new(), Bucket::default());
        let rig = crate::cold::rig(&disk, &bucket);
        let (log, stream) = crate::faults::rig::one_stream(&rig).await;
        crate::tiers::append(&stream, 0..199).await;
        let archived = stream.append_at(crate::tiers::long(199), Level::Archived);
        within(archived).await.expect("archived");
        bucket.set_down(true);
        let lost = crate::tiers::files(&disk, &stream, "tlz")[0].clone();
        eventually("it is compressed alone", || {
            disk.open(&lost.with_extension("tls"), Access::Read)
                .is_err()
        })
        .await;
        disk.remove(&lost).expect("removed");
        let reader = stream.reader(From::Earliest).await;
        let failed = within(reader.expect("a reader").next_batch(1)).await;
        failed.expect_err("no copy can be had");
        let swept = within(log.log().sweep()).await;
        swept.expect_err("nothing can be looked at");
        bucket.set_down(false);
        within(
            log.context()
                .log
                .cold
                .as_ref()
                .expect("Tier 2")
                .client
                .ready(),
        )
        .await;
        // A wish that comes while the last attempt is slept off is dropped; who reads again wishes again.
        within(async {
            while disk.open(&lost, Access::Read).is_err() {
                crate::tiers::holds(&stream, 0..200).await;
            }
        })
        .await;
        // Behind the fetch: the coordinator takes what has ended before it takes a seal.
        crate::tiers::append(&stream, 200..201).await;
        within(stream.seal()).await.expect("sealed");
        bucket.put("not-an-object-of-a-log", "").await;
        crate::cold::sweep::leave_one(&bucket).await;
        disk.create_new(&lost.with_extension("tls.tmp"))
            .expect("a leftover");
        disk.create_new(std::path::Path::new("/log/notes"))
            .expect("a strange file");
        let swept = within(log.log().sweep()).await.expect("swept");
        assert_eq!(swept.directory.removed, 1, "{swept:?}");
        let swept = swept.tier_2.expect("there is a bucket");
        assert_eq!((swept.removed, swept.foreign), (1, 1), "{swept:?}");
        close(log).await;
    }

    /// A new log; many streams at once; refusals; reads.
    async fn load(&self) {
        let log = self.open().await;
        let names = ["a", "b", "c", "d"];
        let opened = join_all(names.map(|name| {
            let log = log.log();
            async move { within(log.stream(name)).await.expect("a stream") }
        }));
        let streams = opened.await;
        let mut tickets = Vec::new();
        for stream in &streams {
            tickets.extend((0..9).map(|no| stream.try_append(record(no)).expect("room")));
        }
        for flushed in join_all(streams.iter().map(Stream::flush)).await {
            assert_eq!(flushed.expect("durable"), Offset(9));
        }
        for ticket in tickets {
            within(ticket).await.expect("durable");
        }
        let refused = (0..).find_map(|no| streams[0].try_append(record(no)).err());
        assert!(matches!(refused, Some(TryAppend::WouldBlock { .. })));
        within(streams[0].flush()).await.expect("durable");
        let mut reader = streams[1].reader(From::Earliest).follow().await.expect("a");
        for _ in 0..9 {
            within(reader.try_next()).await.expect("read").expect("one");
        }
        let at_end = reader.try_next().now();
        assert!(matches!(at_end, Err(TryRead::WouldBlock(Kind::Tail))));
        within(streams[1].seal()).await.expect("sealed");
        within(streams[2].trim(Offset(4))).await.expect("trimmed");
        self.expires(&log).await;
        within(streams[3].truncate_after(Some(Offset(6))))
            .await
            .expect("cut");
        close(log).await;
        let log = self.open().await;
        let stream = within(log.log().existing("b")).await.expect("a stream");
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let reads = self.rig.plan.hold(Calls::of(CallKind::ReadAt).at(segment));
        let first = reader.try_next().now();
        assert!(matches!(first, Err(TryRead::WouldBlock(Kind::Hydration))));
        reads.release();
        for _ in 0..2 {
            assert_eq!(read_all(&stream).await.len(), 9);
        }
        close(log).await;
    }

    /// A stream has more than it is to keep.
    async fn expires(&self, log: &Supervisor) {
        let stream = within(log.log().stream("e")).await.expect("a stream");
        within(stream.append_at(record(0), Level::Written))
            .await
            .expect("written");
        within(stream.seal()).await.expect("sealed");
        let retention = Retention {
            bytes: Keep::AtMost(Size::new(0)),
            ..Retention::default()
        };
        within(stream.set_retention(retention)).await.expect("set");
        eventually("it is gone", || stream.watermarks().start == Offset(1)).await;
    }

    /// A sync fails, then the disk is full.
    async fn faults(&self) {
        let log = self.open().await;
        let stream = within(log.log().stream("f")).await.expect("a stream");
        within(stream.append_at(record(0), Level::Written))
            .await
            .expect("written");
        self.rig
            .plan
            .fail(Calls::of(CallKind::SyncData).at(segment), Fault::Io);
        within(stream.flush()).await.expect("written elsewhere");
        assert_eq!(log.counters().repairs, 1);
        let armed = self.rig.plan.fail(
            Calls::of(CallKind::Allocate).at(segment).forever(),
            Fault::Full,
        );
        let large = NewRecord::new(PAYLOAD.repeat(1_400));
        let mut failed = None;
        while failed.is_none() {
            if let Ok(ticket) = stream.try_append(large.clone()) {
                failed = within(ticket.at(Level::Written)).await.err();
            }
        }
        let failed = failed.expect("no room");
        assert!(matches!(failed.error, Error::StorageFull), "{failed}");
        armed.disarm();
        within(stream.ready(Kind::Admission)).await;
        close(log).await;
    }

    /// A writer ends, and then an actor that serves all.
    async fn restarts(&self) {
        let log = self.open().await;
        let stream = within(log.log().stream("r")).await.expect("a stream");
        within(stream.append_at(record(0), Level::Written))
            .await
            .expect("written");
        let mut appender = stream.appender();
        appender.push(PAYLOAD.as_bytes()).await.expect("room");
        self.rig.faults.arm("writer.drain", Action::Panic, 1);
        let _ = within(stream.append_at(record(1), Level::Written)).await;
        until(&log, |health| health.ok && health.restarts.len() == 1).await;
        let _ = within(stream.append_at(record(2), Level::Written)).await;
        self.rig.faults.arm("flusher.take", Action::Panic, 1);
        let _ = within(stream.flush()).await;
        until(&log, |health| health.ok && health.restarts.len() == 2).await;
        close(log).await;
        drop(appender);
    }

    /// Frames of which one is torn; a file that nothing explains; a torn manifest.
    async fn crash(&self) {
        let log = self.open().await;
        let odd = within(log.log().stream("odd")).await.expect("a stream");
        within(odd.append_at(record(0), Level::Written))
            .await
            .expect("written");
        within(odd.seal()).await.expect("sealed");
        let strange = self.file(&odd, 0);
        let bytes = fs::read(&strange).expect("a segment");
        within(odd.truncate_after(None)).await.expect("cut");
        let torn = within(log.log().stream("torn")).await.expect("a stream");
        for no in 0..5 {
            within(torn.append_at(record(no), Level::Written))
                .await
                .expect("written");
        }
        settle().await;
        drop((odd, log));
        let layout = Layout::new(&self.rig.settings.data);
        let folder = fs::read_dir(layout.manifest_dir()).expect("a folder");
        let manifests = folder.map(|entry| entry.expect("a name").path());
        let manifest = manifests.max().expect("a manifest");
        self.free_again().await;
        fs::write(strange, bytes).expect("written");
        flip(&self.file(&torn, 0), &format!("{PAYLOAD} 0002"));
        let mut bytes = fs::read(&manifest).expect("the manifest");
        let end = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .expect("not blank");
        bytes[end + 9..end + 30].fill(0xa5);
        fs::write(manifest, bytes).expect("written");
        let log = self.open().await;
        let report = log.recovery();
        assert_eq!(report.quarantined.len(), 1, "{report}");
        let torn = within(log.log().existing("torn")).await.expect("there");
        assert_eq!(torn.watermarks().next, Offset(2), "{report}");
        close(log).await;
    }

    /// Waits until the last owner of this process has let go.
    async fn free_again(&self) {
        let lock = Layout::new(&self.rig.settings.data).lock();
        within(async {
            while self.rig.disk.lock(&lock).is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// A flipped bit and a missing file.
    async fn damage(&self) {
        let log = self.open().await;
        let flipped = within(log.log().stream("flipped")).await.expect("a stream");
        let missing = within(log.log().stream("missing")).await.expect("a stream");
        for stream in [&flipped, &missing] {
            within(stream.append_at(record(0), Level::Written))
                .await
                .expect("written");
            within(stream.seal()).await.expect("sealed");
        }
        close(log).await;
        flip(&self.file(&flipped, 0), PAYLOAD);
        fs::remove_file(self.file(&missing, 0)).expect("removed");
        let log = self.open().await;
        let flipped = within(log.log().existing("flipped")).await.expect("there");
        let mut reader = flipped.reader(From::Earliest).await.expect("a reader");
        let read = within(reader.try_next()).await;
        assert!(matches!(read, Err(Error::Corrupt(_))), "{read:?}");
        close(log).await;
        self.look().await;
    }

    /// Segments are compressed, their files go, and one is made again to be cut.
    async fn tiers(&self) {
        let mut rig = self.rig.clone().with("hot_budget", "320KiB");
        rig.settings.data.set_file_name("tiers");
        let to = self.to.clone();
        let other = Self { rig, to };
        let log = other.open().await;
        let stream = within(log.log().stream("t")).await.expect("a stream");
        for _ in 0..40 {
            let large = NewRecord::new(PAYLOAD.repeat(1_400));
            let appended = stream.append_at(large, Level::Written);
            within(appended).await.expect("written");
        }
        let first = other.file(&stream, 0);
        within(async {
            while first.exists() {
                tokio::task::yield_now().await;
            }
        })
        .await;
        within(async {
            while let Err(error) = stream.truncate_after(Some(Offset(0))).await {
                assert!(matches!(error, Error::Unavailable { .. }), "{error}");
                tokio::task::yield_now().await;
            }
        })
        .await;
        assert_eq!(read_all(&stream).await.len(), 1);
        close(log).await;
    }

    /// Everything that can be done without owning the log.
    pub async fn look(&self) {
        let settings = self.rig.settings.clone();
        let view = within(ReadOnly::attach_injected(settings, self.injected()))
            .await
            .expect("attached");
        let report = within(view.verify(None, |_, _| ()))
            .await
            .expect("verified");
        assert_eq!(report.damage.len(), 2, "{report:?}");
        let stream = view.stream("b").expect("there");
        let mut reader = stream.reader(From::Earliest).follow().await.expect("one");
        for _ in 0..9 {
            within(reader.try_next()).await.expect("read").expect("one");
        }
        let at_end = reader.try_next().now();
        assert!(matches!(at_end, Err(TryRead::WouldBlock(_))));
    }
}
