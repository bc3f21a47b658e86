//! What goes wrong, now and then, for as long as a process is at work.

use std::{path::Path, sync::Arc, sync::atomic::Ordering, time::Duration};

use fastrand::Rng;
use futures::FutureExt;
use tierlog::testing::{
    Action, COLD_POINTS, MOVE_POINTS, POINTS,
    cold::{store::StoreErrorKind, unruly::Misdeed},
    storage::disk::fault::{CallKind, Calls, Fault},
};
use tokio::time::sleep;

use crate::{plan::Trouble, world::Life};

/// Makes trouble until the process is to be quiet.
pub async fn make(life: Arc<Life>, points: usize) {
    let mut rng = life.world.rng(&format!("{}/trouble", life.name));
    let troubles = life.world.plan.troubles.clone();
    let troubles: Vec<_> = troubles
        .into_iter()
        .filter(|t| *t != Trouble::Rival)
        .collect();
    for _ in 0..rng.u32(0..16) {
        if troubles.is_empty() {
            return;
        }
        sleep(Duration::from_micros(rng.u64(0..150_000))).await;
        if life.quiet.load(Ordering::Relaxed) {
            return;
        }
        let trouble = troubles[rng.usize(0..troubles.len())];
        life.world.points.pass(format!("trouble: {trouble:?}"));
        match trouble {
            Trouble::Actors => disturb(&life, &mut rng, points).await,
            Trouble::Full => fill(&life, &mut rng).await,
            Trouble::Outage => outage(&life, &mut rng).await,
            Trouble::Store => misbehave(&life, &mut rng, &STORE).await,
            Trouble::Lies => misbehave(&life, &mut rng, &LIES).await,
            Trouble::Clock => {
                let by = rng.i64(-20_000_000_000..40_000_000_000);
                life.say(format_args!("the clock is set by {} ms", by / 1_000_000));
                life.world.time.jump(by);
            }
            Trouble::Stuck | Trouble::Rival => {}
            of_disk => arm(&life, &mut rng, of_disk),
        }
    }
}

/// Before a log is opened, or in the midst of its work: some call of the disk will fail.
pub fn arm(life: &Life, rng: &mut Rng, trouble: Trouble) {
    use CallKind::{
        Allocate, CreateDir, CreateNew, Link, List, Open, ReadAt, Remove, RemoveDir, Rename,
        SetLen, SyncData, SyncDir, WriteAt,
    };
    let kinds: &[CallKind] = match trouble {
        Trouble::Writes => &[WriteAt, Allocate, SetLen],
        Trouble::Syncs => &[SyncData, SyncDir],
        Trouble::Reads => &[ReadAt, Open],
        Trouble::Names => &[
            CreateNew, CreateDir, Rename, Remove, RemoveDir, List, SyncDir, Link,
        ],
        Trouble::Manifest => &[WriteAt, SyncData, Allocate, CreateNew, CreateNew, Rename],
        _ => return,
    };
    let kind = kinds[rng.usize(0..kinds.len())];
    let fault = match rng.u32(0..8) {
        0 => Fault::Full,
        1 if matches!(kind, WriteAt | Allocate) => Fault::Short(rng.usize(0..9_000)),
        2 if !matches!(kind, ReadAt | Open) => Fault::DoneButReported,
        _ => Fault::Io,
    };
    let is_manifest = |path: &Path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        name.ends_with(".tlm") || name.starts_with("CURRENT")
    };
    // They are few, and each is a step of its own.
    let most = match (trouble, kind) {
        (Trouble::Manifest, CreateNew | Rename) => 2,
        _ => 12,
    };
    let (nth, times) = (
        rng.u64(1..most),
        if rng.u32(0..6) == 0 { rng.u64(2..6) } else { 1 },
    );
    let calls = Calls::of(kind).nth(nth).times(times);
    let calls = match trouble {
        Trouble::Manifest => calls.at(is_manifest),
        // The log's own folder, whose name a failed sync forgot: see the README of the tests.
        _ if kind == SyncDir && life.name.starts_with('0') => {
            calls.at(|path| path.parent().is_some_and(|above| above.parent().is_some()))
        }
        _ => calls,
    };
    life.say(format_args!(
        "the {nth}th {kind:?} ({trouble:?}) will fail: {fault:?}, {times} times"
    ));
    life.world
        .points
        .pass(format!("fault: {kind:?} {}", name_of(fault)));
    let _ = life.plan.fail(calls, fault);
}

fn name_of(fault: Fault) -> &'static str {
    match fault {
        Fault::Io => "EIO",
        Fault::Full => "ENOSPC",
        Fault::Short(_) => "short",
        Fault::DoneButReported => "done but reported",
        _ => "other",
    }
}

/// An actor is killed, panics, or is held for a while.
async fn disturb(life: &Life, rng: &mut Rng, points: usize) {
    // Those that are replaced alone have few points, and come as often as the others.
    let lists = [POINTS, MOVE_POINTS, COLD_POINTS];
    let list = match rng.u32(0..6) {
        0..=2 => lists[rng.usize(0..points)],
        _ => POINTS,
    };
    let point = list[rng.usize(0..list.len())];
    let action = match rng.u32(0..4) {
        0 => Action::Park,
        1 => Action::Panic,
        _ => Action::Kill,
    };
    // The supervisor itself has nobody who begins again.
    let action = match point.starts_with("supervisor") {
        true => Action::Park,
        false => action,
    };
    life.say(format_args!("{action:?} at {point}"));
    life.faults.arm(point, action, rng.u32(1..4));
    if action == Action::Park {
        sleep(Duration::from_micros(rng.u64(0..2_000_000))).await;
        life.faults.release(point);
    }
}

async fn fill(life: &Life, rng: &mut Rng) {
    let left = rng.u64(0..200) * 1_024;
    life.say(format_args!("the disk has room for {left} bytes"));
    life.disk.set_capacity(Some(life.disk.used() + left));
    sleep(Duration::from_micros(rng.u64(0..3_000_000))).await;
    life.disk.set_capacity(None);
    life.say(format_args!("the disk has room"));
}

async fn outage(life: &Life, rng: &mut Rng) {
    life.say(format_args!("the bucket is out of reach"));
    life.world.bucket.behave(|manners| manners.down = true);
    sleep(Duration::from_micros(rng.u64(0..20_000_000))).await;
    life.world.bucket.behave(|manners| manners.down = false);
    life.say(format_args!("the bucket is back"));
}

const STORE: [Misdeed; 9] = [
    Misdeed::LosesAnswer,
    Misdeed::ComesLate(Duration::from_millis(700)),
    Misdeed::Delays(Duration::from_secs(3)),
    Misdeed::Hangs,
    Misdeed::HangsWhenDone,
    Misdeed::Answers(StoreErrorKind::Busy),
    Misdeed::Answers(StoreErrorKind::Unknown),
    Misdeed::Answers(StoreErrorKind::Denied),
    Misdeed::IsStale,
];

const LIES: [Misdeed; 2] = [Misdeed::Shortens, Misdeed::Alters];

async fn misbehave(life: &Life, rng: &mut Rng, misdeeds: &[Misdeed]) {
    let per_mille = rng.choice([50, 200, 600]).unwrap_or(50);
    life.say(format_args!(
        "of a thousand calls to the bucket {per_mille} go wrong"
    ));
    life.world.bucket.behave(|manners| {
        manners.misdeeds = misdeeds.to_vec();
        manners.per_mille = per_mille;
    });
    sleep(Duration::from_micros(rng.u64(0..6_000_000))).await;
    life.world.bucket.behave(|manners| manners.per_mille = 0);
    life.say(format_args!("the bucket behaves"));
}

/// Actors stand at points for a while, or let others pass.
pub fn sway(life: &Arc<Life>) {
    let most = u64::try_from(life.world.plan.sway.as_micros()).expect("a short time");
    if most == 0 {
        return;
    }
    let rng = life.world.rng(&format!("{}/sway", life.name));
    let (rng, points) = (std::sync::Mutex::new(rng), life.world.points.clone());
    life.faults.sway(Arc::new(move |point| {
        points.pass(format!("point: {point}"));
        let (how, micros) = {
            let mut rng = rng
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            (rng.u32(0..8), rng.u64(1..=most))
        };
        async move {
            match how {
                0..=3 => {}
                4..=6 => {
                    for _ in 0..how {
                        tokio::task::yield_now().await;
                    }
                }
                _ => sleep(Duration::from_micros(micros)).await,
            }
        }
        .boxed()
    }));
}
