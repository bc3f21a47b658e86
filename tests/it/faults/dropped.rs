//! What an app drops half-way leaves nothing behind: no bytes held, no lock, no shut door.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Wake, Waker},
};

use tierlog::{From, Kind, NewRecord, Offset, Supervisor, testing::storage::disk::sim::SimDisk};

use super::rig::{Rig, is_in_use, on_each_runtime, one_stream, until};
use crate::support::{close, read_all, within};

struct Nobody;

impl Wake for Nobody {
    fn wake(self: Arc<Self>) {}
}

/// Polls a future so many times, letting everybody else run in between, then drops it.
async fn drop_after<F: Future>(polls: usize, future: F) {
    let mut future = Box::pin(future);
    let waker = Waker::from(Arc::new(Nobody));
    for _ in 0..polls {
        let mut cx = Context::from_waker(&waker);
        if Pin::as_mut(&mut future).poll(&mut cx).is_ready() {
            return;
        }
        for _ in 0..5 {
            tokio::task::yield_now().await;
        }
    }
}

#[test]
fn futures_dropped_at_any_point_leave_nothing_behind() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new())
            .with("lane_records", "4")
            .with("unsynced_bytes", "64KiB")
            .with("coordinator_queue", "1")
            .with("manifest_queue", "1");
        let (log, stream) = one_stream(&rig).await;
        for polls in 0..12 {
            for round in 0..3 {
                drop_after(polls, stream.append(format!("{polls}/{round}"))).await;
                let batch = (0..3).map(|_| NewRecord::new(vec![1; 3_000])).collect();
                drop_after(polls, stream.append_batch(batch)).await;
                drop_after(polls, stream.append_if(stream.watermarks().next, "if")).await;
                drop_after(polls, stream.append_if(Offset(1 << 40), "conflict")).await;
                let mut appender = stream.appender();
                drop_after(polls, appender.push(b"pushed")).await;
                drop_after(polls, appender.send()).await;
                drop_after(polls, stream.ready(Kind::Admission)).await;
                drop_after(polls, stream.ready(Kind::Flush)).await;
                drop_after(polls, stream.flush()).await;
                drop_after(polls, stream.seal()).await;
                drop_after(polls, stream.trim(stream.watermarks().start.plus(1))).await;
                let durable = stream.watermarks().durable.get();
                if durable > stream.watermarks().start.get() + 4 {
                    let last = Some(Offset(durable - 2));
                    drop_after(polls, stream.truncate_after(last)).await;
                }
                drop_after(polls, async { stream.reader(From::Earliest).await }).await;
                drop_after(polls, log.log().stream("another")).await;
                if let Ok(ticket) = stream.try_append("dropped ticket") {
                    drop(ticket);
                }
            }
        }
        let end = within(stream.flush()).await.expect("durable");
        let marks = stream.watermarks();
        assert_eq!((marks.next, marks.written, marks.durable), (end, end, end));
        let health = until(&log, |health| health.held_bytes == 0).await;
        assert!(health.ok && health.restarts.is_empty(), "{health:?}");
        let read = read_all(&stream).await;
        assert_eq!(read.len() as u64, end.since(marks.start));
        let ack = within(stream.append("after")).await.expect("an ack");
        assert_eq!(ack.offset, end);
        close(log).await;
        assert!(!is_in_use(&rig).await, "the directory is free");
    });
}

/// An open that is dropped half-way leaves no lock behind.
#[test]
fn an_open_that_is_dropped_leaves_the_directory_free() {
    on_each_runtime(|_| async {
        let rig = Rig::sim(&SimDisk::new());
        for polls in 0..6 {
            let open = Supervisor::open_with(rig.settings.clone(), rig.injected());
            drop_after(polls, open).await;
            close(rig.reopen().await).await;
        }
    });
}
