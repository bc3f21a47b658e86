//! File systems that are full: what has no room is refused with a typed error and handed back, what was acked stays,
//! and all goes on when there is room, without a restart; and a log opens, and trims, on one that is full already.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    time::Duration,
};

use rustix::fs::FallocateFlags;
use tierlog::{Error, NewRecord, Offset, Settings, Stream, TryAppend};
use tokio::time::timeout;

use crate::{
    look::{self, within},
    machine::Place,
    mounts::Kind,
    options::Options,
};

const STREAM: &str = "orders";
/// What is left for the log at first: some segments.
const LEFT: u64 = 2 << 20;
/// So long it has to find no room before it counts as full.
const FULL_FOR: Duration = Duration::from_millis(300);

/// A file that takes the room.
struct Ballast {
    at: PathBuf,
}

impl Ballast {
    /// Takes all room but for so many bytes.
    fn new(mount: &Path, name: &str, left: u64) -> Self {
        let at = mount.join(name);
        let file = File::create_new(&at).expect("room for a name");
        let mut len = 0;
        // In steps, since file systems need room to say where a file lies.
        let mut step = free(mount).saturating_sub(left);
        while step >= 4096 {
            step = step.min(free(mount).saturating_sub(left));
            match rustix::fs::fallocate(&file, FallocateFlags::empty(), len, step.max(1)) {
                Ok(()) => len += step.max(1),
                Err(_) => step /= 2,
            }
        }
        file.sync_all().expect("synced");
        Self { at }
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.at);
    }
}

fn free(mount: &Path) -> u64 {
    let room = rustix::fs::statvfs(mount).expect("it is mounted");
    // What is reserved for root is free for us.
    room.f_bfree * room.f_frsize
}

/// A stream, and what is in it for sure.
struct Filled {
    stream: Stream,
    acked: Vec<String>,
    refused: usize,
}

impl Filled {
    /// Appends until there is no room for it any more. What was refused comes back whole.
    async fn until_full(&mut self) {
        let mut sent = Vec::new();
        'full: loop {
            let text = format!(
                "record {} {}",
                self.acked.len() + sent.len(),
                "z".repeat(3000)
            );
            let mut record = NewRecord::from(text.clone());
            loop {
                match self.stream.try_append(record) {
                    Ok(ticket) => break sent.push((text, ticket)),
                    Err(TryAppend::WouldBlock { kind, payload }) => {
                        assert_eq!(
                            payload.payload,
                            text.as_bytes(),
                            "what was refused comes back"
                        );
                        record = payload;
                        self.land(&mut sent).await;
                        if timeout(FULL_FOR, self.stream.ready(kind)).await.is_err() {
                            break 'full;
                        }
                    }
                    Err(failed) => panic!("{failed}"),
                }
            }
            if sent.len() >= 16 {
                self.land(&mut sent).await;
            }
        }
        self.refused += 1;
    }

    async fn land(&mut self, sent: &mut Vec<(String, tierlog::Ticket)>) {
        let mut failed = false;
        for (text, ticket) in sent.drain(..) {
            match within(ticket).await {
                Ok(ack) => {
                    assert!(
                        !failed,
                        "nothing behind a record without room is appended before it is told"
                    );
                    assert_eq!(ack.offset, Offset(self.acked.len() as u64));
                    self.acked.push(text);
                }
                Err(error) => {
                    assert!(look::is_typed(&error.error), "{error}");
                    failed = true;
                    self.refused += 1;
                }
            }
        }
    }

    /// Appends some more, which there is room for, or is about to be: the files of what was trimmed go behind the
    /// ack, and ext4 gives their room back with a commit of its journal.
    async fn goes_on(&mut self, count: usize) {
        for _ in 0..count {
            let text = format!("record {} {}", self.acked.len(), "z".repeat(3000));
            let ack = within(async {
                loop {
                    match self.stream.append(text.clone()).await {
                        Ok(ack) => break ack,
                        Err(failed) => assert!(
                            matches!(failed.error, Error::StorageFull),
                            "{failed}: there is room"
                        ),
                    }
                    tokio::task::yield_now().await;
                }
            })
            .await;
            assert_eq!(ack.offset, Offset(self.acked.len() as u64));
            self.acked.push(text);
        }
    }

    async fn check(&self, start: u64) {
        let found = look::read(&self.stream).await;
        assert_eq!(found.start, start);
        let from = usize::try_from(start).expect("an offset");
        assert!(
            found.payloads == self.acked[from..],
            "what was acked is there, and nothing else"
        );
    }
}

/// The whole story on one file system.
pub fn run(kind: Kind, place: &Place, _: &Options) -> String {
    let image = place.dir.join("full.img");
    if kind != Kind::Tmpfs {
        kind.make(&image);
    }
    let mounted = kind
        .mount(&image, &place.dir.join("mount"))
        .expect("it mounts");
    let settings = Settings::for_tests(mounted.at.join("log"));
    let (acked, refused, left) = look::runtime().block_on(story(&mounted.at, &settings));
    format!(
        "full while appending, full of everything while opening, trimming and closing ({left} bytes free): {acked} acks \
         are there, {refused} times refused; goes on when there is room"
    )
}

async fn story(mount: &Path, settings: &Settings) -> (usize, usize, u64) {
    let ballast = Ballast::new(mount, "ballast", LEFT);
    let log = look::open(settings).await;
    let stream = within(log.log().stream(STREAM)).await.expect("a stream");
    let mut filled = Filled {
        stream,
        acked: Vec::new(),
        refused: 0,
    };
    filled.until_full().await;
    let first = filled.acked.len();
    assert!(first > 20, "{first} records fit");
    filled.check(0).await;
    look::verify(settings).await;
    drop(ballast);
    filled.goes_on(100).await;
    filled.check(0).await;
    // As by a crash, on a disk where nothing fits any more.
    drop(log);
    let ballast = Ballast::new(mount, "ballast.2", 0);
    let left = free(mount);
    let log = look::open(settings).await;
    assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
    filled.stream = within(log.log().stream(STREAM)).await.expect("a stream");
    filled.check(0).await;
    filled.until_full().await;
    filled.check(0).await;
    // It needs no room, and makes some.
    let before = filled.acked.len() as u64 / 2;
    within(filled.stream.trim(Offset(before)))
        .await
        .expect("trimmed");
    filled.goes_on(10).await;
    filled.check(before).await;
    look::close(log).await;
    let log = look::open(settings).await;
    filled.stream = within(log.log().stream(STREAM)).await.expect("a stream");
    filled.check(before).await;
    drop(ballast);
    filled.goes_on(10).await;
    filled.check(before).await;
    look::close(log).await;
    look::verify(settings).await;
    (filled.acked.len(), filled.refused, left)
}
