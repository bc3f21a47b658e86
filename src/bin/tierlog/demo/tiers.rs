//! How the demo spreads its segments over the tiers, and waits until they are there.

use std::time::{Duration, Instant};

use tierlog::{ClaimHealth, Offset, SegmentInfo, Settings, Size, Stream, Supervisor};

use crate::exit::Ending;
use crate::output::counted;
use crate::progress::progress;
use crate::session::note;

use super::ingest::PIECE;
use super::pieces::GOES_ON;

/// How often Tier 2 is looked at while nothing is heard of it.
const LOOK: Duration = Duration::from_millis(200);
/// Nothing that came to Tier 2 for so long is news.
const SLOW: Duration = Duration::from_secs(5);
/// How long compressed files get to go once the objects stand for them.
const SETTLES_IN: Duration = Duration::from_secs(10);

/// What Tier 2 took.
#[derive(Debug)]
pub(super) struct Archived {
    pub(super) objects: u64,
    pub(super) bytes: u64,
    /// From the last ack to the publication of the last object.
    pub(super) behind: Duration,
}

/// Small budgets for whatever nobody set: some sixteen segments, of at least 196 KiB, four of which can
/// be hot.
pub(super) fn shrink(settings: &mut Settings, input: u64) {
    let default = Settings::default();
    if settings.max_record == default.max_record {
        settings.max_record = Size::new(PIECE + (4 << 10));
    }
    if settings.segment_size == default.segment_size {
        let part = (input / 16).next_multiple_of(64 << 10);
        let least = settings.max_record.bytes() + (128 << 10);
        let most = default.segment_size.bytes();
        settings.segment_size = Size::new(part.clamp(least.min(most), most));
    }
    // A record that is only its mark would get nowhere.
    let least = Size::new(GOES_ON.len() as u64 + 1);
    settings.max_record = settings.max_record.max(least);
    let segments = |n: u64| Some(Size::new(n * settings.segment_size.bytes()));
    if settings.hot_budget == default.hot_budget {
        settings.hot_budget = segments(4);
    }
    if settings.warm_budget == default.warm_budget && settings.cold.is_some() {
        settings.warm_budget = segments(4);
    }
    if settings.unsynced_bytes == default.unsynced_bytes {
        settings.unsynced_bytes = Size::mib(8);
    }
    if settings.tail_cache == default.tail_cache {
        settings.tail_cache = Size::mib(4);
    }
    if settings.read_cache == default.read_cache {
        settings.read_cache = Size::mib(8);
    }
}

/// How small files become differs by a factor of a hundred, and is known only once they are. So that each
/// tier has something to read from, the older half goes to Tier 2 alone.
pub(super) fn spread(settings: &mut Settings, segments: &[SegmentInfo]) {
    let newer = &segments[segments.len() / 2..];
    let sizes = newer.iter().filter_map(|segment| segment.object_len);
    settings.warm_budget = Some(Size::new(sizes.sum::<u64>().max(1)));
}

/// Ends the open segment, and waits until Tier 2 has all of it.
pub(super) async fn archive(
    supervisor: &Supervisor,
    stream: &Stream,
    json: bool,
) -> Result<Archived, Ending> {
    let began = Instant::now();
    let end = stream.seal().await?;
    let bar = progress(json, "archiving {wide_bar} {pos}/{len} records {eta}");
    bar.set_length(end.get());
    let mut marks = stream.watch();
    let mut slow = Slow::new(json);
    loop {
        let archived = stream.watermarks().archived;
        bar.set_position(archived.get());
        if archived >= end {
            break;
        }
        slow.tell_once(archived, end);
        let health = supervisor.health().await;
        if let Some(ClaimHealth::Ended(why)) = health.cold.map(|cold| cold.claim) {
            let what = format!("Tier 2 takes nothing more: {why}");
            return Err(Ending::failed(what, "run the demo again"));
        }
        tokio::select! {
            _ = marks.changed() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
    bar.finish_and_clear();
    let behind = began.elapsed();
    let segments = stream.segments().await?;
    let sizes = segments.iter().filter_map(|segment| segment.object_len);
    Ok(Archived {
        objects: sizes.clone().count() as u64,
        bytes: sizes.sum(),
        behind,
    })
}

/// Says once that nothing has come to Tier 2 for long.
struct Slow {
    json: bool,
    told: bool,
    stands_at: Offset,
    since: Instant,
}

impl Slow {
    fn new(json: bool) -> Self {
        Self {
            json,
            told: false,
            stands_at: Offset::ZERO,
            since: Instant::now(),
        }
    }

    fn tell_once(&mut self, archived: Offset, end: Offset) {
        if archived > self.stands_at {
            (self.stands_at, self.since) = (archived, Instant::now());
        }
        if self.told || self.since.elapsed() < SLOW {
            return;
        }
        self.told = true;
        let all = counted(end.get(), "record");
        let text = format!("waiting: Tier 2 has {archived} of {all}; Ctrl-C ends it");
        note(self.json, &text);
    }
}

/// Waits until the compressed files take no more than their budget. What takes longer is told by where
/// the segments are in the end.
pub(super) async fn settle(stream: &Stream, settings: &Settings) -> Result<(), Ending> {
    let Some(budget) = settings.warm_budget else {
        return Ok(());
    };
    let began = Instant::now();
    while began.elapsed() < SETTLES_IN {
        let segments = stream.segments().await?;
        let taken: u64 = segments.iter().filter_map(|s| s.compressed_len).sum();
        if taken <= budget.bytes() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
