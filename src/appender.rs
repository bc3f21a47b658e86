//! The client-side batcher.

use tierlog_actors::{
    Error, Kind,
    stream::{shared::Refusal, ticket::Ticket},
};
use tierlog_storage::segment::FrameBuilder;

use crate::stream::Stream;

/// The clock is asked once for so many records.
const STAMP_EVERY: u32 = 16;

/// What a record takes at most beside its payload: length, time, and the frame's padding.
const PER_RECORD: usize = 32;

/// Encodes records into a local buffer of 64 KiB (a quarter of a segment, where that is less) and
/// sends whole buffers: the fastest way to append, at the price that a record waits here until its
/// buffer is full or [`send`](Self::send) is called.
///
/// Records that were pushed and not sent are not in the log. Dropping the appender tries to send
/// them without waiting, and loses them where there is no room: call [`send`](Self::send). What was
/// sent is written together, as one frame: after a crash all of a buffer is there, or none of it.
/// Time stamps are taken for every sixteenth record.
///
/// It has one owner and is not cloned; several appenders of one stream interleave by whole buffers.
///
/// ```
/// # use tierlog::{Settings, Supervisor};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tierlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
/// let events = supervisor.log().stream("events").await?;
/// let mut appender = events.appender();
/// for n in 0..10_000 {
///     appender.push(format!("event {n}").as_bytes()).await?;
/// }
/// appender.send().await?;
/// assert_eq!(events.flush().await?.get(), 10_000);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Appender {
    stream: Stream,
    buffer: Box<FrameBuilder>,
    stamp: u64,
    /// Bytes at which the buffer is full.
    target: usize,
    /// The largest record.
    limit: usize,
}

impl Appender {
    pub(crate) fn new(stream: Stream) -> Self {
        let (stamp, target) = (stream.now_ns(), stream.frame_target());
        let limit = stream.shared().max_record();
        Self {
            stream,
            buffer: fresh(target),
            stamp,
            target,
            limit,
        }
    }

    /// Copies a record into the buffer. When it does not fit any more, the buffer is sent first,
    /// and the ticket of what was sent comes back.
    ///
    /// # Errors
    /// `WouldBlock` when the buffer had to be sent and there is no room, `RecordTooLarge`, or
    /// whatever makes the stream refuse. Then nothing of `payload` was taken.
    #[inline]
    pub fn try_push(&mut self, payload: &[u8]) -> Result<Option<Ticket>, Error> {
        self.take(payload).inspect_err(|error| self.note(error))
    }

    #[inline]
    fn take(&mut self, payload: &[u8]) -> Result<Option<Ticket>, Error> {
        // First: where the limit is less than a buffer, what is over it may well fit.
        self.check(payload)?;
        let sent = if self.fits(payload) {
            None
        } else {
            self.offer()?
        };
        let count = self.buffer.count();
        if count.is_multiple_of(STAMP_EVERY) {
            self.stamp = self.stream.now_ns();
        }
        self.buffer.push_payload(self.stamp, payload);
        Ok(sent)
    }

    /// [`try_push`](Self::try_push), waiting for room. Cancel-safe: dropped while it waits, the
    /// record was not taken.
    ///
    /// # Errors
    /// As [`try_push`](Self::try_push), but for `WouldBlock`.
    pub async fn push(&mut self, payload: &[u8]) -> Result<Option<Ticket>, Error> {
        loop {
            match self.take(payload) {
                Err(Error::WouldBlock { kind }) => self.wait(kind).await,
                outcome => return outcome,
            }
        }
    }

    /// Sends what is buffered, if anything is; the ticket covers all of it.
    ///
    /// # Errors
    /// `WouldBlock` when there is no room, or whatever makes the stream refuse. Then everything is
    /// still buffered.
    pub fn try_send(&mut self) -> Result<Option<Ticket>, Error> {
        self.offer().inspect_err(|error| self.note(error))
    }

    fn offer(&mut self) -> Result<Option<Ticket>, Error> {
        if self.buffer.is_empty() {
            return Ok(None);
        }
        let buffer = std::mem::replace(&mut self.buffer, fresh(self.target));
        match self.stream.shared().submit_encoded(buffer) {
            Ok(ticket) => Ok(Some(ticket)),
            Err((refusal, buffer)) => {
                self.buffer = buffer;
                Err(match refusal {
                    Refusal::WouldBlock(kind) => Error::WouldBlock { kind },
                    Refusal::Failed(error) => error,
                })
            }
        }
    }

    /// [`try_send`](Self::try_send), waiting for room. Cancel-safe: dropped while it waits,
    /// everything is still buffered.
    ///
    /// # Errors
    /// As [`try_send`](Self::try_send), but for `WouldBlock`.
    pub async fn send(&mut self) -> Result<Option<Ticket>, Error> {
        loop {
            match self.offer() {
                Err(Error::WouldBlock { kind }) => self.wait(kind).await,
                outcome => return outcome,
            }
        }
    }

    /// Records that are buffered and not sent.
    pub fn pending(&self) -> usize {
        self.buffer.count() as usize
    }

    #[cold]
    fn note(&self, error: &Error) {
        if let Error::WouldBlock { kind } = error {
            self.stream.refused(*kind);
        }
    }

    async fn wait(&self, kind: Kind) {
        self.stream.ready_for(kind, self.buffer.len()).await;
    }

    #[inline]
    fn fits(&self, payload: &[u8]) -> bool {
        self.buffer.len() + payload.len() + PER_RECORD <= self.target
    }

    /// A record that is larger than a buffer gets one of its own, up to the limit.
    #[inline]
    fn check(&self, payload: &[u8]) -> Result<(), Error> {
        let (len, limit) = (payload.len(), self.limit);
        if len > limit {
            Err(Error::RecordTooLarge { len, limit })
        } else {
            Ok(())
        }
    }
}

fn fresh(target: usize) -> Box<FrameBuilder> {
    Box::new(FrameBuilder::new(target - 64))
}

impl Drop for Appender {
    fn drop(&mut self) {
        let pending = self.pending();
        if pending > 0
            && let Err(error) = self.try_send()
        {
            tracing::warn!(target: "tierlog::appender", pending, %error, "buffered records were dropped with their appender");
        }
    }
}
