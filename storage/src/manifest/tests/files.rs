//! Files as they are written and read when nothing goes wrong, and what is refused beforehand.

use proptest::prelude::*;

use super::{
    arbitrary::{LOG, entry_for, state_after, steps},
    support::{Bench, OPTIONS, bulky, done, id, stream},
};
use crate::{
    disk::{Disk, fault::CallKind},
    error::StorageError,
    ids::LogId,
    manifest::{
        Current, Entry, ManifestLog, ManifestOptions, ManifestState, Seq, inspect, replay,
        visit_entries,
    },
};

#[test]
fn what_was_committed_is_replayed() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    assert_eq!(
        done(log.commit(&[stream(1), stream(2)], &mut state)),
        Seq(2)
    );
    assert_eq!(done(log.commit(&[stream(3)], &mut state)), Seq(3));
    let replayed = bench.replay().unwrap();
    assert_eq!(replayed.state, state);
    assert_eq!((state.seq, log.last_seq()), (Seq(3), Seq(3)));
    let report = replayed.report;
    assert_eq!((report.commits, report.entries), (4, 5));
    assert_eq!((report.claimed, report.end), (Seq(2), Seq(3)));
    assert!(!report.torn && report.damage.is_empty(), "{report:?}");
}

#[test]
fn waiting_commits_share_one_write_and_one_sync() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    bench.plan.reset_counts();
    let commits: Vec<_> = (0..50).map(stream).collect();
    done(log.commit(&commits, &mut state));
    assert_eq!(bench.plan.count(CallKind::WriteAt), 1);
    assert_eq!(bench.plan.count(CallKind::SyncData), 1);
    assert_eq!(bench.plan.changes(), 2);
}

#[test]
fn room_is_there_before_a_byte_is_written() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    assert!(log.allocated_ahead() > 0);
    bench.plan.record(true);
    for n in 0..200 {
        done(log.commit(&[bulky(n, 1, 250)], &mut state));
    }
    let mut end = 4096 + OPTIONS.chunk_size;
    for call in bench.plan.take_calls() {
        match call.kind {
            CallKind::Allocate => end = end.max(call.pos + call.len),
            CallKind::WriteAt => assert!(call.pos + call.len <= end),
            _ => {}
        }
    }
    assert!(
        end > 4096 + 2 * OPTIONS.chunk_size,
        "several chunks were filled"
    );
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn a_refused_commit_does_not_touch_its_neighbours() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    let half_good = [stream(2), stream(1)].concat();
    let snapshot = vec![Entry::SnapshotEnd {}];
    let results = log
        .commit(&[stream(1), half_good, snapshot, stream(3)], &mut state)
        .unwrap();
    let told: Vec<_> = results.iter().map(|r| r.as_ref().ok().copied()).collect();
    assert_eq!(told, [Some(Seq(1)), None, None, Some(Seq(2))]);
    assert!(state.find("stream 2").is_none());
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn when_all_are_refused_nothing_is_written() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    let (before, bytes) = (state.clone(), bench.bytes(&bench.layout.manifest(1)));
    bench.plan.reset_counts();
    let results = log.commit(&[stream(1)], &mut state).unwrap();
    assert!(matches!(results[..], [Err(StorageError::Invalid { .. })]));
    assert_eq!((bench.plan.changes(), &state), (0, &before));
    assert_eq!(bench.bytes(&bench.layout.manifest(1)), bytes);
}

#[test]
fn a_commit_that_fits_no_chunk_is_refused() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    let results = log
        .commit(&[bulky(0, 70, 300), bulky(100, 40, 300)], &mut state)
        .unwrap();
    assert!(results[0].is_err() && results[1].is_ok(), "{results:?}");
    assert_eq!(state.streams.len(), 40);
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn the_last_sequence_is_never_used_twice() {
    let bench = Bench::new();
    let mut state = ManifestState::new(LOG);
    state.seq = Seq(u64::MAX - 2);
    let mut log = bench.publish(1, &state);
    let results = log.commit(&[stream(1), stream(2)], &mut state).unwrap();
    assert!(results[0].is_ok() && results[1].is_err(), "{results:?}");
    done(log.commit(&[], &mut state));
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn commits_of_one_call_may_span_chunks() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    let commits: Vec<_> = (0..9).map(|n| bulky(n * 100, 30, 200)).collect();
    done(log.commit(&commits, &mut state));
    let replayed = bench.replay().unwrap();
    assert_eq!(replayed.state, state);
    assert!(replayed.report.chunks >= 4, "{:?}", replayed.report);
    assert!(replayed.report.damage.is_empty(), "{:?}", replayed.report);
}

#[test]
fn the_next_file_begins_where_the_last_one_ended() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    assert!(!log.wants_rotation());
    let mut n = 0;
    while !log.wants_rotation() {
        done(log.commit(&[bulky(n, 20, 250)], &mut state));
        n += 20;
    }
    let mut log = bench.publish(2, &state);
    assert_eq!((log.number(), log.last_seq()), (2, state.seq));
    assert_eq!(bench.replay().unwrap().state, state);
    done(log.commit(&[stream(9999)], &mut state));
    ManifestLog::delete_older(&*bench.disk, &bench.layout, 2).unwrap();
    let replayed = bench.replay().unwrap();
    assert_eq!(replayed.state, state);
    assert_eq!(replayed.report.file_number, 2);
    assert!(inspect(&*bench.disk, &bench.layout).unwrap().files.len() == 1);
}

#[test]
fn a_commit_goes_only_to_the_manifest_that_counts() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    let mut next = bench.create(2, &state).unwrap();
    assert!(
        next.commit(&[stream(1)], &mut state).is_err(),
        "not published"
    );
    assert!(next.close_clean().is_err());
    let mut other = state.clone();
    other.seq = Seq(7);
    assert!(
        log.commit(&[stream(1)], &mut other).is_err(),
        "another state"
    );
    log.close_clean().unwrap();
    assert!(log.commit(&[stream(1)], &mut state).is_err(), "closed");
    assert!(state.streams.is_empty());
}

#[test]
fn a_manifest_that_counts_is_never_replaced() {
    let bench = Bench::new();
    let (_log, state) = bench.begin();
    let bytes = bench.bytes(&bench.layout.manifest(1));
    for number in [0, 1] {
        let error = bench.create(number, &state).unwrap_err();
        assert!(matches!(error, StorageError::Invalid { .. }), "{error}");
    }
    let stranger = ManifestState::new(LogId::from_bytes([9; 16]));
    let error = bench.create(2, &stranger).unwrap_err();
    assert!(matches!(error, StorageError::ForeignLog { .. }), "{error}");
    assert_eq!(bench.bytes(&bench.layout.manifest(1)), bytes);
}

#[test]
fn what_an_unfinished_attempt_left_is_replaced() {
    let bench = Bench::new();
    let (_log, state) = bench.begin();
    bench.put(&bench.layout.manifest(2), &[0xaa; 50_000]);
    bench.put(&bench.layout.current_tmp(), b"half a pointer");
    bench.publish(2, &state);
    assert_eq!(bench.replay().unwrap().state, state);
}

#[test]
fn chunks_have_a_size_within_bounds() {
    let bench = Bench::new();
    let state = ManifestState::new(LOG);
    for chunk_size in [0, 8 << 10, (16 << 10) + 8, 2 << 20, u64::MAX] {
        let options = ManifestOptions {
            chunk_size,
            rotate_bytes: 1,
        };
        let made = ManifestLog::create(&bench.disk, &bench.layout, 1, &state, &options, 0);
        assert!(matches!(made, Err(StorageError::Invalid { .. })));
    }
    assert!(
        bench
            .sim
            .list(&bench.layout.manifest_dir())
            .unwrap()
            .is_empty()
    );
}

#[test]
fn a_clean_close_is_remembered_until_the_next_owner() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    done(log.commit(&[stream(1)], &mut state));
    log.close_clean().unwrap();
    let clean = bench.current().clean.unwrap();
    let replayed = bench.replay().unwrap();
    assert_eq!((replayed.state.seq, replayed.report.end_byte), clean);
    bench.publish(2, &replayed.state);
    assert_eq!(bench.current().clean, None);
}

#[test]
fn there_is_no_pointer_before_the_first_manifest() {
    let bench = Bench::new();
    assert!(matches!(
        Current::read(&*bench.disk, &bench.layout),
        Ok(None)
    ));
    let current = Current {
        log: LOG,
        number: 3,
        clean: None,
        epoch: crate::ids::Epoch(0),
    };
    let error = replay(&*bench.disk, &bench.layout, &current).unwrap_err();
    assert!(error.is_missing(), "{error}");
}

#[test]
fn inspection_tells_files_chunks_and_entries() {
    let bench = Bench::new();
    let (mut log, mut state) = bench.begin();
    for n in 0..12 {
        done(log.commit(&[bulky(n * 100, 20, 150)], &mut state));
    }
    bench.create(2, &state).unwrap();
    let seen = inspect(&*bench.disk, &bench.layout).unwrap();
    let [one, two] = &seen.files[..] else {
        panic!("{seen:?}")
    };
    assert!(one.current && !two.current);
    assert_eq!(one.entries_by_type["StreamCreated"], 240);
    assert_eq!(two.entries_by_type["SnapshotStream"], 240);
    assert!(one.chunks.len() > 2 && one.chunks[0].sealed);
    let last = one.chunks.last().unwrap();
    assert!(!last.sealed && last.crc_ok && last.damage.is_empty());
    let commits: u64 = one.chunks.iter().map(|chunk| chunk.commits).sum();
    assert_eq!(commits, 13);
    let mut seqs = Vec::new();
    visit_entries(&*bench.disk, &bench.layout, 1, &mut |seq, entry| {
        if let Entry::StreamCreated { .. } = entry {
            seqs.push(seq.0);
        }
        std::ops::ControlFlow::Continue(())
    })
    .unwrap();
    assert_eq!(seqs, (1..=240).collect::<Vec<_>>());
    assert!(state.streams.contains_key(&id(1100)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_is_replayed(before in steps(60), calls in prop::collection::vec(prop::collection::vec(steps(6), 0..4), 0..12)) {
        let bench = Bench::new();
        let mut state = state_after(&before);
        let mut log = bench.publish(1, &state);
        for call in calls {
            let commits: Vec<Vec<Entry>> = call
                .into_iter()
                .map(|steps| steps.into_iter().map(|step| entry_for(&state, step)).collect())
                .collect();
            let results = log.commit(&commits, &mut state).unwrap();
            prop_assert_eq!(results.len(), commits.len());
        }
        let replayed = bench.replay().unwrap();
        prop_assert_eq!(&replayed.state, &state);
        log.close_clean().unwrap();
        prop_assert_eq!(bench.replay().unwrap().state, replayed.state);
    }
}
