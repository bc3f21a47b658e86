//! What a stream does not keep: by bytes, by age, in every tier, beside readers and failures.

mod faults;
mod leases;
mod limits;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tierlog::{
    Keep, Offset, Retention, Size, Stream,
    testing::{Clock, storage::disk::sim::SimDisk},
};

use crate::{faults::rig::Rig, support::within, tiers::append};

/// A clock that a test sets.
#[derive(Debug, Clone)]
struct Hand(Arc<AtomicU64>);

impl Hand {
    fn new() -> Self {
        let day = Duration::from_secs(86_400);
        Self(Arc::new(AtomicU64::new(day.as_nanos() as u64)))
    }

    fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_nanos() as u64, Ordering::SeqCst);
    }
}

impl Clock for Hand {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }
}

/// A log in one tier, with a clock.
fn rig(disk: &SimDisk, clock: &Hand) -> Rig {
    let mut rig = Rig::sim(disk)
        .with("idle_mark", "1h")
        .with("tail_cache", "0B")
        .with("read_cache", "0B");
    rig.clock = Arc::new(clock.clone());
    rig
}

/// Segments of ten records each, all sealed.
async fn tens(stream: &Stream, tens: std::ops::Range<u64>) {
    for ten in tens {
        append(stream, ten * 10..ten * 10 + 10).await;
        within(stream.seal()).await.expect("sealed");
    }
}

fn bytes(bytes: Size) -> Retention {
    Retention {
        age: Keep::Default,
        bytes: Keep::AtMost(bytes),
    }
}

const NOTHING: Size = Size::new(0);

/// Sets the limits, and comes back when what they ask for is done: a trim has its turn behind the one
/// that the coordinator begins as soon as it knows them.
async fn keep(stream: &Stream, retention: Retention) -> Offset {
    within(stream.set_retention(retention)).await.expect("set");
    within(stream.trim(Offset(0))).await.expect("trimmed");
    stream.watermarks().start
}

/// Bytes of segment files, whichever tier they are in.
async fn kept_bytes(stream: &Stream) -> u64 {
    let segments = stream.segments().await.expect("segments");
    segments.iter().map(|segment| segment.file_len).sum()
}
