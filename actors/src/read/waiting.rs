//! At the end of what may be read.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::sync::watch::Receiver;

use super::{cursor::Reader, source::Ending};
use crate::{error::Error, stream::shared::Watermarks};

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
        if !self.options.follow {
            return Poll::Ready(AtTail::End);
        }
        if self.tail.changed.is_none() {
            let mut watch = self.tail.idle.take().unwrap_or_else(|| self.stream.watch());
            // First what was published so far counts as seen, and then the state is read: whatever
            // changes behind this line wakes us, and whatever changed before it is seen below.
            watch.mark_unchanged();
            if let Some(now) = self.changed_meanwhile() {
                self.tail.idle = Some(watch);
                return Poll::Ready(now);
            }
            self.tail.changed = Some(Box::pin(async move {
                // The sender lives in the stream, which the reader holds: this can't fail, and if
                // it did, the state would only be read once more.
                let _ = watch.changed().await;
                watch
            }));
        }
        if let Some(changed) = &mut self.tail.changed {
            let watch = ready!(changed.as_mut().poll(cx));
            self.tail.changed = None;
            self.tail.idle = Some(watch);
        }
        Poll::Ready(AtTail::LookAgain)
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
