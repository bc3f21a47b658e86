//! Where time stamps come from, so that a test can make the clock jump.

use std::{fmt, time::SystemTime};

/// Wall-clock time. Records carry max(clock, last), so a clock that jumps back never makes time
/// stamps of a stream fall.
pub trait Clock: Send + Sync + fmt::Debug + 'static {
    /// Nanoseconds since 1970-01-01 UTC.
    fn now_ns(&self) -> u64;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now_ns(&self) -> u64 {
        // A clock before 1970 counts as 1970; past 2554 it stays there.
        SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| {
                u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
            })
    }
}
