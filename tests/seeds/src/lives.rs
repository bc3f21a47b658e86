//! One process after the other: each opens the log, looks at what is there, works with others in
//! it, and ends in an orderly way or any other.

use std::{path::Path, sync::Arc, time::Duration};

use fastrand::Rng;
use tierlog::{
    Error, Settings, Stream, Supervisor,
    testing::{
        Clock, Injected,
        storage::disk::{Disk, fault::FaultDisk, sim::SimDisk},
    },
};
use tokio::{
    runtime::{Builder, RngSeed},
    time::sleep,
};

use crate::{
    bucket::Bucket,
    calls::Told,
    last::last,
    pool::Pool,
    read::read_all,
    rival::Heir,
    work::work,
    world::{Life, NAMES, World},
};

/// How a process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The log is closed.
    Closed,
    /// The process is killed.
    Killed,
    /// The power goes.
    PowerCut(u64),
}

/// What a log runs on.
pub fn injected(
    life: &Arc<Life>,
    rng: &mut Rng,
    settings: &Settings,
    store: Option<&Bucket>,
) -> Injected {
    let disk: Arc<dyn Disk> = Arc::new(life.disk.clone());
    let plan = &life.world.plan;
    Injected {
        disk: Arc::new(Told {
            disk: Arc::new(FaultDisk::new(disk, life.plan.clone())),
            trace: life.world.trace.clone(),
            all: life.world.trace.tells_calls(),
        }),
        clock: Arc::clone(&life.world.time) as Arc<dyn Clock>,
        executor: Pool::start(
            rng.u64(..),
            settings.io_threads,
            settings.compression_workers,
            plan.latencies,
            life.world.listener.clone(),
            Arc::clone(&life.quiet),
        ),
        faults: life.faults.clone(),
        store: store.map(|bucket| Arc::new(bucket.clone()) as _),
    }
}

/// Runs one process to its end; gives the world and the disk as the next one finds them.
pub fn live(world: &Arc<World>, number: u32, disk: SimDisk, is_last: bool) -> Heir {
    let mut rng = world.rng(&format!("life {number}"));
    let seed = rng.u64(..);
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(RngSeed::from_bytes(&seed.to_le_bytes()))
        .build()
        .expect("a runtime");
    let life = Life::new(world, number.to_string(), disk);
    let end = runtime.block_on(async {
        world.time.begin();
        let end = match is_last {
            false => work(&life, &mut rng).await,
            true => {
                last(&life, &mut rng).await;
                (End::Closed, None)
            }
        };
        world.trace.say("life", format_args!("ends: {:?}", end.0));
        world.time.end();
        end
    });
    // What is still queued, and every actor, ends with the runtime, as with a process. In which order is
    // not the seed's: Tokio goes by the numbers of its tasks, which are counted over this whole process,
    // whatever other seeds run in it.
    world.trace.at_once(|| drop(runtime));
    let (end, heir) = end;
    let (world, disk) = heir.unwrap_or_else(|| (Arc::clone(world), life.disk.clone()));
    let of_disk = world
        .plan
        .troubles
        .iter()
        .any(|trouble| trouble.is_of_disk());
    for at in 0..world.plan.streams {
        let mut model = world.model(at);
        model.process_ended();
        if of_disk || matches!(end, End::PowerCut(_)) {
            model.cache_lost();
        }
    }
    if rng.u32(0..8) == 0 {
        litter(&disk, number);
        world.bucket.put("notes", "nothing of yours");
    }
    let disk = match end {
        End::PowerCut(seed) => disk.power_cut(seed),
        End::Closed | End::Killed => disk.crash_process(),
    };
    (world, disk)
}

/// Somebody else's file, which stays where it is.
fn litter(disk: &SimDisk, number: u32) {
    let path = format!("/log/streams/notes {number}");
    if let Ok(file) = disk.create_new(Path::new(&path)) {
        let _ = file.write_at(b"nothing of yours", 0);
    }
}

/// A log that is open, or why that can't be.
type Opened = Result<(Supervisor, Vec<Stream>), Error>;

/// Opens the log and its streams, however often that takes while something goes wrong.
pub async fn open(life: &Arc<Life>, rng: &mut Rng, settings: &Settings) -> Opened {
    let bucket = life.world.plan.cold.then(|| life.world.bucket.clone());
    for attempt in 0..60 {
        let mut settings = settings.clone();
        if attempt >= 8 {
            life.calm();
            settings.cold_wait = Duration::from_secs(60);
        }
        let injected = injected(life, rng, &settings, bucket.as_ref());
        let opened = Supervisor::open_with(settings, injected);
        match life.ends("opening the log", opened).await {
            Ok(supervisor) => {
                note(life, &supervisor);
                match streams(life, &supervisor).await {
                    Ok(streams) => return Ok((supervisor, streams)),
                    Err(error) => life.excused("opening a stream", &error),
                }
            }
            Err(error @ Error::Fenced { .. }) => return Err(error),
            Err(error) => life.excused("opening the log", &error),
        }
        sleep(Duration::from_millis(200 + attempt * 100)).await;
    }
    panic!("the log does not open again");
}

async fn streams(life: &Arc<Life>, supervisor: &Supervisor) -> Result<Vec<Stream>, Error> {
    let (mut streams, log) = (Vec::new(), supervisor.log());
    for name in NAMES.iter().take(life.world.plan.streams) {
        streams.push(life.ends("opening a stream", log.stream(name)).await?);
    }
    Ok(streams)
}

/// What the open came by.
fn note(life: &Life, supervisor: &Supervisor) {
    let report = supervisor.recovery();
    let points = &life.world.points;
    assert_eq!(report.damage().count(), 0, "nothing was damaged: {report}");
    for (is, what) in [
        (report.created, "created"),
        (report.clean, "clean"),
        (!report.clean && !report.created, "unclean"),
        (!report.quarantined.is_empty(), "quarantined"),
        (!report.removed.is_empty(), "removed leftovers"),
        (!report.foreign.is_empty(), "left something alone"),
        (
            report.manifest.as_ref().is_some_and(|m| m.torn),
            "torn manifest",
        ),
        (
            report.streams.iter().any(|s| s.cut.is_some()),
            "cut a torn end",
        ),
        (
            report.streams.iter().any(|s| s.copied_records > 0),
            "copied a tail",
        ),
        (
            report.streams.iter().any(|s| s.in_place),
            "written again in place",
        ),
    ] {
        if is {
            points.pass(format!("open: {what}"));
        }
    }
    life.say(format_args!(
        "open: clean {}, epoch {}",
        report.clean, report.epoch
    ));
}

/// Reads every stream and holds it against what it must be.
pub async fn check(life: &Arc<Life>, streams: &[Stream], settled: bool) -> bool {
    let mut all = true;
    for (at, stream) in streams.iter().enumerate() {
        let mut read = life.ends("reading all", read_all(stream)).await;
        while let Err(Error::Trimmed { .. }) = read {
            // What it is not to keep goes meanwhile.
            read = life.ends("reading all", read_all(stream)).await;
        }
        match read {
            Ok((start, records)) => {
                let count = records.len();
                life.say(format_args!("{}: {start} and {count} more", stream.name()));
                life.world.model(at).check(start, &records, settled);
            }
            Err(error) => {
                life.excused("reading all", &error);
                all = false;
            }
        }
    }
    all
}
