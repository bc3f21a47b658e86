//! What stands between an operator and the wire while an object is made in parts, or an upload is aborted.
//!
//! opendal keeps the ids of uploads to itself. They are seen here: on the way in, so that they are kept
//! account of before opendal hears of them; and the other way round, a writer that asks for an id is given
//! one of before, so that what it then aborts, and signs, is the upload of a process that is gone.

use std::sync::{
    Arc, Mutex, MutexGuard, PoisonError, Weak,
    atomic::{AtomicBool, Ordering},
};

use ::opendal::{
    Buffer, Error, ErrorKind, HttpBody, HttpTransport, HttpTransporter, Operator, Result,
    raw::{Operation, oio::ReadStream},
};
use bytes::Bytes;
use futures::stream;
use http::{
    HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{ETAG, LOCATION},
};

use super::wire::{self, Initiation};
use crate::store::{Source, StoreError, StoreErrorKind, UploadId};

/// An answer that begins an upload has a few hundred bytes.
const MOST_ANSWER: usize = 64 * 1024;

/// The same operator, whose requests go through this.
pub(super) fn through(operator: &Operator, transport: impl HttpTransport) -> Operator {
    let context = operator.base_context();
    let context = context.with_http_transport(HttpTransporter::new(transport));
    operator.clone().with_context(context)
}

fn wire_of(operator: &Operator) -> HttpTransporter {
    operator.base_context().http_transport().clone()
}

/// The uploads that the making of one object has begun.
#[derive(Debug, Default)]
pub(super) struct Begun(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    ids: Vec<Id>,
    /// Why nobody keeps account of the last one.
    refusal: Option<StoreError>,
}

#[derive(Debug)]
struct Id {
    id: UploadId,
    /// Somebody keeps account of it.
    kept: bool,
}

impl Begun {
    /// All of them, for what must not be told.
    pub(super) fn all(&self) -> Vec<String> {
        let ids = &self.seen().ids;
        ids.iter().map(|seen| seen.id.as_str().to_owned()).collect()
    }

    /// The one that parts were sent of.
    pub(super) fn kept(&self) -> Option<UploadId> {
        let seen = self.seen();
        let kept = seen.ids.iter().rfind(|seen| seen.kept);
        kept.map(|kept| kept.id.clone())
    }

    /// Those that only this process knows of.
    pub(super) fn not_kept(&self) -> Vec<UploadId> {
        let seen = self.seen();
        let left = seen.ids.iter().filter(|seen| !seen.kept);
        left.map(|seen| seen.id.clone()).collect()
    }

    /// Why an upload was not gone on with, if that was not the store's doing.
    pub(super) fn refusal(&self) -> Option<StoreError> {
        self.seen().refusal.take()
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has an upload kept account of before its id is handed on.
pub(super) struct Recording {
    wire: HttpTransporter,
    begun: Arc<Begun>,
    /// Not held: what is left of a writer that was given up must not keep a log's directory.
    source: Weak<dyn Source>,
}

impl Recording {
    pub(super) fn new(operator: &Operator, begun: Arc<Begun>, source: &Arc<dyn Source>) -> Self {
        Self {
            wire: wire_of(operator),
            begun,
            source: Arc::downgrade(source),
        }
    }

    async fn record(&self, initiation: Initiation, answer: Response<HttpBody>) -> Answered {
        let (parts, mut body) = answer.into_parts();
        let body = whole(&mut body).await?;
        let id = initiation.named_in(&parts.headers, &body.to_bytes());
        let Some(id) = id.and_then(UploadId::new) else {
            let what = "the store has begun an upload under a name that is not understood";
            return Err(self.refuse(StoreError::new(StoreErrorKind::Unsupported, what)));
        };
        let at = {
            let mut seen = self.begun.seen();
            let kept = false;
            seen.ids.push(Id {
                id: id.clone(),
                kept,
            });
            seen.ids.len() - 1
        };
        let source = self.source.upgrade();
        let keeper = source.as_deref().and_then(Source::parts);
        let kept = match keeper {
            Some(keeper) => keeper.begun(&id).await,
            None => {
                let what = "nobody keeps account of the upload any more";
                Err(StoreError::new(StoreErrorKind::Source, what))
            }
        };
        if let Err(error) = kept {
            return Err(self.refuse(error));
        }
        self.begun.seen().ids[at].kept = true;
        let len = body.len() as u64;
        let body = HttpBody::new(stream::iter([Ok(body)]), Some(len));
        Ok(Response::from_parts(parts, body))
    }

    fn refuse(&self, error: StoreError) -> Error {
        self.begun.seen().refusal = Some(error);
        Error::new(ErrorKind::Unexpected, "nobody keeps account of the upload")
    }

    /// Whether a request is about an upload that nobody keeps account of.
    fn is_unknown(&self, uri: &Uri) -> bool {
        let about = wire::upload_of(uri);
        let seen = self.begun.seen();
        let is_kept = |id: &str| {
            let mut kept = seen.ids.iter().filter(|seen| seen.kept);
            kept.any(|seen| seen.id.as_str() == id)
        };
        about.is_some_and(|id| !is_kept(&id))
    }
}

type Answered = Result<Response<HttpBody>>;

impl HttpTransport for Recording {
    async fn fetch(&self, request: Request<Buffer>) -> Answered {
        if self.is_unknown(request.uri()) {
            let what = "a part of an upload that nobody keeps account of is not sent";
            return Err(Error::new(ErrorKind::Unexpected, what));
        }
        let initiation = Initiation::of(request.method(), request.uri());
        let answer = self.wire.fetch(request).await?;
        match initiation.filter(|_| answer.status().is_success()) {
            Some(initiation) => self.record(initiation, answer).await,
            None => Ok(answer),
        }
    }
}

/// All of a body that is to be short.
async fn whole(body: &mut HttpBody) -> Result<Buffer> {
    let (mut pieces, mut len) = (Vec::new(), 0);
    loop {
        let piece = body.read().await?;
        if piece.is_empty() {
            return Ok(pieces.into_iter().flatten().collect());
        }
        len += piece.len();
        if len > MOST_ANSWER {
            let what = "the answer that begins an upload has no end";
            return Err(Error::new(ErrorKind::Unexpected, what));
        }
        pieces.push(piece);
    }
}

/// Answers a writer all by itself, as if its upload were the one to abort, and sends nothing but the
/// abortion. What is about credentials, and not of the service, goes through.
pub(super) struct Aborting {
    wire: HttpTransporter,
    id: UploadId,
    seen: Arc<Aborted>,
}

/// How far it has come.
#[derive(Debug, Default)]
pub(super) struct Aborted {
    /// The writer was given the id.
    pub(super) named: AtomicBool,
    /// The store was asked.
    pub(super) asked: AtomicBool,
    /// And has done it.
    pub(super) done: AtomicBool,
}

impl Aborting {
    pub(super) fn new(operator: &Operator, id: &UploadId, seen: Arc<Aborted>) -> Self {
        Self {
            wire: wire_of(operator),
            id: id.clone(),
            seen,
        }
    }

    fn name(&self, initiation: Initiation) -> Answered {
        self.seen.named.store(true, Ordering::Relaxed);
        match initiation {
            Initiation::Multipart => answer(StatusCode::OK, wire::answer(self.id.as_str())),
            Initiation::Session => {
                let place = HeaderValue::from_str(self.id.as_str());
                let place = place.map_err(|_| {
                    Error::new(ErrorKind::Unexpected, "what was recorded is no address")
                })?;
                let mut answer = answer(StatusCode::OK, String::new())?;
                answer.headers_mut().insert(LOCATION, place);
                Ok(answer)
            }
        }
    }

    /// Whether a request is about the upload.
    fn is_meant(&self, uri: &Uri) -> bool {
        let id = self.id.as_str();
        match wire::upload_of(uri) {
            Some(about) => about == id,
            None => id.parse::<Uri>().is_ok_and(|place| place == *uri),
        }
    }
}

impl HttpTransport for Aborting {
    async fn fetch(&self, request: Request<Buffer>) -> Answered {
        if let Some(initiation) = Initiation::of(request.method(), request.uri()) {
            return self.name(initiation);
        }
        match *request.method() {
            Method::DELETE if self.is_meant(request.uri()) => {
                self.seen.asked.store(true, Ordering::Relaxed);
                let answer = self.wire.fetch(request).await?;
                let done = answer.status().is_success();
                self.seen.done.store(done, Ordering::Relaxed);
                Ok(answer)
            }
            Method::PUT if wire::upload_of(request.uri()).is_some() => {
                let mut part = answer(StatusCode::OK, String::new())?;
                let etag = HeaderValue::from_static("\"not-sent\"");
                part.headers_mut().insert(ETAG, etag);
                Ok(part)
            }
            _ if request.extensions().get::<Operation>().is_none() => {
                self.wire.fetch(request).await
            }
            _ => Err(Error::new(ErrorKind::Unsupported, "nothing else is sent")),
        }
    }
}

fn answer(status: StatusCode, body: String) -> Answered {
    let body = Bytes::from(body);
    let len = body.len() as u64;
    let body = HttpBody::new(stream::iter([Ok(Buffer::from(body))]), Some(len));
    let mut answer = Response::new(body);
    *answer.status_mut() = status;
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tells what reaches it.
    #[derive(Clone, Default)]
    struct Wire(Arc<Mutex<Vec<String>>>);

    impl HttpTransport for Wire {
        async fn fetch(&self, request: Request<Buffer>) -> Answered {
            let what = format!("{} {}", request.method(), request.uri());
            self.0.lock().unwrap().push(what);
            answer(StatusCode::OK, String::new())
        }
    }

    fn request(method: Method, uri: &str, of_the_service: bool) -> Request<Buffer> {
        let mut request = Request::new(Buffer::new());
        *request.method_mut() = method;
        *request.uri_mut() = uri.parse().unwrap();
        if of_the_service {
            request.extensions_mut().insert(Operation::Write);
        }
        request
    }

    /// A role that is assumed needs a request of its own, and without one nothing can be signed.
    #[tokio::test]
    async fn credentials_are_asked_for_while_an_upload_is_aborted_and_nothing_else_is_sent() {
        let wire = Wire::default();
        let aborting = Aborting {
            wire: HttpTransporter::new(wire.clone()),
            id: UploadId::new("7").unwrap(),
            seen: Arc::default(),
        };
        for (method, uri, of_the_service, sent) in [
            (
                Method::PUT,
                "http://169.254.169.254/latest/api/token",
                false,
                true,
            ),
            (Method::POST, "https://sts/?Action=AssumeRole", false, true),
            (Method::POST, "http://h/b/k?uploads", true, false),
            (
                Method::PUT,
                "http://h/b/k?partNumber=1&uploadId=7",
                true,
                false,
            ),
            (Method::PUT, "http://h/b/k", true, false),
            (Method::POST, "http://h/b/k?uploadId=7", true, false),
            (Method::DELETE, "http://h/b/k", true, false),
            (Method::DELETE, "http://h/b/k?uploadId=8", true, false),
            (Method::DELETE, "http://h/b/k?uploadId=7", true, true),
        ] {
            let before = wire.0.lock().unwrap().len();
            let what = format!("{method} {uri}");
            let _ = aborting.fetch(request(method, uri, of_the_service)).await;
            let reached = wire.0.lock().unwrap()[before..].to_vec();
            let expected: Vec<_> = sent.then_some(what).into_iter().collect();
            assert_eq!(reached, expected, "{uri}");
        }
    }
}
