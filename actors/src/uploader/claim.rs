//! Taking possession of Tier 2.

use std::{fmt, sync::Arc};

use tierlog_cold::{
    probe::{Enforces, probe},
    sequence::{Claim, ClaimError, Sequence},
    store::StoreError,
};
use tierlog_storage::{
    Epoch, LogId, Offset, OwnerId, StreamId,
    catalog::{Catalog, Change, is_known},
    manifest::{Entry, ManifestState},
};
use tokio::{sync::Mutex, time::sleep};

use super::parts::Unfinished;
use crate::{
    cold::{Claimed, ColdLink, LinkState},
    context::backoff,
    error::Error,
    manifest::ManifestHandle,
};

/// The sequence of the one who owns it.
pub(super) type Owned = Arc<Mutex<Option<Sequence>>>;

/// Who claims Tier 2, with what it knows of it.
#[derive(Clone)]
pub struct Claimant {
    log: LogId,
    epoch: Epoch,
    owner: OwnerId,
    /// As the manifest was when this generation began.
    state: Arc<ManifestState>,
    manifest: ManifestHandle,
    /// A store is taken that does not tell who was first.
    unfenced: bool,
    /// What was claimed. An uploader that takes the place of another one goes on with it.
    pub(super) owned: Owned,
    /// Uploads in parts of which something may be left.
    pub(super) unfinished: Unfinished,
}

/// Why a claim came to nothing.
enum Failed {
    /// It may be tried again.
    Now(String),
    /// It may not.
    ForGood(Error),
}

impl Claimant {
    /// One that knows what the manifest says.
    pub fn new(
        state: &ManifestState,
        manifest: ManifestHandle,
        link: &ColdLink,
        unfenced: bool,
    ) -> Self {
        Self {
            log: state.log,
            epoch: state.epoch,
            owner: match link.is_durable {
                true => OwnerId::generate(),
                false => link.owner,
            },
            state: Arc::new(state.clone()),
            unfinished: Unfinished::new(manifest.clone(), &state.parts),
            manifest,
            unfenced,
            owned: Owned::default(),
        }
    }

    /// Claims it, however long the store is down.
    pub(super) async fn claim(self, link: Arc<ColdLink>) {
        let mut owned = self.owned.lock().await;
        if let Some(sequence) = &*owned {
            link.set(LinkState::Claimed(Arc::new(claimed(sequence))));
            return;
        }
        let mut failures = 0;
        loop {
            match self.try_claim(&link).await {
                Ok(sequence) => {
                    let claimed = claimed(&sequence);
                    tracing::info!(target: "tierlog::uploader", number = claimed.number, place = link.client.place(), "Tier 2 is claimed");
                    *owned = Some(sequence);
                    link.set(LinkState::Claimed(Arc::new(claimed)));
                    return;
                }
                Err(Failed::ForGood(error)) => {
                    tracing::error!(target: "tierlog::uploader", %error, "Tier 2 is not this log's");
                    link.set(LinkState::Ended(error));
                    return;
                }
                Err(Failed::Now(why)) => {
                    failures += 1;
                    tracing::warn!(target: "tierlog::uploader", why, failures, "Tier 2 is not claimed yet");
                    link.set(LinkState::Claiming(Some(why.as_str().into())));
                }
            }
            sleep(backoff(failures)).await;
        }
    }

    async fn try_claim(&self, link: &ColdLink) -> Result<Sequence, Failed> {
        self.check(link).await?;
        let archived = |stream: StreamId| {
            let known = self.state.streams.get(&stream);
            known.map_or(Offset::ZERO, |known| known.archived)
        };
        let known = self.state.published.filter(|_| link.is_durable);
        let claims = self.state.claims.iter().map(|claim| claim.owner);
        let claim = Claim {
            log: self.log,
            epoch: self.epoch,
            owner: self.owner,
            known,
            ours: claims.collect(),
            catalog: match link.is_durable {
                true => Catalog::of(&self.state, archived).map_err(|refused| refuse(&refused))?,
                false => Catalog::default(),
            },
        };
        let record = |number| {
            let (manifest, owner) = (self.manifest.clone(), self.owner);
            let is_durable = link.is_durable;
            let entry = Entry::ColdClaim { number, owner };
            Box::pin(async move {
                match is_durable {
                    true => manifest.commit(vec![entry]).await.map(drop),
                    false => Ok(()),
                }
            }) as futures::future::BoxFuture<'static, Result<(), Error>>
        };
        let objects = Arc::new(link.client.clone());
        let knows = |change: &Change| !link.is_durable || is_known(&self.state, change);
        let taken = Sequence::claim(objects, claim, knows, record).await;
        let (sequence, _) = taken.map_err(|error| failed(link, error))?;
        self.note(link, &claimed(&sequence)).await?;
        Ok(sequence)
    }

    /// Whether the store tells who was first.
    async fn check(&self, link: &ColdLink) -> Result<(), Failed> {
        if self.unfenced {
            return Ok(());
        }
        if probe(&link.client).await.map_err(store)? == Enforces::CreateIfAbsent {
            return Ok(());
        }
        let what = format!(
            "{} takes a second object of the same name: two owners would overwrite one another; set \
             `cold_unfenced = true` to take that risk",
            link.client.place()
        );
        Err(Failed::ForGood(Error::Tier2 { what: what.into() }))
    }

    /// Says in the manifest what the claim has found: an earlier life may have published more than it
    /// lived to note.
    async fn note(&self, link: &ColdLink, claimed: &Claimed) -> Result<(), Failed> {
        if !link.is_durable {
            return Ok(());
        }
        let commit = async |entries| {
            let committed = self.manifest.commit(entries).await;
            committed.map_err(|error| Failed::Now(error.to_string()))
        };
        commit(vec![Entry::Published {
            number: claimed.number,
        }])
        .await?;
        link.record(claimed.number);
        for (&stream, &(_, end)) in &claimed.streams {
            let known = self.state.streams.get(&stream);
            if known.is_some_and(|known| known.archived < end && known.start < end) {
                commit(vec![Entry::Archived { stream, end }]).await?;
            }
        }
        Ok(())
    }
}

fn failed(link: &ColdLink, error: ClaimError<Error>) -> Failed {
    let what = format!("{}: {error}", link.client.place());
    match error {
        ClaimError::Store(error) => store(error),
        ClaimError::Record(error) => Failed::Now(error.to_string()),
        ClaimError::Fenced { .. } => Failed::ForGood(Error::Fenced { what: what.into() }),
        _ => Failed::ForGood(Error::Tier2 { what: what.into() }),
    }
}

fn claimed(sequence: &Sequence) -> Claimed {
    let streams = sequence.catalog().streams.iter();
    let streams = streams.map(|(stream, known)| (*stream, (known.start, known.end())));
    Claimed {
        number: sequence.head(),
        streams: streams.collect(),
    }
}

fn refuse(what: &dyn fmt::Display) -> Failed {
    let what = format!("what the manifest says of Tier 2 makes no sense: {what}");
    Failed::ForGood(Error::Tier2 { what: what.into() })
}

fn store(error: StoreError) -> Failed {
    Failed::Now(error.to_string())
}

impl fmt::Debug for Claimant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claimant")
            .field("owner", &self.owner)
            .finish_non_exhaustive()
    }
}
