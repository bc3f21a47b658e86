//! Frames of records of 100 B, in memory.

use std::hint::black_box;

use bytes::Bytes;
use tierlog_counts::counted;
use tierlog_storage::{
    Offset,
    segment::{
        FRAME_TARGET, Frame, FrameBuilder, FrameSeal, NewRecord, Records, RecordsRef, check_frame,
    },
};

use crate::append::PAYLOAD;

const SALT: u64 = 0x1234_5678_9abc_def0;
/// The time from one record to the next.
const STEP: u64 = 40;
/// More than a record takes besides its payload: heads, key, ext_id.
const PER_RECORD: usize = 32;

pub fn encode(count: usize) -> usize {
    encoded(count, |builder, at| {
        builder.push_payload(at, black_box(&PAYLOAD));
    })
}

pub fn encode_with_key(count: usize) -> usize {
    let record = NewRecord::new(Bytes::from_static(&PAYLOAD));
    let record = record.key("key").ext_id(7);
    encoded(count, |builder, at| builder.push(at, black_box(&record)))
}

fn encoded(count: usize, push: impl Fn(&mut FrameBuilder, u64)) -> usize {
    // The first sum finds out what the processor can do.
    frames(1, &push);
    records(&counted(|| frames(count, &push)))
}

pub fn decode(count: usize) -> usize {
    decoded(count, |frame| {
        let records = RecordsRef::of(frame).expect("good");
        let lens = records.map(|record| record.expect("good").payload.len());
        lens.sum()
    })
}

pub fn decode_owned(count: usize) -> usize {
    decoded(count, |frame| {
        let records = Records::of(frame.clone()).expect("good");
        let lens = records.map(|record| record.expect("good").payload.len());
        lens.sum()
    })
}

/// Checks each frame and decodes it.
fn decoded(count: usize, work: impl Fn(&Bytes) -> usize) -> usize {
    let frames = frames(count, |builder, at| builder.push_payload(at, &PAYLOAD));
    let seen = counted(|| {
        let lens = frames.iter().map(|frame| {
            check_frame(&frame.bytes, SALT).expect("good");
            work(&frame.bytes)
        });
        lens.sum::<usize>()
    });
    assert_eq!(seen, records(&frames) * PAYLOAD.len());
    records(&frames)
}

/// Full frames, of at least so many records together.
fn frames(count: usize, push: impl Fn(&mut FrameBuilder, u64)) -> Vec<Frame> {
    let (mut frames, mut base) = (Vec::new(), Offset(0));
    while base.0 < count as u64 {
        let (mut builder, mut at) = (FrameBuilder::new(FRAME_TARGET), base.0);
        while builder.len() + PAYLOAD.len() + PER_RECORD <= FRAME_TARGET {
            push(&mut builder, at * STEP);
            at += 1;
        }
        let frame = builder.finish(&FrameSeal {
            base,
            durable: Offset(0),
            salt: SALT,
        });
        base = frame.end();
        frames.push(frame);
    }
    frames
}

fn records(frames: &[Frame]) -> usize {
    frames.iter().map(|frame| frame.count as usize).sum()
}
