//! One process after the other: each opens the log, looks at what is there, works with others in
//! it, and ends in an orderly way or any other.

use std::{
    future::IntoFuture,
    path::Path,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use fastrand::Rng;
use tierlog::{
    Error, From, ReadOnly, Settings, Stream, Supervisor,
    testing::{
        Clock, Injected,
        storage::disk::{
            Disk,
            fault::{CallKind, Calls, Fault, FaultDisk},
            sim::SimDisk,
        },
    },
};
use tokio::{
    runtime::{Builder, RngSeed},
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    append::Appending,
    bucket::Bucket,
    calls::Told,
    command::{Commands, flush_now_and_then},
    plan::Trouble,
    pool::Pool,
    read::{self, read_all},
    rival::{self, Heir},
    trouble,
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
    // What is still queued, and every actor, ends with the runtime, as with a process.
    drop(runtime);
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

/// Runs a process: how it ended, and who has taken over, if anybody did.
async fn work(life: &Arc<Life>, rng: &mut Rng) -> (End, Option<Heir>) {
    let world = Arc::clone(&life.world);
    let settings = world.plan.settings(rng, "/log");
    world.trace.say("settings", format_args!("{settings:?}"));
    world
        .bucket
        .behave(|manners| manners.latency = world.plan.latencies.most * 4);
    trouble::sway(life);
    for trouble in &world.plan.troubles {
        if rng.u32(0..3) == 0 {
            trouble::arm(life, rng, *trouble);
            if *trouble == Trouble::Full {
                let left = rng.u64(0..12) * 1_024;
                life.say(format_args!("the disk has room for {left} bytes"));
                life.disk.set_capacity(Some(life.disk.used() + left));
            }
        }
    }
    let (supervisor, streams) = match open(life, rng, &settings).await {
        Ok(opened) => opened,
        Err(error) => panic!("nobody else has claimed it: {error}"),
    };
    check(life, &streams, true).await;
    let log = supervisor.log();
    let at_work = (log.clone(), streams.clone());
    *life.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(at_work);
    if world.plan.retains {
        (0..streams.len()).for_each(|at| world.model(at).may_trim(u64::MAX));
    }
    let mut beside = Beside::default();
    beside.begin(life, &settings, &streams);
    let context = supervisor.context();
    let looks = read::look_at_health(Arc::clone(life), move || context.health());
    beside.0.push(tokio::spawn(looks));
    let mut workers = Vec::new();
    for n in 0..world.plan.appenders {
        let who = format!("appender {n}");
        let appending = Appending::new(life, &who, &streams, settings.max_record.bytes());
        workers.push(tokio::spawn(appending.run()));
    }
    workers.push(tokio::spawn(
        Commands::new(life, &log, &streams, &settings).run(),
    ));
    let rival = world.plan.has(Trouble::Rival) && rng.bool();
    let rival = rival.then(|| tokio::spawn(rival::take_over(Arc::clone(life), settings.clone())));
    let all = async {
        for worker in &mut workers {
            // A panic has been noted where it happened.
            let _ = worker.await;
        }
    };
    let in_the_midst = rng.u32(0..3) == 0;
    if in_the_midst {
        let _ = timeout(Duration::from_micros(rng.u64(0..1_500_000)), all).await;
    } else {
        all.await;
    }
    let rival = match rival {
        Some(rival) => rival.await.unwrap_or_default(),
        None => None,
    };
    if in_the_midst && rival.is_none() && rng.bool() {
        stop_machine(life, rng).await;
        workers.iter().for_each(JoinHandle::abort);
        beside.end();
        let end = match rng.bool() {
            true => End::Killed,
            false => End::PowerCut(rng.u64(..)),
        };
        return (end, None);
    }
    let end = match rng.u32(0..6) {
        _ if rival.is_some() => {
            life.closing.store(true, Ordering::Relaxed);
            drop(supervisor);
            rival::is_refused(life, rng, &settings).await;
            End::Killed
        }
        0..=2 => end_in_order(life, rng, supervisor, &streams, in_the_midst).await,
        3 => drop_and_look(life, rng, supervisor, &settings).await,
        4 => End::Killed,
        _ => End::PowerCut(rng.u64(..)),
    };
    workers.iter().for_each(JoinHandle::abort);
    beside.end();
    (end, rival)
}

/// The machine stops in the midst of some job, before one of the next calls that change anything: from
/// then on each is as if it had never been made.
async fn stop_machine(life: &Arc<Life>, rng: &mut Rng) {
    let nth = rng.u64(1..40);
    life.say(format_args!("the machine stops before the {nth}th change"));
    life.world
        .points
        .pass("app: the machine stopped in the midst of a job");
    life.halted.store(true, Ordering::Relaxed);
    let changes = Calls::of_kinds(&CallKind::CHANGING).nth(nth).forever();
    let _ = life.plan.fail(changes, Fault::Halt);
    sleep(Duration::from_micros(rng.u64(0..60_000))).await;
}

/// Those who are there for as long as the process is.
#[derive(Default)]
struct Beside(Vec<JoinHandle<()>>);

impl Beside {
    fn begin(&mut self, life: &Arc<Life>, settings: &Settings, streams: &[Stream]) {
        for n in 0..life.world.plan.readers {
            let reading = read::read(Arc::clone(life), format!("reader {n}"), streams.to_vec());
            self.0.push(tokio::spawn(reading));
        }
        for stream in streams {
            self.0
                .push(tokio::spawn(read::watch(Arc::clone(life), stream.clone())));
        }
        let points = if life.world.plan.cold { 3 } else { 2 };
        self.0
            .push(tokio::spawn(trouble::make(Arc::clone(life), points)));
        let flushes = flush_now_and_then(Arc::clone(life), settings.clone(), streams.to_vec());
        self.0.push(tokio::spawn(flushes));
    }

    fn end(&mut self) {
        self.0.drain(..).for_each(|task| task.abort());
    }
}

async fn end_in_order(
    life: &Arc<Life>,
    rng: &mut Rng,
    supervisor: Supervisor,
    streams: &[Stream],
    in_the_midst: bool,
) -> End {
    let world = &life.world;
    life.closing.store(true, Ordering::Relaxed);
    let deadline = Duration::from_millis(rng.choice([0, 1, 100, 60_000]).unwrap_or(0));
    let marks: Vec<_> = streams.iter().map(Stream::watermarks).collect();
    let closed = supervisor.shutdown(deadline);
    // Two deadlines, the grace of two seconds, and the jobs of the disk.
    let closed = timeout(deadline * 2 + Duration::from_secs(60), closed).await;
    match closed.expect("a shutdown keeps its deadline") {
        Ok(report) => {
            life.say(format_args!("closed: {report:?}"));
            let clean = if report.clean { "clean" } else { "unclean" };
            world.points.pass(format!("closed: {clean}"));
            let long = deadline >= Duration::from_secs(60);
            assert!(
                report.clean || !world.plan.is_calm() || !long || in_the_midst,
                "nothing went wrong: {report:?}"
            );
            if report.clean && !world.plan.cuts {
                for (stream, before) in streams.iter().zip(marks) {
                    let now = stream.watermarks();
                    assert!(now.durable >= before.written, "{now:?} behind {before:?}");
                }
            }
        }
        Err(error) => life.excused("closing", &error),
    }
    End::Closed
}

/// The log is dropped, in the midst of its work or not, and opened again by the same process.
async fn drop_and_look(
    life: &Arc<Life>,
    rng: &mut Rng,
    supervisor: Supervisor,
    settings: &Settings,
) -> End {
    life.closing.store(true, Ordering::Relaxed);
    drop(supervisor);
    life.world.points.pass("app: a log was dropped");
    // Jobs that are stuck keep the directory.
    sleep(Duration::from_secs(rng.u64(0..20))).await;
    match open(life, rng, settings).await {
        Ok((again, streams)) => {
            check(life, &streams, false).await;
            let closed = life
                .ends("closing again", again.shutdown(Duration::from_secs(5)))
                .await;
            if let Err(error) = closed {
                life.excused("closing again", &error);
            }
            End::Closed
        }
        Err(error) => panic!("nobody else has claimed it: {error}"),
    }
}

/// The last process: nothing goes wrong any more, so that everything has to be there and to work.
async fn last(life: &Arc<Life>, rng: &mut Rng) {
    let world = &life.world;
    life.calm();
    let mut settings = world.plan.settings(rng, "/log");
    (settings.hot_budget, settings.warm_budget) = (None, None);
    settings.cold_wait = Duration::from_secs(60);
    settings.restart_limit = 8;
    let opened = open(life, rng, &settings).await;
    let (supervisor, streams) = opened.expect("it is this log's");
    assert!(check(life, &streams, true).await, "all of it can be read");
    let at_work = (supervisor.log(), streams.clone());
    *life.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(at_work);
    let flushes = flush_now_and_then(Arc::clone(life), settings.clone(), streams.clone());
    let flushes = tokio::spawn(flushes);
    let appending = Appending::new(life, "the last", &streams, settings.max_record.bytes());
    appending.run().await;
    for stream in &streams {
        let end = life.ends("the last flush", stream.flush()).await;
        let end = end.expect("nothing goes wrong");
        assert!(end >= stream.watermarks().start);
    }
    assert!(check(life, &streams, false).await, "all of it can be read");
    let health = supervisor.health().await;
    assert_eq!(health.held_bytes, 0, "nothing is held: {health:?}");
    assert!(health.failed_streams.is_empty(), "{health:?}");
    if world.plan.cold {
        archive_all(life, &streams, true).await;
    }
    life.closing.store(true, Ordering::Relaxed);
    let closed = life
        .ends(
            "the last close",
            supervisor.shutdown(Duration::from_secs(60)),
        )
        .await;
    let report = closed.expect("it closes");
    assert!(report.clean, "{report:?}");
    flushes.abort();
    verify(life, rng, &settings).await;
    if world.plan.cold {
        rival::restore(life, rng, &settings).await;
    }
}

/// The store behaves: everything becomes archived.
pub async fn archive_all(life: &Arc<Life>, streams: &[Stream], is_last: bool) {
    for (at, stream) in streams.iter().enumerate() {
        let ids = life.world.ids(1);
        let batch = (ids.start, 1);
        life.world.model(at).offered(ids.start, batch);
        let record = crate::model::payload(ids.start, batch, 10);
        let call = stream.append_at(record, tierlog::Level::Archived);
        let ack = match life.ends("the last archive", call).await {
            Ok(ack) => ack,
            // Who waits for long is helped by trims; it is durable all the same.
            Err(failed) if matches!(failed.error, Error::Trimmed { .. }) => continue,
            Err(failed) => {
                life.excused("the last archive", &failed.error);
                assert!(!is_last, "not archived: {failed}");
                continue;
            }
        };
        let mut model = life.world.model(at);
        model.told(ids.start, crate::model::Told::Durable(ack.offset.get()));
        model.archived(ack.offset.get() + 1);
    }
}

/// Every byte is as it should be.
async fn verify(life: &Arc<Life>, rng: &mut Rng, settings: &Settings) {
    let store = life.world.plan.cold.then(|| life.world.bucket.clone());
    let injected = injected(life, rng, settings, store.as_ref());
    let attached = ReadOnly::attach_injected(settings.clone(), injected);
    let view = life.ends("attaching", attached).await.expect("attached");
    let report = life.ends("verifying", view.verify(None, |_, _| ())).await;
    let report = report.expect("verified");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    life.say(format_args!("verified {} records", report.records));
    for (at, name) in NAMES.iter().enumerate().take(life.world.plan.streams) {
        let stream = view.stream(name).expect("it is there");
        let reader = stream.reader(From::Earliest);
        let mut reader = life
            .ends("a view", reader.into_future())
            .await
            .expect("a reader");
        let (start, mut records) = (reader.position().get(), Vec::new());
        loop {
            let batch = life
                .ends("a view", reader.next_batch(64))
                .await
                .expect("records");
            if batch.is_empty() {
                break;
            }
            records.extend(batch);
        }
        life.world.model(at).check(start, &records, true);
    }
}
