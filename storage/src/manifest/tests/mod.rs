//! Tests of the manifest, by what they show.

mod arbitrary;
mod codec;
mod files;
mod support;
mod transitions;
