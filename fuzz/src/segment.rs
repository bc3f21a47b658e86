//! A segment file of any bytes: scanned, read by blocks, searched behind damage, verified.
//!
//! Byte 0: bit 0 makes all checksums right; bits 1 and 2 say what the manifest knows of it.

use crate::{
    checksums,
    disk::{LOG, SALT, SEGMENT, STREAM, layout, with_segment},
    storage::{
        Epoch, Incarnation, Offset, StorageError,
        manifest::{SealedFacts, SegmentState, SegmentStatus},
        segment::{
            HEADER_LEN, Latched, Run, ScanExpect, SegmentScan, check_frame, next_good, read_block,
            scan,
        },
        verify::verify_segment,
    },
    take,
};

/// Larger inputs only take longer.
const MOST: usize = 64 << 10;

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let mut bytes = data[..data.len().min(MOST)].to_vec();
    if mode & 1 != 0 {
        checksums::segment(&mut bytes, SALT);
    }
    let (disk, file) = with_segment(&bytes);
    let expect = ScanExpect {
        log: LOG,
        stream: STREAM,
        segment: SEGMENT,
        salt: SALT,
    };
    let mut frames = Vec::new();
    let scanned = scan(&file, &expect, 0, &mut |head, pos, frame| {
        assert_eq!(
            check_frame(frame, SALT).as_ref(),
            Ok(head),
            "only good frames are shown"
        );
        let at = pos as usize;
        assert_eq!(
            bytes[at..at + head.total_len()],
            frame[..],
            "from where it is said to be"
        );
        frames.push((pos, head.base, head.end(), head.durable));
    });
    let scanned = match scanned {
        Ok(scanned) => scanned,
        Err(StorageError::NewerVersion { .. }) => return,
        Err(error) => panic!("a scan fails only where the file can't be read: {error}"),
    };
    runs_are_in_order(&scanned, bytes.len() as u64);
    let in_runs = |(pos, base, end, _): &(u64, Offset, Offset, Offset)| {
        let holds = |run: &&Run| {
            run.start <= *pos && *pos < run.end_byte && run.base <= *base && *end <= run.end
        };
        scanned.runs.iter().filter(holds).count() == 1
    };
    assert!(
        frames.iter().all(in_runs),
        "{frames:?} in {:?}",
        scanned.runs
    );
    let claimed = frames.iter().map(|frame| frame.3).max().unwrap_or_default();
    assert!(scanned.max_claim >= claimed, "no claim is overlooked");
    for run in &scanned.runs {
        read_through(&file, run);
    }
    search(&file, &bytes, &frames);
    let state = state(&scanned, bytes.len() as u64, mode >> 1 & 3);
    match verify_segment(&disk, &layout(), LOG, STREAM, SEGMENT, &state, None) {
        Ok(verdict) => {
            let whole = verdict
                .damage
                .iter()
                .all(|d| d.from <= d.to && d.bytes.0 <= d.bytes.1);
            assert!(whole, "{:?}", verdict.damage);
        }
        Err(StorageError::NewerVersion { .. }) => {}
        Err(error) => panic!("verifying fails only where the file can't be read: {error}"),
    }
}

fn runs_are_in_order(scan: &SegmentScan, len: u64) {
    for run in &scan.runs {
        assert!(run.base < run.end && run.start < run.end_byte, "{run:?}");
        assert!(run.start >= HEADER_LEN && run.end_byte <= len, "{run:?}");
        assert!(
            run.start.is_multiple_of(8) && run.end_byte.is_multiple_of(8),
            "{run:?}"
        );
    }
    for pair in scan.runs.windows(2) {
        let follows = pair[0].end <= pair[1].base && pair[0].end_byte <= pair[1].start;
        assert!(follows, "{pair:?}");
    }
}

/// What a scan calls good can be read, from end to end.
fn read_through(file: &Latched, run: &Run) {
    let (mut pos, mut at) = (run.start, run.base);
    while at < run.end {
        let block = read_block(file, SALT, pos, run.end_byte, at, 1 << 10)
            .unwrap_or_else(|error| panic!("{run:?} at {pos}, {at}: {error:?}"));
        assert!(block.next_pos > pos && block.end > at, "a block gets on");
        assert!(
            block.next_pos <= run.end_byte && block.end <= run.end,
            "and not too far"
        );
        (pos, at) = (block.next_pos, block.end);
    }
    assert_eq!(pos, run.end_byte);
}

/// What is found behind a bad place is good, and begins where it may.
fn search(file: &Latched, bytes: &[u8], frames: &[(u64, Offset, Offset, Offset)]) {
    let len = bytes.len() as u64;
    let starts = frames.iter().map(|frame| (frame.0, frame.1));
    for (from, at_least) in starts.chain([(HEADER_LEN, Offset(0))]).take(8) {
        let found = next_good(file, SALT, from, len, at_least);
        if let Some((pos, head)) = found.expect("the file can be read") {
            assert!(pos >= from && pos + head.total_len() as u64 <= len);
            assert_eq!(check_frame(&bytes[pos as usize..], SALT), Ok(head));
            assert!(
                head.base > at_least || pos == from,
                "{pos} {head:?} for {at_least}"
            );
        }
    }
}

fn state(scan: &SegmentScan, len: u64, kind: u8) -> SegmentState {
    let (base, end) = match (scan.runs.first(), scan.runs.last()) {
        (Some(first), Some(last)) => (first.base, last.end),
        _ => (Offset(0), Offset(0)),
    };
    let end_byte = scan.runs.last().map_or(HEADER_LEN, |run| run.end_byte);
    let status = match (kind, &scan.footer) {
        (0, _) => SegmentStatus::Open,
        (1, Some(footer)) => SegmentStatus::Sealed(SealedFacts {
            base: footer.base,
            end: footer.end,
            data_end: footer.data_end,
            file_len: len,
            first_ts: footer.first_ts,
            last_ts: footer.last_ts,
            ext: footer.ext,
            digest: footer.digest,
            flush_failed: footer.flush_failed,
        }),
        (2, _) => SegmentStatus::Closed {
            base,
            // Offsets of a fuzzer reach to the last there is.
            end: Offset(end.get().saturating_add(3)),
            end_byte: len,
        },
        _ => SegmentStatus::Closed {
            base,
            end,
            end_byte,
        },
    };
    SegmentState {
        status,
        ..SegmentState::open(SALT, len, Epoch(1), Incarnation(1))
    }
}
