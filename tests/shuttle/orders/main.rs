//! Appenders, a writer, a flusher and readers of one stream, each on a thread, in orders that chance takes:
//! where there are too many for loom. `tests/README.md` tells which code is that of the log, and what stands
//! in for its actors.

mod caught;
mod disk;
mod follow;
mod people;
mod writer;
