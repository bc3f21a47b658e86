//! Where a log runs: one thread, several, beside another log, and threads outside Tokio.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    sync::{Arc, mpsc},
};

use tierlog::{From, Offset, Settings, Size, Supervisor, TryAppend};

use crate::support::{close, open, read_all, small, texts, within};

#[test]
fn a_current_thread_runtime_is_enough() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let log = open(&small(dir.path())).await;
        let stream = log.log().stream("s").await.expect("a stream");
        let mut reader = stream
            .reader(From::Earliest)
            .follow()
            .await
            .expect("a reader");
        for n in 0..200 {
            let ack = within(stream.append(vec![b'x'; 800]))
                .await
                .expect("an ack");
            assert_eq!(ack.offset, Offset(n));
            let record = within(reader.try_next()).await.expect("a record");
            assert_eq!(record.expect("one").offset, Offset(n));
        }
        assert!(stream.segments().await.expect("segments").len() > 1);
        close(log).await;
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_logs_in_one_process_do_not_meet() {
    let dir = tempfile::tempdir().expect("a folder");
    let places = [dir.path().join("one"), dir.path().join("two")];
    let logs = [
        open(&Settings::for_tests(&places[0])).await,
        open(&Settings::for_tests(&places[1])).await,
    ];
    let mut streams = Vec::new();
    for log in &logs {
        streams.push(log.log().stream("same name").await.expect("a stream"));
    }
    assert_ne!(streams[0].id(), streams[1].id());
    for n in 0..50 {
        for (at, stream) in streams.iter().enumerate() {
            within(stream.append(format!("{at}: {n}")))
                .await
                .expect("an ack");
        }
    }
    let [first, second] = logs;
    close(first).await;
    within(streams[1].append("1: 50"))
        .await
        .expect("the other one goes on");
    close(second).await;
    for (at, place) in places.iter().enumerate() {
        let log = open(&Settings::for_tests(place)).await;
        let stream = log.log().existing("same name").await.expect("a stream");
        let expected: Vec<_> = (0..50 + at).map(|n| format!("{at}: {n}")).collect();
        assert_eq!(texts(&read_all(&stream).await), expected);
        close(log).await;
    }
}

#[test]
fn threads_outside_tokio_append_wait_and_read() {
    let dir = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_time()
        .build()
        .expect("a runtime");
    let log = runtime.block_on(open(&small(dir.path())));
    let stream = runtime.block_on(log.log().stream("s")).expect("a stream");
    let mut follower = stream
        .reader(From::Earliest)
        .follow()
        .wait()
        .expect("a reader");
    let (told, heard) = mpsc::sync_channel(1);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for n in 0..300 {
                let record = follower.try_next().wait().expect("a record").expect("one");
                assert_eq!(record.offset, Offset(n));
            }
            told.send(()).expect("somebody listens");
        });
        let workers: Vec<_> = (0..3)
            .map(|thread| {
                let stream = stream.clone();
                scope.spawn(move || {
                    (0..100)
                        .map(|n| append(&stream, thread, n))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        let acked = workers
            .into_iter()
            .map(|worker| worker.join().expect("it ends"));
        for offsets in acked {
            assert!(offsets.is_sorted(), "of one thread in its order");
        }
        heard
            .recv_timeout(crate::support::PATIENCE)
            .expect("all were followed");
    });
    assert_eq!(runtime.block_on(read_all(&stream)).len(), 300);
    runtime.block_on(close(log));
}

/// Appends on a thread that knows nothing of Tokio.
fn append(stream: &tierlog::Stream, thread: u64, n: u64) -> Offset {
    let mut record = format!("{thread}/{n}").into();
    loop {
        match stream.try_append(record) {
            Ok(ticket) => return ticket.wait().expect("an ack").offset,
            Err(TryAppend::WouldBlock { kind, payload }) => {
                record = payload;
                futures::executor::block_on(stream.ready(kind));
            }
            Err(failed) => panic!("{failed}"),
        }
    }
}

#[tokio::test]
async fn ten_records_take_less_than_64_kib_of_disk() {
    let dir = tempfile::tempdir().expect("a folder");
    // As an app would have it, with segments of 64 MiB.
    let settings = Settings::new(dir.path().join("log"));
    assert_eq!(settings.segment_size, Size::mib(64));
    let log = Supervisor::open(settings).await.expect("it opens");
    let stream = log.log().stream("small").await.expect("a stream");
    for n in 0..10 {
        within(stream.append(format!("record {n} {}", "x".repeat(80))))
            .await
            .expect("an ack");
    }
    let folder = dir.path().join("log/streams").join(stream.id().to_string());
    let blocks = |folder: &std::path::Path| -> u64 {
        let files = fs::read_dir(folder).expect("the stream's folder");
        files
            .map(|file| file.expect("a file").metadata().expect("its size").blocks() * 512)
            .sum()
    };
    let taken = blocks(&folder);
    assert!(0 < taken && taken < 64 << 10, "{taken} bytes");
    close(log).await;
    let taken = blocks(&folder);
    assert!(0 < taken && taken < 64 << 10, "{taken} bytes after closing");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appenders_on_many_tasks_get_offsets_of_their_own() {
    let dir = tempfile::tempdir().expect("a folder");
    let log = open(&small(dir.path())).await;
    let stream = Arc::new(log.log().stream("s").await.expect("a stream"));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..8 {
        let stream = Arc::clone(&stream);
        tasks.spawn(async move {
            let mut acked = Vec::new();
            for n in 0..100 {
                let payload = format!("{task}/{n}");
                let ack = within(stream.append(payload.clone()))
                    .await
                    .expect("an ack");
                acked.push((ack.offset, payload));
            }
            acked
        });
    }
    let mut acked: Vec<_> = tasks.join_all().await.into_iter().flatten().collect();
    acked.sort();
    let records = read_all(&stream).await;
    let found = records.iter().map(|r| (r.offset, crate::track::text(r)));
    assert!(
        acked.into_iter().eq(found),
        "each was acked where it is, once"
    );
    close(log).await;
}

#[tokio::test]
async fn a_handle_in_a_line_of_an_apps_log_prints_its_name_and_not_its_inside() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = crate::support::small(dir.path());
    let log = crate::support::open(&settings).await;
    let stream = log.log().stream("orders").await.expect("a stream");
    let view = tierlog::ReadOnly::attach(&settings.data).await;
    let view = view.expect("attached");
    let seen = view.stream("orders").expect("it is there");
    for text in [
        format!("{log:?}"),
        format!("{:?}", log.log()),
        format!("{stream:?}"),
        format!("{:?}", stream.reader(tierlog::From::Earliest)),
        format!("{view:?}"),
        format!("{seen:?}"),
    ] {
        assert!(text.len() < 600, "{text}");
        assert!(text.contains("orders") || text.contains("/log"), "{text}");
    }
    crate::support::close(log).await;
}
