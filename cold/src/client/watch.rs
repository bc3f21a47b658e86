//! What a client tells whoever counts.

use std::{fmt, time::Duration};

use super::BreakerState;
use crate::store::StoreErrorKind;

/// The calls of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is named after its call")]
pub enum Op {
    Create,
    Replace,
    Read,
    Stat,
    Delete,
    List,
    Abort,
}

impl Op {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Create,
        Self::Replace,
        Self::Read,
        Self::Stat,
        Self::Delete,
        Self::List,
        Self::Abort,
    ];

    /// Its name, for labels.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Replace => "replace",
            Self::Read => "read",
            Self::Stat => "stat",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Abort => "abort",
        }
    }
}

/// Is told what a client does, on the task that does it: it must not block, and not call the client
/// but for its [`state`](super::Client::state).
pub trait Watch: Send + Sync + fmt::Debug {
    /// An attempt has come to its end. One that was given up by its caller is not told of.
    fn called(&self, op: Op, took: Duration, outcome: Result<(), StoreErrorKind>);

    /// A call that failed will be made again.
    fn retried(&self, op: Op);

    /// What is thought of the store has changed.
    fn breaker(&self, state: BreakerState);
}

/// Counts nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn called(&self, _: Op, _: Duration, _: Result<(), StoreErrorKind>) {}

    fn retried(&self, _: Op) {}

    fn breaker(&self, _: BreakerState) {}
}
