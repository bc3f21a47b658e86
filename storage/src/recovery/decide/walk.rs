//! The walk through a tail.

use super::{Cut, FinalSpan, KeptSegment, TO_FILE_END, TailDamage, TailDecision, TailInput};
use crate::{
    ids::{Offset, SegmentNo},
    segment::{HEADER_LEN, HeaderState, Run, SegmentScan},
};

/// Something wrong since the last good frame.
#[derive(Debug)]
struct Trouble {
    segment: SegmentNo,
    pos: u64,
    what: String,
    /// What not even a frame that continues with the right offset makes good.
    hard: Option<(SegmentNo, u64, String)>,
    /// There is something there to be dropped, rather than nothing at all.
    bytes: bool,
}

/// Where a segment's range begins.
#[derive(Debug)]
struct Bound {
    base: Offset,
    /// Nothing behind it begins before this.
    until: Offset,
    /// Which scan it is; none for a final segment.
    scan: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Walk<'a> {
    input: &'a TailInput<'a>,
    claimed: Offset,
    next: Offset,
    /// Behind the last byte that was taken, or where the first one is looked for.
    place: (SegmentNo, u64),
    trouble: Option<Trouble>,
    /// For each scan: what was taken of it, and the offset looked for when it was reached.
    taken: Vec<(Offset, Vec<Run>)>,
    /// Where final segments lie among the scans: each with the index of the scan behind it.
    passed: Vec<(usize, FinalSpan)>,
    /// Scans that have to take a damaged range because nothing good stands before it.
    owners: Vec<(usize, Offset)>,
    damage: Vec<TailDamage>,
    cut: Option<Cut>,
}

impl<'a> Walk<'a> {
    pub(super) fn new(input: &'a TailInput<'a>) -> Self {
        let first = input.scans.iter().find_map(first_base);
        // What was trimmed between the last final segment and the first frame is not missing: a cut
        // at the start may have left nothing of it.
        let next = match input.base {
            Some(base) if base >= input.start => base,
            base => first.map_or(input.start, |first| {
                first.min(input.start).max(base.unwrap_or(Offset::ZERO))
            }),
        };
        let first = input.scans.first().map_or(SegmentNo::ZERO, |s| s.no);
        Self {
            input,
            claimed: greatest_claim(input).max(next),
            next,
            place: (first, HEADER_LEN),
            trouble: None,
            taken: Vec::new(),
            passed: Vec::new(),
            owners: Vec::new(),
            damage: Vec::new(),
            cut: None,
        }
    }

    /// A final segment in between: the manifest vouches for it, so it is one more good run.
    pub(super) fn pass(&mut self, span: &FinalSpan, at: usize) {
        if self.cut.is_some() {
            return;
        }
        if span.base > self.next {
            self.lose(span.base, at, None);
        }
        self.trouble = None;
        self.next = span.end;
        self.place = match self.input.scans.get(at) {
            Some(behind) => (behind.no, HEADER_LEN),
            None => self.place,
        };
        self.passed.push((at, *span));
    }

    /// False when the tail was cut there.
    pub(super) fn visit(&mut self, at: usize, scan: &SegmentScan) -> bool {
        self.taken.push((self.next, Vec::new()));
        self.header_trouble(scan);
        let mut pos = HEADER_LEN;
        for run in &scan.runs {
            if run.start != pos {
                self.note(scan, pos, "bytes that are no frame", true, true);
            }
            if !self.meet(at, scan, run) {
                return false;
            }
            pos = run.end_byte;
        }
        self.trailing_trouble(scan, pos);
        true
    }

    fn header_trouble(&mut self, scan: &SegmentScan) {
        match &scan.header {
            HeaderState::Valid(header) if header.base > self.next => {
                self.note(scan, 0, "the records before it are missing", false, true);
            }
            HeaderState::Valid(_) => {}
            HeaderState::Blank if is_blank(scan) => {}
            HeaderState::Blank => self.note(scan, 0, "its header is blank", true, true),
            HeaderState::Missing => self.note(scan, 0, "the file is missing", false, false),
            HeaderState::Damaged(what) => {
                self.note(
                    scan,
                    0,
                    &format!("its header is damaged: {what}"),
                    true,
                    true,
                );
            }
        }
    }

    /// What stands behind the last frame of a segment: zeros, a footer, or a torn one.
    fn trailing_trouble(&mut self, scan: &SegmentScan, pos: u64) {
        match &scan.footer {
            Some(footer) if footer.end > self.next => {
                self.note(
                    scan,
                    pos,
                    "frames before its footer are missing",
                    false,
                    true,
                );
            }
            Some(_) => {}
            None if scan.nonzero_after => {
                self.note(scan, pos, "bytes that are no frame", false, true);
            }
            None => {}
        }
    }

    /// Takes a good run, or says why not; false when the tail is cut there.
    fn meet(&mut self, at: usize, scan: &SegmentScan, run: &Run) -> bool {
        if run.base < self.next || run.end <= run.base {
            self.note(scan, run.start, "frames that repeat offsets", true, true);
            return !self.tear();
        }
        let follows = run.base == self.next;
        let hard = self.trouble.as_ref().is_some_and(|t| t.hard.is_some());
        if !follows || hard {
            if !follows && self.trouble.is_none() {
                let (segment, pos) = self.place;
                self.trouble = Some(missing(segment, pos));
            }
            if self.tear() {
                return false;
            }
            self.lose(run.base, at, Some((scan.no, run.start)));
        }
        self.trouble = None;
        self.next = run.end;
        self.place = (scan.no, run.end_byte);
        self.taken[at].1.push(*run);
        true
    }

    /// Cuts the tail at the trouble if nothing from there on was ever durable.
    fn tear(&mut self) -> bool {
        if self.claimed > self.next {
            return false;
        }
        let (segment, pos) = self
            .trouble
            .as_ref()
            .map_or(self.place, |t| (t.segment, t.pos));
        let all = self.input.scans.iter().flat_map(|s| &s.runs);
        let taken = self.taken.iter().flat_map(|(_, runs)| runs);
        let bytes =
            |sum: u64, run: &Run| sum.saturating_add(run.end_byte.saturating_sub(run.start));
        self.cut = Some(Cut {
            segment,
            pos,
            dropped_bytes_known: all.fold(0, bytes).saturating_sub(taken.fold(0, bytes)),
            from: self.next,
        });
        true
    }

    /// Records `next..to` as damaged; the walk goes on at `to`.
    fn lose(&mut self, to: Offset, at: usize, good: Option<(SegmentNo, u64)>) {
        let trouble = self.trouble.take();
        let trouble = trouble.unwrap_or_else(|| missing(self.place.0, self.place.1));
        let (segment, pos, what) = match trouble.hard {
            // A torn footer before it took no record away; the bad bytes are these.
            Some(hard) if to == self.next => hard,
            _ => (trouble.segment, trouble.pos, trouble.what),
        };
        let until = match good {
            Some((same, start)) if same == segment => start,
            _ => TO_FILE_END,
        };
        let behind = self.passed.last().map_or(0, |(behind, _)| *behind);
        let good_before = self
            .taken
            .iter()
            .skip(behind)
            .any(|(_, runs)| !runs.is_empty());
        if to > self.next && !good_before && behind <= at && behind < self.input.scans.len() {
            // The first unsealed segment behind what is final takes the hole, or nobody could tell
            // a reader what happened to these offsets.
            self.owners.push((behind, self.next));
        }
        let from = self.next.max(self.input.start).min(to);
        // What was trimmed is not missed.
        if from < to || to == self.next {
            self.damage.push(TailDamage {
                segment,
                from,
                to,
                bytes: (pos, until),
                what,
            });
        }
        self.next = to;
    }

    fn note(&mut self, scan: &SegmentScan, pos: u64, what: &str, hard: bool, bytes: bool) {
        let first = self.trouble.get_or_insert_with(|| Trouble {
            segment: scan.no,
            pos,
            what: what.to_owned(),
            hard: None,
            bytes: false,
        });
        first.bytes |= bytes;
        if hard && first.hard.is_none() {
            first.hard = Some((scan.no, pos, what.to_owned()));
        }
    }

    fn end_of_tail(&mut self) {
        if self.cut.is_some() {
            return;
        }
        if self.claimed > self.next {
            self.lose(self.claimed, self.input.scans.len(), None);
        } else if self.trouble.as_ref().is_some_and(|t| t.bytes) {
            self.tear();
        }
    }

    pub(super) fn decision(mut self) -> TailDecision {
        self.end_of_tail();
        let bounds = self.bounds();
        let (mut keep, mut trimmed) = (Vec::new(), Vec::new());
        for (i, bound) in bounds.iter().enumerate() {
            let Some(at) = bound.scan else { continue };
            let end = bounds.get(i + 1).map_or(self.next, |behind| behind.base);
            match self.kept(at, bound.base, end) {
                // Trimmed while it was unsealed; final segments were removed by the trim itself.
                Some(kept) if kept.end <= self.input.start => trimmed.push(kept.no),
                Some(kept) => keep.push(kept),
                None => {}
            }
        }
        self.report_missing_files();
        let is_kept = |no| keep.iter().any(|kept: &KeptSegment| kept.no == no);
        let empty = || self.input.scans.iter().filter(|s| !is_kept(s.no));
        let before_cut = |no| self.cut.is_none_or(|cut| no < cut.segment);
        let strange =
            |s: &&SegmentScan| has_bytes(s) && before_cut(s.no) && !trimmed.contains(&s.no);
        let blank = empty().map(|s| s.no).collect();
        let set_aside = empty().filter(strange).map(|s| s.no).collect();
        TailDecision {
            end: self.next,
            claimed: self.claimed.min(self.next),
            keep,
            damage: self.damage,
            cut: self.cut,
            blank,
            set_aside,
        }
    }

    /// Where the range of each segment begins that may hold something, final ones among them.
    fn bounds(&self) -> Vec<Bound> {
        let mut bounds: Vec<Bound> = Vec::new();
        let mut push = |base: Offset, until: Offset, scan| {
            let floor = bounds.last().map_or(Offset::ZERO, |b| b.base.max(b.until));
            let base = base.max(floor);
            bounds.push(Bound { base, until, scan });
        };
        let mut footer_end = None;
        for (at, (reached, runs)) in self.taken.iter().enumerate() {
            let scan = &self.input.scans[at];
            for (_, span) in self.passed.iter().filter(|(behind, _)| *behind == at) {
                push(span.base, span.end, None);
            }
            let owned = self.owners.iter().find(|(owner, _)| *owner == at);
            if runs.is_empty() && is_blank(scan) && owned.is_none() {
                continue;
            }
            let later = self.taken[at..].iter().flat_map(|(_, runs)| runs).next();
            let until = later.map_or(self.next, |run| run.base);
            let fits = |base: &Offset| *reached <= *base && *base <= until;
            let begin = match (owned, first_base_at_front(scan).filter(fits)) {
                (Some((_, from)), _) => *from,
                (None, Some(base)) => base,
                (None, None) => footer_end.filter(fits).unwrap_or(*reached),
            };
            push(begin, begin, Some(at));
            footer_end = scan.footer.as_ref().map(|f| f.end);
        }
        let behind_all = |(behind, _): &&(usize, FinalSpan)| *behind >= self.taken.len();
        for (_, span) in self.passed.iter().filter(behind_all) {
            push(span.base, span.end, None);
        }
        bounds
    }

    fn kept(&self, at: usize, base: Offset, end: Offset) -> Option<KeptSegment> {
        if end <= base {
            return None;
        }
        let scan = &self.input.scans[at];
        let within = self.taken[at]
            .1
            .iter()
            .filter(|run| base <= run.base && run.base < end);
        let runs: Vec<Run> = within
            .map(|run| Run {
                end: run.end.min(end),
                ..*run
            })
            .collect();
        let end_byte = match runs.last() {
            Some(last) if last.end == end => last.end_byte,
            _ => match &scan.footer {
                Some(footer) => footer.data_end,
                None => TO_FILE_END,
            },
        };
        Some(KeptSegment {
            no: scan.no,
            base,
            end,
            end_byte,
            runs,
        })
    }

    /// A file is created and its folder synced before the manifest names it, so no crash takes it
    /// away again: that it is gone is told even where it held nothing that counted.
    fn report_missing_files(&mut self) {
        for (at, scan) in self.input.scans.iter().enumerate() {
            let told = self.damage.iter().any(|d| d.segment == scan.no);
            if scan.header == HeaderState::Missing && !told {
                let from = self
                    .taken
                    .get(at)
                    .map_or(self.next, |(reached, _)| *reached);
                self.damage.push(TailDamage {
                    segment: scan.no,
                    from,
                    to: from,
                    bytes: (0, 0),
                    what: "the file is missing".to_owned(),
                });
            }
        }
        self.damage.sort_by_key(|d| d.from);
    }
}

fn missing(segment: SegmentNo, pos: u64) -> Trouble {
    Trouble {
        segment,
        pos,
        what: "frames that were durable are missing".to_owned(),
        hard: None,
        bytes: true,
    }
}

fn greatest_claim(input: &TailInput<'_>) -> Offset {
    let footers = input
        .scans
        .iter()
        .flat_map(|s| &s.footer)
        .map(|f| f.watermark);
    let frames = input.scans.iter().map(|s| s.max_claim);
    let finals = input
        .finals
        .iter()
        .filter(|f| f.base < f.end)
        .map(|f| f.end);
    // What was trimmed had been durable, or the trim would have been refused.
    let outside = [input.claimed, input.start];
    footers
        .chain(frames)
        .chain(finals)
        .chain(outside)
        .max()
        .unwrap_or(input.start)
}

/// Created ahead and never written to.
fn is_blank(scan: &SegmentScan) -> bool {
    scan.header == HeaderState::Blank
        && scan.runs.is_empty()
        && !scan.nonzero_after
        && scan.footer.is_none()
}

/// Holds something other than zeros or a header without frames.
fn has_bytes(scan: &SegmentScan) -> bool {
    let bad_header = matches!(scan.header, HeaderState::Damaged(_));
    bad_header || scan.nonzero_after || scan.footer.is_some() || !scan.runs.is_empty()
}

fn first_base(scan: &SegmentScan) -> Option<Offset> {
    first_base_at_front(scan).or_else(|| scan.runs.first().map(|run| run.base))
}

/// The segment's first offset, from its header or from a first frame that stands where it must.
fn first_base_at_front(scan: &SegmentScan) -> Option<Offset> {
    match (&scan.header, scan.runs.first()) {
        (HeaderState::Valid(header), _) => Some(header.base),
        (_, Some(run)) if run.start == HEADER_LEN => Some(run.base),
        _ => None,
    }
}
