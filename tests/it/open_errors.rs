//! What can't be opened, and what is left as it was.

use std::{
    fs,
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::Path,
    process::{Command, Stdio},
};

use tierlog::{
    Error, ErrorKind, From, Offset, ReadOnly, Settings, Supervisor,
    testing::storage::{crc::crc64, error::StorageError},
};

use crate::{
    folder::{Contents, contents, files, patch},
    support::{close, is_locked, open, read_all, say, small, texts, within},
};

/// Opens what can't be opened.
async fn refused(settings: &Settings) -> Error {
    within(Supervisor::open(settings.clone()))
        .await
        .expect_err("it can't be opened")
}

async fn not_attached(path: &Path) -> Error {
    within(ReadOnly::attach(path))
        .await
        .expect_err("it can't be attached")
}

fn is_no_log(error: &Error) -> bool {
    matches!(error, Error::Storage(error) if matches!(**error, StorageError::NotALog { .. }))
}

/// A log that was closed in order: two sealed segments and an open one, of five records each.
async fn make(settings: &Settings) {
    let log = open(settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for part in 0..3 {
        for n in 0..5 {
            within(stream.append(format!("{part}/{n}")))
                .await
                .expect("an ack");
        }
        if part < 2 {
            within(stream.seal()).await.expect("sealed");
        }
    }
    close(log).await;
}

#[tokio::test]
async fn a_second_owner_is_told_at_once_that_the_log_is_locked() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    let error = refused(&settings).await;
    assert!(is_locked(&error), "{error}");
    assert_eq!(error.kind(), ErrorKind::BackOff);
    assert!(error.advice().contains("read-only"), "{}", error.advice());
    assert!(
        in_another_process("opens_in_another_process", &settings.data, None)
            .contains("held by another owner")
    );
    within(stream.append("a")).await.expect("the owner goes on");
    close(log).await;
    assert!(
        in_another_process("opens_in_another_process", &settings.data, None).contains("opened")
    );
}

/// Runs one of the tests below as a process of its own, as another user if asked to, and gives
/// what it said.
fn in_another_process(test: &str, data: &Path, user: Option<u32>) -> String {
    let mut command = Command::new(std::env::current_exe().expect("this binary"));
    command
        .args(["--exact", &format!("open_errors::{test}"), "--nocapture"])
        .env("TIERLOG_TEST_OPEN", data)
        .stderr(Stdio::inherit());
    if let Some(user) = user {
        command.uid(user).gid(user);
    }
    let output = command.output().expect("a process");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Not a test of its own: what the one above runs elsewhere.
#[tokio::test]
async fn opens_in_another_process() {
    let Ok(data) = std::env::var("TIERLOG_TEST_OPEN") else {
        return;
    };
    match Supervisor::open(Settings::for_tests(&data)).await {
        Ok(log) => {
            say("opened");
            close(log).await;
        }
        Err(error) => say(&error.to_string()),
    }
    match ReadOnly::attach(&data).await {
        Ok(_) => say("attached"),
        Err(error) => say(&format!("not attached: {error}")),
    }
}

#[tokio::test]
async fn a_folder_of_somebody_elses_is_left_untouched() {
    for strange in ["notes.txt", "CURRENT.bak", "streams/x", "manifest/7"] {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(strange);
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, "mine").expect("written");
        let before = contents(dir.path());
        let error = refused(&Settings::for_tests(dir.path())).await;
        assert!(is_no_log(&error), "{strange}: {error}");
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(is_no_log(&not_attached(dir.path()).await), "{strange}");
        assert_eq!(contents(dir.path()), before, "{strange}");
    }
}

#[tokio::test]
async fn looking_at_a_missing_log_creates_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let missing = dir.path().join("a/b");
    let error = not_attached(&missing).await;
    assert!(is_no_log(&error), "{error}");
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).expect("made");
    assert!(is_no_log(&not_attached(&empty).await));
    assert!(ReadOnly::inspect_manifest(&missing).is_err());
    assert_eq!(
        contents(dir.path()),
        Contents::from([("empty".into(), None)])
    );
}

#[tokio::test]
async fn a_log_is_made_in_a_missing_or_an_empty_folder_with_all_above_it() {
    let dir = tempfile::tempdir().expect("a folder");
    for place in ["a/b/c", ""] {
        let dir = tempfile::tempdir_in(dir.path()).expect("a folder");
        let settings = Settings::for_tests(dir.path().join(place));
        let log = open(&settings).await;
        assert!(log.recovery().created);
        close(log).await;
        let mode = |path: &Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
        };
        for (name, bytes) in contents(&settings.data) {
            let expected = if bytes.is_some() { 0o600 } else { 0o700 };
            let mode = mode(&settings.data.join(&name)) & 0o777;
            assert_eq!(mode, expected, "{}", name.display());
        }
    }
}

#[tokio::test]
async fn a_path_that_is_no_folder_is_an_error_that_names_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("file");
    fs::write(&file, "mine").expect("written");
    for path in [file.clone(), file.join("log")] {
        let error = refused(&Settings::for_tests(&path)).await;
        assert!(error.to_string().contains("file"), "{error}");
        not_attached(&path).await;
    }
    assert_eq!(fs::read(&file).expect("there"), b"mine");
}

#[tokio::test]
async fn a_folder_that_can_not_be_read_is_an_error_and_stays_as_it_was() {
    let dir = tempfile::tempdir().expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let settings = small(dir.path());
    make(&settings).await;
    let before = contents(&settings.data);
    // Root may do anything, so it has to be somebody else; 0700 keeps others out.
    let nobody = fs::read(dir.path().join("log/CURRENT"))
        .is_ok()
        .then_some(65_534);
    let said = in_another_process("opens_in_another_process", &settings.data, nobody);
    if said.contains("running 1 test") && !said.contains("opened") {
        assert!(said.contains("Permission denied"), "{said}");
        assert!(said.contains("not attached: "), "{said}");
    }
    assert_eq!(contents(&settings.data), before);
}

#[tokio::test]
async fn a_newer_version_of_any_file_is_named_and_nothing_is_touched() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    let current = files(&settings.data, "CURRENT");
    let manifests = files(&settings.data, ".tlm");
    assert_eq!((current.len(), manifests.len()), (1, 1));
    for path in current.iter().chain(&manifests) {
        newer(&settings, path, |bytes| raise(bytes, 8, 120)).await;
    }
    // The claims file of a log that was not closed; here of one that says more than there is.
    let claims = settings.data.join("claims");
    fs::write(&claims, [b"TLCL\x02\0\0\0".as_slice(), &[7; 56]].concat()).expect("written");
    newer(&settings, &claims, |bytes| raise(bytes, 4, 56)).await;
}

/// Makes a file one of the next version, its checksum right.
fn raise(bytes: &mut [u8], version: usize, crc: usize) {
    bytes[version] = 2;
    let sum = crc64(&[&bytes[..crc]]);
    bytes[crc..crc + 8].copy_from_slice(&sum.to_le_bytes());
}

async fn newer(settings: &Settings, path: &Path, change: impl FnOnce(&mut [u8])) {
    let old = fs::read(path).expect("a file");
    patch(path, |bytes| change(bytes));
    let before = contents(&settings.data);
    for error in [refused(settings).await, not_attached(&settings.data).await] {
        let Error::Storage(storage) = &error else {
            panic!("{}: {error}", path.display());
        };
        assert!(
            matches!(&**storage, StorageError::NewerVersion { path: named, found: 2, supported: 1 } if named == path),
            "{}: {error}",
            path.display()
        );
        assert!(error.advice().contains("version"), "{}", error.advice());
    }
    assert_eq!(contents(&settings.data), before, "{}", path.display());
    fs::write(path, old).expect("written");
}

#[tokio::test]
async fn segments_of_a_newer_version_are_named_when_they_are_read_and_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    // The last one is open: to go on with it would be to write into a newer format.
    let segments = files(&settings.data, ".tls");
    let open_one = segments.last().expect("segments").clone();
    let old = fs::read(&open_one).expect("a file");
    patch(&open_one, |bytes| raise(bytes, 8, 120));
    let newer = fs::read(&open_one).expect("a file");
    match Supervisor::open(settings.clone()).await {
        Err(error) => assert!(error.to_string().contains("newer"), "{error}"),
        Ok(log) => {
            let error = within(log.log().existing("s"))
                .await
                .expect_err("it is newer");
            assert!(error.to_string().contains("newer"), "{error}");
            close(log).await;
        }
    }
    assert_eq!(fs::read(&open_one).expect("a file"), newer);
    let error = not_attached(&settings.data).await;
    assert!(error.to_string().contains("newer"), "{error}");
    fs::write(&open_one, old).expect("written");
    let log = open(&settings).await;
    let stream = log.log().existing("s").await.expect("a stream");
    assert_eq!(texts(&read_all(&stream).await).len(), 15);
    close(log).await;
}

#[tokio::test]
async fn a_sealed_segment_of_a_newer_version_is_named_by_whoever_reads_it_and_spares_the_rest() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    let segments = files(&settings.data, ".tls");
    patch(&segments[0], |bytes| raise(bytes, 8, 120));
    let newer = fs::read(&segments[0]).expect("a file");
    let named = |error: &Error| {
        let Error::Storage(storage) = error else {
            panic!("{error:?}");
        };
        assert!(
            matches!(&**storage, StorageError::NewerVersion { path, .. } if *path == segments[0]),
            "{error}"
        );
    };
    let log = open(&settings).await;
    let stream = log.log().existing("s").await.expect("a stream");
    let view = within(ReadOnly::attach(&settings.data))
        .await
        .expect("attached");
    let theirs = view.stream("s").expect("a stream");
    for builder in [stream.reader(From::Earliest), theirs.reader(From::Earliest)] {
        let mut reader = builder.skip_damage().await.expect("a reader");
        named(
            &within(reader.next_batch(100))
                .await
                .expect_err("it is newer"),
        );
        assert_eq!(reader.position(), Offset(0));
        reader.seek(Offset(5));
        let record = within(reader.try_next()).await.expect("the next segment");
        assert_eq!(record.expect("a record").payload, "1/0");
    }
    // To cut it would be to copy a part of it by the rules of this version.
    named(
        &within(stream.truncate_after(Some(Offset(2))))
            .await
            .expect_err("it is newer"),
    );
    assert_eq!(stream.watermarks().next, Offset(15));
    within(stream.append("more")).await.expect("an ack");
    drop((stream, theirs, view));
    close(log).await;
    assert_eq!(fs::read(&segments[0]).expect("a file"), newer);
}

#[tokio::test]
async fn no_stream_name_leaves_the_directory_or_creates_anything_when_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let long = "x".repeat(256);
    for bad in ["", "a\nb", "\0", "tab\there", "\u{85}", "a\u{202e}b", &long] {
        let error = within(log.log().stream(bad)).await.expect_err("a bad name");
        assert!(
            matches!(error, Error::StreamName { .. }),
            "{bad:?}: {error}"
        );
        assert_eq!(error.kind(), ErrorKind::FixInput);
        assert!(log.log().existing(bad).await.is_err());
    }
    let unknown = log.log().existing("nobody").await.expect_err("unknown");
    assert!(matches!(unknown, Error::UnknownStream { .. }), "{unknown}");
    assert_eq!(log.log().streams().await.expect("a list").len(), 0);
    let longest = "x".repeat(255);
    let odd = ["../../up", "/etc/passwd", ".", "a/b", "ü €", &longest];
    for name in odd {
        let stream = within(log.log().stream(name)).await.expect("a name");
        within(stream.append(name.to_owned()))
            .await
            .expect("an ack");
    }
    close(log).await;
    let log = open(&settings).await;
    for name in odd {
        let stream = within(log.log().existing(name)).await.expect("it is there");
        assert_eq!(texts(&read_all(&stream).await), [name]);
    }
    close(log).await;
    let above = contents(dir.path());
    assert!(
        above.keys().all(|name| name.starts_with("log")),
        "{above:?}"
    );
}

#[tokio::test]
async fn more_streams_than_max_streams_are_refused_by_name_of_the_limit() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = Settings {
        max_streams: 2,
        ..small(dir.path())
    };
    let log = open(&settings).await;
    for name in ["a", "b", "a"] {
        within(log.log().stream(name)).await.expect("a stream");
    }
    let error = within(log.log().stream("c"))
        .await
        .expect_err("one too many");
    assert!(
        matches!(error, Error::TooManyStreams { limit: 2 }),
        "{error}"
    );
    assert_eq!(log.log().streams().await.expect("a list").len(), 2);
    close(log).await;
}
