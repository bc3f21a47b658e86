//! Recovering what a stop has left.

use std::{collections::BTreeMap, path::PathBuf, sync::Arc, time::Duration};

use tierlog::{
    Settings, Supervisor,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    },
};

use super::Tracks;
use crate::{
    sim,
    track::{Found, read},
};

type Streams = BTreeMap<String, Found>;

/// Recovers a disk and holds it against what was promised; then once more, after a cut that takes
/// everything that recovery did not make durable.
pub fn recovers(settings: &Settings, disk: &SimDisk, tracks: &Tracks, n: u64) {
    let mut first = sim::run(look(settings, disk, tracks, n, true));
    // What was shown has to stay, and what was appended behind it.
    let left = disk.power_cut_with(if n.is_multiple_of(2) {
        Cut::AllLost
    } else {
        Cut::Seeded(n)
    });
    let second = sim::run(look(settings, &left, tracks, n, false));
    for (name, found) in &mut first {
        if !n.is_multiple_of(3) {
            found.payloads.push(format!("one more for {name}"));
        }
    }
    assert_eq!(first, second, "stop {n}: the second recovery");
}

/// Stops the first recovery as well, at some call, and recovers then.
pub fn recovers_half_way(settings: &Settings, disk: &SimDisk, tracks: &Tracks, n: u64) {
    for seed in [n, n + 1_000_000] {
        let left = disk.preview_cut(Cut::Seeded(seed));
        let mut rng = fastrand::Rng::with_seed(seed);
        let plan = FaultPlan::new();
        let changing = Calls::of_kinds(&CallKind::CHANGING);
        plan.fail(changing.nth(rng.u64(1..30)).forever(), Fault::Halt);
        let faulty = FaultDisk::new(Arc::new(left.clone()), plan);
        sim::run(async {
            let opened = Supervisor::open_with(settings.clone(), sim::on(faulty)).await;
            drop(opened);
        });
        recovers(settings, &left.power_cut(seed + 1), tracks, n);
    }
}

async fn look(
    settings: &Settings,
    disk: &SimDisk,
    tracks: &Tracks,
    n: u64,
    first: bool,
) -> Streams {
    let log = Supervisor::open_with(settings.clone(), sim::on(disk.clone()))
        .await
        .unwrap_or_else(|error| panic!("stop {n}: {error}"));
    let report = log.recovery();
    assert_eq!(report.damage().count(), 0, "stop {n}: {report}");
    // Files that the manifest dropped and that were about to be removed may be in the quarantine
    // or, where their headers are torn, left alone. Nothing else is strange to a log.
    let dropped = |path: &PathBuf| path.extension().is_some_and(|end| end == "tls");
    assert!(report.foreign.iter().all(dropped), "stop {n}: {report}");
    let mut streams = Streams::new();
    for info in log.log().streams().await.expect("a list") {
        let stream = log.log().existing(&info.name).await.expect("it is listed");
        let found = read(&stream).await;
        let found = found.unwrap_or_else(|error| panic!("stop {n}: {}: {error}", info.name));
        if first && !n.is_multiple_of(3) {
            let end = found.start + found.payloads.len() as u64;
            let more = format!("one more for {}", info.name);
            let ack = stream.append(more).await.expect("an ack");
            assert_eq!(ack.offset.get(), end, "stop {n}");
        }
        streams.insert(info.name, found);
    }
    if first {
        for (name, track) in tracks {
            track.check(name, streams.get(*name));
        }
    }
    if n.is_multiple_of(5) {
        let report = log.shutdown(Duration::from_secs(10)).await.expect("closed");
        assert!(report.clean, "stop {n}: {report:?}");
    }
    streams
}
