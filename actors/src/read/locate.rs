//! From the position to a chunk that holds it, one decision at a time.
//!
//! ```text
//!  look ─▶ life changed? start passed it? ─▶ Truncated, Trimmed
//!   ▲  └─▶ at the watermark? ─▶ end, or wait
//!   │  └─▶ in the chunk? ─▶ ready
//!   │  └─▶ known damage? ─▶ Corrupt, or go on behind it
//!   │  └─▶ the job under way ─▶ block | bad once: resolve anew | bad twice: diagnose
//!   │  └─▶ tail cache ─▶ chunk
//!   │  └─▶ segment ─▶ cached block | new job
//!   └───── after each step: what was fetched counts only if the life is still the same
//! ```

use std::{
    sync::{Arc, PoisonError},
    task::{Context, Poll, ready},
};

use tierlog_storage::{Offset, segment::Block};
use tokio::task::coop;

use super::{
    at_hand,
    blocks::{BLOCK, FIRST_BLOCK},
    chunk::Chunk,
    cursor::Reader,
    fetch::{Fetched, Order, Spot, Task, floor, key_of},
    flight::Flight,
    resolve::Filter,
    waiting::AtTail,
};
use crate::{
    error::Error,
    exec::JobDied,
    stream::segments::{Segment, SegmentKind},
};

/// A frame that is bad and then good again this often can't be read at the moment.
const MAX_FLAPS: u32 = 3;

impl Reader {
    /// The watermark below which records may be given out, in the life that the reader knows.
    pub(super) fn limit(&self) -> Offset {
        Offset(self.life.marks.get(self.options.level))
    }

    /// True when the chunk has the record at the position; false at the end.
    #[inline]
    pub(super) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        self.look()?;
        if let Some(chunk) = &mut self.chunk {
            let limit = chunk.limit;
            if chunk.reach(self.position, limit) {
                return Poll::Ready(Ok(true));
            }
        }
        self.poll_chunk(cx)
    }

    fn poll_chunk(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Error>> {
        loop {
            self.look()?;
            let limit = self.limit();
            if self.position >= limit {
                match ready!(self.poll_tail(cx)) {
                    AtTail::LookAgain => continue,
                    AtTail::End => return Poll::Ready(Ok(false)),
                    AtTail::Failed(error) => return Poll::Ready(Err(error)),
                }
            }
            let position = self.position;
            if self
                .chunk
                .as_mut()
                .is_some_and(|chunk| chunk.reach(position, limit))
            {
                return Poll::Ready(Ok(true));
            }
            ready!(self.poll_step(cx, limit))?;
        }
    }

    /// Compares the life and the start with what the reader knows.
    #[inline]
    pub(super) fn look(&mut self) -> Result<(), Error> {
        if self.stream.incarnation() != self.life.number {
            self.meet_new_life();
        }
        if let Some(error) = &self.truncated {
            return Err(error.clone());
        }
        let start = self.stream.start();
        if self.position < start {
            return Err(Error::Trimmed {
                asked: self.position,
                start,
            });
        }
        Ok(())
    }

    #[cold]
    fn meet_new_life(&mut self) {
        let (cut, number) = self.stream.cut_since(self.life.number);
        // It may have changed once more since: then the next look finds that.
        self.life = loop {
            let life = self.stream.life();
            if life.number >= number {
                break life;
            }
        };
        // What is in memory may lie beyond a cut, and what is on its way as well.
        self.forget_place();
        self.damage = None;
        if let Some(end) = cut
            && end < self.position
        {
            self.truncated = Some(Error::Truncated {
                end,
                position: self.position,
            });
        }
    }

    fn poll_step(&mut self, cx: &mut Context<'_>, limit: Offset) -> Poll<Result<(), Error>> {
        if self.polite {
            // A reader whose blocks are all in memory never waits, and would keep its thread.
            ready!(coop::poll_proceed(cx)).made_progress();
        }
        self.chunk = None;
        self.stand();
        if let Some(damage) = self.damage.take_if(|damage| damage.to <= self.position) {
            drop(damage);
        }
        if self
            .damage
            .as_ref()
            .is_some_and(|damage| damage.from <= self.position)
        {
            return Poll::Ready(self.meet_damage());
        }
        if let Some(flight) = &mut self.flight {
            let landed = match flight.poll(&self.ctx, cx) {
                Poll::Ready(landed) => landed,
                // It stays: the next call goes on waiting for the same job.
                Poll::Pending => return flight.poll_late(&self.ctx, cx).map(Err),
            };
            let order = self.flight.take().map(|flight| flight.order);
            return Poll::Ready(match order {
                Some(order) => self.land(&order, landed),
                None => Ok(()),
            });
        }
        if self.bad_tail != Some(self.position)
            && let Some(frame) = self.stream.tail.find(self.position)
        {
            self.ctx.meters.tail_hits.increment(1);
            self.chunk = Some(Chunk::of_tail(&frame));
            (self.run, self.lost) = (0, None);
            return Poll::Ready(Ok(()));
        }
        let held = self.stream.segments.at(self.position);
        match held.filter(|segment| segment.base <= self.position) {
            Some(segment) => {
                self.go_into(&segment, limit);
                Poll::Ready(Ok(()))
            }
            None => self.poll_hole(cx, limit),
        }
    }

    /// The position lies in this segment.
    fn go_into(&mut self, segment: &Arc<Segment>, limit: Offset) {
        self.lost = None;
        if let Some(filter) = self.filter
            && filter.skips(segment)
        {
            self.position = segment.end().min(limit);
            return;
        }
        if let Some(Filter::Timestamp(ts)) = self.filter
            && !self.jump_to_time(segment, ts, limit)
        {
            return;
        }
        let (stream, position) = (self.stream.id, self.position);
        let known = self
            .next
            .filter(|(no, spot)| *no == segment.no && spot.offset <= position);
        let spot = known
            .map(|(_, spot)| spot)
            .or_else(|| self.spot_in_memory(segment));
        let goes_on = known.is_some_and(|(_, spot)| spot.offset == position);
        if !goes_on && position != segment.base {
            self.run = 0;
        }
        // It comes first, since it knows what lies beyond; what it has read is in the cache as well.
        if let Some(flight) = self.take_ahead(segment, spot) {
            self.flight = Some(flight);
            return;
        }
        if let Some(spot) = spot
            && let Some(block) = self.ctx.blocks.get(&key_of(stream, segment, spot))
            && block.first == spot.offset
            && block.end > position
        {
            self.ctx.meters.block_hits.increment(1);
            self.accept(segment, &block, None);
            return;
        }
        if self.run == 0
            && let Some(spot) = spot
            && let Some(block) = at_hand::block(&self.ctx, stream, segment, spot, position)
        {
            self.accept(segment, &block, None);
            return;
        }
        let want = if self.run > 0 { BLOCK } else { FIRST_BLOCK };
        let order = self.order(segment, position, spot, want, Task::Read);
        self.flight = Some(Flight::begin(&self.ctx, order));
    }

    /// Passes over what the index says is too early; false while the index is being loaded.
    fn jump_to_time(&mut self, segment: &Arc<Segment>, ts: u64, limit: Offset) -> bool {
        let Some(index) = segment.index() else {
            if !matches!(segment.kind, SegmentKind::Sealed(_)) {
                // Making it takes as long as reading the records.
                return true;
            }
            let order = self.order(segment, self.position, None, 0, Task::Index);
            self.flight = Some(Flight::begin(&self.ctx, order));
            return false;
        };
        let entry = index
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .floor_ts(ts);
        if let Some(entry) = entry {
            self.position = self.position.max(entry.offset.min(limit));
        }
        self.position < limit
    }

    /// Where to begin in a segment for the position, if that takes no reading.
    fn spot_in_memory(&self, segment: &Segment) -> Option<Spot> {
        if self.position == segment.base {
            return Some(Spot::first(segment));
        }
        segment.index().map(|_| floor(segment, self.position))
    }

    pub(super) fn order(
        &self,
        segment: &Arc<Segment>,
        wanted: Offset,
        from: Option<Spot>,
        want: usize,
        task: Task,
    ) -> Order {
        let (stream, segment) = (self.stream.id, Arc::clone(segment));
        Order {
            stream,
            far: segment.copies.is_remote(),
            segment,
            wanted,
            from,
            want,
            task,
        }
    }

    /// A block with the position has come.
    fn accept(&mut self, segment: &Arc<Segment>, block: &Block, beyond: Option<Spot>) {
        self.chunk = Some(Chunk::of_block(block, segment.no, segment.end()));
        self.next = Some((segment.no, Spot::behind(block)));
        self.suspects.clear();
        self.flaps = 0;
        self.run = self.run.saturating_add(1);
        if self.run > 1 {
            self.read_ahead(segment, block.end, beyond);
        }
    }

    /// The block at the position, if it was begun ahead of that.
    fn take_ahead(&mut self, segment: &Segment, spot: Option<Spot>) -> Option<Flight> {
        let position = self.position;
        let is_it = |order: &Order| {
            order.segment.no == segment.no && order.from == spot && order.wanted == position
        };
        let mut ahead = self.ahead.iter_mut();
        ahead.find_map(|slot| slot.take_if(|flight| is_it(&flight.order)))
    }

    /// Begins to read what follows, so that a scan finds it in memory. Where the block behind that is
    /// known as well, another thread decodes it meanwhile; and none waits for the reader in between.
    fn read_ahead(&mut self, segment: &Arc<Segment>, next: Offset, beyond: Option<Spot>) {
        let limit = self.limit();
        if next >= limit {
            return;
        }
        let (segment, spot) = match self.next {
            Some((_, spot)) if next < segment.end() => (Arc::clone(segment), spot),
            _ => match self
                .stream
                .segments
                .at(next)
                .filter(|segment| segment.base == next)
            {
                Some(segment) => {
                    let spot = Spot::first(&segment);
                    (segment, spot)
                }
                None => return,
            },
        };
        let beyond = beyond
            .filter(|beyond| next < beyond.offset && beyond.offset < limit.min(segment.end()));
        let wanted = [Some((next, spot)), beyond.map(|spot| (spot.offset, spot))];
        let mut old = std::mem::take(&mut self.ahead);
        for (slot, (offset, spot)) in wanted.into_iter().flatten().enumerate() {
            let is_it = |flight: &mut Flight| {
                flight.order.segment.no == segment.no && flight.order.from == Some(spot)
            };
            let known = old.iter_mut().find_map(|flight| flight.take_if(is_it));
            self.ahead[slot] = known.or_else(|| self.begin_ahead(&segment, offset, spot));
        }
    }

    fn begin_ahead(&self, segment: &Arc<Segment>, offset: Offset, spot: Spot) -> Option<Flight> {
        if self.ctx.blocks.has(&key_of(self.stream.id, segment, spot)) {
            return None;
        }
        let order = self.order(segment, offset, Some(spot), BLOCK, Task::Read);
        Flight::try_begin(&self.ctx, order)
    }

    /// A job has ended.
    fn land(&mut self, order: &Order, landed: Result<Fetched, JobDied>) -> Result<(), Error> {
        let no = order.segment.no;
        match landed {
            Ok(Fetched::Block(block, beyond)) => self.accept(&order.segment, &block, beyond),
            Ok(Fetched::Bad { spot, what }) => self.meet_bad_frame(order, spot, &what),
            Ok(Fetched::GoOn(spot)) => {
                self.next = Some((no, spot));
                if order.from.is_some_and(|from| from.offset == spot.offset) {
                    self.flaps += 1;
                }
                if self.flaps > MAX_FLAPS {
                    self.flaps = 0;
                    let why = format!(
                        "byte {} of segment {no} reads differently each time",
                        spot.pos
                    );
                    return Err(Error::Unavailable { why: why.into() });
                }
            }
            Ok(Fetched::Damaged(mut damage, next)) => {
                // The writer may have moved the records elsewhere while we looked.
                let now = self.stream.segments.at(self.position);
                self.suspects.clear();
                if now.is_some_and(|now| now.no == no && now.end() >= damage.to) {
                    let fault = std::mem::take(&mut self.fault);
                    if damage.what.is_empty() {
                        damage.what = fault;
                    }
                    self.next = next.map(|spot| (no, spot));
                    self.note_damage(damage);
                }
            }
            // That it is elsewhere has been followed up by the job itself.
            Ok(Fetched::Done | Fetched::Far) => {}
            Ok(Fetched::Failed(error)) => return self.meet_failure(order, error),
            Err(JobDied) => {
                return Err(Error::Unavailable {
                    why: "a reading job ended without result".into(),
                });
            }
        }
        Ok(())
    }
}
