//! Writes that fail below a file system, when it writes its cache back: the disk answers EIO to each write that holds a
//! text, which stands in one record alone, or in the name of one stream.
//!
//! The kernel forgets such a failure. The next sync of that file succeeds, and whoever reads it is shown what no disk
//! has. So each story goes on with a new owner, who finds the cache warm, and then with power cuts: what was shown
//! before has to be there behind each of them.

use std::{fs, path::Path, time::Duration};

use fastrand::Rng;
use tierlog::{Error, From, ReadOnly, Settings};

use crate::{
    cuts::{Cut, Fate, Platter},
    disk::Disk,
    look::{self, Found, within},
    machine::Place,
    mounts::Kind,
    options::Options,
};

/// What no other write holds.
const TEXT: &str = "this-write-fails";
/// More than there are writes.
const ALL: u64 = 1_000_000;
const STREAM: &str = "orders";
/// Records before the one that fails.
const BEFORE: u64 = 20;

/// Where the text is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mark {
    /// In a record: a segment's write-back fails.
    Record,
    /// In the name of a new stream: that of the manifest.
    Name,
}

/// What happens.
#[derive(Debug, Clone, Copy)]
struct Story {
    mark: Mark,
    /// So many writes fail.
    count: u64,
    /// The log is closed then, and not dropped.
    closed: bool,
    /// All outcomes of each cut are looked at, and not two of them.
    all: bool,
}

/// Something that was seen, and how far the disk was by then.
struct Seen {
    position: u64,
    found: Found,
    /// Whether there may be more behind a cut: what a reader without an owner is shown may be less than what is there.
    part: bool,
}

/// All stories on one file system.
pub fn run(kind: Kind, place: &Place, options: &Options) -> String {
    let (mut stories, mut failed, mut cuts, mut shown) = (0, 0, 0, 0);
    for mark in [Mark::Record, Mark::Name] {
        for (count, closed) in [(1, false), (1, true), (2, true), (ALL, false), (ALL, true)] {
            let all = options.is_long();
            let story = Story {
                mark,
                count,
                closed,
                all,
            };
            let place = place.folder(&format!("story.{stories}"));
            let told = story.tell(kind, &place, options.seed);
            stories += 1;
            failed += told.failed;
            cuts += told.cuts;
            shown += usize::from(told.shown);
            place.clear();
        }
    }
    format!(
        "{stories} stories, {failed} writes that failed below the file system, {cuts} power cuts; in {shown} stories the \
         next owner was shown what had failed, and made it durable"
    )
}

/// What came of a story.
struct Came {
    failed: u64,
    cuts: usize,
    shown: bool,
}

impl Story {
    fn tell(self, kind: Kind, place: &Place, seed: u64) -> Came {
        let mut disk = Disk::new(kind, place);
        let settings = Settings {
            stall_after: Duration::from_secs(60),
            ..Settings::for_tests(disk.at().join("log"))
        };
        let mut seen = Vec::new();
        let (failed, shown) = look::runtime().block_on(async {
            let acked = self.fails(&settings, &disk).await;
            let failed = disk.failed();
            assert!(failed >= 1, "{self:?}: no write failed");
            seen.push(Seen {
                position: disk.position(),
                found: acked,
                part: true,
            });
            // The disk is well again, and the cache is as warm as it was.
            disk.fail(TEXT, 0);
            let found = attached(&settings).await;
            seen.push(Seen {
                position: disk.position(),
                found,
                part: true,
            });
            let log = look::open(&settings).await;
            let found = look::read_all(&log).await;
            let shown = has_text(&found);
            seen.push(Seen {
                position: disk.position(),
                found,
                part: false,
            });
            let stream = within(log.log().stream(STREAM)).await.expect("a stream");
            within(stream.append("after")).await.expect("an ack");
            let found = look::read_all(&log).await;
            seen.push(Seen {
                position: disk.position(),
                found,
                part: false,
            });
            drop(log);
            (failed, shown)
        });
        disk.stop();
        let cuts = self.cut(kind, &disk, place, &seen, seed);
        Came {
            failed,
            cuts,
            shown,
        }
    }

    /// Appends, and meets the failure; gives what was acked.
    async fn fails(self, settings: &Settings, disk: &Disk) -> Found {
        let log = look::open(settings).await;
        let stream = within(log.log().stream(STREAM)).await.expect("a stream");
        let mut acked = Found::default();
        let mut payloads = Vec::new();
        for n in 0..BEFORE {
            payloads.push(format!("record {n} {}", "y".repeat(200)));
            within(stream.append(payloads[payloads.len() - 1].clone()))
                .await
                .expect("an ack");
        }
        disk.fail(TEXT, self.count);
        match self.mark {
            Mark::Record => {
                let outcome = within(stream.append(TEXT)).await;
                match outcome {
                    Ok(_) => payloads.push(TEXT.to_owned()),
                    Err(failed) => self.expect(&failed.error),
                }
                // Once is made good elsewhere; a second time it can't be called durable.
                assert_eq!(payloads.len() as u64 > BEFORE, self.count == 1, "{self:?}");
            }
            Mark::Name => match within(log.log().stream(TEXT)).await {
                Ok(made) => {
                    let ack = within(made.append("in it")).await;
                    let payloads = ack.map(|_| vec!["in it".to_owned()]).unwrap_or_default();
                    acked.streams.insert(
                        TEXT.to_owned(),
                        look::Stream {
                            payloads,
                            ..look::Stream::default()
                        },
                    );
                }
                Err(error) => self.expect(&error),
            },
        }
        // Whatever happened, the log goes on, or says that it does not.
        match within(stream.append("behind it")).await {
            Ok(_) => payloads.push("behind it".to_owned()),
            Err(failed) => self.expect(&failed.error),
        }
        acked.streams.insert(
            STREAM.to_owned(),
            look::Stream {
                payloads,
                ..look::Stream::default()
            },
        );
        match self.closed {
            true => drop(log.shutdown(Duration::from_secs(30)).await),
            false => drop(log),
        }
        acked
    }

    fn expect(self, error: &Error) {
        assert!(look::is_typed(error), "{self:?}: {error:?}");
    }

    /// Cuts the power at each moment at which something was seen, and looks.
    fn cut(self, kind: Kind, disk: &Disk, place: &Place, seen: &[Seen], seed: u64) -> usize {
        let record = disk.record();
        let mut rng = Rng::with_seed(seed);
        let mut platter = Platter::new(&record, disk.base(), place.dir.join("platter.img"));
        let (image, mount) = (place.dir.join("cut.img"), place.dir.join("again"));
        let mut cuts = 0;
        for (nth, seen) in seen.iter().enumerate() {
            let others = [Fate::Kept, Fate::Some(rng.u64(..)), Fate::Torn(rng.u64(..))];
            let others = if self.all {
                &others[..]
            } else {
                &others[nth % 3..=nth % 3]
            };
            for fate in std::iter::once(Fate::Lost).chain(others.iter().copied()) {
                let cut = Cut {
                    at: record.entries_at(seen.position),
                    fate,
                };
                platter.cut(cut, &image);
                self.look(
                    kind,
                    &image,
                    &mount,
                    seen,
                    &format!("{self:?}, sight {nth}, cut {cut}"),
                );
                fs::remove_file(&image).expect("an image");
                cuts += 1;
            }
        }
        cuts
    }

    fn look(self, kind: Kind, image: &Path, mount: &Path, seen: &Seen, what: &str) {
        let mounted = kind.mount(image, mount);
        let mounted =
            mounted.unwrap_or_else(|why| panic!("{what}: the kernel does not mount it: {why}"));
        let settings = Settings::for_tests(mounted.at.join("log"));
        let check = |found: &Found| match seen.part {
            true => assert!(
                seen.found.is_part_of(found),
                "{what}: {} is gone",
                seen.found.without(found)
            ),
            false => assert!(
                found.is_at_least(&seen.found),
                "{what}: {} is gone",
                seen.found.without(found)
            ),
        };
        let _told = WhatFailed(what);
        look::runtime().block_on(look::recovers(&settings, true, check));
    }
}

/// Says which look it was that panicked.
struct WhatFailed<'a>(&'a str);

impl Drop for WhatFailed<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("  in {}", self.0);
        }
    }
}

/// What a reader beside nobody is shown as durable.
async fn attached(settings: &Settings) -> Found {
    let view = ReadOnly::attach(&settings.data).await.expect("attached");
    let mut found = Found::default();
    for info in view.streams() {
        let stream = view.stream(&info.name).expect("it is listed");
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let mut payloads = Vec::new();
        loop {
            let batch = within(reader.next_batch(100)).await.expect("records");
            if batch.is_empty() {
                break;
            }
            payloads.extend(
                batch
                    .iter()
                    .map(|r| String::from_utf8_lossy(&r.payload).into_owned()),
            );
        }
        // A name alone may come from a commit that failed: whoever only reads can't make it durable first.
        if !payloads.is_empty() {
            found.streams.insert(
                info.name,
                look::Stream {
                    payloads,
                    ..look::Stream::default()
                },
            );
        }
    }
    found
}

fn has_text(found: &Found) -> bool {
    let in_record = |stream: &look::Stream| stream.payloads.iter().any(|payload| payload == TEXT);
    found.streams.contains_key(TEXT) || found.streams.values().any(in_record)
}

impl Found {
    /// Whether each stream of this one is the beginning of one there.
    fn is_part_of(&self, other: &Self) -> bool {
        let is_part = |(name, stream): (&String, &look::Stream)| {
            let there = other.streams.get(name);
            there.is_some_and(|there| there.payloads.starts_with(&stream.payloads))
        };
        self.streams.iter().all(is_part)
    }

    /// Of which streams something is not there, in words.
    fn without(&self, other: &Self) -> String {
        let mut words = Vec::new();
        for (name, stream) in &self.streams {
            match other.streams.get(name) {
                None => words.push(format!("stream {name}")),
                Some(there) if there.payloads != stream.payloads => {
                    words.push(format!(
                        "a part of {name} ({} of {})",
                        there.payloads.len(),
                        stream.payloads.len()
                    ));
                }
                Some(_) => {}
            }
        }
        words.join(", ")
    }
}
