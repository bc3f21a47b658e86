//! The manifest of format version 1, byte for byte.
//!
//! `golden/manifest-v1.tlm` and `golden/CURRENT-v1` hold every entry that every program of version 1
//! knows, a snapshot and a chunk that is full; `golden/manifest-v1-parts.tlm` and
//! `golden/CURRENT-v1-parts` those of uploads in parts, which are optional. Every later version must read them to the same state (P13), and while
//! version 1 is what is written, writing must give the same bytes.
//!
//! A change that is meant to alter the bytes before version 1 is released: run this test with
//! `TIERLOG_REGENERATE_GOLDEN=1` in the environment, look at the difference, commit the files. Once
//! a version is released its files stay as they are, and a new version gets files of its own.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{path::PathBuf, sync::Arc};

use tierlog_storage::{
    disk::{Access, Disk, sim::SimDisk},
    ids::{Epoch, Incarnation, LogId, Offset, OwnerId, SegmentNo, StreamId},
    layout::Layout,
    manifest::{
        Current, Entry, Keep, ManifestLog, ManifestOptions, ManifestState, RetentionState, Seq,
        UploadId, inspect, replay,
    },
};

const LOG: LogId = LogId::from_bytes(*b"tierlog golden 1");
const A: StreamId = StreamId::from_bytes(*b"golden stream aa");
const B: StreamId = StreamId::from_bytes(*b"golden stream bb");

fn created(segment: u64, epoch: u64, incarnation: u64) -> Entry {
    Entry::SegmentCreated {
        stream: A,
        segment: SegmentNo(segment),
        salt: 0x1000 + segment,
        capacity: 16 << 20,
        epoch: Epoch(epoch),
        incarnation: Incarnation(incarnation),
    }
}

fn sealed(segment: u64, base: u64, end: u64, ext: Option<(u64, u64)>) -> Entry {
    Entry::Sealed {
        stream: A,
        segment: SegmentNo(segment),
        base: Offset(base),
        end: Offset(end),
        data_end: 128 + (end - base) * 100,
        file_len: 512 + (end - base) * 100,
        first_ts: 1_700_000_000_000_000_000 + base,
        last_ts: 1_700_000_000_000_000_000 + end,
        ext,
        digest: 0xd1_6e57 + segment,
        flush_failed: segment == 1,
    }
}

fn mark(durable: u64, segment: Option<u64>, clean: bool) -> Entry {
    Entry::Mark {
        stream: A,
        durable: Offset(durable),
        segment: segment.map(SegmentNo),
        end_byte: 4096,
        incarnation: Incarnation(5),
        clean,
    }
}

fn uploaded(segment: u64) -> Entry {
    Entry::Uploaded {
        stream: A,
        segment: SegmentNo(segment),
        key: format!("prefix/streams/a/{segment:020}-3-{segment}.tlz"),
        len: 777,
        crc: 0xc0_1d,
    }
}

fn claim(number: u64, owner: u8) -> Entry {
    Entry::ColdClaim {
        number,
        owner: OwnerId::from_bytes([owner; 16]),
    }
}

/// What stands in the snapshot.
fn before() -> Vec<Entry> {
    let stream = |stream, name: &str| Entry::StreamCreated {
        stream,
        name: name.into(),
        created_ns: 1_700_000_000_000_000_000,
    };
    vec![
        Entry::Epoch {
            epoch: Epoch(3),
            opened_ns: 1_700_000_000_000_000_000,
        },
        claim(41, 1),
        Entry::Published { number: 41 },
        stream(A, "orders"),
        stream(B, "größe ✓"),
        created(0, 3, 1),
        sealed(0, 0, 10, Some((5, 9))),
        created(1, 3, 1),
        sealed(1, 10, 25, None),
        uploaded(0),
        created(2, 3, 2),
        Entry::Closed {
            stream: A,
            segment: SegmentNo(2),
            base: Offset(25),
            end: Offset(30),
            end_byte: 1024,
        },
        created(3, 3, 5),
        mark(33, Some(3), false),
    ]
}

/// What is committed behind it: every entry that is not part of a snapshot.
fn commits() -> Vec<Vec<Entry>> {
    [about_copies(), about_ends()].concat()
}

fn about_copies() -> Vec<Vec<Entry>> {
    let (stream, segment) = (A, SegmentNo(0));
    let second = SegmentNo(1);
    vec![
        vec![Entry::Epoch {
            epoch: Epoch(4),
            opened_ns: 1_700_000_001_000_000_000,
        }],
        vec![
            Entry::Warmed {
                stream,
                segment: second,
                file_len: 300,
                crc: 0x3a12,
            },
            Entry::UploadStarted {
                stream,
                segment: second,
                key: "prefix/part".into(),
                upload_id: "upload-7".into(),
            },
            uploaded(1),
            claim(42, 2),
            Entry::Published { number: 42 },
            Entry::Archived {
                stream,
                end: Offset(25),
            },
        ],
        vec![
            Entry::NeedsRecovery {
                stream,
                segment: second,
            },
            Entry::HotDropped {
                stream,
                segment: second,
            },
            Entry::HotRestored {
                stream,
                segment: second,
            },
            Entry::WarmDropped {
                stream,
                segment: second,
            },
            Entry::ColdDropped { stream, segment },
            Entry::ColdDeleted { stream, segment },
        ],
    ]
}

fn about_ends() -> Vec<Vec<Entry>> {
    let stream = A;
    vec![
        vec![
            Entry::TruncatedAfter {
                stream,
                end: Offset(28),
                incarnation: Incarnation(6),
            },
            Entry::Closed {
                stream,
                segment: SegmentNo(2),
                base: Offset(25),
                end: Offset(27),
                end_byte: 512,
            },
            Entry::Removed {
                stream,
                segment: SegmentNo(3),
            },
            created(4, 4, 6),
        ],
        vec![sealed(4, 27, 28, Some((7, 7)))],
        vec![Entry::Trimmed {
            stream,
            start: Offset(12),
        }],
        vec![Entry::Retention {
            stream,
            retention: RetentionState {
                age_ns: Keep::All,
                bytes: Keep::AtMost(1 << 40),
            },
        }],
        // Enough to fill the chunk, so that there is a trailer and a second one.
        (0..96).map(filler).collect(),
        vec![Entry::Mark {
            stream: B,
            durable: Offset(0),
            segment: None,
            end_byte: 0,
            incarnation: Incarnation(1),
            clean: true,
        }],
    ]
}

fn filler(n: u8) -> Entry {
    Entry::StreamCreated {
        stream: StreamId::from_bytes([n; 16]),
        name: format!("filler {n:0>100}"),
        created_ns: u64::from(n),
    }
}

fn begun(segment: u64, id: &str) -> Entry {
    Entry::PartsBegun {
        key: format!("streams/a/{segment:020}-3-{segment}.tlz"),
        id: UploadId::new(id).unwrap(),
    }
}

fn gone(segment: u64, id: &str) -> Entry {
    Entry::PartsGone {
        key: format!("streams/a/{segment:020}-3-{segment}.tlz"),
        id: UploadId::new(id).unwrap(),
    }
}

/// Every entry, as programs know them that know nothing of uploads in parts.
fn write() -> Written {
    write_all(&before(), &commits())
}

/// Uploads in parts: two in the snapshot, of which one comes to its end, and a third.
fn write_parts() -> Written {
    let mut before = before();
    before.extend([begun(0, "upload-0"), begun(1, "https://x/session?id=1")]);
    write_all(
        &before,
        &[
            vec![begun(1, "VXBsb2FkIElE.2~x")],
            vec![gone(0, "upload-0")],
            vec![begun(2, "upload-2"), gone(2, "upload-2")],
        ],
    )
}

type Written = (Arc<dyn Disk>, Layout, ManifestState);

/// Writes a history on an empty disk.
fn write_all(before: &[Entry], commits: &[Vec<Entry>]) -> Written {
    let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
    let layout = Layout::new("/log");
    disk.create_dir(layout.root()).unwrap();
    disk.create_dir(&layout.manifest_dir()).unwrap();
    let mut state = ManifestState::new(LOG);
    state.apply_all(before).unwrap();
    state.seq = Seq(1000);
    let options = ManifestOptions {
        chunk_size: 16 << 10,
        rotate_bytes: 1 << 20,
    };
    let mut log = ManifestLog::create(
        &disk,
        &layout,
        7,
        &state,
        &options,
        1_700_000_002_000_000_000,
    )
    .unwrap();
    log.publish().unwrap();
    for results in [
        log.commit(&commits[..3], &mut state).unwrap(),
        log.commit(&commits[3..], &mut state).unwrap(),
        log.commit(&[], &mut state).unwrap(),
    ] {
        results
            .into_iter()
            .for_each(|result| assert!(result.is_ok(), "{result:?}"));
    }
    log.close_clean().unwrap();
    (disk, layout, state)
}

fn bytes(disk: &dyn Disk, path: PathBuf) -> Vec<u8> {
    let file = disk.open(&path, Access::Read).unwrap();
    let mut bytes = vec![0; usize::try_from(file.len().unwrap()).unwrap()];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

/// A history, and the names of the files that keep it.
type History = (fn() -> Written, &'static str, &'static str);

const HISTORIES: [History; 2] = [
    (write, "manifest-v1.tlm", "CURRENT-v1"),
    (write_parts, "manifest-v1-parts.tlm", "CURRENT-v1-parts"),
];

#[test]
fn version_1_is_written_as_ever() {
    let files = HISTORIES
        .into_iter()
        .flat_map(|(write, manifest, current)| {
            let (disk, layout, _) = write();
            [
                (manifest, bytes(&*disk, layout.manifest(7))),
                (current, bytes(&*disk, layout.current())),
            ]
        });
    for (name, written) in files {
        let path = golden(name);
        if std::env::var_os("TIERLOG_REGENERATE_GOLDEN").is_some() {
            std::fs::write(&path, &written).unwrap();
        }
        let kept = std::fs::read(&path).unwrap();
        let differs = kept.iter().zip(&written).position(|(a, b)| a != b);
        assert_eq!(differs, None, "{name} differs from this byte on");
        assert_eq!(kept.len(), written.len(), "{name}");
    }
}

#[test]
fn version_1_is_read_as_ever() {
    // Every type that there is, but for what is said of parts.
    assert_eq!(read_as_ever(HISTORIES[0], 2), 26);
    let (_, _, state) = write_parts();
    let ids = state.parts.iter().map(|parts| parts.id.as_str());
    let left = ["https://x/session?id=1", "VXBsb2FkIElE.2~x"];
    assert!(ids.eq(left), "{:?}", state.parts);
    read_as_ever(HISTORIES[1], 1);
}

/// Reads the files that keep a history; tells how many types of entries they hold.
fn read_as_ever(history: History, chunks: usize) -> usize {
    let (write, manifest, current) = history;
    let (_, _, expected) = write();
    let epoch = expected.epoch;
    let disk = SimDisk::new();
    let layout = Layout::new("/log");
    disk.create_dir(layout.root()).unwrap();
    disk.create_dir(&layout.manifest_dir()).unwrap();
    for (name, path) in [(manifest, layout.manifest(7)), (current, layout.current())] {
        let bytes = std::fs::read(golden(name)).unwrap();
        disk.create_new(&path).unwrap().write_at(&bytes, 0).unwrap();
    }
    let current = Current::read(&disk, &layout).unwrap().unwrap();
    assert_eq!((current.number, current.epoch), (7, epoch));
    let replayed = replay(&disk, &layout, &current).unwrap();
    assert_eq!(replayed.state, expected);
    assert!(replayed.report.damage.is_empty() && !replayed.report.torn);
    let seen = inspect(&disk, &layout).unwrap();
    let [file] = &seen.files[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(file.chunks.len(), chunks);
    file.entries_by_type.len()
}
