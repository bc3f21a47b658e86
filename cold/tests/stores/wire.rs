//! What reaches the wire of an upload in parts, and in which order it is kept account of.

use std::{
    io,
    ops::Range,
    sync::{Arc, Mutex, Weak},
};

use bytes::Bytes;
use futures::{future::BoxFuture, stream};
use http::{Method, Request, Response};
use opendal::{
    Buffer, HttpBody, HttpTransport, HttpTransporter, OperationContext, Operator, services,
};
use tierlog_cold::store::{
    OpendalStore, Parts, Source, Store, StoreError, StoreErrorKind, UploadId,
};

use super::rig::{is_pending, kind};

const ID: &str = "canary upload/7+&";
const ENCODED: &str = "canary%20upload/7%2B%26";
const SESSION: &str = "http://h/upload/session?upload_id=canary";
const LEN: u64 = 20 << 20;

/// A server of one upload. What reaches it, and what else happens, stands here in order.
#[derive(Clone, Default)]
struct Tape {
    events: Arc<Mutex<Vec<String>>>,
    /// What it answers to an abortion, if not that it is done.
    aborts: Option<(u16, &'static str)>,
    /// Its answer that names an upload.
    names: Option<String>,
}

impl Tape {
    fn note(&self, event: impl Into<String>) {
        self.events.lock().unwrap().push(event.into());
    }

    fn events(&self) -> Vec<String> {
        self.events.lock().unwrap().clone()
    }

    fn has(&self, start: &str) -> bool {
        self.events().iter().any(|event| event.starts_with(start))
    }

    fn context(&self) -> OperationContext {
        OperationContext::new().with_http_transport(HttpTransporter::new(self.clone()))
    }

    fn s3(&self) -> OpendalStore {
        let s3 = services::S3::default()
            .bucket("b")
            .endpoint("http://h")
            .region("r")
            .access_key_id("canary-id")
            .secret_access_key("canary-key")
            .disable_config_load();
        let operator = Operator::new(s3).unwrap().with_context(self.context());
        OpendalStore::new(operator).unwrap()
    }

    fn gcs(&self) -> OpendalStore {
        let gcs = services::Gcs::default()
            .bucket("b")
            .endpoint("http://h")
            .token("canary-token".to_owned());
        let operator = Operator::new(gcs).unwrap().with_context(self.context());
        OpendalStore::new(operator).unwrap()
    }

    fn source(&self, keeps: Keeps) -> Arc<Noting> {
        let tape = self.clone();
        Arc::new(Noting { tape, keeps })
    }
}

fn answer(status: u16, headers: &[(&'static str, &str)], body: &str) -> Response<HttpBody> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let len = body.len() as u64;
    let mut answer = Response::builder().status(status);
    for (name, value) in headers {
        answer = answer.header(*name, *value);
    }
    let body = HttpBody::new(stream::iter([Ok(Buffer::from(body))]), Some(len));
    answer.body(body).unwrap()
}

impl HttpTransport for Tape {
    async fn fetch(&self, request: Request<Buffer>) -> opendal::Result<Response<HttpBody>> {
        let (method, uri) = (request.method().clone(), request.uri().to_string());
        let signed = request.headers().contains_key("authorization");
        let signed = if signed { "" } else { " unsigned" };
        self.note(format!("{method} {uri}{signed}"));
        let query = request.uri().query().unwrap_or("");
        Ok(match method {
            Method::POST if query == "uploads" => {
                let named = format!("<R><UploadId>{}</UploadId></R>", ID.replace('&', "&amp;"));
                answer(200, &[], self.names.as_deref().unwrap_or(&named))
            }
            Method::POST if query.contains("uploadType=resumable") => {
                answer(200, &[("location", SESSION)], "")
            }
            Method::POST => answer(200, &[], "<R><ETag>\"e\"</ETag></R>"),
            Method::DELETE => {
                let (status, body) = self.aborts.unwrap_or((204, ""));
                answer(status, &[], body)
            }
            Method::PUT if uri.contains("session") && !is_last(&request) => {
                let to = request.headers()["content-range"].to_str().unwrap();
                let to = to
                    .strip_prefix("bytes ")
                    .unwrap()
                    .split_once('/')
                    .unwrap()
                    .0;
                let to = to.split_once('-').unwrap().1;
                answer(308, &[("range", &format!("bytes=0-{to}"))], "")
            }
            _ => answer(200, &[("etag", "\"e\"")], ""),
        })
    }
}

fn is_last(request: &Request<Buffer>) -> bool {
    let range = request.headers()["content-range"].to_str().unwrap();
    !range.ends_with("/*")
}

/// Whether somebody keeps account of an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Keeps {
    All,
    /// It is refused.
    Nothing,
    /// It never comes to an end.
    Hangs,
    /// Nobody is there to keep it.
    Nobody,
}

struct Noting {
    tape: Tape,
    keeps: Keeps,
}

impl std::fmt::Debug for Noting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Noting").field(&self.keeps).finish()
    }
}

impl Source for Noting {
    fn len(&self) -> u64 {
        LEN
    }

    fn parts(&self) -> Option<&dyn Parts> {
        (self.keeps != Keeps::Nobody).then_some(self as &dyn Parts)
    }

    fn read(&self, range: Range<u64>) -> BoxFuture<'_, io::Result<Bytes>> {
        let len = usize::try_from(range.end - range.start).unwrap();
        Box::pin(async move { Ok(vec![7; len].into()) })
    }
}

impl Parts for Noting {
    fn begun<'a>(&'a self, id: &'a UploadId) -> BoxFuture<'a, Result<(), StoreError>> {
        self.tape.note(format!("begun {}", id.as_str()));
        Box::pin(async {
            match self.keeps {
                Keeps::Nothing => Err(StoreError::new(StoreErrorKind::Source, "no room")),
                Keeps::Hangs => std::future::pending().await,
                _ => {
                    self.tape.note("kept");
                    Ok(())
                }
            }
        })
    }

    fn done(&self, id: &UploadId) {
        self.tape.note(format!("done {}", id.as_str()));
    }
}

fn id(id: &str) -> UploadId {
    UploadId::new(id).unwrap()
}

#[tokio::test]
async fn no_part_is_sent_before_its_upload_is_kept_account_of() {
    let tape = Tape::default();
    let source = tape.source(Keeps::All);
    tape.s3().create("k", source).await.unwrap();
    let events = tape.events();
    let [first, begun, kept, .., last, done] = &events[..] else {
        panic!("{events:?}");
    };
    assert_eq!(first, "POST http://h/b/k?uploads");
    assert_eq!(
        (begun.as_str(), kept.as_str()),
        (&*format!("begun {ID}"), "kept")
    );
    assert_eq!(*last, format!("POST http://h/b/k?uploadId={ENCODED}"));
    assert_eq!(*done, format!("done {ID}"));
    let parts = events[3..events.len() - 2].iter();
    let of = format!("&uploadId={ENCODED}");
    assert_eq!(parts.clone().count(), 3);
    assert!(parts.clone().all(|part| part.ends_with(&of)), "{events:?}");
}

#[tokio::test]
async fn no_byte_is_sent_before_its_session_is_kept_account_of() {
    let tape = Tape::default();
    let source = tape.source(Keeps::All);
    // What the tape answers at the end is no description of an object.
    let made = tape.gcs().create("k", source).await.unwrap_err();
    let events = tape.events();
    assert!(events[0].starts_with("POST http://h/upload/storage/v1/b/b/o?uploadType=resumable"));
    assert_eq!(
        events[1..3],
        [format!("begun {SESSION}"), "kept".to_owned()]
    );
    assert_eq!(events[3], format!("PUT {SESSION} unsigned"));
    assert!(!made.to_string().contains("canary"), "{made}");
    assert!(!tape.has("done"));
}

#[tokio::test]
async fn an_upload_that_nobody_keeps_account_of_is_taken_back_without_a_part() {
    for (tape, store, deletion) in [
        (
            Tape::default(),
            Tape::s3 as fn(&Tape) -> OpendalStore,
            format!("DELETE http://h/b/k?uploadId={ENCODED}"),
        ),
        (
            Tape::default(),
            Tape::gcs,
            format!("DELETE {SESSION} unsigned"),
        ),
    ] {
        let source = tape.source(Keeps::Nothing);
        let error = store(&tape).create("k", source).await.unwrap_err();
        assert_eq!(
            (error.kind, error.what.as_str()),
            (StoreErrorKind::Source, "no room")
        );
        let events = tape.events();
        assert_eq!(events.len(), 3, "{events:?}");
        assert_eq!(events[2], deletion);
    }
}

#[tokio::test]
async fn what_is_given_up_while_it_is_kept_account_of_is_taken_back() {
    let tape = Tape::default();
    let source: Arc<dyn Source> = tape.source(Keeps::Hangs);
    let left: Weak<dyn Source> = Arc::downgrade(&source);
    let store = tape.s3();
    let mut call = store.create("k", source);
    while !tape.has("begun") {
        assert!(is_pending(&mut call).await);
        tokio::task::yield_now().await;
    }
    drop(call);
    // A log's directory would be held as long as this is.
    assert!(left.upgrade().is_none(), "nothing holds the source");
    while !tape.has("DELETE") {
        tokio::task::yield_now().await;
    }
    assert!(!tape.has("PUT"), "{:?}", tape.events());
}

#[tokio::test]
async fn an_upload_whose_name_is_not_understood_is_not_gone_on_with() {
    for named in [
        "<R><UploadId><![CDATA[7]]></UploadId></R>",
        &"x".repeat(100_000),
    ] {
        let tape = Tape {
            names: Some(named.to_owned()),
            ..Tape::default()
        };
        let source = tape.source(Keeps::All);
        let made = tape.s3().create("k", source).await;
        assert_ne!(kind(made), StoreErrorKind::Exists);
        assert_eq!(tape.events(), ["POST http://h/b/k?uploads"]);
    }
}

#[tokio::test]
async fn where_nobody_keeps_account_an_object_is_made_in_one_piece() {
    let tape = Tape::default();
    let source = tape.source(Keeps::Nobody);
    tape.s3().create("k", source).await.unwrap();
    assert_eq!(tape.events(), ["PUT http://h/b/k"]);
}

#[tokio::test]
async fn nothing_but_the_abortion_reaches_the_store() {
    let tape = Tape::default();
    tape.s3().abort("k", &id(ID)).await.unwrap();
    assert_eq!(
        tape.events(),
        [format!("DELETE http://h/b/k?uploadId={ENCODED}")]
    );
    let tape = Tape::default();
    tape.gcs().abort("k", &id(SESSION)).await.unwrap();
    // Whoever knows a session needs no signature.
    assert_eq!(tape.events(), [format!("DELETE {SESSION} unsigned")]);
}

#[tokio::test]
async fn an_upload_that_the_store_does_not_know_is_taken_back_already() {
    let unknown = "<Error><Code>NoSuchUpload</Code><UploadId>canary</UploadId></Error>";
    let nowhere = "<Error><Code>NoSuchBucket</Code></Error>";
    for (status, body, expected) in [
        (204, "", Ok(())),
        (200, "", Ok(())),
        (404, unknown, Ok(())),
        (404, nowhere, Err(StoreErrorKind::Denied)),
        (
            403,
            "<Error><Code>AccessDenied</Code><Message>canary upload/7+&amp;</Message></Error>",
            Err(StoreErrorKind::Denied),
        ),
        (
            503,
            "<Error><Code>ServiceUnavailable</Code></Error>",
            Err(StoreErrorKind::Unknown),
        ),
    ] {
        let tape = Tape {
            aborts: Some((status, body)),
            ..Tape::default()
        };
        let aborted = tape.s3().abort("k", &id(ID)).await;
        if let Err(error) = &aborted {
            assert!(!format!("{error:?}").contains("canary"), "{error:?}");
        }
        assert_eq!(
            aborted.map_err(|error| error.kind),
            expected,
            "{status} {body}"
        );
    }
    for (status, expected) in [(499, true), (404, true), (410, true), (403, false)] {
        let tape = Tape {
            aborts: Some((status, "")),
            ..Tape::default()
        };
        let aborted = tape.gcs().abort("k", &id(SESSION)).await;
        assert_eq!(aborted.is_ok(), expected, "{status}");
    }
}

/// The bucket of a log was moved to a service that knows no such uploads.
#[tokio::test]
async fn a_service_without_such_uploads_says_so_and_is_sent_nothing() {
    let tape = Tape::default();
    let azblob = services::Azblob::default()
        .container("c")
        .endpoint("http://h")
        .account_name("a")
        .account_key("Y2FuYXJ5");
    let operator = Operator::new(azblob).unwrap().with_context(tape.context());
    let store = OpendalStore::new(operator).unwrap();
    let aborted = store.abort("k", &id(ID)).await;
    assert_eq!(kind(aborted), StoreErrorKind::Unsupported);
    assert_eq!(tape.events(), [""; 0]);
}
