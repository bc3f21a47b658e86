//! Opening a log on a disk that has no room, or nearly none.

use std::sync::Arc;

use tierlog_storage::disk::{
    Disk,
    sim::{Cut, SimDisk},
};

use crate::{
    rig::{layout, open},
    unclean::{again, half_synced, large_tail, read},
};

#[test]
fn a_full_disk_does_not_keep_a_log_from_being_opened() {
    let (sim, mut rig) = half_synced(true);
    sim.fail_next_sync(|path| path.extension().is_some_and(|e| e == "tls"));
    rig.sync("a", false).unwrap_err();
    drop(rig);
    sim.set_capacity(Some(sim.used()));
    let (sim, rig) = again(sim.crash_process());
    let report = &rig.log.report.streams[0];
    assert!(report.in_place, "{report}");
    assert_eq!(report.copied_records, 8);
    assert!(read(&rig, "a").is_whole("a", 0, 20));
    drop(rig);
    let sim = sim.power_cut_with(Cut::AllLost);
    sim.set_capacity(None);
    let (_, rig) = again(sim);
    assert!(read(&rig, "a").is_whole("a", 0, 20), "as durable as a copy");
}

#[test]
fn with_the_reserve_a_log_opens_however_full_the_disk_is() {
    let mut in_place = Vec::new();
    for pages in 0..40 {
        let (sim, rig) = large_tail();
        drop(rig);
        sim.set_capacity(Some(sim.used() + pages * 4096));
        let (sim, rig) = again(sim.crash_process());
        in_place.push(rig.log.report.streams[0].in_place);
        drop(rig);
        assert_nothing_lost(&sim, pages);
    }
    assert!(in_place.first() == Some(&true) && in_place.last() == Some(&false));
    assert!(in_place.is_sorted_by(|a, b| a >= b), "{in_place:?}");
}

#[test]
fn without_the_reserve_it_opens_whole_or_not_at_all() {
    let mut opened = Vec::new();
    for pages in 0..40 {
        let (sim, rig) = large_tail();
        drop(rig);
        sim.remove(&layout().reserve()).unwrap();
        sim.set_capacity(Some(sim.used() + pages * 4096));
        let sim = sim.crash_process();
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        match open(&disk) {
            Ok(log) => opened.push((pages, log.report.streams[0].in_place)),
            Err(error) => assert!(error.is_storage_full(), "{pages}: {error}"),
        }
        assert_nothing_lost(&sim, pages);
    }
    assert!(opened.iter().any(|(_, in_place)| *in_place), "{opened:?}");
    assert!(opened.iter().any(|(_, in_place)| !*in_place), "{opened:?}");
}

fn assert_nothing_lost(sim: &SimDisk, pages: u64) {
    sim.set_capacity(None);
    let cut = sim.preview_cut(Cut::AllKept);
    let (_, rig) = again(cut);
    assert!(read(&rig, "a").is_whole("a", 0, 320), "{pages}");
}
