//! Reading beside a live writer, without its knowledge.

use std::time::{Duration, Instant};

use tierlog::{Error, From, Offset, ReadOnly, ReadStream, Reader, Settings, Stream, Supervisor};

use crate::{
    folder::contents,
    support::{close, open, open_when_free, small, texts, within},
    track::text,
};

/// A writer and somebody who follows it.
async fn pair(settings: &Settings) -> (Supervisor, Stream, ReadOnly, Reader) {
    let log = open(settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    within(stream.append("0")).await.expect("an ack");
    let view = within(ReadOnly::attach(&settings.data))
        .await
        .expect("attached");
    let reader = view
        .stream("s")
        .expect("it is there")
        .reader(From::Earliest);
    let reader = within(async { reader.follow().await })
        .await
        .expect("a reader");
    (log, stream, view, reader)
}

async fn next(reader: &mut Reader) -> String {
    let record = within(reader.try_next()).await.expect("no error");
    text(&record.expect("a follower never ends"))
}

async fn append(stream: &Stream, n: u64) {
    let ack = within(stream.append(n.to_string())).await.expect("an ack");
    assert_eq!(ack.offset, Offset(n));
}

async fn all(stream: &ReadStream) -> Vec<String> {
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    let mut found = Vec::new();
    while let Some(record) = within(reader.try_next()).await.expect("no error") {
        found.push(text(&record));
    }
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_beside_the_writer_sees_acks_at_once_and_across_seals() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, stream, _view, mut reader) = pair(&small(dir.path())).await;
    assert_eq!(next(&mut reader).await, "0");
    let mut took = Vec::new();
    for n in 1..60 {
        append(&stream, n).await;
        let acked = Instant::now();
        assert_eq!(next(&mut reader).await, n.to_string());
        took.push(acked.elapsed());
        if n % 20 == 10 {
            within(stream.seal()).await.expect("sealed");
        }
    }
    took.sort();
    // The claims are looked at fifty times a second; the manifest, once a second, would be late.
    assert!(
        took[took.len() / 2] < Duration::from_millis(400),
        "{took:?}"
    );
    close(log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_goes_on_over_a_clean_restart_and_a_crash_of_the_writer() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let (mut log, mut stream, view, mut reader) = pair(&settings).await;
    assert_eq!(next(&mut reader).await, "0");
    let mut n = 1;
    for restart in 0..4 {
        for _ in 0..5 {
            append(&stream, n).await;
            assert_eq!(
                next(&mut reader).await,
                n.to_string(),
                "after {restart} restarts"
            );
            n += 1;
        }
        if restart % 2 == 0 {
            close(log).await;
        } else {
            drop(log);
        }
        log = open_when_free(&settings).await;
        stream = log.log().existing("s").await.expect("it is there");
    }
    within(view.refresh()).await.expect("it can be read");
    assert_eq!(
        view.stream("s").expect("there").watermarks().durable,
        Offset(n)
    );
    close(log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_is_told_of_a_truncation_and_of_what_replaces_it() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, stream, view, mut reader) = pair(&small(dir.path())).await;
    for n in 1..10 {
        append(&stream, n).await;
    }
    for n in 0..10 {
        assert_eq!(next(&mut reader).await, n.to_string());
    }
    within(stream.truncate_after(Some(Offset(4))))
        .await
        .expect("cut");
    within(stream.append("new 5")).await.expect("an ack");
    // Never an old record again, nor a new one in the place of one that was read.
    let error = within(reader.try_next())
        .await
        .expect_err("it stood beyond");
    assert!(
        matches!(
            error,
            Error::Truncated {
                end: Offset(5),
                position: Offset(10)
            }
        ),
        "{error}"
    );
    within(view.refresh()).await.expect("it can be read");
    let expected = ["0", "1", "2", "3", "4", "new 5"];
    assert_eq!(all(&view.stream("s").expect("there")).await, expected);
    close(log).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_below_a_trim_is_told_where_the_stream_starts() {
    let dir = tempfile::tempdir().expect("a folder");
    let (log, stream, view, mut reader) = pair(&small(dir.path())).await;
    for n in 1..30 {
        append(&stream, n).await;
        if n % 10 == 9 {
            within(stream.seal()).await.expect("sealed");
        }
    }
    assert_eq!(next(&mut reader).await, "0");
    assert_eq!(
        within(stream.trim(Offset(20))).await.expect("trimmed"),
        Offset(20)
    );
    within(view.refresh()).await.expect("it can be read");
    let attached = view.stream("s").expect("there");
    assert_eq!(attached.watermarks().start, Offset(20));
    let error = attached
        .reader(From::Offset(Offset(3)))
        .await
        .expect_err("it is gone");
    assert!(
        matches!(
            error,
            Error::Trimmed {
                start: Offset(20),
                ..
            }
        ),
        "{error}"
    );
    // Whoever was in the midst of it gets each record once, or is told.
    let mut expected = 1;
    loop {
        match within(reader.try_next()).await {
            Ok(record) => {
                assert_eq!(text(&record.expect("one")), expected.to_string());
                expected += 1;
                assert!(expected <= 30);
                if expected == 30 {
                    break;
                }
            }
            Err(Error::Trimmed { asked, start }) => {
                assert_eq!((asked, start), (Offset(expected), Offset(20)));
                break;
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(all(&attached).await.len(), 10);
    close(log).await;
}

#[tokio::test]
async fn attaching_changes_nothing_and_shows_what_was_acked() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    let log = open(&settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for n in 0..40 {
        append(&stream, n).await;
        if n == 20 {
            within(stream.seal()).await.expect("sealed");
        }
    }
    // Nothing is under way, but for the mark that an idle stream gets, which is waited for here.
    within(log_is_marked(&settings, &stream)).await;
    let before = contents(&settings.data);
    let view = within(ReadOnly::attach(&settings.data))
        .await
        .expect("attached");
    assert_eq!(
        view.stream("s").expect("there").watermarks().durable,
        Offset(40)
    );
    let expected: Vec<_> = (0..40).map(|n| n.to_string()).collect();
    assert_eq!(all(&view.stream("s").expect("there")).await, expected);
    let report = within(view.verify(None, |_, _| ()))
        .await
        .expect("verified");
    assert_eq!((report.records, report.damage.len()), (40, 0), "{report:?}");
    assert_eq!(texts(&crate::support::read_all(&stream).await), expected);
    assert!(
        contents(&settings.data) == before,
        "attaching writes nothing"
    );
    close(log).await;
}

/// Until the manifest says where the stream ends.
pub async fn log_is_marked(settings: &Settings, stream: &Stream) {
    use tierlog::testing::storage::{disk::RealDisk, layout::Layout, recovery::read_only};
    let end = stream.watermarks().durable;
    loop {
        let found = read_only(&RealDisk, &Layout::new(&settings.data)).expect("a log");
        let mark = found.state.streams[&stream.id()].mark;
        if mark.is_some_and(|mark| mark.durable == end) {
            return;
        }
        tokio::task::yield_now().await;
    }
}
