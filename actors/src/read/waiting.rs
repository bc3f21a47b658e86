//! At the end of what may be read.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::{cursor::Reader, source::Ending};
use crate::{
    error::Error,
    stream::shared::{StreamShared, Watermarks},
    sync::watch::Receiver,
};

type Changed = Pin<Box<dyn Future<Output = Receiver<Watermarks>> + Send>>;

/// What a reader waits with at the end. It is kept when a call is cancelled, and made anew after
/// each change.
#[derive(Default)]
pub(super) struct TailWait {
    idle: Option<Receiver<Watermarks>>,
    changed: Option<Changed>,
}

impl fmt::Debug for TailWait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TailWait")
            .field("waiting", &self.changed.is_some())
            .finish()
    }
}

impl TailWait {
    /// A receiver for which everything published so far counts as seen: whatever changes behind
    /// this call wakes who waits for it, and whatever changed before is seen by who looks next.
    pub(super) fn begin(&mut self, stream: &StreamShared) -> Receiver<Watermarks> {
        let mut watch = self.idle.take().unwrap_or_else(|| stream.watch());
        watch.mark_unchanged();
        watch
    }

    /// There was no need to wait.
    pub(super) fn keep(&mut self, watch: Receiver<Watermarks>) {
        self.idle = Some(watch);
    }

    /// Waits for the next change.
    pub(super) fn wait(&mut self, mut watch: Receiver<Watermarks>) {
        self.changed = Some(Box::pin(async move {
            // The sender lives in the stream, which the reader holds: this can't fail, and if it
            // did, the state would only be read once more.
            let _ = watch.changed().await;
            watch
        }));
    }

    pub(super) fn waits(&self) -> bool {
        self.changed.is_some()
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(changed) = &mut self.changed {
            let watch = ready!(changed.as_mut().poll(cx));
            self.changed = None;
            self.idle = Some(watch);
        }
        Poll::Ready(())
    }
}

/// What a reader at the end does next.
pub(super) enum AtTail {
    /// Something has changed.
    LookAgain,
    /// It ends.
    End,
    /// It ends with an error.
    Failed(Error),
}

impl Reader {
    pub(super) fn poll_tail(&mut self, cx: &mut Context<'_>) -> Poll<AtTail> {
        self.leave();
        if !self.options.follow {
            return Poll::Ready(AtTail::End);
        }
        if !self.tail.waits() {
            let watch = self.tail.begin(&self.stream);
            if let Some(now) = self.changed_meanwhile() {
                self.tail.keep(watch);
                return Poll::Ready(now);
            }
            self.tail.wait(watch);
        }
        self.tail.poll(cx).map(|()| AtTail::LookAgain)
    }

    fn changed_meanwhile(&self) -> Option<AtTail> {
        let moved = self.stream.incarnation() != self.life.number
            || self.stream.start() > self.position
            || self.limit() > self.position;
        if moved {
            return Some(AtTail::LookAgain);
        }
        // The door is asked only behind the watermark: what it closed over is readable by now.
        match self.options.closing.ending(&self.stream, self.position) {
            Ending::Open => None,
            _ if self.limit() > self.position => Some(AtTail::LookAgain),
            Ending::Drained => Some(AtTail::End),
            Ending::Failed(error) => Some(AtTail::Failed(error)),
        }
    }
}
