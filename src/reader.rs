//! Choosing how a reader reads.

use std::{future::IntoFuture, sync::Arc};

use futures::future::BoxFuture;
use tierlog_actors::{
    Error,
    read::{Attached, From, ReadContext, Reader, ReaderOptions},
    stream::{marks::Level, shared::StreamShared},
};

/// A reader to be: await it, or [`wait`](Self::wait) outside Tokio.
///
/// Without more said it reads what is durable, ends there, and stops at damage.
///
/// ```
/// use tierlog::{From, Kind, Settings, Supervisor, TryRead};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tierlog::Error> {
/// # let dir = tempfile::tempdir().unwrap();
/// # let supervisor = Supervisor::open(Settings::new(dir.path().join("log"))).await?;
/// # let orders = supervisor.log().stream("orders").await?;
/// let mut reader = orders.reader(From::Latest).follow().await?;
/// // Asked instead of awaited, a reader that follows says that it stands at the end.
/// assert!(matches!(reader.try_next().now(), Err(TryRead::WouldBlock(Kind::Tail))));
///
/// orders.append("news").await?;
/// let record = reader.try_next().await?.expect("it follows");
/// assert_eq!(&record.payload[..], b"news");
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "nothing is read until it is awaited"]
pub struct ReaderBuilder {
    source: Source,
    stream: Arc<StreamShared>,
    from: From,
    options: ReaderOptions,
}

#[derive(Debug)]
enum Source {
    Live(Arc<ReadContext>),
    Attached(Arc<Attached>),
}

impl ReaderBuilder {
    pub(crate) fn live(context: Arc<ReadContext>, stream: Arc<StreamShared>, from: From) -> Self {
        Self {
            source: Source::Live(context),
            stream,
            from,
            options: ReaderOptions::default(),
        }
    }

    pub(crate) fn attached(log: Arc<Attached>, stream: Arc<StreamShared>, from: From) -> Self {
        Self {
            source: Source::Attached(log),
            stream,
            from,
            options: ReaderOptions::default(),
        }
    }

    /// At the end, wait for more instead of ending.
    pub fn follow(mut self) -> Self {
        self.options.follow = true;
        self
    }

    /// Read what is written, instead of only what is durable. What is written and not durable may
    /// be gone after a crash; the reader is then told `Truncated`.
    pub fn level(mut self, level: Level) -> Self {
        self.options.level = level;
        self
    }

    /// Go on behind damage instead of stopping there; [`Reader::gaps`] lists what was missed.
    pub fn skip_damage(mut self) -> Self {
        self.options.skip_damage = true;
        self
    }

    /// Opens it on the calling thread. For threads outside Tokio.
    ///
    /// # Errors
    /// As awaiting it.
    pub fn wait(self) -> Result<Reader, Error> {
        crate::stream::block_on(self.into_future())
    }
}

impl IntoFuture for ReaderBuilder {
    type Output = Result<Reader, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        let Self {
            source,
            stream,
            from,
            options,
        } = self;
        Box::pin(async move {
            match source {
                Source::Live(context) => Reader::open(context, stream, from, options).await,
                Source::Attached(log) => log.reader(&stream, from, options).await,
            }
        })
    }
}
