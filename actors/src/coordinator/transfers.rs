//! Moving segments to Tier 2 and back: each step is durable before the one that rests on it.
//!
//! ```text
//!   Upload     manifest: UploadStarted ─▶ create, read back ─▶ manifest: Uploaded
//!   publish    catalog object ─▶ manifest: Published, Archived ─▶ tickets
//!   DropWarm   look at the object ─▶ manifest: WarmDropped ─▶ readers ─▶ remove the file
//!   Fetch      [manifest: NeedsRecovery ─▶] read, check, sync ─▶ manifest: Warmed ─▶ readers
//!   DropCold   (trimmed, and published so) manifest: ColdDropped ─▶ delete ─▶ manifest: ColdDeleted
//! ```
//!
//! A store that does not outlive the process gets the same calls, and the manifest hears nothing of
//! them: nothing may rest on what is there.

use std::{sync::Arc, time::Instant};

use tierlog_storage::{
    Offset, StreamId,
    catalog::{Change, SegmentKey},
    manifest::{ColdCopy, Entry, SealedFacts, WarmCopy},
    planted,
};

use super::{
    moves::{MoveFault, Moved, Mover, Subject, commit, remove},
    tasks::Effect,
};
use crate::{
    protocol::uploader::TransferFault,
    stream::segments::{ColdSpot, Copies},
    uploader::UploaderHandle,
};

impl Mover {
    fn uploader(&self) -> Result<&UploaderHandle, MoveFault> {
        let none = MoveFault::Cold(TransferFault::Stopped);
        self.uploader.as_ref().ok_or(none)
    }

    /// Commits what is about Tier 2, where the manifest is to know of it.
    async fn note(&self, entries: Vec<Entry>) -> Result<(), MoveFault> {
        let link = self.tasks.log.cold.as_ref();
        match link.is_some_and(|link| link.is_durable) {
            true => commit(self, entries).await,
            false => Ok(()),
        }
    }
}

/// Uploads a segment.
pub async fn upload(mover: Mover, subject: Subject) -> Effect {
    let begun = Instant::now();
    let moved = match try_upload(&mover, &subject).await {
        Ok(copy) => {
            let meters = &mover.tasks.log.meters;
            meters.upload_seconds.record(begun.elapsed());
            Moved::Uploaded(copy)
        }
        Err(fault) => Moved::NotUploaded(fault),
    };
    Effect::Moved(subject.id, moved)
}

async fn try_upload(mover: &Mover, subject: &Subject) -> Result<ColdCopy, MoveFault> {
    let (stream, segment) = subject.id;
    let residency = &subject.known.residency;
    let (Some(facts), Some(copy)) = (subject.known.facts(), residency.warm) else {
        return Err(MoveFault::Gone);
    };
    // One that was begun goes on under its name, or what it left behind would be known to nobody.
    let begun = residency.upload.as_ref();
    let key = begun.and_then(|upload| SegmentKey::parse(&upload.key));
    let key = key.unwrap_or(SegmentKey {
        stream,
        base: facts.base,
        epoch: mover.tasks.epoch,
        segment,
    });
    let faults = &mover.tasks.log.faults;
    faults.at("coordinator.before_move").await;
    let started = Entry::UploadStarted {
        stream,
        segment,
        key: key.to_string(),
        upload_id: mover.tasks.epoch.to_string(),
    };
    mover.note(vec![started]).await?;
    let uploader = mover.uploader()?;
    let done = uploader.upload(key, copy).await;
    if !planted::is("upload_error_swallowed") {
        done.map_err(MoveFault::Cold)?;
    }
    faults.at("coordinator.after_move").await;
    let uploaded = Entry::Uploaded {
        stream,
        segment,
        key: key.to_string(),
        len: copy.file_len,
        crc: copy.crc,
    };
    mover.note(vec![uploaded]).await?;
    tracing::debug!(target: "tierlog::coordinator", %stream, %segment, bytes = copy.file_len, "a segment is uploaded");
    Ok(ColdCopy {
        key: key.to_string(),
        len: copy.file_len,
        crc: copy.crc,
        dropped: false,
    })
}

/// What was published.
#[derive(Debug)]
pub struct Published {
    /// What the catalog names now, by stream: its first offset, and the one behind the last archived
    /// record where that has moved.
    pub streams: Vec<(StreamId, Offset, Option<Offset>)>,
}

/// Publishes changes of the catalog.
pub async fn publish(mover: Mover, changes: Vec<Change>, known: Vec<(StreamId, Offset)>) -> Effect {
    Effect::Published(try_publish(&mover, changes, known).await)
}

async fn try_publish(
    mover: &Mover,
    changes: Vec<Change>,
    known: Vec<(StreamId, Offset)>,
) -> Result<Published, MoveFault> {
    mover
        .tasks
        .log
        .faults
        .at("coordinator.before_publish")
        .await;
    let ends = ends(&changes);
    let uploader = mover.uploader()?;
    let number = uploader.publish(changes).await.map_err(MoveFault::Cold)?;
    mover.tasks.log.faults.at("coordinator.after_publish").await;
    let archived = ends
        .iter()
        .map(|&(stream, end)| Entry::Archived { stream, end });
    let archived: Vec<_> = archived.collect();
    let published = Entry::Published { number };
    let all = std::iter::once(published).chain(archived.iter().cloned());
    match mover.note(all.collect()).await {
        // The catalog had all of it: the commit of an earlier publication failed, or this one is about
        // nothing new. Its number is known then.
        Err(MoveFault::Gone) if archived.is_empty() => {}
        Err(MoveFault::Gone) => mover.note(archived).await?,
        outcome => outcome?,
    }
    if let Some(link) = mover.tasks.log.cold.as_ref().filter(|link| link.is_durable) {
        link.record(number);
    }
    let streams = known.into_iter().map(|(stream, start)| {
        let end = ends.iter().find(|(of, _)| *of == stream);
        (stream, start, end.map(|(_, end)| *end))
    });
    Ok(Published {
        streams: streams.collect(),
    })
}

/// How far each stream is archived with these changes.
fn ends(changes: &[Change]) -> Vec<(StreamId, Offset)> {
    let mut ends: Vec<(StreamId, Offset)> = Vec::new();
    for change in changes {
        let Change::Segment {
            stream, archived, ..
        } = change
        else {
            continue;
        };
        match ends.last_mut().filter(|(of, _)| of == stream) {
            Some((_, end)) => *end = archived.facts.end,
            None => ends.push((*stream, archived.facts.end)),
        }
    }
    ends
}

/// Removes a compressed file that an archived object stands for.
pub async fn drop_warm(mover: Mover, subject: Subject) -> Effect {
    let subject = subject.held(&mover).await;
    let moved = match try_drop_warm(&mover, &subject).await {
        Ok(()) => Moved::WarmDropped,
        Err(fault) => Moved::Failed(fault),
    };
    Effect::Moved(subject.id, moved)
}

async fn try_drop_warm(mover: &Mover, subject: &Subject) -> Result<(), MoveFault> {
    let (stream, segment) = subject.id;
    let (facts, key, spot) = object(subject)?;
    let log = Arc::clone(&mover.tasks.log);
    log.faults.at("coordinator.before_move").await;
    let uploader = mover.uploader()?;
    match uploader.look(key, spot.len).await {
        Ok(()) => {}
        Err(fault) if fault.is_missing() => {
            tracing::error!(target: "tierlog::coordinator", %stream, %segment, %key, "an object is lost; it is uploaded again");
            let copy = subject.known.residency.warm.ok_or(MoveFault::Gone)?;
            // Compressed anew since, as at another level, it is not what the catalog tells of: a restored
            // log would be refused its own object.
            if (copy.file_len, copy.crc) != (spot.len, spot.crc) {
                let what = format!("{key} is lost, and the compressed file is not the same");
                return Err(MoveFault::Cold(TransferFault::Damaged(what)));
            }
            uploader.upload(key, copy).await.map_err(MoveFault::Cold)?;
        }
        Err(fault) => return Err(MoveFault::Cold(fault)),
    }
    commit(mover, vec![Entry::WarmDropped { stream, segment }]).await?;
    let copies = Copies {
        warm: None,
        ..subject.known.copies()
    };
    subject.show(&facts, copies);
    log.faults.at("coordinator.after_move").await;
    log.readers.moved(stream, &[segment]);
    tracing::debug!(target: "tierlog::coordinator", %stream, %segment, "a compressed file makes room");
    remove(mover, log.layout.warm(stream, segment)).await
}

/// The object that is to stand alone from now on: is it still there?
pub async fn look_at_object(mover: &Mover, subject: &Subject) -> Result<(), MoveFault> {
    let (_, key, spot) = object(subject)?;
    mover.tasks.log.faults.at("coordinator.before_move").await;
    let looked = mover.uploader()?.look(key, spot.len).await;
    looked.map_err(MoveFault::Cold)
}

/// Makes a compressed file again from the object.
pub async fn fetch(mover: Mover, subject: Subject) -> Effect {
    let subject = subject.held(&mover).await;
    let begun = Instant::now();
    let moved = match try_fetch(&mover, &subject).await {
        Ok(copy) => {
            let meters = &mover.tasks.log.meters;
            meters.fetch_seconds.record(begun.elapsed());
            Moved::Fetched(copy)
        }
        Err(fault) => Moved::Failed(fault),
    };
    Effect::Moved(subject.id, moved)
}

async fn try_fetch(mover: &Mover, subject: &Subject) -> Result<WarmCopy, MoveFault> {
    let (stream, segment) = subject.id;
    let (facts, key, spot) = object(subject)?;
    let log = Arc::clone(&mover.tasks.log);
    log.faults.at("coordinator.before_move").await;
    if subject.known.residency.warm.is_some() {
        mover
            .note(vec![Entry::NeedsRecovery { stream, segment }])
            .await?;
    }
    let copy = WarmCopy {
        file_len: spot.len,
        crc: spot.crc,
    };
    let identity = subject.identity(mover.log);
    let fetched = mover
        .uploader()?
        .fetch(identity, key, copy, subject.hold.clone());
    fetched.await.map_err(MoveFault::Cold)?;
    log.faults.at("coordinator.after_move").await;
    let warmed = Entry::Warmed {
        stream,
        segment,
        file_len: copy.file_len,
        crc: copy.crc,
    };
    if let Err(fault) = commit(mover, vec![warmed]).await {
        if fault.names_nothing() {
            remove(mover, log.layout.warm(stream, segment)).await?;
        }
        return Err(fault);
    }
    let copies = Copies {
        warm: Some(copy),
        ..subject.known.copies()
    };
    subject.show(&facts, copies);
    log.readers.moved(stream, &[segment]);
    tracing::debug!(target: "tierlog::coordinator", %stream, %segment, "a compressed file is fetched");
    Ok(copy)
}

/// Deletes the object of a segment that was trimmed.
pub async fn drop_cold(mover: Mover, subject: Subject) -> Effect {
    let moved = match try_drop_cold(&mover, &subject).await {
        Ok(()) => Moved::ColdDeleted,
        Err(fault) => Moved::Failed(fault),
    };
    Effect::Moved(subject.id, moved)
}

async fn try_drop_cold(mover: &Mover, subject: &Subject) -> Result<(), MoveFault> {
    let (stream, segment) = subject.id;
    let residency = &subject.known.residency;
    mover.tasks.log.faults.at("coordinator.before_move").await;
    let dropped = residency.cold.as_ref().is_some_and(|cold| cold.dropped);
    if !dropped {
        match mover
            .note(vec![Entry::ColdDropped { stream, segment }])
            .await
        {
            // An upload of it was begun and never told to the manifest.
            Err(MoveFault::Gone) if residency.cold.is_none() => {}
            outcome => outcome?,
        }
    }
    let cold = residency.cold.as_ref().map(|cold| cold.key.clone());
    let begun = residency.upload.as_ref().map(|upload| upload.key.clone());
    let keys = cold.into_iter().chain(begun).collect();
    let deleted = mover.uploader()?.delete(keys).await;
    deleted.map_err(MoveFault::Cold)?;
    mover.tasks.log.faults.at("coordinator.after_move").await;
    match mover
        .note(vec![Entry::ColdDeleted { stream, segment }])
        .await
    {
        // It is known already.
        Err(MoveFault::Gone) => Ok(()),
        outcome => outcome,
    }
}

/// The object of a segment, as the manifest has it.
fn object(subject: &Subject) -> Result<(SealedFacts, SegmentKey, ColdSpot), MoveFault> {
    let cold = subject.known.residency.cold.as_ref();
    let facts = subject.known.facts().copied();
    let found = cold.and_then(|cold| Some((SegmentKey::parse(&cold.key)?, ColdSpot::of(cold)?)));
    match (facts, found) {
        (Some(facts), Some((key, spot))) => Ok((facts, key, spot)),
        _ => Err(MoveFault::Gone),
    }
}
