//! Gauges of a process that has more than one log, and of a log that has more than one stream.

use std::sync::atomic::{AtomicI64, Ordering};

use metrics::Gauge;

/// One part of a gauge that shows the sum of all parts. Two logs of a process that each set the same
/// gauge would show what the last one said; and a log that was closed would show for ever what it
/// said last. A part that is dropped takes its value with it.
///
/// The default one is part of no gauge.
#[derive(Debug)]
pub struct Share {
    gauge: Gauge,
    /// Below zero only between two threads of which one has counted and not yet shown it.
    part: AtomicI64,
}

impl Share {
    /// A part of a gauge, zero at first.
    pub fn of(gauge: &Gauge) -> Self {
        Self {
            gauge: gauge.clone(),
            part: AtomicI64::new(0),
        }
    }

    /// The part is this much now.
    pub fn set(&self, to: u64) {
        let to = signed(to);
        self.show(to - self.part.swap(to, Ordering::Relaxed));
    }

    /// [`set`](Self::set) to a number of things.
    pub fn set_len(&self, len: usize) {
        self.set(len as u64);
    }

    /// The part grows by so much.
    pub fn add(&self, n: u64) {
        self.part.fetch_add(signed(n), Ordering::Relaxed);
        self.show(signed(n));
    }

    /// The part shrinks by so much.
    pub fn sub(&self, n: u64) {
        self.part.fetch_sub(signed(n), Ordering::Relaxed);
        self.show(-signed(n));
    }

    fn show(&self, change: i64) {
        match change {
            0 => {}
            1.. => self.gauge.increment(change as f64),
            _ => self.gauge.decrement(-change as f64),
        }
    }
}

fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

impl Default for Share {
    fn default() -> Self {
        Self::of(&Gauge::noop())
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.set(0);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use metrics::GaugeFn;

    use super::*;

    #[derive(Debug, Default)]
    struct Sum(Mutex<f64>);

    impl GaugeFn for Sum {
        fn increment(&self, value: f64) {
            *self.0.lock().unwrap() += value;
        }

        fn decrement(&self, value: f64) {
            *self.0.lock().unwrap() -= value;
        }

        fn set(&self, _: f64) {
            panic!("a part of a gauge is never set");
        }
    }

    #[test]
    fn a_gauge_shows_the_sum_of_its_parts_and_nothing_of_those_that_are_gone() {
        let sum = Arc::new(Sum::default());
        let shown = || *sum.0.lock().unwrap();
        let gauge = Gauge::from_arc(Arc::clone(&sum));
        let (one, other) = (Share::of(&gauge), Share::of(&gauge));
        one.set(5);
        other.set_len(7);
        one.set(2);
        one.set(2);
        assert_eq!(shown(), 9.0);
        other.add(10);
        other.sub(6);
        assert_eq!(shown(), 13.0);
        drop(other);
        assert_eq!(shown(), 2.0);
        drop(one);
        assert_eq!(shown(), 0.0);
    }
}
