//! An object of the catalog of Tier 2, of any bytes: read, applied, and made a manifest of.
//!
//! Byte 0: bit 0 makes the checksums right.

use crate::{
    checksums,
    disk::LOG,
    storage::{
        Epoch,
        catalog::{Body, Catalog, CatalogObject},
        manifest::ManifestState,
    },
    take,
};

const MOST: usize = 64 << 10;

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let mut bytes = data[..data.len().min(MOST)].to_vec();
    if mode & 1 != 0 {
        checksums::catalog(&mut bytes);
    }
    let Ok(object) = CatalogObject::decode(&bytes) else {
        return;
    };
    assert_eq!(object.encode(), bytes, "an object has one spelling");
    match &object.body {
        Body::Whole(catalog) => whole(catalog),
        Body::Changes(changes) => {
            let mut catalog = Catalog::default();
            for change in changes {
                let before = catalog.clone();
                if catalog.apply(change).is_err() {
                    assert_eq!(catalog, before, "a refusal changes nothing");
                }
            }
            whole(&catalog);
        }
        Body::None => {}
    }
}

/// What a catalog says, a restored manifest says too.
fn whole(catalog: &Catalog) {
    let mut state = ManifestState::new(LOG);
    state
        .apply_all(&catalog.entries(Epoch(1), 1 << 16))
        .expect("a manifest takes every catalog");
    let again = Catalog::of(&state, |stream| catalog.archived_end(stream));
    assert_eq!(again.as_ref(), Ok(catalog));
}
