//! A subscriber that keeps all that it is told, and threads that tell it too.

use std::{
    fmt::{self, Write as _},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use tierlog::testing::{Executor, Job, Work};
use tracing::{
    Dispatch, Event, Level, Metadata, Subscriber, dispatcher,
    field::{Field, Visit},
    span,
};

/// An event or a span.
#[derive(Debug, Clone)]
pub struct Line {
    pub target: String,
    pub level: Level,
    /// Fields and message.
    pub text: String,
}

/// Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct Listener {
    lines: Arc<Mutex<Vec<Line>>>,
    spans: Arc<AtomicU64>,
}

impl Listener {
    pub fn lines(&self) -> Vec<Line> {
        self.lines
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether something was told with these words.
    pub fn heard(&self, target: &str, level: Level, words: &str) -> bool {
        self.lines()
            .iter()
            .any(|line| line.target == target && line.level == level && line.text.contains(words))
    }

    fn keep(&self, metadata: &Metadata<'_>, text: Text) {
        let line = Line {
            target: metadata.target().to_owned(),
            level: *metadata.level(),
            text: format!("{}{}", metadata.name(), text.0),
        };
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        lines.push(line);
    }
}

#[derive(Default)]
struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        write!(self.0, " {}={value:?}", field.name()).expect("a string takes all");
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("tierlog")
    }

    fn new_span(&self, attributes: &span::Attributes<'_>) -> span::Id {
        let mut text = Text::default();
        attributes.record(&mut text);
        self.keep(attributes.metadata(), text);
        span::Id::from_u64(1 + self.spans.fetch_add(1, Ordering::Relaxed))
    }

    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut text = Text::default();
        event.record(&mut text);
        self.keep(event.metadata(), text);
    }

    fn enter(&self, _: &span::Id) {}

    fn exit(&self, _: &span::Id) {}
}

/// Threads whose events go to the subscriber of a test, and not to that of the process.
#[derive(Debug)]
pub struct Heard {
    pub threads: Arc<dyn Executor>,
    pub to: Dispatch,
}

impl Executor for Heard {
    fn submit(&self, work: Work, job: Job) -> Result<(), Job> {
        let to = self.to.clone();
        let job = Box::new(move || dispatcher::with_default(&to, job));
        self.threads.submit(work, job)
    }
}
