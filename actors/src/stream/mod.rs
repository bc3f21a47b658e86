//! What the handles, the readers and the writer of a stream share.

pub mod archive;
pub mod bell;
pub mod budget;
mod callers;
mod door;
pub mod keeping;
mod lives;
pub mod marks;
pub mod segments;
pub mod shared;
mod shown;
pub mod tail;
pub mod ticket;

#[cfg(test)]
mod tests;
