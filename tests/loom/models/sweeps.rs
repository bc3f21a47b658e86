//! Whose files somebody is at work on, and what a sweep takes meanwhile.

use std::sync::Arc;

use loom::{
    future::block_on,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};
use tierlog_actors::under_way::UnderWay;
use tierlog_storage::{SegmentNo, StreamId};

use crate::rig::every_order;

const STREAM: StreamId = StreamId::from_bytes([1; 16]);

/// Somebody makes a file while a sweep goes by, and another one is at work on the whole stream: no two of
/// them that exclude one another are at work at once, and nobody waits for ever.
#[test]
fn a_sweep_and_who_is_at_work_never_have_the_same_files() {
    every_order(3, || {
        let under_way = Arc::<UnderWay>::default();
        let (made, swept) = (
            Arc::new(AtomicBool::new(false)),
            Arc::new(AtomicBool::new(false)),
        );
        let sweep = {
            let (under_way, made, swept) = (
                Arc::clone(&under_way),
                Arc::clone(&made),
                Arc::clone(&swept),
            );
            thread::spawn(move || {
                let (hold, free) = under_way.take(STREAM, [SegmentNo(1)]);
                if !free.is_empty() {
                    swept.store(true, Ordering::Relaxed);
                    assert!(!made.load(Ordering::Relaxed), "it is being made");
                    swept.store(false, Ordering::Relaxed);
                }
                drop(hold);
            })
        };
        let hold = block_on(under_way.hold((STREAM, SegmentNo(1))));
        made.store(true, Ordering::Relaxed);
        assert!(!swept.load(Ordering::Relaxed), "it is being swept");
        made.store(false, Ordering::Relaxed);
        drop(hold);
        sweep.join().unwrap();
        assert_eq!(under_way.take(STREAM, [SegmentNo(1)]).1.len(), 1);
    });
}

/// A sweep lets go while two wait, for a segment and for all of the stream: both get what they wait for.
#[test]
fn when_a_sweep_lets_go_all_who_wait_go_on() {
    every_order(2, || {
        let under_way = Arc::<UnderWay>::default();
        let (hold, _free) = under_way.take(STREAM, [SegmentNo(1)]);
        let segment = {
            let under_way = Arc::clone(&under_way);
            thread::spawn(move || drop(block_on(under_way.hold((STREAM, SegmentNo(1))))))
        };
        let stream = {
            let under_way = Arc::clone(&under_way);
            thread::spawn(move || drop(block_on(under_way.hold_stream(STREAM))))
        };
        drop(hold);
        segment.join().unwrap();
        stream.join().unwrap();
        assert_eq!(under_way.take(STREAM, [SegmentNo(1)]).1.len(), 1);
    });
}
