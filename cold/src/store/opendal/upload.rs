//! Making an object in parts, and taking back what is left of an upload.

use std::sync::{Arc, atomic::Ordering};

use ::opendal::{Buffer, Error, ErrorKind, Operator, Result, Writer};
use bytes::Bytes;

use super::{
    OpendalStore,
    transport::{Aborted, Aborting, Begun, Recording, through},
};
use crate::store::{Source, StoreError, UploadId, whole};

/// A larger object is written in parts of this size, where somebody keeps account of that; services take
/// no smaller ones than 5 MiB.
pub(super) const PART: u64 = 8 * 1024 * 1024;
/// How many parts are written at once.
const AT_ONCE: usize = 4;
/// Services take no more than 10,000 parts.
const MOST_PARTS: u64 = 9_000;

impl OpendalStore {
    pub(super) async fn create_in_parts(
        &self,
        key: &str,
        source: &Arc<dyn Source>,
    ) -> std::result::Result<(), StoreError> {
        let mut upload = Upload::new(&self.operator, key, source);
        let begun = Arc::clone(&upload.begun);
        let failed = |error: Error| {
            let ids = begun.all();
            let refusal = begun.refusal();
            refusal.unwrap_or_else(|| self.failed_about("create", key, &error, ids))
        };
        let outcome = match upload.send(source).await {
            Ok(()) => upload.complete().await.map_err(failed),
            Err(Stopped::Source(error)) => Err(error),
            Err(Stopped::Store(error)) => Err(failed(error)),
        };
        match &outcome {
            Ok(()) => {
                if let (Some(keeper), Some(id)) = (source.parts(), upload.begun.kept()) {
                    keeper.done(&id);
                }
            }
            Err(_) => upload.give_up().await,
        }
        outcome
    }
}

/// Why no more parts are sent.
enum Stopped {
    Source(StoreError),
    Store(Error),
}

/// An upload in parts. When it is given up its parts are taken back, as far as there is somebody to do it.
struct Upload {
    writer: Option<Writer>,
    operator: Operator,
    recorded: Operator,
    key: String,
    begun: Arc<Begun>,
}

impl Upload {
    fn new(operator: &Operator, key: &str, source: &Arc<dyn Source>) -> Self {
        let begun = Arc::<Begun>::default();
        let recording = Recording::new(operator, Arc::clone(&begun), source);
        Self {
            writer: None,
            recorded: through(operator, recording),
            operator: operator.clone(),
            key: key.to_owned(),
            begun,
        }
    }

    /// Sends all of the source. When this comes back, the last parts may be on their way.
    async fn send(&mut self, source: &Arc<dyn Source>) -> std::result::Result<(), Stopped> {
        let len = source.len();
        let part = PART.max(len.div_ceil(MOST_PARTS));
        let chunk = usize::try_from(part).unwrap_or(usize::MAX);
        let writer = self.recorded.writer_with(&self.key).if_not_exists(true);
        let writer = writer.chunk(chunk).concurrent(AT_ONCE).await;
        let writer = self.writer.insert(writer.map_err(Stopped::Store)?);
        let mut at = 0;
        while at < len {
            let end = (at + part).min(len);
            let bytes = whole(&**source, at..end).await.map_err(Stopped::Source)?;
            writer.write(bytes).await.map_err(Stopped::Store)?;
            at = end;
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<()> {
        if let Some(writer) = self.writer.as_mut() {
            writer.close().await?;
        }
        self.writer = None;
        Ok(())
    }

    async fn give_up(&mut self) {
        if let Some(back) = self.take_back() {
            back.await;
        }
    }

    /// Takes back what was sent. Holds nothing of the source, so that it may go on for as long as the
    /// store takes.
    fn take_back(&mut self) -> Option<impl Future<Output = ()> + Send + 'static> {
        let mut writer = self.writer.take()?;
        let (operator, key) = (self.operator.clone(), std::mem::take(&mut self.key));
        let begun = Arc::clone(&self.begun);
        Some(async move {
            // What can't be taken back now is aborted later by who keeps account of it.
            let _ = writer.abort().await;
            drop(writer);
            // Of these nobody else knows, nor does the writer.
            for id in begun.not_kept() {
                let _ = abort(&operator, &key, &id).await;
            }
        })
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        if let Ok(runtime) = tokio::runtime::Handle::try_current()
            && let Some(back) = self.take_back()
        {
            runtime.spawn(back);
        }
    }
}

/// Takes back what is left of an upload that some process has begun, perhaps this one.
pub(super) async fn abort(operator: &Operator, key: &str, id: &UploadId) -> Result<()> {
    let seen = Arc::<Aborted>::default();
    let aborting = through(operator, Aborting::new(operator, id, Arc::clone(&seen)));
    // As it was begun: a service may do what is to be created only if absent in a way of its own.
    let mut writer = aborting.writer_with(key).if_not_exists(true).await?;
    let least = operator.info().capability().write_multi_min_size;
    let nothing = zeros(least.unwrap_or(1));
    // The second piece makes a writer begin an upload. Neither is sent.
    for _ in 0..2 {
        writer.write(nothing.clone()).await?;
    }
    if !seen.named.load(Ordering::Relaxed) {
        // One that keeps all until the end. That it can't end is as it should be.
        let _ = writer.close().await;
    }
    match writer.abort().await {
        _ if seen.done.load(Ordering::Relaxed) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Ok(()) if !seen.asked.load(Ordering::Relaxed) => {
            let what = "the service has no uploads in parts that can be aborted";
            Err(Error::new(ErrorKind::Unsupported, what))
        }
        outcome => outcome,
    }
}

/// So many bytes, of which memory has few.
fn zeros(len: usize) -> Buffer {
    static PAGE: [u8; 4096] = [0; 4096];
    let pages = (0..len).step_by(PAGE.len());
    let pages = pages.map(|at| Bytes::from_static(&PAGE[..PAGE.len().min(len - at)]));
    pages.collect()
}
