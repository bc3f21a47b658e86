//! What the supervisor takes.

use std::{sync::Arc, time::Duration};

use serde::Serialize;
use tierlog_cold::client::BreakerState;

use super::{Reply, sweep::SweepReport};
use crate::{error::Error, stream::shared::StreamShared};

/// Open a stream, creating it if asked to.
#[derive(Debug)]
pub struct OpenStream {
    /// Its name, checked.
    pub name: Arc<str>,
    /// Create it when it is missing.
    pub create: bool,
    /// The stream, with its writer at work.
    pub done: Reply<Result<Arc<StreamShared>, Error>>,
}

/// Tell how the log is.
#[derive(Debug)]
pub struct AskHealth(pub Reply<Health>);

/// Drain, close and stop.
#[derive(Debug)]
pub struct Shutdown {
    /// How long draining may take.
    pub deadline: Duration,
    /// What came of it.
    pub done: Reply<ShutdownReport>,
}

/// List the streams that the manifest knows.
#[derive(Debug)]
pub struct ListStreams(pub Reply<Vec<KnownStream>>);

/// A stream that the manifest knows.
#[derive(Debug, Clone)]
pub struct KnownStream {
    /// Its identity.
    pub id: tierlog_storage::StreamId,
    /// Its name.
    pub name: Arc<str>,
    /// What the manifest says of it.
    pub state: tierlog_storage::manifest::StreamState,
    /// Set while it is open.
    pub open: Option<Arc<StreamShared>>,
}

/// How a log is.
#[derive(Debug, Clone, Serialize)]
pub struct Health {
    /// Everything works.
    pub ok: bool,
    /// What it is doing.
    pub state: LogState,
    /// The owner epoch.
    pub epoch: u64,
    /// Streams that are open.
    pub open_streams: usize,
    /// Bytes that hot segments take.
    pub hot_bytes: u64,
    /// Bytes that accepted records hold in memory until they are durable.
    pub held_bytes: usize,
    /// What restarted, and why, newest last; at most 32.
    pub restarts: Vec<Restart>,
    /// Streams that refuse appends until the log is opened again, and why.
    pub failed_streams: Vec<(String, String)>,
    /// How things stand with Tier 2, if there is one.
    pub cold: Option<ColdHealth>,
    /// What sweeps have found.
    pub sweep: SweepHealth,
}

/// How things stand with Tier 2.
#[derive(Debug, Clone, Serialize)]
pub struct ColdHealth {
    /// Where it is.
    pub place: String,
    /// Whether it is this log's.
    pub claim: ClaimHealth,
    /// Whether the store answers.
    pub breaker: BreakerState,
}

/// What sweeps have found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct SweepHealth {
    /// The last one that came to its end.
    pub last: Option<SweepReport>,
    /// Why one after that did not.
    pub failed: Option<String>,
}

/// Whether Tier 2 is this log's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ClaimHealth {
    /// Not yet, and why not, if that is known.
    Claiming(Option<String>),
    /// It is.
    Claimed,
    /// It never will be again, and why.
    Ended(String),
}

/// What a log is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogState {
    /// At work.
    Running,
    /// A generation of actors has ended, and the next one is being made.
    Restarting,
    /// Too many restarts in a row: it refuses everything.
    Failed,
    /// Somebody else owns its Tier 2: it takes no more appends. What is here can be read.
    Overtaken,
}

/// One restart.
#[derive(Debug, Clone, Serialize)]
pub struct Restart {
    /// Which actor ended: "flusher", "coordinator", "manifest" or "writer NAME".
    pub actor: String,
    /// How it ended.
    pub reason: String,
    /// How long it took until its successor was at work.
    pub took: Duration,
}

/// What a shutdown came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct ShutdownReport {
    /// Every accepted record is durable, and the log was marked as closed cleanly.
    pub clean: bool,
    /// Accepted records that were not durable at the deadline, by stream.
    pub undrained: Vec<(String, u64)>,
    /// What stood in the way, by stream or actor.
    pub problems: Vec<String>,
    /// How long it took.
    pub took: Duration,
}
