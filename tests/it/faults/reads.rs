//! What a reader is told when the system refuses to read for it: the cause, and what to do about it.

use tierlog::{
    Error, ErrorKind, From, ReadOnly, Reader,
    testing::storage::{
        disk::{
            fault::{CallKind, Calls, Fault},
            sim::SimDisk,
        },
        error::StorageError,
    },
};

use super::rig::{Rig, one_stream, segment};
use crate::support::{close, within};

const EINTR: i32 = 4;
const EACCES: i32 = 13;
const EMFILE: i32 = 24;
const ELOOP: i32 = 40;

/// A log with one sealed segment of three records, closed.
async fn sealed() -> Rig {
    let rig = Rig::sim(&SimDisk::new());
    let (log, stream) = one_stream(&rig).await;
    for text in ["a", "b", "c"] {
        within(stream.append(text)).await.expect("an ack");
    }
    within(stream.seal()).await.expect("sealed");
    close(log).await;
    rig
}

async fn refused(reader: &mut Reader) -> Error {
    within(reader.next_batch(10))
        .await
        .expect_err("it can't be read")
}

/// Every one of these used to be `Unavailable`, which says: the same call again.
#[tokio::test]
async fn a_read_that_fails_says_what_to_do_by_its_cause() {
    let table = [
        (
            CallKind::Open,
            Fault::Errno(EACCES),
            ErrorKind::FixInput,
            "who may read",
        ),
        (
            CallKind::Open,
            Fault::Errno(ELOOP),
            ErrorKind::FixInput,
            "path",
        ),
        (
            CallKind::Open,
            Fault::Errno(EMFILE),
            ErrorKind::BackOff,
            "open files",
        ),
        (
            CallKind::ReadAt,
            Fault::Io,
            ErrorKind::Reopen,
            "look at the disk",
        ),
        (
            CallKind::ReadAt,
            Fault::Errno(EINTR),
            ErrorKind::Retry,
            "again",
        ),
    ];
    for (call, fault, kind, advice) in table {
        let rig = sealed().await;
        let (log, stream) = one_stream(&rig).await;
        let view = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
        let view = within(view).await.expect("attached");
        let attached = view.stream("s").expect("a stream");
        let readers = [
            within(stream.reader(From::Earliest).into_future()).await,
            within(attached.reader(From::Earliest).into_future()).await,
        ];
        for reader in readers {
            let mut reader = reader.expect("a reader");
            let armed = rig.plan.fail(Calls::of(call).at(segment).forever(), fault);
            for _ in 0..2 {
                let error = refused(&mut reader).await;
                assert_eq!(error.kind(), kind, "{fault:?}: {error}");
                let said = error.advice();
                assert!(said.contains(advice), "{error}: {said}");
                assert!(names_a_segment(&error), "{error:?}");
            }
            assert!(armed.disarm() >= 2);
            // Nothing was skipped, and nothing has to be begun anew.
            let records = within(reader.next_batch(10)).await;
            assert_eq!(records.expect("it can be read").len(), 3, "{fault:?}");
        }
        close(log).await;
    }
}

fn names_a_segment(error: &Error) -> bool {
    let Error::Storage(storage) = error else {
        return false;
    };
    matches!(&**storage, StorageError::Io { path, .. } if segment(path))
}
