//! Tier 2, as the actors of a log and its readers share it.

mod link;
mod remote;

pub use link::{Claimed, ColdLink, LinkState};
pub use remote::Remote;

use std::sync::Arc;

use tierlog_cold::{
    client::{Client, Policy},
    store::{Blocking, Store},
};

use crate::{
    exec::{Executor, Job, Work},
    meters::ColdMeters,
};

/// Calls a store, and measures that.
pub fn client(store: Arc<dyn Store>) -> Client {
    Client::new(store, Policy::default(), Arc::new(ColdMeters::new()))
}

/// Why Tier 2 can't be reached: each failed call names the place, which is long and said once here.
pub fn unreachable(place: &str, why: &str) -> String {
    format!(
        "Tier 2 at {place}: {}",
        why.replace(&format!("{place}: "), "")
    )
}

/// The threads on which a folder that is a store is touched.
#[derive(Debug)]
pub struct StoreThreads(pub Arc<dyn Executor>);

impl Blocking for StoreThreads {
    fn run(&self, job: Job) -> Result<(), Job> {
        self.0.submit(Work::Store, job)
    }
}
