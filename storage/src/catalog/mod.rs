//! What stands in Tier 2: the keys of objects, and the catalog that names them.
//!
//! ```text
//!   catalog/1.tlc  claim        whole ┐
//!   catalog/2.tlc  publication  changes ├── applied in order ──▶ Catalog ──▶ the manifest of a restored log
//!   catalog/3.tlc  publication  changes ┘
//! ```

use crate::ids::StreamId;

mod keys;
mod local;
mod object;
mod state;
#[cfg(test)]
mod tests;

pub use keys::{CATALOG_FOLDER, SegmentKey, catalog_key, catalog_number};
pub use local::is_known;
pub use object::{
    Body, CATALOG_HEAD, CATALOG_MAX, CATALOG_VERSION, CatalogFault, CatalogHead, CatalogKind,
    CatalogObject,
};
pub use state::{ArchivedSegment, ArchivedStream, Catalog, Change, Refused};

impl Change {
    /// The stream that it is about.
    pub const fn stream(&self) -> StreamId {
        match self {
            Self::Stream { stream, .. }
            | Self::Segment { stream, .. }
            | Self::Trimmed { stream, .. } => *stream,
        }
    }
}
