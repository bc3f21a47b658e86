//! A compressed segment with any bytes changed, or any bytes in its place.
//!
//! Byte 0: bit 0 makes the checksums right; bit 1 takes the rest as the file. Otherwise the rest are
//! changes of a good one, three bytes each: a place, low byte first, and what is flipped there; a place
//! behind the end cuts the file.

use std::sync::{Arc, OnceLock};

use crate::storage::{
    disk::Disk,
    manifest::SealedFacts,
    segment::Latched,
    warm::{
        MAX_PLAIN, WarmIdentity, WarmOptions, WarmView, as_segment, compress, read_index, restore,
    },
};
use crate::{
    checksums,
    disk::{LOG, SALT, SEGMENT, STREAM, empty, layout, put, with_segment},
    seeds, take,
};

/// A segment, and the file that it was compressed to.
struct Whole {
    segment: Vec<u8>,
    file: Vec<u8>,
    identity: WarmIdentity,
}

fn whole() -> &'static Whole {
    static WHOLE: OnceLock<Whole> = OnceLock::new();
    WHOLE.get_or_init(|| {
        let (segment, footer) = seeds::sealed_segment();
        let identity = WarmIdentity {
            log: LOG,
            stream: STREAM,
            segment: SEGMENT,
            salt: SALT,
            facts: SealedFacts {
                base: footer.base,
                end: footer.end,
                data_end: footer.data_end,
                file_len: segment.len() as u64,
                first_ts: footer.first_ts,
                last_ts: footer.last_ts,
                ext: footer.ext,
                digest: footer.digest,
                flush_failed: footer.flush_failed,
            },
        };
        let (_disk, source) = with_segment(&segment);
        let (disk, path) = (empty(), layout().warm(STREAM, SEGMENT));
        let file = disk.create_new(&path).expect("the file is new");
        let file = Latched::new(file, path);
        // Small enough for several.
        let options = WarmOptions {
            level: 3,
            frame: 100,
        };
        let made = compress(&source, &identity, &options, &file, &mut |_| true);
        let len = usize::try_from(made.expect("a good segment").file_len).expect("small");
        let mut bytes = vec![0; len];
        file.read_at(&mut bytes, 0).expect("no fault is armed");
        Whole {
            segment,
            file: bytes,
            identity,
        }
    })
}

/// The good file, for seeds.
pub fn good() -> Vec<u8> {
    whole().file.clone()
}

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let whole = whole();
    let mut bytes = match mode & 2 {
        0 => changed(&whole.file, data),
        _ => data[..data.len().min(16 << 10)].to_vec(),
    };
    let mends = mode & 1 != 0;
    if mends {
        checksums::warm(&mut bytes);
    }
    let disk = empty();
    let path = layout().warm(STREAM, SEGMENT);
    let file = Latched::new(put(&disk, &path, &bytes), path);
    // Where no checksum was forged, what is given is what was there.
    let is_there = |pos: u64, plain: &[u8]| {
        let from = usize::try_from(pos).expect("within the file");
        let there = whole.segment.get(from..from + plain.len());
        assert!(mends || there == Some(plain), "other bytes at {pos}");
    };
    let len = bytes.len() as u64;
    if let Ok(index) = read_index(&file, len, &whole.identity) {
        let mut end = 0;
        let restored = restore(&file, &index, &mut |pos, plain| {
            assert_eq!(pos, end, "in order");
            is_there(pos, plain);
            end += plain.len() as u64;
            Ok(())
        });
        assert!(restored.is_err() || end == whole.identity.facts.file_len);
    }
    let Ok(view) = WarmView::of(file, &whole.identity, len) else {
        return;
    };
    let view = Arc::new(view);
    for frame in view.index().frames() {
        let Ok(plain) = view.frame(frame) else {
            continue;
        };
        assert_eq!(plain.len(), frame.plain_len as usize);
        assert!(plain.len() <= MAX_PLAIN);
        is_there(frame.plain_pos, &plain);
    }
    let segment = as_segment(&view);
    let mut buffer = [0; 200];
    for pos in (0..whole.identity.facts.file_len).step_by(77) {
        if let Ok(read) = segment.read_at(&mut buffer, pos) {
            is_there(pos, &buffer[..read]);
        }
    }
}

fn changed(file: &[u8], changes: &[u8]) -> Vec<u8> {
    let mut bytes = file.to_vec();
    for change in changes.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([change[0], change[1]]));
        match bytes.get_mut(at) {
            Some(byte) => *byte ^= change[2],
            None => bytes.truncate(at % (bytes.len() + 1)),
        }
    }
    bytes
}
