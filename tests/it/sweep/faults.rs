//! A disk that fails, or does not answer, in the midst of a sweep.

use std::path::Path;

use tierlog::{
    Error, Stream, Supervisor,
    testing::storage::disk::{
        fault::{CallKind, Calls, Fault},
        sim::{Cut, SimDisk},
    },
};

use super::{a_segment, exists, folder, name, put, sweep_all};
use crate::{
    faults::rig::{Rig, eventually, on_each_runtime, one_stream},
    support::{close, within},
    tiers::{append, files, holds, long, rig, settled},
};

const COUNT: u64 = 200;

/// The calls that a sweep makes.
const KINDS: [CallKind; 8] = [
    CallKind::List,
    CallKind::Open,
    CallKind::Len,
    CallKind::ReadAt,
    CallKind::Remove,
    CallKind::CreateDir,
    CallKind::Rename,
    CallKind::SyncDir,
];

/// A log at rest, with a leftover and a file to be quarantined. Gives both.
async fn planted(disk: &SimDisk) -> (Rig, Supervisor, Stream, [std::path::PathBuf; 2]) {
    let rig = rig(disk);
    let (log, stream) = one_stream(&rig).await;
    append(&stream, 0..COUNT).await;
    settled(disk, &stream, 4).await;
    sweep_all(&log).await;
    let dir = folder(&stream);
    let segment = a_segment(disk, &stream);
    let planted = [dir.join(name(900, "tls.tmp")), dir.join(name(901, "tls"))];
    put(disk, &planted[0], b"was not finished");
    put(disk, &planted[1], &segment);
    put(
        disk,
        &Path::new("/log/manifest").join(name(0, "tlm")),
        b"older",
    );
    (rig, log, stream, planted)
}

#[test]
fn one_failing_call_of_a_sweep_loses_nothing_and_the_next_one_makes_up_for_it() {
    on_each_runtime(|_| async {
        for kind in KINDS {
            for fault in [Fault::Io, Fault::Full, Fault::DoneButReported] {
                let mut struck = 0;
                for nth in 1.. {
                    let disk = SimDisk::new();
                    let (rig, log, stream, [left, strange]) = planted(&disk).await;
                    // What else goes on has no part in this.
                    let wanted = move |path: &Path| {
                        let text = path.to_string_lossy();
                        kind != CallKind::ReadAt || text.contains("/00000000000000000901")
                    };
                    let armed = rig.plan.fail(Calls::of(kind).at(wanted).nth(nth), fault);
                    let swept = within(log.log().sweep()).await;
                    if armed.disarm() == 0 {
                        swept.expect("nothing failed");
                        close(log).await;
                        break;
                    }
                    struck += 1;
                    let about = format!("{kind:?} {fault:?} {nth}: {swept:?}");
                    holds(&stream, 0..COUNT).await;
                    append_until_acked(&stream, COUNT..COUNT + 5).await;
                    for cut in [Cut::AllLost, Cut::AllKept, Cut::Seeded(nth)] {
                        let cut = disk.preview_cut(cut);
                        let (log, stream) = one_stream(&rig.on(&cut)).await;
                        assert_eq!(log.recovery().damage().count(), 0, "{about}");
                        holds(&stream, 0..COUNT + 5).await;
                        drop(log);
                    }
                    within(async {
                        loop {
                            match log.log().sweep().await {
                                Ok(_) => break,
                                Err(Error::Unavailable { .. }) => tokio::task::yield_now().await,
                                Err(error) => panic!("{about}: {error}"),
                            }
                        }
                    })
                    .await;
                    assert!(!exists(&disk, &left), "{about}");
                    assert!(!exists(&disk, &strange), "{about}");
                    let kept = everything_in_quarantine(&disk);
                    assert_eq!(kept, 1, "{about}");
                    holds(&stream, 0..COUNT + 5).await;
                    close(log).await;
                }
                assert!(struck > 0, "{kind:?} is called");
            }
        }
    });
}

/// Appends, while the log may be beginning again.
async fn append_until_acked(stream: &Stream, ids: std::ops::Range<u64>) {
    for id in ids {
        while let Err(failed) = within(stream.append(long(id))).await {
            let surely_not = matches!(failed.error, Error::NotAppended { .. });
            assert!(surely_not, "{failed}");
        }
    }
}

fn everything_in_quarantine(disk: &SimDisk) -> usize {
    let all = super::everything(disk);
    all.keys()
        .filter(|path| path.starts_with("/log/quarantine"))
        .count()
}

#[test]
fn a_call_of_a_sweep_that_never_returns_ends_the_sweep_and_nothing_else() {
    on_each_runtime(|_| async {
        for kind in [CallKind::Remove, CallKind::Rename] {
            let disk = SimDisk::new();
            let (rig, log, stream, [left, strange]) = planted(&disk).await;
            drop((log, stream));
            // It opens again, and nothing of this is there any more.
            let rig = rig.with("stall_after", "200ms");
            let log = rig.reopen().await;
            let stream = within(log.log().stream("s")).await.expect("a stream");
            let segment = a_segment(&disk, &stream);
            put(&disk, &left, b"was not finished");
            put(&disk, &strange, &segment);
            let held = rig.plan.hold(Calls::of(kind).at(|path| {
                let text = path.to_string_lossy();
                text.contains("/00000000000000000900") || text.contains("-00000000000000000901")
            }));
            let failed = within(log.log().sweep()).await.expect_err("it hangs");
            assert!(matches!(failed, Error::Unavailable { .. }), "{failed}");
            assert_eq!(held.parked(), 1);
            // One behind it ends, and takes nothing that the first one may still be at.
            let swept = within(log.log().sweep()).await.expect("swept");
            assert!(swept.directory.under_way >= 1, "{swept:?}");
            append(&stream, COUNT..COUNT + 100).await;
            within(stream.trim(tierlog::Offset(150)))
                .await
                .expect("trimmed");
            holds(&stream, 150..COUNT + 100).await;
            held.release();
            eventually("they are gone", || {
                !exists(&disk, &left) && !exists(&disk, &strange)
            })
            .await;
            assert!(!files(&disk, &stream, "tls").is_empty());
            holds(&stream, 150..COUNT + 100).await;
            close(log).await;
        }
    });
}
