//! How long the manifest of a large log takes, on a real disk:
//! `cargo bench -p tierlog-storage --bench manifest`.

use std::{
    error::Error,
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

type Outcome<T> = Result<T, Box<dyn Error>>;

fn large(segments: u64) -> Outcome<ManifestState> {
    let mut state = ManifestState::new(LogId::from_bytes([1; 16]));
    for n in 0..STREAMS {
        let entry = Entry::StreamCreated {
            stream: stream(n),
            name: format!("stream {n}"),
            created_ns: n,
        };
        state.apply(&entry)?;
    }
    for n in 0..segments {
        state.apply_all(&segment(n))?;
    }
    Ok(state)
}

/// The median of some runs, in milliseconds.
fn median(mut run: impl FnMut() -> Outcome<Duration>) -> Outcome<f64> {
    let mut times = Vec::new();
    for _ in 0..9 {
        times.push(run()?);
    }
    times.sort();
    Ok(times[4].as_secs_f64() * 1e3)
}

fn main() -> Outcome<()> {
    // `cargo test` runs what is no test as well: the figures are for `cargo bench`.
    if !std::env::args().any(|arg| arg == "--bench") {
        return Ok(());
    }
    figures(10_000)?;
    figures(100_000)
}

fn figures(segments: u64) -> Outcome<()> {
    let dir = tempfile::tempdir()?;
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let layout = Layout::new(dir.path().join("log"));
    disk.create_dir(layout.root())?;
    disk.create_dir(&layout.manifest_dir())?;
    let mut state = large(segments)?;
    let options = ManifestOptions::default();
    let mut number = 0;
    let entries = median(|| {
        let begun = Instant::now();
        std::hint::black_box(state.snapshot());
        Ok(begun.elapsed())
    })?;
    let create = median(|| {
        number += 1;
        let begun = Instant::now();
        ManifestLog::create(&disk, &layout, number, &state, &options, number)?;
        Ok(begun.elapsed())
    })?;
    let mut log = ManifestLog::create(&disk, &layout, number + 1, &state, &options, 0)?;
    let begun = Instant::now();
    log.publish()?;
    let publish = begun.elapsed().as_secs_f64() * 1e3;
    let current = Current::read(&*disk, &layout)?.ok_or("the pointer that was just published")?;
    let read = median(|| Ok(replay(&*disk, &layout, &current)?.report.duration))?;
    let mut n = segments;
    let commit = median(|| {
        let entries = vec![segment((n + 1) / STREAMS * STREAMS + STREAMS)[0].clone()];
        n += STREAMS + 1;
        let begun = Instant::now();
        let results = log.commit(&[entries], &mut state)?;
        let took = begun.elapsed();
        for result in results {
            result?;
        }
        Ok(took)
    })?;
    println!(
        "{segments} segments: snapshot entries {entries:.2} ms, create and sync {create:.2} ms, \
         publish {publish:.2} ms, replay {read:.2} ms, commit {commit:.3} ms"
    );
    Ok(())
}
