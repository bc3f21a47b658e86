//! Somebody who takes the log over from a copy of its directory, or from its bucket alone.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use fastrand::Rng;
use tierlog::{
    ClaimHealth, Error, Settings, Stream, Supervisor,
    testing::storage::disk::sim::{Cut, SimDisk},
};
use tokio::time::sleep;

use crate::{
    append::Appending,
    last::archive_all,
    lives::{check, injected, open},
    world::{Life, NAMES, World},
};

/// What the history goes on with after somebody has taken it over.
pub type Heir = (Arc<World>, SimDisk);

/// Opens a copy of a log that is at work. Either is refused: the copy, or from then on the original.
pub async fn take_over(life: Arc<Life>, settings: Settings) -> Option<Heir> {
    let mut rng = life.world.rng(&format!("{}/rival", life.name));
    sleep(Duration::from_micros(rng.u64(0..1_000_000))).await;
    life.say(format_args!("somebody copies the directory"));
    let disk = life.disk.preview_cut(Cut::Seeded(rng.u64(..)));
    let world = life.world.fork();
    sleep(Duration::from_micros(rng.u64(0..500_000))).await;
    let rival = Life::new(&world, format!("{}r", life.name), disk);
    rival.rivalled.store(true, Ordering::Relaxed);
    life.rivalled.store(true, Ordering::Relaxed);
    let mut settings = settings;
    (settings.hot_budget, settings.warm_budget) = (None, None);
    let (supervisor, streams) = match open(&rival, &mut rng, &settings).await {
        Ok(opened) => opened,
        Err(error) => {
            life.world.points.pass("rival: refused");
            life.say(format_args!("the copy is refused: {error}"));
            return None;
        }
    };
    if !is_claimed(&rival, &supervisor).await {
        life.world.points.pass("rival: overtaken itself");
        let _ = supervisor.shutdown(Duration::from_secs(1)).await;
        return None;
    }
    life.overtaken.store(true, Ordering::Relaxed);
    life.world.points.pass("rival: took over");
    life.say(format_args!("the copy is the log from now on"));
    for (at, stream) in streams.iter().enumerate() {
        let (archived, has) = (life.world.model(at).archived_end(), stream.watermarks());
        assert!(
            has.durable.get() >= archived,
            "{archived} are archived, {has:?}"
        );
    }
    check(&rival, &streams, true).await;
    let most = settings.max_record.bytes();
    let flushes = crate::command::flush_now_and_then(Arc::clone(&rival), settings, streams.clone());
    let flushes = tokio::spawn(flushes);
    Appending::new(&rival, "heir", &streams, most).run().await;
    rival.calm();
    archive_all(&rival, &streams, false).await;
    rival.closing.store(true, Ordering::Relaxed);
    let closed = rival
        .ends(
            "the rival's close",
            supervisor.shutdown(Duration::from_secs(20)),
        )
        .await;
    if let Err(error) = closed {
        rival.excused("the rival's close", &error);
    }
    flushes.abort();
    Some((world, rival.disk.clone()))
}

/// Waits until it is known whose Tier 2 is.
async fn is_claimed(life: &Arc<Life>, supervisor: &Supervisor) -> bool {
    let settled = async {
        loop {
            let health = supervisor.health().await;
            match health.cold.expect("there is a Tier 2").claim {
                ClaimHealth::Claiming(_) => sleep(Duration::from_millis(50)).await,
                ClaimHealth::Claimed => return true,
                ClaimHealth::Ended(_) => return false,
            }
        }
    };
    life.ends("a claim", settled).await
}

/// The one that was overtaken is refused from now on, however often it is opened.
pub async fn is_refused(life: &Arc<Life>, rng: &mut Rng, settings: &Settings) {
    life.calm();
    let settings = Settings {
        cold_wait: Duration::from_secs(60),
        ..settings.clone()
    };
    match open(life, rng, &settings).await {
        Ok(_) => panic!("two own one history"),
        Err(error) => {
            assert!(matches!(error, Error::Fenced { .. }), "{error}");
            life.world.points.pass("rival: the original is refused");
        }
    }
}

/// Makes a log of the bucket alone, and holds it against what was archived.
pub async fn restore(life: &Arc<Life>, rng: &mut Rng, settings: &Settings) {
    let world = &life.world;
    let other = Life::new(world, format!("{}s", life.name), SimDisk::new());
    other.calm();
    let injected = injected(&other, rng, settings, Some(&world.bucket));
    let restored = Supervisor::restore_with(settings.clone(), injected);
    let restored = other
        .ends("a restore", restored)
        .await
        .expect("it is restored");
    other.say(format_args!("restored {} records", restored.records));
    world.points.pass("app: restored");
    let opened = open(&other, rng, settings).await;
    let (supervisor, streams) = opened.expect("what was restored opens");
    for (at, stream) in streams.iter().enumerate() {
        holds_archived(&other, at, stream).await;
    }
    let closed = other.ends(
        "closing what was restored",
        supervisor.shutdown(Duration::from_secs(60)),
    );
    let report = closed.await.expect("it closes");
    assert!(report.clean, "{report:?}");
}

async fn holds_archived(life: &Arc<Life>, at: usize, stream: &Stream) {
    let mut model = life.world.model(at).clone();
    let end = stream.watermarks().durable.get();
    let name = NAMES[at];
    assert!(
        end >= model.archived_end(),
        "{name} ends at {end}: {}",
        model.archived_end()
    );
    model.ends_at(end);
    let read = life
        .ends("reading what was restored", crate::read::read_all(stream))
        .await;
    let (start, records) = read.expect("all of it can be read");
    model.begins_at_most(start);
    model.check(start, &records, true);
}
