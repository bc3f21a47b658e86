//! Jobs: when none of them touches files any more; and what readers wish for.

use std::sync::Arc;

use loom::{
    future::block_on,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};
use tierlog_actors::{
    exec::Running,
    read::{Wish, Wishes},
};
use tierlog_storage::{SegmentNo, StreamId};

use crate::rig::every_order;

/// Whoever waits until no job runs is woken by the last one, and finds all that they did.
#[test]
fn who_waits_until_no_job_runs_finds_all_of_them_done() {
    every_order(3, || {
        let (running, done) = (Running::default(), Arc::new(AtomicUsize::new(0)));
        let jobs: Vec<_> = (0..2)
            .map(|_| {
                let (guard, done) = (running.begin(), Arc::clone(&done));
                thread::spawn(move || {
                    done.fetch_add(1, Ordering::Relaxed);
                    drop(guard);
                })
            })
            .collect();
        block_on(running.idle());
        assert_eq!(done.load(Ordering::Relaxed), 2, "one still runs");
        jobs.into_iter().for_each(|job| job.join().unwrap());
    });
}

/// Two readers wish while the coordinator takes what is wished: it gets both, the greater one where they
/// wish of the same segment, and is woken for the last.
#[test]
fn every_wish_of_a_reader_is_heard() {
    every_order(3, || {
        let (wishes, stream) = (Arc::<Wishes>::default(), StreamId::from_bytes([1; 16]));
        let readers: Vec<_> = [Wish::Hydrate, Wish::Heal]
            .into_iter()
            .map(|wish| {
                let wishes = Arc::clone(&wishes);
                thread::spawn(move || wishes.add(stream, SegmentNo(1), wish))
            })
            .collect();
        let mut heard = false;
        while !heard {
            let taken = block_on(wishes.take());
            assert!(!taken.is_empty(), "woken for nothing");
            heard = taken.get(&(stream, SegmentNo(1))) == Some(&Wish::Heal);
        }
        readers
            .into_iter()
            .for_each(|reader| reader.join().unwrap());
    });
}
