//! What the sequence of catalog objects asks for.

use bytes::Bytes;
use futures::future::BoxFuture;

use super::Client;
use crate::{
    sequence::Objects,
    store::{Created, StoreError, StoreErrorKind},
};

impl Objects for Client {
    fn create<'a>(
        &'a self,
        key: &'a str,
        bytes: Bytes,
    ) -> BoxFuture<'a, Result<Created, StoreError>> {
        Box::pin(self.create_small(key, bytes))
    }

    fn get<'a>(&'a self, key: &'a str, at_most: u64) -> BoxFuture<'a, Result<Bytes, StoreError>> {
        Box::pin(async move {
            let len = self.stat(key).await?.min(at_most);
            match self.read(key, 0..len).await {
                // A tombstone has taken its place in between.
                Err(error) if error.kind == StoreErrorKind::Short => {
                    let len = self.stat(key).await?.min(at_most);
                    self.read(key, 0..len).await
                }
                read => read,
            }
        })
    }

    fn has<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<bool, StoreError>> {
        Box::pin(async move {
            match self.stat(key).await {
                Ok(_) => Ok(true),
                Err(error) if error.kind == StoreErrorKind::Missing => Ok(false),
                Err(error) => Err(error),
            }
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(Client::replace(self, key, bytes))
    }
}
