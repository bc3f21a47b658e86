//! What a client is told to do about a store that fails.

use std::time::Duration;

/// How often, how long and how much.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// How often a call is made before its failure is told; at least once.
    pub attempts: u32,
    /// The longest wait before the second attempt. It doubles with each further one.
    pub first_delay: Duration,
    /// The longest wait before any attempt.
    pub most_delay: Duration,
    /// How long an attempt may take that moves no bytes.
    pub deadline: Duration,
    /// So many bytes more are given another second.
    pub slowest: u64,
    /// After so many failures in a row, of whichever calls, no more are made for a while.
    pub failures: u32,
    /// The longest time for which none is made. It doubles each time that the store still fails then.
    pub open_for: Duration,
    /// The longest that it may become.
    pub most_open: Duration,
    /// In pieces of how many bytes an object is read back.
    pub part: u64,
    /// How many of those are under way at once.
    pub parts_at_once: usize,
    /// The longest object that [`Created::Taken`](super::Created::Taken) may bring.
    pub most_taken: u64,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            attempts: 5,
            first_delay: Duration::from_millis(100),
            most_delay: Duration::from_secs(5),
            deadline: Duration::from_secs(10),
            slowest: 256 * 1024,
            failures: 5,
            open_for: Duration::from_secs(1),
            most_open: Duration::from_secs(30),
            part: 4 * 1024 * 1024,
            parts_at_once: 4,
            most_taken: 64 * 1024 * 1024,
        }
    }
}

impl Policy {
    /// How long one attempt to move so many bytes may take.
    pub fn deadline_of(&self, len: u64) -> Duration {
        let grown = Duration::from_secs(len / self.slowest.max(1));
        self.deadline.saturating_add(grown)
    }
}

/// `first` doubled `times` times, and no more than `most`; of that the second half by chance, so that
/// those who failed together do not come back together.
pub(super) fn backoff(first: Duration, most: Duration, times: u32, random: f64) -> Duration {
    let factor = 1_u32.checked_shl(times).unwrap_or(u32::MAX);
    let longest = first.saturating_mul(factor).min(most);
    longest.mul_f64(0.5 + 0.5 * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_deadline_grows_with_the_bytes() {
        let policy = Policy {
            deadline: Duration::from_secs(10),
            slowest: 1_000,
            ..Policy::default()
        };
        for (len, seconds) in [(0, 10), (999, 10), (1_000, 11), (60_000, 70)] {
            assert_eq!(policy.deadline_of(len), Duration::from_secs(seconds));
        }
        let endless = Policy {
            slowest: 0,
            ..policy
        };
        assert!(endless.deadline_of(u64::MAX) > policy.deadline);
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let wait = |times| backoff(Duration::from_secs(1), Duration::from_secs(30), times, 1.0);
        let seconds = [0, 1, 2, 4, 5, 31, 32, 1_000].map(|times| wait(times).as_secs());
        assert_eq!(seconds, [1, 2, 4, 16, 30, 30, 30, 30]);
    }

    proptest! {
        #[test]
        fn a_wait_lies_between_half_of_the_longest_and_the_longest(
            first in 0_u64..10_000, most in 0_u64..100_000, times: u32, random in 0.0_f64..1.0,
        ) {
            let (first, most) = (Duration::from_millis(first), Duration::from_millis(most));
            let longest = backoff(first, most, times, 1.0);
            let wait = backoff(first, most, times, random);
            prop_assert!(longest <= most && wait <= longest && wait >= longest / 2);
        }
    }
}
