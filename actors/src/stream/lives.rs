//! How the life of a stream's tail ends and another one begins: a failure, a recovery, a
//! truncation, the end of the log. All of it happens behind the shut door of [`StreamShared`].

use std::collections::BTreeMap;

use tierlog_storage::{Incarnation, Offset, planted, segment::NewRecord};

use super::{
    marks::{Level, Marks},
    shared::StreamShared,
    ticket::Life,
};
use crate::{
    error::Error,
    kind::Kind,
    protocol::writer::{Append, Control, LaneMsg},
    sync::{Arc, PoisonError, atomic::Ordering},
};

/// How many truncations a stream remembers for readers that have not looked since.
const REMEMBERED_CUTS: usize = 64;

/// Why a new life begins.
#[derive(Debug, Clone, Copy)]
pub enum LifeChange<'a> {
    /// The tail was recovered from disk. What had been accepted below the end is durable; what lies
    /// beyond was not appended.
    Recovered {
        /// Records that had been written, and so may have been read, are gone.
        lost: bool,
        /// What made it necessary.
        why: &'a str,
    },
    /// The app cut the tail off.
    Truncated,
}

impl LifeChange<'_> {
    const fn lost_read_records(self) -> bool {
        matches!(self, Self::Truncated | Self::Recovered { lost: true, .. })
    }
}

/// What follows when queued records have failed.
#[derive(Debug)]
pub enum NextLife {
    /// Offsets are given out again from the cut on; `blocked` says what is short, if anything is.
    GoOn {
        /// What is short.
        blocked: Option<Kind>,
    },
    /// The stream refuses everything until the log is opened again.
    Refuse(Error),
}

impl StreamShared {
    /// What is accepted and not yet taken by the writer fails, together with `taken`, which the
    /// writer had already drained; offsets from `from` on are given out anew.
    ///
    /// All of it happens behind the shut door, so that nothing can slip onto the lane in between
    /// and be stranded there. `blocked` is what is short from now on.
    pub fn fail_queued(
        &self,
        from: u64,
        errors: Vec<(u64, Error)>,
        taken: Vec<Append>,
        next_life: NextLife,
    ) {
        let early = planted::is("lane_emptied_before_the_door").then(|| self.empty_lane());
        let dropped = {
            let mut door = self.lock();
            let (mut records, mut controls) = early.unwrap_or_else(|| self.empty_lane());
            for append in taken {
                records.insert(append.first, append.what.into_records());
            }
            door.life.end(errors, records);
            door.next = from;
            door.forget_timed_beyond(from);
            match next_life {
                NextLife::Refuse(error) => {
                    // What is in the open segment is sealed by nobody, and so never archived.
                    if let Some(archive) = door.life.marks.archive() {
                        archive.fail(error.clone());
                    }
                    door.shut.get_or_insert(error);
                }
                NextLife::GoOn { blocked } => {
                    door.life = door.life.go_on();
                    door.blocked = blocked;
                    // Commands stay: the door is shut behind a truncation until it is done, and
                    // with the command gone nobody would open it again.
                    self.put_back(&mut controls);
                }
            }
            controls
        };
        // Answer slots are dropped outside the lock: their askers learn that nothing was done.
        drop(dropped);
        self.bell.ring();
        self.notify();
    }

    /// Holds the door shut while the stream is being recovered.
    pub fn hold_shut(&self) {
        self.lock().held_shut = true;
    }

    /// A new life begins, with everything below `end` durable; it ends the old one.
    pub fn begin_life(&self, number: Incarnation, end: Offset, change: LifeChange<'_>) {
        self.begin_life_with(number, end, change, || ());
    }

    /// As [`begin_life`](Self::begin_life), with the segments and the tail changed by `show` in the
    /// same step, behind the door. Shown before, the cut would look like damage to a reader beyond
    /// it; shown after, a reader of the new life would find the old segments. `show` must not come
    /// back to the door: neither marks nor watermarks.
    pub fn begin_life_with(
        &self,
        number: Incarnation,
        end: Offset,
        change: LifeChange<'_>,
        show: impl FnOnce(),
    ) {
        let dropped = {
            let mut door = self.lock();
            let (records, mut controls) = self.empty_lane();
            if change.lost_read_records() {
                self.remember_cut(number, end);
            }
            match change {
                LifeChange::Recovered { why, .. } => {
                    // What was recovered is durable now, and tickets below it may say so; what
                    // lies beyond is not in the log.
                    let marks = &door.life.marks;
                    if marks.get(Level::Written) < end.get() {
                        marks.advance_written(end.get());
                    }
                    if marks.get(Level::Durable) < end.get() {
                        marks.advance_durable(end.get());
                    }
                    door.life
                        .end(vec![(end.get(), Error::not_appended(&why))], records);
                }
                // All that was accepted before a truncation is durable by then, and its tickets
                // may still say so: the old marks keep their value.
                LifeChange::Truncated => {
                    door.life.marks.cut_off(end.get());
                    // The writer goes on, and a close of the log may wait behind the truncation.
                    self.put_back(&mut controls);
                }
            }
            let archive = door.life.marks.archive().cloned();
            let marks = Marks::with_archive(end.get(), archive);
            door.life = Life::new(number, Arc::new(marks));
            show();
            // Behind the cut that was noted above: who sees the number sees the cut.
            self.life_number.store(number.get(), Ordering::Release);
            door.next = end.get();
            door.forget_timed_beyond(end.get());
            door.blocked = None;
            door.held_shut = false;
            controls
        };
        drop(dropped);
        self.bell.ring();
        self.publish();
    }

    /// Opens a door that a truncation had shut and that came to nothing.
    pub fn reopen_door(&self) {
        self.lock().held_shut = false;
        self.bell.ring();
    }

    /// Refuses everything from now on; what was accepted is left to its writer.
    pub fn shut(&self, error: Error) {
        self.lock().shut.get_or_insert(error);
        self.bell.ring();
        self.notify();
    }

    /// Whether the door is shut for good.
    pub fn is_shut(&self) -> Option<Error> {
        self.lock().shut.clone()
    }

    /// Nobody works for this stream any more and nobody will: every ticket and command ends.
    pub fn abandon(&self, refuse: Error, tickets: &Error) {
        let durable = self.lock().life.marks.get(Level::Durable);
        self.fail_queued(
            durable,
            vec![(durable, tickets.clone())],
            Vec::new(),
            NextLife::Refuse(refuse),
        );
    }

    /// Nothing more will be archived of this stream, by this owner.
    pub fn end_archive(&self, why: Error) {
        if let Some(archive) = self.life().marks.archive() {
            archive.fail(why);
        }
    }

    /// Everything below `end` is archived.
    pub fn advance_archived(&self, end: Offset) {
        if let Some(archive) = self.life().marks.archive() {
            archive.advance(end.get());
        }
        self.publish();
    }

    /// Takes everything from the lane: records by their first offset, and commands.
    fn empty_lane(&self) -> (BTreeMap<u64, Vec<NewRecord>>, Vec<Control>) {
        let mut records = BTreeMap::new();
        let mut controls = Vec::new();
        for message in self.lane_out.try_iter() {
            match message {
                LaneMsg::Append(append) => {
                    records.insert(append.first, append.what.into_records());
                }
                LaneMsg::Control(control) => controls.push(control),
            }
        }
        (records, controls)
    }

    /// Puts commands back onto the lane that was just emptied. The door is shut, so that nobody has got onto it
    /// since.
    fn put_back(&self, controls: &mut Vec<Control>) {
        for control in controls.drain(..) {
            let _ = self.lane_in.try_send(LaneMsg::Control(control));
        }
    }

    fn remember_cut(&self, number: Incarnation, end: Offset) {
        let mut cuts = self.cuts.lock().unwrap_or_else(PoisonError::into_inner);
        if cuts.len() == REMEMBERED_CUTS {
            // Two old ones become one that is at least as low: a reader may be told of a cut that
            // it did not have to hear of, never miss one.
            let old = cuts.pop_front();
            if let (Some((_, low)), Some(front)) = (old, cuts.front_mut()) {
                front.1 = front.1.min(low);
            }
        }
        cuts.push_back((number, end));
    }
}
