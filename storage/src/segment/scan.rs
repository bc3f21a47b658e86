//! Reading an unsealed segment from front to back, whatever is in it.
//!
//! A scan decides nothing: it tells which frames are good, where they lie, and what they claim.
//! What that means (a tear to be cut, damage to be kept) is decided over all unsealed segments of
//! a stream together.

use bytes::Bytes;

use super::{
    file::Latched,
    footer::{Footer, FooterError, TRAILER_LEN},
    frame::{FRAME_HEAD, FrameFault, FrameHead, check_frame, check_head},
    header::{HEADER_LEN, HeaderError, SEGMENT_VERSION, SegmentHeader},
    index::{INDEX_ENTRY, INDEX_EVERY},
    records::RecordsRef,
    resync::{Found, Resync, Wanted},
    window::{WINDOW, Window},
};
use crate::{
    LogId, Offset, SegmentNo, StreamId,
    error::{Result, StorageError},
};

/// What the manifest knows of the segment to be scanned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanExpect {
    /// The log.
    pub log: LogId,
    /// The stream.
    pub stream: StreamId,
    /// The number of the segment.
    pub segment: SegmentNo,
    /// Its salt.
    pub salt: u64,
}

/// What stands where the header belongs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeaderState {
    /// The file is too short for one.
    Missing,
    /// Zeros: nothing was written, or it was written and lost.
    Blank,
    /// The header of this segment.
    Valid(SegmentHeader),
    /// Something else, and what.
    Damaged(String),
}

/// Good frames that follow one another without a gap, in bytes and in offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// The offset of the first record.
    pub base: Offset,
    /// The offset behind the last record.
    pub end: Offset,
    /// Where the first frame begins.
    pub start: u64,
    /// The byte behind the last frame.
    pub end_byte: u64,
}

/// What is in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentScan {
    /// Its number.
    pub no: SegmentNo,
    /// Its header.
    pub header: HeaderState,
    /// Its good frames, in order of place and of offset.
    pub runs: Vec<Run>,
    /// The greatest claim of all good frames and the footer, wherever they are.
    pub max_claim: Offset,
    /// The timestamp of the last record of the last good frame; 0 without frames.
    pub last_ts: u64,
    /// True if something other than zeros, and other than the footer, stands behind the last good
    /// frame.
    pub nonzero_after: bool,
    /// A good footer: one that ends the file, or one that follows the last good frame.
    pub footer: Option<Footer>,
}

/// Scans a segment from the byte `from` on, where a frame must begin; its header is looked at in
/// any case. Tells `visit` of each good frame, in order.
///
/// Reads about 1 MiB at a time, or one frame where that is longer. Fails only if the file can't be
/// read or is of a newer version.
pub fn scan(
    file: &Latched,
    expect: &ScanExpect,
    from: u64,
    visit: &mut dyn FnMut(&FrameHead, u64, &Bytes),
) -> Result<SegmentScan> {
    let len = file.len()?;
    let header = header_state(file, expect)?;
    let first = match &header {
        HeaderState::Valid(header) if from <= HEADER_LEN => Some(header.base),
        _ => None,
    };
    let start = from.max(HEADER_LEN);
    let mut walk = FrameWalk::new(file, expect.salt, start, len, first);
    while let Some((head, pos, frame)) = walk.next()? {
        visit(&head, pos, &frame);
    }
    let mut scan = SegmentScan {
        no: expect.segment,
        header,
        last_ts: last_timestamp(&walk.last),
        runs: walk.runs,
        max_claim: walk.max_claim,
        nonzero_after: walk.nonzero_after,
        footer: None,
    };
    // Where there are zeros alone, there is no footer either.
    if scan.nonzero_after {
        let data_end = scan.runs.last().map_or(start, |run| run.end_byte);
        note_footer(file, len, data_end, expect, &mut scan)?;
    }
    Ok(scan)
}

/// Looks at the header of a segment.
pub fn header_state(file: &Latched, expect: &ScanExpect) -> Result<HeaderState> {
    let mut bytes = [0; HEADER_LEN as usize];
    let read = file.read_at(&mut bytes, 0)?;
    let header = match SegmentHeader::decode(&bytes[..read]) {
        Ok(Some(header)) => header,
        Ok(None) => return Ok(HeaderState::Blank),
        Err(HeaderError::TooShort) => return Ok(HeaderState::Missing),
        Err(HeaderError::NewerVersion(found)) => {
            return Err(StorageError::NewerVersion {
                path: file.path().to_path_buf(),
                found,
                supported: SEGMENT_VERSION,
            });
        }
        Err(error) => return Ok(HeaderState::Damaged(error.to_string())),
    };
    if let Some(what) = foreign(&header, expect) {
        return Ok(HeaderState::Damaged(what));
    }
    Ok(HeaderState::Valid(header))
}

/// Whose header it is, where it is not that of the segment that was expected.
pub(super) fn foreign(header: &SegmentHeader, expect: &ScanExpect) -> Option<String> {
    let of = |what, found: &dyn std::fmt::Display, wanted: &dyn std::fmt::Display| {
        Some(format!(
            "the header is that of {what} {found}, not of {wanted}"
        ))
    };
    if header.log != expect.log {
        return of("log", &header.log, &expect.log);
    }
    if header.stream != expect.stream {
        return of("stream", &header.stream, &expect.stream);
    }
    if header.segment != expect.segment {
        return of("segment", &header.segment, &expect.segment);
    }
    (header.salt != expect.salt)
        .then(|| "the header is that of another file of this number: its salt differs".into())
}

/// A walk over the good frames of a stretch of a segment, over damage too.
#[derive(Debug)]
pub(crate) struct FrameWalk<'a> {
    salt: u64,
    resync: Resync<'a>,
    pos: u64,
    /// The offset with which the next frame has to begin, where that is known.
    expected: Option<Offset>,
    /// What the last frame of all was.
    last: Bytes,
    /// The good frames so far.
    pub(crate) runs: Vec<Run>,
    /// The greatest claim of the good frames so far.
    pub(crate) max_claim: Offset,
    /// At the end: true if something other than zeros stands behind the last good frame.
    pub(crate) nonzero_after: bool,
}

impl<'a> FrameWalk<'a> {
    /// A walk from `pos`, where the frame with offset `expected` should be, up to `end`.
    pub(crate) fn new(
        file: &'a Latched,
        salt: u64,
        pos: u64,
        end: u64,
        expected: Option<Offset>,
    ) -> Self {
        Self {
            salt,
            resync: Resync::new(file, salt, pos, end),
            pos,
            expected,
            last: Bytes::new(),
            runs: Vec::new(),
            max_claim: Offset::ZERO,
            nonzero_after: false,
        }
    }

    /// The next good frame, and where it lies.
    pub(crate) fn next(&mut self) -> Result<Option<(FrameHead, u64, Bytes)>> {
        let here = self.frame_here()?;
        let (head, frame) = match here {
            Ok(good) if self.expected.is_none_or(|expected| expected == good.0.base) => good,
            _ => match self.resync()? {
                Some(good) => good,
                None => return Ok(None),
            },
        };
        let pos = self.pos;
        self.note(&head, frame.len() as u64);
        self.last = frame.clone();
        Ok(Some((head, pos, frame)))
    }

    fn frame_here(&mut self) -> Result<Result<(FrameHead, Bytes), FrameFault>> {
        self.resync.pass(self.pos);
        let bytes = self.resync.window.at(self.pos, FRAME_HEAD)?;
        let head = match check_head(&bytes) {
            Ok(head) => head,
            Err(fault) => return Ok(Err(fault)),
        };
        let total = head.total_len();
        // A great length is believed, and room made for it, once the checksum says so too.
        let doubtful = total > WINDOW || !self.resync.affords(self.pos, total);
        if doubtful && !self.resync.is_whole(self.pos, &bytes, &head)? {
            return Ok(Err(FrameFault::Crc));
        }
        let bytes = self.resync.window.at(self.pos, total)?;
        let checked = check_frame(&bytes, self.salt);
        if checked.is_err() {
            self.resync.spend(total);
        }
        Ok(checked.map(|head| (head, bytes.slice(..head.total_len()))))
    }

    fn resync(&mut self) -> Result<Option<(FrameHead, Bytes)>> {
        let wanted = Wanted {
            from: self.pos,
            expected: self.expected,
        };
        match self.resync.find(&wanted)? {
            Found::Frame(at, _) => self.pos = at,
            Found::Nothing { nonzero } => {
                self.nonzero_after = nonzero;
                return Ok(None);
            }
        }
        let frame = self.frame_here()?.ok();
        // Only where the bytes changed between two reads.
        self.nonzero_after = frame.is_none();
        Ok(frame)
    }

    fn note(&mut self, head: &FrameHead, len: u64) {
        let start = self.pos;
        self.pos += len;
        match self.runs.last_mut() {
            Some(run) if run.end_byte == start && run.end == head.base => {
                run.end = head.end();
                run.end_byte = self.pos;
            }
            _ => self.runs.push(Run {
                base: head.base,
                end: head.end(),
                start,
                end_byte: self.pos,
            }),
        }
        self.max_claim = self.max_claim.max(head.durable);
        self.expected = Some(head.end());
    }
}

fn last_timestamp(frame: &[u8]) -> u64 {
    let Ok(records) = RecordsRef::of(frame) else {
        return 0;
    };
    records
        .flatten()
        .last()
        .map_or(0, |record| record.timestamp)
}

/// Looks for a footer that ends the file, or that follows the last frame in a file that was not
/// cut to its length yet.
fn note_footer(
    file: &Latched,
    len: u64,
    data_end: u64,
    expect: &ScanExpect,
    scan: &mut SegmentScan,
) -> Result<()> {
    let ours = |footer: &Footer| footer.log == expect.log && footer.segment == expect.segment;
    let footer = match Footer::read(&**file.file(), len, expect.salt) {
        Ok(footer) => Some(footer),
        Err(FooterError::Io(source)) => {
            return Err(StorageError::io("read", file.path(), source));
        }
        Err(_) => footer_behind(file, len, data_end, expect.salt)?,
    };
    let Some(footer) = footer.filter(ours) else {
        return Ok(());
    };
    scan.max_claim = scan.max_claim.max(footer.watermark);
    let end = footer.data_end + footer.encoded_len();
    if footer.data_end == data_end {
        scan.nonzero_after = any_nonzero(file, end, len)?;
    }
    scan.footer = Some(footer);
    Ok(())
}

/// The footer that begins at `data_end`, if one does.
fn footer_behind(file: &Latched, len: u64, data_end: u64, salt: u64) -> Result<Option<Footer>> {
    let entries = (data_end - HEADER_LEN) / INDEX_EVERY + 1;
    let most = entries as usize * INDEX_ENTRY + TRAILER_LEN;
    let mut window = Window::new(file, len);
    let bytes = window.at(data_end, most)?;
    let bytes = &bytes[..most.min(bytes.len())];
    Ok(Footer::leading(bytes, data_end, salt))
}

fn any_nonzero(file: &Latched, mut pos: u64, len: u64) -> Result<bool> {
    let mut window = Window::new(file, len);
    loop {
        let bytes = window.at(pos, 1)?;
        if bytes.is_empty() {
            return Ok(false);
        }
        if bytes.iter().any(|byte| *byte != 0) {
            return Ok(true);
        }
        pos += bytes.len() as u64;
    }
}
