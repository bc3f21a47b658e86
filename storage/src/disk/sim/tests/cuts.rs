//! What becomes of bytes.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[test]
fn what_was_synced_survives_every_cut() {
    let disk = data();
    let file = durable(&disk, "/a", b"hello");
    file.allocate(0, 20_000).unwrap();
    file.write_at(&[7; 9000], 5000).unwrap();
    file.sync_data().unwrap();
    let before = read(&disk, "/a");
    for left in cuts(&disk) {
        assert_eq!(read(&left, "/a"), before);
    }
}

#[test]
fn unsynced_bytes_can_all_be_lost_and_can_all_be_kept() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new and longer", 0).unwrap();
    assert_eq!(read(&disk.preview_cut(Cut::AllLost), "/a"), b"old");
    assert_eq!(
        read(&disk.preview_cut(Cut::AllKept), "/a"),
        b"new and longer"
    );
}

#[test]
fn closing_a_file_syncs_nothing() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    drop(file);
    drop(disk.open(path("/a"), Access::ReadWrite).unwrap());
    assert_eq!(read(&disk.preview_cut(Cut::AllLost), "/a"), b"old");
}

#[test]
fn any_version_since_the_last_sync_can_be_found_and_none_from_before_it() {
    let disk = data();
    let file = durable(&disk, "/a", b"0");
    for version in [b"1", b"2"] {
        file.write_at(version, 0).unwrap();
    }
    file.sync_data().unwrap();
    for version in [b"3", b"4"] {
        file.write_at(version, 0).unwrap();
    }
    let found: BTreeSet<_> = cuts(&disk).map(|left| read(&left, "/a")).collect();
    assert_eq!(
        found,
        BTreeSet::from([b"2".to_vec(), b"3".to_vec(), b"4".to_vec()])
    );
}

#[test]
fn pages_are_lost_apart_from_each_other() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 3 * 4096]);
    file.write_at(&[2; 3 * 4096], 0).unwrap();
    let patterns: BTreeSet<_> = cuts(&disk)
        .map(|left| {
            read(&left, "/a")
                .chunks(4096)
                .map(|page| page[0])
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(patterns.len(), 8, "{patterns:?}");
}

#[test]
fn a_page_is_torn_between_sectors_and_never_within_one() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 4096]);
    file.write_at(&[2; 4096], 0).unwrap();
    let mut torn = 0;
    for left in cuts(&disk) {
        let bytes = read(&left, "/a");
        for sector in bytes.chunks(512) {
            assert!(sector.iter().all(|&byte| byte == sector[0]));
        }
        torn += u32::from(bytes.iter().any(|&byte| byte != bytes[0]));
    }
    assert!(torn > 10, "only {torn} torn pages");
}

#[test]
fn the_length_is_lost_apart_from_the_bytes() {
    let disk = data();
    let file = durable(&disk, "/a", b"");
    file.write_at(&[1; 100], 0).unwrap();
    let found: BTreeSet<_> = cuts(&disk).map(|left| read(&left, "/a")).collect();
    // Nothing; the bytes; and the length that came without its bytes.
    assert_eq!(found, BTreeSet::from([vec![], vec![0; 100], vec![1; 100]]));
}

#[test]
fn a_cut_end_can_come_back_until_it_is_synced() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 10_000]);
    file.set_len(10).unwrap();
    assert_eq!(read(&disk.preview_cut(Cut::AllLost), "/a"), [1; 10_000]);
    file.sync_data().unwrap();
    file.set_len(10_000).unwrap();
    for left in cuts(&disk) {
        let bytes = read(&left, "/a");
        assert_eq!(bytes[..10], [1; 10]);
        assert!(bytes[10..].iter().all(|&byte| byte == 0));
    }
}

#[test]
fn the_same_seed_finds_the_same_disk() {
    let run = || {
        let disk = data();
        for name in ["/a", "/b", "/c"] {
            let file = disk.create_new(path(name)).unwrap();
            for at in 0..20 {
                file.write_at(&[at as u8; 3000], at * 1000).unwrap();
            }
        }
        let left = disk.power_cut(42);
        let entries = left.list(path("/")).unwrap();
        let bytes = |entry: &Entry| read(&left, entry.name.to_str().unwrap());
        entries
            .iter()
            .map(|entry| (entry.name.clone(), bytes(entry)))
            .collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}

#[test]
fn a_failed_sync_is_forgotten_by_everybody_but_the_platter() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 8192]);
    file.write_at(&[2; 4096], 0).unwrap();
    disk.fail_next_sync(|path| path.ends_with("a"));
    assert!(file.sync_data().is_err());

    // The kernel calls the pages clean: the new bytes are read, the next sync finds nothing to do.
    assert_eq!(read(&disk, "/a")[0], 2);
    file.sync_data().unwrap();
    assert_eq!(read(&disk.crash_process(), "/a")[0], 2);
    assert_eq!(read(&disk.preview_cut(Cut::AllLost), "/a"), [1; 8192]);
    assert_eq!(read(&disk.preview_cut(Cut::AllKept), "/a"), [1; 8192]);
}

#[test]
fn bytes_written_anew_after_a_failed_sync_are_made_durable_by_the_next() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 8192]);
    file.write_at(&[2; 8192], 0).unwrap();
    disk.fail_next_sync(|_| true);
    assert!(file.sync_data().is_err());
    file.write_at(&[2; 10], 0).unwrap();
    file.sync_data().unwrap();
    for left in cuts(&disk) {
        // The page was read from the cache to be written, so all of it is new now.
        assert_eq!(read(&left, "/a")[..4096], [2; 4096]);
    }
    assert_eq!(
        read(&disk.preview_cut(Cut::AllLost), "/a")[4096..],
        [1; 4096]
    );
}

#[test]
fn every_version_of_a_page_that_was_written_in_tiny_pieces_can_be_found() {
    let disk = data();
    let file = durable(&disk, "/a", &[0; 512]);
    for at in 0..512u64 {
        file.write_at(&[(at % 250) as u8 + 1], at).unwrap();
    }
    let choices = disk.choices();
    assert_eq!((choices.groups(), choices.count()), (1, 513));
    for number in 0..513 {
        let left = choices.cut(&choices.nth(number));
        let written = read(&left, "/a").iter().filter(|&&byte| byte != 0).count();
        assert_eq!(written as u64, number);
    }
}

/// What may stand in each sector, step by step beside the disk.
#[derive(Default)]
struct Model {
    /// For each sector the values that a cut may find.
    possible: Vec<BTreeSet<u8>>,
    seen: Vec<u8>,
}

#[derive(Debug, Clone)]
enum Step {
    Write {
        sector: usize,
        sectors: usize,
        value: u8,
    },
    Sync,
    FailedSync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0usize..40, 1usize..20, 1u8..255)
            .prop_map(|(sector, sectors, value)| Step::Write { sector, sectors, value }),
        1 => Just(Step::Sync),
        1 => Just(Step::FailedSync),
    ]
}

impl Model {
    fn write(&mut self, sector: usize, sectors: usize, value: u8) {
        for at in sector..sector + sectors {
            self.possible[at].insert(value);
            self.seen[at] = value;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cut_finds_nothing_that_was_not_written_and_all_that_was_synced(
        steps in prop::collection::vec(step(), 1..30), seeds in prop::array::uniform8(any::<u64>()),
    ) {
        const SECTORS: usize = 60;
        let disk = data();
        let file = durable(&disk, "/a", &[0; SECTORS * 512]);
        let mut model = Model { possible: vec![BTreeSet::from([0]); SECTORS], seen: vec![0; SECTORS] };
        // From a failed sync on a page may stay as it was for good, until it is written again;
        // the model then only knows what can't be there.
        let mut failed = false;
        for step in steps {
            match step {
                Step::Write { sector, sectors, value } => {
                    file.write_at(&vec![value; sectors * 512], sector as u64 * 512).unwrap();
                    model.write(sector, sectors, value);
                }
                Step::Sync => {
                    file.sync_data().unwrap();
                    if !failed {
                        for (possible, seen) in model.possible.iter_mut().zip(&model.seen) {
                            *possible = BTreeSet::from([*seen]);
                        }
                    }
                }
                Step::FailedSync => {
                    disk.fail_next_sync(|_| true);
                    prop_assert!(file.sync_data().is_err());
                    failed = true;
                }
            }
        }
        let seen: Vec<u8> = read(&disk, "/a").chunks(512).map(|sector| sector[0]).collect();
        prop_assert_eq!(&seen, &model.seen);
        for seed in seeds {
            let bytes = read(&disk.preview_cut(Cut::Seeded(seed)), "/a");
            for (at, sector) in bytes.chunks(512).enumerate() {
                prop_assert!(sector.iter().all(|&byte| byte == sector[0]));
                prop_assert!(model.possible[at].contains(&sector[0]), "sector {}", at);
            }
        }
    }
}
