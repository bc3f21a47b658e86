//! Accepted records, encoded into frames that are not handed to a write yet.

use std::collections::VecDeque;

use tierlog_storage::segment::FrameBuilder;

use crate::{
    protocol::writer::{Append, Payload},
    stream::budget::Permit,
};

/// Bytes of frames at which the queue takes no more: what is beyond waits on the lane.
pub const QUEUE_LIMIT: usize = 4 << 20;

/// A frame that is being filled, or is full.
#[derive(Debug)]
pub struct Queued {
    /// Its records so far.
    pub builder: FrameBuilder,
    /// The offset of its first record.
    pub first: u64,
    /// What they hold.
    pub permit: Permit,
    /// What was appended, by first offset, to be handed back if it can't be written. Empty for what
    /// an appender has encoded: it is decoded again if need be.
    pub origin: Vec<(u64, Payload)>,
    /// Nothing more goes in.
    closed: bool,
}

/// The frames that wait, in offset order.
#[derive(Debug, Default)]
pub struct Queue {
    frames: VecDeque<Queued>,
    bytes: usize,
    last_ts: u64,
    hint: usize,
    /// Bytes at which a frame is full.
    target: usize,
}

impl Queue {
    /// Time stamps go on from here.
    pub fn starting_at(last_ts: u64, target: usize) -> Self {
        Self {
            last_ts,
            hint: 1024,
            target,
            ..Self::default()
        }
    }

    /// Adds what was appended, at time `now`. What is appended at once goes into one frame; small
    /// things share frames up to the target size.
    pub fn push(&mut self, append: Append, now: u64) {
        let now = now.max(self.last_ts);
        let Append {
            first,
            permit,
            what,
        } = append;
        match what {
            Payload::Encoded(mut builder) => {
                // The appender's clock may lag behind what the stream has seen.
                builder.raise_base(self.last_ts);
                self.last_ts = builder.last_timestamp();
                self.bytes += builder.len();
                self.close_last();
                let origin = Vec::new();
                self.frames.push_back(Queued {
                    builder: *builder,
                    first,
                    permit,
                    origin,
                    closed: true,
                });
            }
            what => {
                self.last_ts = now;
                if !self.fits(&what) {
                    self.close_last();
                    self.frames.push_back(Queued {
                        builder: FrameBuilder::new(self.hint),
                        first,
                        permit: permit.split_empty(),
                        origin: Vec::new(),
                        closed: false,
                    });
                }
                if let Some(frame) = self.frames.back_mut() {
                    self.bytes += frame.add(first, permit, what, now);
                }
            }
        }
    }

    /// The next frame to be written.
    pub fn front(&self) -> Option<&Queued> {
        self.frames.front()
    }

    /// All that wait, in order.
    pub fn frames(&self) -> impl Iterator<Item = &Queued> {
        self.frames.iter()
    }

    /// Takes it out.
    pub fn pop(&mut self) -> Option<Queued> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.builder.len();
        // The next frame begins with room for one like this, and grows if it has to.
        self.hint = frame.builder.len().clamp(1024, self.target.max(1024));
        Some(frame)
    }

    /// Takes all of it out, to be handed back.
    pub fn give_up(&mut self) -> Vec<Append> {
        self.bytes = 0;
        self.frames
            .drain(..)
            .flat_map(Queued::into_appends)
            .collect()
    }

    /// Whether it holds as much as it may.
    pub fn is_full(&self) -> bool {
        self.bytes >= QUEUE_LIMIT
    }

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    fn fits(&self, what: &Payload) -> bool {
        let Some(last) = self.frames.back().filter(|last| !last.closed) else {
            return false;
        };
        match what {
            Payload::One(record) => last.builder.fits(record, self.target),
            Payload::Batch(records) => {
                let len: usize = records.iter().map(|record| record.encoded_len_max()).sum();
                last.builder.len() + len <= self.target
                    && records
                        .iter()
                        .all(|record| last.builder.fits(record, self.target))
            }
            Payload::Encoded(_) => false,
        }
    }

    fn close_last(&mut self) {
        if let Some(last) = self.frames.back_mut() {
            last.closed = true;
        }
    }
}

impl Queued {
    /// How many appends it holds.
    pub fn appends(&self) -> usize {
        self.origin.len().max(1)
    }

    /// Gives by how many bytes the frame has grown.
    fn add(&mut self, first: u64, permit: Permit, what: Payload, now: u64) -> usize {
        let before = if self.builder.is_empty() {
            0
        } else {
            self.builder.len()
        };
        match &what {
            Payload::One(record) => self.builder.push(now, record),
            Payload::Batch(records) => {
                records
                    .iter()
                    .for_each(|record| self.builder.push(now, record));
            }
            Payload::Encoded(_) => unreachable!("it has a frame of its own"),
        }
        self.permit.merge(permit);
        self.origin.push((first, what));
        self.builder.len() - before
    }

    fn into_appends(self) -> Vec<Append> {
        let Self {
            builder,
            first,
            permit,
            origin,
            ..
        } = self;
        into_appends(first, permit, origin, || {
            Payload::Encoded(Box::new(builder)).into_records()
        })
    }
}

/// What a frame was made of, to be handed back; the permit goes with the first.
pub fn into_appends(
    first: u64,
    permit: Permit,
    origin: Vec<(u64, Payload)>,
    decode: impl FnOnce() -> Vec<tierlog_storage::segment::NewRecord>,
) -> Vec<Append> {
    if origin.is_empty() {
        return vec![Append {
            first,
            permit,
            what: Payload::Batch(decode()),
        }];
    }
    let rest = permit.split_empty();
    let mut permit = Some(permit);
    origin
        .into_iter()
        .map(|(first, what)| Append {
            first,
            permit: permit.take().unwrap_or_else(|| rest.split_empty()),
            what,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use tierlog_storage::segment::{FRAME_TARGET, NewRecord};

    use super::*;
    use crate::stream::budget::Budget;

    fn append(budget: &std::sync::Arc<Budget>, first: u64, what: Payload) -> Append {
        Append {
            first,
            permit: budget.take(10).expect("room"),
            what,
        }
    }

    fn one(len: usize) -> Payload {
        Payload::One(NewRecord::new(vec![7; len]))
    }

    #[test]
    fn small_records_share_a_frame_and_large_ones_do_not() {
        let budget = Budget::new(1 << 20, None);
        let mut queue = Queue::starting_at(0, FRAME_TARGET);
        for first in 0..3 {
            queue.push(append(&budget, first, one(100)), 5);
        }
        queue.push(append(&budget, 3, one(FRAME_TARGET)), 5);
        queue.push(append(&budget, 4, one(1)), 5);
        let counts: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|f| (f.first, f.builder.count()))
            .collect();
        assert_eq!(counts, [(0, 3), (3, 1), (4, 1)]);
        assert!(queue.is_empty() && queue.bytes == 0);
    }

    #[test]
    fn a_batch_is_never_split() {
        let budget = Budget::new(1 << 20, None);
        let mut queue = Queue::starting_at(0, FRAME_TARGET);
        queue.push(append(&budget, 0, one(60_000)), 5);
        let batch = (0..10).map(|_| NewRecord::new(vec![1; 1_000])).collect();
        queue.push(append(&budget, 1, Payload::Batch(batch)), 5);
        let counts: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|f| f.builder.count())
            .collect();
        assert_eq!(counts, [1, 10]);
    }

    #[test]
    fn a_clock_that_jumps_back_never_makes_time_stamps_fall() {
        let budget = Budget::new(1 << 20, None);
        let mut queue = Queue::starting_at(100, FRAME_TARGET);
        queue.push(append(&budget, 0, one(1)), 7);
        let mut late = FrameBuilder::new(64);
        late.push_payload(3, b"x");
        late.push_payload(9, b"y");
        queue.push(append(&budget, 1, Payload::Encoded(Box::new(late))), 8);
        queue.push(append(&budget, 3, one(1)), 1);
        let spans: Vec<_> = std::iter::from_fn(|| queue.pop())
            .map(|f| (f.builder.base_timestamp(), f.builder.last_timestamp()))
            .collect();
        assert_eq!(spans, [(100, 100), (100, 106), (106, 106)]);
    }

    #[test]
    fn giving_up_hands_everything_back_once_and_frees_every_permit() {
        let budget = Budget::new(1 << 20, None);
        let mut queue = Queue::starting_at(0, FRAME_TARGET);
        let mut encoded = FrameBuilder::new(64);
        encoded.push_payload(1, b"b");
        encoded.push_payload(1, b"c");
        queue.push(append(&budget, 0, Payload::One(NewRecord::from("a"))), 1);
        queue.push(append(&budget, 1, Payload::Encoded(Box::new(encoded))), 1);
        queue.push(append(&budget, 3, Payload::One(NewRecord::from("d"))), 1);
        let back: Vec<_> = queue
            .give_up()
            .into_iter()
            .map(|a| (a.first, a.what.into_records()))
            .collect();
        let expected = vec![
            (0, vec![NewRecord::from("a")]),
            (1, vec![NewRecord::from("b"), NewRecord::from("c")]),
            (3, vec![NewRecord::from("d")]),
        ];
        assert_eq!(back, expected);
        assert_eq!(budget.held(), 0);
    }
}
