//! The door: what it refuses, and that waiting for it ends neither too late nor too early.

use std::sync::Arc;

use tierlog_storage::{Incarnation, Offset, StreamId, segment::NewRecord};
use tokio::sync::oneshot;

use super::{
    budget::Budget,
    shared::{Begin, DoorLimits, Refusal, StreamShared},
    tail::TailBudget,
};
use crate::{kind::Kind, meters::Share, protocol::writer::Control};

/// A stream whose lane holds one message, with 4,000 bytes to give out.
fn stream() -> Arc<StreamShared> {
    let limits = DoorLimits {
        lane: 1,
        max_record: 10_000,
    };
    let begin = Begin {
        start: Offset(0),
        end: Offset(0),
        incarnation: Incarnation(1),
        archive: None,
    };
    let (budget, tail) = (
        Budget::new(4_000, None),
        TailBudget::new(0, Share::default()),
    );
    StreamShared::new(StreamId::generate(), "s", limits, budget, tail, begin)
}

fn record(len: usize) -> NewRecord {
    NewRecord::new(vec![0; len])
}

fn refused(stream: &StreamShared, len: usize) -> Kind {
    match stream.submit_one(record(len)) {
        Err((Refusal::WouldBlock(kind), _)) => kind,
        other => panic!("{other:?}"),
    }
}

/// Two things were short at once, the lane and the bytes. The door named the bytes, and the wait for
/// them looked at the lane first: so it was over at once, the append was refused for the bytes
/// again, and `append` went round without ever giving way. On a current-thread runtime the writer
/// then never came to run.
#[tokio::test]
async fn a_wait_is_for_what_the_refusal_named_where_two_things_are_short() {
    let stream = stream();
    let held = stream.budget.take(3_000).expect("room").written();
    assert!(
        stream.submit_one(record(10)).is_ok(),
        "the lane is full now"
    );
    let kind = refused(&stream, 2_000);
    assert_eq!(kind, Kind::Flush);
    let bytes = record(2_000).encoded_len_max();
    let ready = stream.ready(kind, bytes);
    tokio::pin!(ready);
    assert!(futures::poll!(ready.as_mut()).is_pending());
    drop(held);
    assert!(futures::poll!(ready.as_mut()).is_ready());
    assert_eq!(
        refused(&stream, 2_000),
        Kind::Admission,
        "now it is the lane"
    );
}

/// `flush` found the lane full while the stream was short of a segment, waited for `Admission`, was
/// told that `Rollover` is what is short, and went round without ever giving way.
#[tokio::test]
async fn a_command_waits_for_the_lane_whatever_keeps_records_out() {
    let stream = stream();
    assert!(
        stream.submit_one(record(10)).is_ok(),
        "the lane is full now"
    );
    stream.set_blocked(Some(Kind::Rollover));
    let command = || Control::Flush(oneshot::channel().0);
    assert!(matches!(
        stream.submit_control(command()),
        Err(Refusal::WouldBlock(Kind::Admission))
    ));
    let ready = stream.ready_for_control();
    tokio::pin!(ready);
    assert!(futures::poll!(ready.as_mut()).is_pending());
    drop(stream.lane().try_recv());
    stream.bell.ring();
    assert!(futures::poll!(ready.as_mut()).is_ready());
    assert!(stream.submit_control(command()).is_ok());
}
