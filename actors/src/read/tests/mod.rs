//! Readers over logs that were written by hand, on a real directory.

mod at_hand;
mod attached;
mod cancel;
mod damage;
mod header;
mod kit;
mod moving;
mod owner;
mod scan;
mod start;
