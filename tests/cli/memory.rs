//! What commands hold in memory, whatever comes in.

use std::io::Write;

use crate::harness::{Place, Running};

const MIB: usize = 1 << 20;
const RECORD: usize = 32 * MIB;
const RECORDS: usize = 12;

/// Appends records of 32 MiB one after the other's ack, so that the input is always ahead of the log,
/// and gives the most that was resident meanwhile.
fn peak(delimiter: &str, before_each: &[u8], behind_each: &[u8]) -> usize {
    let place = Place::new();
    let args = ["append", "s", "--print-acks", "--window", "1"];
    let settings = [
        "--set",
        "max_record=64MiB",
        "--set",
        "segment_size=128MiB",
        "--set",
        "unsynced_bytes=128MiB",
    ];
    let args = args.into_iter().chain(["--delimiter", delimiter]);
    let mut child = Running::start(place.tierlog(args.chain(settings)));
    let mut stdin = child.stdin().unwrap();
    let record = vec![b'x'; RECORD];
    for _ in 0..RECORDS {
        for part in [before_each, &record, behind_each] {
            stdin.write_all(part).unwrap();
        }
    }
    for n in 0..RECORDS {
        assert_eq!(child.line(), Some(n.to_string()));
    }
    // Stdin is still open, so it runs and can be asked.
    let peak = child.peak_memory();
    drop(stdin);
    child.end().expect_code(0);
    peak
}

/// What was read ahead used to be counted in blocks, each with whatever record ended in it: twenty
/// records of 60 MiB took 622 MB.
#[test]
fn long_records_are_read_ahead_by_their_bytes() {
    let len = u32::try_from(RECORD).unwrap().to_le_bytes();
    for (delimiter, before, behind) in [("newline", &[][..], &b"\n"[..]), ("len32", &len, &[])] {
        let peak = peak(delimiter, before, behind);
        // One under way and one read ahead; the one in the log, and its encoded form; the rest.
        let limit = 2 * RECORD + 2 * RECORD + 48 * MIB;
        assert!(
            peak < limit,
            "{} MiB were resident, of {} MiB that went through by {delimiter}",
            peak / MIB,
            RECORDS * RECORD / MIB
        );
    }
}
