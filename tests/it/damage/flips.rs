//! Every bit of every file, turned over.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tierlog::testing::storage::{disk::Disk, manifest::inspect};

use super::sample::{Fate, Sample, layout, read};
use crate::{sim, support::say};

/// Which bits of a file are tried: all of them, but of the zeros that a file is filled up with, 64
/// or more in a row, only every 101st.
fn bits(bytes: &[u8]) -> impl Iterator<Item = u64> {
    const RUN: usize = 64;
    let parts = bytes.chunks(RUN).enumerate();
    parts.flat_map(|(part, bytes)| {
        let zeros = bytes.iter().all(|byte| *byte == 0);
        let first = (part * RUN) as u64 * 8;
        let bits = first..first + bytes.len() as u64 * 8;
        bits.filter(move |bit| !zeros || bit % 101 == 0)
    })
}

/// The files that are worth it: the reserve is 512 KiB of zeros that nobody ever reads, and the
/// lock has no bytes.
fn worth(sample: &Sample) -> Vec<PathBuf> {
    let files = sample.files().into_iter();
    files
        .map(|(path, _)| path)
        .filter(|path| !path.ends_with("reserve"))
        .collect()
}

struct Flip<'a>(&'a Path, u64);

impl std::fmt::Display for Flip<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(path, bit) = self;
        write!(
            f,
            "bit {} of byte {} of {}",
            bit % 8,
            bit / 8,
            path.display()
        )
    }
}

fn is(path: &Path, end: &str) -> bool {
    path.to_string_lossy().ends_with(end)
}

/// Tries each bit of these files with a reader; counts how it fared.
fn try_reading(wanted: impl Fn(&Path) -> bool) -> BTreeMap<(String, Fate), u64> {
    let sample = Sample::make();
    let mut fates = BTreeMap::new();
    for path in worth(&sample).iter().filter(|path| wanted(path)) {
        let bytes = sample.bytes(path);
        sim::run(async {
            for bit in bits(&bytes) {
                sample.flip(path, bit);
                let fate = sample.fate(&Flip(path, bit)).await;
                sample.flip(path, bit);
                let zeros = bytes[bit as usize / 8..].iter().all(|byte| *byte == 0);
                check(path, bit, fate, zeros);
                let name = path.file_name().expect("a name").to_string_lossy();
                *fates.entry((name.into_owned(), fate)).or_default() += 1;
            }
            assert_eq!(sample.fate(&"put back").await, Fate::Unnoticed);
        });
    }
    say(&format!("{fates:#?}"));
    fates
}

/// What must not go unnoticed. `zeros`: from there on the file is filled with zeros.
fn check(path: &Path, bit: u64, fate: Fate, zeros: bool) {
    let flip = Flip(path, bit);
    if is(path, "CURRENT") {
        assert_eq!(fate, Fate::Refused, "{flip}");
    } else if is(path, ".tlm") {
        // The page of the header is filled up with zeros, and so is the rest of the file; and what
        // the head of a chunk says is said again by each commit in it.
        let filler = zeros || (128..4096 + 64).contains(&(bit / 8));
        assert!(
            fate == Fate::Refused || filler && fate == Fate::Unnoticed,
            "{flip}: {fate:?}"
        );
    } else if is(path, ".tls") {
        assert!(
            fate != Fate::Unnoticed && fate != Fate::Refused || zeros,
            "{flip}: {fate:?}"
        );
    } else {
        assert_eq!(
            fate,
            Fate::Unnoticed,
            "{flip}: claims of a closed log count for nothing"
        );
    }
}

#[test]
fn no_flipped_bit_of_a_segment_is_read_in_silence() {
    let fates = try_reading(|path| is(path, ".tls"));
    assert!(fates.keys().any(|(_, fate)| *fate == Fate::Told));
}

#[test]
fn no_flipped_bit_of_the_manifest_is_believed() {
    try_reading(|path| is(path, ".tlm") || is(path, "CURRENT"));
}

#[test]
fn inspecting_the_manifest_tells_of_a_damaged_head_of_a_chunk() {
    let sample = Sample::make();
    let (path, _) = sample
        .files()
        .into_iter()
        .find(|(path, _)| is(path, ".tlm"))
        .expect("a manifest");
    for bit in 4096 * 8..(4096 + 64) * 8 {
        sample.flip(&path, bit);
        let found = inspect(&sample.disk, &layout()).expect("it can be inspected");
        let damage: usize = found
            .files
            .iter()
            .map(|file| {
                file.damage.len()
                    + file
                        .chunks
                        .iter()
                        .map(|chunk| chunk.damage.len())
                        .sum::<usize>()
            })
            .sum();
        assert!(damage > 0, "{}", Flip(&path, bit));
        sample.flip(&path, bit);
    }
}

#[test]
fn a_flipped_bit_of_the_claims_costs_nothing_after_a_clean_close() {
    try_reading(|path| is(path, "claims"));
}

/// Opens a damaged log for writing. What could be read before can be read afterwards, and where it
/// is refused nothing has changed.
pub fn opens_without_making_it_worse(sample: &Sample, what: &dyn std::fmt::Display) {
    let damaged = sample.copy();
    let before = damaged.contents();
    let readable = sim::run(everything(&damaged));
    let opened = sim::run(async {
        match damaged.open().await {
            Ok(log) => {
                for name in damaged.expected.keys() {
                    // It may be refused; it may not be new.
                    let stream = log.log().existing(name).await;
                    let next = stream.as_ref().map(|s| s.watermarks().next.get());
                    let least = damaged.expected[name].len() as u64;
                    assert!(
                        next.is_err() || next.is_ok_and(|n| n >= least),
                        "{what}: {name} lost its end"
                    );
                }
                true
            }
            Err(error) => {
                super::sample::is_typed(&error, what);
                false
            }
        }
    });
    let after = Sample {
        disk: damaged.disk.crash_process(),
        ..damaged
    };
    if !opened {
        assert!(
            after.contents() == before,
            "{what}: refused, and not left as it was"
        );
        return;
    }
    let later = sim::run(everything(&after));
    for (name, records) in readable {
        for (offset, payload) in records {
            assert_eq!(
                later.get(&name).and_then(|records| records.get(&offset)),
                Some(&payload),
                "{what}: {name} at {offset} could be read before it was opened"
            );
        }
    }
}

/// All records that can be read, whatever lies between them.
async fn everything(sample: &Sample) -> BTreeMap<String, BTreeMap<u64, String>> {
    let mut found = BTreeMap::new();
    if let Ok(view) = sample.attach().await {
        for name in sample.expected.keys() {
            found.insert(name.clone(), read(&view, name, true).await.records);
        }
    }
    found
}

fn try_opening(wanted: impl Fn(&Path) -> bool, every: usize) -> u64 {
    let sample = Sample::make();
    let mut tried = 0;
    for path in worth(&sample).iter().filter(|path| wanted(path)) {
        let bytes = sample.bytes(path);
        // The headers whole, of the rest a sample that moves through all bits.
        let head = (0..128 * 8).filter(|bit| *bit / 8 < bytes.len() as u64);
        let rest = bits(&bytes).filter(|bit| *bit >= 128 * 8).step_by(every);
        for bit in head.chain(rest) {
            sample.flip(path, bit);
            opens_without_making_it_worse(&sample, &Flip(path, bit));
            sample.flip(path, bit);
            tried += 1;
        }
    }
    say(&format!("{tried} damaged logs were opened"));
    tried
}

#[test]
fn opening_a_log_with_a_flipped_bit_in_a_segment_makes_nothing_worse() {
    try_opening(|path| is(path, ".tls"), 37);
}

#[test]
fn opening_a_log_with_a_flipped_bit_in_its_manifest_makes_nothing_worse() {
    try_opening(
        |path| is(path, "CURRENT") || is(path, ".tlm") || is(path, "claims"),
        11,
    );
}

#[test]
fn the_sample_holds_every_kind_of_segment() {
    let sample = Sample::make();
    sim::run(async {
        let view = sample.attach().await.expect("attached");
        assert!(view.recovery().clean);
        for name in sample.expected.keys() {
            let segments = view.stream(name).expect("there").segments();
            let states: Vec<_> = segments.iter().map(|s| s.state).collect();
            assert!(
                states.contains(&"sealed") && states.contains(&"closed"),
                "{states:?}"
            );
        }
        assert_eq!(sample.fate(&"as it is").await, Fate::Unnoticed);
    });
    for (path, len) in sample.files() {
        say(&format!("{len:8} {}", path.display()));
    }
    assert!(
        sample
            .disk
            .list(&sample.settings.data)
            .expect("a folder")
            .len()
            > 4
    );
}
