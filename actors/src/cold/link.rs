//! What a log knows of its Tier 2, whatever generation of actors works for it.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use tierlog_cold::client::Client;
use tierlog_storage::{Offset, OwnerId, StreamId};
use tokio::sync::watch;

use super::remote::Remote;
use crate::{
    error::Error,
    protocol::supervisor::{ClaimHealth, ColdHealth},
    stream::archive::ArchiveWishes,
};

/// How things stand between a log and its Tier 2.
#[derive(Debug, Clone)]
pub enum LinkState {
    /// It is not this log's yet: the store has not answered, and why not, if that is known.
    Claiming(Option<Arc<str>>),
    /// It is.
    Claimed(Arc<Claimed>),
    /// It never will be again: somebody else owns it, or it is not the one that this log had.
    Ended(Error),
}

/// What a claim found.
#[derive(Debug, Default)]
pub struct Claimed {
    /// The number of the catalog object that is the claim.
    pub number: u64,
    /// Of each stream in the catalog: its first offset, and the one behind its last archived record.
    pub streams: BTreeMap<StreamId, (Offset, Offset)>,
}

/// The Tier 2 of a log.
#[derive(Debug)]
pub struct ColdLink {
    /// Calls the store.
    pub client: Client,
    /// What it holds outlives the process: local copies may rest on it.
    pub is_durable: bool,
    /// Owns it, as long as it lives, where it does not outlive the process: there is no manifest then that
    /// could tell one generation of actors of the claims of another.
    pub owner: OwnerId,
    /// Reads its objects.
    pub remote: Arc<Remote>,
    /// What somebody waits to see archived.
    pub wishes: Arc<ArchiveWishes>,
    /// The last catalog object that the manifest is known to tell of; 0 for none.
    recorded: AtomicU64,
    state: watch::Sender<LinkState>,
}

impl ColdLink {
    /// A Tier 2 that is not claimed yet.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    pub fn new(client: Client, is_durable: bool) -> Arc<Self> {
        Arc::new(Self {
            remote: Remote::new(client.clone()),
            client,
            is_durable,
            owner: OwnerId::generate(),
            wishes: Arc::default(),
            recorded: AtomicU64::new(0),
            state: watch::Sender::new(LinkState::Claiming(None)),
        })
    }

    /// The manifest says durably that the catalog has come to this number.
    pub fn record(&self, number: u64) {
        self.recorded.fetch_max(number, Ordering::Relaxed);
    }

    /// The greatest number of which that is known; 0 where the store does not outlive the process, of
    /// which the manifest hears nothing.
    pub fn recorded(&self) -> u64 {
        self.recorded.load(Ordering::Relaxed)
    }

    /// How it stands.
    pub fn state(&self) -> LinkState {
        self.state.borrow().clone()
    }

    /// The same for people.
    pub fn health(&self) -> ColdHealth {
        let claim = match self.state() {
            LinkState::Claiming(why) => ClaimHealth::Claiming(why.map(|why| why.to_string())),
            LinkState::Claimed(_) => ClaimHealth::Claimed,
            LinkState::Ended(error) => ClaimHealth::Ended(error.to_string()),
        };
        ColdHealth {
            place: self.client.place().to_owned(),
            claim,
            breaker: self.client.state(),
        }
    }

    /// Resolves when it is claimed, or never will be, with why. Cancel-safe.
    pub async fn settled(&self) -> Result<(), Error> {
        let mut watch = self.state.subscribe();
        let settled = watch.wait_for(|state| !matches!(state, LinkState::Claiming(_)));
        match settled.await.map(|state| state.clone()) {
            Ok(LinkState::Ended(error)) => Err(error),
            _ => Ok(()),
        }
    }

    /// Follows how it stands; what stands now counts as news.
    pub fn watch(&self) -> watch::Receiver<LinkState> {
        let mut watch = self.state.subscribe();
        watch.mark_changed();
        watch
    }

    /// Says how it stands. An end is final.
    pub fn set(&self, now: LinkState) {
        self.state.send_if_modified(|state| {
            let is_over = matches!(state, LinkState::Ended(_));
            if !is_over {
                *state = now;
            }
            !is_over
        });
    }

    /// Resolves with why it has ended, once it has. Cancel-safe.
    pub async fn ended(&self) -> Error {
        let mut watch = self.state.subscribe();
        let ended = watch
            .wait_for(|state| matches!(state, LinkState::Ended(_)))
            .await;
        match ended.map(|state| state.clone()) {
            Ok(LinkState::Ended(error)) => error,
            // The sender lives as long as this.
            _ => std::future::pending().await,
        }
    }
}
