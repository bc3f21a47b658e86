//! Segment files: one header, frames of records, and a footer once sealed.
//!
//! ```text
//! 0          128                                    data_end                      file length
//! ┌──────────┬─────────┬─────────┬─ ─ ─ ┬─────────┬─────────────┬───────────────┐
//! │ header   │ frame   │ frame   │       │ frame   │ index       │ trailer 128 B │
//! └──────────┴─────────┴─────────┴─ ─ ─ ┴─────────┴─────────────┴───────────────┘
//!  blank until          each at a multiple of 8,   └─────── footer ────────────┘
//!  the first frame      offsets dense               written at seal
//! ```
//!
//! An unsealed segment ends in zeros, allocated ahead. Every frame and the footer carry a CRC that
//! begins with the segment's salt, a random number that no other segment has: bytes left over
//! from another segment, or copied from one, never pass.

pub mod block;
pub mod builder;
pub mod file;
pub mod first_use;
pub mod footer;
pub mod frame;
pub mod header;
pub mod index;
pub mod record;
pub mod records;
mod resync;
pub mod scan;
mod sums;
mod window;

pub use block::{Block, BlockError, Search, next_good, read_block};
pub use builder::FrameBuilder;
pub use file::{Latched, create_segment};
pub use first_use::{Span, first_use};
pub use footer::{Digest, Footer, FooterError};
pub use frame::{
    FRAME_HEAD, FRAME_TARGET, Frame, FrameFault, FrameHead, FrameSeal, MAX_BODY, check_frame,
    padded,
};
pub use header::{HEADER_LEN, HeaderError, SegmentHeader};
pub use index::{IndexEntry, SparseIndex};
pub use record::{MAX_RECORD, MIN_RECORD, NewRecord, Record};
pub use records::{RecordRef, Records, RecordsRef};
pub use scan::{HeaderState, Run, ScanExpect, SegmentScan, scan};

#[cfg(test)]
pub(crate) mod tests;
