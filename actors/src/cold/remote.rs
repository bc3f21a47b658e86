//! An object, read as if it were a file, by threads that are meant to wait for it.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use tierlog_cold::{
    client::Client,
    store::{StoreError, StoreErrorKind},
};
use tierlog_storage::{catalog::SegmentKey, disk::DiskFile, segment::Latched};
use tokio::{runtime::Handle, sync::watch};

/// Windows that are kept, of all objects together.
const WINDOWS: usize = 8;
/// The most bytes that are fetched beyond what was asked for.
const AHEAD_MAX: u64 = 2 << 20;
/// What is fetched beyond it where reading goes on for the first time.
const AHEAD_FIRST: u64 = 256 << 10;

/// What one who reads all of an object fetches at once, in parts of so many bytes, so many at a time.
const WHOLE: u64 = 8 << 20;
const PART: u64 = 2 << 20;
const AT_ONCE: usize = 4;

/// Whoever wants to read holds the other end, and the reads end with them.
pub type Alive = watch::Receiver<()>;

/// Reads objects.
pub struct Remote {
    client: Client,
    /// The calls of a store need a runtime; those who wait for them are plain threads.
    runtime: Handle,
    windows: Mutex<VecDeque<Window>>,
}

/// A stretch of an object that was fetched.
#[derive(Debug, Clone)]
struct Window {
    key: SegmentKey,
    from: u64,
    bytes: Bytes,
    /// How much more than was asked for it holds.
    ahead: u64,
}

impl Window {
    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }
}

impl Remote {
    /// Reads through a client, on the runtime of the caller.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(client: Client) -> Arc<Self> {
        Arc::new(Self {
            client,
            runtime: Handle::current(),
            windows: Mutex::default(),
        })
    }

    /// The object of a segment, as a file. It is opened when it is read for the first time. A read ends
    /// with the store's answer.
    pub fn file(self: &Arc<Self>, key: SegmentKey, len: u64) -> Latched {
        let file = RemoteFile {
            remote: Arc::clone(self),
            key,
            len,
            alive: None,
            whole: None,
        };
        Latched::new(Arc::new(file), key.to_string().into())
    }

    /// The same for one who reads all of it, from its beginning to its end: more comes at once, of which
    /// nothing is kept for others, nor taken from what was read before. The reads end when those are gone
    /// who wanted it, if it is told of them.
    pub fn whole(self: &Arc<Self>, key: SegmentKey, len: u64, alive: Option<Alive>) -> Latched {
        let file = RemoteFile {
            remote: Arc::clone(self),
            key,
            len,
            alive,
            whole: Some(Mutex::default()),
        };
        Latched::new(Arc::new(file), key.to_string().into())
    }

    /// Forgets what it holds of a segment: what a store has sent may be other bytes than it holds.
    pub fn forget(&self, key: &SegmentKey) {
        self.lock().retain(|window| window.key != *key);
    }

    /// The bytes of a range, some of which may be at hand. Blocks.
    fn read(&self, file: &RemoteFile, range: Range<u64>) -> io::Result<Bytes> {
        let RemoteFile { key, len, .. } = file;
        let ahead = {
            let windows = self.lock();
            let mut own = windows.iter().filter(|window| window.key == *key);
            if let Some(window) = own
                .clone()
                .find(|window| window.from <= range.start && range.end <= window.end())
            {
                let at = |pos: u64| usize::try_from(pos - window.from).unwrap_or(usize::MAX);
                return Ok(window.bytes.slice(at(range.start)..at(range.end)));
            }
            // Reading goes on behind what was fetched before, or in it.
            own.find(|window| (window.from..=window.end()).contains(&range.start))
                .map_or(0, |window| (window.ahead * 2).clamp(AHEAD_FIRST, AHEAD_MAX))
        };
        let fetch = range.start..range.end.saturating_add(ahead).min(*len).max(range.end);
        let bytes = self.fetch(file, fetch.clone())?;
        let asked = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let part = bytes.slice(..asked.min(bytes.len()));
        let window = Window {
            key: *key,
            from: fetch.start,
            bytes,
            ahead,
        };
        let mut windows = self.lock();
        // What was read before is not read again by one who goes on.
        windows.retain(|known| known.key != *key);
        if windows.len() == WINDOWS {
            windows.pop_front();
        }
        windows.push_back(window);
        Ok(part)
    }

    /// The same for one who reads all of it.
    fn read_on(
        &self,
        file: &RemoteFile,
        at_hand: &Mutex<Stretch>,
        range: Range<u64>,
    ) -> io::Result<Bytes> {
        let mut at_hand = at_hand.lock().unwrap_or_else(PoisonError::into_inner);
        let (from, bytes) = &*at_hand;
        let end = *from + bytes.len() as u64;
        if !(*from..end).contains(&range.start) || end < range.end {
            // What is at hand goes before the next of it comes.
            *at_hand = Stretch::default();
            let fetch = range.start..(range.start + WHOLE).min(file.len).max(range.end);
            *at_hand = (range.start, self.fetch(file, fetch)?);
        }
        let (from, bytes) = &*at_hand;
        let at = |pos: u64| usize::try_from(pos - from).unwrap_or(usize::MAX);
        let (begin, end) = (at(range.start), at(range.end));
        Ok(bytes.slice(begin.min(bytes.len())..end.min(bytes.len())))
    }

    /// Empty where the object ends before.
    fn fetch(&self, file: &RemoteFile, range: Range<u64>) -> io::Result<Bytes> {
        let (client, key) = (&self.client, file.key.to_string());
        let alive = file.alive.clone();
        let _entered = self.runtime.enter();
        let fetched = futures::executor::block_on(async move {
            tokio::select! {
                biased;
                () = over(alive) => Err(None),
                read = in_parts(client, &key, range) => read.map_err(Some),
            }
        });
        let error = match fetched {
            Ok(bytes) => return Ok(bytes),
            Err(None) => return Err(io::Error::other("nobody waits for it any more")),
            Err(Some(error)) if error.kind == StoreErrorKind::Short => return Ok(Bytes::new()),
            Err(Some(error)) => error,
        };
        let kind = match error.kind {
            StoreErrorKind::Missing => io::ErrorKind::NotFound,
            StoreErrorKind::Denied => io::ErrorKind::PermissionDenied,
            StoreErrorKind::Unsupported => io::ErrorKind::Unsupported,
            _ => io::ErrorKind::TimedOut,
        };
        Err(io::Error::new(kind, error))
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Window>> {
        self.windows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a range, several parts of a long one at the same time.
async fn in_parts(client: &Client, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
    if range.end - range.start <= PART {
        return client.read(key, range).await;
    }
    let parts = range.clone().step_by(PART as usize);
    let reads = parts.map(|from| client.read(key, from..(from + PART).min(range.end)));
    let whole = Vec::with_capacity(usize::try_from(range.end - range.start).unwrap_or(0));
    let read = stream::iter(reads).buffered(AT_ONCE);
    let whole = read.try_fold(whole, |mut whole, part| async move {
        whole.extend_from_slice(&part);
        Ok(whole)
    });
    whole.await.map(Bytes::from)
}

/// Comes back when nobody is left.
async fn over(alive: Option<Alive>) {
    match alive {
        Some(mut alive) => while alive.changed().await.is_ok() {},
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct RemoteFile {
    remote: Arc<Remote>,
    key: SegmentKey,
    len: u64,
    alive: Option<Alive>,
    /// What is at hand for one who reads all of it.
    whole: Option<Mutex<Stretch>>,
}

/// Bytes of an object, and where they begin.
type Stretch = (u64, Bytes);

impl DiskFile for RemoteFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let end = pos.saturating_add(buf.len() as u64).min(self.len);
        if pos >= end {
            return Ok(0);
        }
        let bytes = match &self.whole {
            Some(at_hand) => self.remote.read_on(self, at_hand, pos..end)?,
            None => self.remote.read(self, pos..end)?,
        };
        buf[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    /// As it was uploaded. An object of another length ends before it, or its checksums don't match.
    fn len(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn map_read_only(&self, _: u64) -> io::Result<Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
