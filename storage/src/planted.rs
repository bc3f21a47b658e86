//! Bugs that are planted on purpose, one at a time, so that it shows which test catches each.
//!
//! At the place where the code does the right thing, `planted::is("…")` does the wrong one. The list of
//! them, with their tests, is `tests/planted/bugs`; `tests/planted/run` plants each. Without the feature
//! `planted-bugs`, which nothing that is shipped turns on, the answer is a constant no.

#[cfg(feature = "planted-bugs")]
pub use sown::is;

/// Whether this bug is planted.
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub const fn is(_bug: &str) -> bool {
    false
}

#[cfg(feature = "planted-bugs")]
mod sown {
    use std::{
        env,
        io::{self, Write},
        sync::{
            OnceLock,
            atomic::{AtomicBool, Ordering},
        },
    };

    /// Names the one that is planted.
    const VARIABLE: &str = "TIERLOG_PLANTED";

    static PLANTED: OnceLock<Option<String>> = OnceLock::new();
    static TOLD: AtomicBool = AtomicBool::new(false);

    /// Whether this bug is planted: the environment is asked once.
    pub fn is(bug: &str) -> bool {
        let planted = PLANTED.get_or_init(|| env::var(VARIABLE).ok());
        let here = planted.as_deref() == Some(bug);
        if here && !TOLD.swap(true, Ordering::Relaxed) {
            // Past what a test captures: a bug that no test comes by is caught by none.
            let _told = writeln!(io::stderr(), "planted: {bug}");
        }
        here
    }
}
