//! What each flush policy makes durable, without anybody asking for it.

use std::time::Duration;

use tierlog::{FlushPolicy, testing::storage::disk::sim::SimDisk};

use crate::{
    faults::rig::{Rig, one_stream},
    support::{close, within},
};

/// A sync that fell due between two looks at the clock, one that found it too early and one that set
/// the timer, was left to the next event: behind the last record there is none, and its ack never
/// came. The moment between the two is short, so intervals of about its length are tried.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_timed_sync_that_falls_due_at_any_moment_is_made() {
    for interval in (1..40).step_by(2) {
        let disk = SimDisk::new();
        let mut rig = Rig::sim(&disk);
        rig.settings.flush = FlushPolicy::Every(Duration::from_micros(interval));
        let (log, stream) = one_stream(&rig).await;
        for n in 0..100 {
            within(stream.append(n.to_string())).await.expect("an ack");
        }
        close(log).await;
    }
}
