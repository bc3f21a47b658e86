//! What can be done to a log.

use proptest::prelude::*;

/// The setting `flush`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    Always,
    Every,
    Bytes,
    Manual,
}

/// A record to be appended; its text is made unique by who appends it.
#[derive(Debug, Clone)]
pub struct NewText {
    pub filler: usize,
    pub key: Option<u8>,
    pub ext_id: Option<u64>,
}

/// One step. `stream` is one of two; places in a stream are given in parts of 16.
#[derive(Debug, Clone)]
pub enum Step {
    Append {
        stream: usize,
        what: NewText,
        durable: bool,
    },
    Batch {
        stream: usize,
        what: Vec<NewText>,
    },
    /// Expects an offset that is off by so much.
    AppendIf {
        stream: usize,
        what: NewText,
        off: i64,
    },
    /// Buffers of records, sent in the end.
    Pack {
        stream: usize,
        fillers: Vec<usize>,
    },
    /// Accepted, and nobody waits.
    Submit {
        stream: usize,
        what: Vec<NewText>,
    },
    TooLarge {
        stream: usize,
    },
    Flush {
        stream: usize,
    },
    Seal {
        stream: usize,
    },
    Trim {
        stream: usize,
        part: u64,
    },
    /// A cut behind that part of the stream; `None` for all of it.
    Truncate {
        stream: usize,
        part: Option<u64>,
    },
    Read {
        stream: usize,
        from: Place,
        max: usize,
        written: bool,
    },
    /// The clock jumps by so many seconds.
    Clock {
        by: i64,
    },
    Reopen(End),
}

/// Where a reader begins.
#[derive(Debug, Clone, Copy)]
pub enum Place {
    Earliest,
    Latest,
    /// A part of the stream, and so much beyond.
    Offset(u64, u64),
    /// The time of the record there, and so much later.
    Time(u64, u64),
    ExtId(u64),
}

/// How a life ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    Closed,
    Dropped,
    Killed,
    PowerCut(u64),
}

pub fn policy() -> impl Strategy<Value = Policy> {
    prop_oneof![
        Just(Policy::Always),
        Just(Policy::Every),
        Just(Policy::Bytes),
        Just(Policy::Manual)
    ]
}

fn text() -> impl Strategy<Value = NewText> {
    let filler = prop_oneof![4 => 0..200_usize, 1 => 0..9_000_usize];
    let key = proptest::option::of(any::<u8>());
    let ext_id = proptest::option::of(0..50_u64);
    (filler, key, ext_id).prop_map(|(filler, key, ext_id)| NewText {
        filler,
        key,
        ext_id,
    })
}

fn texts(most: usize) -> impl Strategy<Value = Vec<NewText>> {
    proptest::collection::vec(text(), 1..most)
}

fn place() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => Just(Place::Earliest),
        1 => Just(Place::Latest),
        3 => (0..17_u64, 0..3_u64).prop_map(|(part, beyond)| Place::Offset(part, beyond)),
        2 => (0..16_u64, 0..2_u64).prop_map(|(part, later)| Place::Time(part, later)),
        2 => (0..60_u64).prop_map(Place::ExtId),
    ]
}

fn end() -> impl Strategy<Value = End> {
    prop_oneof![
        Just(End::Closed),
        Just(End::Dropped),
        Just(End::Killed),
        any::<u64>().prop_map(End::PowerCut),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let s = || 0..2_usize;
    prop_oneof![
        6 => (s(), text(), any::<bool>())
            .prop_map(|(stream, what, durable)| Step::Append { stream, what, durable }),
        4 => (s(), texts(6)).prop_map(|(stream, what)| Step::Batch { stream, what }),
        2 => (s(), text(), -1..2_i64)
            .prop_map(|(stream, what, off)| Step::AppendIf { stream, what, off }),
        2 => (s(), proptest::collection::vec(0..5_000_usize, 1..30))
            .prop_map(|(stream, fillers)| Step::Pack { stream, fillers }),
        3 => (s(), texts(5)).prop_map(|(stream, what)| Step::Submit { stream, what }),
        1 => s().prop_map(|stream| Step::TooLarge { stream }),
        2 => s().prop_map(|stream| Step::Flush { stream }),
        2 => s().prop_map(|stream| Step::Seal { stream }),
        2 => (s(), 0..18_u64).prop_map(|(stream, part)| Step::Trim { stream, part }),
        2 => (s(), proptest::option::weighted(0.9, 0..18_u64))
            .prop_map(|(stream, part)| Step::Truncate { stream, part }),
        6 => (s(), place(), 1..40_usize, any::<bool>())
            .prop_map(|(stream, from, max, written)| Step::Read { stream, from, max, written }),
        1 => (-20..40_i64).prop_map(|by| Step::Clock { by }),
        3 => end().prop_map(Step::Reopen),
    ]
}

pub fn steps() -> impl Strategy<Value = Vec<Step>> {
    proptest::collection::vec(step(), 1..50)
}
