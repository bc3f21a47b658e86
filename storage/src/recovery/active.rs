//! Going on with the segment that was being written when the log was closed in order.

use std::io;

use crate::{
    disk::{Access, Disk},
    error::{Damage, Result, StorageError},
    ids::{LogId, Offset, SegmentNo, StreamId},
    layout::Layout,
    manifest::{MarkState, SegmentState},
    segment::{
        Digest, FrameHead, HEADER_LEN, HeaderState, Latched, RecordsRef, ScanExpect, SegmentHeader,
        SegmentScan, SparseIndex,
        scan::{header_state, scan},
    },
};

/// A segment that can be written on, with all that its footer will say of it.
#[derive(Debug)]
pub struct ActiveSegment {
    /// The file, for writing.
    pub file: Latched,
    /// Its number.
    pub no: SegmentNo,
    /// Its header; none while it is blank.
    pub header: Option<SegmentHeader>,
    /// Its salt.
    pub salt: u64,
    /// The bytes that it is meant to hold.
    pub capacity: u64,
    /// Where the next frame goes.
    pub pos: u64,
    /// The bytes of the file that have room on the disk.
    pub allocated: u64,
    /// The offset of its first record.
    pub base: Offset,
    /// The offset behind its last record.
    pub end: Offset,
    /// Starts of its frames.
    pub index: SparseIndex,
    /// The digest so far; none while there is no header to begin it with.
    pub digest: Option<Digest>,
    /// The timestamp of its first record; 0 without one.
    pub first_ts: u64,
    /// The timestamp of its last record; 0 without one.
    pub last_ts: u64,
    /// The least and the greatest ext_id, if any record has one.
    pub ext: Option<(u64, u64)>,
}

/// Opens a segment of a stream that was closed in order, at the end that `mark` gives.
///
/// The whole segment is read: what the mark says must be what is there, no more and no less. A
/// difference is `Corrupt`; `recover_stream` then tells what can still be read.
pub fn reopen_active(
    disk: &dyn Disk,
    layout: &Layout,
    log: LogId,
    stream: StreamId,
    no: SegmentNo,
    state: &SegmentState,
    mark: &MarkState,
) -> Result<ActiveSegment> {
    let path = layout.segment(stream, no);
    let file = match disk.open(&path, Access::ReadWrite) {
        Ok(file) => Latched::new(file, path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let what = "the segment file is missing".to_owned();
            return Err(mismatch(
                stream,
                no,
                (mark.durable, mark.durable),
                (0, 0),
                what,
            ));
        }
        Err(error) => return Err(StorageError::io("open", path, error)),
    };
    let expect = ScanExpect {
        log,
        stream,
        segment: no,
        salt: state.salt,
    };
    let mut facts = Facts::begin(&header_state(&file, &expect)?);
    let scan = scan(&file, &expect, HEADER_LEN, &mut |head, pos, frame| {
        facts.note(head, pos, frame);
    })?;
    check(stream, &scan, mark, file.len()?)?;
    let run = scan.runs.first();
    let header = match scan.header {
        HeaderState::Valid(header) => Some(header),
        _ => None,
    };
    Ok(ActiveSegment {
        no,
        salt: state.salt,
        capacity: state.capacity,
        pos: run.map_or(HEADER_LEN, |run| run.end_byte),
        allocated: file.len()?,
        base: run.map_or(mark.durable, |run| run.base),
        end: mark.durable,
        index: facts.index,
        digest: facts.digest,
        first_ts: facts.first_ts.unwrap_or(0),
        last_ts: scan.last_ts,
        ext: facts.ext,
        header,
        file,
    })
}

/// What is summed up over the frames.
#[derive(Debug)]
struct Facts {
    index: SparseIndex,
    digest: Option<Digest>,
    first_ts: Option<u64>,
    ext: Option<(u64, u64)>,
}

impl Facts {
    fn begin(header: &HeaderState) -> Self {
        let digest = match header {
            HeaderState::Valid(header) => {
                let bytes = header.encode();
                let crc = bytes.last_chunk().map_or(0, |crc| u64::from_le_bytes(*crc));
                Some(Digest::new(crc))
            }
            _ => None,
        };
        Self {
            index: SparseIndex::default(),
            digest,
            first_ts: None,
            ext: None,
        }
    }

    fn note(&mut self, head: &FrameHead, pos: u64, frame: &[u8]) {
        self.index.note(head.base, pos, head.base_ts);
        self.first_ts.get_or_insert(head.base_ts);
        if let Some(digest) = &mut self.digest {
            digest.push(head.crc);
        }
        if !head.has_attrs() {
            return;
        }
        let records = RecordsRef::of(frame).into_iter().flatten().flatten();
        for id in records.filter_map(|record| record.ext_id) {
            let (min, max) = self.ext.unwrap_or((id, id));
            self.ext = Some((min.min(id), max.max(id)));
        }
    }
}

/// Holds what was found against the mark.
fn check(stream: StreamId, scan: &SegmentScan, mark: &MarkState, len: u64) -> Result<()> {
    let no = scan.no;
    let good = scan.runs.first().filter(|run| run.start == HEADER_LEN);
    let (end, end_byte) = good.map_or((None, HEADER_LEN), |run| (Some(run.end), run.end_byte));
    let expected = match mark.segment == Some(no) && mark.end_byte > HEADER_LEN {
        true => (Some(mark.durable), mark.end_byte),
        false => (None, HEADER_LEN),
    };
    let header_fits = match (&scan.header, expected.0) {
        (HeaderState::Valid(header), Some(_)) => good.is_some_and(|run| run.base == header.base),
        (HeaderState::Blank, None) => true,
        // Created without room: there is no byte of it yet.
        (HeaderState::Missing, None) => len == 0,
        _ => false,
    };
    let what = if (end, end_byte) != expected {
        format!(
            "closed at byte {} with offset {}, and it ends at byte {end_byte}",
            expected.1, mark.durable
        )
    } else if scan.runs.len() > 1 || scan.nonzero_after || scan.footer.is_some() {
        format!("something stands behind byte {end_byte}, where it was closed")
    } else if !header_fits {
        let how = match &scan.header {
            HeaderState::Damaged(what) => what,
            HeaderState::Valid(_) => "it is not that of its frames",
            HeaderState::Blank | HeaderState::Missing => "it is gone",
        };
        format!("its header is damaged: {how}")
    } else {
        return Ok(());
    };
    let end = end.unwrap_or(mark.durable);
    let range = (end.min(mark.durable), end.max(mark.durable));
    let bytes = (end_byte.min(expected.1), end_byte.max(expected.1).max(len));
    Err(mismatch(stream, no, range, bytes, what))
}

fn mismatch(
    stream: StreamId,
    segment: SegmentNo,
    (from, to): (Offset, Offset),
    bytes: (u64, u64),
    what: String,
) -> StorageError {
    StorageError::Corrupt(Damage {
        stream,
        segment,
        from,
        to,
        bytes,
        what,
    })
}
