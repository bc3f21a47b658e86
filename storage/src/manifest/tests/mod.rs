//! Tests of the manifest, by what they show.

mod arbitrary;
mod codec;
mod damage;
mod faults;
mod files;
mod foreign;
mod parts;
mod power;
mod segments;
mod support;
mod transitions;
mod uploads;
