//! What a seed stands for: a small log, and what is done to it in a few lives.

use std::time::Duration;

use fastrand::Rng;
use tierlog::{FlushPolicy, Settings, Size};

use crate::sim;

const NAMES: [&str; 3] = ["one", "two", "three"];

/// Where segments go besides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tiers {
    /// Nowhere.
    Hot,
    /// To compressed files.
    Warm,
    /// And to a bucket.
    Cold,
}

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Closed,
    /// At the nth change from its beginning the process dies.
    Killed(u64),
    /// At the nth change from its beginning the power goes, with this seed.
    PowerCut(u64, u64),
}

/// One thing that is done to a stream.
#[derive(Debug, Clone)]
pub enum Step {
    /// A record of so many bytes of filler, for which is waited if the policy allows it.
    Append(usize),
    /// The same, for which nobody waits.
    Submit(usize),
    /// The same, waiting until it is archived.
    Archive(usize),
    Batch(Vec<usize>),
    /// Records in the buffers of an appender.
    Pack(Vec<usize>),
    Flush,
    Seal,
    /// Up to this part of what is durable, in sixteenths.
    Trim(u64),
    /// Back to this part of the stream, in sixteenths.
    Truncate(u64),
    /// Nothing happens for a while.
    Idle,
    /// The next sync of a file of this ending fails.
    FailSync(&'static str),
}

/// A life: for each stream what is done to it, and the end.
#[derive(Debug, Clone)]
pub struct Life {
    pub steps: Vec<(&'static str, Vec<Step>)>,
    pub ending: Ending,
}

/// What a seed stands for.
#[derive(Debug, Clone)]
pub struct Plan {
    pub seed: u64,
    pub settings: Settings,
    pub tiers: Tiers,
    pub lives: Vec<Life>,
    /// The making of the log, which is much the same under all seeds, is gone through as well.
    pub with_creation: bool,
    /// Each state is recovered through the actors, and not one of some only.
    pub all_through_actors: bool,
}

impl Plan {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed ^ 0x5747_4154_4553);
        let tiers = [Tiers::Cold, Tiers::Hot, Tiers::Warm][(seed % 3) as usize];
        let flush = match seed / 3 % 4 {
            0 => FlushPolicy::Always,
            1 => FlushPolicy::Every(Duration::from_millis(2)),
            2 => FlushPolicy::Bytes(Size::kib(2)),
            _ => FlushPolicy::Manual,
        };
        let all_through_actors = seed % 16 == 7;
        let streams = match all_through_actors {
            true => 1,
            false => rng.usize(1..=NAMES.len()),
        };
        let lives = match all_through_actors {
            true => 1,
            false => rng.usize(1..=3),
        };
        let steps = Steps {
            tiers,
            manual: flush == FlushPolicy::Manual,
            fails: rng.u8(..3) == 0,
        };
        let lives = (0..lives).map(|life| {
            // The making of the log takes some thirty changes.
            let earliest = if life == 0 { 50 } else { 5 };
            steps.life(&mut rng, &NAMES[..streams], earliest)
        });
        Self {
            seed,
            settings: settings(flush, tiers, streams as u64),
            tiers,
            lives: lives.collect(),
            with_creation: seed.is_multiple_of(8),
            all_through_actors,
        }
    }
}

fn settings(flush: FlushPolicy, tiers: Tiers, streams: u64) -> Settings {
    let small = sim::tiny();
    let segment = small.segment_size.bytes();
    // Each stream may have one open segment and one made ahead; what is beyond moves on.
    let hot_budget = (tiers != Tiers::Hot).then(|| Size::new(segment * (2 * streams + 1)));
    Settings {
        flush,
        hot_budget,
        // One segment on its way there, and next to nothing besides: what is archived is evicted.
        warm_budget: (tiers == Tiers::Cold).then(|| Size::new(segment + 4096)),
        archive_after: Duration::from_millis(1),
        idle_mark: Duration::from_millis(20),
        // Nobody syncs for us: there is room for all that is appended.
        unsynced_bytes: match flush {
            FlushPolicy::Manual => Size::mib(2),
            _ => small.unsynced_bytes,
        },
        ..small
    }
}

/// Which steps there are.
struct Steps {
    tiers: Tiers,
    manual: bool,
    fails: bool,
}

impl Steps {
    fn life(&self, rng: &mut Rng, names: &[&'static str], earliest: u64) -> Life {
        let most = 12 / names.len();
        let steps = names.iter().map(|name| {
            let count = rng.usize(2..=most);
            // There is something to be trimmed and cut.
            let first = Step::Append(size(rng));
            let steps = (1..count).map(|_| self.step(rng));
            (*name, std::iter::once(first).chain(steps).collect())
        });
        Life {
            steps: steps.collect(),
            ending: match rng.u8(..4) {
                0 | 1 => Ending::Closed,
                2 => Ending::Killed(rng.u64(earliest..160)),
                _ => Ending::PowerCut(rng.u64(earliest..160), rng.u64(..)),
            },
        }
    }

    fn step(&self, rng: &mut Rng) -> Step {
        let sizes = |rng: &mut Rng, most: usize| {
            let count = rng.usize(1..=most);
            (0..count).map(|_| size(rng)).collect()
        };
        match rng.u8(..26) {
            0..5 => Step::Append(size(rng)),
            5..8 => Step::Submit(size(rng)),
            8..11 => Step::Batch(sizes(rng, 5)),
            11 => Step::Pack(sizes(rng, 9)),
            12 | 13 => Step::Flush,
            14 | 15 => Step::Seal,
            16 | 17 => Step::Trim(rng.u64(4..=16)),
            18 | 19 => Step::Truncate(rng.u64(0..16)),
            20 => Step::Idle,
            21 | 22 if self.tiers == Tiers::Cold => Step::Archive(size(rng)),
            // What goes from the bucket again.
            25 if self.tiers == Tiers::Cold => Step::Trim(16),
            23 if self.fails => Step::FailSync(["tls", "tlm"][rng.usize(..2)]),
            _ if self.tiers == Tiers::Hot => Step::Append(size(rng)),
            // What fills segments moves them on.
            24 => Step::Append(rng.usize(12_000..60_000)),
            _ if self.manual => Step::Flush,
            _ => Step::Seal,
        }
    }
}

/// Mostly a part of a sector, now and then some pages.
fn size(rng: &mut Rng) -> usize {
    match rng.u8(..10) {
        0 => rng.usize(4_000..20_000),
        1 | 2 => rng.usize(300..2_500),
        _ => rng.usize(0..200),
    }
}
