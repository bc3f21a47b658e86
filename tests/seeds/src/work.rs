//! A process at work: who does what in it, and how it ends.

use std::{
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use fastrand::Rng;
use tierlog::{
    Settings, Stream, Supervisor,
    testing::storage::disk::fault::{CallKind, Calls, Fault},
};
use tokio::{
    task::JoinHandle,
    time::{sleep, timeout},
};

use crate::{
    append::Appending,
    command::{Commands, flush_now_and_then},
    lives::{End, check, open},
    plan::Trouble,
    read,
    rival::{self, Heir},
    trouble,
    world::Life,
};

/// Runs a process: how it ended, and who has taken over, if anybody did.
pub async fn work(life: &Arc<Life>, rng: &mut Rng) -> (End, Option<Heir>) {
    let world = Arc::clone(&life.world);
    let settings = world.plan.settings(rng, "/log");
    world.trace.say("settings", format_args!("{settings:?}"));
    disturb(life, rng);
    let (supervisor, streams) = match open(life, rng, &settings).await {
        Ok(opened) => opened,
        Err(error) => panic!("nobody else has claimed it: {error}"),
    };
    check(life, &streams, true).await;
    let at_work = (supervisor.log(), streams.clone());
    *life.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(at_work);
    if world.plan.retains {
        (0..streams.len()).for_each(|at| world.model(at).may_trim(u64::MAX));
    }
    let mut beside = Beside::default();
    beside.begin(life, &settings, &supervisor, &streams);
    let mut workers = workers(life, &settings, &supervisor, &streams);
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
    let end = if in_the_midst && rival.is_none() && rng.bool() {
        stop_machine(life, rng).await
    } else {
        match rng.u32(0..6) {
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
        }
    };
    workers.iter().for_each(JoinHandle::abort);
    beside.end();
    (end, rival)
}

/// What goes wrong while the log is opened.
fn disturb(life: &Arc<Life>, rng: &mut Rng) {
    let plan = &life.world.plan;
    let latency = plan.latencies.most * 4;
    life.world
        .bucket
        .behave(|manners| manners.latency = latency);
    trouble::sway(life);
    for trouble in &plan.troubles {
        if rng.u32(0..3) != 0 {
            continue;
        }
        trouble::arm(life, rng, *trouble);
        if *trouble == Trouble::Full {
            let left = rng.u64(0..12) * 1_024;
            life.say(format_args!("the disk has room for {left} bytes"));
            life.disk.set_capacity(Some(life.disk.used() + left));
        }
    }
}

/// Those who are done some day.
fn workers(
    life: &Arc<Life>,
    settings: &Settings,
    supervisor: &Supervisor,
    streams: &[Stream],
) -> Vec<JoinHandle<()>> {
    let mut workers = Vec::new();
    for n in 0..life.world.plan.appenders {
        let who = format!("appender {n}");
        let appending = Appending::new(life, &who, streams, settings.max_record.bytes());
        workers.push(tokio::spawn(appending.run()));
    }
    let commands = Commands::new(life, &supervisor.log(), streams, settings);
    workers.push(tokio::spawn(commands.run()));
    workers
}

/// The machine stops in the midst of some job, before one of the next calls that change anything: from
/// then on each is as if it had never been made.
async fn stop_machine(life: &Arc<Life>, rng: &mut Rng) -> End {
    let nth = rng.u64(1..40);
    life.say(format_args!("the machine stops before the {nth}th change"));
    life.world
        .points
        .pass("app: the machine stopped in the midst of a job");
    life.halted.store(true, Ordering::Relaxed);
    let changes = Calls::of_kinds(&CallKind::CHANGING).nth(nth).forever();
    let _ = life.plan.fail(changes, Fault::Halt);
    sleep(Duration::from_micros(rng.u64(0..60_000))).await;
    match rng.bool() {
        true => End::Killed,
        false => End::PowerCut(rng.u64(..)),
    }
}

/// Those who are there for as long as the process is.
#[derive(Default)]
struct Beside(Vec<JoinHandle<()>>);

impl Beside {
    fn begin(
        &mut self,
        life: &Arc<Life>,
        settings: &Settings,
        supervisor: &Supervisor,
        streams: &[Stream],
    ) {
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
        let context = supervisor.context();
        let looks = read::look_at_health(Arc::clone(life), move || context.health());
        self.0.push(tokio::spawn(looks));
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
