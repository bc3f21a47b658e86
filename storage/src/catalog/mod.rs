//! What stands in Tier 2: the keys of objects, and the catalog that names them.

mod keys;

pub use keys::{CATALOG_FOLDER, SegmentKey, catalog_key, catalog_number};
