//! How fast records go into frames and come out again, on one thread and in memory.
//!
//! `cargo bench -p tierlog-storage --bench codec`. Each line is the best of several rounds; what
//! was encoded is decoded and compared before anything is timed. Without `--bench` (as under
//! `cargo test --benches`) a few records only show that it runs.

use std::{hint::black_box, time::Instant};

use bytes::Bytes;
use tierlog_storage::{
    Offset,
    segment::{
        Block, FRAME_TARGET, Frame, FrameBuilder, FrameSeal, NewRecord, Records, RecordsRef,
        check_frame,
    },
};

const SALT: u64 = 0x1234_5678_9abc_def0;

fn main() {
    let long = std::env::args().any(|arg| arg == "--bench");
    let bytes_a_round = if long { 1 << 25 } else { 1 << 17 };
    let rounds = if long { 60 } else { 1 };
    println!("{:<36} {:>9} {:>10}", "work", "M rec/s", "GB/s");
    for size in [100, 1024, 16 * 1024] {
        let count = (bytes_a_round / size).max(8);
        run(size, count, rounds);
    }
}

fn run(size: usize, count: usize, rounds: usize) {
    let payload: Vec<u8> = (0..size).map(|at| (at * 7) as u8).collect();
    let report = |what: &str, work: &mut dyn FnMut() -> usize| {
        time(what, size, rounds, count, work);
    };
    report("push_payload, one time, recycled", &mut || {
        encode(&payload, count, 0, recycle)
    });
    report("push_payload, 40 ns apart, recycled", &mut || {
        encode(&payload, count, 40, recycle)
    });
    report("push_payload, new buffers", &mut || {
        encode(&payload, count, 40, |_| FrameBuilder::new(FRAME_TARGET))
    });
    let record = NewRecord::new(payload.clone());
    report("fits and push", &mut || encode_records(&record, count));
    let record = record.key("key").ext_id(7);
    report("fits and push, key and ext_id", &mut || {
        encode_records(&record, count)
    });

    let block = one_block(&payload);
    let in_block = records_of(&block)
        .iter()
        .map(|frame| frame.1)
        .sum::<usize>();
    let repeats = count.div_ceil(in_block);
    let timed = |what: &str, work: &dyn Fn(&Bytes) -> usize| {
        let frames = records_of(&block);
        time(what, size, rounds, repeats * in_block, &mut || {
            let mut seen = 0;
            for _ in 0..repeats {
                for (frame, _) in &frames {
                    seen += work(frame);
                }
            }
            seen
        });
    };
    timed("check and Records (Bytes)", &|frame| {
        black_box(check_frame(frame, SALT)).expect("good");
        let records = Records::of(frame.clone()).expect("good");
        records.fold(0, |seen, record| {
            black_box(record.expect("good"));
            seen + 1
        })
    });
    timed("check and RecordsRef", &|frame| {
        black_box(check_frame(frame, SALT)).expect("good");
        let records = RecordsRef::of(frame).expect("good");
        records.fold(0, |seen, record| {
            black_box(record.expect("good"));
            seen + 1
        })
    });
    timed("RecordsRef, unchecked", &|frame| {
        let records = RecordsRef::of(frame).expect("good");
        records.fold(0, |seen, record| {
            black_box(record.expect("good"));
            seen + 1
        })
    });
}

fn time(what: &str, size: usize, rounds: usize, count: usize, work: &mut dyn FnMut() -> usize) {
    let best = (0..rounds)
        .map(|_| {
            let begun = Instant::now();
            assert_eq!(black_box(work()), count, "{what} {size}");
            begun.elapsed().as_secs_f64()
        })
        .fold(f64::INFINITY, f64::min);
    println!(
        "{:<36} {:>9.1} {:>10.2}",
        format!("{what}, {size} B"),
        count as f64 / best / 1e6,
        (count * size) as f64 / best / 1e9
    );
}

fn encode(
    payload: &[u8],
    count: usize,
    step: u64,
    mut next: impl FnMut(Frame) -> FrameBuilder,
) -> usize {
    let mut builder = FrameBuilder::new(FRAME_TARGET);
    let (mut base, mut timestamp, mut done) = (0, 1_700_000_000_000_000_000, 0);
    for nth in 0..count {
        builder.push_payload(timestamp, black_box(payload));
        timestamp += step;
        if builder.len() + payload.len() + 16 > FRAME_TARGET || nth + 1 == count {
            let frame = std::mem::replace(&mut builder, FrameBuilder::with_buffer(Vec::new()))
                .finish(&seal(base));
            base = frame.end().0;
            done += frame.count as usize;
            builder = next(black_box(frame));
        }
    }
    done
}

fn encode_records(record: &NewRecord, count: usize) -> usize {
    let mut builder = FrameBuilder::new(FRAME_TARGET);
    let mut done = 0;
    for nth in 0..count {
        if !builder.fits(record, FRAME_TARGET) {
            let frame = std::mem::replace(&mut builder, FrameBuilder::with_buffer(Vec::new()))
                .finish(&seal(done as u64));
            done += frame.count as usize;
            builder = recycle(black_box(frame));
        }
        builder.push(nth as u64, black_box(record));
    }
    done + builder.count() as usize
}

fn recycle(frame: Frame) -> FrameBuilder {
    FrameBuilder::with_buffer(frame.bytes.into())
}

fn seal(base: u64) -> FrameSeal {
    FrameSeal {
        base: Offset(base),
        durable: Offset(base),
        salt: SALT,
    }
}

/// 256 KiB of frames.
fn one_block(payload: &[u8]) -> Block {
    let mut bytes = Vec::new();
    let mut base = 0;
    while bytes.len() < 256 * 1024 - FRAME_TARGET {
        let mut builder = FrameBuilder::new(FRAME_TARGET);
        while builder.len() + payload.len() + 16 < FRAME_TARGET {
            builder.push_payload(base, payload);
        }
        let frame = builder.finish(&seal(base));
        base = frame.end().0;
        for record in frame.records() {
            assert_eq!(record.expect("good").payload, payload);
        }
        bytes.extend_from_slice(&frame.bytes);
    }
    Block::of(bytes.into(), 128, SALT, Offset(0)).expect("good")
}

fn records_of(block: &Block) -> Vec<(Bytes, usize)> {
    let frames = block.frames();
    frames
        .map(|(head, bytes)| (bytes, head.count as usize))
        .collect()
}
