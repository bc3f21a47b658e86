//! What entries say of uploads in parts: those of which something may be left in the store.
//!
//! ```text
//!   the store names an upload ─▶ PartsBegun ─▶ parts ─▶ completed, or aborted ─▶ PartsGone
//! ```
//!
//! They stand beside streams and segments and not in them: parts are there when their segment is long
//! trimmed, and several attempts of one segment may each have left some.

use std::fmt;

use serde::{Serialize, Serializer};

use super::{
    apply::{Undo, check_text, invalid},
    state::ManifestState,
    wire::{Reader, Wire},
};
use crate::error::Result;

/// How many uploads in parts the manifest tells of at most.
pub const PARTS_MAX: usize = 128;

/// The longest name of one, in bytes. Services that are known take a few hundred.
pub const UPLOAD_ID_MAX: usize = 2048;

/// What a store calls an upload in parts. It is shown to nobody: with some stores whoever knows it may
/// go on with the upload.
#[derive(Clone, PartialEq, Eq)]
pub struct UploadId(String);

impl UploadId {
    /// One that a store has given; `None` when it is empty or longer than [`UPLOAD_ID_MAX`].
    pub fn new(id: impl Into<String>) -> Option<Self> {
        let id = id.into();
        (1..=UPLOAD_ID_MAX).contains(&id.len()).then_some(Self(id))
    }

    /// As the store has given it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn shown(&self) -> String {
        format!("{} bytes, not shown", self.0.len())
    }
}

impl fmt::Debug for UploadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UploadId").field(&self.shown()).finish()
    }
}

impl Serialize for UploadId {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.shown())
    }
}

impl Wire for UploadId {
    fn put(&self, out: &mut Vec<u8>) {
        self.0.put(out);
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        Self::new(String::take(from)?)
    }
}

/// An upload in parts of which something may be left in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartsState {
    /// The key of the object that it was to make.
    pub key: String,
    /// What the store calls it.
    pub id: UploadId,
}

impl ManifestState {
    pub(super) fn begin_parts(&mut self, parts: PartsState, undo: &mut Vec<Undo>) -> Result<()> {
        check_text("a key", &parts.key)?;
        if self.parts.contains(&parts) {
            return invalid(format!("an upload of {} is known already", parts.key));
        }
        if self.parts.len() >= PARTS_MAX {
            return invalid(format!("{PARTS_MAX} uploads in parts came to no known end"));
        }
        undo.push(Undo::Parts(self.parts.clone()));
        self.parts.push(parts);
        Ok(())
    }

    pub(super) fn end_parts(&mut self, parts: &PartsState, undo: &mut Vec<Undo>) -> Result<()> {
        let Some(at) = self.parts.iter().position(|known| known == parts) else {
            return invalid(format!("no such upload of {} is known", parts.key));
        };
        undo.push(Undo::Parts(self.parts.clone()));
        self.parts.remove(at);
        Ok(())
    }
}
