//! Files that somebody put there: each kind becomes what it is, and nothing that is named is touched.

use tierlog::{
    Fate, Offset, Stream, Supervisor,
    testing::{
        Action,
        storage::disk::{Disk, sim::SimDisk},
    },
};

use super::{
    a_segment, bytes, everything, exists, folder, name, numbers, put, sweep, sweep_all, told,
};
use crate::{
    faults::rig::{Rig, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, files, holds, rig, settled},
};

/// Numbers that no segment of these logs comes to.
const FAR: u64 = 5_000;

/// Where the log begins.
const START: u64 = 60;

/// What [`rig`] gives hot files, in bytes.
const HOT_BUDGET: usize = 320 * 1024;

/// The log moves nothing more by itself: whatever is sealed is compressed, the segment ahead is made, and what is
/// hot is within the budget.
async fn at_rest(disk: &SimDisk, stream: &Stream) {
    within(async {
        loop {
            let segments = stream.segments().await.expect("known");
            let (open, sealed): (Vec<_>, Vec<_>) =
                segments.iter().partition(|segment| segment.state == "open");
            let hot = files(disk, stream, "tls");
            let hot_bytes: usize = hot.iter().map(|path| bytes(disk, path).len()).sum();
            let is_ahead = |no: &u64| open.iter().all(|open| *no > open.segment.0);
            if sealed
                .iter()
                .all(|segment| segment.compressed_len.is_some())
                && numbers(disk, stream, "tls").iter().any(is_ahead)
                && hot_bytes <= HOT_BUDGET
            {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

/// A log with segments in both tiers, of which some were trimmed, at rest; and the compressed file of one of
/// those.
async fn aged(disk: &SimDisk) -> (Rig, Supervisor, Stream, Vec<u8>) {
    let rig = rig(disk);
    let (log, stream) = one_stream(&rig).await;
    append(&stream, 0..300).await;
    at_rest(disk, &stream).await;
    let first = folder(&stream).join(name(0, "tlz"));
    let trimmed = bytes(disk, &first);
    within(stream.trim(Offset(START))).await.expect("trimmed");
    let swept = sweep_all(&log).await;
    assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
    assert!(!exists(disk, &first));
    (rig, log, stream, trimmed)
}

/// The bytes of a segment of another log.
async fn of_another_log() -> Vec<u8> {
    let disk = SimDisk::new();
    let (log, stream) = one_stream(&rig(&disk)).await;
    append(&stream, 0..3).await;
    let path = files(&disk, &stream, "tls").remove(0);
    let bytes = bytes(&disk, &path);
    close(log).await;
    bytes
}

/// What was put there, below the directory.
#[derive(Default)]
struct Planted {
    leftovers: Vec<String>,
    of_this_log: Vec<String>,
    foreign: Vec<String>,
}

async fn plant(disk: &SimDisk, stream: &Stream, trimmed: &[u8]) -> Planted {
    let dir = folder(stream);
    let below = format!("streams/{}", stream.id());
    let mut planted = Planted::default();
    let of = |no, ending: &str| format!("{below}/{}", name(no, ending));
    let hot = numbers(disk, stream, "tls");
    let warm = numbers(disk, stream, "tlz");
    let dropped = *warm
        .iter()
        .find(|no| !hot.contains(no))
        .expect("one is dropped");
    let segment = a_segment(disk, stream);
    let compressed = bytes(disk, &dir.join(name(dropped, "tlz")));

    for (path, bytes) in [
        (of(dropped, "tls"), &b"was dropped"[..]),
        (of(0, "tlz"), trimmed),
        (of(0, "tls"), &[0; 70_000]),
        (of(dropped, "tls.tmp"), b"was being fetched"),
        (of(FAR, "tls"), &[0; 4_096]),
        (format!("manifest/{}", name(0, "tlm")), b"older"),
        (format!("manifest/{}", name(FAR, "tlm")), b"never counted"),
    ] {
        put(disk, &std::path::Path::new("/log").join(&path), bytes);
        planted.leftovers.push(path);
    }
    let strange = format!("streams/{}", "9f".repeat(16));
    let root = std::path::Path::new("/log");
    disk.create_dir(&root.join(&strange)).expect("a folder");
    for (path, bytes) in [
        (of(FAR + 1, "tls"), &segment),
        (of(FAR + 2, "tlz"), &compressed),
        (format!("{strange}/{}", name(0, "tls")), &segment),
    ] {
        put(disk, &root.join(&path), bytes);
        planted.of_this_log.push(path);
    }
    let theirs = of_another_log().await;
    for (path, bytes) in [
        (of(FAR + 3, "tls"), &theirs[..]),
        (of(FAR + 4, "tls"), b"noise"),
        (of(FAR + 3, "tlz"), b"noise"),
        (format!("{below}/notes.txt"), b"to be read"),
        ("README".to_owned(), b"whose log this is"),
        ("manifest/old.tlm".to_owned(), b"a copy"),
    ] {
        put(disk, &root.join(&path), bytes);
        planted.foreign.push(path);
    }
    disk.create_dir(&root.join("streams/lost+found"))
        .expect("a folder");
    planted.leftovers.sort();
    planted.of_this_log.sort();
    planted
}

#[test]
fn a_sweep_removes_leftovers_quarantines_what_is_of_this_log_and_leaves_the_rest() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let (rig, log, stream, trimmed) = aged(&disk).await;
        let named = everything(&disk);
        let planted = plant(&disk, &stream, &trimmed).await;
        let before = everything(&disk);

        let dry = log.log().sweep_dry().await.expect("swept");
        assert!(dry.dry_run);
        assert_eq!(told(&dry.directory, Fate::Removed), planted.leftovers);
        assert_eq!(told(&dry.directory, Fate::Quarantined), planted.of_this_log);
        assert!(everything(&disk) == before, "a dry run touches nothing");

        let swept = sweep(&log).await;
        assert_eq!(told(&swept, Fate::Removed), planted.leftovers);
        assert_eq!(told(&swept, Fate::Quarantined), planted.of_this_log);
        // And the folder.
        assert_eq!(swept.foreign, planted.foreign.len() as u64 + 1, "{swept:?}");
        assert_eq!((swept.in_quarantine, swept.under_way), (0, 0));
        let lens: u64 = swept
            .told
            .iter()
            .filter(|file| file.fate == Fate::Removed)
            .map(|file| file.len)
            .sum();
        assert_eq!(swept.removed_bytes, lens);
        let root = std::path::Path::new("/log");
        for path in planted.leftovers.iter().chain(&planted.of_this_log) {
            assert!(!exists(&disk, &root.join(path)), "{path}");
        }
        for file in swept.told.iter().filter(|file| file.now.is_some()) {
            let now = root.join(file.now.as_ref().expect("it was moved"));
            assert!(now.starts_with("/log/quarantine"), "{now:?}");
            assert!(before[&root.join(&file.path)] == bytes(&disk, &now));
        }
        let after = everything(&disk);
        assert!(
            named.keys().all(|path| after.contains_key(path)),
            "whatever was named is there"
        );
        assert!(
            planted
                .foreign
                .iter()
                .all(|path| after[&root.join(path)] == before[&root.join(path)])
        );

        let again = sweep(&log).await;
        assert_eq!((again.removed, again.quarantined), (0, 0), "{again:?}");
        assert_eq!(again.in_quarantine, planted.of_this_log.len() as u64);
        assert_eq!(again.foreign, swept.foreign);
        append(&stream, 300..340).await;
        holds(&stream, START..340).await;
        close(log).await;
        let (log, stream) = one_stream(&rig).await;
        let recovery = log.recovery();
        assert!(recovery.quarantined.is_empty(), "{recovery}");
        holds(&stream, START..340).await;
        close(log).await;
    });
}

#[test]
fn an_open_makes_of_planted_files_what_a_sweep_makes_of_them() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let (rig, log, stream, trimmed) = aged(&disk).await;
        close(log).await;
        let planted = plant(&disk, &stream, &trimmed).await;
        let (log, stream) = one_stream(&rig).await;
        let recovery = log.recovery();
        let root = std::path::Path::new("/log");
        let streams = planted.leftovers.iter();
        let expected: Vec<_> = streams
            .filter(|path| path.starts_with("streams"))
            .map(|path| root.join(path))
            .collect();
        let removed = |path| recovery.removed.contains(path);
        assert!(expected.iter().all(removed), "{recovery}");
        // And the segment that was made ahead, if the close came behind it.
        let others = recovery.removed.len() - expected.len();
        assert!(others <= 1, "{recovery}");
        assert_eq!(recovery.quarantined.len(), planted.of_this_log.len());
        assert_eq!(recovery.foreign.len(), planted.foreign.len() + 1);
        let swept = sweep_all(&log).await;
        assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
        assert_eq!(swept.in_quarantine, planted.of_this_log.len() as u64);
        holds(&stream, START..300).await;
        close(log).await;
    });
}

#[test]
fn a_file_that_somebody_is_at_work_on_waits_for_a_later_sweep() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        // The compressed file is there, whole, and the manifest does not say so yet.
        rig.faults.arm("coordinator.after_move", Action::Park, 1);
        append(&stream, 0..100).await;
        within(rig.faults.reached("coordinator.after_move", 0)).await;
        let begun = files(&disk, &stream, "tlz");
        assert!(!begun.is_empty());
        let swept = sweep(&log).await;
        assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
        assert!(swept.under_way >= 1, "{swept:?}");
        rig.faults.release("coordinator.after_move");
        append(&stream, 100..300).await;
        settled(&disk, &stream, 4).await;
        let swept = sweep_all(&log).await;
        assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
        assert!(begun.iter().all(|path| exists(&disk, path)));
        holds(&stream, 0..300).await;
        close(log).await;
    });
}

/// The listing shows a file that is not named, and then its maker names it and lets go: what the manifest said
/// before is not what it says.
#[test]
fn what_was_named_between_two_looks_of_a_sweep_stays() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk).with("compression_workers", "1");
        let (log, stream) = one_stream(&rig).await;
        rig.faults.arm("coordinator.after_move", Action::Park, 1);
        append(&stream, 0..60).await;
        within(rig.faults.reached("coordinator.after_move", 0)).await;
        let begun = files(&disk, &stream, "tlz");
        assert_eq!(begun.len(), 1);
        rig.faults.arm("coordinator.before_take", Action::Park, 1);
        let handle = log.log();
        let sweeping = tokio::spawn(async move { handle.sweep().await });
        within(rig.faults.reached("coordinator.before_take", 0)).await;
        rig.faults.release("coordinator.after_move");
        within(async {
            let is_named = |segment: &tierlog::SegmentInfo| segment.compressed_len.is_some();
            while !stream.segments().await.expect("known").iter().any(is_named) {
                tokio::task::yield_now().await;
            }
        })
        .await;
        rig.faults.release("coordinator.before_take");
        let swept = within(sweeping).await.expect("no panic").expect("swept");
        let swept = swept.directory;
        assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
        assert!(exists(&disk, &begun[0]));
        holds(&stream, 0..60).await;
        close(log).await;
    });
}
