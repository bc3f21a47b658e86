//! Names of streams that would make a terminal show something else than what they are.

use std::sync::Arc;

use tierlog_storage::{
    StreamId,
    disk::{Disk, RealDisk},
    layout::Layout,
    manifest::{Entry, ManifestOptions},
    recovery::{OpenOptions, open_log},
};

use crate::harness::{Place, run};

const STEERING: [char; 14] = [
    '\u{61c}', '\u{200e}', '\u{200f}', '\u{2028}', '\u{2029}', '\u{202a}', '\u{202b}', '\u{202c}',
    '\u{202d}', '\u{202e}', '\u{2066}', '\u{2067}', '\u{2068}', '\u{2069}',
];

#[test]
fn a_new_stream_whose_name_would_steer_a_terminal_is_refused_and_makes_no_log() {
    let place = Place::new();
    for c in STEERING {
        let name = format!("orders{c}txt");
        let number = format!("U+{:04X}", u32::from(c));
        let run = place.feed(["append", &name], "x\n");
        run.expect_line(2, &[&number, "a new stream's name"]);
        assert!(!place.log().exists());
    }
    place.append("orders", "x\n");
    for c in STEERING {
        place
            .feed(["append", &format!("{c}")], "x\n")
            .expect_code(2);
    }
    assert_eq!(place.json(["streams"]).len(), 1);
}

/// Makes a log as an earlier version would have, with a stream of each of these names.
fn older_log(place: &Place, names: &[&str]) {
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let options = OpenOptions {
        manifest: ManifestOptions::default(),
        create: true,
        now_ns: 1,
        claim_slots: 16,
    };
    let mut log = open_log(&disk, &Layout::new(place.log()), &options).unwrap();
    let created = names.iter().map(|name| {
        vec![Entry::StreamCreated {
            stream: StreamId::generate(),
            name: (*name).to_owned(),
            created_ns: 1,
        }]
    });
    let commits: Vec<_> = created.collect();
    for outcome in log.manifest.commit(&commits, &mut log.state).unwrap() {
        outcome.unwrap();
    }
}

#[test]
fn a_stream_of_an_earlier_version_is_used_as_ever_and_shown_by_numbers() {
    let place = Place::new();
    // Shown as it is, this would read "orders.log".
    let name = "orders\u{202e}gol.";
    older_log(&place, &[name, "line\u{2028}break"]);
    let is_plain = |text: &str| text.chars().all(|c| !STEERING.contains(&c));
    let mut told = String::new();
    for args in [
        &["append", name, "--print-acks"][..],
        &["streams"],
        &["segments", name],
        &["seal", name],
        &["flush", name],
        &["verify", name],
        &["trim", name, "--before", "9"],
        &["read", name, "--from", "9"],
        &["manifest", "inspect"],
    ] {
        for json in [&[][..], &["--json"]] {
            let args: Vec<_> = args.iter().chain(json).collect();
            let run = place.feed(&args, "a record\n");
            assert!(
                is_plain(run.text()) && is_plain(&run.err),
                "{args:?}: {run:?}"
            );
            told.push_str(run.text());
            told.push_str(&run.err);
        }
    }
    assert!(told.contains(r"orders\u{202e}gol."), "{told}");
    assert!(told.contains(r"line\u{2028}break"), "{told}");
    // Whoever parses it gets the name.
    let streams = place.json(["streams"]);
    let names: Vec<_> = streams
        .iter()
        .map(|stream| stream["name"].clone())
        .collect();
    assert_eq!(names, ["line\u{2028}break", name]);
    assert_eq!(place.read(name), b"a record\na record\n");
    let mut unknown = place.tierlog(["read", "no\u{202e}such"]);
    unknown.arg("--json");
    let refused = run(unknown, b"").expect_code(1);
    assert!(is_plain(&refused.err), "{}", refused.err);
}
