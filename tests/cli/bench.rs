//! `bench`: figures of a log beside a plain file, and nothing left of either.

use std::fs;

use rustix::process::Signal;

use crate::harness::{Place, Running};

/// What lies beside the log.
fn beside(place: &Place) -> Vec<String> {
    let entries = fs::read_dir(place.path("")).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

#[test]
fn a_bench_measures_both_and_leaves_nothing() {
    let place = Place::new();
    let short = ["bench", "--seconds", "0.1", "--tasks", "3", "--size", "200"];
    let run = place.run(short).expect_code(0);
    for word in [
        "WORK",
        "append",
        "scan",
        "durable append, 3 tasks",
        "p50",
        "p99",
        "200 B",
    ] {
        assert!(run.text().contains(word), "no {word} in:\n{}", run.text());
    }
    assert!(run.err.is_empty(), "no bar off a terminal: {}", run.err);
    assert_eq!(
        beside(&place),
        [""; 0],
        "no log was made, nor anything else"
    );

    let told = &place.json(short)[0];
    assert_eq!((&told["size"], &told["tasks"]), (&200.into(), &3.into()));
    for work in ["append", "durable", "scan"] {
        for side in ["tierlog", "plain"] {
            let rate = told[work][side]["records_per_second"].as_f64().unwrap();
            assert!(rate > 0.0, "{work} of {side}: {told}");
        }
        assert!(told[work]["ratio"].as_f64().unwrap() > 0.0, "{told}");
    }
    for side in ["tierlog", "plain"] {
        let waits = |key: &str| told["durable"][side][key].as_f64().unwrap();
        assert!(waits("p50_us") > 0.0 && waits("p50_us") <= waits("p99_us"));
    }
    assert_eq!(
        told["append"]["tierlog"]["records"],
        told["scan"]["tierlog"]["records"]
    );
}

#[test]
fn a_bench_beside_a_log_leaves_it_alone_and_refuses_what_is_none() {
    let place = Place::new();
    place.append("s", "kept\n");
    place.run(["bench", "--seconds", "0.05"]).expect_code(0);
    assert_eq!(place.read("s"), b"kept\n");
    assert_eq!(place.json(["streams"]).len(), 1);
    assert_eq!(beside(&place), ["log"]);

    fs::remove_dir_all(place.log()).unwrap();
    fs::create_dir(place.log()).unwrap();
    fs::write(place.log().join("thesis.txt"), "years of work").unwrap();
    place
        .run(["bench", "--seconds", "0.05"])
        .expect_line(1, &["is not a tierlog directory"]);
    assert_eq!(beside(&place), ["log"]);
}

#[test]
fn a_bench_that_makes_no_sense_is_refused_before_anything_is_made() {
    let place = Place::new();
    for (args, word) in [
        (&["bench", "--seconds", "0"][..], "0.01 to 3600"),
        (&["bench", "--tasks", "0"], "1 to 1024"),
        (&["bench", "--size", "-1"], "--size"),
        (&["bench", "--size", "16777217"], "16777216"),
    ] {
        place.run(args).expect_line(2, &[word]);
    }
    assert_eq!(beside(&place), [""; 0]);
}

#[test]
fn ctrl_c_ends_a_bench_with_130_and_removes_its_directory() {
    let place = Place::new();
    let bench = Running::start(place.tierlog(["bench", "--seconds", "60"]));
    // It catches signals before it makes anything.
    while beside(&place).is_empty() {
        std::thread::yield_now();
    }
    bench.signal(Signal::INT);
    let run = bench.end().expect_code(130);
    assert!(run.out.is_empty(), "{}", run.text());
    assert_eq!(beside(&place), [""; 0]);
}
