//! Ctrl-C, and a reader of our output that went away.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::exit::Ending;

/// What a command that only reads gets, once interrupted, to come back by itself. It may sit in a
/// write to a pipe that nobody empties (`tierlog read | less`).
const READER_GRACE: Duration = Duration::from_secs(1);

/// What ended a command from outside. Each has the exit code that a shell gives to a command that
/// such a signal has killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Ctrl-C.
    Interrupt,
    /// What service managers send.
    Terminate,
    /// The terminal is gone.
    Hangup,
}

impl Stop {
    pub(crate) const fn code(self) -> u8 {
        128 + self.signal()
    }

    /// The same numbers on every Unix.
    const fn signal(self) -> u8 {
        match self {
            Self::Interrupt => 2,
            Self::Terminate => 15,
            Self::Hangup => 1,
        }
    }
}

/// Tells whether Ctrl-C came, or something like it. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt(watch::Receiver<Option<Stop>>);

/// Whether a command holds anything that must be put in order before it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Holds {
    /// It only reads: it can end anywhere.
    Nothing,
    /// It writes: it ends by itself, or at a second Ctrl-C.
    Log,
}

impl Interrupt {
    /// Catches SIGINT, SIGTERM and SIGHUP from now on.
    pub(crate) fn listen(holds: Holds) -> Result<Self, Ending> {
        let mut signals = Signals::catch()?;
        let (tell, told) = watch::channel(None);
        tokio::spawn(async move {
            let stop = signals.next().await;
            tell.send_replace(Some(stop));
            match holds {
                Holds::Nothing => tokio::time::sleep(READER_GRACE).await,
                Holds::Log => drop(signals.next().await),
            }
            std::process::exit(stop.code().into());
        });
        Ok(Self(told))
    }

    /// Waits for it.
    pub(crate) async fn fired(&self) -> Ending {
        // The sender lives as long as the process, so this can't fail; if it did, nothing would
        // ever interrupt.
        match self
            .0
            .clone()
            .wait_for(Option::is_some)
            .await
            .map(|stop| *stop)
        {
            Ok(Some(stop)) => Ending::Stopped(stop),
            _ => std::future::pending().await,
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
            stopped = self.fired() => Err(stopped),
            done = work => done,
        }
    }
}

/// The signals that are caught.
struct Signals([Option<Signal>; 3]);

impl Signals {
    const STOPS: [Stop; 3] = [Stop::Interrupt, Stop::Terminate, Stop::Hangup];

    fn catch() -> Result<Self, Ending> {
        let ignored = ignored();
        let catch = |stop: Stop| {
            // `nohup` and a shell's background jobs start us with signals ignored, and mean it.
            if ignored & 1 << (stop.signal() - 1) != 0 {
                return Ok(None);
            }
            signal(SignalKind::from_raw(stop.signal().into())).map(Some)
        };
        let failed = |error| Ending::failed(format!("cannot catch signals: {error}"), "try again");
        let [int, term, hup] = Self::STOPS.map(catch);
        // A limit on file sizes kills whoever passes it; caught, it is a full disk, which is waited
        // out. Nobody has to listen for that.
        let too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        drop(signal(too_large).map_err(failed)?);
        Ok(Self([
            int.map_err(failed)?,
            term.map_err(failed)?,
            hup.map_err(failed)?,
        ]))
    }

    async fn next(&mut self) -> Stop {
        poll_fn(|cx| {
            for (signal, stop) in self.0.iter_mut().zip(Self::STOPS) {
                if signal
                    .as_mut()
                    .is_some_and(|signal| signal.poll_recv(cx).is_ready())
                {
                    return Poll::Ready(stop);
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The signals that this process was started with ignored, a bit each, where the system tells.
fn ignored() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0)
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
