//! The door: what is accepted while a life of the stream's tail ends.

use std::sync::Arc;

use loom::{future::block_on, thread};
use tierlog_actors::{
    Error,
    stream::{
        marks::Level,
        shared::{LifeChange, NextLife, Refusal},
    },
};
use tierlog_storage::{Incarnation, Offset};

use crate::rig::{Room, every_order, next_append, record, stream};

/// Somebody appends while the stream is given up: the record is refused, or its ticket ends. Nothing is
/// left on the lane, where nobody looks any more.
#[test]
fn what_is_accepted_as_a_stream_ends_is_not_stranded() {
    every_order(3, || {
        let stream = stream(Room::default());
        let appender = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || match stream.submit_one(record()) {
                Ok(ticket) => {
                    let failed = block_on(ticket).expect_err("nobody wrote it");
                    assert!(matches!(failed.error, Error::Closed), "{failed}");
                    assert_eq!(failed.records.len(), 1, "it comes back");
                }
                Err((Refusal::Failed(Error::Closed), _)) => {}
                Err((refusal, _)) => panic!("{refusal:?}"),
            })
        };
        stream.abandon(Error::Closed, &Error::Closed);
        appender.join().unwrap();
        assert_eq!(stream.lane().len(), 0, "stranded");
        assert_eq!(stream.budget.held(), 0);
    });
}

/// What is queued finds no room and is handed back; somebody appends meanwhile. What is accepted behind that
/// gets offsets that go on from the cut, and belongs to the next life, which writes it.
#[test]
fn what_is_accepted_behind_a_cut_goes_on_from_it() {
    every_order(3, || {
        let stream = stream(Room::default());
        let queued = stream.submit_one(record()).expect("room");
        let appender = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.submit_one(record()).expect("room"))
        };
        let next = NextLife::GoOn { blocked: None };
        stream.fail_queued(0, vec![(0, Error::StorageFull)], Vec::new(), next);
        let mut expected = 0;
        let life = stream.life();
        let ticket = appender.join().unwrap();
        while let Some(append) = next_append(&stream) {
            assert_eq!(
                append.first, expected,
                "the lane keeps the order of the offsets"
            );
            expected += 1;
        }
        life.marks.advance_written(expected);
        life.marks.advance_durable(expected);
        let failed = block_on(queued).expect_err("no room");
        assert!(matches!(failed.error, Error::StorageFull), "{failed}");
        match block_on(ticket) {
            Ok(ack) => assert_eq!((ack.offset, expected), (Offset(0), 1), "written"),
            Err(failed) => {
                assert!(matches!(failed.error, Error::StorageFull), "{failed}");
                assert_eq!(expected, 0, "handed back, and written as well");
            }
        }
        assert_eq!(stream.accepted_end(), Offset(expected));
        assert_eq!(stream.budget.held(), 0);
    });
}

/// A truncation begins a new life while somebody looks: who sees its number sees its cut, and the watermarks
/// of one life with the number of it.
#[test]
fn who_sees_a_new_life_sees_its_cut() {
    every_order(3, || {
        let stream = stream(Room::default());
        drop(stream.submit_batch(vec![record(), record()]).expect("room"));
        drop(next_append(&stream));
        let marks = Arc::clone(&stream.life().marks);
        marks.advance_written(2);
        marks.advance_durable(2);
        let truncates = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                stream.hold_shut();
                stream.begin_life(Incarnation(2), Offset(1), LifeChange::Truncated);
            })
        };
        let number = stream.incarnation();
        let (cut, now) = stream.cut_since(Incarnation(1));
        assert!(now >= number);
        // The cut may be that of a life behind `now`, which the next look then finds; never missed.
        assert!(cut.is_some() || now == Incarnation(1), "{cut:?} {now:?}");
        if number == Incarnation(2) {
            assert_eq!(cut, Some(Offset(1)));
            assert_eq!(stream.life().marks.get(Level::Durable), 1);
        }
        let seen = stream.watermarks();
        let durable = if seen.incarnation == Incarnation(2) {
            1
        } else {
            2
        };
        assert_eq!(seen.durable, Offset(durable), "{seen:?}");
        truncates.join().unwrap();
        assert!(
            stream.submit_one(record()).is_ok(),
            "the door is open again"
        );
    });
}
