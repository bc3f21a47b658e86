//! What the formats promise, tried on bytes that no honest writer made.

mod block;
mod first_use;
mod footer;
mod forged;
mod frame;
mod header;
mod hostile;
pub(crate) mod image;
mod lookalike;
mod scan;

use bytes::Bytes;
use proptest::prelude::*;

use super::{Frame, FrameBuilder, FrameSeal, NewRecord, Record};
use crate::Offset;

pub(crate) const SALT: u64 = 0x5a17_5a17_0bad_cafe;

pub(crate) fn seal_at(base: u64) -> FrameSeal {
    FrameSeal {
        base: Offset(base),
        durable: Offset(base),
        salt: SALT,
    }
}

pub(crate) fn frame_of(base: u64, records: &[(u64, NewRecord)]) -> Frame {
    let mut builder = FrameBuilder::new(64);
    for (timestamp, record) in records {
        builder.push(*timestamp, record);
    }
    builder.finish(&seal_at(base))
}

/// A frame of `count` records that name their own offsets.
pub(crate) fn numbered(base: u64, count: u64) -> Frame {
    let records: Vec<_> = (base..base + count)
        .map(|offset| (1_000 + offset, NewRecord::new(format!("record {offset}"))))
        .collect();
    frame_of(base, &records)
}

pub(crate) fn read_all(frame: &Frame) -> Vec<Record> {
    frame.records().map(|record| record.unwrap()).collect()
}

pub(crate) fn any_record() -> impl Strategy<Value = NewRecord> {
    let bytes = |max| prop::collection::vec(any::<u8>(), 0..max).prop_map(Bytes::from);
    (
        bytes(300),
        proptest::option::weighted(0.3, bytes(40)),
        proptest::option::weighted(0.3, any::<u64>()),
    )
        .prop_map(|(payload, key, ext_id)| NewRecord {
            payload,
            key,
            ext_id,
        })
}

pub(crate) fn any_records() -> impl Strategy<Value = Vec<(u64, NewRecord)>> {
    let steps = prop_oneof![Just(0), 0u64..200, any::<u64>()];
    prop::collection::vec((steps, any_record()), 1..20)
}

/// The records with the timestamps that they must be read back with: never going back.
pub(crate) fn expected(base: u64, records: &[(u64, NewRecord)]) -> Vec<Record> {
    let mut last = 0;
    records
        .iter()
        .zip(base..)
        .map(|((timestamp, record), offset)| {
            last = last.max(*timestamp);
            Record {
                offset: Offset(offset),
                timestamp: last,
                ext_id: record.ext_id,
                key: record.key.clone(),
                payload: record.payload.clone(),
            }
        })
        .collect()
}
