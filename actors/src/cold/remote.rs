//! An object, read as if it were a file, by threads that are meant to wait for it.

use std::{
    collections::VecDeque,
    fmt, io,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, TryFutureExt, future, stream, stream::BoxStream};
use tierlog_cold::{
    client::Client,
    store::{StoreError, StoreErrorKind},
};
use tierlog_storage::{catalog::SegmentKey, disk::DiskFile, segment::Latched};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use crate::exec::wait;

/// Windows that are kept, of all objects together.
const WINDOWS: usize = 8;
/// The most bytes that are fetched beyond what was asked for.
const AHEAD_MAX: u64 = 2 << 20;
/// What is fetched beyond it where reading goes on for the first time.
const AHEAD_FIRST: u64 = 256 << 10;

/// One who reads all of an object gets it in parts of so many bytes, of which so many are on their way.
const PART: u64 = 8 << 20;
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
        // Empty where the object ends before.
        let key_text = key.to_string();
        let read = self.client.read(&key_text, fetch.clone()).map_ok(Some);
        let bytes = self.wait(file, read)?.unwrap_or_default();
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
        flow: &Mutex<Flow>,
        range: Range<u64>,
    ) -> io::Result<Bytes> {
        let mut flow = flow.lock().unwrap_or_else(PoisonError::into_inner);
        let goes_on = (flow.from..=flow.end()).contains(&range.start) && !flow.bytes.is_empty();
        if !goes_on {
            // One who looks at the head and the index first shall not have asked for all that follows.
            *flow = Flow::default();
            let key = file.key.to_string();
            let read = self.client.read(&key, range.clone()).map_ok(Some);
            flow.bytes = self.wait(file, read)?.unwrap_or_default();
            flow.from = range.start;
            return Ok(flow.bytes.clone());
        }
        while flow.end() < range.end {
            let end = flow.end();
            let begin = || Flow::parts(self, file, end);
            let parts = flow.parts.get_or_insert_with(begin);
            match self.wait(file, parts.next().map(Option::transpose)) {
                Ok(Some(part)) => flow.push(range.start, &part),
                // It ends before.
                Ok(None) => {
                    flow.parts = None;
                    break;
                }
                Err(error) => {
                    *flow = Flow::default();
                    return Err(error);
                }
            }
        }
        Ok(flow.slice(range))
    }

    /// Waits for the store.
    fn wait<T>(
        &self,
        file: &RemoteFile,
        answer: impl Future<Output = Result<Option<T>, StoreError>>,
    ) -> io::Result<Option<T>> {
        let alive = file.alive.clone();
        let _entered = self.runtime.enter();
        let answered = wait(async move {
            tokio::select! {
                biased;
                () = over(alive) => Err(None),
                answer = answer => answer.map_err(Some),
            }
        });
        let error = match answered {
            Ok(answer) => return Ok(answer),
            Err(None) => return Err(io::Error::other("nobody waits for it any more")),
            Err(Some(error)) if error.kind == StoreErrorKind::Short => return Ok(None),
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

/// An object as it comes to one who reads all of it, part by part.
#[derive(Default)]
struct Flow {
    /// What is at hand, and where that begins.
    from: u64,
    bytes: Bytes,
    /// What is on its way.
    parts: Option<Parts>,
}

type Parts = BoxStream<'static, Result<Bytes, StoreError>>;

impl Flow {
    /// Each part is a task, so that it comes while the thread that wants it writes what it has.
    fn parts(remote: &Remote, file: &RemoteFile, from: u64) -> Parts {
        let (client, runtime) = (remote.client.clone(), remote.runtime.clone());
        let (key, len) = (file.key.to_string(), file.len);
        let parts = (from..len).step_by(PART as usize).map(move |from| {
            let (client, key) = (client.clone(), key.clone());
            let read = async move { client.read(&key, from..(from + PART).min(len)).await };
            let mut read = read.boxed();
            // What is there at once needs no task, nor a runtime that has a thread for it.
            match (&mut read).now_or_never() {
                Some(part) => future::ready(part).left_future(),
                None => Coming(runtime.spawn(read)).right_future(),
            }
        });
        stream::iter(parts).buffered(AT_ONCE).boxed()
    }

    fn end(&self) -> u64 {
        self.from + self.bytes.len() as u64
    }

    /// One more part is at hand; nobody wants what lies before `wanted` any more.
    fn push(&mut self, wanted: u64, part: &Bytes) {
        let rest = self.slice(wanted..self.end());
        (self.from, self.bytes) = match rest.is_empty() {
            true => (self.end(), part.clone()),
            false => (wanted, [&rest[..], &part[..]].concat().into()),
        };
    }

    /// As much of a range as is at hand.
    fn slice(&self, range: Range<u64>) -> Bytes {
        let at = |pos: u64| usize::try_from(pos.saturating_sub(self.from)).unwrap_or(usize::MAX);
        let len = self.bytes.len();
        let (begin, end) = (at(range.start).min(len), at(range.end).min(len));
        self.bytes.slice(begin..end.max(begin))
    }
}

/// A part on its way. It is given up with the one who wanted it.
struct Coming(JoinHandle<Result<Bytes, StoreError>>);

impl Future for Coming {
    type Output = Result<Bytes, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // A runtime that shuts down ends its tasks.
        let ended = |_| StoreError::new(StoreErrorKind::Unknown, "the runtime is gone");
        let done = Pin::new(&mut self.0).poll(cx);
        done.map(|done| done.map_err(ended).flatten())
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.abort();
    }
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

struct RemoteFile {
    remote: Arc<Remote>,
    key: SegmentKey,
    len: u64,
    alive: Option<Alive>,
    /// For one who reads all of it.
    whole: Option<Mutex<Flow>>,
}

impl fmt::Debug for RemoteFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteFile")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl DiskFile for RemoteFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let end = pos.saturating_add(buf.len() as u64).min(self.len);
        if pos >= end {
            return Ok(0);
        }
        let bytes = match &self.whole {
            Some(flow) => self.remote.read_on(self, flow, pos..end)?,
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

#[cfg(test)]
mod tests;
