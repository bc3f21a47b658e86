//! The next record, in the way that suits the caller.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tierlog_storage::segment::Record;

use super::cursor::Reader;
use crate::{error::Error, kind::Kind};

/// The next record: `.await` it, or ask for it [`now`](Self::now), or [`wait`](Self::wait) on this
/// thread. `None` is the end. Dropping it loses nothing.
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited, asked or waited for"]
pub struct TryNext<'a>(&'a mut Reader);

/// Why there is no record now.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TryRead {
    /// It is not in memory, or not there yet.
    #[error("would block on {0}")]
    WouldBlock(Kind),
    /// It can't be read.
    #[error(transparent)]
    Failed(Error),
}

impl std::convert::From<TryRead> for Error {
    fn from(failed: TryRead) -> Self {
        match failed {
            TryRead::WouldBlock(kind) => Self::WouldBlock { kind },
            TryRead::Failed(error) => error,
        }
    }
}

impl<'a> TryNext<'a> {
    pub(super) fn new(reader: &'a mut Reader) -> Self {
        Self(reader)
    }

    /// The record, if it is at hand. `WouldBlock(Tail)` where a reader that follows stands at the
    /// end; `WouldBlock(Hydration)` where the bytes must be fetched, which this call has begun.
    ///
    /// # Errors
    /// Why there is none.
    pub fn now(self) -> Result<Option<Record>, TryRead> {
        let mut cx = Context::from_waker(Waker::noop());
        // The task's budget must not be mistaken for a reason to wait.
        self.0.polite = false;
        match self.0.poll_record(&mut cx) {
            Poll::Ready(outcome) => outcome.map_err(TryRead::Failed),
            Poll::Pending => {
                let kind = match self.0.flight {
                    Some(_) => Kind::Hydration,
                    None => Kind::Tail,
                };
                self.0.ctx.meters.refused(kind);
                Err(TryRead::WouldBlock(kind))
            }
        }
    }

    /// Waits on the calling thread. For threads outside Tokio.
    ///
    /// # Errors
    /// What keeps the reader from giving the next record.
    pub fn wait(self) -> Result<Option<Record>, Error> {
        futures::executor::block_on(self)
    }
}

impl Future for TryNext<'_> {
    type Output = Result<Option<Record>, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.polite = true;
        self.0.poll_record(cx)
    }
}
