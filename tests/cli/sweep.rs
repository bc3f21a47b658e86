//! Sweeping Tier 2 from the shell.

use crate::harness::Place;

/// A log with an archived segment in a folder, and a leftover of it beside.
fn archived(place: &Place) -> (String, std::path::PathBuf) {
    let bucket = place.path("bucket");
    let cold = format!("cold=fs://{}", bucket.display());
    let args = ["--set", &cold, "append", "s", "--ack", "archived"];
    place
        .feed(
            args.into_iter().chain(["--set", "archive_after=1ms"]),
            "a\nb\n",
        )
        .expect_code(0);
    let streams = std::fs::read_dir(bucket.join("streams")).expect("a folder of streams");
    let stream = streams.map(|entry| entry.expect("a folder").path()).next();
    let stream = stream.expect("a stream");
    let object = std::fs::read_dir(&stream).expect("a folder").next();
    let object = object.expect("an object").expect("an object").path();
    let name = object.file_name().expect("a name").to_str().expect("text");
    let mut parts: Vec<_> = name.split('-').collect();
    parts[1] = "0";
    let left = stream.join(parts.join("-"));
    std::fs::copy(&object, &left).expect("copied");
    (cold, left)
}

#[test]
fn sweep_shows_what_it_would_remove_and_removes_it() {
    let place = Place::new();
    let (cold, left) = archived(&place);
    let run = place
        .run(["--set", &cold, "sweep", "--dry-run"])
        .expect_code(0);
    let name = left.file_name().expect("a name").to_str().expect("text");
    assert!(
        run.text().contains("would remove streams/"),
        "{}",
        run.text()
    );
    assert!(run.text().contains(name), "{}", run.text());
    assert!(left.exists());
    let told = place.json(["--set", &cold, "sweep"]);
    assert_eq!(told[0]["removed"], 1, "{told:?}");
    assert_eq!(told[0]["named"], 1, "{told:?}");
    assert_eq!(told[0]["told"][0]["fate"], "removed", "{told:?}");
    assert!(!left.exists());
    let run = place.run(["--set", &cold, "sweep"]).expect_code(0);
    assert!(run.text().contains("0 removed"), "{}", run.text());
    assert_eq!(place.read("s"), b"a\nb\n");
}

#[test]
fn sweep_needs_tier_2_and_a_log_and_makes_neither() {
    let place = Place::new();
    place
        .run(["sweep"])
        .expect_line(2, &["no Tier 2", "`cold`"]);
    let bucket = place.path("bucket");
    let cold = format!("cold=fs://{}", bucket.display());
    place.run(["--set", &cold, "sweep"]).expect_line(1, &[]);
    assert!(!place.log().exists() && !bucket.exists());
}
