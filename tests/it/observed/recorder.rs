//! A recorder that keeps all that it is told.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Counter,
    Gauge,
    Histogram,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        })
    }
}

/// A name, with its labels in braces.
pub type Series = (String, BTreeMap<String, String>);

/// What was told of one series.
#[derive(Debug, Clone)]
pub struct Told {
    pub kind: Kind,
    /// The sum of a counter, where a gauge stands, the sum of what a histogram was given.
    pub value: f64,
    /// How often something was told. A counter that grows by nothing was told nothing.
    pub times: u64,
}

/// Clones share what they keep.
#[derive(Debug, Clone, Default)]
pub struct Recording(Arc<Mutex<Kept>>);

#[derive(Debug, Default)]
struct Kept {
    series: BTreeMap<Series, Told>,
    described: BTreeMap<String, (Kind, Option<Unit>, String)>,
}

impl Recording {
    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().expect("no test panics in here")
    }

    /// All series of which something was told, and not only that they exist.
    pub fn told(&self) -> BTreeMap<Series, Told> {
        let series = self.lock().series.clone();
        series.into_iter().filter(|(_, t)| t.times > 0).collect()
    }

    /// Whether every gauge is where it was before there was a log.
    pub fn at_rest(&self) -> bool {
        let kept = self.lock();
        let mut gauges = kept.series.values().filter(|t| t.kind == Kind::Gauge);
        gauges.all(|told| told.value == 0.0)
    }

    /// The names that exist at the recorder, told of or not.
    pub fn registered(&self) -> Vec<String> {
        let kept = self.lock();
        let mut names: Vec<_> = kept.series.keys().map(|(name, _)| name.clone()).collect();
        names.dedup();
        names
    }

    /// What a metric was described as.
    pub fn described(&self, name: &str) -> Option<(Kind, Option<Unit>, String)> {
        self.lock().described.get(name).cloned()
    }

    /// The sum over all series of a name.
    pub fn value(&self, name: &str) -> f64 {
        self.of(name).map(|told| told.value).sum()
    }

    /// How often something was told of a name.
    pub fn times(&self, name: &str) -> u64 {
        self.of(name).map(|told| told.times).sum()
    }

    fn of(&self, name: &str) -> impl Iterator<Item = Told> {
        let series = self.lock().series.clone();
        let wanted = name.to_owned();
        series
            .into_iter()
            .filter(move |((name, _), _)| *name == wanted)
            .map(|(_, told)| told)
    }

    fn describe(&self, kind: Kind, name: &KeyName, unit: Option<Unit>, text: &SharedString) {
        let entry = (kind, unit, text.to_string());
        self.lock()
            .described
            .insert(name.as_str().to_owned(), entry);
    }

    fn register(&self, kind: Kind, key: &Key) -> Arc<Handle> {
        let labels = key
            .labels()
            .map(|label| (label.key().to_owned(), label.value().to_owned()));
        let series = (key.name().to_owned(), labels.collect());
        let told = Told {
            kind,
            value: 0.0,
            times: 0,
        };
        let mut kept = self.lock();
        let known = kept.series.entry(series.clone()).or_insert(told).kind;
        assert_eq!(known, kind, "{series:?} is of two kinds");
        let recording = self.clone();
        Arc::new(Handle { recording, series })
    }
}

impl Recorder for Recording {
    fn describe_counter(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Counter, &key, unit, &text);
    }

    fn describe_gauge(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Gauge, &key, unit, &text);
    }

    fn describe_histogram(&self, key: KeyName, unit: Option<Unit>, text: SharedString) {
        self.describe(Kind::Histogram, &key, unit, &text);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(self.register(Kind::Counter, key))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(self.register(Kind::Gauge, key))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(self.register(Kind::Histogram, key))
    }
}

struct Handle {
    recording: Recording,
    series: Series,
}

impl Handle {
    fn tell(&self, change: impl FnOnce(f64) -> f64) {
        let mut kept = self.recording.lock();
        if let Some(told) = kept.series.get_mut(&self.series) {
            told.value = change(told.value);
            told.times += 1;
        }
    }
}

impl CounterFn for Handle {
    fn increment(&self, by: u64) {
        if by > 0 {
            self.tell(|value| value + by as f64);
        }
    }

    fn absolute(&self, _: u64) {
        panic!("{:?} is not a sum of this process", self.series);
    }
}

impl GaugeFn for Handle {
    fn increment(&self, by: f64) {
        self.tell(|value| value + by);
    }

    fn decrement(&self, by: f64) {
        self.tell(|value| value - by);
    }

    fn set(&self, _: f64) {
        panic!("{:?} has a part for each log", self.series);
    }
}

impl HistogramFn for Handle {
    fn record(&self, value: f64) {
        self.tell(|sum| sum + value);
    }
}
