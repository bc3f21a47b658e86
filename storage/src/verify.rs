//! Checking all that a segment file holds against its checksums and against the manifest.
//!
//! Nothing is changed and nothing decided: the verdict names each damaged stretch, and whoever
//! asked says what to do about it. Offsets `from..to` of a damage are lost to readers; where both
//! are the same, only what surrounds the records is damaged (header, footer, length), and all
//! records can still be read.

use std::collections::VecDeque;

use serde::Serialize;

use crate::{
    Damage, LogId, Offset, SegmentNo, StreamId,
    disk::{Access, Disk},
    error::{Result, StorageError},
    layout::Layout,
    manifest::{SealedFacts, SegmentState, SegmentStatus},
    segment::{
        BlockError, Digest, Footer, FooterError, FrameHead, HEADER_LEN, HeaderState, IndexEntry,
        Latched, RecordsRef, Run, ScanExpect,
        frame::widened,
        header::{SEGMENT_VERSION, header_crc},
        read_block,
        scan::{FrameWalk, header_state},
    },
};

mod warm;

pub use warm::verify_object;

/// What was found in a segment.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct SegmentVerdict {
    /// How many good frames there are.
    pub frames: u64,
    /// How many records are in them.
    pub records: u64,
    /// How many bytes the good frames take.
    pub bytes: u64,
    /// The offset with which it begins: by the manifest, by its header, or else by its first good
    /// frame. Where a segment that is still open ends, the next one's says.
    pub base: Option<Offset>,
    /// The offset of the first good record and the one behind the last, so that the caller can
    /// hold the segments of a stream against one another.
    pub range: Option<(Offset, Offset)>,
    /// What is damaged, in order of place.
    pub damage: Vec<Damage>,
}

impl SegmentVerdict {
    /// True if nothing is damaged.
    pub fn is_good(&self) -> bool {
        self.damage.is_empty()
    }
}

/// Checks a segment file: header, every frame and every record, the chain of offsets, and, where
/// the segment is sealed, digest, footer and length against the manifest.
///
/// A segment that is still open has to reach `until`, and what begins there or behind is left
/// alone, since somebody may be writing there: give the durable end, or where the next segment
/// begins. Without `until` whatever is there has to hold together, and a torn end that nothing
/// claims is not damage.
///
/// Fails only where the file can't be read or is of a newer version; a missing file is damage.
pub fn verify_segment(
    disk: &dyn Disk,
    layout: &Layout,
    log: LogId,
    stream: StreamId,
    no: SegmentNo,
    state: &SegmentState,
    until: Option<Offset>,
) -> Result<SegmentVerdict> {
    if !state.residency.hot {
        return warm::verify(disk, layout, log, stream, no, state);
    }
    let path = layout.segment(stream, no);
    let bounds = Bounds::of(&state.status, until);
    let expect = ScanExpect {
        log,
        stream,
        segment: no,
        salt: state.salt,
    };
    let mut verdict = SegmentVerdict::default();
    let file = match disk.open(&path, Access::Read) {
        Ok(file) => Latched::new(file, path),
        Err(source) => {
            let error = StorageError::io("open", &path, source);
            if !error.is_missing() {
                return Err(error);
            }
            let lost = bounds.missing(&expect);
            verdict.damage.push(lost);
            return Ok(verdict);
        }
    };
    let check = Check {
        len: file.len()?,
        file,
        expect,
        bounds,
        verdict,
    };
    let mut verdict = check.run()?;
    if state.residency.warm.is_some() {
        let copy = warm::verify(disk, layout, log, stream, no, state)?;
        verdict.damage.extend(copy.damage);
    }
    Ok(verdict)
}

/// Where the frames of a segment have to be.
#[derive(Debug, Clone, Copy)]
struct Bounds {
    /// The first offset; `None` where only the header says it.
    base: Option<Offset>,
    /// The offset behind the last record; `None` where only the frames say it.
    end: Option<Offset>,
    /// The byte behind the last frame.
    end_byte: Option<u64>,
    /// Frames behind `end` may be there and are nobody's business.
    growing: bool,
    sealed: Option<SealedFacts>,
}

impl Bounds {
    fn of(status: &SegmentStatus, until: Option<Offset>) -> Self {
        match *status {
            SegmentStatus::Open => Self {
                base: None,
                end: until,
                end_byte: None,
                growing: true,
                sealed: None,
            },
            SegmentStatus::Closed {
                base,
                end,
                end_byte,
            } => Self {
                base: Some(base),
                end: Some(end),
                end_byte: Some(end_byte.max(HEADER_LEN)),
                growing: false,
                sealed: None,
            },
            SegmentStatus::Sealed(facts) => Self {
                base: Some(facts.base),
                end: Some(facts.end),
                end_byte: Some(facts.data_end),
                growing: false,
                sealed: Some(facts),
            },
        }
    }

    /// True for what was not asked for, of a segment that is still open.
    fn is_behind(&self, offset: Offset) -> bool {
        self.growing && self.end.is_some_and(|end| offset >= end)
    }

    fn missing(&self, expect: &ScanExpect) -> Damage {
        let to = self.end.or(self.base).unwrap_or_default();
        let len = self.sealed.map(|facts| facts.file_len).or(self.end_byte);
        Damage {
            stream: expect.stream,
            segment: expect.segment,
            from: self.base.unwrap_or(to),
            to,
            bytes: (0, len.unwrap_or(0)),
            what: "the file is missing".into(),
        }
    }
}

/// What the good frames of a segment add up to.
#[derive(Debug)]
struct Sum {
    digest: Option<Digest>,
    first_ts: Option<u64>,
    last_ts: u64,
    ext: Option<(u64, u64)>,
    /// Entries of the footer's index that no frame was met for yet.
    index: VecDeque<IndexEntry>,
    index_is_off: bool,
}

struct Check {
    file: Latched,
    len: u64,
    expect: ScanExpect,
    bounds: Bounds,
    verdict: SegmentVerdict,
}

impl Check {
    fn run(mut self) -> Result<SegmentVerdict> {
        let header = header_state(&self.file, &self.expect)?;
        let base = match &header {
            HeaderState::Valid(header) => self.bounds.base.or(Some(header.base)),
            _ => self.bounds.base,
        };
        let footer = match self.bounds.sealed {
            Some(facts) => self.footer(&facts)?,
            None => None,
        };
        let mut sum = Sum {
            digest: self.digest_begin(&header)?,
            first_ts: None,
            last_ts: 0,
            ext: None,
            index: footer
                .iter()
                .flat_map(|f| f.index.entries())
                .copied()
                .collect(),
            index_is_off: false,
        };
        let (runs, claim) = self.frames(base, &mut sum)?;
        self.verdict.base = base.or(runs.first().map(|run| run.base));
        self.header(&header, self.verdict.base, &runs);
        let asked = |run: &&Run| !self.bounds.is_behind(run.base);
        let (first, last) = (runs.iter().find(asked), runs.iter().rfind(asked));
        self.verdict.range = first.zip(last).map(|(a, z)| (a.base, z.end));
        let frames_are_good = self.gaps(base, &runs, claim)?;
        if let Some(facts) = self.bounds.sealed
            && frames_are_good
        {
            self.sum(&facts, &sum);
        }
        self.verdict.damage.sort_by_key(|damage| damage.bytes);
        Ok(self.verdict)
    }

    /// The digest, begun with the header's checksum where the header can be believed.
    fn digest_begin(&self, header: &HeaderState) -> Result<Option<Digest>> {
        let HeaderState::Valid(header) = header else {
            return Ok(None);
        };
        Ok(Some(Digest::new(header_crc(&header.encode()))))
    }

    fn frames(&mut self, base: Option<Offset>, sum: &mut Sum) -> Result<(Vec<Run>, Offset)> {
        let end_byte = self.bounds.end_byte.unwrap_or(self.len).min(self.len);
        let file = self.file.clone();
        let mut walk = FrameWalk::new(&file, self.expect.salt, HEADER_LEN, end_byte, base);
        let bounds = self.bounds;
        let mut next = base;
        while !next.is_some_and(|next| bounds.is_behind(next)) {
            let Some((head, pos, frame)) = walk.next()? else {
                break;
            };
            next = Some(head.end());
            if !bounds.is_behind(head.base) {
                note(&mut self.verdict, &self.expect, sum, &head, pos, &frame);
            }
        }
        Ok((walk.runs, walk.max_claim))
    }

    fn header(&mut self, header: &HeaderState, base: Option<Offset>, runs: &[Run]) {
        let what = match header {
            HeaderState::Valid(found) => match self.bounds.base {
                Some(base) if base != found.base => {
                    format!(
                        "the header begins with offset {}, the manifest with {base}",
                        found.base
                    )
                }
                _ => return,
            },
            HeaderState::Missing | HeaderState::Blank => {
                let empty = self
                    .bounds
                    .end
                    .is_none_or(|end| base.is_none_or(|base| base >= end));
                if runs.is_empty() && empty && self.bounds.sealed.is_none() {
                    return;
                }
                "the header is missing".into()
            }
            HeaderState::Damaged(what) => what.clone(),
        };
        let at = base.unwrap_or_default();
        self.damage(at, at, (0, HEADER_LEN), what);
    }

    /// Reports what lies between and behind the runs; true if that is nothing.
    fn gaps(&mut self, base: Option<Offset>, runs: &[Run], claim: Offset) -> Result<bool> {
        let before = self.verdict.damage.len();
        let mut offset = base;
        let mut pos = HEADER_LEN;
        for run in runs {
            if pos != run.start || offset.is_some_and(|offset| offset != run.base) {
                let from = offset.unwrap_or(run.base);
                let to = match self.bounds.end {
                    Some(end) if self.bounds.is_behind(run.base) => end,
                    _ => run.base,
                };
                let what = self.fault_at(pos, from)?;
                self.damage(from, to, (pos, run.start), what);
            }
            (offset, pos) = (Some(run.end), run.end_byte);
        }
        // Without an end that somebody knows, what a frame claims has to be there.
        let end = self
            .bounds
            .end
            .or(Some(claim))
            .filter(|end| *end > Offset::ZERO);
        let (Some(end), Some(offset)) = (end, offset.or(self.bounds.end)) else {
            return Ok(self.verdict.damage.len() == before);
        };
        let end_byte = self.bounds.end_byte.unwrap_or(self.len);
        if offset < end || (pos != end_byte && !self.bounds.growing) {
            let what = self.fault_at(pos, offset)?;
            self.damage(offset, end.max(offset), (pos, end_byte.max(pos)), what);
        } else if offset > end && !self.bounds.growing {
            let what = format!("it goes on to offset {offset}, the manifest ends at {end}");
            self.damage(end, end, (HEADER_LEN, end_byte), what);
        }
        Ok(self.verdict.damage.len() == before)
    }

    fn fault_at(&self, pos: u64, expected: Offset) -> Result<String> {
        let end_byte = self.bounds.end_byte.unwrap_or(self.len);
        match read_block(&self.file, self.expect.salt, pos, end_byte, expected, 0) {
            Err(BlockError::Bad { fault, .. }) => Ok(fault.to_string()),
            Err(BlockError::Disk(error)) => Err(error),
            Ok(_) => Ok("the bytes changed while they were read".into()),
        }
    }

    /// The footer, if it is good; whether it is that of the manifest is said here too.
    fn footer(&mut self, facts: &SealedFacts) -> Result<Option<Footer>> {
        let read = match self.len == facts.file_len {
            true => Footer::read(&**self.file.file(), self.len, self.expect.salt),
            false => {
                let what = format!(
                    "the file has {} bytes, the manifest says {}",
                    self.len, facts.file_len
                );
                let bytes = (self.len.min(facts.file_len), self.len.max(facts.file_len));
                self.damage(facts.end, facts.end, bytes, what);
                return Ok(None);
            }
        };
        let what = match read {
            Ok(footer) if agrees(&footer, facts, &self.expect) => return Ok(Some(footer)),
            Ok(_) => "the footer is not the one that the manifest tells of".into(),
            Err(FooterError::Io(source)) => {
                return Err(StorageError::io("read", self.file.path(), source));
            }
            Err(FooterError::NewerVersion(found)) => {
                return Err(StorageError::NewerVersion {
                    path: self.file.path().to_path_buf(),
                    found,
                    supported: SEGMENT_VERSION,
                });
            }
            Err(error) => error.to_string(),
        };
        self.damage(facts.end, facts.end, (facts.data_end, facts.file_len), what);
        Ok(None)
    }

    /// Holds the sum of the frames against the manifest, once each of them is good by itself.
    fn sum(&mut self, facts: &SealedFacts, sum: &Sum) {
        let mut say = |what: &str| {
            let bytes = (HEADER_LEN, facts.data_end);
            self.damage(facts.end, facts.end, bytes, what.into());
        };
        if sum
            .digest
            .as_ref()
            .is_some_and(|digest| digest.value() != facts.digest)
        {
            say("the digest differs: these are not the frames that were sealed");
        }
        let times = (sum.first_ts.unwrap_or(0), sum.last_ts);
        if sum.first_ts.is_some() && times != (facts.first_ts, facts.last_ts) {
            say("the times of the first and the last record are not those of the manifest");
        }
        if sum.ext != facts.ext {
            say("the range of ext_ids is not that of the manifest");
        }
        if sum.index_is_off || !sum.index.is_empty() {
            say("the footer's index names places where no such frame begins");
        }
    }

    fn damage(&mut self, from: Offset, to: Offset, bytes: (u64, u64), what: String) {
        self.verdict.damage.push(Damage {
            stream: self.expect.stream,
            segment: self.expect.segment,
            from,
            to,
            bytes,
            what,
        });
    }
}

fn agrees(footer: &Footer, facts: &SealedFacts, expect: &ScanExpect) -> bool {
    let said = SealedFacts {
        base: footer.base,
        end: footer.end,
        data_end: footer.data_end,
        file_len: footer.data_end + footer.encoded_len(),
        first_ts: footer.first_ts,
        last_ts: footer.last_ts,
        ext: footer.ext,
        digest: footer.digest,
        flush_failed: footer.flush_failed,
    };
    said == *facts && footer.log == expect.log && footer.segment == expect.segment
}

/// Adds a good frame to verdict and sum, and looks at each of its records.
fn note(
    verdict: &mut SegmentVerdict,
    expect: &ScanExpect,
    sum: &mut Sum,
    head: &FrameHead,
    pos: u64,
    frame: &[u8],
) {
    verdict.frames += 1;
    verdict.bytes += frame.len() as u64;
    if let Some(digest) = &mut sum.digest {
        digest.push(head.crc);
    }
    while let Some(entry) = sum.index.front().filter(|entry| entry.pos <= pos) {
        let here = IndexEntry {
            offset: head.base,
            pos,
            ts: head.base_ts,
        };
        sum.index_is_off |= *entry != here;
        sum.index.pop_front();
    }
    let records = match RecordsRef::of(frame) {
        Ok(records) => records,
        Err(fault) => return lost(verdict, expect, head, pos, fault.to_string()),
    };
    for record in records {
        match record {
            Ok(record) => {
                verdict.records += 1;
                sum.first_ts.get_or_insert(record.timestamp);
                sum.last_ts = record.timestamp;
                sum.ext = widened(sum.ext, record.ext_id);
            }
            Err(fault) => return lost(verdict, expect, head, pos, fault.to_string()),
        }
    }
}

fn lost(
    verdict: &mut SegmentVerdict,
    expect: &ScanExpect,
    head: &FrameHead,
    pos: u64,
    what: String,
) {
    verdict.damage.push(Damage {
        stream: expect.stream,
        segment: expect.segment,
        from: head.base,
        to: head.end(),
        bytes: (pos, pos + head.total_len() as u64),
        what,
    });
}

#[cfg(test)]
mod tests;
