//! Every bit and every length of a small manifest and its pointer: what is read is right, or an
//! error says where it is not.

use super::{
    arbitrary::LOG,
    support::{Bench, done, stream},
};
use crate::{
    disk::{Access, Disk, DiskFile, SharedFile},
    error::StorageError,
    manifest::{
        Current, ManifestState, Replayed,
        chunk::{CHUNK_HEADER, FILE_HEADER, FIRST_CHUNK, FileHeader},
        commit::check_commit,
    },
};

const COMMITS: usize = FIRST_CHUNK as usize + CHUNK_HEADER;

/// A manifest of five commits behind its snapshot: the first three are claimed by the fourth, which
/// is empty, and nothing claims the fifth.
struct Small {
    bench: Bench,
    bytes: Vec<u8>,
    /// Where commits begin, that of the snapshot first, and the byte behind the last one.
    borders: Vec<usize>,
    /// What is known behind the snapshot and behind each commit.
    states: Vec<ManifestState>,
}

impl Small {
    fn new(clean: bool) -> Self {
        let bench = Bench::new();
        let mut state = ManifestState::new(LOG);
        state.apply(&stream(0)[0]).unwrap();
        let mut log = bench.publish(1, &state);
        let mut after = state.clone();
        let mut states = vec![state.clone()];
        let last = [stream(4), stream(5)].concat();
        for commit in [stream(1), stream(2), stream(3), vec![], last.clone()] {
            after.apply_all(&commit).unwrap();
            after.seq.0 += commit.len() as u64;
            states.push(after.clone());
        }
        done(log.commit(&[stream(1)], &mut state));
        done(log.commit(&[stream(2), stream(3)], &mut state));
        done(log.commit(&[], &mut state));
        done(log.commit(&[last], &mut state));
        assert_eq!(state, after);
        if clean {
            log.close_clean().unwrap();
        }
        let bytes = bench.bytes(&bench.layout.manifest(1));
        let salt = FileHeader::decode(&bytes).unwrap().salt;
        let mut borders = vec![COMMITS];
        while let Ok((_, len)) = check_commit(&bytes[borders[borders.len() - 1]..], salt) {
            borders.push(borders[borders.len() - 1] + len);
        }
        assert_eq!(borders.len(), 7);
        Self {
            bench,
            bytes,
            borders,
            states,
        }
    }

    fn end(&self) -> usize {
        self.borders[6]
    }

    fn full(&self) -> &ManifestState {
        &self.states[5]
    }

    fn file(&self) -> SharedFile {
        let path = self.bench.layout.manifest(1);
        self.bench.sim.open(&path, Access::ReadWrite).unwrap()
    }

    /// Which commit a byte belongs to: 0 is the snapshot's.
    fn commit_at(&self, at: usize) -> Option<usize> {
        let behind = self.borders.iter().position(|border| *border > at)?;
        behind.checked_sub(1)
    }

    #[track_caller]
    fn is_full(&self, replayed: &Replayed, at: usize) {
        assert_eq!(&replayed.state, self.full(), "byte {at}");
    }

    /// Calls `check` with every bit flipped that stands before `until`, one at a time.
    fn flip_each(&self, until: usize, mut check: impl FnMut(usize)) {
        let file = self.file();
        for at in 0..until {
            for bit in 0..8 {
                put(&*file, at, self.bytes[at] ^ (1 << bit));
                check(at);
            }
            put(&*file, at, self.bytes[at]);
        }
    }
}

fn put(file: &dyn DiskFile, at: usize, byte: u8) {
    file.write_at(&[byte], at as u64).unwrap();
}

#[track_caller]
fn is_damage_at(error: &StorageError, at: usize) {
    match error {
        StorageError::CorruptFile {
            range: Some((from, to)),
            ..
        } => assert!((*from..*to).contains(&(at as u64)), "{error}, byte {at}"),
        other => panic!("{other}, byte {at}"),
    }
}

#[test]
fn a_flipped_bit_is_damage_or_costs_the_last_unclaimed_commit() {
    let small = Small::new(false);
    small.flip_each(small.end() + 40, |at| {
        let replayed = small.bench.replay();
        match small.commit_at(at) {
            _ if at < FILE_HEADER => assert!(replayed.is_err(), "byte {at}"),
            // Snapshot, and what a later commit claims.
            Some(0..=3) => is_damage_at(&replayed.unwrap_err(), at),
            // The commit without entries: nothing is missing, and it is told.
            Some(4) => {
                let replayed = replayed.unwrap();
                small.is_full(&replayed, at);
                assert_eq!(replayed.report.damage.len(), 1);
                assert!(!replayed.report.torn);
            }
            Some(_) => {
                let replayed = replayed.unwrap();
                assert_eq!(replayed.state, small.states[4], "byte {at}");
                assert!(replayed.report.torn && replayed.report.trimmed_bytes > 40);
            }
            None => {
                let replayed = replayed.unwrap();
                small.is_full(&replayed, at);
                let in_chunk_header = (FIRST_CHUNK as usize..COMMITS).contains(&at);
                assert_eq!(!replayed.report.damage.is_empty(), in_chunk_header);
                assert_eq!(replayed.report.torn, at >= small.end());
            }
        }
    });
}

#[test]
fn behind_a_clean_close_nothing_passes_for_a_tear() {
    let small = Small::new(true);
    small.flip_each(small.end() + 40, |at| {
        let replayed = small.bench.replay();
        match small.commit_at(at) {
            _ if at < FILE_HEADER => assert!(replayed.is_err(), "byte {at}"),
            Some(0..=3 | 5) => is_damage_at(&replayed.unwrap_err(), at),
            _ => {
                let replayed = replayed.unwrap();
                small.is_full(&replayed, at);
                assert!(!replayed.report.torn);
            }
        }
    });
}

#[test]
fn a_file_that_is_cut_short_keeps_whole_commits_or_is_damaged() {
    for clean in [false, true] {
        let small = Small::new(clean);
        let file = small.file();
        for len in (0..small.end() + 64).rev() {
            file.set_len(len as u64).unwrap();
            let replayed = small.bench.replay();
            let whole = small
                .borders
                .iter()
                .filter(|border| **border <= len)
                .count();
            match whole {
                // The snapshot is not whole: a file counts only once it is.
                0 | 1 => assert!(replayed.is_err(), "{len} bytes"),
                2..=6 if clean => {
                    let error = replayed.unwrap_err();
                    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
                }
                _ => {
                    let replayed = replayed.unwrap();
                    assert_eq!(replayed.state, small.states[whole - 2], "{len} bytes");
                    let rest = len.min(small.end()) > small.borders[whole - 1];
                    assert_eq!(replayed.report.torn, rest, "{len} bytes");
                }
            }
        }
    }
}

#[test]
fn every_bit_and_every_byte_of_the_pointer_counts() {
    for clean in [false, true] {
        let small = Small::new(clean);
        let path = small.bench.layout.current();
        let good = small.bench.bytes(&path);
        let read = || Current::read(&*small.bench.disk, &small.bench.layout);
        for at in 0..good.len() {
            for bit in 0..8 {
                let mut bytes = good.clone();
                bytes[at] ^= 1 << bit;
                small.bench.put(&path, &bytes);
                is_damage_at(&read().unwrap_err(), at);
            }
            small.bench.put(&path, &good[..at]);
            let error = read().unwrap_err();
            assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
        }
        let mut longer = good.clone();
        longer.push(0);
        small.bench.put(&path, &longer);
        assert!(read().is_err());
        small.bench.put(&path, &good);
        assert_eq!(read().unwrap().unwrap().clean.is_some(), clean);
    }
}

/// Until somebody says that it was durable, damage to the very last commit looks like a tear.
#[test]
fn an_empty_commit_claims_what_came_before_it() {
    for claimed in [false, true] {
        let bench = Bench::new();
        let (mut log, mut state) = bench.begin();
        done(log.commit(&[stream(1)], &mut state));
        let last = bench.replay().unwrap().report.end_byte - 1;
        if claimed {
            done(log.commit(&[], &mut state));
        }
        let path = bench.layout.manifest(1);
        let mut bytes = bench.bytes(&path);
        let at = usize::try_from(last).unwrap();
        bytes[at] ^= 1;
        bench.put(&path, &bytes);
        match (claimed, bench.replay()) {
            (true, replayed) => is_damage_at(&replayed.unwrap_err(), at),
            (false, replayed) => assert!(replayed.unwrap().report.torn),
        }
    }
}

/// A trailer is redundant: without it everything is still there, but people should know.
#[test]
fn a_damaged_trailer_or_chunk_header_is_told_and_costs_nothing() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    for n in 0..300 {
        done(log.commit(&[stream(n)], &mut state));
    }
    let path = bench.layout.manifest(1);
    let bytes = bench.bytes(&path);
    let second = FIRST_CHUNK as usize + (16 << 10);
    for at in (second - 32..second + CHUNK_HEADER).step_by(3) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x10;
        bench.put(&path, &damaged);
        let replayed = bench.replay().unwrap();
        assert_eq!(replayed.state, state, "byte {at}");
        assert!(!replayed.report.damage.is_empty(), "byte {at}");
        assert!(!replayed.report.torn, "byte {at}");
    }
}

/// Sectors of one write may reach the platter in any order and choice.
#[test]
fn a_torn_write_of_many_sectors_never_costs_what_was_acked() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    for n in 0..100 {
        done(log.commit(&[stream(n)], &mut state));
    }
    let path = bench.layout.manifest(1);
    let before = bench.bytes(&path);
    let mut allowed = vec![state.clone()];
    let commits: Vec<_> = (100..240).map(stream).collect();
    for commit in &commits {
        let mut next = allowed[allowed.len() - 1].clone();
        next.apply_all(commit).unwrap();
        next.seq.0 += 1;
        allowed.push(next);
    }
    done(log.commit(&commits, &mut state));
    let after = bench.bytes(&path);
    assert!(after.len() > before.len(), "it spans two chunks");
    let mut rng = fastrand::Rng::with_seed(5);
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..400 {
        let mut torn = after.clone();
        for (at, sector) in torn.chunks_mut(512).enumerate() {
            let lost = match round % 3 {
                0 => rng.u8(..8) == 0,
                1 => rng.bool(),
                _ => rng.u8(..30) == 0,
            };
            if lost {
                sector.fill(0);
                let old = before.get(at * 512..).unwrap_or_default();
                let len = old.len().min(sector.len());
                sector[..len].copy_from_slice(&old[..len]);
            }
        }
        bench.put(&path, &torn);
        let replayed = bench.replay().unwrap();
        assert!(allowed.contains(&replayed.state), "round {round}");
        seen.insert(replayed.state.seq);
    }
    assert!(seen.len() > 5, "the tears differ: {seen:?}");
}
