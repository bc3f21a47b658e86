//! When to wake up though nothing happens.

use std::{future::pending, pin::Pin};

use tokio::time::{Instant, Sleep, sleep_until};

/// A timer that may be early and is never late.
///
/// A writer looks ahead to another moment with each write, and nearly always something else happens first. Were
/// each of them a timer of its own, each would wake a thread of Tokio that sleeps, so that it sees a timer earlier
/// than any it knows: twice or more for each append that is waited for. So what is set stays set, where it
/// comes early enough.
#[derive(Debug, Default)]
pub struct Alarm(Option<Pin<Box<Sleep>>>);

impl Alarm {
    /// Resolves at `when` at the latest, and never where there is none. Whoever is woken looks whether it is time.
    pub async fn by(&mut self, when: Option<Instant>) {
        let Some(when) = when else {
            return pending().await;
        };
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(when)));
        if sleep.is_elapsed() || sleep.deadline() > when {
            sleep.as_mut().reset(when);
        }
        sleep.as_mut().await;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures::poll;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn it_is_never_late() {
        let (begun, mut alarm) = (Instant::now(), Alarm::default());
        assert!(poll!(Box::pin(alarm.by(Some(begun + 9 * SECOND)))).is_pending());
        alarm.by(Some(begun + 2 * SECOND)).await;
        assert_eq!(begun.elapsed(), 2 * SECOND, "an earlier moment counts");
        alarm.by(Some(begun + 5 * SECOND)).await;
        assert_eq!(
            begun.elapsed(),
            5 * SECOND,
            "it is set again when it is over"
        );
        alarm.by(Some(begun)).await;
        assert_eq!(begun.elapsed(), 5 * SECOND, "what is past is due");
    }

    #[tokio::test(start_paused = true)]
    async fn a_later_moment_leaves_it_as_it_is() {
        let (begun, mut alarm) = (Instant::now(), Alarm::default());
        assert!(poll!(Box::pin(alarm.by(Some(begun + SECOND)))).is_pending());
        assert!(poll!(Box::pin(alarm.by(None))).is_pending());
        alarm.by(Some(begun + 9 * SECOND)).await;
        assert_eq!(begun.elapsed(), SECOND, "early, and nothing set anew");
        alarm.by(Some(begun + 9 * SECOND)).await;
        assert_eq!(begun.elapsed(), 9 * SECOND);
    }
}
