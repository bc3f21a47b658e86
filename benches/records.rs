//! What is appended, and the check that it came back.
//!
//! A record says which task appended it and as its how manieth:
//!
//! ```text
//!  0        4        8
//!  | task   | number | bytes that do not get shorter … |
//! ```

use std::ops::Range;

use bytes::{Bytes, BytesMut};

/// So many bytes of a record say what it is.
pub const STAMP: usize = 8;

/// All records of a run, one behind the other, made before the run: each contestant reads them from the
/// same memory, and one that takes shared slices gets some.
#[derive(Clone, Debug)]
pub struct Records {
    arena: Bytes,
    size: usize,
    count: usize,
    tasks: usize,
}

impl Records {
    /// Each task has the same number of them, `count` in all or a few less.
    pub fn new(size: usize, count: usize, tasks: usize) -> Self {
        let each = (count / tasks).max(1);
        let mut record = filling(size);
        let mut arena = BytesMut::with_capacity(size * each * tasks);
        for task in 0..tasks {
            for number in 0..each {
                stamp(&mut record, task, number);
                arena.extend_from_slice(&record);
            }
        }
        Self {
            arena: arena.freeze(),
            size,
            count: each * tasks,
            tasks,
        }
    }

    /// How many.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The bytes of each.
    pub fn size(&self) -> usize {
        self.size
    }

    /// The bytes of all.
    pub fn bytes(&self) -> usize {
        self.size * self.count
    }

    /// How many tasks append them.
    pub fn tasks(&self) -> usize {
        self.tasks
    }

    /// Those of one task.
    pub fn of(&self, task: usize) -> Range<usize> {
        let each = self.count / self.tasks;
        task * each..(task + 1) * each
    }

    /// One of them.
    #[inline]
    pub fn get(&self, at: usize) -> &[u8] {
        &self.arena[at * self.size..(at + 1) * self.size]
    }

    /// One of them, shared.
    #[inline]
    pub fn shared(&self, at: usize) -> Bytes {
        self.arena.slice(at * self.size..(at + 1) * self.size)
    }

    /// A check that all of them came back.
    pub fn check(&self) -> Check {
        Check::new(self.size, self.tasks)
    }
}

/// A record of so many bytes, to be stamped.
pub fn filling(size: usize) -> Vec<u8> {
    assert!(size >= STAMP, "a record has room for what it says");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        // Xorshift: no two blocks of it are alike within any record.
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..size).map(|_| next()).collect()
}

/// Says in a record what it is.
pub fn stamp(record: &mut [u8], task: usize, number: usize) {
    record[..4].copy_from_slice(&u32::try_from(task).expect("few").to_le_bytes());
    record[4..STAMP].copy_from_slice(&u32::try_from(number).expect("few").to_le_bytes());
}

/// Sees what is read back: each task's records, whole and in order.
#[derive(Debug)]
pub struct Check {
    filling: Vec<u8>,
    next: Vec<u32>,
    seen: usize,
    wrong: Option<String>,
}

impl Check {
    /// Of records of so many bytes by so many tasks.
    pub fn new(size: usize, tasks: usize) -> Self {
        Self {
            filling: filling(size),
            next: vec![0; tasks],
            seen: 0,
            wrong: None,
        }
    }

    /// The next record that was read.
    #[inline]
    pub fn see(&mut self, payload: &[u8]) {
        let word = |at: usize| {
            let bytes = payload[at..at + 4].try_into().expect("four of them");
            u32::from_le_bytes(bytes)
        };
        let (task, number) = (word(0) as usize, word(4));
        if number != self.next[task] || payload[STAMP..] != self.filling[STAMP..] {
            let expected = self.next[task];
            self.wrong.get_or_insert_with(|| {
                format!("record {number} of task {task} came where {expected} was to come")
            });
        }
        self.seen += 1;
        self.next[task] = number + 1;
    }

    /// Ends it: all of a run.
    ///
    /// # Errors
    /// What came back is not what was appended.
    pub fn all(self, records: &Records) -> Result<(), String> {
        let each = records.count() / records.tasks();
        self.counts(&vec![each; records.tasks()])
    }

    /// Ends it: so many of each task.
    ///
    /// # Errors
    /// What came back is not what was appended.
    pub fn counts(self, expected: &[usize]) -> Result<(), String> {
        let (seen, all) = (self.seen, expected.iter().sum::<usize>());
        match self.wrong {
            Some(wrong) => Err(format!("{wrong}; {seen} of {all} came")),
            None if seen != all => Err(format!("{seen} of {all} came")),
            None => Ok(()),
        }
    }
}
