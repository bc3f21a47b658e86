//! What is done when a log is opened: reading the pointer and the manifest, deciding where each
//! stream ends, making durable what is not known to be, and only then cleaning up.

mod active;
mod copy;
mod create;
mod decide;
mod judge;
mod leftovers;
mod open;
mod read_only;
mod report;
mod rewrite;
mod stream;
mod sweep;
mod tail;

pub use active::{ActiveSegment, reopen_active};
pub use create::restore;
pub use decide::{
    Cut, FinalSpan, KeptSegment, TO_FILE_END, TailDamage, TailDecision, TailInput, decide_tail,
};
pub use open::{OpenOptions, OpenedLog, open_log, open_log_with_lock};
pub use read_only::{ReadOnlyLog, read_only};
pub use report::{RecoveryReport, StreamReport};
pub use stream::{RecoverCtx, StreamRecovery, recover_stream};
pub use sweep::{Around, Broom, Cleaned, Names, Swept, SweptFate, look_around, look_at_stream};
