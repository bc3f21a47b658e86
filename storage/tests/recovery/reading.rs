//! Reading all of a stream from the files alone.

use tierlog_storage::{
    Damage, Offset, SegmentNo, StorageError, StreamId,
    disk::{Access, Disk},
    layout::Layout,
    manifest::{ManifestState, SegmentState},
    recovery::{OpenedLog, reopen_active},
    segment::{BlockError, HEADER_LEN, Latched, Records, next_good, read_block},
};

use crate::rig::payload;

/// What a reader gets of a stream: records, and the ranges that it can't have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub records: Vec<(u64, String)>,
    pub damage: Vec<(u64, u64)>,
}

impl Read {
    pub fn is_whole(&self, name: &str, start: u64, end: u64) -> bool {
        let expected = (start..end).map(|offset| (offset, payload(name, offset)));
        self.damage.is_empty() && self.records.iter().cloned().eq(expected)
    }
}

/// Reads all that the manifest says there is, from the files alone.
pub fn read_all(
    disk: &dyn Disk,
    layout: &Layout,
    state: &ManifestState,
    id: StreamId,
) -> Result<Read, StorageError> {
    let stream = &state.streams[&id];
    let mut read = Read::default();
    let mut at = stream.start;
    for (&no, segment) in &stream.segments {
        let (base, end, end_byte) = match (segment.status.range(), segment.status.end_byte()) {
            (Some((base, end)), Some(end_byte)) => (base, end, end_byte),
            _ => {
                let mark = stream.mark.unwrap();
                let found = reopen_active(disk, layout, state.log, id, no, segment, &mark)?;
                (found.base, found.end, found.pos)
            }
        };
        if base == end {
            continue;
        }
        assert!(base <= at, "offsets {at}..{base} belong to no segment");
        read_segment(
            disk,
            layout,
            id,
            no,
            segment,
            (base, end, end_byte),
            &mut read,
        );
        at = end;
    }
    assert_eq!(
        at,
        stream.next.max(stream.start),
        "the end that the manifest knows"
    );
    read.records
        .retain(|(offset, _)| *offset >= stream.start.get());
    Ok(read)
}

fn read_segment(
    disk: &dyn Disk,
    layout: &Layout,
    id: StreamId,
    no: SegmentNo,
    segment: &SegmentState,
    (base, end, end_byte): (Offset, Offset, u64),
    read: &mut Read,
) {
    let path = layout.segment(id, no);
    let Ok(file) = disk.open(&path, Access::Read) else {
        read.damage.push((base.get(), end.get()));
        return;
    };
    let file = Latched::new(file, path);
    let (mut at, mut pos) = (base, HEADER_LEN);
    while at < end {
        match read_block(&file, segment.salt, pos, end_byte, at, 1 << 16) {
            Ok(block) => {
                for (_, frame) in block.frames() {
                    for record in Records::of(frame).unwrap() {
                        let record = record.unwrap();
                        let text = String::from_utf8(record.payload.to_vec()).unwrap();
                        read.records.push((record.offset.get(), text));
                    }
                }
                (at, pos) = (block.end, block.next_pos);
            }
            Err(BlockError::Bad { .. }) => {
                let good = next_good(&file, segment.salt, pos, end_byte, at).unwrap();
                let (to, next) = good.map_or((end, end_byte), |(next, head)| (head.base, next));
                read.damage.push((at.get(), to.get()));
                (at, pos) = (to, next);
            }
            Err(BlockError::Disk(error)) => panic!("{error}"),
        }
    }
}

pub fn damage_of(log: &OpenedLog) -> Vec<Damage> {
    log.report.damage().cloned().collect()
}
