//! Reading: one cursor for every reader, of a live stream or of one that was attached read-only.
//!
//! ```text
//!            Reader ── where is offset N? ──┬─▶ Tail     frames in memory, newest
//!   position │                              ├─▶ Blocks   checked blocks in memory
//!            │                              └─▶ a job on a reading thread:
//!            ▼                                    Files ─▶ index ─▶ block, checked ─▶ Blocks
//!   Chunk: frames, and the place in them
//! ```
//!
//! A reader takes records from its chunk without asking anybody. Where the chunk ends it reads the
//! state of the stream anew: the life of the tail, the start, the watermark, then the place of the
//! next offset. Nothing is carried over from an event, so an event that comes late, twice or not at
//! all can't make it skip.

mod at_hand;
mod attach;
mod blocks;
mod chunk;
mod cursor;
mod fetch;
mod files;
mod flight;
mod follow;
mod growth;
mod locate;
mod resolve;
mod source;
mod trouble;
mod try_next;
mod view;
mod waiting;
mod warm;
mod wishes;

pub use attach::Attached;
pub use blocks::Blocks;
pub use cursor::{Reader, ReaderOptions};
pub use files::Files;
pub use follow::Follower;
pub use resolve::From;
pub use source::{Closing, ReadContext, ReadLimits};
pub use try_next::{TryNext, TryRead};
pub use wishes::{Wish, Wishes};

#[cfg(test)]
mod tests;
