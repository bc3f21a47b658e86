//! How long the manifest of a large log takes, on a real disk. Not a check: run it with
//! `cargo test --release -p tierlog-storage --test manifest_figures -- --ignored --nocapture`.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tierlog_storage::{
    disk::{Disk, RealDisk},
    ids::{Epoch, Incarnation, LogId, Offset, SegmentNo, StreamId},
    layout::Layout,
    manifest::{Current, Entry, ManifestLog, ManifestOptions, ManifestState, replay},
};

const STREAMS: u64 = 20;

fn stream(n: u64) -> StreamId {
    StreamId::from_bytes(u128::from(n).to_be_bytes())
}

fn segment(n: u64) -> [Entry; 2] {
    let (stream, no) = (stream(n % STREAMS), n / STREAMS);
    let segment = SegmentNo(no);
    [
        Entry::SegmentCreated {
            stream,
            segment,
            salt: n,
            capacity: 16 << 20,
            epoch: Epoch(1),
            incarnation: Incarnation(1),
        },
        Entry::Sealed {
            stream,
            segment,
            base: Offset(no * 1000),
            end: Offset(no * 1000 + 1000),
            data_end: 100_000,
            file_len: 101_000,
            first_ts: n,
            last_ts: n + 1,
            ext: None,
            digest: n,
            flush_failed: false,
        },
    ]
}

fn large(segments: u64) -> ManifestState {
    let mut state = ManifestState::new(LogId::from_bytes([1; 16]));
    for n in 0..STREAMS {
        let entry = Entry::StreamCreated {
            stream: stream(n),
            name: format!("stream {n}"),
            created_ns: n,
        };
        state.apply(&entry).unwrap();
    }
    for n in 0..segments {
        state.apply_all(&segment(n)).unwrap();
    }
    state
}

/// The median of some runs, in milliseconds.
fn median(mut run: impl FnMut() -> Duration) -> f64 {
    let mut times: Vec<_> = (0..9).map(|_| run()).collect();
    times.sort();
    times[4].as_secs_f64() * 1e3
}

#[test]
#[ignore = "prints figures, checks nothing"]
fn figures_of_large_manifests() {
    for segments in [10_000, 100_000] {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let layout = Layout::new(dir.path().join("log"));
        disk.create_dir(layout.root()).unwrap();
        disk.create_dir(&layout.manifest_dir()).unwrap();
        let mut state = large(segments);
        let options = ManifestOptions::default();
        let mut number = 0;
        let entries = median(|| {
            let begun = Instant::now();
            std::hint::black_box(state.snapshot());
            begun.elapsed()
        });
        let create = median(|| {
            number += 1;
            let begun = Instant::now();
            let made = ManifestLog::create(&disk, &layout, number, &state, &options, number);
            let took = begun.elapsed();
            made.unwrap();
            took
        });
        let mut log = ManifestLog::create(&disk, &layout, number + 1, &state, &options, 0).unwrap();
        let begun = Instant::now();
        log.publish().unwrap();
        let publish = begun.elapsed().as_secs_f64() * 1e3;
        let current = Current::read(&*disk, &layout).unwrap().unwrap();
        let read = median(|| replay(&*disk, &layout, &current).unwrap().report.duration);
        let mut n = segments;
        let commit = median(|| {
            n += 1;
            let entries = vec![segment(n / STREAMS * STREAMS + STREAMS)[0].clone()];
            n += STREAMS;
            let begun = Instant::now();
            let results = log.commit(&[entries], &mut state).unwrap();
            let took = begun.elapsed();
            results
                .into_iter()
                .for_each(|result| assert!(result.is_ok(), "{result:?}"));
            took
        });
        println!(
            "{segments} segments: snapshot entries {entries:.2} ms, create and sync {create:.2} ms, \
             publish {publish:.2} ms, replay {read:.2} ms, commit {commit:.3} ms"
        );
    }
}
