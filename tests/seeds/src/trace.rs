//! What happened, an event a line: kept to be printed, or summed up to be compared.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
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
}

impl Trace {
    /// One that keeps its lines, or their sum alone.
    pub fn new(keeps: Keeps, time: Arc<Time>) -> Self {
        let lines = Lines {
            kept: (keeps != Keeps::Sum).then(Vec::new),
            sum: 0xcbf2_9ce4_8422_2325,
            count: 0,
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
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        for byte in line.bytes() {
            lines.sum = (lines.sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        lines.count += 1;
        if let Some(kept) = &mut lines.kept {
            kept.push(line);
        }
    }

    /// The sum of all lines, and how many there were.
    pub fn sum(&self) -> (u64, u64) {
        let lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        (lines.sum, lines.count)
    }

    /// The lines that were kept.
    pub fn take(&self) -> Vec<String> {
        let mut lines = self.0.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.kept.take().unwrap_or_default()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Trace").field(&self.sum()).finish()
    }
}
