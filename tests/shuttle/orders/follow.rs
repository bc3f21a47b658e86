//! The whole hand-over.

use std::{env, sync::Arc};

use shuttle::{
    Config, Runner,
    scheduler::{PctScheduler, RandomScheduler},
};
use tierlog_actors::{
    meters::Share,
    stream::{
        budget::Budget,
        marks::Level,
        shared::{Begin, DoorLimits, StreamShared},
        tail::TailBudget,
    },
};
use tierlog_storage::{Incarnation, Offset, StreamId};

use crate::{
    disk::Place,
    people::{Acked, appender, reader},
    writer,
};

/// Orders of each kind, where nobody asks for more.
const ORDERS: usize = 3_000;
/// Records of each appender.
const EACH: u8 = 4;

/// Room of a stream, in bytes, messages, and bytes of its tail.
#[derive(Debug, Clone, Copy)]
struct Room {
    bytes: usize,
    lane: usize,
    tail: usize,
    /// Times that the disk is full.
    full: usize,
}

fn orders(of: impl Fn() + Send + Sync + Copy + 'static) {
    let count = env::var("ORDERS").ok().and_then(|n| n.parse().ok());
    let count = count.unwrap_or(ORDERS);
    let mut config = Config::new();
    // Frames and footers are made on these stacks.
    config.stack_size = 512 << 10;
    Runner::new(RandomScheduler::new(count), config.clone()).run(of);
    // Some threads stand still for long while others go on: three changes of who goes first.
    Runner::new(PctScheduler::new(3, count), config).run(of);
}

fn hand_over(room: Room) {
    let id = StreamId::from_bytes([7; 16]);
    let begin = Begin {
        start: Offset(0),
        end: Offset(0),
        incarnation: Incarnation(1),
        archive: None,
    };
    let limits = DoorLimits {
        lane: room.lane,
        max_record: 1 << 16,
    };
    let (budget, tail) = (
        Budget::new(room.bytes, None),
        TailBudget::new(room.tail, Share::default()),
    );
    let stream = StreamShared::new(id, "s", limits, budget, tail, begin);
    let (place, acked) = (Place::new(id), Acked::default());
    let total = usize::from(EACH) * 2;
    let actors = writer::start(&stream, &place, total as u64, room.full);
    let appenders: Vec<_> = (0..2)
        .map(|who| appender(&stream, who, EACH, &acked))
        .collect();
    let levels = [Level::Written, Level::Durable];
    let readers = levels.map(|level| reader(&stream, &place, level, total));
    appenders
        .into_iter()
        .chain(actors)
        .for_each(|thread| thread.join().expect("it ends"));
    for reader in readers {
        let read = reader.join().expect("it ends");
        let acked = acked.lock().unwrap();
        assert_eq!(acked.len(), total);
        for (offset, payload) in acked.iter() {
            let at = usize::try_from(*offset).expect("a small one");
            assert_eq!(&read[at], payload, "at {offset}");
        }
    }
    assert_eq!(stream.budget.held(), 0, "all permits came back");
    assert_eq!(stream.accepted_end(), Offset(total as u64));
    assert_eq!(Arc::strong_count(&stream), 1, "nobody holds it");
}

/// Plenty of room: frames of several records, sealed under the readers, let go by the tail at any moment.
#[test]
fn followers_see_what_was_acked_while_segments_are_sealed_and_let_go() {
    orders(|| {
        hand_over(Room {
            bytes: 1 << 20,
            lane: 8,
            tail: 200,
            full: 0,
        });
    });
}

/// Room for one message, and for the bytes of two: everybody waits for everybody.
#[test]
fn appenders_that_wait_for_room_all_get_it() {
    orders(|| {
        hand_over(Room {
            bytes: 300,
            lane: 1,
            tail: 0,
            full: 0,
        });
    });
}

/// What is queued is handed back again and again while others append: it comes in again, once.
#[test]
fn what_is_handed_back_is_appended_again_and_nothing_is_there_twice() {
    orders(|| {
        hand_over(Room {
            bytes: 400,
            lane: 2,
            tail: 1 << 10,
            full: 3,
        });
    });
}
