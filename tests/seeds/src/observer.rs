//! What the log says and counts of itself: its events become lines of the trace, and each kind of
//! event and each counter a point.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use metrics::{
    Counter, CounterFn, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
    span,
};

use crate::{points::Points, trace::Trace};

/// Listens to events.
#[derive(Debug, Clone)]
pub struct Listener {
    pub trace: Trace,
    pub points: Points,
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let written = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            // Measured by a clock that is not the seed's.
            "took" => Ok(()),
            name => write!(self.fields, " {name}={value:?}"),
        };
        written.expect("a string has room");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("tierlog")
    }

    fn register_callsite(
        &self,
        _: &'static tracing::Metadata<'static>,
    ) -> tracing::subscriber::Interest {
        // Each thread has a listener of its own.
        tracing::subscriber::Interest::sometimes()
    }

    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut words = Words::default();
        event.record(&mut words);
        let target = event.metadata().target();
        let who = target.strip_prefix("tierlog::").unwrap_or(target);
        self.points.pass(format!("event: {}", words.message));
        self.trace
            .say(who, format_args!("{}{}", words.message, words.fields));
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Counts what the log counts.
#[derive(Debug)]
pub struct Counts(pub Points);

struct Count {
    points: Points,
    name: String,
}

impl CounterFn for Count {
    fn increment(&self, value: u64) {
        if value > 0 {
            self.points.add(self.name.clone(), value);
        }
    }

    fn absolute(&self, _: u64) {}
}

impl Recorder for Counts {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        let mut name = format!("count: {}", key.name());
        for label in key.labels() {
            name.push_str(&format!(" {}={}", label.key(), label.value()));
        }
        let points = self.0.clone();
        Counter::from_arc(Arc::new(Count { points, name }))
    }

    fn register_gauge(&self, _: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::noop()
    }

    fn register_histogram(&self, _: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::noop()
    }
}
