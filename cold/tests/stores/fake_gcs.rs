//! A fake of Google Cloud Storage, since no server of it can be had: as much of the JSON API as its opendal
//! service uses, in memory, in this process. What it proves is that the store asks for the right things;
//! what the real service makes of them only a real bucket tells.
//!
//! Source: "Cloud Storage JSON API" and "Resumable uploads" in Google's documentation.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

pub const BUCKET: &str = "bucket";
pub const TOKEN: &str = "canary-token";

/// Stops with the test.
pub struct FakeGcs {
    pub port: u16,
    state: Arc<Mutex<State>>,
    accepts: AbortHandle,
}

impl Drop for FakeGcs {
    fn drop(&mut self) {
        self.accepts.abort();
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Vec<u8>>,
    /// By number: what it is to be named, whether only if absent, and what has come.
    uploads: BTreeMap<u64, (String, bool, Vec<u8>)>,
    next: u64,
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: BTreeMap<String, String>,
    body: Vec<u8>,
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn of(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    fn json(status: u16, value: &Value) -> Self {
        Self {
            body: value.to_string().into_bytes(),
            ..Self::of(status)
        }
    }

    fn error(status: u16, reason: &str) -> Self {
        let errors = [json!({ "domain": "global", "reason": reason, "message": reason })];
        let error = json!({ "code": status, "message": reason, "errors": errors });
        Self::json(status, &json!({ "error": error }))
    }

    fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }
}

impl FakeGcs {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State::default()));
        let served = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let state = Arc::clone(&served);
                // A client that goes away is none of the server's business.
                tokio::spawn(async move { serve(socket, port, &state).await.unwrap_or_default() });
            }
        });
        Self {
            port,
            accepts: accepting.abort_handle(),
            state,
        }
    }

    /// How many bytes each upload has got that is neither complete nor cancelled.
    pub fn unfinished(&self) -> Vec<usize> {
        let state = lock(&self.state);
        let uploads = state.uploads.values();
        uploads.map(|(_, _, come)| come.len()).collect()
    }
}

async fn serve(mut socket: TcpStream, port: u16, state: &Mutex<State>) -> std::io::Result<()> {
    let mut come = Vec::new();
    while let Some(request) = next(&mut socket, &mut come).await? {
        let answer = answer(&request, port, &mut lock(state));
        let mut head = format!("HTTP/1.1 {} -\r\n", answer.status);
        for (name, value) in &answer.headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", answer.body.len());
        socket.write_all(head.as_bytes()).await?;
        socket.write_all(&answer.body).await?;
    }
    Ok(())
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap()
}

/// The next request on a connection; none when it has ended.
async fn next(socket: &mut TcpStream, come: &mut Vec<u8>) -> std::io::Result<Option<Request>> {
    let head = loop {
        if let Some(end) = come.windows(4).position(|four| four == b"\r\n\r\n") {
            break come.drain(..end + 4).collect::<Vec<u8>>();
        }
        if socket.read_buf(come).await? == 0 {
            return Ok(None);
        }
    };
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.lines();
    let mut first = lines.next().unwrap().split(' ');
    let (method, target) = (first.next().unwrap(), first.next().unwrap());
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let headers = lines.filter_map(|line| line.split_once(": "));
    let headers: BTreeMap<String, String> = headers
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let len = headers.get("content-length").map_or("0", |len| len);
    let len: usize = len.parse().unwrap();
    while come.len() < len {
        if socket.read_buf(come).await? == 0 {
            return Ok(None);
        }
    }
    Ok(Some(Request {
        method: method.to_owned(),
        path: path.to_owned(),
        query: pairs.map(|(k, v)| (k.to_owned(), decoded(v))).collect(),
        headers,
        body: come.drain(..len).collect(),
    }))
}

fn decoded(text: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digits = [rest.next().unwrap(), rest.next().unwrap()];
                u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap()
            }
            byte => byte,
        });
    }
    String::from_utf8(bytes).unwrap()
}

fn answer(request: &Request, port: u16, state: &mut State) -> Answer {
    let session = request.path.strip_prefix("/session/");
    if let Some(session) = session {
        // Whoever knows a session may go on with it.
        return upload(request, session.parse().unwrap(), state);
    }
    let given = request.headers.get("authorization");
    if given.is_none_or(|given| *given != format!("Bearer {TOKEN}")) {
        return Answer::error(401, "authError");
    }
    let objects = format!("/storage/v1/b/{BUCKET}/o");
    if request.path == format!("/upload{objects}") {
        return insert(request, port, state);
    }
    let Some(rest) = request.path.strip_prefix(&objects) else {
        return Answer::error(404, "notFound");
    };
    if rest.is_empty() {
        return list(request, state);
    }
    let name = decoded(rest.trim_start_matches('/'));
    if request.method == "DELETE" {
        return match state.objects.remove(&name) {
            Some(_) => Answer::of(204),
            None => Answer::error(404, "notFound"),
        };
    }
    let Some(bytes) = state.objects.get(&name) else {
        return Answer::error(404, "notFound");
    };
    match request.query.get("alt").map(String::as_str) {
        Some("media") => content(bytes, request.headers.get("range")),
        _ => Answer::json(200, &about(&name, bytes)),
    }
}

fn about(name: &str, bytes: &[u8]) -> Value {
    json!({
        "name": name,
        "size": bytes.len().to_string(),
        "etag": "e",
        "generation": "1",
        "md5Hash": "",
        "updated": "2022-08-15T11:33:34.866Z",
        "contentType": "application/octet-stream",
    })
}

fn content(bytes: &[u8], range: Option<&String>) -> Answer {
    let Some(range) = range else {
        return Answer {
            body: bytes.to_vec(),
            ..Answer::of(200)
        };
    };
    let (from, to) = range
        .strip_prefix("bytes=")
        .and_then(|range| range.split_once('-'))
        .unwrap();
    let from: usize = from.parse().unwrap();
    if from >= bytes.len() {
        return Answer::error(416, "requestedRangeNotSatisfiable");
    }
    let end = to.parse().map_or(bytes.len(), |to: usize| to + 1);
    let end = end.min(bytes.len());
    let range = format!("bytes {from}-{}/{}", end - 1, bytes.len());
    Answer {
        body: bytes[from..end].to_vec(),
        ..Answer::of(206)
    }
    .with("content-range", range)
}

/// Names from `startOffset` on, which is among them; a page ends with the name behind it as its token.
fn list(request: &Request, state: &State) -> Answer {
    let get = |name: &str| request.query.get(name).map_or("", |value| value);
    let (prefix, from) = (get("prefix"), get("startOffset").max(get("pageToken")));
    let most = get("maxResults").parse().unwrap_or(1_000).min(1_000);
    let mut names = state
        .objects
        .range(from.to_owned()..)
        .filter(|(name, _)| name.starts_with(prefix));
    let page = names.by_ref().take(most);
    let items: Vec<Value> = page.map(|(name, bytes)| about(name, bytes)).collect();
    let mut listed = json!({ "kind": "storage#objects", "items": items });
    if let Some((name, _)) = names.next() {
        listed["nextPageToken"] = json!(name);
    }
    Answer::json(200, &listed)
}

fn insert(request: &Request, port: u16, state: &mut State) -> Answer {
    let name = request.query["name"].clone();
    let if_absent = request.query.get("ifGenerationMatch").map(String::as_str) == Some("0");
    match request.query["uploadType"].as_str() {
        "media" => finish(&name, if_absent, request.body.clone(), state),
        "resumable" => {
            if if_absent && state.objects.contains_key(&name) {
                return Answer::error(412, "conditionNotMet");
            }
            state.next += 1;
            let id = state.next;
            state.uploads.insert(id, (name, if_absent, Vec::new()));
            let session = format!("http://127.0.0.1:{port}/session/{id}");
            Answer::of(200).with("location", session)
        }
        _ => Answer::error(400, "invalid"),
    }
}

fn finish(name: &str, if_absent: bool, bytes: Vec<u8>, state: &mut State) -> Answer {
    if if_absent && state.objects.contains_key(name) {
        return Answer::error(412, "conditionNotMet");
    }
    let about = about(name, &bytes);
    state.objects.insert(name.to_owned(), bytes);
    Answer::json(200, &about)
}

fn upload(request: &Request, id: u64, state: &mut State) -> Answer {
    if request.method == "DELETE" {
        state.uploads.remove(&id);
        return Answer::of(499);
    }
    let Some((name, if_absent, come)) = state.uploads.get_mut(&id) else {
        return Answer::error(404, "notFound");
    };
    let range = request.headers["content-range"].as_str();
    let (range, total) = range
        .strip_prefix("bytes ")
        .unwrap()
        .split_once('/')
        .unwrap();
    if let Some((from, _)) = range.split_once('-') {
        assert_eq!(from.parse(), Ok(come.len()), "parts come in order");
        come.extend_from_slice(&request.body);
    }
    if total.parse() == Ok(come.len()) {
        let (name, if_absent, bytes) = (name.clone(), *if_absent, std::mem::take(come));
        state.uploads.remove(&id);
        return finish(&name, if_absent, bytes, state);
    }
    // All but the last part come in multiples of this.
    assert_eq!(come.len() % (256 << 10), 0, "so long are parts");
    let persisted = format!("bytes=0-{}", come.len().saturating_sub(1));
    Answer::of(308).with("range", persisted)
}
