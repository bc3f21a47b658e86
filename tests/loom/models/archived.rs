//! How far a stream is archived, and who asks for it.

use std::sync::Arc;

use loom::{future::block_on, thread};
use tierlog_actors::{Error, stream::marks::Level};
use tierlog_storage::Offset;

use crate::rig::{Room, archived_stream, every_order, record};

/// A ticket that begins to wait says that it does; whoever archives is woken by that, and wakes it in turn.
#[test]
fn who_waits_to_see_it_archived_is_heard_and_told() {
    every_order(3, || {
        let (stream, wishes) = archived_stream(Room::default());
        let ticket = stream
            .submit_one(record())
            .expect("room")
            .at(Level::Archived);
        let marks = Arc::clone(&stream.life().marks);
        marks.advance_written(1);
        marks.advance_durable(1);
        let coordinator = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let wished = block_on(wishes.take());
                assert_eq!(wished.get(&stream.id), Some(&1));
                stream.advance_archived(Offset(1));
            })
        };
        assert_eq!(block_on(ticket).expect("archived").level, Level::Archived);
        assert_eq!(marks.get(Level::Archived), 1, "early");
        coordinator.join().unwrap();
    });
}

/// The record is archived, trimmed, or given up while its ticket begins to wait: it ends, whichever it is.
#[test]
fn a_wait_for_the_archive_ends_however_it_ends() {
    every_order(3, || {
        let (stream, _wishes) = archived_stream(Room::default());
        let ticket = stream
            .submit_one(record())
            .expect("room")
            .at(Level::Archived);
        let marks = Arc::clone(&stream.life().marks);
        marks.advance_written(1);
        marks.advance_durable(1);
        let trims = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.advance_start(Offset(1)))
        };
        let ends = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || stream.end_archive(Error::Closed))
        };
        let failed = block_on(ticket).expect_err("nobody archives it");
        assert!(
            matches!(failed.error, Error::Trimmed { .. } | Error::Closed),
            "{failed}"
        );
        trims.join().unwrap();
        ends.join().unwrap();
    });
}
