//! The store in a local folder, beyond the contract.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use bytes::Bytes;
use tierlog_cold::store::{Blocking, Store, StoreErrorKind};
use tierlog_storage::disk::{
    Disk, Progress, RealDisk, WatchedDisk,
    fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
    sim::SimDisk,
};
use tokio::sync::Semaphore;

use super::rig::{Break, Breaking, Inline, Threads, content, dir_store, is_pending, kind, noise};

type Job = Box<dyn FnOnce() + Send>;

async fn make(store: &dyn Store, key: &str, bytes: &'static str) {
    let source = Arc::new(Bytes::from_static(bytes.as_bytes()));
    store.create(key, source).await.unwrap();
}

fn names(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).unwrap();
    entries.map(|entry| entry.unwrap().path()).collect()
}

#[tokio::test]
async fn no_link_leads_out_of_the_root() {
    let folder = tempfile::tempdir().unwrap();
    let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("secret"), "secret").unwrap();
    symlink(&outside, root.join("folder")).unwrap();
    symlink(outside.join("secret"), root.join("object")).unwrap();
    symlink(outside.join("new"), root.join("dangling")).unwrap();
    // As a log has it: its disk is watched.
    let disk = WatchedDisk::new(Arc::new(RealDisk), Progress::default());
    let store = dir_store(Arc::new(disk), &root, Inline);
    for key in ["folder/secret", "folder/new", "object", "dangling"] {
        let source = Arc::new(Bytes::from_static(b"x"));
        let made = store.create(key, source).await;
        assert_eq!(kind(made), StoreErrorKind::Denied, "{key}");
        let replaced = store.replace(key, Bytes::from_static(b"x")).await;
        assert_eq!(kind(replaced), StoreErrorKind::Denied, "{key}");
        let read = store.read(key, 0..1).await;
        assert_eq!(kind(read), StoreErrorKind::Denied, "{key}");
        assert_eq!(kind(store.stat(key).await), StoreErrorKind::Denied, "{key}");
        let deleted = store.delete(key).await;
        assert_eq!(kind(deleted), StoreErrorKind::Denied, "{key}");
    }
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
    assert_eq!(fs::read(outside.join("secret")).unwrap(), b"secret");
    assert_eq!(names(&outside).len(), 1);
}

#[tokio::test]
async fn the_root_itself_may_be_reached_by_a_link() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("real")).unwrap();
    symlink("real", folder.path().join("linked")).unwrap();
    let root = folder.path().join("linked/cold");
    let store = dir_store(Arc::new(RealDisk), &root, Inline);
    make(&*store, "a/b", "x").await;
    assert_eq!(content(&*store, "a/b").await.unwrap(), "x");
    assert!(folder.path().join("real/cold/a/b").exists());
}

#[tokio::test]
async fn what_is_stored_is_nobody_elses_to_read() {
    let folder = tempfile::tempdir().unwrap();
    let store = dir_store(Arc::new(RealDisk), &folder.path().join("cold"), Inline);
    make(&*store, "a/b", "x").await;
    store
        .replace("a/c", Bytes::from_static(b"y"))
        .await
        .unwrap();
    for (name, mode) in [
        ("cold", 0o700),
        ("cold/a", 0o700),
        ("cold/a/b", 0o600),
        ("cold/a/c", 0o600),
    ] {
        let about = fs::metadata(folder.path().join(name)).unwrap();
        assert_eq!(about.permissions().mode() & 0o777, mode, "{name}");
    }
}

#[tokio::test]
async fn reading_makes_no_folder() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path().join("cold");
    let store = dir_store(Arc::new(RealDisk), &root, Inline);
    assert_eq!(kind(store.stat("a/b").await), StoreErrorKind::Missing);
    assert_eq!(store.list("", None, 10).await.unwrap(), []);
    store.delete("a/b").await.unwrap();
    assert!(!root.exists());
}

#[tokio::test]
async fn a_folder_or_a_pipe_in_the_place_of_an_object_is_no_object() {
    let folder = tempfile::tempdir().unwrap();
    let store = dir_store(Arc::new(RealDisk), folder.path(), Inline);
    make(&*store, "a/b", "x").await;
    let pipe = folder.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    for key in ["a", "pipe"] {
        assert_eq!(kind(store.stat(key).await), StoreErrorKind::Denied, "{key}");
    }
    let listed = store.list("", None, 10).await.unwrap();
    assert_eq!(listed.len(), 1, "{listed:?}");
}

#[derive(Debug)]
struct Full;

impl Blocking for Full {
    fn run(&self, job: Job) -> Result<(), Job> {
        Err(job)
    }
}

#[derive(Debug)]
struct Forgetful;

impl Blocking for Forgetful {
    fn run(&self, _: Job) -> Result<(), Job> {
        Ok(())
    }
}

#[tokio::test]
async fn without_a_thread_a_call_is_busy_and_a_job_that_is_given_up_is_unknown() {
    let disk = Arc::new(SimDisk::new());
    let full = dir_store(disk.clone(), Path::new("/cold"), Full);
    assert_eq!(kind(full.stat("a").await), StoreErrorKind::Busy);
    let forgetful = dir_store(disk, Path::new("/cold"), Forgetful);
    assert_eq!(kind(forgetful.stat("a").await), StoreErrorKind::Unknown);
}

#[tokio::test]
async fn what_a_call_leaves_half_way_is_removed_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = dir_store(Arc::new(RealDisk), folder.path(), Inline);
    let source = Breaking::new(
        noise(1, 3_000_000),
        2_000_000,
        Break::Waits(Semaphore::new(0)),
    );
    let mut call = store.create("a", source);
    assert!(is_pending(&mut call).await);
    let temporary = folder.path().join("~tmp");
    assert_eq!(names(&temporary).len(), 2, "a lock and a file");
    drop(call);
    assert_eq!(names(&temporary).len(), 1, "the lock");
}

#[tokio::test]
async fn what_a_dead_process_left_is_removed_and_what_a_living_one_writes_is_not() {
    let sim = SimDisk::new();
    let root = Path::new("/cold");
    let list = |sim: &SimDisk| sim.list(&root.join("~tmp")).unwrap().len();
    let half = || {
        let waits = Break::Waits(Semaphore::new(0));
        Breaking::new(noise(1, 3_000_000), 2_000_000, waits)
    };
    let dying = dir_store(Arc::new(sim.clone()), root, Inline);
    let mut lost = dying.create("lost", half());
    assert!(is_pending(&mut lost).await);
    let sim = sim.crash_process();
    drop(lost);
    drop(dying);
    assert_eq!(list(&sim), 2);

    let living = dir_store(Arc::new(sim.clone()), root, Inline);
    let source = half();
    let mut slow = living.create("slow", source.clone());
    assert!(is_pending(&mut slow).await);
    assert_eq!(list(&sim), 2, "those of the dead one are gone");

    let other = dir_store(Arc::new(sim.clone()), root, Inline);
    make(&*other, "other", "x").await;
    assert_eq!(list(&sim), 3, "two locks and a file");
    let Break::Waits(permits) = &source.how else {
        unreachable!()
    };
    permits.add_permits(10);
    slow.await.unwrap();
    assert!(content(&*other, "slow").await.unwrap() == noise(1, 3_000_000));
}

/// A create was given up since the sync of its folder took longer than its deadline. Who read the
/// object back meanwhile found all of its bytes, and called it stored; then the sync failed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_read_back_while_its_folder_is_being_synced_waits_for_the_outcome() {
    let plan = FaultPlan::new();
    let disk = FaultDisk::new(Arc::new(SimDisk::new()), plan.clone());
    let store = dir_store(Arc::new(disk), Path::new("/cold"), Threads);
    make(&*store, "s/before", "x").await;
    let held = plan.hold(Calls::of(CallKind::SyncDir));
    let call = {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            let source = Arc::new(Bytes::from_static(b"late"));
            store.create("s/late", source).await
        })
    };
    let held = tokio::task::spawn_blocking(move || {
        held.wait();
        held
    });
    let held = held.await.unwrap();
    call.abort();
    let reader = {
        let store = Arc::clone(&store);
        tokio::spawn(async move { store.stat("s/late").await })
    };
    thread::yield_now();
    held.release_failing(Fault::Io);
    assert_eq!(kind(reader.await.unwrap()), StoreErrorKind::Missing);
    make(&*store, "s/late", "again").await;
}

#[tokio::test]
async fn a_full_disk_is_busy_and_a_missing_right_is_denied() {
    for (fault, kind_of) in [
        (Fault::Full, StoreErrorKind::Busy),
        (Fault::Errno(13), StoreErrorKind::Denied),
        (Fault::Io, StoreErrorKind::Unknown),
    ] {
        let plan = FaultPlan::new();
        let disk = FaultDisk::new(Arc::new(SimDisk::new()), plan.clone());
        let store = dir_store(Arc::new(disk), Path::new("/cold"), Inline);
        make(&*store, "first", "x").await;
        plan.fail(Calls::of(CallKind::WriteAt), fault);
        let source = Arc::new(Bytes::from_static(b"y"));
        let error = store.create("second", source).await.unwrap_err();
        assert_eq!(error.kind, kind_of, "{error}");
        make(&*store, "second", "y").await;
    }
}
