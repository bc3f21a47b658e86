//! Watermarks, as those see them who ask for them or watch them.

use std::sync::Arc;

use loom::{future::block_on, thread};
use tierlog_actors::stream::shared::{StreamShared, Watermarks};
use tierlog_storage::Offset;

use crate::rig::{Room, archived_stream, every_order, record, stream};

fn in_order(of: &Watermarks) {
    assert!(of.start <= of.durable, "{of:?}");
    assert!(of.durable <= of.written, "{of:?}");
    assert!(of.written <= of.next, "{of:?}");
    assert!(of.start <= of.archived, "{of:?}");
}

fn risen(from: &Watermarks, to: &Watermarks) {
    in_order(to);
    assert!(from.start <= to.start, "{from:?} {to:?}");
    assert!(from.durable <= to.durable, "{from:?} {to:?}");
    assert!(from.written <= to.written, "{from:?} {to:?}");
    assert!(from.archived <= to.archived, "{from:?} {to:?}");
}

fn appended(stream: &StreamShared, count: usize) {
    for _ in 0..count {
        drop(stream.submit_one(record()).expect("room"));
    }
}

/// Everything moves at once: records are written and synced, archived, and trimmed.
#[test]
fn watermarks_rise_and_keep_their_order() {
    every_order(3, || {
        let (stream, _wishes) = archived_stream(Room::default());
        appended(&stream, 2);
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                marks.advance_written(2);
                marks.advance_durable(1);
                marks.advance_durable(2);
            })
        };
        let coordinator = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                stream.advance_archived(Offset(1));
                stream.advance_start(Offset(1));
            })
        };
        let (first, second) = (stream.watermarks(), stream.watermarks());
        in_order(&first);
        risen(&first, &second);
        writer.join().unwrap();
        coordinator.join().unwrap();
        risen(&second, &stream.watermarks());
    });
}

/// Two publish at once, and one watches: he is woken until he has seen the last of it. Of two who publish
/// the later one never shows the older state.
#[test]
fn who_watches_sees_the_last_state_whoever_publishes_it() {
    every_order(2, || {
        let stream = stream(Room::default());
        appended(&stream, 1);
        let mut watch = stream.watch();
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                stream.show_written(&stream.life().marks, Offset(1), || ());
                stream.life().marks.advance_durable(1);
                stream.publish();
            })
        };
        let trims = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.notify())
        };
        loop {
            watch.mark_unchanged();
            if stream.watermarks().durable == Offset(1) {
                break;
            }
            block_on(watch.changed()).expect("the stream is there");
        }
        writer.join().unwrap();
        trims.join().unwrap();
    });
}
