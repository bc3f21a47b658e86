//! What a reader does when a record can't be had: is it gone for good reasons, is it elsewhere by
//! now, or is it damaged?
//!
//! Nothing is called damaged at the first look, nor on old knowledge. The owner may rewrite a tail,
//! truncate or trim while we read; each of these changes the state before, or in one step with, what
//! a reader finds.

use std::task::{Context, Poll, ready};

use tierlog_storage::{Damage, Offset, SegmentNo, StorageError, planted};

use super::{
    cursor::Reader,
    fetch::{Order, Spot, Task, key_of},
    flight::Flight,
    source::Ending,
    waiting::AtTail,
};
use crate::{
    error::Error,
    stream::{marks::Level, segments::Segment},
};

/// Stands for a whole file among suspects.
const WHOLE_FILE: u64 = u64::MAX;

impl Reader {
    /// A frame is bad. Once may be chance: the writer closes a segment whose sync failed and
    /// writes its tail to a new one, and we had found the old place. So the offset is resolved from
    /// scratch, and only if that leads to the same place, it is damage.
    pub(super) fn meet_bad_frame(&mut self, order: &Order, spot: Spot, what: &str) {
        let key = key_of(order.stream, &order.segment, spot);
        self.ctx.blocks.drop_block(&key);
        (self.next, self.ahead) = (None, [None, None]);
        if self.suspect(order.segment.no, spot.pos) {
            return;
        }
        what.clone_into(&mut self.fault);
        let order = self.order(&order.segment, self.position, Some(spot), 0, Task::Diagnose);
        self.flight = Some(Flight::begin(&self.ctx, order));
    }

    /// A file can't be read.
    pub(super) fn meet_failure(&mut self, order: &Order, error: StorageError) -> Result<(), Error> {
        let segment = &order.segment;
        self.next = None;
        // Before the look: a recovery that ends in between has shown what it removed, and looks settle it.
        let orphaned = self.ctx.orphaned();
        self.look()?;
        let now = self.stream.segments.at(self.position);
        // Meanwhile it may have gone to another tier, and back.
        let is_there = |now: &Segment| now.no == segment.no && now.copies == segment.copies;
        if self.life_has_moved() || !now.is_some_and(|now| is_there(&now)) {
            return Ok(());
        }
        if !error.is_missing() {
            // Nothing is known to be damaged, so there is nothing to skip. What helps depends on the
            // cause: rights, descriptors, another disk, or the program that wrote the file.
            return Err(match order.far && error.is_timeout() {
                true => Error::Unavailable {
                    why: error.to_string().into(),
                },
                false => error.into(),
            });
        }
        if self.suspect(segment.no, WHOLE_FILE) {
            // Of somebody else's log we may not have heard that the segment was dropped.
            let order = self.order(segment, self.position, None, 0, Task::Refresh);
            self.flight = Some(Flight::begin(&self.ctx, order));
            return Ok(());
        }
        if let Some(error) = orphaned {
            return Err(error);
        }
        self.note_damage(Damage {
            stream: order.stream,
            segment: segment.no,
            from: segment.base,
            to: segment.end(),
            bytes: (0, segment.end_byte()),
            what: match order.far {
                true => "the segment's object in Tier 2 is missing".into(),
                false => "the segment's file is missing".into(),
            },
        });
        Ok(())
    }

    /// No segment has the position, which is below the watermark.
    pub(super) fn poll_hole(
        &mut self,
        cx: &mut Context<'_>,
        limit: Offset,
    ) -> Poll<Result<(), Error>> {
        if self.life_has_moved() || self.lost.replace(self.position) != Some(self.position) {
            return Poll::Ready(Ok(()));
        }
        let durable = Offset(self.life.marks.get(Level::Durable));
        if self.position >= durable {
            // A sync failed: the segment was closed at its durable end, and what was written beyond
            // is being written again to a fresh one.
            return match ready!(self.poll_rewritten(cx)) {
                AtTail::Failed(error) => Poll::Ready(Err(error)),
                AtTail::LookAgain | AtTail::End => Poll::Ready(Ok(())),
            };
        }
        self.lost = None;
        self.note_hole(limit.min(durable));
        Poll::Ready(Ok(()))
    }

    /// Waits until what was written is readable again, or will never be.
    fn poll_rewritten(&mut self, cx: &mut Context<'_>) -> Poll<AtTail> {
        if !self.tail.waits() {
            let watch = self.tail.begin(&self.stream);
            // The state is read behind this line, as at the tail.
            let found = self.stream.segments.at(self.position);
            let moved = found.is_some_and(|segment| segment.base <= self.position)
                || self.life_has_moved()
                || self.position >= self.limit();
            if moved {
                self.tail.keep(watch);
                return Poll::Ready(AtTail::LookAgain);
            }
            match self.options.closing.ending(&self.stream, self.position) {
                Ending::Failed(error) => {
                    self.tail.keep(watch);
                    return Poll::Ready(AtTail::Failed(error));
                }
                Ending::Open | Ending::Drained => self.tail.wait(watch),
            }
        }
        self.tail.poll(cx).map(|()| AtTail::LookAgain)
    }

    fn note_hole(&mut self, limit: Offset) {
        let (mut from, mut to) = (self.stream.start(), limit);
        let mut segment = SegmentNo::ZERO;
        for held in self.stream.segments.all() {
            if held.base <= self.position {
                (from, segment) = (from.max(held.end()), held.no);
            } else {
                to = to.min(held.base);
                break;
            }
        }
        self.note_damage(Damage {
            stream: self.stream.id,
            segment,
            from: from.min(self.position),
            to,
            bytes: (0, 0),
            what: "no segment holds these records".into(),
        });
    }

    pub(super) fn note_damage(&mut self, damage: Damage) {
        tracing::warn!(target: "tierlog::reader", %damage, "damage");
        self.ctx.meters.damage_in_reading.increment(1);
        self.damage = Some(damage);
    }

    /// The position lies in known damage.
    pub(super) fn meet_damage(&mut self) -> Result<(), Error> {
        let Some(damage) = self.damage.clone() else {
            return Ok(());
        };
        self.look()?;
        if self.life_has_moved() {
            return Ok(());
        }
        if !self.options.skip_damage && !planted::is("bad_record_skipped") {
            return Err(Error::Corrupt(damage));
        }
        self.damage = None;
        self.pass(damage);
        Ok(())
    }

    /// True the first time.
    fn suspect(&mut self, no: SegmentNo, pos: u64) -> bool {
        let first = !self.suspects.contains(&(no, pos));
        if first {
            self.suspects.push((no, pos));
        }
        first
    }

    /// Whether a new life has begun, as the door has it: segments change under its lock, so whoever
    /// has seen them change and then passes the door knows.
    fn life_has_moved(&self) -> bool {
        self.stream.life().number != self.life.number
    }
}
