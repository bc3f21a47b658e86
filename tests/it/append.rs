//! Appending and reading back.

use tierlog::{Error, From, Level, NewRecord, Offset, TryAppend};

use crate::support::{close, open, read_all, small, texts, within};

#[tokio::test]
async fn what_was_acked_is_read_back_after_reopening() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("orders").await.expect("a stream");
    for n in 0..100 {
        let ack = within(stream.append(format!("order {n}")))
            .await
            .expect("an ack");
        assert_eq!(
            (ack.offset, ack.count, ack.level),
            (Offset(n), 1, Level::Durable)
        );
    }
    let expected: Vec<_> = (0..100).map(|n| format!("order {n}")).collect();
    assert_eq!(texts(&read_all(&stream).await), expected);
    close(log).await;

    let log = open(&settings).await;
    assert!(log.recovery().clean);
    let stream = log.log().existing("orders").await.expect("it is there");
    assert_eq!(texts(&read_all(&stream).await), expected);
    let ack = within(stream.append("one more")).await.expect("an ack");
    assert_eq!(ack.offset, Offset(100));
    close(log).await;
}

#[tokio::test]
async fn segments_roll_over_and_everything_stays_readable() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    let payload = |n: u64| format!("{n}-{}", "x".repeat(500));
    let mut appender = stream.appender();
    let count = 3 * settings.segment_size.bytes() / 500;
    for n in 0..count {
        within(appender.push(payload(n).as_bytes()))
            .await
            .expect("room comes");
    }
    within(appender.send()).await.expect("sent");
    assert_eq!(
        within(stream.flush()).await.expect("durable"),
        Offset(count)
    );
    let records = read_all(&stream).await;
    assert_eq!(records.len() as u64, count);
    for (n, record) in records.iter().enumerate() {
        assert_eq!(record.offset, Offset(n as u64));
        assert_eq!(record.payload, payload(n as u64));
    }
    assert!(stream.segments().await.expect("segments").len() >= 3);
    close(log).await;
}

#[tokio::test]
async fn a_batch_gets_offsets_that_follow_one_another() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(&small(dir.path())).await;
    let stream = log.log().stream("s").await.expect("a stream");
    within(stream.append("a")).await.expect("an ack");
    let batch = vec![
        NewRecord::from("b").key("k").ext_id(7),
        NewRecord::from(""),
        NewRecord::from("d").ext_id(9),
    ];
    let ack = within(stream.append_batch(batch)).await.expect("an ack");
    assert_eq!((ack.offset, ack.count), (Offset(1), 3));
    let records = read_all(&stream).await;
    assert_eq!(texts(&records), ["a", "b", "", "d"]);
    assert_eq!(records[1].key.as_deref(), Some(&b"k"[..]));
    assert_eq!(
        records.iter().map(|r| r.ext_id).collect::<Vec<_>>(),
        [None, Some(7), None, Some(9)]
    );
    close(log).await;
}

#[tokio::test]
async fn append_if_takes_only_the_offset_that_was_expected() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(&small(dir.path())).await;
    let stream = log.log().stream("s").await.expect("a stream");
    within(stream.append_if(Offset(0), "a"))
        .await
        .expect("it is the next one");
    let failed = within(stream.append_if(Offset(0), "b"))
        .await
        .expect_err("it is taken");
    assert!(
        matches!(
            failed.error,
            Error::Conflict {
                next: Offset(1),
                ..
            }
        ),
        "{failed:?}"
    );
    assert_eq!(
        failed.records,
        vec![NewRecord::from("b")],
        "the record comes back"
    );
    assert_eq!(texts(&read_all(&stream).await), ["a"]);
    close(log).await;
}

#[tokio::test]
async fn what_is_over_the_limit_is_refused_and_handed_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    let large = NewRecord::new(vec![0; settings.max_record.bytes() as usize + 1]);
    match stream.try_append(large.clone()) {
        Err(TryAppend::Failed {
            error: Error::RecordTooLarge { .. },
            payload,
        }) => {
            assert_eq!(payload, large);
        }
        other => panic!("{other:?}"),
    }
    within(stream.append(""))
        .await
        .expect("an empty record is a record");
    assert_eq!(texts(&read_all(&stream).await), [""]);
    close(log).await;
}

#[tokio::test]
async fn a_cut_takes_records_back_and_gives_their_offsets_out_again() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("raft").await.expect("a stream");
    let batch = (0..10)
        .map(|n| NewRecord::from(format!("old {n}")))
        .collect();
    within(stream.append_batch(batch)).await.expect("an ack");
    let mut beyond = stream
        .reader(From::Offset(Offset(8)))
        .follow()
        .await
        .expect("a reader");
    let before = stream.watermarks().incarnation;
    let next = within(stream.truncate_after(Some(Offset(4))))
        .await
        .expect("cut");
    assert_eq!(next, Offset(5));
    assert!(stream.watermarks().incarnation > before);
    assert!(matches!(
        within(beyond.try_next()).await,
        Err(Error::Truncated { .. })
    ));
    let ack = within(stream.append("new 5")).await.expect("an ack");
    assert_eq!(ack.offset, Offset(5));
    let expected = ["old 0", "old 1", "old 2", "old 3", "old 4", "new 5"];
    assert_eq!(texts(&read_all(&stream).await), expected);
    close(log).await;
    let log = open(&settings).await;
    let stream = log.log().existing("raft").await.expect("it is there");
    assert_eq!(texts(&read_all(&stream).await), expected);
    assert_eq!(
        within(stream.truncate_after(None)).await.expect("cut"),
        Offset(0)
    );
    assert!(read_all(&stream).await.is_empty());
    close(log).await;
}

#[tokio::test]
async fn trimming_moves_the_start_and_removes_whole_segments() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for part in 0..3 {
        for n in 0..5 {
            within(stream.append(format!("{part}/{n}")))
                .await
                .expect("an ack");
        }
        within(stream.seal()).await.expect("sealed");
    }
    assert_eq!(stream.segments().await.expect("segments").len(), 3);
    assert_eq!(
        within(stream.trim(Offset(7))).await.expect("trimmed"),
        Offset(7)
    );
    assert_eq!(stream.segments().await.expect("segments").len(), 2);
    assert_eq!(texts(&read_all(&stream).await)[0], "1/2");
    let early = stream.reader(From::Offset(Offset(3))).await;
    assert!(
        matches!(
            early,
            Err(Error::Trimmed {
                start: Offset(7),
                ..
            })
        ),
        "{early:?}"
    );
    assert!(matches!(
        stream.trim(Offset(99)).await,
        Err(Error::InvalidInput { .. })
    ));
    close(log).await;
    let log = open(&settings).await;
    let stream = log.log().existing("s").await.expect("it is there");
    assert_eq!(stream.watermarks().start, Offset(7));
    assert_eq!(read_all(&stream).await.len(), 8);
    close(log).await;
}

#[tokio::test]
async fn dropping_the_log_is_like_a_crash_that_keeps_what_was_acked() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for n in 0..20 {
        within(stream.append(format!("{n}"))).await.expect("an ack");
    }
    drop(log);
    let gone = within(stream.append("late"))
        .await
        .expect_err("nobody is there");
    assert!(matches!(gone.error, Error::Closed), "{gone:?}");
    let log = within(crate::support::open_when_free(&settings)).await;
    assert!(!log.recovery().clean);
    let stream = log.log().existing("s").await.expect("it is there");
    assert_eq!(read_all(&stream).await.len(), 20);
    close(log).await;
}
