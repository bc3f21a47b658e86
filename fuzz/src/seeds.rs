//! What the corpora begin with: small files as this version writes them, and the golden ones.

use std::{fs, path::PathBuf, sync::Arc};

use crate::{
    disk::{LOG, SALT, SEGMENT, STREAM, empty, layout},
    manifest::NUMBER,
    storage::{
        Epoch, Incarnation, Offset, SegmentNo,
        catalog::{SegmentKey, catalog_key},
        claims::{Claim, ClaimsFile},
        disk::{Access, Disk},
        manifest::{
            Current, Entry, ManifestLog, ManifestOptions, ManifestState, Seq,
            chunk::{CHUNK_HEADER, CHUNK_MIN, FIRST_CHUNK},
        },
        segment::{
            Digest, Footer, Frame, FrameBuilder, FrameSeal, HEADER_LEN, NewRecord, SegmentHeader,
            SparseIndex,
        },
    },
    warm,
};

fn with_mode(mode: u8, bytes: &[u8]) -> Vec<u8> {
    [&[mode], bytes].concat()
}

fn golden(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../storage/tests/golden")
        .join(name);
    fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn one(base: u64, records: &[NewRecord]) -> Frame {
    let mut builder = FrameBuilder::new(64);
    for (record, timestamp) in records.iter().zip(1_000..) {
        builder.push(timestamp, record);
    }
    builder.finish(&FrameSeal {
        base: Offset(base),
        durable: Offset(base),
        salt: SALT,
    })
}

/// Frames of every shape.
pub fn frame() -> Vec<Vec<u8>> {
    let plain = [
        NewRecord::new("one"),
        NewRecord::new(""),
        NewRecord::new("three"),
    ];
    let rich = [
        NewRecord::new("a").key("key").ext_id(7),
        NewRecord::new("b").ext_id(u64::MAX),
        NewRecord::new("c").key(""),
        NewRecord::new("d"),
    ];
    let long = [NewRecord::new(vec![7; 300])];
    let frames = [one(0, &plain), one(1_000, &rich), one(u64::MAX - 4, &long)];
    frames
        .iter()
        .map(|frame| with_mode(5, &frame.bytes))
        .collect()
}

/// A segment with four frames.
pub fn sealed_segment() -> (Vec<u8>, Footer) {
    let header = SegmentHeader {
        log: LOG,
        stream: STREAM,
        segment: SEGMENT,
        base: Offset(10),
        epoch: Epoch(1),
        incarnation: Incarnation(1),
        created_ns: 1,
        capacity: 1 << 16,
        first_ext_id: None,
        salt: SALT,
        manifest_seq: 5,
    }
    .encode();
    let crc = u64::from_le_bytes(*header.last_chunk().expect("128 bytes"));
    let (mut digest, mut index) = (Digest::new(crc), SparseIndex::default());
    let mut bytes = header.to_vec();
    let mut end = Offset(10);
    for n in 1..5 {
        let records = vec![NewRecord::new(vec![n as u8; 9 * n]); n];
        let frame = one(end.get(), &records);
        digest.push(frame.crc);
        index.note(frame.base, bytes.len() as u64, frame.first_ts);
        bytes.extend_from_slice(&frame.bytes);
        end = frame.end();
    }
    let footer = Footer {
        log: LOG,
        segment: SEGMENT,
        base: Offset(10),
        end,
        data_end: bytes.len() as u64,
        first_ts: 1_000,
        last_ts: 1_003,
        ext: None,
        digest: digest.value(),
        watermark: end,
        flush_failed: false,
        index,
    };
    bytes.extend_from_slice(&footer.encode(SALT));
    (bytes, footer)
}

/// A sealed segment, an open one with zeros behind, one with a hole, and the golden one's begin.
pub fn segment() -> Vec<Vec<u8>> {
    let (sealed, footer) = sealed_segment();
    let mut open = sealed[..footer.data_end as usize].to_vec();
    open.resize(open.len() + 256, 0);
    let mut holed = sealed.clone();
    holed[HEADER_LEN as usize + 60] ^= 0x40;
    let golden = golden("segment-v1.tls");
    vec![
        with_mode(3, &sealed),
        with_mode(1, &open),
        with_mode(2, &holed),
        with_mode(5, &sealed),
        with_mode(1, &golden[..golden.len().min(1 << 10)]),
        with_mode(0, &[0; 512]),
    ]
}

/// Headers and footers.
pub fn seal() -> Vec<Vec<u8>> {
    let (sealed, footer) = sealed_segment();
    let mut rich = footer.clone();
    (rich.ext, rich.flush_failed) = (Some((3, 9)), true);
    let golden = golden("segment-v1.tls");
    vec![
        with_mode(1, &sealed[..HEADER_LEN as usize]),
        with_mode(1, &golden[..HEADER_LEN as usize]),
        with_mode(3, &footer.encode(SALT)),
        with_mode(3, &rich.encode(SALT)),
        with_mode(3, &golden[golden.len() - 256..]),
    ]
}

/// A good file, and changes in its head, its frames, its index and its seek table.
pub fn warm() -> Vec<Vec<u8>> {
    let good = warm::good();
    let at = |back: usize| {
        u16::try_from(good.len() - back)
            .expect("a small file")
            .to_le_bytes()
    };
    let ([low, high], [index_low, index_high]) = (at(9), at(220));
    vec![
        vec![0],
        with_mode(2, &good),
        with_mode(3, &good),
        vec![1, 20, 0, 1],
        vec![0, 130, 0, 1],
        vec![1, 130, 0, 1],
        vec![1, index_low, index_high, 2],
        vec![0, low, high, 1],
        vec![1, low, high, 1],
    ]
}

fn entries() -> Vec<Vec<Entry>> {
    let (stream, segment) = (STREAM, SegmentNo(0));
    let created = |segment, salt| Entry::SegmentCreated {
        stream,
        segment,
        salt,
        capacity: 1 << 16,
        epoch: Epoch(1),
        incarnation: Incarnation(0),
    };
    let name = "orders".to_owned();
    vec![
        vec![Entry::Epoch {
            epoch: Epoch(1),
            opened_ns: 1,
        }],
        vec![Entry::StreamCreated {
            stream,
            name,
            created_ns: 2,
        }],
        vec![created(segment, 1), created(SegmentNo(1), 2)],
        vec![Entry::Closed {
            stream,
            segment,
            base: Offset(0),
            end: Offset(9),
            end_byte: 900,
        }],
        vec![Entry::Trimmed {
            stream,
            start: Offset(3),
        }],
    ]
}

/// A golden manifest, as if it were of the log that is read here.
fn adopted(name: &str) -> Vec<u8> {
    let mut bytes = golden(name);
    bytes[16..32].copy_from_slice(LOG.as_bytes());
    bytes[32..40].copy_from_slice(&NUMBER.to_le_bytes());
    for chunk in bytes[FIRST_CHUNK as usize..].chunks_mut(CHUNK_MIN as usize) {
        if chunk.starts_with(b"TLMCHUNK") {
            chunk[24..40].copy_from_slice(LOG.as_bytes());
            chunk[48..56].copy_from_slice(&NUMBER.to_le_bytes());
        }
    }
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    with_mode(1, &bytes)
}

/// A manifest as a log writes it: the file itself, and its commits alone; and golden ones, which have
/// every entry there is, and two chunks.
pub fn manifest() -> Vec<Vec<u8>> {
    let (sim, layout) = (empty(), layout());
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let mut state = ManifestState::new(LOG);
    let options = ManifestOptions {
        chunk_size: CHUNK_MIN,
        rotate_bytes: 4 * CHUNK_MIN,
    };
    let mut log = ManifestLog::create(&disk, &layout, NUMBER, &state, &options, 1).expect("new");
    log.publish().expect("no fault is armed");
    for entries in entries() {
        for committed in log
            .commit(&[entries], &mut state)
            .expect("no fault is armed")
        {
            committed.expect("a valid commit");
        }
    }
    let file = disk
        .open(&layout.manifest(NUMBER), Access::Read)
        .expect("it was just made");
    let mut bytes = vec![0; (FIRST_CHUNK + CHUNK_MIN) as usize];
    let len = file.read_at(&mut bytes, 0).expect("in memory");
    bytes.truncate(len);
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    let commits = &bytes[FIRST_CHUNK as usize + CHUNK_HEADER..];
    let first = commits.len() / 2 / 8 * 8;
    vec![
        with_mode(3, commits),
        with_mode(3, &commits[..first]),
        with_mode(
            3,
            &[&commits[..first], &[0; 64], &commits[first..]].concat(),
        ),
        with_mode(1, &bytes),
        with_mode(0, &bytes),
        adopted("manifest-v1.tlm"),
        adopted("manifest-v1-parts.tlm"),
    ]
}

/// Pointers and claims.
pub fn pointers() -> Vec<Vec<u8>> {
    let mut current = Current {
        log: LOG,
        number: NUMBER,
        clean: None,
        epoch: Epoch(2),
    };
    let plain = current.encode();
    current.clean = Some((Seq(9), 5_000));
    let (disk, layout) = (empty(), layout());
    let claims = ClaimsFile::create(&disk, &layout, 3).expect("no fault is armed");
    for slot in [0, 2] {
        let claim = Claim {
            stream: STREAM,
            epoch: Epoch(1),
            incarnation: Incarnation(1),
            durable: Offset(77),
        };
        claims.put(slot, &claim).expect("no fault is armed");
    }
    let file = disk
        .open(&layout.claims(), Access::Read)
        .expect("it was just made");
    let mut slots = [0; 192];
    file.read_at(&mut slots, 0).expect("in memory");
    vec![
        with_mode(1, &plain),
        with_mode(1, &current.encode()),
        with_mode(1, &golden("CURRENT-v1")),
        with_mode(3, &slots),
    ]
}

/// Objects of the catalog: the golden ones.
pub fn catalog() -> Vec<Vec<u8>> {
    ["claim", "publication", "tombstone"]
        .iter()
        .map(|kind| with_mode(1, &golden(&format!("catalog-v1-{kind}.tlc"))))
        .collect()
}

/// Names of every sort.
pub fn names() -> Vec<Vec<u8>> {
    let key = SegmentKey {
        stream: STREAM,
        base: Offset(10),
        epoch: Epoch(3),
        segment: SEGMENT,
    };
    let layout = layout();
    let paths = [
        layout.manifest(NUMBER),
        layout.segment(STREAM, SEGMENT),
        layout.warm(STREAM, SEGMENT),
        layout.segment_tmp(STREAM, SEGMENT),
        layout.stream_dir(STREAM),
    ];
    let files = paths.iter().filter_map(|path| path.file_name()?.to_str());
    let files = files.map(str::to_owned);
    let names = files.chain([catalog_key(7), key.to_string()]);
    let places = [
        "memory://",
        "fs:///var/lib/a%20b",
        "s3://bucket/pre/fix?endpoint=http://127.0.0.1:9000&region=us-east-1",
        "gcs://bucket?credential_path=/etc/key&token=t",
        "azblob://container/p?account_name=me&sas_token=sv%3D1",
        "/var/lib/cold",
    ];
    let names = names.map(|name| with_mode(0, name.as_bytes()));
    let places = places.iter().map(|place| with_mode(1, place.as_bytes()));
    names.chain(places).collect()
}

/// Settings of every sort.
pub fn settings() -> Vec<Vec<u8>> {
    let lines = tierlog::Settings::keys().iter();
    let lines: Vec<String> = lines
        .map(|key| format!("{}={}\n", key.name, key.default))
        .collect();
    let toml =
        "flush = 'every 5ms'\nsegment_size = '64MiB'\nio_threads = 2\nsegment_age = \"never\"\n";
    vec![
        with_mode(0, toml.as_bytes()),
        with_mode(0, b"flush = \"bytes 1MiB\"\n[data]\nread = 3.5\n"),
        with_mode(1, lines.concat().as_bytes()),
        with_mode(
            1,
            b"hot_budget=10GiB\nflush=bytes 64KiB\nread=map\nidle_mark=250ms\n",
        ),
    ]
}

/// Lives of a log: the first byte is policy and seed, the others are operations.
pub fn ops() -> Vec<Vec<u8>> {
    vec![
        // Appends, a kill, appends, a power cut.
        vec![0, 0, 9, 0, 200, 3, 4, 5, 9, 14, 0, 1, 0, 99, 10, 15, 7, 12],
        // Rolls over, trims, truncates, closes.
        vec![
            3, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 0, 255, 10, 7, 8, 3, 9, 2, 0, 1, 13, 12,
        ],
        // Flushed by hand, both streams.
        vec![
            1, 0, 9, 0x80, 9, 3, 5, 0x83, 2, 6, 0x86, 0, 9, 15, 3, 12, 0, 1, 13,
        ],
        // A failing sync of a segment, then of the manifest.
        vec![
            2, 0, 9, 10, 11, 0, 0, 50, 3, 3, 10, 12, 11, 1, 7, 10, 15, 200, 12,
        ],
        // A full disk, and room again.
        vec![
            6, 0, 9, 11, 14, 0, 255, 0, 255, 0, 255, 0, 255, 5, 20, 10, 11, 3, 0, 9, 10, 13,
        ],
        // So much that segments are compressed, read and truncated.
        [
            &[66, 10][..],
            &[0, 255, 0x80, 250].repeat(24),
            &[
                10, 12, 5, 255, 7, 10, 12, 9, 9, 12, 14, 12, 8, 20, 15, 3, 12,
            ],
        ]
        .concat(),
        // Appends on a condition, and a truncation of what was just accepted.
        vec![9, 4, 0, 4, 70, 0, 5, 0, 6, 9, 2, 4, 0, 5, 31, 10, 15, 1, 12],
    ]
}
