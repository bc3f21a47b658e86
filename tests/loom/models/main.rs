//! Models of how threads meet in `tierlog-actors`, which loom runs in every order that there is, up to
//! some number of switches that nothing made necessary. `tests/README.md` tells what is tried, and what
//! stands in for Tokio and flume.

mod archived;
mod bells;
mod caught;
mod door;
mod jobs;
mod permits;
mod readers;
mod rig;
mod segments;
mod sweeps;
mod tickets;
mod watermarks;
