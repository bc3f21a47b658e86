//! What entries say of Tier 2: objects, claims, and how far a stream is archived.

use super::{
    apply::{Edit, Undo, check_text, invalid},
    entry::Entry,
    state::{ClaimState, ColdCopy, ManifestState, Residency, SegmentStatus, UploadState},
};
use crate::{
    error::Result,
    ids::{Offset, OwnerId, SegmentNo},
};

/// The most claims that are remembered. A claim whose outcome is not known is added at most once an
/// open, and forgotten when a later one is known to be there.
const CLAIMS_MAX: usize = 1024;

impl ManifestState {
    pub(super) fn note_published(&mut self, number: u64, undo: &mut Vec<Undo>) -> Result<()> {
        if let Some(last) = self.published.filter(|last| number <= *last) {
            return invalid(format!("catalog object {number} does not follow {last}"));
        }
        undo.push(Undo::Published(self.published));
        self.published = Some(number);
        // The number of every earlier claim is taken by now: none of them can still come to be.
        let latest = self.claims.iter().map(|claim| claim.number);
        let latest = latest.filter(|claimed| *claimed <= number).max();
        if let Some(latest) = latest
            && self.claims.iter().any(|claim| claim.number < latest)
        {
            undo.push(Undo::Claims(self.claims.clone()));
            self.claims.retain(|claim| claim.number >= latest);
        }
        Ok(())
    }

    pub(super) fn note_claim(
        &mut self,
        number: u64,
        owner: OwnerId,
        undo: &mut Vec<Undo>,
    ) -> Result<()> {
        if let Some(last) = self.claims.last().filter(|last| number < last.number) {
            return invalid(format!(
                "a claim of catalog object {number} stands behind one of {}",
                last.number
            ));
        }
        if self.claims.len() >= CLAIMS_MAX {
            return invalid("too many claims of Tier 2 came to no known end".into());
        }
        undo.push(Undo::Claims(self.claims.clone()));
        self.claims.push(ClaimState { number, owner });
        Ok(())
    }

    pub(super) fn apply_to_object(&mut self, entry: &Entry, undo: &mut Vec<Undo>) -> Result<()> {
        match entry {
            Entry::UploadStarted {
                stream,
                segment,
                key,
                upload_id,
            } => {
                check_text("a key", key)?;
                check_text("an upload id", upload_id)?;
                self.edit(*stream, undo)?.change_sealed(*segment, |copies| {
                    if copies.cold.is_some() {
                        return Err("has an object already");
                    }
                    copies.upload = Some(UploadState {
                        key: key.clone(),
                        upload_id: upload_id.clone(),
                    });
                    Ok(())
                })
            }
            Entry::Uploaded {
                stream,
                segment,
                key,
                len,
                crc,
            } => {
                check_text("a key", key)?;
                self.edit(*stream, undo)?.change_sealed(*segment, |copies| {
                    if copies.cold.is_some() {
                        return Err("has an object already");
                    }
                    copies.upload = None;
                    copies.cold = Some(ColdCopy {
                        key: key.clone(),
                        len: *len,
                        crc: *crc,
                        dropped: false,
                    });
                    Ok(())
                })
            }
            &Entry::NeedsRecovery { stream, segment } => {
                self.edit(stream, undo)?.change_copies(segment, |copies| {
                    copies.needs_recovery = true;
                    Ok(())
                })
            }
            &Entry::ColdDropped { stream, segment } => self.edit(stream, undo)?.drop_cold(segment),
            &Entry::ColdDeleted { stream, segment } => {
                self.edit(stream, undo)?.delete_cold(segment)
            }
            other => invalid(format!("{} is not about a segment", other.name())),
        }
    }
}

impl Edit<'_> {
    /// Whether an object stands for the segment if every other copy goes: it is there, and published.
    fn is_archived(&self, segment: SegmentNo) -> Result<bool> {
        let state = self.known(segment)?;
        let below = |(_, end)| end <= self.state.archived;
        Ok(state.residency.is_cold() && state.status.range().is_some_and(below))
    }

    pub(super) fn drop_hot(self, segment: SegmentNo) -> Result<()> {
        let archived = self.is_archived(segment)?;
        self.change_sealed(segment, |copies| match copies {
            Residency { hot: false, .. } => Err("has no segment file"),
            copies if copies.warm.is_none() && !archived => Err("has no other copy"),
            copies => {
                copies.hot = false;
                Ok(())
            }
        })
    }

    pub(super) fn drop_warm(self, segment: SegmentNo) -> Result<()> {
        let archived = self.is_archived(segment)?;
        self.change_sealed(segment, |copies| match copies {
            Residency { warm: None, .. } => Err("has no compressed file"),
            copies if !copies.hot && !archived => Err("has no other copy"),
            copies => {
                copies.warm = None;
                Ok(())
            }
        })
    }

    /// Objects are published in the order of what they hold, so that what is archived has no hole.
    pub(super) fn archive(mut self, end: Offset) -> Result<()> {
        let (from, stream) = (self.state.archived, self.stream);
        if end <= from || end > self.state.next {
            return invalid(format!(
                "stream {stream} can't be archived up to {end}: it is up to {from}"
            ));
        }
        // What was trimmed while it was uploaded is known until the object is deleted, and is no hole.
        let behind = self
            .state
            .segments
            .filled_behind(from.max(self.state.start));
        let ranged = behind.filter_map(|(no, state)| Some((no, state, state.status.range()?)));
        for (segment, state, (_, segment_end)) in ranged.take_while(|(_, _, (base, _))| *base < end)
        {
            let sealed = matches!(state.status, SegmentStatus::Sealed(_));
            let dropped = state.residency.cold.as_ref().is_some_and(|c| c.dropped);
            if segment_end > end || !sealed || !(state.residency.is_cold() || dropped) {
                return self.refuse(segment, "is not in Tier 2, so that it can't be archived");
            }
        }
        self.note_stream();
        self.state.archived = end;
        Ok(())
    }

    fn drop_cold(self, segment: SegmentNo) -> Result<()> {
        let trimmed = self.is_trimmed(segment)?;
        self.change_sealed(segment, |copies| {
            let local = copies.hot || copies.warm.is_some();
            match &mut copies.cold {
                Some(cold) if !cold.dropped && (trimmed || local) => {
                    cold.dropped = true;
                    Ok(())
                }
                Some(cold) if cold.dropped => Err("has an object that is dropped already"),
                Some(_) => Err("has no other copy"),
                // An upload that is given up: what it left in the store must be deleted too.
                None if copies.upload.is_some() => Ok(()),
                None => Err("has no object"),
            }
        })
    }

    fn delete_cold(mut self, segment: SegmentNo) -> Result<()> {
        let trimmed = self.is_trimmed(segment)?;
        let mut after = self.known(segment)?.clone();
        let copies = &mut after.residency;
        let dropped = match &copies.cold {
            Some(cold) => cold.dropped,
            None => copies.upload.is_some(),
        };
        if !dropped {
            return self.refuse(segment, "has no object that is dropped");
        }
        (copies.cold, copies.upload) = (None, None);
        if trimmed {
            self.take_segment(segment);
        } else {
            self.put_segment(segment, after);
        }
        Ok(())
    }

    /// A copy here. Of what is trimmed there may be an object that is still to be deleted, and nothing
    /// new.
    pub(super) fn add_copy(
        self,
        segment: SegmentNo,
        change: impl FnOnce(&mut Residency) -> Result<(), &'static str>,
    ) -> Result<()> {
        if self.is_trimmed(segment)? {
            return self.refuse(segment, "is trimmed");
        }
        self.change_sealed(segment, change)
    }

    fn is_trimmed(&self, segment: SegmentNo) -> Result<bool> {
        let range = self.known(segment)?.status.range();
        Ok(range.is_some_and(|(_, end)| end <= self.state.start))
    }
}
