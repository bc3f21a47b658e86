//! Tier 2: object stores, and the numbered catalog in them.
//!
//! No actor and no file of the log: the layer above decides what is uploaded, and owns the log.

pub mod store;
