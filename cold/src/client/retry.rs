//! Whether a failed call is made again, and when.

use std::time::Duration;

use super::policy::{Policy, backoff};
use crate::store::StoreErrorKind;

/// What becomes of a call that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// It is made again after this time.
    After(Duration),
    /// Its failure is told.
    GiveUp,
}

/// Decides about a call of which `made` attempts have failed, the last one in this way.
pub(super) fn next(policy: &Policy, made: u32, kind: StoreErrorKind, random: f64) -> Next {
    if !passes(kind) || made >= policy.attempts {
        return Next::GiveUp;
    }
    let doubled = made.saturating_sub(1);
    Next::After(backoff(
        policy.first_delay,
        policy.most_delay,
        doubled,
        random,
    ))
}

/// Whether a failure may be another one by the next attempt, or none.
fn passes(kind: StoreErrorKind) -> bool {
    match kind {
        StoreErrorKind::Busy | StoreErrorKind::Unknown => true,
        StoreErrorKind::Missing
        | StoreErrorKind::Exists
        | StoreErrorKind::Short
        | StoreErrorKind::Denied
        | StoreErrorKind::Source
        | StoreErrorKind::Unsupported => false,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const POLICY: Policy = Policy {
        attempts: 3,
        first_delay: Duration::from_millis(100),
        most_delay: Duration::from_millis(150),
        deadline: Duration::from_secs(1),
        slowest: 1,
        failures: 1,
        open_for: Duration::from_secs(1),
        most_open: Duration::from_secs(1),
        part: 1,
        parts_at_once: 1,
        most_taken: 1,
    };

    #[test]
    fn only_what_may_pass_is_tried_again() {
        use StoreErrorKind::*;
        for kind in [Missing, Exists, Short, Denied, Source, Unsupported] {
            assert_eq!(next(&POLICY, 1, kind, 0.5), Next::GiveUp, "{kind:?}");
        }
        for kind in [Busy, Unknown] {
            let waits = [1, 2, 3].map(|made| next(&POLICY, made, kind, 1.0));
            let after = |millis| Next::After(Duration::from_millis(millis));
            assert_eq!(waits, [after(100), after(150), Next::GiveUp], "{kind:?}");
        }
    }

    proptest! {
        #[test]
        fn a_call_is_made_as_often_as_was_said(attempts in 0_u32..20, random in 0.0_f64..1.0) {
            let policy = Policy { attempts, ..POLICY };
            let mut made = 1;
            while let Next::After(_) = next(&policy, made, StoreErrorKind::Busy, random) {
                made += 1;
            }
            prop_assert_eq!(made, attempts.max(1));
        }
    }
}
