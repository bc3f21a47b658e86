//! What a store enforces. What it declares says nothing: some servers ignore conditions in silence.

use bytes::Bytes;
use tierlog_storage::AttemptId;

use crate::{
    client::{Client, Created},
    store::{StoreError, StoreErrorKind},
};

/// What a store enforces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Enforces {
    /// An object that is created only if absent does not replace one that is there.
    CreateIfAbsent,
    /// It does replace it. Two owners can't be told apart.
    Nothing,
}

/// Creates one object twice, with different bytes, and looks at what is there. It tells nothing of
/// races, nor of uploads in parts.
///
/// The object is removed again, also after a failure, as far as the store can be reached; a future that
/// is dropped may leave one below `probe/`.
pub async fn probe(client: &Client) -> Result<Enforces, StoreError> {
    let key = format!("probe/{}", AttemptId::generate());
    let enforces = create_twice(client, &key).await;
    let removed = client.delete(&key).await;
    let enforces = enforces?;
    removed?;
    Ok(enforces)
}

async fn create_twice(client: &Client, key: &str) -> Result<Enforces, StoreError> {
    let [first, second] = ["first", "second"].map(|which| {
        let text = format!("{which} of two objects of one name; to be removed\n");
        Bytes::from(text)
    });
    if let Created::Taken(_) = client.create_small(key, first.clone()).await? {
        return Err(surprise(client, key, "something else was there"));
    }
    match client.create_bluntly(key, second.clone()).await {
        // It says that it did so; whatever is there now, it can't be relied on.
        Ok(()) => return Ok(Enforces::Nothing),
        Err(error) if error.kind == StoreErrorKind::Exists => {}
        Err(error) => return Err(error),
    }
    // Only an answer counts: a call that got none may never have come there.
    for _ in 0..2 {
        let found = client.get(key, 1_000).await?;
        if found == first {
            return Ok(Enforces::CreateIfAbsent);
        }
        if found == second {
            return Ok(Enforces::Nothing);
        }
    }
    Err(surprise(client, key, "something else is there now"))
}

fn surprise(client: &Client, key: &str, what: &str) -> StoreError {
    let what = format!("{}: {key}: {what}", client.place());
    StoreError::new(StoreErrorKind::Unknown, what)
}
