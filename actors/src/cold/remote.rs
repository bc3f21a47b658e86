//! An object, read as if it were a file, by threads that are meant to wait for it.

mod windows;

use std::{
    fmt, io,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt, future, stream, stream::BoxStream};
use tierlog_cold::{
    client::Client,
    store::{StoreError, StoreErrorKind},
};
use tierlog_storage::{catalog::SegmentKey, disk::DiskFile, segment::Latched};
use tokio::{runtime::Handle, sync::watch, task::JoinHandle};

use crate::exec::wait;

use windows::{Fetch, Window, Windows};

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
    windows: Mutex<Windows>,
    /// How often somebody has begun to wait for a window.
    #[cfg(test)]
    waits: std::sync::atomic::AtomicUsize,
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
            #[cfg(test)]
            waits: Default::default(),
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
        self.lock().forget(key);
    }

    /// The bytes of a range, some of which may be at hand. Blocks.
    fn read(&self, file: &RemoteFile, range: Range<u64>) -> io::Result<Bytes> {
        let (mut at, mut parts) = (range.start, Vec::new());
        let mut is_again = false;
        while at < range.end {
            let (window, is_own) = self.window(file, at..range.end);
            // What failed ahead, perhaps a while ago, says nothing about now. What fails while it is waited for does:
            // who waits shall not wait for two calls in turn.
            let is_stale = matches!(window.bytes().now_or_never(), Some(Err(_)));
            if is_stale && !is_own && !is_again {
                self.lock().let_go(&window);
                is_again = true;
                continue;
            }
            #[cfg(test)]
            self.waits.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            match self.wait(file, window.bytes()) {
                Ok(Some(bytes)) => {
                    let part = window.part(&bytes, at..range.end);
                    if part.is_empty() {
                        break;
                    }
                    at += part.len() as u64;
                    parts.push(part);
                }
                failed => {
                    self.lock().let_go(&window);
                    // It ends before.
                    failed?;
                    break;
                }
            }
        }
        Ok(match &parts[..] {
            [part] => part.clone(),
            parts => parts.concat().into(),
        })
    }

    /// The window that holds the beginning of a range, and whether it was begun for this. Whoever comes to the
    /// second half of one by reading on has the next one begun.
    fn window(&self, file: &RemoteFile, range: Range<u64>) -> (Window, bool) {
        let mut windows = self.lock();
        if let Some(window) = windows.find(&file.key, range.start) {
            if let Some(fetch) = windows.behind(&window, range.end, file.len) {
                windows.keep(self.begin(file, fetch));
            }
            return (window, false);
        }
        let fetch = windows.fetch(&file.key, &range, file.len);
        let window = self.begin(file, fetch);
        windows.keep(window.clone());
        (window, true)
    }

    /// Begins to fetch: it comes whether somebody waits for it meanwhile or not.
    fn begin(&self, file: &RemoteFile, fetch: Fetch) -> Window {
        let _entered = self.runtime.enter();
        let key = file.key.to_string();
        let bytes = coming(&self.client, &self.runtime, key, fetch.range.clone());
        Window::new(file.key, file.len, fetch, bytes.boxed().shared())
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
            let read = self.client.read(&key, range.clone());
            flow.bytes = self.wait(file, read)?.unwrap_or_default();
            flow.from = range.start;
            return Ok(flow.bytes.clone());
        }
        while flow.end() < range.end {
            let end = flow.end();
            let begin = || Flow::parts(self, file, end);
            let parts = flow.parts.get_or_insert_with(begin);
            // Behind the last one there is nothing.
            let short = || Err(StoreError::new(StoreErrorKind::Short, "the end"));
            match self.wait(file, parts.next().map(|part| part.unwrap_or_else(short))) {
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

    /// Waits for the store; `None` where the object ends before.
    fn wait<T>(
        &self,
        file: &RemoteFile,
        answer: impl Future<Output = Result<T, StoreError>>,
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
            Ok(answer) => return Ok(Some(answer)),
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

    fn lock(&self) -> MutexGuard<'_, Windows> {
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
        let parts = (from..len)
            .step_by(PART as usize)
            .map(move |from| coming(&client, &runtime, key.clone(), from..(from + PART).min(len)));
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

/// Begins to read a range.
fn coming(
    client: &Client,
    runtime: &Handle,
    key: String,
    range: Range<u64>,
) -> impl Future<Output = Result<Bytes, StoreError>> + Send + use<> {
    let client = client.clone();
    let mut read = async move { client.read(&key, range).await }.boxed();
    // What is there at once needs no task, nor a runtime that has a thread for it.
    match (&mut read).now_or_never() {
        Some(part) => future::ready(part).left_future(),
        None => Coming(runtime.spawn(read)).right_future(),
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
