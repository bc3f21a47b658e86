//! One stream of a log that another process may be writing.

use std::{
    collections::BTreeMap,
    sync::{Arc, PoisonError},
};

use tierlog_storage::{
    Offset, Result, SegmentNo, StreamId,
    manifest::{ManifestState, SegmentState, SegmentStatus, StreamState},
    segment::{
        Block, BlockError, HeaderState, Latched, ScanExpect, read_block, scan::header_state,
    },
};

use super::{blocks::BLOCK, fetch::Spot, source::ReadContext};
use crate::{
    error::Error,
    meters::Share,
    stream::{
        budget::Budget,
        marks::Level,
        segments::{Copies, Segment, SegmentKind},
        shared::{Begin, DoorLimits, LifeChange, StreamShared},
        tail::TailBudget,
    },
};

/// A stream, and where its open segments end as far as is known.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) shared: Arc<StreamShared>,
    open: BTreeMap<SegmentNo, Arc<Segment>>,
}

impl Known {
    /// A stream of which nothing but its state is known.
    pub(super) fn new(id: StreamId, state: &StreamState) -> Self {
        let limits = DoorLimits {
            lane: 1,
            max_record: usize::MAX,
        };
        let begin = Begin {
            start: state.start,
            end: state.start,
            incarnation: state.incarnation,
            archive: None,
        };
        let (budget, tail) = (Budget::new(0, None), TailBudget::new(0, Share::default()));
        let shared = StreamShared::new(id, &state.name, limits, budget, tail, begin);
        shared.keeping.show(state.retention);
        shared.shut(Error::Unsupported {
            what: "the log is attached read-only".into(),
        });
        Self {
            shared,
            open: BTreeMap::new(),
        }
    }

    /// A stream as it was found by reading its tail: no segment is open.
    pub(super) fn found(id: StreamId, state: &StreamState) -> Self {
        let mut known = Self::new(id, state);
        known.take_ended(state);
        known.advance(state.next);
        known
    }

    /// The tail was decided anew: take that.
    pub(super) fn adopt(&mut self, ctx: &ReadContext, state: &StreamState) {
        if state.incarnation != self.shared.incarnation() {
            // The manifest has moved on since; the next look at it merges the new life.
            return;
        }
        self.take_ended(state);
        let gone = self.gone(state);
        ctx.forget(self.shared.id, &gone);
        self.advance(state.next);
    }

    fn take_ended(&mut self, state: &StreamState) {
        let segments: Vec<_> = state
            .segments
            .iter()
            .filter_map(|(&no, segment)| {
                let ended = Segment::ended(no, segment.salt, &segment.status)?;
                Some(ended.with_copies(Copies::of(&segment.residency)))
            })
            .filter(|segment| segment.base < segment.end() && segment.end() > state.start)
            .map(Arc::new)
            .collect();
        // Those that are open by the manifest go on from here.
        self.open = segments
            .iter()
            .map(|segment| (segment.no, Arc::clone(segment)))
            .collect();
        self.shared.segments.update(|map| {
            *map = segments
                .into_iter()
                .map(|segment| (segment.base.get(), segment))
                .collect();
        });
    }

    /// The manifest has changed: what it says of segments, start and life counts from here on.
    /// `cut` is where the manifest says that the stream was truncated since the life we knew.
    ///
    /// False, and nothing is changed, where not all that is durable is to be found: the owner may have moved
    /// on since the manifest was read. With `believe` that is taken all the same.
    pub(super) fn merge(
        &mut self,
        ctx: &ReadContext,
        manifest: &ManifestState,
        state: &StreamState,
        cut: Option<Offset>,
        believe: bool,
    ) -> Result<bool> {
        let shared = Arc::clone(&self.shared);
        let change = self.new_life(ctx, manifest, state, cut)?;
        let gone = self.gone(state);
        let mut open = self.still_open(state);
        let mut map = self.held(state, &open);
        let end = change.as_ref().map_or_else(|| self.durable(), |it| it.0);
        if !self.find_kept(ctx, manifest, state, end, &mut map, &mut open)? && !believe {
            return Ok(false);
        }
        shared.advance_start(state.start);
        shared.keeping.show(state.retention);
        let end = end_of(&map);
        let show = || shared.segments.update(|segments| *segments = map);
        match change {
            Some((end, change)) => shared.begin_life_with(state.incarnation, end, change, show),
            None => show(),
        }
        self.open = open;
        ctx.forget(shared.id, &gone);
        // What ended is durable; so is what a mark says, once it is found.
        self.advance(end);
        let life = state.incarnation;
        if let Some(mark) = state.mark.as_ref().filter(|mark| mark.incarnation == life) {
            self.grow(ctx, manifest, state, mark.durable)?;
        }
        Ok(true)
    }

    /// The segments that the manifest says hold records, with those of the open ones that are known.
    fn held(
        &self,
        state: &StreamState,
        open: &BTreeMap<SegmentNo, Arc<Segment>>,
    ) -> BTreeMap<u64, Arc<Segment>> {
        let mut kept: BTreeMap<SegmentNo, Arc<Segment>> = self
            .shared
            .segments
            .all()
            .into_iter()
            .map(|segment| (segment.no, segment))
            .collect();
        let mut map = BTreeMap::new();
        for (&no, segment) in &state.segments {
            let ended = Segment::ended(no, segment.salt, &segment.status);
            let copies = Copies::of(&segment.residency);
            let segment = match ended.map(|ended| ended.with_copies(copies)) {
                Some(ended) => match kept.remove(&no) {
                    // The same one, which may have its index already.
                    Some(old) if same(&old, &ended) => old,
                    _ => Arc::new(ended),
                },
                None => match open.get(&no) {
                    Some(segment) => Arc::clone(segment),
                    None => continue,
                },
            };
            // What was trimmed is known as long as it has an object that is to be deleted.
            let is_trimmed = segment.kind != SegmentKind::Active && segment.end() <= state.start;
            if segment.base < segment.end() && !is_trimmed {
                map.insert(segment.base.get(), segment);
            }
        }
        map
    }

    /// The open segments of the manifest of which something is known.
    fn still_open(&self, state: &StreamState) -> BTreeMap<SegmentNo, Arc<Segment>> {
        let open = state
            .segments
            .iter()
            .filter(|(_, segment)| segment.status.is_open());
        open.filter_map(|(no, _)| {
            let known = self.open.get(no)?;
            let segment = match known.kind {
                SegmentKind::Active => Arc::clone(known),
                _ => Arc::new(Segment::growing(
                    *no,
                    known.salt,
                    known.base,
                    known.end(),
                    known.end_byte(),
                )),
            };
            Some((*no, segment))
        })
        .collect()
    }

    /// A truncation in the midst of a frame writes what it keeps of that to a fresh segment, which is open
    /// and begins below the new end. So does an owner with what was claimed, and not acked, when a write or a
    /// seal before it failed. Without that segment there would be a hole. False where it is not found.
    fn find_kept(
        &self,
        ctx: &ReadContext,
        manifest: &ManifestState,
        state: &StreamState,
        end: Offset,
        map: &mut BTreeMap<u64, Arc<Segment>>,
        open: &mut BTreeMap<SegmentNo, Arc<Segment>>,
    ) -> Result<bool> {
        for (&no, segment) in state.segments.iter().filter(|(_, s)| s.status.is_open()) {
            let held = end_of(map);
            if held >= end {
                break;
            }
            if open.contains_key(&no) {
                continue;
            }
            let base = self.base_of(ctx, manifest, no, segment)?;
            let Some(base) = base.filter(|base| (held..end).contains(base)) else {
                continue;
            };
            let kept = begun(no, segment.salt, base);
            if self.take_up_to(ctx, &kept, end)? > base {
                map.insert(base.get(), Arc::clone(&kept));
                open.insert(no, kept);
            }
        }
        Ok(end_of(map).max(state.start) >= end)
    }

    fn gone(&self, state: &StreamState) -> Vec<SegmentNo> {
        let held = self.shared.segments.all();
        held.iter()
            .map(|segment| segment.no)
            .filter(|no| !state.segments.contains_key(no))
            .collect()
    }

    /// A restart or a truncation, or several, since the life that we knew: where that ended, and how.
    fn new_life(
        &self,
        ctx: &ReadContext,
        manifest: &ManifestState,
        state: &StreamState,
        cut: Option<Offset>,
    ) -> Result<Option<(Offset, LifeChange<'static>)>> {
        let (seen, durable) = (self.shared.incarnation(), self.durable());
        if state.incarnation <= seen {
            return Ok(None);
        }
        // Where the manifest was begun anew since, the truncation itself is no longer told of; but
        // what is written again lies in segments of the new life, below what we knew as durable.
        // Copies made by a recovery never do: they begin where nothing was claimed any more.
        let mut low = cut;
        for (&no, segment) in state.segments.iter().filter(|(_, s)| s.incarnation > seen) {
            let base = self.base_of(ctx, manifest, no, segment)?;
            if cut.is_none() && base.is_some_and(|base| base < durable) {
                low = low.map_or(base, |low| base.map(|base| base.min(low)));
            }
        }
        Ok(Some(match low.filter(|low| *low < durable) {
            Some(end) => (end, LifeChange::Truncated),
            None => {
                let change = LifeChange::Recovered {
                    lost: false,
                    why: "the log was opened anew",
                };
                (durable, change)
            }
        }))
    }

    fn base_of(
        &self,
        ctx: &ReadContext,
        manifest: &ManifestState,
        no: SegmentNo,
        segment: &SegmentState,
    ) -> Result<Option<Offset>> {
        match &segment.status {
            SegmentStatus::Open => {
                let probe = Segment::growing(no, segment.salt, Offset::ZERO, Offset::ZERO, 0);
                let file = match ctx.files.get(&ctx.whence(self.shared.id)?, &probe) {
                    Err(error) if error.is_missing() => return Ok(None),
                    file => file?,
                };
                self.header_base(file.file(), manifest, no, segment)
            }
            status => Ok(status.range().map(|(base, _)| base)),
        }
    }

    /// The first offset of a segment that has a header.
    fn header_base(
        &self,
        file: &Latched,
        manifest: &ManifestState,
        no: SegmentNo,
        segment: &SegmentState,
    ) -> Result<Option<Offset>> {
        let stream = self.shared.id;
        let expect = ScanExpect {
            log: manifest.log,
            stream,
            segment: no,
            salt: segment.salt,
        };
        Ok(match header_state(file, &expect)? {
            HeaderState::Valid(header) => Some(header.base),
            // Not yet written, or only half.
            _ => None,
        })
    }

    /// Walks the open segments up to `claimed`, which somebody said is durable; false where it
    /// can't be reached by what the manifest said so far.
    pub(super) fn grow(
        &mut self,
        ctx: &ReadContext,
        manifest: &ManifestState,
        state: &StreamState,
        claimed: Offset,
    ) -> Result<bool> {
        let mut end = self.durable();
        if end >= claimed {
            return Ok(true);
        }
        for (&no, segment) in state.segments.iter().filter(|(_, s)| s.status.is_open()) {
            if end >= claimed {
                break;
            }
            let Some(growing) = self.growing(ctx, manifest, no, segment, end)? else {
                continue;
            };
            if growing.end() == end {
                end = self.walk(ctx, &growing, claimed)?;
            }
        }
        self.advance(end);
        Ok(end >= claimed)
    }

    /// The open segment, if it has begun and holds what follows `end`.
    fn growing(
        &mut self,
        ctx: &ReadContext,
        manifest: &ManifestState,
        no: SegmentNo,
        segment: &SegmentState,
        end: Offset,
    ) -> Result<Option<Arc<Segment>>> {
        if let Some(known) = self.open.get(&no) {
            return Ok(Some(Arc::clone(known)));
        }
        if self.base_of(ctx, manifest, no, segment)? != Some(end) {
            return Ok(None);
        }
        let first = begun(no, segment.salt, end);
        self.open.insert(no, Arc::clone(&first));
        Ok(Some(first))
    }

    /// Takes the frames up to `claimed`, and shows the segment once it holds any.
    fn walk(&self, ctx: &ReadContext, segment: &Arc<Segment>, claimed: Offset) -> Result<Offset> {
        let was_empty = segment.base == segment.end();
        let end = self.take_up_to(ctx, segment, claimed)?;
        if was_empty && segment.base < end {
            self.shared.segments.put(Arc::clone(segment));
        }
        Ok(end)
    }

    /// Takes the frames up to `claimed` and none beyond: those are not durable yet.
    fn take_up_to(&self, ctx: &ReadContext, segment: &Segment, claimed: Offset) -> Result<Offset> {
        let open = ctx.files.get(&ctx.whence(self.shared.id)?, segment)?;
        let file_len = open.file().len()?;
        let mut spot = Spot {
            pos: segment.end_byte(),
            offset: segment.end(),
        };
        while spot.offset < claimed {
            let salt = segment.salt;
            let read = read_block(open.file(), salt, spot.pos, file_len, spot.offset, BLOCK);
            let block = match read {
                Ok(block) => block,
                Err(BlockError::Bad { .. }) => break,
                Err(BlockError::Disk(error)) => return Err(error),
            };
            let taken = take_frames(segment, &block, claimed);
            if taken == spot {
                break;
            }
            spot = taken;
            segment.advance(spot.offset, spot.pos);
        }
        Ok(spot.offset)
    }

    fn durable(&self) -> Offset {
        Offset(self.shared.life().marks.get(Level::Durable))
    }

    /// Everything below `end` is durable, and its segments are in place.
    fn advance(&self, end: Offset) {
        let life = self.shared.life();
        if end.get() > life.marks.get(Level::Durable) {
            life.marks.advance_written(end.get());
            life.marks.advance_durable(end.get());
        }
        self.shared.publish();
    }
}

fn end_of(map: &BTreeMap<u64, Arc<Segment>>) -> Offset {
    let ends = map.values().map(|segment| segment.end());
    ends.max().unwrap_or_default()
}

/// A segment that somebody else writes to, of which no frame is known.
fn begun(no: SegmentNo, salt: u64, base: Offset) -> Arc<Segment> {
    let segment = Segment::growing(no, salt, base, base, 0);
    segment.advance(base, Spot::first(&segment).pos);
    Arc::new(segment)
}

fn same(old: &Segment, new: &Segment) -> bool {
    (old.no, &old.kind, old.base, old.end()) == (new.no, &new.kind, new.base, new.end())
        && (old.end_byte(), old.copies) == (new.end_byte(), new.copies)
}

/// The border behind the last frame of a block that ends at or before `claimed`; what it passes is
/// noted in the index, if a reader has made one.
fn take_frames(segment: &Segment, block: &Block, claimed: Offset) -> Spot {
    let mut spot = Spot {
        pos: block.pos,
        offset: block.first,
    };
    for (head, bytes) in block.frames() {
        if head.end() > claimed {
            break;
        }
        if let Some(index) = segment.index() {
            let mut index = index.write().unwrap_or_else(PoisonError::into_inner);
            index.note(head.base, spot.pos, head.base_ts);
        }
        spot = Spot {
            pos: spot.pos + bytes.len() as u64,
            offset: head.end(),
        };
    }
    spot
}
