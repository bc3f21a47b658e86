//! Where a planted bug has the bytes of a record: with its caller, and not in the message. Without the
//! feature `planted-bugs` nothing is here.

use super::budget::Permit;

/// What a ticket holds of its record's bytes: nothing, but for the bug.
#[derive(Debug)]
pub(super) struct Callers {
    #[cfg(feature = "planted-bugs")]
    _permit: Option<Permit>,
}

impl Callers {
    /// What the last call of [`lent`] on this thread left for its ticket.
    #[inline(always)]
    pub(super) fn last() -> Self {
        Self {
            #[cfg(feature = "planted-bugs")]
            _permit: sown::LENT.take(),
        }
    }
}

/// The permit that rides in the message.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(super) fn lent(permit: Permit) -> Permit {
    permit
}

#[cfg(feature = "planted-bugs")]
pub(super) use sown::lent;

#[cfg(feature = "planted-bugs")]
mod sown {
    use std::cell::Cell;

    use tierlog_storage::planted;

    use super::Permit;

    thread_local! {
        pub(super) static LENT: Cell<Option<Permit>> = const { Cell::new(None) };
    }

    pub(in crate::stream) fn lent(permit: Permit) -> Permit {
        if !planted::is("permit_freed_by_cancel") {
            return permit;
        }
        let empty = permit.split_empty();
        LENT.set(Some(permit));
        empty
    }
}
