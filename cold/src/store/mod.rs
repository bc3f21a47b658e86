//! What is asked of an object store.

use std::{fmt, io, ops::Range, sync::Arc};

use bytes::Bytes;
use futures::future::BoxFuture;
pub use tierlog_storage::manifest::UploadId;

mod dir;
mod key;
mod memory;
#[cfg(feature = "opendal")]
mod opendal;

pub use dir::{Blocking, DirStore};
pub(crate) use key::is_part as is_key_part;
pub use memory::MemoryStore;

#[cfg(feature = "opendal")]
pub use self::opendal::OpendalStore;
#[cfg(any(feature = "s3", feature = "gcs", feature = "azblob"))]
pub(crate) use self::opendal::told_by;

/// An answer of a store.
pub type Answer<'a, T> = BoxFuture<'a, Result<T, StoreError>>;

/// An object store under a prefix. Keys are relative to the prefix: parts of ASCII letters, digits, `-`,
/// `_` and `.`, with `/` between them.
///
/// ```text
///   create ──▶ Ok: it was absent, and is durable with these bytes
///            ▶ Exists: somebody made it; nothing was changed
///            ▶ Unknown: either of them, or nothing; read it back
///   an object is seen whole or not at all
///   read, stat ──▶ what the last successful create, replace or delete left
///   list ──▶ may be stale, in both directions
/// ```
///
/// An implementation makes one attempt a call, and has no deadline: both are up to the caller. Dropping
/// a future gives the call up; whether it happens all the same is unknown.
pub trait Store: Send + Sync + fmt::Debug + 'static {
    /// Where it is, for people: no credentials in it.
    fn place(&self) -> &str;

    /// Whether what it holds outlives the process.
    fn is_durable(&self) -> bool;

    /// Makes an object that must not exist yet. In parts only where the source says who keeps account of
    /// that, otherwise in one piece.
    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()>;

    /// Puts a small object in the place of whatever is there.
    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()>;

    /// Exactly these bytes of an object; fewer are an error of kind `Short`. An empty range of an object
    /// that exists is fine.
    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes>;

    /// The length of an object; `Missing` when there is none.
    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64>;

    /// Removes an object. One that is not there is no error.
    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()>;

    /// Takes back what is left of an upload in parts, whoever began it. One that the store does not know,
    /// or that has become the object, is no error; the object stays. A store that makes objects in one
    /// piece has nothing to take back.
    fn abort<'a>(&'a self, key: &'a str, id: &'a UploadId) -> Answer<'a, ()> {
        let _ = (key, id);
        Box::pin(std::future::ready(Ok(())))
    }

    /// Up to `most` objects whose key begins with `prefix` and is greater than `after`, in the order of
    /// their keys.
    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>>;
}

/// How the creation of an object ended, once an unknown outcome was settled by reading back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Created {
    /// It was absent, and has these bytes now.
    New,
    /// It has these bytes already: an attempt that seemed to fail had made it.
    Ours,
    /// Somebody else's is there, with these bytes.
    Taken(Bytes),
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// Its key.
    pub key: String,
    /// Its length.
    pub len: u64,
}

/// Keeps account of uploads in parts: parts are invisible in a store, and stay there when a process dies,
/// unless somebody knows what the store calls their upload.
///
/// ```text
///   the store names an upload ─▶ begun ─▶ parts ─▶ completed ─▶ done
///                                  │ error          └ given up: taken back, as far as possible
///                                  └▶ no part is sent; taken back
/// ```
pub trait Parts: Send + Sync + fmt::Debug {
    /// The store has begun an upload. No part is sent before this has come back, nor after an error.
    fn begun<'a>(&'a self, id: &'a UploadId) -> BoxFuture<'a, Result<(), StoreError>>;

    /// An upload has become the object: nothing else is left of it. Of one that is given up nobody is
    /// told: a part may still be on its way, so that it has to be [aborted](Store::abort) some time later.
    fn done(&self, id: &UploadId);
}

/// What an object is made of. It may be read more than once, and in any order.
pub trait Source: Send + Sync + fmt::Debug {
    /// How many bytes.
    fn len(&self) -> u64;

    /// True when there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Who keeps account, if the object may be made in parts.
    fn parts(&self) -> Option<&dyn Parts> {
        None
    }

    /// Exactly these bytes.
    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>>;
}

impl Source for Bytes {
    fn len(&self) -> u64 {
        self.as_ref().len() as u64
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>> {
        let at = |pos: u64| usize::try_from(pos).unwrap_or(usize::MAX);
        let (from, to) = (at(range.start), at(range.end));
        let part = match from <= to && to <= self.as_ref().len() {
            true => Ok(self.slice(from..to)),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        };
        Box::pin(std::future::ready(part))
    }
}

/// What a failed call means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreErrorKind {
    /// There is no such object.
    Missing,
    /// There is one already.
    Exists,
    /// The object ends before the range does.
    Short,
    /// Not done: the store has no time now. Try again later.
    Busy,
    /// Whether it was done is unknown, or, of a read, nothing came. Try again, or read back.
    Unknown,
    /// Not allowed, or no such bucket: somebody must act.
    Denied,
    /// The source could not be read, or its bytes are not what they should be.
    Source,
    /// It can't be done this way at all.
    Unsupported,
}

/// A failed call.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{what}")]
pub struct StoreError {
    /// What it means.
    pub kind: StoreErrorKind,
    /// What happened, in one line, with the key and the place, and without credentials.
    pub what: String,
}

impl StoreError {
    /// One of a kind.
    pub fn new(kind: StoreErrorKind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
        }
    }
}

/// Where a range lies in an object of `len` bytes; `Short` when it goes beyond the end.
pub(crate) fn range_of(
    key: &str,
    range: &Range<u64>,
    len: u64,
) -> Result<Range<usize>, StoreError> {
    let (from, to) = (range.start, range.end.max(range.start));
    if to > len {
        let what = format!("{key} has {len} bytes, and {from}..{to} were asked for");
        return Err(StoreError::new(StoreErrorKind::Short, what));
    }
    let at = |pos: u64| usize::try_from(pos).unwrap_or(usize::MAX);
    Ok(at(from)..at(to))
}

/// A part of a source, which has to be as long as it says.
pub(crate) async fn whole(source: &dyn Source, range: Range<u64>) -> Result<Bytes, StoreError> {
    let wanted = range.end - range.start;
    let failed = |what: String| StoreError::new(StoreErrorKind::Source, what);
    match source.read(range).await {
        Ok(bytes) if bytes.len() as u64 == wanted => Ok(bytes),
        Ok(bytes) => Err(failed(format!(
            "the source gave {} bytes where {wanted} were asked for",
            bytes.len()
        ))),
        Err(error) => Err(failed(format!("cannot read what is to be stored: {error}"))),
    }
}
