//! Stores behind opendal: in memory, an S3 server in this process, and real servers by name.

use std::{io::Write, sync::Arc};

use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tempfile::TempDir;
use tierlog_cold::{
    place::{Place, open},
    store::{OpendalStore, Store, StoreErrorKind},
};
use tierlog_storage::disk::RealDisk;
use tokio::{net::TcpListener, task::AbortHandle};

use super::{
    fake_gcs::{BUCKET, FakeGcs, TOKEN},
    rig::{Inline, Rig, kind, runtime},
};

/// Four parts: the first one is sent before the last one is asked for.
const IN_PARTS: usize = 30_000_000;

pub fn store(uri: &str) -> Arc<dyn Store> {
    let place = Place::parse(uri).unwrap();
    open(&place, Arc::new(RealDisk), Arc::new(Inline)).unwrap()
}

/// What an environment variable names; it says so where it names nothing.
pub fn named(variable: &str) -> Option<String> {
    let uri = std::env::var(variable).ok();
    if uri.is_none() {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        let mut errors = std::io::stderr();
        writeln!(errors, "skipped: {name}: {variable} names no server").unwrap();
    }
    uri
}

/// Stops the server with the test.
pub struct Server {
    port: u16,
    accepts: AbortHandle,
    pub folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

impl Server {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("bucket")).unwrap();
        let files = s3s_fs::FileSystem::new(folder.path()).unwrap();
        let mut service = S3ServiceBuilder::new(files);
        service.set_auth(SimpleAuth::from_single("canary-id", "canary-key"));
        let service = service.build();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                // Else the end of an answer waits for the client's kernel to confirm its beginning, 40 ms.
                socket.set_nodelay(true).unwrap();
                let service = service.clone();
                tokio::spawn(async move {
                    let executor = hyper_util::rt::TokioExecutor::new();
                    let http = hyper_util::server::conn::auto::Builder::new(executor);
                    let socket = hyper_util::rt::TokioIo::new(socket);
                    // A client that goes away is none of the server's business.
                    let _ = http.serve_connection(socket, service).await;
                });
            }
        });
        Self {
            port,
            accepts: accepting.abort_handle(),
            folder,
        }
    }

    pub fn uri(&self, bucket: &str, key: &str) -> String {
        let at = format!("endpoint=http://127.0.0.1:{}&region=us-east-1", self.port);
        format!("s3://{bucket}/pre/fix?{at}&access_key_id=canary-id&secret_access_key={key}")
    }
}

impl Rig {
    pub async fn opendal_memory() -> Option<Self> {
        let operator = opendal::Operator::new(opendal::services::Memory::default()).unwrap();
        Some(Self::of(Arc::new(OpendalStore::new(operator).unwrap()), ()))
    }

    /// Its conditional create is a check and then a rename: of several at once more than one may win.
    pub async fn s3_in_process() -> Option<Self> {
        let server = Server::start().await;
        let store = store(&server.uri("bucket", "canary-key"));
        let mut rig = Self::of(store, server);
        rig.races = false;
        rig.large = IN_PARTS;
        Some(rig)
    }

    pub async fn fake_gcs() -> Option<Self> {
        let server = FakeGcs::start().await;
        let at = format!("endpoint=http://127.0.0.1:{}&token={TOKEN}", server.port);
        let store = store(&format!("gcs://{BUCKET}/pre/fix?{at}"));
        let mut rig = Self::of(store, server);
        rig.large = IN_PARTS;
        Some(rig)
    }

    pub async fn s3_server() -> Option<Self> {
        Self::named("TIERLOG_TEST_S3_URI").await
    }

    pub async fn gcs_server() -> Option<Self> {
        Self::named("TIERLOG_TEST_GCS_URI").await
    }

    pub async fn azblob_server() -> Option<Self> {
        Self::named("TIERLOG_TEST_AZBLOB_URI").await
    }

    /// A server that somebody has started, under a prefix of this test's own.
    async fn named(variable: &str) -> Option<Self> {
        let uri = named(variable)?;
        let (path, options) = uri.split_once('?').unwrap_or((&uri, ""));
        let path = path.trim_end_matches('/');
        let own = format!("{path}/{}?{options}", uuid::Uuid::new_v4());
        let mut rig = Self::of(store(&own), ());
        rig.large = IN_PARTS;
        Some(rig)
    }
}

#[tokio::test]
async fn credentials_are_in_no_error_and_in_no_name() {
    let server = Server::start().await;
    let store = store(&server.uri("bucket", "canary-wrong"));
    let source = Arc::new(bytes::Bytes::from_static(b"x"));
    let error = store.create("a", source).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    let listed = store.list("", None, 10).await.unwrap_err();
    assert_eq!(listed.kind, StoreErrorKind::Denied, "{listed}");
    for shown in [
        error.to_string(),
        format!("{error:?}"),
        listed.to_string(),
        store.place().to_owned(),
        format!("{store:?}"),
    ] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}

#[test]
fn a_bucket_that_is_not_there_is_denied_and_not_called_empty() {
    runtime().block_on(ask_nowhere());
}

async fn ask_nowhere() {
    for (variable, scheme) in [
        ("TIERLOG_TEST_S3_URI", "s3"),
        ("TIERLOG_TEST_AZBLOB_URI", "azblob"),
    ] {
        let Some(uri) = named(variable) else { continue };
        let options = uri.split_once('?').map_or("", |(_, options)| options);
        let store = store(&format!("{scheme}://tierlog-nowhere/p?{options}"));
        let source = Arc::new(bytes::Bytes::from_static(b"x"));
        let made = store.create("a", source).await;
        assert_eq!(kind(made), StoreErrorKind::Denied, "{scheme}");
        let listed = store.list("", None, 10).await;
        assert_eq!(kind(listed), StoreErrorKind::Denied, "{scheme}");
    }
}

#[tokio::test]
async fn a_host_whose_name_does_not_resolve_is_told_as_that() {
    let access = "access_key_id=canary-id&secret_access_key=canary-key";
    // A name that is kept free for this.
    let at = "endpoint=http://no-such-host.invalid&region=us-east-1";
    let store = store(&format!("s3://bucket/pre/fix?{at}&{access}"));
    let error = store.stat("a").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unknown, "{error}");
    let told = error.to_string();
    assert!(
        told.contains("the name of the host does not resolve"),
        "{told}"
    );
    assert!(!told.contains("canary"), "{told}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unknown() {
    let uri = {
        let server = Server::start().await;
        server.uri("bucket", "canary-key")
    };
    let store = store(&uri);
    let error = store.stat("a").await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Unknown, "{error}");
    assert!(error.to_string().contains("(os error "), "{error}");
    assert!(!error.to_string().contains("canary"), "{error}");
    let read = store.read("a", 0..5).await;
    assert_eq!(kind(read), StoreErrorKind::Unknown);
}
