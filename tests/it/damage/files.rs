//! Whole files: gone, swapped, or of another log.

use std::fs;

use tierlog::{
    Error, From, Offset, ReadOnly, Settings, Supervisor, testing::storage::error::StorageError,
};

use crate::{
    folder::{contents, files},
    support::{close, open, open_when_free, small, texts, within},
};

/// Two streams with three segments each; the first two are sealed.
async fn make(settings: &Settings) {
    let log = open(settings).await;
    for name in ["a", "b"] {
        let stream = log.log().stream(name).await.expect("a stream");
        for part in 0..3 {
            for n in 0..4 {
                within(stream.append(format!("{name}/{part}/{n}")))
                    .await
                    .expect("an ack");
            }
            if part < 2 {
                within(stream.seal()).await.expect("sealed");
            }
        }
    }
    close(log).await;
}

/// The segment files of a stream.
async fn segments(settings: &Settings, name: &str) -> Vec<std::path::PathBuf> {
    let view = within(ReadOnly::attach(&settings.data))
        .await
        .expect("attached");
    let id = view.stream(name).expect("there").id();
    files(&settings.data.join("streams").join(id.to_string()), ".tls")
}

/// What is lost of a stream, and what is left of it, as its next owner finds it.
async fn lost(settings: &Settings, name: &str, ranges: &[(u64, u64)]) {
    let log = open_when_free(settings).await;
    let stream = log.log().existing(name).await.expect("it opens");
    let mut reader = stream
        .reader(From::Earliest)
        .skip_damage()
        .await
        .expect("a reader");
    let records = {
        let mut all = Vec::new();
        while let Some(record) = within(reader.try_next()).await.expect("no error") {
            all.push(record);
        }
        all
    };
    let is_lost = |n: &u64| ranges.iter().any(|(from, to)| (from..to).contains(&n));
    let expected: Vec<_> = (0..12)
        .filter(|n| !is_lost(n))
        .map(|n| format!("{name}/{}/{}", n / 4, n % 4))
        .collect();
    assert_eq!(texts(&records), expected);
    let gaps = reader
        .gaps()
        .iter()
        .map(|gap| (gap.from.get(), gap.to.get()));
    assert_eq!(gaps.collect::<Vec<_>>(), ranges);
    for (from, _) in ranges {
        let mut reader = stream
            .reader(From::Offset(Offset(*from)))
            .await
            .expect("a reader");
        let error = within(reader.try_next()).await.expect_err("it is lost");
        assert!(matches!(error, Error::Corrupt(_)), "{error}");
    }
    let ack = within(stream.append("more")).await.expect("an ack");
    assert!(
        ack.offset >= Offset(12),
        "never in the place of what is lost"
    );
    // As a crash.
    drop(log);
}

#[tokio::test]
async fn a_missing_segment_file_is_damage_of_its_range_and_no_other() {
    for (at, range) in [(0, (0, 4)), (1, (4, 8))] {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = small(dir.path());
        make(&settings).await;
        fs::remove_file(&segments(&settings, "a").await[at]).expect("removed");
        let view = within(ReadOnly::attach(&settings.data))
            .await
            .expect("attached");
        let told: Vec<_> = view
            .recovery()
            .damage()
            .map(|d| (d.from.get(), d.to.get()))
            .collect();
        assert_eq!(told, [range]);
        let report = within(view.verify(Some("a"), |_, _| ()))
            .await
            .expect("verified");
        let told: Vec<_> = report
            .damage
            .iter()
            .map(|d| (d.from.get(), d.to.get()))
            .collect();
        assert_eq!(told, [range], "{report:?}");
        lost(&settings, "a", &[range]).await;
        let log = open_when_free(&settings).await;
        let stream = log.log().existing("b").await.expect("it opens");
        assert_eq!(crate::support::read_all(&stream).await.len(), 12);
        close(log).await;
    }
}

#[tokio::test]
async fn a_missing_open_segment_of_a_closed_log_is_damage_and_its_offsets_are_not_used_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    fs::remove_file(&segments(&settings, "a").await[2]).expect("removed");
    lost(&settings, "a", &[(8, 12)]).await;
}

#[tokio::test]
async fn segments_of_two_streams_that_were_swapped_are_not_believed() {
    for at in [0, 1, 2] {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = small(dir.path());
        make(&settings).await;
        let (a, b) = (
            &segments(&settings, "a").await[at],
            &segments(&settings, "b").await[at],
        );
        let (of_a, of_b) = (fs::read(a).expect("a file"), fs::read(b).expect("a file"));
        fs::write(a, of_b).expect("written");
        fs::write(b, of_a).expect("written");
        let range = (at as u64 * 4, at as u64 * 4 + 4);
        lost(&settings, "a", &[range]).await;
        lost(&settings, "b", &[range]).await;
    }
}

#[tokio::test]
async fn segments_of_one_stream_in_one_anothers_place_are_not_believed() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    let a = segments(&settings, "a").await;
    let (first, second) = (
        fs::read(&a[0]).expect("a file"),
        fs::read(&a[1]).expect("a file"),
    );
    fs::write(&a[0], second).expect("written");
    fs::write(&a[1], first).expect("written");
    lost(&settings, "a", &[(0, 4), (4, 8)]).await;
}

/// Opens what must be refused, for writing and for reading, and finds all as it was.
async fn refused(settings: &Settings, what: fn(&StorageError) -> bool) {
    let before = contents(&settings.data);
    let owner = within(Supervisor::open(settings.clone())).await.map(drop);
    let reader = within(ReadOnly::attach(&settings.data)).await.map(drop);
    for outcome in [owner, reader] {
        match outcome.expect_err("it is not whole") {
            Error::Storage(error) => assert!(what(&error), "{error}"),
            error => panic!("{error}"),
        }
    }
    assert!(contents(&settings.data) == before, "nothing was touched");
}

#[tokio::test]
async fn a_log_without_its_pointer_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    fs::remove_file(settings.data.join("CURRENT")).expect("removed");
    refused(
        &settings,
        |e| matches!(e, StorageError::CorruptFile { path, .. } if path.ends_with("CURRENT")),
    )
    .await;
}

#[tokio::test]
async fn a_log_without_its_manifest_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    fs::remove_file(&files(&settings.data, ".tlm")[0]).expect("removed");
    refused(&settings, |e| matches!(e, StorageError::CorruptFile { .. })).await;
}

#[tokio::test]
async fn a_manifest_or_a_pointer_of_another_log_is_refused() {
    for end in [".tlm", "CURRENT"] {
        let dir = tempfile::tempdir().expect("a folder");
        let (ours, theirs) = (
            small(dir.path()),
            Settings::for_tests(dir.path().join("other")),
        );
        make(&ours).await;
        make(&theirs).await;
        fs::copy(&files(&theirs.data, end)[0], &files(&ours.data, end)[0]).expect("copied");
        refused(&ours, |e| {
            matches!(
                e,
                StorageError::ForeignLog { .. } | StorageError::CorruptFile { .. }
            )
        })
        .await;
    }
}

#[tokio::test]
async fn a_strange_file_among_the_segments_is_reported_and_left_alone() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    let a = segments(&settings, "a").await;
    let strange = a[0].with_file_name("notes.txt");
    fs::write(&strange, "mine").expect("written");
    let numbered = a[0].with_file_name(format!("{:020}.tls", 7));
    fs::write(&numbered, "not a segment").expect("written");
    // A segment of this very log that nothing names: set aside, never removed.
    let unnamed = a[0].with_file_name(format!("{:020}.tls", 9));
    fs::copy(&a[0], &unnamed).expect("copied");
    let log = open(&settings).await;
    let report = log.recovery();
    assert!(report.foreign.contains(&strange), "{report}");
    assert!(report.foreign.contains(&numbered), "{report}");
    assert_eq!(report.quarantined.len(), 1, "{report}");
    assert_eq!(
        fs::read(&report.quarantined[0]).expect("it is kept"),
        fs::read(&a[0]).expect("a file")
    );
    // The numbers are passed over, and the stream goes on.
    let stream = log.log().existing("a").await.expect("it opens");
    for _ in 0..6 {
        within(stream.append("more")).await.expect("an ack");
        within(stream.seal()).await.expect("sealed");
    }
    close(log).await;
    assert_eq!(fs::read(&strange).expect("there"), b"mine");
    assert_eq!(fs::read(&numbered).expect("there"), b"not a segment");
}
