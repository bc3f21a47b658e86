//! Records out of a file or of stdin, read ahead on a thread of their own.
//!
//! A read of stdin can't be cancelled, so it must never stand where Ctrl-C is waited for. Memory is
//! bounded in bytes: what was read ahead of whoever takes from it, and one record under way.

mod ahead;
mod delimited;
mod len32;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tierlog::NewRecord;
use tokio::sync::mpsc;

use crate::exit::Ending;

use ahead::Ahead;

pub(crate) use ahead::Room;
pub(crate) use delimited::Delimited;
pub(crate) use len32::Len32;

/// A block of a source. A block of nothing but newlines makes as many records as it has bytes, and
/// each costs a hundred bytes as long as it waits, so this is small.
const BLOCK: usize = 64 * 1024;
/// A block of which less is left to read into makes place for a new one.
const WORTH_A_READ: usize = 4 * 1024;
/// Batches that may wait, each of a block and what was left of the one before.
const AHEAD: usize = 4;
/// Bytes that may wait in them. A batch that is larger waits alone, so that of long records one
/// waits and the next one is under way.
const AHEAD_BYTES: usize = 1024 * 1024;

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

/// Records that were read ahead.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) records: Vec<NewRecord>,
    /// Kept for as long as the records are.
    pub(crate) room: Room,
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
    from: mpsc::Receiver<Result<Batch, Refused>>,
    ahead: Arc<Ahead>,
}

impl Input {
    /// Starts to read.
    pub(crate) fn spawn(source: Source, cut: impl Cut) -> Result<Self, Ending> {
        let (to, from) = mpsc::channel(AHEAD);
        let ahead = Ahead::new(AHEAD_BYTES);
        let reads = Arc::clone(&ahead);
        std::thread::Builder::new()
            .name("input".into())
            .spawn(move || read_all(source, cut, &to, &reads))
            .map_err(|error| {
                let what = format!("cannot start a thread for the input: {error}");
                Ending::failed(what, "allow the process more threads")
            })?;
        Ok(Self { from, ahead })
    }

    /// The next records; `None` at the end. Cancelling it loses nothing.
    pub(crate) async fn next(&mut self) -> Result<Option<Batch>, Refused> {
        self.from.recv().await.transpose()
    }

    /// Stops reading, and gives what was read already and fits no wait.
    pub(crate) fn stop(&mut self) -> Vec<Batch> {
        self.ahead.stop();
        let mut rest = Vec::new();
        while let Ok(Ok(batch)) = self.from.try_recv() {
            rest.push(batch);
        }
        rest
    }
}

impl Drop for Input {
    /// The thread may wait for room that nobody will make any more.
    fn drop(&mut self) {
        self.ahead.stop();
    }
}

fn read_all(
    mut source: Source,
    mut cut: impl Cut,
    to: &mpsc::Sender<Result<Batch, Refused>>,
    ahead: &Arc<Ahead>,
) {
    let mut free = BytesMut::new();
    while !ahead.stopped() {
        let mut records = Vec::new();
        let went_on = match read_block(&mut source, &mut free) {
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
        if !records.is_empty() {
            let Some(room) = ahead.take(records.iter().map(weight).sum()) else {
                return;
            };
            if to.blocking_send(Ok(Batch { records, room })).is_err() {
                return;
            }
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

/// What a record takes while it waits: its bytes, and what stands for it in queues. An empty line is
/// a record too, and a block may hold 65,536 of them.
fn weight(record: &NewRecord) -> usize {
    size_of::<NewRecord>() + record.size()
}

/// One read: what somebody types must not wait until a block is full. A short one leaves the rest of
/// its block to the next: records keep the whole block that they were read into, and lines that
/// come one by one would otherwise keep one each.
fn read_block(source: &mut Source, free: &mut BytesMut) -> io::Result<Bytes> {
    if free.len() < WORTH_A_READ {
        *free = BytesMut::zeroed(BLOCK);
    }
    loop {
        match source.read(free) {
            Ok(n) => return Ok(free.split_to(n).freeze()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    #[test]
    fn short_reads_share_a_block() {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut source: Source = Box::new(ours);
        let mut free = BytesMut::new();
        let mut read = |line: &[u8]| {
            (&theirs).write_all(line).expect("it is read");
            read_block(&mut source, &mut free).expect("it was written")
        };
        let (first, second) = (read(b"one\n"), read(b"two\n"));
        assert_eq!((&first[..], &second[..]), (&b"one\n"[..], &b"two\n"[..]));
        assert_eq!(first.as_ptr_range().end, second.as_ptr());
    }
}
