//! What is left in a store of an upload in parts that a process did not live to finish, and taking it back.

use std::{
    mem,
    sync::{Arc, atomic::Ordering},
};

use tierlog_cold::store::{Store, StoreErrorKind, UploadId};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::Semaphore,
};

use super::{
    fake_gcs::{BUCKET, FakeGcs, TOKEN},
    rig::{Break, Breaking, Kept, is_pending, kind, noise, runtime},
    servers::{Server, named, store},
};

const KEY: &str = "streams/s/0-1-0.tlz";
/// Of five parts of 8 MiB; a writer keeps the last two to itself, and the last one never comes.
const LEN: usize = 38_000_000;

/// Begins an upload, and ends as a process does that is killed: nobody aborts it, nor ever will.
async fn die_in_the_midst(store: &Arc<dyn Store>) -> UploadId {
    let waits = Break::Waits(Semaphore::new(0));
    let source = Breaking::new(noise(1, LEN), LEN as u64 - 1, waits);
    let dying = Arc::clone(store);
    let asked = source.clone();
    let mut call = Box::pin(async move { dying.create(KEY, asked).await });
    while !source.ends.load(Ordering::Relaxed) {
        assert!(is_pending(&mut call).await);
        tokio::task::yield_now().await;
    }
    mem::forget(call);
    let begun = source.account.begun.lock().unwrap();
    let [id] = &begun[..] else {
        panic!("{begun:?}");
    };
    id.clone()
}

/// `left` tells how much there is, which is `sent` once all has arrived, and `anew` is the store as another process opens it.
async fn a_stopped_upload_is_taken_back<F: Future<Output = usize>>(
    anew: impl Fn() -> Arc<dyn Store>,
    left: impl Fn() -> F,
    sent: usize,
) {
    let id = die_in_the_midst(&anew()).await;
    while left().await < sent {
        tokio::task::yield_now().await;
    }
    let store = anew();
    store.abort(KEY, &id).await.unwrap();
    assert_eq!(left().await, 0, "nothing is left");
    assert_eq!(kind(store.stat(KEY).await), StoreErrorKind::Missing);
    // And the same object is made as if nothing had been.
    let source = Kept::new(noise(1, LEN));
    store.create(KEY, source.clone()).await.unwrap();
    assert_eq!(left().await, 0, "nothing but the object");
    let begun = source.account.begun.lock().unwrap().clone();
    assert_eq!(*source.account.done.lock().unwrap(), begun);
    assert_ne!(begun, [id]);
}

#[test]
fn parts_in_an_s3_server_are_taken_back_by_another_process() {
    runtime().block_on(async {
        let server = Server::start().await;
        let uri = server.uri("bucket", "canary-key");
        let left = || async {
            let names = std::fs::read_dir(server.folder.path()).unwrap();
            let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
            names.filter(|name| name.contains(".part-")).count()
        };
        a_stopped_upload_is_taken_back(|| store(&uri), left, 2).await;
    });
}

#[test]
fn a_session_of_google_cloud_storage_is_cancelled_by_another_process() {
    runtime().block_on(async {
        let server = FakeGcs::start().await;
        let at = format!("endpoint=http://127.0.0.1:{}&token={TOKEN}", server.port);
        let uri = format!("gcs://{BUCKET}/pre/fix?{at}");
        let left = || async { server.unfinished().into_iter().filter(|n| *n > 0).count() };
        a_stopped_upload_is_taken_back(|| store(&uri), left, 1).await;
        assert_eq!(server.unfinished(), [0; 0]);
    });
}

#[test]
fn parts_in_a_real_s3_server_are_taken_back_and_twice_is_as_good_as_once() {
    let Some(uri) = named("TIERLOG_TEST_S3_URI") else {
        return;
    };
    runtime().block_on(async {
        let (path, options) = uri.split_once('?').unwrap_or((&uri, ""));
        let own = format!("{path}/{}?{options}", uuid::Uuid::new_v4());
        let prefix = own.split_once("://").unwrap().1;
        let (bucket, prefix) = prefix.split_once('/').unwrap();
        let prefix = prefix.split_once('?').unwrap().0.to_owned();
        let mut at = options
            .split('&')
            .filter_map(|option| option.strip_prefix("endpoint=http://127.0.0.1:"));
        let port = at.next().map(str::to_owned);
        // A server on loopback tells anybody which uploads there are; one elsewhere is taken at its word.
        let Some(port) = port else {
            let id = die_in_the_midst(&store(&own)).await;
            let store = store(&own);
            for _ in 0..2 {
                store.abort(KEY, &id).await.unwrap();
            }
            return;
        };
        let left = || async { listed(&port, bucket, &prefix).await };
        a_stopped_upload_is_taken_back(|| store(&own), left, 3).await;
        let id = die_in_the_midst(&store(&own)).await;
        while left().await < 3 {
            tokio::task::yield_now().await;
        }
        let store = store(&own);
        for _ in 0..2 {
            store.abort(KEY, &id).await.unwrap();
        }
        assert_eq!(left().await, 0);
    });
}

/// How many uploads in parts a server lists below a prefix, and how many parts they have, together.
async fn listed(port: &str, bucket: &str, prefix: &str) -> usize {
    let uploads = ask(port, &format!("/{bucket}?uploads&prefix={prefix}")).await;
    assert!(uploads.contains("ListMultipartUploadsResult"), "{uploads}");
    let mut count = 0;
    for upload in uploads.split("<Upload>").skip(1) {
        let text = |tag: &str| {
            let (_, text) = upload.split_once(&format!("<{tag}>")).unwrap();
            text.split_once('<').unwrap().0.to_owned()
        };
        let (key, id) = (text("Key"), text("UploadId"));
        let parts = ask(port, &format!("/{bucket}/{key}?uploadId={id}")).await;
        count += 1 + parts.matches("<Part>").count();
    }
    count
}

/// What a server on loopback answers to whoever asks.
async fn ask(port: &str, what: &str) -> String {
    let to = format!("127.0.0.1:{port}");
    let mut socket = TcpStream::connect(&to).await.unwrap();
    let request = format!("GET {what} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    answer
}
