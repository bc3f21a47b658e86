//! One cursor over all of it: readers that follow while segments are sealed, compressed, uploaded,
//! dropped, fetched, made again and trimmed under them see every offset once, in order, or that it was
//! trimmed. What happens is a plan that proptest makes, and makes smaller when it fails.
//!
//! What was found once is kept in `tests/it/tiers/mixed.seeds` and tried first.

use std::{cell::Cell, path::PathBuf};

use proptest::{
    collection::vec,
    prelude::*,
    sample::select,
    test_runner::{FileFailurePersistence, TestRunner},
};
use tierlog::{
    Error, From, Level, Offset, Stream, Supervisor, testing::storage::disk::sim::SimDisk,
};
use tokio::task::JoinHandle;

use super::{files, holds, long, rig};
use crate::{
    cold::bucket::Bucket,
    faults::rig::{Rig, eventually},
    sim,
    support::{close, texts, within},
};

/// What a log is given, and what happens to it.
#[derive(Debug, Clone)]
struct Plan {
    /// One thread that does one thing after the other, the same each time; or several.
    threads: bool,
    seed: u64,
    segment_kib: u64,
    /// In segments.
    hot_budget: u64,
    workers: usize,
    flush: &'static str,
    tail_kib: u64,
    blocks_kib: u64,
    /// With Tier 2, compressed files have room for so many segments.
    warm_budget: Option<u64>,
    steps: Vec<Step>,
}

#[derive(Debug, Clone, Copy)]
enum Step {
    /// So many records; flushed one by one, or together at the end.
    Append(u64, bool),
    Seal,
    Flush,
    /// Up to so many hundredths of what is durable.
    Trim(u64),
    /// Everybody else gets so many turns.
    Pause(usize),
    /// Reads so many records from the start, so that segments are wanted back.
    Scan(usize),
    /// The bucket is out of reach while everybody else gets so many turns.
    Outage(usize),
    /// A reader that follows begins, and stays.
    Follow(Begin, usize, Level),
}

#[derive(Debug, Clone, Copy)]
enum Begin {
    Earliest,
    Latest,
    /// Hundredths of what is there.
    Within(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let begin = prop_oneof![
        Just(Begin::Earliest),
        Just(Begin::Latest),
        (0..100_u64).prop_map(Begin::Within),
    ];
    let level = select(vec![Level::Written, Level::Durable]);
    let step = prop_oneof![
        8 => (1..60_u64, any::<bool>()).prop_map(|(n, each)| Step::Append(n, each)),
        2 => Just(Step::Seal),
        1 => Just(Step::Flush),
        1 => (0..=100_u64).prop_map(Step::Trim),
        1 => (1..200_usize).prop_map(Step::Pause),
        2 => (1..200_usize).prop_map(Step::Scan),
        1 => (1..50_usize).prop_map(Step::Outage),
        2 => (begin, 1..50_usize, level).prop_map(|(begin, batch, level)| {
            Step::Follow(begin, batch, level)
        }),
    ];
    vec(step, 1..40)
}

fn plan() -> impl Strategy<Value = Plan> {
    let sizes = (select(vec![68, 80, 120_u64]), 2..7_u64);
    let caches = (select(vec![0, 64_u64]), select(vec![0, 128_u64]));
    let flush = select(vec!["always", "manual"]);
    let run = (any::<bool>(), any::<u64>(), 1..4_usize, flush);
    let cold = proptest::option::of(1..4_u64);
    (run, sizes, caches, cold, steps()).prop_map(|(run, sizes, caches, cold, steps)| Plan {
        // What a thread waits for from a bucket, another one has to bring.
        threads: run.0 || cold.is_some(),
        warm_budget: cold,
        seed: run.1,
        workers: run.2,
        flush: run.3,
        segment_kib: sizes.0,
        hot_budget: sizes.1,
        tail_kib: caches.0,
        blocks_kib: caches.1,
        steps,
    })
}

/// A log under a plan, and those who read it.
struct World {
    log: Supervisor,
    stream: Stream,
    bucket: Bucket,
    /// Records that were appended.
    count: u64,
    /// The last trim that was asked for.
    start: u64,
    /// Each with where it began.
    followers: Vec<(u64, Follower)>,
}

struct Follower {
    /// Told where the stream ends, once that is known.
    end: tokio::sync::watch::Sender<Option<u64>>,
    outcome: JoinHandle<Seen>,
}

/// What a reader saw.
struct Seen {
    records: u64,
    /// Records that it was told were trimmed.
    trimmed: u64,
    /// The greatest start that it was told.
    start: u64,
}

impl World {
    async fn open(plan: &Plan, rig: &Rig) -> (Supervisor, Stream) {
        let injected = match plan.threads {
            true => rig.injected(),
            false => sim::on(rig.disk.clone()),
        };
        let log = within(Supervisor::open_with(rig.settings.clone(), injected))
            .await
            .expect("the log opens");
        let stream = within(log.log().stream("s")).await.expect("a stream");
        (log, stream)
    }

    async fn take(&mut self, step: Step) {
        match step {
            Step::Append(n, each) => self.append(n, each).await,
            Step::Seal => drop(within(self.stream.seal()).await.expect("sealed")),
            Step::Flush => drop(within(self.stream.flush()).await.expect("flushed")),
            Step::Trim(hundredths) => {
                let now = self.stream.watermarks();
                let (start, durable) = (now.start.get(), now.durable.get());
                let before = start + (durable - start) * hundredths / 100;
                self.start = before;
                let trimmed = within(self.stream.trim(Offset(before))).await;
                assert_eq!(trimmed.expect("trimmed"), Offset(before));
            }
            Step::Pause(turns) => pause(turns).await,
            Step::Outage(turns) => {
                self.bucket.set_down(true);
                pause(turns).await;
                self.bucket.set_down(false);
            }
            Step::Scan(records) => self.scan(records).await,
            Step::Follow(begin, batch, level) => {
                let (start, end) = (self.start, self.count);
                let (from, at) = match begin {
                    Begin::Earliest => (From::Earliest, start),
                    Begin::Latest => (From::Latest, end),
                    Begin::Within(hundredths) => {
                        let at = start + (end - start) * hundredths / 100;
                        (From::Offset(Offset(at)), at)
                    }
                };
                let reader = self.stream.reader(from).level(level).follow();
                let reader = within(reader.into_future()).await.expect("a reader");
                assert_eq!(reader.position(), Offset(at), "{begin:?}");
                let (end, told) = tokio::sync::watch::channel(None);
                let outcome = tokio::spawn(follow(reader, batch, told));
                self.followers.push((at, Follower { end, outcome }));
            }
        }
    }

    async fn append(&mut self, n: u64, each: bool) {
        for id in self.count..self.count + n {
            let appended = self.stream.append_at(long(id), Level::Written);
            let ack = within(appended).await.expect("an ack");
            assert_eq!(ack.offset, Offset(id));
            if each {
                within(self.stream.flush()).await.expect("flushed");
            }
        }
        self.count += n;
        within(self.stream.flush()).await.expect("flushed");
    }

    async fn scan(&self, records: usize) {
        let reader = self.stream.reader(From::Earliest);
        let mut reader = within(reader.into_future()).await.expect("a reader");
        let mut next = self.start;
        while next < self.count && ((next - self.start) as usize) < records {
            match within(reader.next_batch(records)).await {
                Ok(batch) => next = check(&batch, next),
                Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("at {next}: {error}"),
            }
        }
    }

    /// Tells the readers where the stream ends, and holds what each saw against what there was.
    async fn finish(self) {
        let Self {
            log,
            stream,
            count,
            start,
            followers,
            ..
        } = self;
        for (begun, follower) in followers {
            follower.end.send_replace(Some(count));
            let seen = within(follower.outcome).await.expect("no panic");
            assert_eq!(
                seen.records + seen.trimmed,
                count - begun,
                "each of them once"
            );
            assert!(seen.start <= start, "{} was never a start", seen.start);
        }
        assert_eq!(stream.watermarks().start, Offset(start));
        drop(stream);
        close(log).await;
    }
}

async fn pause(turns: usize) {
    for _ in 0..turns {
        tokio::task::yield_now().await;
    }
}

/// These are the records from this offset on; gives what comes next.
fn check(batch: &[tierlog::Record], from: u64) -> u64 {
    let end = from + batch.len() as u64;
    let offsets = batch.iter().map(|record| record.offset.get());
    assert!(offsets.eq(from..end), "in order, from {from}");
    let expected: Vec<_> = (from..end).map(long).collect();
    assert!(texts(batch) == expected, "what was appended, from {from}");
    end
}

/// Follows to the end, and goes on behind what was trimmed.
async fn follow(
    mut reader: tierlog::Reader,
    batch: usize,
    mut end: tokio::sync::watch::Receiver<Option<u64>>,
) -> Seen {
    let mut seen = Seen {
        records: 0,
        trimmed: 0,
        start: 0,
    };
    loop {
        let position = reader.position().get();
        if *end.borrow_and_update() == Some(position) {
            return seen;
        }
        let next = tokio::select! {
            next = reader.next_batch(batch) => next,
            _ = end.changed() => continue,
        };
        match next {
            Ok(records) => {
                seen.records += check(&records, position) - position;
                assert_eq!(reader.position().get(), position + records.len() as u64);
            }
            Err(Error::Trimmed { asked, start }) => {
                assert_eq!(asked, Offset(position));
                assert!(start > asked);
                seen.trimmed += start.get() - position;
                seen.start = seen.start.max(start.get());
                reader.seek(start);
            }
            // It stays where it is, and asks again.
            Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
            Err(error) => panic!("at {position}: {error}"),
        }
    }
}

/// What came about under a plan, so that a test in which nothing happens does not pass for one.
#[derive(Debug, Clone, Copy, Default)]
struct Came {
    compressed: usize,
    dropped: usize,
    /// In Tier 2.
    archived: usize,
}

async fn play(plan: &Plan) -> Came {
    let (disk, bucket) = (SimDisk::new(), Bucket::default());
    let kib = |n: u64| format!("{n}KiB");
    let mut rig = rig(&disk)
        .with("segment_size", &kib(plan.segment_kib))
        .with("hot_budget", &kib(plan.segment_kib * plan.hot_budget))
        .with("compression_workers", &plan.workers.to_string())
        .with("flush", plan.flush)
        .with("tail_cache", &kib(plan.tail_kib))
        .with("read_cache", &kib(plan.blocks_kib))
        .with("archive_after", "1ms");
    if let Some(segments) = plan.warm_budget {
        rig = rig.with("warm_budget", &kib(plan.segment_kib * segments + 16));
        rig.store = Some(std::sync::Arc::new(bucket.clone()));
    }
    let (log, stream) = World::open(plan, &rig).await;
    let mut world = World {
        log,
        stream,
        bucket,
        count: 0,
        start: 0,
        followers: Vec::new(),
    };
    for step in plan.steps.iter().copied() {
        world.take(step).await;
    }
    let (start, count) = (world.start, world.count);
    if plan.warm_budget.is_some() && start < count {
        // What comes to Tier 2 is not left to how fast the machine is.
        within(world.stream.seal()).await.expect("sealed");
        let stream = world.stream.clone();
        eventually("all of it is archived", || {
            stream.watermarks().archived >= Offset(count)
        })
        .await;
    }
    world.finish().await;
    let (log, stream) = World::open(plan, &rig).await;
    holds(&stream, start..count).await;
    let mut came = Came::default();
    // Before the first record there is no folder.
    if count > 0 {
        let compressed = files(&disk, &stream, "tlz");
        let hot = files(&disk, &stream, "tls");
        came.compressed = compressed.len();
        let is_dropped = |path: &&PathBuf| !hot.contains(&path.with_extension("tls"));
        came.dropped = compressed.iter().filter(is_dropped).count();
        let segments = within(stream.segments()).await.expect("segments");
        let has_object = |segment: &&tierlog::SegmentInfo| segment.object_key.is_some();
        came.archived = segments.iter().filter(has_object).count();
    }
    drop(stream);
    close(log).await;
    came
}

fn run(plan: &Plan) -> Came {
    if !plan.threads {
        fastrand::seed(plan.seed);
        return sim::run(play(plan));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(play(plan))
}

#[test]
fn readers_see_every_offset_once_whatever_moves_under_them() {
    let default = ProptestConfig::default();
    let cases = match std::env::var_os("PROPTEST_CASES") {
        Some(_) => default.cases,
        None => 48,
    };
    let seeds = FileFailurePersistence::Direct("tests/it/tiers/mixed.seeds");
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        max_shrink_iters: 500,
        failure_persistence: Some(Box::new(seeds)),
        ..default
    });
    let all = Cell::new(Came::default());
    let outcome = runner.run(&plan(), |plan| {
        let (before, came) = (all.get(), run(&plan));
        all.set(Came {
            compressed: before.compressed + came.compressed,
            dropped: before.dropped + came.dropped,
            archived: before.archived + came.archived,
        });
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
    let all = all.get();
    // Of tens of segments; that somebody is told of a trim is a matter of luck.
    let enough = all.compressed > 0 && all.dropped > 0 && all.archived > 0;
    assert!(enough || cases < 48, "{all:?}");
}
