//! When to sync, and how much room to allocate: pure decisions.

use tierlog_storage::planted;
use tokio::time::Instant;

use crate::options::FlushPolicy;

/// What is written and not durable.
#[derive(Debug, Clone, Copy)]
pub struct Unsynced {
    /// Bytes; 0 when there is nothing to sync.
    pub bytes: u64,
    /// When the oldest of them was written.
    pub since: Option<Instant>,
    /// Somebody waits for it whatever the policy says.
    pub urgent: bool,
    /// A sync is under way; the next one comes after it and covers all that gathers meanwhile.
    pub syncing: bool,
    /// Bytes at which the window of the stream is half full.
    pub half_window: u64,
}

/// When the next sync is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// At once.
    Now,
    /// At this moment, unless something changes.
    At(Instant),
    /// Not by itself.
    Never,
}

/// Decides.
pub fn when(policy: FlushPolicy, unsynced: Unsynced, now: Instant) -> When {
    let Some(since) = unsynced
        .since
        .filter(|_| unsynced.bytes > 0 && !unsynced.syncing)
    else {
        return When::Never;
    };
    let due = |at: Instant| match at <= now {
        true => When::Now,
        false if planted::is("idle_flush_without_timer") => When::Never,
        false => When::At(at),
    };
    if unsynced.urgent {
        return When::Now;
    }
    match policy {
        FlushPolicy::Always => When::Now,
        FlushPolicy::Manual => When::Never,
        // A window that fills up before the interval is over would refuse appends for nothing.
        _ if unsynced.bytes >= unsynced.half_window => When::Now,
        FlushPolicy::Every(interval) => due(since + interval),
        FlushPolicy::Bytes { bytes, .. } if unsynced.bytes >= bytes => When::Now,
        FlushPolicy::Bytes { idle, .. } => due(since + idle),
    }
}

/// The smallest step of allocation, in bytes: what ten small records should cost.
pub const FIRST_STEP: u64 = 16 * 1024;

/// How far to allocate when `need` bytes are needed and `allocated` are there: four times as far
/// each time, so that a stream of ten records stays small and a busy one soon has its whole
/// segment, in few calls.
pub fn allocate_to(allocated: u64, need: u64, full: u64) -> u64 {
    let mut target = allocated.max(FIRST_STEP);
    while target < need {
        target = target.saturating_mul(4);
    }
    // A segment's last record may need more than its nominal size: then exactly that.
    target.min(full.max(need))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn unsynced(bytes: u64, since: Instant) -> Unsynced {
        Unsynced {
            bytes,
            since: Some(since),
            urgent: false,
            syncing: false,
            half_window: 1_000,
        }
    }

    #[test]
    fn each_policy_syncs_when_it_says() {
        let now = Instant::now();
        let ms = Duration::from_millis;
        let every = FlushPolicy::Every(ms(5));
        let bytes = FlushPolicy::Bytes {
            bytes: 100,
            idle: ms(50),
        };
        let some = unsynced(10, now);
        assert_eq!(when(FlushPolicy::Always, some, now), When::Now);
        assert_eq!(
            when(FlushPolicy::Manual, some, now + ms(10_000)),
            When::Never
        );
        assert_eq!(when(every, some, now), When::At(now + ms(5)));
        assert_eq!(when(every, some, now + ms(5)), When::Now);
        assert_eq!(
            when(bytes, some, now),
            When::At(now + ms(50)),
            "an idle record has a timer"
        );
        assert_eq!(when(bytes, unsynced(100, now), now), When::Now);
    }

    #[test]
    fn urgency_overrides_the_policy_and_a_running_sync_overrides_all() {
        let now = Instant::now();
        let urgent = Unsynced {
            urgent: true,
            ..unsynced(1, now)
        };
        assert_eq!(when(FlushPolicy::Manual, urgent, now), When::Now);
        let syncing = Unsynced {
            syncing: true,
            ..urgent
        };
        assert_eq!(when(FlushPolicy::Always, syncing, now), When::Never);
        let nothing = Unsynced { bytes: 0, ..urgent };
        assert_eq!(when(FlushPolicy::Always, nothing, now), When::Never);
    }

    #[test]
    fn a_window_that_is_half_full_is_synced_early_unless_by_hand() {
        let now = Instant::now();
        let full = unsynced(1_000, now);
        assert_eq!(
            when(FlushPolicy::Every(Duration::from_secs(9)), full, now),
            When::Now
        );
        assert_eq!(when(FlushPolicy::Manual, full, now), When::Never);
    }

    #[test]
    fn allocation_grows_fast_and_ends_at_the_segment() {
        let full = 1 << 20;
        assert_eq!(allocate_to(0, 200, full), FIRST_STEP);
        assert_eq!(
            allocate_to(FIRST_STEP, FIRST_STEP + 1, full),
            4 * FIRST_STEP
        );
        assert_eq!(allocate_to(0, full, full), full);
        assert_eq!(allocate_to(0, full + 5, full), full + 5);
        assert_eq!(
            allocate_to(0, 100, 4_096),
            4_096,
            "a small segment is never over its size"
        );
    }
}
