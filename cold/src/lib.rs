//! Tier 2: object stores, and the numbered catalog in them.
//!
//! No actor and no file of the log: the layer above decides what is uploaded, and owns the log.
//!
//! ```text
//!   place     a URI, and the store that it opens
//!   store     what is asked of a store, and the stores
//!   client    deadlines, retries, a breaker; settles outcomes that are unknown
//!   probe     what a store enforces
//!   sequence  the numbered catalog: who owns it, and what is archived
//! ```

pub mod client;
pub mod place;
pub mod probe;
pub mod sequence;
pub mod store;
#[cfg(feature = "fault-injection")]
pub mod unruly;

#[cfg(feature = "opendal")]
pub use opendal;
