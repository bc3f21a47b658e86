//! Opening and closing a log.

use std::{sync::Arc, time::Duration};

use tierlog_actors::{
    Error,
    context::Totals,
    protocol::supervisor::{Health, ShutdownReport},
    restore::{Restored, restore},
    supervisor::{Injected, SupervisorHandle, start},
};
use tierlog_storage::recovery::RecoveryReport;

use crate::{handles, log::Log, parts::Parts, settings::Settings};

/// An open log. It is not cloned: whoever has it decides when the log ends.
///
/// Dropping it without [`shutdown`](Self::shutdown) is like a crash of the log alone: what was
/// acked stays, every ticket and reader ends, and the next open recovers.
#[derive(Debug)]
pub struct Supervisor {
    handle: SupervisorHandle,
    closed: bool,
}

impl Supervisor {
    /// Opens the log in `settings.data`, creating it where the directory is missing or empty, and
    /// starts its actors on the current Tokio runtime.
    ///
    /// When it returns the directory is locked, a new owner epoch is durable, and whatever an
    /// unclean stop left behind was recovered; [`recovery`](Self::recovery) tells what. A recorder
    /// of the `metrics` facade that is to see this log has to be installed before.
    ///
    /// # Errors
    /// `Settings` when they can't work; `Storage` when the directory is in use, is not a log, is a
    /// log of a newer version, or can't be read or written. Somebody else's files are left alone.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn open(settings: Settings) -> Result<Self, Error> {
        Self::open_with_parts(settings, Parts::new()).await
    }

    /// [`open`](Self::open) with what the app brings along.
    ///
    /// # Errors
    /// As [`open`](Self::open); `Settings` also when the parts can't work, or contradict the settings.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub async fn open_with_parts(settings: Settings, parts: Parts) -> Result<Self, Error> {
        let options = handles::options(&settings)?;
        let injected = handles::real(&settings, &options, parts)?;
        let handle = start(options, injected).await?;
        Ok(Self {
            handle,
            closed: false,
        })
    }

    /// [`open`](Self::open) with another disk, clock or executor, or with armed faults.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    #[doc(hidden)]
    pub async fn open_with(settings: Settings, injected: Injected) -> Result<Self, Error> {
        let options = handles::options(&settings)?;
        let handle = start(options, injected).await?;
        Ok(Self {
            handle,
            closed: false,
        })
    }

    /// Makes a log of what its Tier 2 holds (`settings.cold`), in a directory that is missing or empty
    /// (`settings.data`). Every archived record is there when this returns: the segments are in Tier 2 and
    /// come here as they are read. `progress` is told how many objects were looked at, of how many.
    ///
    /// Whoever opens the log takes Tier 2 over from the owner that it had: that one is fenced. Had it
    /// published anything between the restore and the open, the open is refused with `Fenced`, and the log
    /// has to be restored again.
    ///
    /// # Errors
    /// `Settings` when they can't work, or name no Tier 2; `Tier2` when there is no log, or an
    /// object of it is missing; `Unavailable` when the store does not answer; `Storage` when the directory
    /// holds anything, or can't be written. Nothing counts as a log then.
    pub async fn restore(
        settings: Settings,
        progress: impl FnMut(u64, u64),
    ) -> Result<Restored, Error> {
        Self::restore_with_parts(settings, Parts::new(), progress).await
    }

    /// [`restore`](Self::restore) from the store that the app brings along.
    ///
    /// # Errors
    /// As [`restore`](Self::restore); `Settings` also when the parts can't work, or contradict the
    /// settings.
    pub async fn restore_with_parts(
        settings: Settings,
        parts: Parts,
        progress: impl FnMut(u64, u64),
    ) -> Result<Restored, Error> {
        let options = handles::options(&settings)?;
        let injected = handles::real(&settings, &options, parts)?;
        restore(options, injected, progress).await
    }

    /// [`restore`](Self::restore) with another disk, clock, executor or store.
    ///
    /// # Errors
    /// As [`restore`](Self::restore).
    #[doc(hidden)]
    pub async fn restore_with(settings: Settings, injected: Injected) -> Result<Restored, Error> {
        restore(handles::options(&settings)?, injected, |_, _| ()).await
    }

    /// The handle to streams. Cheap to clone, and of use only while this log is open.
    pub fn log(&self) -> Log {
        Log::new(self.handle.clone())
    }

    /// What opening the log, or the last restart within, found and did.
    pub fn recovery(&self) -> RecoveryReport {
        self.handle.shared.recovery()
    }

    /// How the log is: restarts, failed streams, bytes held. Answers at once, even when actors don't.
    pub async fn health(&self) -> Health {
        self.handle.shared.health()
    }

    /// Totals since it was opened.
    pub fn counters(&self) -> Totals {
        self.handle.shared.log.counters.totals()
    }

    /// Refuses new appends, makes everything accepted durable, marks each stream's end, and says
    /// in the manifest that the log was closed cleanly. What is not done at the deadline is
    /// reported, its tickets end, and the next open recovers.
    ///
    /// The directory is free for the next owner when this returns, unless a write that does not end
    /// still holds it.
    ///
    /// Not cancel-safe in one way: dropping the future drops the log, as a crash would.
    ///
    /// # Errors
    /// `Closed` or `LogFailed` when the log had ended before.
    pub async fn shutdown(mut self, deadline: Duration) -> Result<ShutdownReport, Error> {
        let report = self.handle.shutdown(deadline).await;
        self.closed = true;
        report
    }

    #[doc(hidden)]
    pub fn context(&self) -> Arc<tierlog_actors::supervisor::LogShared> {
        Arc::clone(&self.handle.shared)
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        if !self.closed {
            self.handle.kill();
        }
    }
}
