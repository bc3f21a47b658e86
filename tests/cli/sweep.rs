//! Sweeping from the shell.

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
    let swept = &told[0]["tier_2"];
    assert_eq!(swept["removed"], 1, "{told:?}");
    assert_eq!(swept["named"], 1, "{told:?}");
    assert_eq!(swept["told"][0]["fate"], "removed", "{told:?}");
    assert_eq!(told[0]["directory"]["removed"], 0, "{told:?}");
    assert!(!left.exists());
    let run = place.run(["--set", &cold, "sweep"]).expect_code(0);
    assert!(run.text().contains("0 removed"), "{}", run.text());
    assert_eq!(place.read("s"), b"a\nb\n");
}

/// The open that comes before the sweep takes what it finds: something has to come in between.
#[test]
fn sweep_tells_of_the_directory_where_there_is_no_tier_2() {
    let place = Place::new();
    place.append("s", "a\nb\n");
    std::fs::write(place.log().join("notes"), "somebody's").expect("written");
    let run = place.run(["sweep", "--dry-run"]).expect_code(0);
    let text = run.text();
    assert!(text.contains("0 would be removed"), "{text}");
    assert!(text.contains("1 foreign"), "{text}");
    assert!(!text.contains("Tier 2"), "{text}");
    let told = place.json(["sweep"]);
    assert_eq!(told[0]["tier_2"], serde_json::Value::Null, "{told:?}");
    let swept = &told[0]["directory"];
    assert_eq!(
        (&swept["foreign"], &swept["removed"]),
        (&1.into(), &0.into())
    );
    assert!(swept["named"].as_u64() >= Some(2), "{told:?}");
    assert!(place.log().join("notes").exists());
    assert_eq!(place.read("s"), b"a\nb\n");
}

#[test]
fn sweep_needs_a_log_and_makes_neither_that_nor_a_bucket() {
    let place = Place::new();
    place.run(["sweep"]).expect_line(1, &[]);
    let bucket = place.path("bucket");
    let cold = format!("cold=fs://{}", bucket.display());
    place.run(["--set", &cold, "sweep"]).expect_line(1, &[]);
    assert!(!place.log().exists() && !bucket.exists());
}
