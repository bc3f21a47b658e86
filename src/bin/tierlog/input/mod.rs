//! Records out of a file or of stdin, read ahead on a thread of their own.
//!
//! A read of stdin can't be cancelled, so it must never stand where Ctrl-C is waited for. Memory is
//! bounded: a few blocks between the thread and whoever takes from it, and one record under way.

mod delimited;
mod len32;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use tierlog::NewRecord;
use tokio::sync::mpsc;

use crate::exit::Ending;

pub(crate) use delimited::Delimited;
pub(crate) use len32::Len32;

/// A block of a source. A block of nothing but newlines makes as many records as it has bytes, and
/// each costs a hundred bytes as long as it waits, so this is small.
const BLOCK: usize = 64 * 1024;
/// Blocks that may wait.
const AHEAD: usize = 4;

/// Cuts blocks into records.
pub(crate) trait Cut: Send + 'static {
    /// Takes the next block. What is left of a record at its end is kept until the next one.
    /// On an error, the records before it stand in `records`.
    fn block(&mut self, block: Bytes, records: &mut Vec<NewRecord>) -> Result<(), Refused>;
    /// The source has ended.
    fn end(&mut self, records: &mut Vec<NewRecord>) -> Result<(), Refused>;
}

/// Why no more records come.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) what: String,
    pub(crate) advice: &'static str,
}

/// Where blocks come from.
pub(crate) type Source = Box<dyn Read + Send>;

/// Opens a file, or stdin where there is none or it is `-`.
pub(crate) fn open(path: Option<&Path>) -> Result<Source, Ending> {
    match path {
        Some(path) if path.as_os_str() != "-" => Ok(Box::new(open_file(path)?)),
        _ => Ok(Box::new(io::stdin())),
    }
}

/// Opens a file for reading. A directory opens as well, and fails at the first read with words
/// that name nothing.
pub(crate) fn open_file(path: &Path) -> Result<File, Ending> {
    let fail = |error: io::Error| {
        Ending::failed(
            format!("cannot read {}: {error}", path.display()),
            "check the path and who may read it",
        )
    };
    let file = File::open(path).map_err(fail)?;
    match file.metadata().map_err(fail)?.is_dir() {
        true => Err(fail(io::ErrorKind::IsADirectory.into())),
        false => Ok(file),
    }
}

/// The receiving end of the thread that reads.
#[derive(Debug)]
pub(crate) struct Input {
    from: mpsc::Receiver<Result<Vec<NewRecord>, Refused>>,
    stop: Arc<AtomicBool>,
}

impl Input {
    /// Starts to read.
    pub(crate) fn spawn(source: Source, cut: impl Cut) -> Result<Self, Ending> {
        let (to, from) = mpsc::channel(AHEAD);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::Builder::new()
            .name("input".into())
            .spawn(move || read_all(source, cut, &to, &stopped))
            .map_err(|error| {
                let what = format!("cannot start a thread for the input: {error}");
                Ending::failed(what, "allow the process more threads")
            })?;
        Ok(Self { from, stop })
    }

    /// The next records; `None` at the end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<NewRecord>>, Refused> {
        self.from.recv().await.transpose()
    }

    /// Stops reading, and gives what was read already and fits no wait.
    pub(crate) fn stop(&mut self) -> Vec<NewRecord> {
        self.stop.store(true, Ordering::Relaxed);
        let mut rest = Vec::new();
        while let Ok(Ok(records)) = self.from.try_recv() {
            rest.extend(records);
        }
        rest
    }
}

fn read_all(
    mut source: Source,
    mut cut: impl Cut,
    to: &mpsc::Sender<Result<Vec<NewRecord>, Refused>>,
    stopped: &AtomicBool,
) {
    while !stopped.load(Ordering::Relaxed) {
        let mut records = Vec::new();
        let went_on = match read_block(&mut source) {
            Ok(block) if block.is_empty() => {
                let ended = cut.end(&mut records);
                ended.map(|()| false)
            }
            Ok(block) => cut.block(block, &mut records).map(|()| true),
            Err(error) => Err(Refused {
                what: format!("cannot read the input: {error}"),
                advice: "what was read before is appended; go on from there",
            }),
        };
        if !records.is_empty() && to.blocking_send(Ok(records)).is_err() {
            return;
        }
        match went_on {
            Ok(true) => {}
            Ok(false) => return,
            Err(refused) => {
                // Nobody listens any more, so nobody has to hear it.
                let _ = to.blocking_send(Err(refused));
                return;
            }
        }
    }
}

/// One read: what somebody types must not wait until a block is full.
fn read_block(source: &mut Source) -> io::Result<Bytes> {
    let mut block = BytesMut::zeroed(BLOCK);
    loop {
        match source.read(&mut block) {
            Ok(n) => {
                block.truncate(n);
                return Ok(block.freeze());
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
