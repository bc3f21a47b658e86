//! Tickets: what an append waits with.

use std::sync::Arc;

use loom::{future::block_on, thread};
use tierlog_actors::{Error, stream::marks::Level};

use crate::rig::{Room, every_order, record, stream};

/// Two tickets at two levels; the writer raises the marks one by one meanwhile. None is told early, and
/// none waits for ever.
#[test]
fn a_ticket_is_told_when_its_level_is_reached_and_not_before() {
    every_order(2, || {
        let stream = stream(Room::default());
        let first = stream.submit_one(record()).expect("room");
        let second = stream
            .submit_one(record())
            .expect("room")
            .at(Level::Written);
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                marks.advance_written(1);
                marks.advance_written(2);
                marks.advance_durable(1);
                marks.advance_durable(2);
            })
        };
        let marks = Arc::clone(&stream.life().marks);
        let reads = thread::spawn(move || {
            let ack = block_on(second).expect("written");
            assert!(marks.get(Level::Written) > ack.offset.get(), "early");
        });
        let ack = block_on(first).expect("durable");
        assert!(
            stream.life().marks.get(Level::Durable) > ack.offset.get(),
            "early"
        );
        reads.join().unwrap();
        writer.join().unwrap();
    });
}

/// The last record of a batch decides, and marks that stop short of it are not enough.
#[test]
fn a_batch_is_told_by_its_last_record() {
    every_order(3, || {
        let stream = stream(Room::default());
        let mut ticket = stream.submit_batch(vec![record(), record()]).expect("room");
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                marks.advance_written(2);
                marks.advance_durable(1);
                marks.advance_durable(2);
            })
        };
        if let Some(told) = ticket.now() {
            assert!(told.is_ok());
            assert_eq!(stream.life().marks.get(Level::Durable), 2, "early");
        }
        assert_eq!(block_on(ticket).expect("durable").count, 2);
        assert_eq!(stream.life().marks.get(Level::Durable), 2, "early");
        writer.join().unwrap();
    });
}

/// What was written fails for good while its ticket begins to wait: it ends, once, and with the record or
/// without it, but never as a success that the marks do not bear out.
#[test]
fn a_ticket_whose_life_ends_as_it_begins_to_wait_is_told() {
    every_order(3, || {
        let stream = stream(Room::default());
        let first = stream.submit_one(record()).expect("room");
        let second = stream.submit_one(record()).expect("room");
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                marks.advance_written(1);
                marks.advance_durable(1);
                stream.abandon(Error::Closed, &Error::Closed);
            })
        };
        let other = thread::spawn(move || block_on(second));
        assert!(block_on(first).is_ok(), "it was durable before the end");
        let failed = other.join().unwrap().expect_err("it was never written");
        assert!(matches!(failed.error, Error::Closed), "{failed}");
        assert_eq!(failed.records.len(), 1, "it comes back");
        writer.join().unwrap();
        assert_eq!(stream.budget.held(), 0);
    });
}

/// A ticket is dropped as its record becomes durable: nothing is left, and its neighbour is told.
#[test]
fn a_ticket_that_is_dropped_takes_no_wake_up_from_another_one() {
    every_order(3, || {
        let stream = stream(Room::default());
        let kept = stream.submit_one(record()).expect("room");
        let mut dropped = stream.submit_one(record()).expect("room");
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                marks.advance_written(2);
                marks.advance_durable(2);
            })
        };
        let drops = thread::spawn(move || {
            let waker = futures::task::noop_waker();
            let mut cx = std::task::Context::from_waker(&waker);
            let _either = std::pin::Pin::new(&mut dropped).poll(&mut cx);
        });
        assert!(block_on(kept).is_ok());
        drops.join().unwrap();
        writer.join().unwrap();
    });
}
