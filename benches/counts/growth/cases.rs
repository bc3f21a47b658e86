//! What grows, what is measured of it, and how fast that should grow.

use std::path::Path;

use crate::{
    appends, archives,
    figures::{CATALOG, HEAP, INSTRUCTIONS, MANIFEST, RESIDENT, TIME},
    logs,
};

/// How many times the least work is done.
pub const SIZES: [usize; 3] = [1, 10, 100];

/// Does something at a size, in a folder.
pub type Run = fn(usize, &Path);

/// What grows.
#[derive(Debug)]
pub struct Case {
    pub name: &'static str,
    /// What there is more of.
    pub grows: &'static str,
    /// The least of it.
    pub least: usize,
    /// Makes what is measured, in another process than the one that is.
    pub fill: Run,
    pub measures: &'static [Measure],
}

/// What is measured.
#[derive(Debug)]
pub struct Measure {
    pub name: &'static str,
    pub run: Run,
    /// Figures, with the slope that each should have.
    pub rows: &'static [(&'static str, f64)],
}

/// What is done costs the same, however much there is.
const EACH: &[(&str, f64)] = &[
    (INSTRUCTIONS, 0.0),
    (TIME, 0.0),
    (HEAP, 0.0),
    (RESIDENT, 0.0),
];
/// The same beside what has to be held of each.
const EACH_HELD: &[(&str, f64)] = &[
    (INSTRUCTIONS, 0.0),
    (TIME, 0.0),
    (HEAP, 1.0),
    (RESIDENT, 1.0),
];
/// Opening reads of each that it is there.
const OPEN: &[(&str, f64)] = &[
    (INSTRUCTIONS, 1.0),
    (TIME, 1.0),
    (HEAP, 1.0),
    (RESIDENT, 1.0),
    (MANIFEST, 1.0),
    (CATALOG, 1.0),
];
/// Opening does not care how much it is.
const OPEN_FLAT: &[(&str, f64)] = &[
    (INSTRUCTIONS, 0.0),
    (TIME, 0.0),
    (HEAP, 0.0),
    (RESIDENT, 0.0),
    (MANIFEST, 0.0),
    (CATALOG, 0.0),
];
/// Opening reads a tail record by record, and holds none of them.
const OPEN_TAIL: &[(&str, f64)] = &[
    (INSTRUCTIONS, 1.0),
    (TIME, 1.0),
    (HEAP, 0.0),
    (RESIDENT, 0.0),
    (MANIFEST, 0.0),
];

const fn measure(name: &'static str, run: Run, rows: &'static [(&'static str, f64)]) -> Measure {
    Measure { name, run, rows }
}

fn nothing(_: usize, _: &Path) {}

pub const CASES: [Case; 9] = [
    Case {
        name: "records appended",
        grows: "records",
        least: 10_000,
        fill: nothing,
        measures: &[
            measure("Appender, one record", appends::appender, EACH),
            measure("try_append, one record", appends::try_append, EACH),
        ],
    },
    Case {
        name: "streams appended to",
        grows: "streams",
        least: 10,
        fill: nothing,
        measures: &[
            measure("try_append, one record", appends::to_streams, EACH_HELD),
            measure("making one stream", appends::make_streams, EACH_HELD),
        ],
    },
    Case {
        name: "segments there",
        grows: "segments",
        least: 100,
        fill: logs::fill_segments,
        measures: &[
            measure("open", logs::open, OPEN),
            measure("sealing one segment", logs::seal, EACH_HELD),
            measure("trimming one segment", logs::trim, EACH_HELD),
            measure("reading one record", logs::read, EACH_HELD),
        ],
    },
    Case {
        name: "streams there",
        grows: "streams",
        least: 10,
        fill: logs::fill_streams,
        measures: &[measure("open", logs::open, OPEN)],
    },
    Case {
        name: "records there",
        grows: "records",
        least: 10_000,
        fill: logs::fill_closed,
        measures: &[measure("open", logs::open_closed, OPEN_FLAT)],
    },
    Case {
        name: "room in a segment that was made ahead",
        grows: "records it holds",
        least: 10_000,
        fill: logs::fill_spare,
        measures: &[measure("open", logs::open_spare, OPEN_FLAT)],
    },
    Case {
        name: "records in a tail that nobody closed",
        grows: "records",
        least: 10_000,
        fill: logs::fill_unclosed,
        measures: &[measure("open", logs::open_unclosed, OPEN_TAIL)],
    },
    Case {
        name: "bytes archived",
        grows: "bytes/segment",
        least: 60_000,
        fill: archives::fill_bytes,
        measures: &[measure("open", archives::open_bytes, OPEN_FLAT)],
    },
    Case {
        name: "segments archived",
        grows: "segments",
        least: 20,
        fill: archives::fill_segments,
        measures: &[measure("open", archives::open_segments, OPEN)],
    },
];
