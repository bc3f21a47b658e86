//! What a seed makes of the log and of its surroundings: capacities, latencies, what goes wrong.

use std::time::Duration;

use fastrand::Rng;
use tierlog::{FlushPolicy, Settings, Size};

use crate::pool::Latencies;

/// What goes wrong in a seed, again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Trouble {
    /// A write or an allocation fails, whole or in part, or is done and said to have failed.
    Writes,
    /// A sync fails, and is forgotten.
    Syncs,
    /// A read fails.
    Reads,
    /// A call on names fails: create, rename, remove, list, sync of a folder.
    Names,
    /// A call of the manifest's own files fails.
    Manifest,
    /// The disk is full for a while.
    Full,
    /// Jobs take so long that nobody waits for them.
    Stuck,
    /// Actors are killed, panic, or are held.
    Actors,
    /// Calls to the store fail, are late, or hang.
    Store,
    /// The store gives other bytes than it was given.
    Lies,
    /// The store is out of reach for a while.
    Outage,
    /// The wall clock is set.
    Clock,
    /// Somebody opens a copy of the directory.
    Rival,
}

impl Trouble {
    /// Those with many kinds of consequences come twice as often.
    const ALL: [Self; 17] = [
        Self::Syncs,
        Self::Manifest,
        Self::Full,
        Self::Actors,
        Self::Writes,
        Self::Syncs,
        Self::Reads,
        Self::Names,
        Self::Manifest,
        Self::Full,
        Self::Stuck,
        Self::Actors,
        Self::Store,
        Self::Lies,
        Self::Outage,
        Self::Clock,
        Self::Rival,
    ];

    /// It concerns Tier 2 alone.
    fn is_cold(self) -> bool {
        matches!(self, Self::Store | Self::Lies | Self::Outage | Self::Rival)
    }

    /// It concerns the disk.
    pub fn is_of_disk(self) -> bool {
        use Trouble::{Full, Manifest, Names, Reads, Stuck, Syncs, Writes};
        matches!(
            self,
            Writes | Syncs | Reads | Names | Manifest | Full | Stuck
        )
    }
}

/// One seed's choices that hold over all its lives.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How many processes live one after the other, besides the last one, which looks at it all.
    pub lives: u32,
    /// How many streams there are.
    pub streams: usize,
    /// Who appends.
    pub appenders: usize,
    /// Who reads.
    pub readers: usize,
    /// Calls that each appender makes in a life.
    pub calls: u32,
    /// Whether there is a Tier 2.
    pub cold: bool,
    /// Streams are trimmed and truncated.
    pub cuts: bool,
    /// Streams are told what not to keep.
    pub retains: bool,
    /// What goes wrong.
    pub troubles: Vec<Trouble>,
    /// How long calls take.
    pub latencies: Latencies,
    /// The longest time that an actor stands at a point.
    pub sway: Duration,
}

impl Plan {
    /// What a seed makes of it.
    pub fn of(rng: &mut Rng) -> Self {
        let cold = rng.u32(0..100) < 60;
        let most = rng.choice([0, 1, 1, 2, 3, 5]).unwrap_or_default();
        let mut troubles = Vec::new();
        for _ in 0..most {
            let trouble = Trouble::ALL[rng.usize(0..Trouble::ALL.len())];
            if (cold || !trouble.is_cold()) && !troubles.contains(&trouble) {
                troubles.push(trouble);
            }
        }
        troubles.sort_unstable();
        let stuck = troubles.contains(&Trouble::Stuck);
        let micros = |rng: &mut Rng, choices: &[u64]| {
            Duration::from_micros(rng.choice(choices.iter().copied()).unwrap_or_default())
        };
        Self {
            lives: rng.u32(1..=3),
            streams: rng.usize(1..=3),
            appenders: rng.usize(1..=4),
            readers: rng.usize(0..=3),
            calls: rng.choice([10, 20, 40, 80]).unwrap_or(10),
            cold,
            cuts: rng.u32(0..100) < 70,
            retains: rng.u32(0..100) < 10,
            latencies: Latencies {
                most: micros(rng, &[0, 100, 1_000, 5_000]),
                slow_per_mille: rng.choice([0, 10, 100]).unwrap_or(0),
                slow: micros(rng, &[10_000, 50_000]),
                stuck_per_myriad: if stuck { rng.u32(5..60) } else { 0 },
                stuck: Duration::from_secs(12),
            },
            sway: micros(rng, &[0, 0, 50, 2_000]),
            troubles,
        }
    }

    /// Nothing goes wrong, so that nothing is excused.
    pub fn is_calm(&self) -> bool {
        self.troubles
            .iter()
            .all(|trouble| *trouble == Trouble::Clock)
    }

    /// Whether this goes wrong.
    pub fn has(&self, trouble: Trouble) -> bool {
        self.troubles.contains(&trouble)
    }

    /// The settings of one life: capacities as small as they may be, or somewhat larger.
    pub fn settings(&self, rng: &mut Rng, path: &str) -> Settings {
        let kib = Size::kib;
        let max_record = Size::new(rng.choice([1, 4, 16, 64]).unwrap_or(1) * 1024);
        let segment = kib(rng.u32(68..=132));
        let unsynced = max_record.bytes() * rng.choice([2, 3, 8]).unwrap_or(2);
        let few = |rng: &mut Rng| rng.choice([1, 2, 4, 64]).unwrap_or(1);
        let millis = |rng: &mut Rng, choices: &[u64]| {
            Duration::from_millis(rng.choice(choices.iter().copied()).unwrap_or(1))
        };
        let mut settings = Settings::for_tests(path);
        settings.max_record = max_record;
        settings.segment_size = segment;
        settings.unsynced_bytes = Size::new(unsynced);
        settings.flush = match rng.u32(0..6) {
            0..=2 => FlushPolicy::Always,
            3 => FlushPolicy::Every(millis(rng, &[1, 5, 50])),
            4 => FlushPolicy::Bytes(Size::new(rng.u64(1..=unsynced))),
            _ => FlushPolicy::Manual,
        };
        settings.segment_age = (rng.u32(0..4) == 0).then(|| millis(rng, &[5, 50, 500]));
        // A stream keeps an open segment, and the next one, for itself however long it is idle.
        let least = 2 * u64::try_from(self.streams).expect("a few");
        settings.hot_budget =
            (rng.u32(0..3) > 0).then(|| Size::new(segment.bytes() * (least + rng.u64(0..=3))));
        settings.warm_budget =
            (rng.u32(0..3) > 0).then(|| kib(rng.choice([80, 160, 400]).unwrap_or(80)));
        settings.lane_records = rng.choice([1, 2, 8, 64]).unwrap_or(1);
        settings.flusher_queue = few(rng);
        settings.coordinator_queue = few(rng);
        settings.manifest_queue = few(rng);
        settings.supervisor_queue = few(rng);
        settings.io_threads = rng.usize(1..=4);
        settings.tail_cache = kib(rng.choice([0, 4, 64]).unwrap_or(0));
        settings.read_cache = kib(rng.choice([0, 64, 256]).unwrap_or(0));
        settings.idle_mark = millis(rng, &[1, 20, 1_000]);
        settings.stall_after = Duration::from_secs(5);
        settings.manifest_rotate = kib(rng.choice([32, 48, 64]).unwrap_or(32));
        settings.compression_level = 1;
        settings.compression_workers = rng.usize(1..=2);
        settings.upload_workers = rng.usize(1..=3);
        settings.archive_after = millis(rng, &[1, 50, 2_000]);
        settings.cold_wait = match self.is_calm() {
            true => Duration::from_secs(5),
            false => millis(rng, &[10, 500, 5_000]),
        };
        settings.sweep_every = Duration::from_secs(rng.choice([0, 1, 3]).unwrap_or(0));
        settings.reader_lease = millis(rng, &[1, 1_000, 60_000]);
        settings.restart_limit = rng.choice([1, 3, 8, 8]).unwrap_or(8);
        settings.restart_window = Duration::from_secs(rng.choice([1, 60]).unwrap_or(60));
        settings.max_streams = 4;
        settings
    }
}
