//! Ctrl-C, and a reader of our output that went away.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Ending;

/// What a command that only reads gets, once interrupted, to come back by itself. It may sit in a
/// write to a pipe that nobody empties (`tierlog read | less`).
const READER_GRACE: Duration = Duration::from_secs(1);

/// Tells whether Ctrl-C came. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<bool>);

/// Whether a command holds anything that must be put in order before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It only reads: it can end anywhere.
    Nothing,
    /// It writes: it ends by itself, or at a second Ctrl-C.
    Log,
}

impl Interrupt {
    /// Catches SIGINT and SIGTERM from now on.
    pub(crate) fn listen(holds: Holds) -> Result<Self, Ending> {
        let catch = |kind| {
            signal(kind).map_err(|error| {
                Ending::failed(format!("cannot catch signals: {error}"), "try again")
            })
        };
        let mut int = catch(SignalKind::interrupt())?;
        let mut term = catch(SignalKind::terminate())?;
        let (tell, told) = watch::channel(false);
        tokio::spawn(async move {
            either(&mut int, &mut term).await;
            tell.send_replace(true);
            match holds {
                Holds::Nothing => tokio::time::sleep(READER_GRACE).await,
                Holds::Log => either(&mut int, &mut term).await,
            }
            std::process::exit(130);
        });
        Ok(Self(told))
    }

    /// Waits for it.
    pub(crate) async fn fired(&self) {
        // The sender lives as long as the process, so this can't fail; if it did, nothing would
        // ever interrupt.
        if self.0.clone().wait_for(|fired| *fired).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Runs `work` until it is done or Ctrl-C comes. `work` is dropped then, so it must be safe to
    /// drop wherever it waits.
    pub(crate) async fn cut<T>(
        &self,
        work: impl Future<Output = Result<T, Ending>>,
    ) -> Result<T, Ending> {
        tokio::select! {
            biased;
            () = self.fired() => Err(Ending::Interrupted),
            done = work => done,
        }
    }
}

async fn either(int: &mut Signal, term: &mut Signal) {
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
}

/// Waits until whoever reads our stdout is gone. `read --follow | head -1` on a quiet stream would
/// otherwise stay for ever: the closed pipe shows at a write, and there is none.
pub(crate) async fn output_closed() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let watch = std::thread::Builder::new()
        .name("stdout-watch".into())
        .spawn(move || {
            use rustix::event::{PollFd, PollFlags, poll};
            let stdout = std::io::stdout();
            loop {
                let mut fds = [PollFd::new(&stdout, PollFlags::empty())];
                match poll(&mut fds, None) {
                    Err(rustix::io::Errno::INTR) => {}
                    Ok(_) if fds[0].revents().intersects(PollFlags::ERR) => break,
                    // A file or a terminal: nobody can close it on us.
                    _ => return,
                }
            }
            let _ = tell.send(());
        });
    if watch.is_err() || told.await.is_err() {
        std::future::pending::<()>().await;
    }
}
