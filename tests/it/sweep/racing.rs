//! Sweeps, one after the other, beside everything that makes, names and removes files: appends, seals,
//! compressions, drops, fetches, hydrations, trims, truncations, new manifest files, and actors that die.
//! Whatever comes first, nothing that is named goes and nothing is called strange.

use tierlog::{
    AppendError, Error, From, Offset, Stream, Supervisor, SweptFile,
    testing::{
        Action, MOVE_POINTS,
        storage::disk::sim::{Cut, SimDisk},
    },
};
use tokio::{sync::watch, task::JoinHandle};

use crate::{
    cold::bucket::Bucket,
    faults::rig::Rig,
    sim,
    support::{close, read_all, texts, within},
    tiers::{long, rig},
};

/// Where actors are killed beside the steps of moves.
const KILLS: [&str; 9] = [
    "coordinator.before_create",
    "coordinator.after_create",
    "coordinator.after_commit",
    "coordinator.after_trim_commit",
    "coordinator.before_clean",
    "manifest.before_commit",
    "manifest.after_commit",
    "writer.before_seal",
    "writer.after_seal",
];

/// How it is played.
#[derive(Debug, Clone, Copy)]
struct Play {
    seed: u64,
    /// With threads, or all in one.
    threads: bool,
    kills: bool,
    bucket: bool,
}

struct World {
    play: Play,
    rig: Rig,
    disk: SimDisk,
    rng: fastrand::Rng,
    log: Supervisor,
    stream: Stream,
    /// What stands from `start` on.
    kept: Vec<u64>,
    start: u64,
    next_id: u64,
}

impl World {
    async fn step(&mut self) {
        match self.rng.u8(..16) {
            0..7 => self.append().await,
            7 => drop(within(self.stream.seal()).await),
            8 => self.trim().await,
            9 | 10 => self.scan().await,
            11 | 12 if !self.play.kills => self.truncate().await,
            11..13 => self.kill(),
            13 => self.cut().await,
            _ => {
                for _ in 0..self.rng.u32(..50) {
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    async fn append(&mut self) {
        for _ in 0..self.rng.u32(1..40) {
            let id = self.next_id;
            loop {
                match within(self.stream.append(long(id))).await {
                    Ok(ack) => {
                        let at = self.start + self.kept.len() as u64;
                        assert_eq!(ack.offset, Offset(at), "{:?}", self.play);
                        break;
                    }
                    // Surely not in the log: the same record is next.
                    Err(AppendError {
                        error: Error::NotAppended { .. } | Error::StorageFull,
                        ..
                    }) => tokio::task::yield_now().await,
                    Err(failed) => panic!("{:?}: {failed}", self.play),
                }
            }
            self.kept.push(id);
            self.next_id += 1;
        }
    }

    async fn trim(&mut self) {
        let by = self.rng.usize(..=self.kept.len() / 2);
        let before = self.start + by as u64;
        loop {
            match within(self.stream.trim(Offset(before))).await {
                Ok(start) => {
                    assert_eq!(start, Offset(before));
                    break;
                }
                Err(error) => assert!(self.play.kills, "{:?}: {error}", self.play),
            }
            tokio::task::yield_now().await;
        }
        self.kept.drain(..by);
        self.start = before;
    }

    async fn truncate(&mut self) {
        if self.kept.is_empty() {
            return;
        }
        let keep = self.rng.usize(self.kept.len() / 2..self.kept.len());
        let end = self.start + keep as u64;
        let last = end.checked_sub(1).map(Offset);
        match within(self.stream.truncate_after(last)).await {
            Ok(_) => self.kept.truncate(keep),
            Err(Error::Unavailable { .. } | Error::Archived { .. }) => {}
            Err(error) => panic!("{:?}: {error}", self.play),
        }
    }

    /// Reads some from the start, so that segments are wanted back.
    async fn scan(&self) {
        let mut reader = self.stream.reader(From::Earliest).await.expect("a reader");
        let mut read = 0;
        while read < self.kept.len().min(120) {
            match within(reader.next_batch(40)).await {
                Ok(batch) => {
                    let expected = self.kept[read..].iter().take(batch.len());
                    let expected: Vec<_> = expected.map(|id| long(*id)).collect();
                    assert!(texts(&batch) == expected, "{:?}", self.play);
                    read += batch.len();
                }
                Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
                Err(error) => panic!("{:?}: {error}", self.play),
            }
        }
    }

    fn kill(&mut self) {
        let all: Vec<_> = KILLS.iter().chain(MOVE_POINTS).collect();
        let point = self.rng.choice(all).expect("there are some");
        self.rig.faults.arm(point, Action::Kill, self.rng.u32(1..4));
    }

    /// The power goes at this moment: what the next process finds.
    async fn cut(&mut self) {
        let cut = self.disk.preview_cut(Cut::Seeded(self.rng.u64(..)));
        let mut rig = self.rig.on(&cut);
        // A bucket has one owner, and that one goes on.
        rig.store = None;
        if self.play.bucket {
            return;
        }
        let log = open(&rig, self.play.threads).await;
        let recovery = log.recovery();
        assert_eq!(recovery.damage().count(), 0, "{:?}: {recovery}", self.play);
        if let Ok(stream) = within(log.log().existing("s")).await {
            self.is_whole(&stream).await;
        } else {
            assert!(self.kept.is_empty(), "{:?}", self.play);
        }
        drop(log);
    }

    async fn is_whole(&self, stream: &Stream) {
        let read = within(async {
            loop {
                let mut reader = stream.reader(From::Earliest).await.expect("a reader");
                let mut records = Vec::new();
                let ended = loop {
                    match reader.next_batch(1_000).await {
                        Ok(batch) if batch.is_empty() => break Ok(records),
                        Ok(batch) => records.extend(batch),
                        Err(error) => break Err(error),
                    }
                };
                match ended {
                    Ok(records) => return records,
                    Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
                    Err(error) => panic!("{:?}: {error}", self.play),
                }
            }
        });
        let expected: Vec<_> = self.kept.iter().map(|id| long(*id)).collect();
        assert!(texts(&read.await) == expected, "{:?}", self.play);
    }
}

async fn open(rig: &Rig, threads: bool) -> Supervisor {
    let mut injected = match threads {
        true => rig.injected(),
        false => sim::on(rig.disk.clone()),
    };
    injected.faults = rig.faults.clone();
    within(Supervisor::open_with(rig.settings.clone(), injected))
        .await
        .expect("the log opens")
}

/// Sweeps until it is told to stop; gives how often.
fn sweeper(play: Play, log: tierlog::Log, stop: watch::Receiver<bool>) -> JoinHandle<u64> {
    tokio::spawn(async move {
        let mut sweeps = 0;
        while !*stop.borrow() {
            match log.sweep().await {
                Ok(report) => {
                    let swept = &report.directory;
                    assert_eq!(swept.quarantined, 0, "{play:?}: {swept:?}");
                    assert_eq!(swept.foreign, 0, "{play:?}: {swept:?}");
                    // A segment that was asked for, and that nobody waits for any more.
                    let is_blank = |file: &SweptFile| file.why.contains("created ahead");
                    let left = play.kills || swept.told.iter().all(is_blank);
                    assert!(left, "{play:?}: {swept:?}");
                    sweeps += 1;
                }
                Err(Error::Unavailable { .. }) => {}
                Err(error) => panic!("{play:?}: {error}"),
            }
            tokio::task::yield_now().await;
        }
        sweeps
    })
}

async fn play(play: Play) -> u64 {
    let (disk, bucket) = (SimDisk::new(), Bucket::default());
    let mut rig = rig(&disk)
        .with("archive_after", "1ms")
        .with("sweep_every", "0")
        .with("restart_limit", "1000");
    if play.bucket {
        rig = rig.with("warm_budget", "96KiB");
        rig.store = Some(std::sync::Arc::new(bucket));
    }
    let log = open(&rig, play.threads).await;
    let stream = within(log.log().stream("s")).await.expect("a stream");
    let (tell, told) = watch::channel(false);
    let sweeping = sweeper(play, log.log(), told);
    let mut world = World {
        play,
        rng: fastrand::Rng::with_seed(play.seed),
        rig,
        disk,
        log,
        stream,
        kept: Vec::new(),
        start: 0,
        next_id: 0,
    };
    for _ in 0..40 {
        world.step().await;
    }
    tell.send_replace(true);
    let swept = within(sweeping).await.expect("no panic");
    world.is_whole(&world.stream).await;
    let World {
        rig,
        log,
        stream,
        kept,
        ..
    } = world;
    drop(stream);
    match play.kills {
        // One that is still armed may strike now.
        true => drop(log.shutdown(crate::support::PATIENCE).await),
        false => close(log).await,
    }
    let mut rig = rig;
    rig.faults = tierlog::testing::Faults::default();
    let log = open(&rig, play.threads).await;
    let recovery = log.recovery();
    assert_eq!(recovery.damage().count(), 0, "{play:?}: {recovery}");
    assert!(recovery.quarantined.is_empty(), "{play:?}: {recovery}");
    if !kept.is_empty() {
        let stream = within(log.log().existing("s")).await.expect("it is there");
        let read = within(read_all(&stream)).await;
        let expected: Vec<_> = kept.iter().map(|id| long(*id)).collect();
        assert!(texts(&read) == expected, "{play:?}");
    }
    close(log).await;
    swept
}

fn run(seeds: u64, how: impl Fn(u64) -> Play) {
    let seeds =
        std::env::var("PROPTEST_CASES").map_or(seeds, |cases| cases.parse().expect("a number"));
    let mut sweeps = 0;
    for seed in 0..seeds {
        let of = how(seed);
        sweeps += match of.threads {
            false => {
                fastrand::seed(seed);
                sim::run(play(of))
            }
            true => {
                let runtime = tokio::runtime::Builder::new_multi_thread()
                    .worker_threads(2)
                    .enable_all()
                    .build()
                    .expect("a runtime");
                runtime.block_on(play(of))
            }
        };
    }
    assert!(sweeps > 0, "there were sweeps");
}

#[test]
fn sweeps_beside_everything_that_makes_and_removes_files_take_nothing() {
    run(30, |seed| Play {
        seed,
        threads: false,
        kills: false,
        bucket: false,
    });
}

#[test]
fn sweeps_beside_threads_that_make_and_remove_files_take_nothing() {
    run(12, |seed| Play {
        seed,
        threads: true,
        kills: false,
        bucket: seed % 2 == 0,
    });
}

#[test]
fn sweeps_beside_actors_that_die_take_what_these_leave_and_nothing_else() {
    // With threads: in one, with time that passes when nothing else is left to do, sweeps that are
    // refused would keep it from passing.
    run(12, |seed| Play {
        seed,
        threads: true,
        kills: true,
        bucket: false,
    });
}
