//! The uploader: claims Tier 2, makes objects of compressed files and files of objects, publishes the
//! catalog, deletes what no catalog names.

mod actor;
mod claim;
mod handle;
mod parts;
mod source;
mod survey;
mod tidy;

pub use actor::{UploaderArgs, spawn};
pub use claim::Claimant;
pub use handle::UploaderHandle;
