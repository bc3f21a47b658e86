//! Byte permits and the door: what is refused, and who is woken when there is room.

use std::sync::Arc;

use loom::{future::block_on, thread};
use tierlog_actors::{
    Kind,
    protocol::writer::LaneMsg,
    stream::{
        budget::Budget,
        shared::{Refusal, StreamShared},
        ticket::Ticket,
    },
};

use crate::rig::{Room, every_order, next_append, record, stream};

/// Two budgets in one: what both take together never passes the larger one, and all of it comes back.
#[test]
fn permits_never_pass_the_limit_and_come_back() {
    every_order(3, || {
        let log = Budget::new(100, None);
        let takers: Vec<_> = (0..2)
            .map(|_| {
                let (log, own) = (Arc::clone(&log), Budget::new(60, Some(Arc::clone(&log))));
                thread::spawn(move || {
                    let permit = own.take(60);
                    if permit.is_ok() {
                        // The other one may have taken and given back for a moment, and no more.
                        assert!(log.held() <= 120, "{}", log.held());
                    }
                    let taken = permit.as_ref().map_or(0, |permit| permit.bytes());
                    (taken, permit.map(drop).is_ok(), own.held())
                })
            })
            .collect();
        let outcomes: Vec<_> = takers
            .into_iter()
            .map(|taker| taker.join().unwrap())
            .collect();
        assert!(
            outcomes.iter().any(|(taken, ..)| *taken == 60),
            "one gets it"
        );
        assert!(outcomes.iter().all(|(.., held)| *held == 0), "{outcomes:?}");
        assert_eq!(log.held(), 0, "all of it came back");
    });
}

/// What is too large for what is left holds bytes for a moment, before it is refused. Whoever was refused
/// because of that moment, and waits, must be woken: nothing else would ever ring.
#[test]
fn who_is_refused_for_a_moments_sake_is_woken() {
    every_order(3, || {
        let log = Budget::new(100, None);
        let held = log.take(50).expect("room");
        let large = {
            let log = Arc::clone(&log);
            thread::spawn(move || assert!(log.take(80).is_err()))
        };
        block_on(log.bell.wait_until(|| log.shortages(40).next().is_none()));
        large.join().unwrap();
        drop(held);
        assert_eq!(log.held(), 0);
    });
}

/// As an app appends: again and again until it is taken.
fn append(stream: &StreamShared) -> Ticket {
    loop {
        match stream.submit_one(record()) {
            Ok(ticket) => return ticket,
            Err((Refusal::WouldBlock(kind), record)) => {
                block_on(stream.ready(kind, record.encoded_len_max()))
            }
            Err((refusal, _)) => panic!("{refusal:?}"),
        }
    }
}

/// Room for one message. Two append, one writes: nobody waits for ever, offsets are dense and come off the
/// lane in their order, and nothing is held at the end.
fn two_append_where_there_is_room_for_one(room: Room, switches: usize) {
    every_order(switches, move || {
        let stream = stream(room);
        let appenders: Vec<_> = (0..2)
            .map(|_| {
                let stream = Arc::clone(&stream);
                thread::spawn(move || drop(append(&stream)))
            })
            .collect();
        for next in 0..2 {
            let lane = stream.lane();
            let message = block_on(lane.recv_async()).expect("the lane is there");
            stream.bell.ring();
            let LaneMsg::Append(append) = message else {
                panic!("nobody gave a command");
            };
            assert_eq!(append.first, next);
            let end = append.first + 1;
            let held = append.permit.written();
            let marks = &stream.life().marks;
            marks.advance_written(end);
            marks.advance_durable(end);
            drop(held);
        }
        appenders
            .into_iter()
            .for_each(|appender| appender.join().unwrap());
        assert_eq!(stream.budget.held(), 0);
        assert_eq!(stream.accepted_end().get(), 2);
    });
}

#[test]
fn whoever_waits_for_room_on_the_lane_gets_it() {
    let room = Room {
        lane: 1,
        ..Room::default()
    };
    two_append_where_there_is_room_for_one(room, 2);
}

#[test]
fn whoever_waits_for_bytes_gets_them() {
    let room = Room {
        bytes: 1,
        ..Room::default()
    };
    two_append_where_there_is_room_for_one(room, 2);
}

/// A caller goes away while its record is queued: its bytes stay taken until the writer is done with them.
#[test]
fn a_caller_that_goes_away_frees_nothing_that_is_queued() {
    every_order(3, || {
        let stream = stream(Room {
            bytes: 1,
            ..Room::default()
        });
        let mut ticket = stream.submit_one(record()).expect("room");
        let leaves = thread::spawn(move || {
            let waker = futures::task::noop_waker();
            let mut cx = std::task::Context::from_waker(&waker);
            // It begins to wait, and gives up.
            assert!(std::pin::Pin::new(&mut ticket).poll(&mut cx).is_pending());
        });
        let second = stream.submit_one(record());
        assert!(
            matches!(second, Err((Refusal::WouldBlock(Kind::Admission), _))),
            "the first one is still queued"
        );
        let append = next_append(&stream).expect("it is on the lane");
        stream.life().marks.advance_written(1);
        assert!(stream.budget.held() > 0, "it is not durable");
        drop(append);
        leaves.join().unwrap();
        assert_eq!(stream.budget.held(), 0);
    });
}
