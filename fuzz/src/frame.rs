//! One frame: bytes that pass the checks give records, whose frame can be made again.
//!
//! Byte 0: bit 0 makes the checksum right; bits 1 to 7 say how many records are kept of it.

use bytes::Bytes;

use crate::{
    checksums,
    disk::SALT,
    storage::{
        Offset,
        segment::{
            Frame, FrameBuilder, FrameSeal, NewRecord, Record, Records, RecordsRef, check_frame,
        },
    },
    take,
};

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let mut bytes = data.to_vec();
    if mode & 1 != 0 {
        checksums::frame(&mut bytes, SALT);
    }
    let Ok(head) = check_frame(&bytes, SALT) else {
        return;
    };
    let len = head.total_len();
    let whole = Bytes::from(bytes).slice(..len);
    let Some(records) = records(&whole) else {
        return;
    };
    assert_eq!(
        records.len() as u64,
        u64::from(head.count),
        "each record, once"
    );
    let offsets = records.iter().map(|record| record.offset.get());
    assert!(offsets.eq(head.base.get()..head.end().get()), "dense");
    let stamps: Vec<u64> = records.iter().map(|record| record.timestamp).collect();
    let least = stamps.iter().min().expect("a frame has a record");
    assert!(
        head.base_ts <= *least,
        "a search by time may rest on the head"
    );

    let Ok(frame) = Frame::checked(whole, SALT) else {
        panic!("a frame whose records can all be read was refused");
    };
    let seal = FrameSeal {
        base: Offset(7),
        durable: Offset(3),
        salt: !SALT,
    };
    let kept = u32::from(mode >> 1).clamp(1, head.count);
    same(&frame.resealed(&seal), &records, &seal);
    same(
        &frame.keep_first(kept, &seal),
        &records[..kept as usize],
        &seal,
    );
    same(&rebuilt(&records, &seal), &rising(&records), &seal);
}

/// The records with the stamps that a builder gives them: it lets none fall. Frames whose stamps do
/// can be made by hand, and are read as they stand.
fn rising(records: &[Record]) -> Vec<Record> {
    let mut last = 0;
    let records = records.iter().map(|record| {
        last = last.max(record.timestamp);
        Record {
            timestamp: last,
            ..record.clone()
        }
    });
    records.collect()
}

/// All records, read in both ways; none if the body is not what its head says.
fn records(frame: &Bytes) -> Option<Vec<Record>> {
    let owned: Option<Vec<Record>> = match Records::of(frame.clone()) {
        Ok(records) => records.map(Result::ok).collect(),
        Err(_) => None,
    };
    let lent: Option<Vec<_>> = match RecordsRef::of(frame) {
        Ok(records) => records
            .map(|record| {
                let record = record.ok()?;
                Some((record.offset, record.timestamp, record.payload.to_vec()))
            })
            .collect(),
        Err(_) => None,
    };
    assert_eq!(
        owned.is_some(),
        lent.is_some(),
        "both ways agree on what is good"
    );
    let (owned, lent) = (owned?, lent?);
    let same = owned
        .iter()
        .zip(&lent)
        .all(|(record, (offset, timestamp, payload))| {
            record.offset == *offset && record.timestamp == *timestamp && record.payload == *payload
        });
    assert!(
        same && owned.len() == lent.len(),
        "both ways give the same records"
    );
    Some(owned)
}

fn rebuilt(records: &[Record], seal: &FrameSeal) -> Frame {
    let mut builder = FrameBuilder::new(64);
    for record in records {
        let mut new = NewRecord::new(record.payload.clone());
        new.key.clone_from(&record.key);
        new.ext_id = record.ext_id;
        // A frame has attributes for all of its records or for none.
        if !builder.fits(&new, usize::MAX) {
            break;
        }
        builder.push(record.timestamp, &new);
    }
    builder.finish(seal)
}

/// `frame` holds the first of `records`, all that it has, under its own seal.
fn same(frame: &Frame, records: &[Record], seal: &FrameSeal) {
    let head = check_frame(&frame.bytes, seal.salt).expect("what was made here is good");
    assert_eq!(
        (head.base, head.durable),
        (seal.base, seal.durable.min(seal.base))
    );
    let found: Vec<Record> = frame.records().map(|r| r.expect("a good record")).collect();
    assert!(!found.is_empty() && found.len() <= records.len());
    for ((found, wanted), offset) in found.iter().zip(records).zip(seal.base.get()..) {
        let wanted = Record {
            offset: Offset(offset),
            ..wanted.clone()
        };
        assert_eq!(*found, wanted);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A frame whose second record is older than its first: no writer of ours makes one, and its
    /// records are read as they stand all the same.
    #[test]
    fn stamps_that_fall_are_read_as_they_stand() {
        let mut builder = FrameBuilder::new(64);
        builder.push(10, &NewRecord::new("a"));
        builder.push(15, &NewRecord::new("b"));
        let seal = FrameSeal {
            base: Offset(7),
            durable: Offset(3),
            salt: SALT,
        };
        let mut bytes = builder.finish(&seal).bytes.to_vec();
        // The stamps of the records, less that of the frame, stand behind their lengths.
        (bytes[49], bytes[52]) = (5, 2);
        let input = [&[1 | 2 << 1], &bytes[..]].concat();
        run(&input);
    }
}
