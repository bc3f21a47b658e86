//! Files of other logs, of newer versions, and files made to do harm.

use proptest::prelude::*;

use super::{
    arbitrary::LOG,
    support::{Bench, done, stream},
};
use crate::{
    crc::crc64,
    disk::Disk,
    error::StorageError,
    ids::LogId,
    manifest::{
        Current, Entry, ManifestState, Seq,
        chunk::{CHUNK_HEADER, FILE_HEADER, FIRST_CHUNK, FileHeader},
        commit::{CommitBuilder, check_commit},
        entry::{FLAG_OPTIONAL, encode_raw},
        inspect, visit_entries,
    },
};

/// Appends a commit to the file as a program would that knows more than this one. `next` is the
/// sequence of its first entry.
fn append(bench: &Bench, next: u64, fill: impl FnOnce(&mut CommitBuilder<'_>)) {
    let path = bench.layout.manifest(1);
    let mut bytes = bench.bytes(&path);
    let salt = FileHeader::decode(&bytes).unwrap().salt;
    let mut end = FIRST_CHUNK as usize + CHUNK_HEADER;
    while let Ok((_, len)) = check_commit(&bytes[end..], salt) {
        end += len;
    }
    let mut commit = Vec::new();
    let mut builder = CommitBuilder::new(Seq(next), false, &mut commit);
    fill(&mut builder);
    builder.finish(Seq(next - 1), salt);
    bytes[end..end + commit.len()].copy_from_slice(&commit);
    bench.put(&path, &bytes);
}

fn unknown(flags: u16) -> impl FnOnce(&mut CommitBuilder<'_>) {
    move |commit| {
        let encode = |seq, out: &mut Vec<u8>| {
            encode_raw(777, flags, seq, out, |out| out.extend_from_slice(&[1; 90]));
        };
        commit.push_with(encode);
        commit.push(&stream(2)[0]);
    }
}

#[test]
fn an_optional_entry_of_the_future_is_skipped() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    append(&bench, 2, unknown(FLAG_OPTIONAL));
    let replayed = bench.replay().unwrap();
    assert_eq!(replayed.report.skipped_optional, 1);
    assert_eq!(
        (replayed.state.seq, replayed.state.streams.len()),
        (Seq(3), 2)
    );
}

#[test]
fn a_required_entry_of_the_future_is_an_error_that_names_it() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    append(&bench, 2, unknown(0));
    let text = bench.replay().unwrap_err().to_string();
    assert!(
        text.contains("777") && text.contains("newer version"),
        "{text}"
    );
    // People can look at it even so.
    let seen = inspect(&*bench.disk, &bench.layout).unwrap();
    assert_eq!(seen.files[0].entries_by_type["unknown"], 1);
}

#[test]
fn flags_of_the_future_are_not_guessed_at() {
    let bench = Bench::new();
    let (_log, _state) = bench.begin();
    append(&bench, 1, unknown(2));
    let text = bench.replay().unwrap_err().to_string();
    assert!(text.contains("newer version"), "{text}");
}

#[test]
fn an_intact_commit_that_makes_no_sense_is_damage() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    append(&bench, 2, |commit| commit.push(&stream(1)[0]));
    let error = bench.replay().unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
    assert!(
        error.to_string().contains("entry 2 (StreamCreated)"),
        "{error}"
    );
}

#[test]
fn an_entry_that_stands_in_another_ones_place_is_damage() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    append(&bench, 2, |commit| {
        let encode = |_, out: &mut Vec<u8>| stream(2)[0].encode(Seq(3), out);
        commit.push_with(encode);
    });
    let text = bench.replay().unwrap_err().to_string();
    assert!(
        text.contains("sequence 3 stands in the wrong place"),
        "{text}"
    );
}

/// Sets the version of a header or pointer and makes its checksum right again.
fn with_version(mut bytes: Vec<u8>, version: u16) -> Vec<u8> {
    bytes[8..10].copy_from_slice(&version.to_le_bytes());
    let crc = crc64(&[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&crc.to_le_bytes());
    bytes
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let bench = Bench::new();
    let (_log, _state) = bench.begin();
    let (pointer, file) = (bench.layout.current(), bench.layout.manifest(1));
    bench.put(&file, &with_version(bench.bytes(&file), 2));
    let error = bench.replay().unwrap_err();
    assert!(
        matches!(
            error,
            StorageError::NewerVersion {
                found: 2,
                supported: 1,
                ..
            }
        ),
        "{error}"
    );
    bench.put(&pointer, &with_version(bench.bytes(&pointer), 300));
    let error = Current::read(&*bench.disk, &bench.layout).unwrap_err();
    assert!(
        matches!(error, StorageError::NewerVersion { found: 300, .. }),
        "{error}"
    );
    bench.put(&pointer, &with_version(bench.bytes(&pointer), 0));
    let error = Current::read(&*bench.disk, &bench.layout).unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
}

#[test]
fn a_file_of_another_log_is_refused() {
    let ours = Bench::new();
    let (_log, _state) = ours.begin();
    let theirs = Bench::new();
    theirs.publish(1, &ManifestState::new(LogId::from_bytes([8; 16])));
    let path = ours.layout.manifest(1);
    ours.put(&path, &theirs.bytes(&path));
    let error = ours.replay().unwrap_err();
    assert!(matches!(error, StorageError::ForeignLog { .. }), "{error}");
}

#[test]
fn a_file_under_another_number_is_refused() {
    let bench = Bench::new();
    let (_log, state) = bench.begin();
    bench.publish(2, &state);
    bench.put(
        &bench.layout.manifest(2),
        &bench.bytes(&bench.layout.manifest(1)),
    );
    let error = bench.replay().unwrap_err();
    assert!(matches!(error, StorageError::CorruptFile { .. }), "{error}");
}

/// Blocks of a deleted file turn up behind the end of the one that took its place.
#[test]
fn commits_of_an_older_file_never_pass() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    let empty = state.clone();
    for n in 1..40 {
        done(log.commit(&[stream(n)], &mut state));
    }
    let old = bench.bytes(&bench.layout.manifest(1));
    bench.publish(2, &empty);
    let path = bench.layout.manifest(2);
    let mut bytes = bench.bytes(&path);
    let end = usize::try_from(bench.replay().unwrap().report.end_byte).unwrap();
    bytes[end..].copy_from_slice(&old[end..]);
    bench.put(&path, &bytes);
    let replayed = bench.replay().unwrap();
    assert_eq!(replayed.state, empty);
    assert!(replayed.report.torn);
}

#[test]
fn a_file_that_claims_to_be_endless_is_read_in_bounded_memory() {
    let bench = Bench::new();
    let (_log, state) = bench.begin();
    let path = bench.layout.manifest(1);
    let file = bench
        .sim
        .open(&path, crate::disk::Access::ReadWrite)
        .unwrap();
    file.set_len(64 << 20).unwrap();
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn a_file_full_of_markers_is_given_up_and_not_ground_through() {
    let bench = Bench::new();
    let (_log, _state) = bench.begin();
    let path = bench.layout.manifest(1);
    let mut bytes = bench.bytes(&path);
    let end = usize::try_from(bench.replay().unwrap().report.end_byte).unwrap();
    bytes.resize(2 << 20, 0);
    let area = bytes[end..].chunks_exact_mut(40);
    for head in area {
        head[..4].copy_from_slice(b"TLMC");
        head[4..8].copy_from_slice(&8000u32.to_le_bytes());
        head[24] = 1;
    }
    bench.put(&path, &bytes);
    let error = bench.replay().unwrap_err();
    assert!(error.to_string().contains("too much"), "{error}");
}

fn is_typed(error: &StorageError) -> bool {
    matches!(
        error,
        StorageError::CorruptFile { .. }
            | StorageError::Invalid { .. }
            | StorageError::ForeignLog { .. }
            | StorageError::NewerVersion { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn garbage_never_panics(seed in any::<u64>(), places in 1usize..40, from in 0usize..6000) {
        let bench = Bench::new();
        let (mut log, mut state) = bench.begin();
        for n in 0..8 {
            done(log.commit(&[stream(n)], &mut state));
        }
        let path = bench.layout.manifest(1);
        let mut bytes = bench.bytes(&path);
        let mut rng = fastrand::Rng::with_seed(seed);
        for _ in 0..places {
            let at = from + rng.usize(..200);
            let len = rng.usize(1..32).min(bytes.len() - at);
            rng.fill(&mut bytes[at..at + len]);
        }
        bench.put(&path, &bytes);
        if let Err(error) = bench.replay() {
            prop_assert!(is_typed(&error), "{error}");
        }
        inspect(&*bench.disk, &bench.layout).unwrap();
        let visited = visit_entries(&*bench.disk, &bench.layout, 1, &mut |_, _| std::ops::ControlFlow::Continue(()));
        prop_assert!(visited.is_ok() || from < FILE_HEADER);
    }

    #[test]
    fn intact_commits_of_any_entries_never_panic(entries in prop::collection::vec(super::arbitrary::entry(), 0..12)) {
        let bench = Bench::new();
        bench.publish(1, &ManifestState::new(LOG));
        append(&bench, 1, |commit| {
            for entry in &entries {
                commit.push(entry as &Entry);
            }
        });
        if let Err(error) = bench.replay() {
            prop_assert!(is_typed(&error), "{error}");
        }
    }
}
