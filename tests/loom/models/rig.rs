//! A stream as it is when a model begins, and how a model is run.

use std::{io, io::Write, path::PathBuf, sync::Arc};

use loom::model::Builder;
use tierlog_actors::{
    exec::{Executor, Job, Work},
    meters::Share,
    protocol::writer::{Append, LaneMsg},
    read::{ReadContext, ReadLimits},
    stream::{
        archive::{ArchiveMark, ArchiveWishes},
        budget::Budget,
        shared::{Begin, DoorLimits, StreamShared},
        tail::TailBudget,
    },
};
use tierlog_storage::{
    Incarnation, Offset, StreamId,
    disk::RealDisk,
    layout::Layout,
    segment::{Frame, FrameBuilder, FrameSeal, NewRecord},
};

/// Runs a model in every order with at most so many switches away from a thread that could go on.
/// `LOOM_MAX_PREEMPTIONS` asks for more.
pub(crate) fn every_order(switches: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = Builder::new();
    builder.preemption_bound.get_or_insert(switches);
    builder.max_branches = 20_000;
    let tried = Arc::new(std::sync::atomic::AtomicU64::new(0));
    let count = Arc::clone(&tried);
    builder.check(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        model();
    });
    let name = std::thread::current().name().unwrap_or_default().to_owned();
    let tried = tried.load(std::sync::atomic::Ordering::Relaxed);
    // Past what a test captures: a model of one order tries nothing.
    let _told = writeln!(io::stderr(), "{name}: {tried} orders");
    assert!(tried > 1, "one order is no model");
}

/// Room for so many bytes and messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Room {
    pub(crate) bytes: usize,
    pub(crate) lane: usize,
    pub(crate) tail: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            bytes: 1 << 20,
            lane: 8,
            tail: 1 << 20,
        }
    }
}

/// An empty stream.
pub(crate) fn stream(room: Room) -> Arc<StreamShared> {
    stream_with(room, None).0
}

/// The same with Tier 2.
pub(crate) fn archived_stream(room: Room) -> (Arc<StreamShared>, Arc<ArchiveWishes>) {
    let wishes = Arc::<ArchiveWishes>::default();
    let (stream, wishes) = stream_with(room, Some(wishes));
    (stream, wishes.expect("given"))
}

fn stream_with(
    room: Room,
    wishes: Option<Arc<ArchiveWishes>>,
) -> (Arc<StreamShared>, Option<Arc<ArchiveWishes>>) {
    let id = StreamId::from_bytes([7; 16]);
    let begin = Begin {
        start: Offset(0),
        end: Offset(0),
        incarnation: Incarnation(1),
        archive: wishes
            .as_ref()
            .map(|wishes| ArchiveMark::new(id, 0, Arc::clone(wishes))),
    };
    let limits = DoorLimits {
        lane: room.lane,
        max_record: 1 << 16,
    };
    let budget = Budget::new(room.bytes, None);
    let tail = TailBudget::new(room.tail, Share::default());
    (
        StreamShared::new(id, "s", limits, budget, tail, begin),
        wishes,
    )
}

/// One byte to be appended.
pub(crate) fn record() -> NewRecord {
    NewRecord::new(vec![1])
}

/// What a writer finds on the lane.
pub(crate) fn next_append(stream: &StreamShared) -> Option<Append> {
    match stream.lane().try_recv() {
        Ok(LaneMsg::Append(append)) => Some(append),
        Ok(LaneMsg::Control(_)) => panic!("nobody gave a command"),
        Err(_) => None,
    }
}

/// A frame of `count` records from `base` on.
pub(crate) fn frame(base: u64, count: u64) -> Frame {
    let mut builder = FrameBuilder::new(64);
    (0..count).for_each(|n| builder.push(1_000 + base + n, &record()));
    builder.finish(&FrameSeal {
        base: Offset(base),
        durable: Offset(0),
        salt: SALT,
    })
}

/// The salt of the segments of a model.
pub(crate) const SALT: u64 = 0x5a17;

/// Runs a job where it is ordered.
#[derive(Debug)]
pub(crate) struct AtOnce;

impl Executor for AtOnce {
    fn submit(&self, _: Work, job: Job) -> Result<(), Job> {
        job();
        Ok(())
    }
}

/// No disk is read: all that a reader needs is in memory.
pub(crate) fn in_memory() -> Arc<ReadContext> {
    let limits = ReadLimits::default();
    let layout = Layout::new(PathBuf::from("/nowhere"));
    ReadContext::new(Arc::new(RealDisk), layout, Arc::new(AtOnce), &limits)
}
