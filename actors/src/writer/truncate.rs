//! Cutting the tail off. Everything accepted is durable by then, nothing is under way, and the door
//! is shut, so that no offset beyond the cut can be given out before it is done.

use std::{io::ErrorKind, sync::Arc};

use tierlog_storage::{
    Damage, Incarnation, Offset, SegmentNo, StreamId,
    disk::Access,
    error::StorageError,
    manifest::{Entry, SegmentStatus},
    segment::{
        BlockError, Frame, FrameSeal, HEADER_LEN, Latched, block::next_good, first_use, read_block,
    },
};

use super::{active::Active, actor::WriterActor, roll::NextSegment};
use crate::{
    error::Error,
    flusher::leave_claim,
    protocol::Reply,
    stream::{segments::Segment, shared::LifeChange},
    under_way::Hold,
};

/// Bytes read at a time while looking for the frame that is cut.
const BLOCK: usize = 256 * 1024;

/// A segment that has ended without a footer, and its salt.
type Ended = (SegmentNo, u64, SegmentStatus);

/// What a cut leaves of the segment that it goes through.
struct CutAt {
    segment: Arc<Segment>,
    /// Whole frames are kept up to here.
    end: Offset,
    end_byte: u64,
    /// The frame that is kept in part.
    partial: Option<Frame>,
}

impl CutAt {
    /// Where all whole frames lie below the start, none of them is kept.
    fn above(mut self, start: Offset) -> Self {
        if self.end <= start {
            self.end = self.segment.base;
        }
        self
    }
}

impl WriterActor {
    pub(super) async fn truncate(&mut self, end: Offset, reply: Reply<Result<Offset, Error>>) {
        let stream = Arc::clone(&self.stream);
        let edges = self.within(stream.edges.lock()).await;
        let _edges = match edges {
            Ok(edges) => edges,
            Err(error) => {
                self.stream.reopen_door();
                let _ = reply.send(Err(error));
                return;
            }
        };
        let next = Offset(self.taken);
        let start = self.stream.start();
        if end >= next || end < start {
            self.stream.reopen_door();
            let outcome = if end < start {
                Err(Error::Trimmed { asked: end, start })
            } else {
                Ok(next)
            };
            let _ = reply.send(outcome);
            return;
        }
        let outcome = self.try_truncate(end).await;
        match &outcome {
            Ok(_) => {}
            // Nothing was changed: the manifest refused, or it was not asked yet.
            Err(CutError::Before(_)) => self.stream.reopen_door(),
            // Nobody knows what the manifest says, until it is read again.
            Err(CutError::Unknown(error)) => {
                let error = error.clone();
                let _ = reply.send(Err(error.clone()));
                self.await_restart(error).await;
                return;
            }
            Err(CutError::Stalled(error)) => {
                let error = error.clone();
                let _ = reply.send(Err(error.clone()));
                self.fail(error);
                return;
            }
        }
        let _ = reply.send(outcome.map_err(CutError::into_inner));
    }

    async fn try_truncate(&mut self, end: Offset) -> Result<Offset, CutError> {
        let incarnation = self.life.number.plus(1);
        self.refuse_archived(end)?;
        self.fetch_cut_segment(end).await?;
        let segments = self.stream.segments.all();
        let start = self.stream.start();
        // At the start nothing is kept, and what lies below it was trimmed.
        let cut = match segments
            .iter()
            .find(|s| s.base < end && s.end() > end && end > start)
        {
            Some(segment) => Some(self.find_cut(Arc::clone(segment), end).await?),
            None => None,
        };
        let goes = |s: &&Arc<Segment>| s.base >= end || end == start;
        let removed: Vec<_> = segments.iter().filter(goes).cloned().collect();
        let mut touched = removed.iter().chain(cut.as_ref().map(|cut| &cut.segment));
        let active = self.active.as_ref().map(|active| active.no);
        let may_move = touched.any(|segment| Some(segment.no) != active);
        let fresh = match cut.as_ref().and_then(|cut| cut.partial.clone()) {
            Some(frame) => Some(self.write_kept(frame, end, incarnation).await?),
            None => None,
        };
        let entries = self.cut_entries(end, incarnation, cut.as_ref(), &removed, fresh.as_ref());
        let cut_off = removed.iter().map(|segment| segment.no);
        let cut_off = cut_off.chain(cut.as_ref().map(|cut| cut.segment.no));
        let cut_off = cut_off.chain(self.blank_segments()).collect();
        let holds = match self.commit_cut(entries, cut_off, may_move).await {
            Ok(holds) => holds,
            Err(error) => {
                if let (CutError::Before(_), Some((_, active))) = (&error, fresh) {
                    self.give_back(active);
                }
                return Err(error);
            }
        };
        self.fault("writer.after_truncate_commit").await;
        let stream = Arc::clone(&self.stream);
        let (mut gone, mut closed) = (Vec::new(), Vec::new());
        stream.begin_life_with(incarnation, end, LifeChange::Truncated, || {
            (gone, closed) = self.show_cut(cut, removed);
            self.active = fresh.map(|(_, active)| active);
            if let Some(active) = &mut self.active {
                let end_byte = active.pos;
                active.show(&stream, end, end_byte);
            }
        });
        self.life = self.stream.life();
        self.taken = end.get();
        // Only now: a reader of the old life would have missed the files.
        self.tell_changed(gone, closed, holds);
        self.blocked = None;
        tracing::info!(target: "tierlog::writer", stream = %self.stream.name, %end, "the tail was cut off");
        self.claim_end(end).await;
        self.note_idle();
        Ok(end)
    }

    /// Keeps sweeps from what is cut off, and tells the manifest.
    async fn commit_cut(
        &mut self,
        entries: Vec<Entry>,
        cut_off: Vec<SegmentNo>,
        may_move: bool,
    ) -> Result<Vec<Hold>, CutError> {
        let holds = self.hold_files(cut_off).await.map_err(CutError::Before)?;
        self.fault("writer.before_truncate_commit").await;
        match self.within(self.generation.manifest.commit(entries)).await {
            Ok(Ok(_)) => Ok(holds),
            // Whatever has ended may be compressed, and its segment file dropped, since it was looked at; or it is being
            // uploaded.
            Ok(Err(error @ Error::InvalidInput { .. })) if may_move => {
                tracing::debug!(target: "tierlog::writer", stream = %self.stream.name, %error, "a cut is refused");
                Err(CutError::Before(on_its_way()))
            }
            Ok(Err(error @ (Error::InvalidInput { .. } | Error::StorageFull))) => {
                Err(CutError::Before(error))
            }
            Ok(Err(error)) => Err(CutError::Unknown(error)),
            Err(error) => Err(CutError::Stalled(error)),
        }
    }

    /// Nothing is cut after all, and no manifest names the segment that was to take what is kept of a frame. Its file goes:
    /// with records in it, the next open would put it into quarantine. Its place in the budget comes back with it.
    fn give_back(&self, active: Active) {
        let holds = active.hold.iter().cloned().collect();
        self.tell_changed(vec![active.no], Vec::new(), holds);
    }

    /// What has an object is not taken back: a published catalog names it, or is about to.
    fn refuse_archived(&self, end: Offset) -> Result<(), CutError> {
        let archived = self.stream.watermarks().archived;
        let has_object = |segment: &&Arc<Segment>| segment.copies.cold.is_some();
        let all = self.stream.segments.all();
        let objects = all.iter().filter(has_object).map(|segment| segment.end());
        let archived = objects.max().unwrap_or_default().max(archived);
        let is_kept = self.life.marks.archive().is_none() || end >= archived;
        is_kept
            .then_some(())
            .ok_or(CutError::Before(Error::Archived {
                asked: end,
                archived,
            }))
    }

    /// What is cut is cut in the segment file; where that is not there, it is made again first.
    async fn fetch_cut_segment(&mut self, end: Offset) -> Result<(), CutError> {
        let all = self.stream.segments.all();
        let cut = all.iter().find(|s| s.base < end && s.end() > end);
        let Some(segment) = cut.filter(|s| !s.copies.hot && end > self.stream.start()) else {
            return Ok(());
        };
        let coordinator = self.generation.coordinator.clone();
        let (stream, no) = (self.stream_id(), segment.no);
        match self.within(coordinator.hydrate(stream, no)).await {
            Ok(outcome) => outcome.map_err(CutError::Before),
            Err(error) => Err(CutError::Before(error)),
        }
    }

    /// Says in the claims file where the new life begins.
    pub(super) async fn claim_end(&mut self, end: Offset) {
        let claims = Arc::clone(&self.generation.claims);
        let (slot, claim) = (self.slot, self.claim(end));
        let job = self.generation.log.write_job(&self.running, move || {
            leave_claim(&claims, slot, &claim);
        });
        // It costs only precision: nobody waits for a claim that does not come.
        let _ = self.within(job).await;
    }

    fn cut_entries(
        &self,
        end: Offset,
        incarnation: Incarnation,
        cut: Option<&CutAt>,
        removed: &[Arc<Segment>],
        fresh: Option<&(Entry, Active)>,
    ) -> Vec<Entry> {
        let stream = self.stream_id();
        let mut entries = vec![Entry::TruncatedAfter {
            stream,
            end,
            incarnation,
        }];
        if let Some(cut) = cut {
            let segment = cut.segment.no;
            entries.push(if cut.end > cut.segment.base {
                let base = cut.segment.base;
                Entry::Closed {
                    stream,
                    segment,
                    base,
                    end: cut.end,
                    end_byte: cut.end_byte,
                }
            } else {
                Entry::Removed { stream, segment }
            });
        }
        let blank = self.blank_segments();
        let removed = removed.iter().map(|segment| segment.no).chain(blank);
        entries.extend(removed.map(|segment| Entry::Removed { stream, segment }));
        entries.extend(fresh.map(|(entry, _)| entry.clone()));
        entries
    }

    /// Segments that were made ahead and hold nothing.
    fn blank_segments(&self) -> Vec<SegmentNo> {
        let active = self.active.as_ref().filter(|active| active.is_blank());
        let next = match &self.next {
            NextSegment::Ready(next) => Some(next.no),
            _ => None,
        };
        active
            .map(|active| active.no)
            .into_iter()
            .chain(next)
            .collect()
    }

    /// Shows readers what is left, and gives the segments that nothing names any more, and the one that
    /// ends earlier now.
    fn show_cut(
        &mut self,
        cut: Option<CutAt>,
        removed: Vec<Arc<Segment>>,
    ) -> (Vec<SegmentNo>, Vec<Ended>) {
        let mut gone = self.blank_segments();
        let mut now_closed = Vec::new();
        self.next = NextSegment::None;
        self.stream.segments.update(|map| {
            for segment in &removed {
                map.remove(&segment.base.get());
                gone.push(segment.no);
            }
            if let Some(CutAt {
                segment,
                end,
                end_byte,
                ..
            }) = cut
            {
                map.remove(&segment.base.get());
                let base = segment.base;
                let status = SegmentStatus::Closed {
                    base,
                    end,
                    end_byte,
                };
                match Segment::ended(segment.no, segment.salt, &status).filter(|_| end > base) {
                    Some(closed) => {
                        map.insert(base.get(), Arc::new(closed));
                        now_closed.push((segment.no, segment.salt, status));
                    }
                    None => gone.push(segment.no),
                }
            }
        });
        self.stream.tail.clear();
        (gone, now_closed)
    }

    /// Reads the segment up to the frame that holds the first record to go.
    async fn find_cut(&mut self, segment: Arc<Segment>, end: Offset) -> Result<CutAt, CutError> {
        let (log, stream) = (Arc::clone(&self.generation.log), Arc::clone(&self.stream));
        let id = self.stream_id();
        let log_id = self.generation.id;
        let job = self.generation.log.write_job(&self.running, move || {
            let file = match &segment.file {
                Some(file) => Arc::clone(file),
                None => {
                    let path = log.layout.segment(id, segment.no);
                    let opened = log.disk.open(&path, Access::Read).map_err(|error| {
                        let is_there = segment.copies.hot && stream.segments.shows(&segment);
                        match error.kind() {
                            ErrorKind::NotFound if !is_there => on_its_way(),
                            _ => StorageError::io("open", &path, error).into(),
                        }
                    })?;
                    let file = Arc::new(Latched::new(opened, path));
                    first_use(&file, &segment.identity(log_id, id), &segment.span())?;
                    file
                }
            };
            find_frame(&file, id, segment, end)
        });
        let start = self.stream.start();
        match self.within(job).await {
            Ok(Ok(Ok(cut))) => Ok(cut.above(start)),
            Ok(Ok(Err(error))) | Err(error) => Err(CutError::Before(error)),
            Ok(Err(died)) => Err(CutError::Before(Error::indeterminate(&died))),
        }
    }

    /// Writes the records that are kept of the frame that is cut into a fresh segment, and syncs
    /// it: nothing of it counts before the manifest says so.
    async fn write_kept(
        &mut self,
        frame: Frame,
        end: Offset,
        incarnation: Incarnation,
    ) -> Result<(Entry, Active), CutError> {
        let mut fresh = self.admit_fresh().await.map_err(CutError::Before)?;
        if let Entry::SegmentCreated {
            incarnation: born, ..
        } = &mut fresh.entry
        {
            *born = incarnation;
        }
        let entry = fresh.entry.clone();
        let mut active = Active::blank(fresh, incarnation);
        let keep = u32::try_from(end.since(frame.base)).unwrap_or(u32::MAX);
        let seal = FrameSeal {
            base: frame.base,
            durable: frame.base,
            salt: active.salt,
        };
        let kept = frame.keep_first(keep, &seal);
        let writes = active.place(&kept, &self.owner());
        let (from, to) = (active.allocated, active.allocation_for(active.pos));
        let file = Arc::clone(&active.file);
        let (log, hold) = (Arc::clone(&self.generation.log), active.hold.clone());
        let job = self.generation.log.write_job(&self.running, move || {
            let _hold = hold;
            if to > from {
                file.allocate(from, to - from)?;
            }
            for (pos, bytes) in &writes {
                file.write_at(bytes, *pos)?;
            }
            log.sync(&file)
        });
        active.allocated = active.allocated.max(to);
        let error = match self.within(job).await {
            Ok(Ok(Ok(()))) => return Ok((entry, active)),
            Ok(Ok(Err(error))) => error.into(),
            Ok(Err(died)) => Error::indeterminate(&died),
            Err(error) => error,
        };
        self.give_back(active);
        Err(CutError::Before(error))
    }
}

/// The segment that is to be cut has just gone to another tier; nothing has happened.
fn on_its_way() -> Error {
    Error::Unavailable {
        why: "the segment is on its way between tiers; try again".into(),
    }
}

/// Walks the frames up to the one that holds `end`. Damage before it stays as it is; where `end` lies
/// in it, nobody can say what to keep.
fn find_frame(
    file: &Latched,
    stream: StreamId,
    segment: Arc<Segment>,
    end: Offset,
) -> Result<CutAt, Error> {
    let floor = segment.floor(end);
    let mut pos = floor.map_or(HEADER_LEN, |entry| entry.pos);
    let mut expected = floor.map_or(segment.base, |entry| entry.offset);
    let limit = segment.end_byte();
    let damaged = |from: (u64, Offset), to: (u64, Offset), what: String| {
        Error::Corrupt(Damage {
            stream,
            segment: segment.no,
            from: from.1,
            to: to.1,
            bytes: (from.0, to.0),
            what,
        })
    };
    // What begins with `end` goes, whatever it is.
    while expected != end {
        let block = match read_block(file, segment.salt, pos, limit, expected, BLOCK) {
            Ok(block) => block,
            Err(BlockError::Disk(error)) => return Err(error.into()),
            Err(BlockError::Bad {
                pos: at,
                offset,
                fault,
            }) => {
                let next = next_good(file, segment.salt, at, limit, offset)?;
                let next = next.map_or((limit, segment.end()), |(pos, head)| (pos, head.base));
                if next.1 > end {
                    return Err(damaged((at, offset), next, fault.to_string()));
                }
                (pos, expected) = next;
                continue;
            }
        };
        let mut at = block.pos;
        for (head, bytes) in block.frames() {
            let behind = at + head.total_len() as u64;
            if head.end() > end {
                let partial = (head.base < end)
                    .then(|| Frame::checked(bytes, segment.salt))
                    .transpose()
                    .map_err(|fault| {
                        damaged((at, head.base), (behind, head.end()), fault.to_string())
                    })?;
                return Ok(CutAt {
                    segment,
                    end: head.base,
                    end_byte: at,
                    partial,
                });
            }
            at = behind;
        }
        pos = block.next_pos;
        expected = block.end;
    }
    Ok(CutAt {
        segment,
        end,
        end_byte: pos,
        partial: None,
    })
}

/// How far a truncation got before it failed.
#[derive(Debug)]
enum CutError {
    /// Nothing has changed.
    Before(Error),
    /// The manifest may say that it happened.
    Unknown(Error),
    /// The same, and nobody will tell in time.
    Stalled(Error),
}

impl CutError {
    fn into_inner(self) -> Error {
        match self {
            Self::Before(error) | Self::Unknown(error) | Self::Stalled(error) => error,
        }
    }
}
