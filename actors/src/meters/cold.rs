//! What is measured of the calls to the store of Tier 2.

use std::time::Duration;

use metrics::{Counter, Histogram};
use tierlog_cold::{
    client::{BreakerState, Op, Phase, Watch},
    store::StoreErrorKind,
};

use super::{names, share::Share};

const OPS: usize = Op::ALL.len();

/// Counts and times calls.
#[derive(Debug)]
pub struct ColdMeters {
    took: [Histogram; OPS],
    failed: [Counter; OPS],
    retried: [Counter; OPS],
    open: Share,
}

impl ColdMeters {
    /// Handles of the recorder that is installed now.
    pub fn new() -> Self {
        let ops = Op::ALL.map(Op::name);
        Self {
            took: names::COLD_CALL.histograms("op", ops),
            failed: names::COLD_FAILED.counters("op", ops),
            retried: names::COLD_RETRIED.counters("op", ops),
            open: Share::of(&names::COLD_BREAKER.gauge()),
        }
    }
}

impl Default for ColdMeters {
    fn default() -> Self {
        Self::new()
    }
}

fn at(op: Op) -> usize {
    Op::ALL.iter().position(|known| *known == op).unwrap_or(0)
}

impl Watch for ColdMeters {
    fn called(&self, op: Op, took: Duration, outcome: Result<(), StoreErrorKind>) {
        self.took[at(op)].record(took);
        let failed = match outcome {
            // Answers, and not what was hoped for in each case.
            Ok(()) | Err(StoreErrorKind::Missing | StoreErrorKind::Exists) => false,
            Err(_) => true,
        };
        if failed {
            self.failed[at(op)].increment(1);
        }
    }

    fn retried(&self, op: Op) {
        self.retried[at(op)].increment(1);
    }

    fn breaker(&self, state: BreakerState) {
        self.open.set(u64::from(state.phase != Phase::Closed));
    }
}
