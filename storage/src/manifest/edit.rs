//! What entries do to one stream and its segments.

use super::{
    apply::{Edit, Undo, check_text, invalid},
    state::{MarkState, Residency, SealedFacts, SegmentState, SegmentStatus, StreamState},
};
use crate::{
    error::Result,
    ids::{Epoch, Incarnation, Offset, SegmentNo},
};

impl Edit<'_> {
    pub(super) fn refuse<T>(&self, segment: SegmentNo, why: &str) -> Result<T> {
        invalid(format!("segment {segment} of stream {} {why}", self.stream))
    }

    pub(super) fn known(&self, segment: SegmentNo) -> Result<&SegmentState> {
        match self.state.segments.get(&segment) {
            Some(state) => Ok(state),
            None => self.refuse(segment, "is not known"),
        }
    }

    /// To be called before anything but the segments is changed.
    pub(super) fn note_stream(&mut self) {
        let StreamState {
            ref name,
            created_ns,
            start,
            next,
            next_segment,
            incarnation,
            mark,
            archived,
            retention,
            segments: _,
        } = *self.state;
        let before = StreamState {
            start,
            next,
            next_segment,
            incarnation,
            mark,
            archived,
            retention,
            ..StreamState::new(name.clone(), created_ns)
        };
        self.undo.push(Undo::Stream(self.stream, Box::new(before)));
    }

    pub(super) fn put_segment(&mut self, segment: SegmentNo, state: SegmentState) {
        let before = self.state.segments.insert(segment, state);
        self.undo
            .push(Undo::Segment(self.stream, segment, before.map(Box::new)));
    }

    /// A mark in a segment that goes away still says how far the stream is durable.
    pub(super) fn take_segment(&mut self, segment: SegmentNo) {
        let Some(before) = self.state.segments.remove(&segment) else {
            return;
        };
        self.undo
            .push(Undo::Segment(self.stream, segment, Some(Box::new(before))));
        if let Some(mark) = self.state.mark.filter(|mark| mark.segment == Some(segment)) {
            self.note_stream();
            self.state.mark = Some(MarkState {
                segment: None,
                end_byte: 0,
                ..mark
            });
        }
    }

    fn raise_next(&mut self, end: Offset) {
        if end > self.state.next {
            self.note_stream();
            self.state.next = end;
        }
    }

    pub(super) fn create_segment(
        mut self,
        segment: SegmentNo,
        state: SegmentState,
        latest: Epoch,
    ) -> Result<()> {
        if segment < self.state.next_segment {
            return self.refuse(segment, "has a number that was used before");
        }
        let Some(next_segment) = segment.0.checked_add(1) else {
            return self.refuse(segment, "has the last number there is");
        };
        if state.incarnation < self.state.incarnation {
            return self.refuse(segment, "is of an incarnation that is over");
        }
        if state.epoch < latest {
            return self.refuse(segment, "is of an owner that was overtaken");
        }
        self.note_stream();
        self.state.next_segment = SegmentNo(next_segment);
        self.state.incarnation = state.incarnation;
        self.put_segment(segment, state);
        Ok(())
    }

    /// A segment out of a snapshot.
    pub(super) fn restore_segment(
        mut self,
        segment: SegmentNo,
        state: &SegmentState,
    ) -> Result<()> {
        if segment >= self.state.next_segment {
            return self.refuse(segment, "has a number that was not used yet");
        }
        if self.state.segments.contains_key(&segment) {
            return self.refuse(segment, "exists already");
        }
        let copies = &state.residency;
        if let Some(upload) = &copies.upload {
            check_text("a key", &upload.key)?;
            check_text("an upload id", &upload.upload_id)?;
        }
        if let Some(cold) = &copies.cold {
            check_text("a key", &cold.key)?;
        }
        if let Some((base, end)) = state.status.range() {
            self.check_range(segment, base, end)?;
        }
        self.put_segment(segment, state.clone());
        Ok(())
    }

    pub(super) fn close(
        mut self,
        segment: SegmentNo,
        base: Offset,
        end: Offset,
        end_byte: u64,
    ) -> Result<()> {
        let mut after = self.known(segment)?.clone();
        if let (Some((old_base, old_end)), Some(old_byte)) =
            (after.status.range(), after.status.end_byte())
        {
            // Only a truncation makes a final segment shorter: TruncatedAfter stands before this
            // entry, so what is lost was beyond the stream's end already.
            let cut = old_end > self.state.next && end <= self.state.next;
            let shorter = base == old_base && end <= old_end && end_byte <= old_byte;
            if !(cut && shorter) {
                return self.refuse(segment, "ends elsewhere already");
            }
            if !after.residency.hot || after.residency.is_cold() {
                return self.refuse(segment, "can't be cut: it is archived, or not hot");
            }
            if after.residency.upload.is_some() {
                return self.refuse(segment, "can't be cut: its object may hold what it was");
            }
            after.residency = Residency {
                cold: after.residency.cold,
                ..Residency::hot()
            };
        }
        self.check_range(segment, base, end)?;
        after.status = SegmentStatus::Closed {
            base,
            end,
            end_byte,
        };
        self.put_segment(segment, after);
        self.raise_next(end);
        Ok(())
    }

    pub(super) fn seal(mut self, segment: SegmentNo, facts: SealedFacts) -> Result<()> {
        let mut after = self.known(segment)?.clone();
        match after.status {
            SegmentStatus::Sealed(_) => return self.refuse(segment, "is sealed already"),
            SegmentStatus::Closed { base, end, .. } if (base, end) != (facts.base, facts.end) => {
                return self.refuse(segment, "ends elsewhere already");
            }
            SegmentStatus::Closed { .. } | SegmentStatus::Open => {}
        }
        if facts.data_end > facts.file_len
            || facts.first_ts > facts.last_ts
            || facts.ext.is_some_and(|(min, max)| min > max)
        {
            return self.refuse(
                segment,
                "is sealed with bounds that are the wrong way round",
            );
        }
        self.check_range(segment, facts.base, facts.end)?;
        after.status = SegmentStatus::Sealed(facts);
        self.put_segment(segment, after);
        self.raise_next(facts.end);
        Ok(())
    }

    /// Final segments stand in the order of their numbers: a later number never holds an earlier
    /// offset, nor one twice, else a reader would see two records at one offset.
    fn check_range(&self, segment: SegmentNo, base: Offset, end: Offset) -> Result<()> {
        if base > end {
            return self.refuse(segment, "ends before it begins");
        }
        if base == end {
            return Ok(());
        }
        let filled = |(_, state): (_, &SegmentState)| state.status.range().filter(|(b, e)| b < e);
        let segments = &self.state.segments;
        let before = segments.range(..segment).rev().find_map(filled);
        let after = segments
            .range(segment..)
            .skip_while(|(no, _)| **no == segment)
            .find_map(filled);
        if before.is_some_and(|(_, before)| before > base)
            || after.is_some_and(|(after, _)| after < end)
        {
            return self.refuse(segment, "holds offsets that another segment holds");
        }
        Ok(())
    }

    pub(super) fn remove_segment(mut self, segment: SegmentNo) -> Result<()> {
        let state = self.known(segment)?;
        if let Some((base, end)) = state.status.range()
            && base < end
            && end > self.state.start
            && end <= self.state.next
        {
            return self.refuse(segment, "still holds records");
        }
        if state.residency.cold.is_some() || state.residency.upload.is_some() {
            return self.refuse(segment, "still has an object, which would be forgotten");
        }
        self.take_segment(segment);
        Ok(())
    }

    pub(super) fn trim(mut self, start: Offset) -> Result<()> {
        if start < self.state.start {
            return invalid(format!(
                "stream {} starts at {}, which is behind {start}",
                self.stream, self.state.start
            ));
        }
        self.note_stream();
        self.state.start = start;
        // The manifest may know less than the open segment holds; it never knows an end before the
        // start.
        self.state.next = self.state.next.max(start);
        for segment in self.state.segments.forgettable_below(start) {
            self.forget_local(segment);
        }
        Ok(())
    }

    /// A segment with an object stays known until the object is deleted, for else nobody would
    /// delete it.
    fn forget_local(&mut self, segment: SegmentNo) {
        let Some(state) = self.state.segments.get(&segment) else {
            return;
        };
        if state.residency.cold.is_none() && state.residency.upload.is_none() {
            self.take_segment(segment);
            return;
        }
        let mut after = state.clone();
        after.residency.hot = false;
        after.residency.warm = None;
        after.residency.needs_recovery = false;
        if after != *state {
            self.put_segment(segment, after);
        }
    }

    pub(super) fn truncate(mut self, end: Offset, incarnation: Incarnation) -> Result<()> {
        if end < self.state.start {
            return invalid(format!(
                "stream {} can't end at {end}, before its start",
                self.stream
            ));
        }
        if end < self.state.archived {
            return invalid(format!(
                "stream {} can't end at {end}: it is archived up to {}",
                self.stream, self.state.archived
            ));
        }
        if incarnation <= self.state.incarnation {
            return invalid(format!(
                "incarnation {incarnation} of stream {} does not follow {}",
                self.stream, self.state.incarnation
            ));
        }
        self.note_stream();
        self.state.next = end;
        self.state.incarnation = incarnation;
        self.state.mark = None;
        Ok(())
    }

    pub(super) fn mark(mut self, mark: MarkState) -> Result<()> {
        if mark.incarnation < self.state.incarnation {
            return invalid(format!(
                "a mark of stream {} is of an incarnation that is over",
                self.stream
            ));
        }
        if let Some(last) = self.state.mark.filter(|last| last.durable > mark.durable) {
            return invalid(format!(
                "a mark of stream {} at {} is behind one at {}",
                self.stream, mark.durable, last.durable
            ));
        }
        if let Some(segment) = mark.segment {
            self.known(segment)?;
        }
        self.note_stream();
        self.state.mark = Some(mark);
        self.state.incarnation = mark.incarnation;
        self.state.next = self.state.next.max(mark.durable);
        Ok(())
    }

    pub(super) fn change_copies(
        mut self,
        segment: SegmentNo,
        change: impl FnOnce(&mut Residency) -> Result<(), &'static str>,
    ) -> Result<()> {
        let mut after = self.known(segment)?.clone();
        if let Err(why) = change(&mut after.residency) {
            return self.refuse(segment, why);
        }
        self.put_segment(segment, after);
        Ok(())
    }

    /// Only what can't change any more is copied from tier to tier.
    pub(super) fn change_sealed(
        self,
        segment: SegmentNo,
        change: impl FnOnce(&mut Residency) -> Result<(), &'static str>,
    ) -> Result<()> {
        match self.known(segment)?.status {
            SegmentStatus::Sealed(_) => self.change_copies(segment, change),
            _ => self.refuse(segment, "is not sealed"),
        }
    }
}
