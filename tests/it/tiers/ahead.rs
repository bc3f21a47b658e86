//! A scan of compressed segments has the next two blocks read before it comes to them, and two zstd frames decoded
//! at once.

use std::path::Path;

use metrics::set_default_local_recorder;
use tierlog::{
    From, Stream, Supervisor,
    testing::storage::disk::{
        Access, Disk,
        fault::{CallKind, Calls, Fault},
        sim::SimDisk,
    },
};

use super::{append, files, long, rig, settled};
use crate::{
    faults::rig::{Rig, on_each_runtime, one_stream},
    observed::recorder::Recording,
    sim,
    support::{close, within},
};

/// Records of about 2 KiB, of which some 120 lie in one zstd frame.
const RECORDS: u64 = 3_000;

/// One compressed segment of some sixteen zstd frames.
fn large(disk: &SimDisk) -> Rig {
    rig(disk)
        .with("segment_size", "4MiB")
        .with("hot_budget", "8MiB")
}

#[test]
fn a_scan_of_a_compressed_segment_is_two_blocks_ahead_and_no_more() {
    let recording = Recording::default();
    let guard = set_default_local_recorder(&recording);
    let disk = SimDisk::new();
    let rig = large(&disk).with("read_cache", "8MiB");
    sim::run(async {
        let log = Supervisor::open_with(rig.settings.clone(), sim::on(disk.clone()));
        let log = within(log).await.expect("the log opens");
        let stream = log.log().stream("s").await.expect("a stream");
        append(&stream, 0..RECORDS).await;
        within(stream.seal()).await.expect("sealed");
        settled(&disk, &stream, 1).await;
        let read = || recording.value("tierlog_read_cache_misses_total");
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let mut seen: Vec<(f64, u64)> = Vec::new();
        for id in 0..RECORDS {
            let record = within(reader.try_next()).await.expect("read");
            assert_eq!(record.expect("a record").payload, long(id));
            if seen.last().map(|(reads, _)| *reads) != Some(read()) {
                seen.push((read(), id));
            }
        }
        // The first one alone; with the second the two behind it; then one for each that is used up.
        let reads: Vec<_> = seen.iter().map(|(reads, _)| *reads).collect();
        assert_eq!(reads[..4], [1.0, 4.0, 5.0, 6.0]);
        // Two frames are alone, since the second one is of a pair whose first one was read; then come pairs.
        let records: Vec<_> = seen.windows(2).map(|two| two[1].1 - two[0].1).collect();
        assert!((100..150).contains(&records[0]), "{records:?}");
        assert!((100..150).contains(&records[1]), "{records:?}");
        assert!((200..300).contains(&records[2]), "{records:?}");
        close(log).await;
    });
    drop(guard);
}

/// All of it is there, and compressed.
async fn compressed(disk: &SimDisk, rig: &Rig) -> (Supervisor, Stream) {
    let (log, stream) = one_stream(rig).await;
    append(&stream, 0..RECORDS).await;
    within(stream.seal()).await.expect("sealed");
    settled(disk, &stream, 1).await;
    (log, stream)
}

/// Where the zstd frames of a compressed file lie, by its seek table.
fn frames_of(file: &[u8]) -> Vec<std::ops::Range<usize>> {
    let u32_at =
        |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().expect("four")) as usize;
    let count = u32_at(file.len() - 9);
    let table = file.len() - 9 - 8 * count;
    let mut begin = 0;
    let all = (0..count).map(|nth| {
        let frame = begin..begin + u32_at(table + 8 * nth);
        begin = frame.end;
        frame
    });
    // Before the first one is the head, and behind the last one the index.
    all.collect::<Vec<_>>()[1..count - 1].to_vec()
}

/// Flips the bits of a byte.
fn flip(disk: &SimDisk, path: &Path, at: usize) {
    let file = disk.open(path, Access::ReadWrite).expect("it is there");
    let mut byte = [0];
    file.read_at(&mut byte, at as u64).expect("read");
    file.write_at(&[!byte[0]], at as u64).expect("written");
}

#[test]
fn of_two_frames_that_are_decoded_at_once_only_the_damaged_one_is_missed() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = large(&disk);
        let (log, stream) = compressed(&disk, &rig).await;
        let first = files(&disk, &stream, "tlz")[0].clone();
        let end = stream.segments().await.expect("known")[0].end.get();
        close(log).await;
        let file = disk.open(&first, Access::Read).expect("it is there");
        let mut bytes = vec![0; file.len().expect("a length") as usize];
        file.read_at(&mut bytes, 0).expect("read");
        let mut missed_before = 0;
        for frame in frames_of(&bytes) {
            if missed_before == end {
                break; // Only the footer is left.
            }
            flip(&disk, &first, frame.start + frame.len() / 2);
            let (log, stream) = one_stream(&rig).await;
            let reader = stream.reader(From::Earliest).skip_damage().into_future();
            let mut reader = within(reader).await.expect("a reader");
            let mut seen = Vec::new();
            while let Some(record) = within(reader.try_next()).await.expect("read") {
                assert_eq!(record.payload, long(record.offset.get()));
                seen.push(record.offset.get());
            }
            let [gap] = reader.gaps() else {
                panic!("one gap, and not {:?}", reader.gaps());
            };
            let (from, to) = (gap.from.get(), gap.to.get());
            assert_eq!(from, missed_before, "behind the frame before this");
            assert!(
                (1..300).contains(&(to - from)),
                "one frame, not {from} to {to}"
            );
            let expected: Vec<_> = (0..from).chain(to..RECORDS).collect();
            assert!(seen == expected, "all but {from} to {to}");
            missed_before = to;
            drop(reader);
            close(log).await;
            flip(&disk, &first, frame.start + frame.len() / 2);
        }
        assert_eq!(missed_before, end, "every frame was damaged once");
    });
}

/// It was made once more, frame by frame: who waits for a store that does not answer would have waited twice.
#[test]
fn a_read_of_two_frames_that_fails_is_told_and_not_made_once_more() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = large(&disk);
        let (log, stream) = compressed(&disk, &rig).await;
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        within(reader.try_next()).await.expect("the first frame");
        // The second frame is read alone, then pairs.
        let reads = Calls::of(CallKind::ReadAt).ending(".tlz").nth(2);
        let armed = rig.plan.fail(reads, Fault::Io);
        let (mut next, mut failed) = (1, 0);
        while next < RECORDS {
            match within(reader.try_next()).await {
                Ok(record) => {
                    assert_eq!(record.expect("a record").payload, long(next));
                    next += 1;
                }
                Err(error) => {
                    failed += 1;
                    assert_eq!(failed, 1, "one call failed: {error}");
                }
            }
        }
        assert_eq!((armed.disarm(), failed), (1, 1));
        close(log).await;
    });
}
