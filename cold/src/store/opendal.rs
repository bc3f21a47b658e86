//! Object stores by way of opendal, without its retries: a lost response and the answer to its retry
//! look like somebody else's create.

use std::{fmt, io, ops::Range, sync::Arc};

use ::opendal::{Buffer, Error, ErrorKind, Operator};
use bytes::Bytes;
use futures::TryStreamExt;

use super::{
    Answer, Listed, Source, Store, StoreError, StoreErrorKind, UploadId, key::checked, range_of,
    whole,
};

mod transport;
mod upload;
mod wire;

/// How many objects are asked for at once in a listing.
const PAGE: usize = 1_000;
/// How much is told of what a service says.
const MESSAGE: usize = 300;
/// Where services look for credentials when none are given; what stands there is never told.
const VARIABLES: [&str; 6] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZBLOB_ACCOUNT_KEY",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
];
/// Services whose objects go with the process.
const IN_MEMORY: [&str; 4] = ["memory", "moka", "mini-moka", "dashmap"];

/// A store in an object store, by way of opendal.
///
/// Connections that are kept belong to the runtime that made them: after it has ended, the next calls on
/// another one may fail as `Unknown` before they get connections of their own.
pub struct OpendalStore {
    operator: Operator,
    place: String,
    secrets: Vec<String>,
}

impl fmt::Debug for OpendalStore {
    /// The place alone: what an operator shows is up to its service and to whatever layers it has.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OpendalStore").field(&self.place).finish()
    }
}

impl OpendalStore {
    /// A store of an operator that was made elsewhere. It should retry nothing, and its root is the
    /// prefix.
    ///
    /// # Errors
    /// `Unsupported` when the service can't be what is asked of a [`Store`], by its own word.
    pub fn new(operator: Operator) -> Result<Self, StoreError> {
        let info = operator.info();
        let place = format!("{}://{}{}", info.scheme(), info.name(), info.root());
        if let Some(lack) = lack(&operator) {
            let what = format!("{place}: {lack}");
            return Err(StoreError::new(StoreErrorKind::Unsupported, what));
        }
        Ok(Self::with_secrets(operator, place, Vec::new()))
    }

    /// The same, with what must not appear in what is said, and unasked.
    pub(crate) fn with_secrets(
        operator: Operator,
        place: String,
        mut secrets: Vec<String>,
    ) -> Self {
        secrets.extend(VARIABLES.iter().filter_map(|name| std::env::var(name).ok()));
        secrets.retain(|secret| secret.len() > 3);
        Self {
            operator,
            place,
            secrets,
        }
    }

    async fn create_at_once(&self, key: &str, source: &dyn Source) -> Result<(), StoreError> {
        let bytes = whole(source, 0..source.len()).await?;
        let write = self.operator.write_with(key, bytes).if_not_exists(true);
        let written = write.await;
        written.map(drop).map_err(|error| match error.kind() {
            // One request, that asks for nothing that could be missing but the bucket.
            ErrorKind::NotFound => self.as_kind(StoreErrorKind::Denied, "create", key, &error),
            _ => self.failed("create", key, &error),
        })
    }

    async fn len(&self, key: &str) -> Result<u64, StoreError> {
        let stat = self.operator.stat(key).await;
        let about = stat.map_err(|error| self.failed("stat", key, &error))?;
        Ok(about.content_length())
    }

    async fn read_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        if range.end <= range.start {
            // A service is asked for no empty range, and would not say that there is nothing.
            range_of(key, &range, self.len(key).await?)?;
            return Ok(Bytes::new());
        }
        let read = self.operator.read_with(key).range(range.clone()).await;
        match read.map(|buffer: Buffer| buffer.to_bytes()) {
            Ok(bytes) if bytes.len() as u64 == range.end - range.start => Ok(bytes),
            Ok(bytes) => {
                let what = format!("{key}: {} bytes came of {range:?}", bytes.len());
                Err(StoreError::new(StoreErrorKind::Short, what))
            }
            Err(error) if error.kind() == ErrorKind::RangeNotSatisfied => {
                Err(self.as_kind(StoreErrorKind::Short, "read", key, &error))
            }
            Err(error) => {
                let failed = self.failed("read", key, &error);
                // An object that ends before the range does is no error of its own here; a look at
                // its length tells it from a connection that was lost.
                if failed.kind == StoreErrorKind::Unknown
                    && let Ok(len) = self.len(key).await
                {
                    range_of(key, &range, len)?;
                }
                Err(failed)
            }
        }
    }

    async fn page(
        &self,
        prefix: &str,
        after: Option<&str>,
        most: usize,
    ) -> ::opendal::Result<Vec<Listed>> {
        let capability = self.operator.info().capability();
        let mut list = self.operator.lister_with(prefix).recursive(true);
        if capability.list_with_limit {
            list = list.limit(most.saturating_add(1).min(PAGE));
        }
        if let Some(after) = after.filter(|_| capability.list_with_start_after) {
            list = list.start_after(after);
        }
        let mut entries = list.await?;
        let in_order = ["s3", "gcs", "azblob", "memory"].contains(&self.operator.info().scheme());
        let mut found = Vec::new();
        // What answers in order need not be asked for all of it.
        while found.len() < most || !in_order {
            let Some(entry) = entries.try_next().await? else {
                break;
            };
            let key = entry.path();
            let meant = !key.ends_with('/') && key.starts_with(prefix);
            if meant && after.is_none_or(|after| key > after) {
                found.push(Listed {
                    key: key.to_owned(),
                    len: entry.metadata().content_length(),
                });
            }
        }
        found.sort_unstable();
        found.truncate(most);
        Ok(found)
    }

    fn failed(&self, op: &str, key: &str, error: &Error) -> StoreError {
        let kind = match error.kind() {
            ErrorKind::NotFound => StoreErrorKind::Missing,
            ErrorKind::ConditionNotMatch | ErrorKind::AlreadyExists => StoreErrorKind::Exists,
            ErrorKind::RateLimited => StoreErrorKind::Busy,
            // A bucket that is not there is called a wrong configuration.
            ErrorKind::PermissionDenied | ErrorKind::ConfigInvalid => StoreErrorKind::Denied,
            ErrorKind::Unsupported => StoreErrorKind::Unsupported,
            _ => StoreErrorKind::Unknown,
        };
        self.as_kind(kind, op, key, error)
    }

    /// A failure about uploads, whose ids are not told.
    fn failed_about(&self, op: &str, key: &str, error: &Error, ids: Vec<String>) -> StoreError {
        let secrets = [self.secrets.clone(), ids].concat();
        let about = Self {
            operator: self.operator.clone(),
            place: self.place.clone(),
            secrets,
        };
        about.failed(op, key, error)
    }

    fn as_kind(&self, kind: StoreErrorKind, op: &str, key: &str, error: &Error) -> StoreError {
        let message = told_by(error, &self.secrets);
        let (place, told) = (&self.place, error.kind());
        StoreError::new(kind, format!("{op} of {key}: {place}: {told}: {message}"))
    }
}

/// What the standard library says first of all names that do not resolve; behind it stands why, as the system
/// tells it, and never the name.
const NO_SUCH_NAME: &str = "failed to lookup address information";

/// What an error says, without secrets: its message alone, and what the system said. All else that
/// stands around it may have the address, which may be signed.
pub(crate) fn told_by(error: &Error, secrets: &[String]) -> String {
    let mut message: String = error.message().to_owned();
    for secret in secrets {
        message = message.replace(secret, "…");
    }
    let clean = |c: char| if c.is_control() { ' ' } else { c };
    let message = message.trim_end_matches('.');
    let mut message: String = message.chars().map(clean).take(MESSAGE).collect();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        // What went wrong with a connection, such as that nobody listens there.
        let system = error.downcast_ref::<io::Error>();
        if let Some(code) = system.and_then(io::Error::raw_os_error) {
            message += &format!(": {}", io::Error::from_raw_os_error(code));
            break;
        }
        // Or that there is no such host, of which the system has a text and no number.
        if let Some(text) = system.map(ToString::to_string)
            && text.starts_with(NO_SUCH_NAME)
        {
            let text = text.chars().map(clean).take(MESSAGE);
            message += ": the name of the host does not resolve: ";
            message.extend(text);
            break;
        }
        cause = error.source();
    }
    message
}

/// Why an operator can't be a store. That it declares to be able to do something says little; that it
/// can't is its word.
fn lack(operator: &Operator) -> Option<String> {
    let info = operator.info();
    if info.scheme() == "fs" {
        // A power cut could take an object of which the local copy is gone already.
        let what = "opendal syncs no folder, and shows files that are not whole yet; name the folder as \
                    `cold = \"fs:///folder\"` instead";
        return Some(what.into());
    }
    let can = info.capability();
    let needs = [
        ("read", can.read),
        ("stat", can.stat),
        ("write", can.write),
        ("delete", can.delete),
        ("list", can.list),
        ("create only if absent", can.write_with_if_not_exists),
    ];
    let lacks: Vec<_> = needs.iter().filter(|(_, can)| !can).collect();
    let names: Vec<_> = lacks.into_iter().map(|(name, _)| *name).collect();
    (!names.is_empty()).then(|| format!("the operator can't {}", names.join(", ")))
}

impl Store for OpendalStore {
    fn place(&self) -> &str {
        &self.place
    }

    fn is_durable(&self) -> bool {
        !IN_MEMORY.contains(&self.operator.info().scheme())
    }

    fn create<'a>(&'a self, key: &'a str, source: Arc<dyn Source>) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            match source.parts() {
                Some(_) if source.len() > upload::PART => self.create_in_parts(key, &source).await,
                _ => self.create_at_once(key, &*source).await,
            }
        })
    }

    fn replace<'a>(&'a self, key: &'a str, bytes: Bytes) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            let written = self.operator.write(key, bytes).await;
            let written = written.map(drop);
            written.map_err(|error| self.failed("replace", key, &error))
        })
    }

    fn read<'a>(&'a self, key: &'a str, range: Range<u64>) -> Answer<'a, Bytes> {
        Box::pin(async move {
            checked(key)?;
            self.read_range(key, range).await
        })
    }

    fn stat<'a>(&'a self, key: &'a str) -> Answer<'a, u64> {
        Box::pin(async move {
            checked(key)?;
            self.len(key).await
        })
    }

    fn delete<'a>(&'a self, key: &'a str) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            match self.operator.delete(key).await {
                Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
                deleted => deleted.map_err(|error| self.failed("delete", key, &error)),
            }
        })
    }

    fn abort<'a>(&'a self, key: &'a str, id: &'a UploadId) -> Answer<'a, ()> {
        Box::pin(async move {
            checked(key)?;
            let ids = vec![id.as_str().to_owned()];
            let aborted = upload::abort(&self.operator, key, id).await;
            aborted.map_err(|error| self.failed_about("abort", key, &error, ids))
        })
    }

    fn list<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
        most: usize,
    ) -> Answer<'a, Vec<Listed>> {
        Box::pin(async move {
            let page = self.page(prefix, after, most).await;
            page.map_err(|error| match error.kind() {
                ErrorKind::NotFound => self.as_kind(StoreErrorKind::Denied, "list", prefix, &error),
                _ => self.failed("list", prefix, &error),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(source: io::Error) -> String {
        let error = Error::new(ErrorKind::Unexpected, "send http request");
        told_by(&error.set_source(source), &["canary".to_owned()])
    }

    #[test]
    fn a_host_without_an_address_is_told_and_no_other_text_of_a_connection_is() {
        let unresolved = io::Error::other(format!("{NO_SUCH_NAME}: Name or service not known"));
        assert_eq!(
            told(unresolved),
            "send http request: the name of the host does not resolve: failed to lookup address \
             information: Name or service not known"
        );
        let refused = io::Error::from_raw_os_error(111);
        assert!(told(refused).contains("(os error 111)"));
        for signed in [
            "https://bucket/key?X-Amz-Signature=canary-of-a-request",
            "at https://id:canary@host/: failed to lookup address information",
        ] {
            assert_eq!(told(io::Error::other(signed)), "send http request");
        }
    }
}
