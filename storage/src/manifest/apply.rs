//! How an entry changes the state, and which entries make no sense.
//!
//! An entry is checked whole before anything is changed. What it changes is noted in a list of
//! [`Undo`], so that a commit that is refused half-way, or that the disk did not take, leaves no
//! trace without the state having to be copied for it.
//!
//! A truncation is one commit in this order: `TruncatedAfter`; then for each segment beyond the cut
//! `Removed`, or `Closed` where its frames up to some border before the cut stay in place; then
//! `SegmentCreated` and `Closed` for the copy of the rest.

use super::{
    PartsState, UploadId,
    entry::Entry,
    state::{
        ClaimState, ManifestState, MarkState, PendingSnapshot, SealedFacts, SegmentState,
        StreamState, WarmCopy,
    },
    wire::TEXT_MAX,
};
use crate::{
    error::{Result, StorageError},
    ids::{Epoch, SegmentNo, StreamId},
};

/// The longest name of a stream, in bytes.
pub const NAME_MAX: usize = 255;

/// One step back.
#[derive(Debug)]
pub(super) enum Undo {
    Epoch(Epoch),
    Published(Option<u64>),
    Claims(Vec<ClaimState>),
    Parts(Vec<PartsState>),
    Pending(Option<PendingSnapshot>),
    StreamAdded(StreamId),
    /// Everything of a stream but its segments.
    Stream(StreamId, Box<StreamState>),
    Segment(StreamId, SegmentNo, Option<Box<SegmentState>>),
}

impl Undo {
    pub(super) fn take_back(self, state: &mut ManifestState) {
        match self {
            Self::Epoch(epoch) => state.epoch = epoch,
            Self::Published(number) => state.published = number,
            Self::Claims(claims) => state.claims = claims,
            Self::Parts(parts) => state.parts = parts,
            Self::Pending(pending) => state.pending = pending,
            Self::StreamAdded(stream) => {
                if let Some(added) = state.streams.remove(&stream) {
                    state.names.remove(&added.name);
                }
            }
            Self::Stream(stream, before) => {
                if let Some(now) = state.streams.get_mut(&stream) {
                    let segments = std::mem::take(&mut now.segments);
                    *now = StreamState {
                        segments,
                        ..*before
                    };
                }
            }
            Self::Segment(stream, segment, before) => {
                if let Some(now) = state.streams.get_mut(&stream) {
                    match before {
                        Some(before) => now.segments.insert(segment, *before),
                        None => now.segments.remove(&segment),
                    };
                }
            }
        }
    }
}

impl ManifestState {
    /// Takes an entry in; one that makes no sense is refused as [`StorageError::Invalid`] and
    /// changes nothing. [`ManifestState::seq`] stays as it is: it is for those who number entries.
    pub fn apply(&mut self, entry: &Entry) -> Result<()> {
        self.apply_noting(entry, &mut Vec::new())
    }

    /// [`Self::apply`], noting how to take it back.
    pub(super) fn apply_noting(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        if self.pending.is_some()
            && !entry.is_snapshot()
            && !matches!(
                entry,
                Entry::Published { .. }
                    | Entry::ColdClaim { .. }
                    | Entry::Archived { .. }
                    | Entry::Retention { .. }
                    | Entry::PartsBegun { .. }
            )
        {
            return invalid(format!("{} stands inside a snapshot", entry.name()));
        }
        match entry {
            Entry::StreamCreated { .. } => self.add_stream(entry, undo),
            &Entry::Epoch { epoch, .. } => self.begin_epoch(epoch, undo),
            &Entry::Published { number } => self.note_published(number, undo),
            &Entry::ColdClaim { number, owner } => self.note_claim(number, owner, undo),
            Entry::PartsBegun { key, id } => self.begin_parts(parts(key, id), undo),
            Entry::PartsGone { key, id } => self.end_parts(&parts(key, id), undo),
            Entry::SnapshotBegin { .. }
            | Entry::SnapshotStream { .. }
            | Entry::SnapshotSegment { .. }
            | Entry::SnapshotEnd {} => self.apply_snapshot(entry, undo),
            _ => self.apply_to_stream(entry, undo),
        }
    }

    fn apply_to_stream(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        match *entry {
            Entry::SegmentCreated {
                stream,
                segment,
                salt,
                capacity,
                epoch,
                incarnation,
            } => {
                let state = SegmentState::open(salt, capacity, epoch, incarnation);
                let latest = self.epoch;
                self.edit(stream, undo)?
                    .create_segment(segment, state, latest)
            }
            Entry::Trimmed { stream, start } => self.edit(stream, undo)?.trim(start),
            Entry::Archived { stream, end } => self.edit(stream, undo)?.archive(end),
            Entry::Retention { stream, retention } => self.edit(stream, undo)?.retain(retention),
            Entry::TruncatedAfter {
                stream,
                end,
                incarnation,
            } => self.edit(stream, undo)?.truncate(end, incarnation),
            Entry::Mark {
                stream,
                durable,
                segment,
                end_byte,
                incarnation,
                clean,
            } => {
                let mark = MarkState {
                    durable,
                    segment,
                    end_byte,
                    incarnation,
                    clean,
                };
                self.edit(stream, undo)?.mark(mark)
            }
            _ => self.apply_to_segment(entry, undo),
        }
    }

    fn apply_to_segment(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        match *entry {
            Entry::Removed { stream, segment } => self.edit(stream, undo)?.remove_segment(segment),
            Entry::Closed {
                stream,
                segment,
                base,
                end,
                end_byte,
            } => self.edit(stream, undo)?.close(segment, base, end, end_byte),
            Entry::Sealed {
                stream,
                segment,
                base,
                end,
                data_end,
                file_len,
                first_ts,
                last_ts,
                ext,
                digest,
                flush_failed,
            } => {
                let facts = SealedFacts {
                    base,
                    end,
                    data_end,
                    file_len,
                    first_ts,
                    last_ts,
                    ext,
                    digest,
                    flush_failed,
                };
                self.edit(stream, undo)?.seal(segment, facts)
            }
            _ => self.apply_to_copies(entry, undo),
        }
    }

    fn apply_to_copies(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        match *entry {
            Entry::Warmed {
                stream,
                segment,
                file_len,
                crc,
            } => self.edit(stream, undo)?.add_copy(segment, |copies| {
                copies.warm = Some(WarmCopy { file_len, crc });
                copies.needs_recovery = false;
                Ok(())
            }),
            Entry::HotDropped { stream, segment } => self.edit(stream, undo)?.drop_hot(segment),
            Entry::HotRestored { stream, segment } => {
                self.edit(stream, undo)?.add_copy(segment, |copies| {
                    if copies.hot {
                        return Err("has its segment file");
                    }
                    copies.hot = true;
                    Ok(())
                })
            }
            Entry::WarmDropped { stream, segment } => self.edit(stream, undo)?.drop_warm(segment),
            _ => self.apply_to_object(entry, undo),
        }
    }

    pub(super) fn edit<'a>(
        &'a mut self,
        stream: StreamId,
        undo: &'a mut Vec<Undo>,
    ) -> Result<Edit<'a>> {
        match self.streams.get_mut(&stream) {
            Some(state) => Ok(Edit {
                stream,
                state,
                undo,
            }),
            None => invalid(format!("stream {stream} is not known")),
        }
    }

    fn add_stream(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        let (stream, added) = match entry {
            Entry::StreamCreated {
                stream,
                name,
                created_ns,
            } => (*stream, StreamState::new(name.clone(), *created_ns)),
            Entry::SnapshotStream {
                stream,
                name,
                created_ns,
                start,
                next,
                next_segment,
                incarnation,
                mark,
            } => {
                let added = StreamState {
                    start: *start,
                    next: *next,
                    next_segment: *next_segment,
                    incarnation: *incarnation,
                    mark: *mark,
                    ..StreamState::new(name.clone(), *created_ns)
                };
                (*stream, added)
            }
            other => return invalid(format!("{} does not add a stream", other.name())),
        };
        check_name(&added.name)?;
        if self.streams.contains_key(&stream) {
            return invalid(format!("stream {stream} exists already"));
        }
        if self.names.contains_key(&added.name) {
            return invalid(format!(
                "a stream of the name {:?} exists already",
                added.name
            ));
        }
        if added.start > added.next {
            return invalid(format!("stream {stream} starts behind its end"));
        }
        undo.push(Undo::StreamAdded(stream));
        self.names.insert(added.name.clone(), stream);
        self.streams.insert(stream, added);
        Ok(())
    }

    fn begin_epoch(&mut self, epoch: Epoch, undo: &mut Vec<Undo>) -> Result<()> {
        if epoch <= self.epoch {
            return invalid(format!("epoch {epoch} does not follow {}", self.epoch));
        }
        undo.push(Undo::Epoch(self.epoch));
        self.epoch = epoch;
        Ok(())
    }

    fn apply_snapshot(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        let Some(pending) = self.pending else {
            return self.begin_snapshot(entry, undo);
        };
        match entry {
            Entry::SnapshotStream { .. } => {
                let Some(streams) = pending.streams.checked_sub(1) else {
                    return invalid("a snapshot holds more streams than it announced".into());
                };
                self.add_stream(entry, undo)?;
                undo.push(Undo::Pending(Some(pending)));
                self.pending = Some(PendingSnapshot { streams, ..pending });
            }
            Entry::SnapshotSegment {
                stream,
                segment,
                state,
            } => {
                let Some(segments) = pending.segments.checked_sub(1) else {
                    return invalid("a snapshot holds more segments than it announced".into());
                };
                self.edit(*stream, undo)?.restore_segment(*segment, state)?;
                undo.push(Undo::Pending(Some(pending)));
                self.pending = Some(PendingSnapshot {
                    segments,
                    ..pending
                });
            }
            Entry::SnapshotEnd {} if pending.streams == 0 && pending.segments == 0 => {
                undo.push(Undo::Pending(Some(pending)));
                self.pending = None;
            }
            Entry::SnapshotEnd {} => {
                return invalid("a snapshot holds less than it announced".into());
            }
            other => return invalid(format!("{} stands inside a snapshot", other.name())),
        }
        Ok(())
    }

    fn begin_snapshot(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        let &Entry::SnapshotBegin {
            epoch,
            streams,
            segments,
        } = entry
        else {
            return invalid(format!("{} stands outside a snapshot", entry.name()));
        };
        let is_new = self.epoch == Epoch::ZERO
            && self.published.is_none()
            && self.claims.is_empty()
            && self.parts.is_empty()
            && self.streams.is_empty();
        if !is_new {
            return invalid("a snapshot stands behind other entries".into());
        }
        undo.push(Undo::Epoch(self.epoch));
        undo.push(Undo::Pending(None));
        self.epoch = epoch;
        self.pending = Some(PendingSnapshot { streams, segments });
        Ok(())
    }
}

/// One stream under change, with the list of steps back.
#[derive(Debug)]
pub(super) struct Edit<'a> {
    pub(super) stream: StreamId,
    pub(super) state: &'a mut StreamState,
    pub(super) undo: &'a mut Vec<Undo>,
}

fn parts(key: &str, id: &UploadId) -> PartsState {
    PartsState {
        key: key.to_owned(),
        id: id.clone(),
    }
}

/// [`StorageError::Invalid`] with a text.
pub(super) fn invalid<T>(what: String) -> Result<T> {
    Err(StorageError::Invalid { what })
}

/// Names are for people and for commands: they hold nothing that a terminal or a line of output
/// would trip over.
pub(crate) fn check_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > NAME_MAX {
        return invalid(format!(
            "a stream's name has 1 to {NAME_MAX} bytes, not {}",
            name.len()
        ));
    }
    if name.chars().any(char::is_control) {
        return invalid(format!("the name {name:?} holds control characters"));
    }
    Ok(())
}

pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.len() > TEXT_MAX {
        return invalid(format!(
            "{what} has at most {TEXT_MAX} bytes, not {}",
            text.len()
        ));
    }
    Ok(())
}
