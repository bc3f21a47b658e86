//! What happened, an event a line: kept to be printed, or summed up to be compared.

use std::{
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::clock::Time;

/// What is kept of a trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keeps {
    /// The sum of it alone.
    Sum,
    /// Its lines.
    Lines,
    /// Its lines, with one for each call to the disk.
    Calls,
}

/// The lines of one seed. A clone is the same.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    calls: bool,
    lines: Mutex<Lines>,
    time: Arc<Time>,
}

struct Lines {
    kept: Option<Vec<String>>,
    sum: u64,
    count: u64,
    /// What happens at once, where it does.
    at_once: Option<Vec<String>>,
}

impl Lines {
    fn add(&mut self, line: String) {
        for byte in line.bytes() {
            self.sum = (self.sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.count += 1;
        if let Some(kept) = &mut self.kept {
            kept.push(line);
        }
    }
}

impl Trace {
    /// One that keeps its lines, or their sum alone.
    pub fn new(keeps: Keeps, time: Arc<Time>) -> Self {
        let lines = Lines {
            kept: (keeps != Keeps::Sum).then(Vec::new),
            sum: 0xcbf2_9ce4_8422_2325,
            count: 0,
            at_once: None,
        };
        Self(Arc::new(Inner {
            calls: keeps == Keeps::Calls,
            lines: Mutex::new(lines),
            time,
        }))
    }

    /// Whether it has the calls to the disk as well.
    pub fn tells_calls(&self) -> bool {
        self.0.calls
    }

    /// One more event.
    pub fn say(&self, who: &str, what: fmt::Arguments<'_>) {
        let now = self.0.time.micros();
        let (seconds, micros) = (now / 1_000_000, now % 1_000_000);
        let line = format!("{seconds:4}.{micros:06} {who:<12} {what}");
        let mut lines = self.lines();
        match &mut lines.at_once {
            Some(at_once) => at_once.push(line),
            None => lines.add(line),
        }
    }

    /// What happens in there has no order: its events are told in that of the alphabet.
    pub fn at_once(&self, what: impl FnOnce()) {
        self.lines().at_once = Some(Vec::new());
        what();
        let mut lines = self.lines();
        let mut at_once = lines.at_once.take().unwrap_or_default();
        at_once.sort_unstable();
        at_once.into_iter().for_each(|line| lines.add(line));
    }

    fn lines(&self) -> MutexGuard<'_, Lines> {
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The sum of all lines, and how many there were.
    pub fn sum(&self) -> (u64, u64) {
        let lines = self.lines();
        (lines.sum, lines.count)
    }

    /// The lines that were kept.
    pub fn take(&self) -> Vec<String> {
        let mut lines = self.lines();
        lines.kept.take().unwrap_or_default()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.sum()).finish()
    }
}
