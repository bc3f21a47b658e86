//! Creating large objects, and looking at all of what is there.

use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};
use tierlog_storage::{crc::Crc64, planted};

use super::{
    Client, Failed, Large, Op, Tries,
    small::{is_unsettled, not_read_back, unsettled},
};
use crate::store::{Source, StoreError, StoreErrorKind};

/// An object as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Seen {
    len: u64,
    crc: u64,
}

impl Client {
    /// Makes a large object that must not be there. With `verify` all of it is read back and compared
    /// by its length and its checksum; after an attempt whose outcome is unknown, or that found one
    /// there, it always is. `crc` is the CRC64-NVME of all bytes.
    ///
    /// `Taken` also tells of an object that the store has made of other bytes than it was given. An
    /// error is `Unknown` if the object may have been made all the same, perhaps only later.
    pub async fn create_large(
        &self,
        key: &str,
        source: Arc<dyn Source>,
        crc: u64,
        verify: bool,
    ) -> Result<Large, StoreError> {
        let wanted = Seen {
            len: source.len(),
            crc,
        };
        let mut tries = Tries::new(self, Op::Create);
        loop {
            if !self.shared.gate.is_closed() {
                // A probe that is answered quickly, lest everybody wait for an upload.
                match self.stat(key).await {
                    Err(error) if error.kind == StoreErrorKind::Missing => {}
                    Err(error) => return Err(tries.told(error)),
                    Ok(_) => {}
                }
            }
            let doubt = match self.create_once(key, &source).await {
                Ok(()) if !verify || planted::is("upload_not_read_back") => return Ok(Large::Done),
                Ok(()) => StoreError::new(StoreErrorKind::Unknown, "it was made"),
                Err(Failed::Made(error)) if is_unsettled(&error) => error,
                Err(failed) => {
                    tries.after(failed).await?;
                    continue;
                }
            };
            match self.compare(key, wanted).await {
                Ok(Some(large)) => return Ok(large),
                Ok(None) => tries.after(Failed::Made(unsettled(key, &doubt))).await?,
                Err(back) => return Err(not_read_back(key, &doubt, &back)),
            }
        }
    }

    /// Whether what is there is what is wanted; none if there is nothing.
    async fn compare(&self, key: &str, wanted: Seen) -> Result<Option<Large>, StoreError> {
        let mut before = None;
        for _ in 0..self.shared.policy.attempts.max(2) {
            let seen = match self.look(key, wanted.len).await {
                Err(error) if error.kind == StoreErrorKind::Missing => return Ok(None),
                // Cut or replaced between two reads; the next look tells.
                Err(error) if error.kind == StoreErrorKind::Short => continue,
                seen => seen?,
            };
            if seen == wanted {
                return Ok(Some(Large::Done));
            }
            // Bytes can be altered on their way: other ones have to come twice.
            if before == Some(seen) {
                return Ok(Some(Large::Taken));
            }
            before = Some(seen);
        }
        let what = format!("{key} is another one each time that it is read");
        Err(StoreError::new(StoreErrorKind::Unknown, what))
    }

    /// Reads all of an object, if it is as long as it should be.
    async fn look(&self, key: &str, wanted: u64) -> Result<Seen, StoreError> {
        let len = self.stat(key).await?;
        if len != wanted {
            return Ok(Seen { len, crc: 0 });
        }
        let policy = &self.shared.policy;
        let step = policy.part.max(1);
        let parts = (0..len.div_ceil(step)).map(|part| {
            let from = part * step;
            self.read(key, from..(from + step).min(len))
        });
        let read = stream::iter(parts).buffered(policy.parts_at_once.max(1));
        let sum = read.try_fold(Crc64::new(), |mut crc, bytes| async move {
            crc.write(&bytes);
            Ok(crc)
        });
        let crc = sum.await?.sum64();
        Ok(Seen { len, crc })
    }
}
