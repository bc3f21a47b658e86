//! What every disk must do, in one suite that each implementation runs: the contract of
//! `tierlog_storage::disk` as far as it can be seen without pulling the plug.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::{
    ffi::OsString,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use tempfile::TempDir;
use tierlog_storage::disk::{
    Access, Disk, DiskFile, Entry, RealDisk, SharedFile,
    fault::{FaultDisk, FaultPlan},
    sim::SimDisk,
};

/// A disk and a folder on it to work in.
struct Place {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Place {
    fn real() -> Self {
        let temporary = tempfile::tempdir().unwrap();
        let dir = temporary.path().to_path_buf();
        Self {
            disk: Arc::new(RealDisk),
            dir,
            _temporary: Some(temporary),
        }
    }

    fn simulated() -> Self {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/data")).unwrap();
        Self {
            disk: Arc::new(disk),
            dir: "/data".into(),
            _temporary: None,
        }
    }

    fn planned() -> Self {
        let mut place = Self::simulated();
        place.disk = Arc::new(FaultDisk::new(place.disk, FaultPlan::new()));
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn file(&self, name: &str, bytes: &[u8]) -> SharedFile {
        let file = self.disk.create_new(&self.path(name)).unwrap();
        file.write_at(bytes, 0).unwrap();
        file
    }

    fn folder(&self, name: &str) -> PathBuf {
        self.disk.create_dir(&self.path(name)).unwrap();
        self.path(name)
    }

    fn open(&self, name: &str) -> io::Result<SharedFile> {
        self.disk.open(&self.path(name), Access::Read)
    }

    fn names(&self, dir: &Path) -> Vec<OsString> {
        self.disk
            .list(dir)
            .unwrap()
            .into_iter()
            .map(|entry| entry.name)
            .collect()
    }
}

fn content(file: &dyn DiskFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len().unwrap() as usize];
    assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
    bytes
}

fn kind<T>(result: io::Result<T>) -> ErrorKind {
    match result {
        Ok(_) => panic!("it went well, and should not have"),
        Err(error) => error.kind(),
    }
}

macro_rules! conformance {
    ($($name:ident)*) => {
        mod real {
            $(#[test] fn $name() { super::$name(&super::Place::real()); })*
        }
        mod simulated {
            $(#[test] fn $name() { super::$name(&super::Place::simulated()); })*
        }
        mod with_a_plan_without_faults {
            $(#[test] fn $name() { super::$name(&super::Place::planned()); })*
        }
    };
}

conformance! {
    a_new_file_is_empty_and_takes_bytes
    a_name_that_is_taken_is_not_created_again
    what_is_missing_is_reported_as_missing
    only_regular_files_are_opened
    a_file_opened_for_reading_is_not_changed
    written_bytes_are_seen_by_every_handle
    reading_stops_at_the_end
    a_write_beyond_the_end_leaves_zeros_before_it
    a_write_beyond_64_bits_is_refused
    an_empty_write_changes_nothing
    allocation_adds_zeros_and_keeps_bytes
    allocation_never_shortens
    an_impossible_allocation_is_refused
    bytes_that_were_cut_off_do_not_come_back
    a_rename_replaces_what_had_the_name
    a_rename_to_itself_keeps_the_file
    a_rename_into_another_folder_moves_the_file
    handles_follow_a_renamed_file
    a_removed_file_lives_on_for_its_handles
    folders_are_not_removed_as_files
    a_link_is_a_second_name_of_the_same_bytes
    a_link_never_replaces
    lists_are_sorted_and_tell_folders_from_files
    only_folders_are_listed_and_synced
    folders_need_a_parent_and_a_free_name
    odd_spellings_of_a_path_lead_to_the_same_file
    a_lock_excludes_until_it_is_dropped
    a_lock_holds_although_others_open_and_close_its_file
    folders_are_not_locked
    a_map_shows_what_was_written
    a_map_never_reaches_beyond_the_end
    a_map_outlives_its_file
    syncs_succeed_again_and_again
    threads_write_side_by_side
    there_is_room
}

fn a_new_file_is_empty_and_takes_bytes(at: &Place) {
    let file = at.disk.create_new(&at.path("a")).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(b"hello", 0).unwrap();
    assert_eq!(content(&*file), b"hello");
    file.write_at(b"EL", 1).unwrap();
    assert_eq!(content(&*file), b"hELlo");
}

fn a_name_that_is_taken_is_not_created_again(at: &Place) {
    at.file("a", b"x");
    at.folder("d");
    for name in ["a", "d"] {
        assert_eq!(
            kind(at.disk.create_new(&at.path(name))),
            ErrorKind::AlreadyExists
        );
        assert_eq!(
            kind(at.disk.create_dir(&at.path(name))),
            ErrorKind::AlreadyExists
        );
    }
    assert_eq!(content(&*at.open("a").unwrap()), b"x");
}

fn what_is_missing_is_reported_as_missing(at: &Place) {
    let (gone, other) = (at.path("gone"), at.path("other"));
    at.file("here", b"");
    assert_eq!(kind(at.disk.open(&gone, Access::Read)), ErrorKind::NotFound);
    assert_eq!(
        kind(at.disk.open(&gone, Access::ReadWrite)),
        ErrorKind::NotFound
    );
    assert_eq!(kind(at.disk.rename(&gone, &other)), ErrorKind::NotFound);
    assert_eq!(kind(at.disk.link(&gone, &other)), ErrorKind::NotFound);
    assert_eq!(kind(at.disk.remove(&gone)), ErrorKind::NotFound);
    assert_eq!(kind(at.disk.list(&gone)), ErrorKind::NotFound);
    assert_eq!(kind(at.disk.sync_dir(&gone)), ErrorKind::NotFound);
    assert_eq!(
        kind(at.disk.create_new(&gone.join("a"))),
        ErrorKind::NotFound
    );
    assert_eq!(kind(at.disk.lock(&gone.join("LOCK"))), ErrorKind::NotFound);
    assert_eq!(
        kind(at.disk.rename(&at.path("here"), &gone.join("a"))),
        ErrorKind::NotFound
    );
    assert_eq!(at.names(&at.dir), ["here"]);
}

fn only_regular_files_are_opened(at: &Place) {
    let folder = at.folder("d");
    for access in [Access::Read, Access::ReadWrite] {
        assert_ne!(kind(at.disk.open(&folder, access)), ErrorKind::NotFound);
    }
    at.file("a", b"");
    let below = at.path("a").join("b");
    assert_eq!(
        kind(at.disk.open(&below, Access::Read)),
        ErrorKind::NotADirectory
    );
    assert_eq!(kind(at.disk.create_new(&below)), ErrorKind::NotADirectory);
}

fn a_file_opened_for_reading_is_not_changed(at: &Place) {
    at.file("a", b"hello");
    let file = at.open("a").unwrap();
    assert!(file.write_at(b"x", 0).is_err());
    assert!(file.allocate(0, 4096).is_err());
    assert!(file.set_len(1).is_err());
    assert_eq!(content(&*file), b"hello");
}

fn written_bytes_are_seen_by_every_handle(at: &Place) {
    let writer = at.file("a", b"");
    let early = at.open("a").unwrap();
    writer.write_at(b"hello", 0).unwrap();
    drop(writer);
    assert_eq!(content(&*early), b"hello");
    let again = at.disk.open(&at.path("a"), Access::ReadWrite).unwrap();
    again.write_at(b"J", 0).unwrap();
    assert_eq!(content(&*early), b"Jello");
}

fn reading_stops_at_the_end(at: &Place) {
    let file = at.file("a", &[7; 5000]);
    let mut buf = [0; 4096];
    assert_eq!(file.read_at(&mut buf, 4000).unwrap(), 1000);
    assert_eq!(buf[..1000], [7; 1000]);
    assert_eq!(file.read_at(&mut buf, 5000).unwrap(), 0);
    assert_eq!(file.read_at(&mut buf, 1 << 40).unwrap(), 0);
    assert_eq!(file.read_at(&mut [], 0).unwrap(), 0);
}

fn a_write_beyond_the_end_leaves_zeros_before_it(at: &Place) {
    let file = at.file("a", b"x");
    file.write_at(b"y", 9000).unwrap();
    let bytes = content(&*file);
    assert_eq!((bytes.len(), bytes[0], bytes[9000]), (9001, b'x', b'y'));
    assert!(bytes[1..9000].iter().all(|&b| b == 0));
}

fn a_write_beyond_64_bits_is_refused(at: &Place) {
    let file = at.file("a", b"x");
    assert!(file.write_at(b"yy", u64::MAX - 1).is_err());
    assert!(file.write_at(b"yy", u64::MAX).is_err());
    assert!(file.set_len(u64::MAX).is_err());
    assert_eq!(content(&*file), b"x");
}

fn an_empty_write_changes_nothing(at: &Place) {
    let file = at.file("a", b"x");
    file.write_at(b"", 100).unwrap();
    assert_eq!(content(&*file), b"x");
}

fn allocation_adds_zeros_and_keeps_bytes(at: &Place) {
    let file = at.file("a", b"hello");
    file.allocate(0, 100_000).unwrap();
    let bytes = content(&*file);
    assert_eq!(bytes.len(), 100_000);
    assert_eq!(&bytes[..5], b"hello");
    assert!(bytes[5..].iter().all(|&b| b == 0));
    file.allocate(200_000, 1000).unwrap();
    assert_eq!(file.len().unwrap(), 201_000);
}

fn allocation_never_shortens(at: &Place) {
    let file = at.file("a", &[7; 10_000]);
    file.allocate(0, 10).unwrap();
    file.allocate(4096, 100).unwrap();
    file.allocate(0, 0).unwrap();
    assert_eq!(content(&*file), [7; 10_000]);
}

fn an_impossible_allocation_is_refused(at: &Place) {
    let file = at.file("a", b"x");
    assert!(file.allocate(u64::MAX, 2).is_err());
    assert!(file.allocate(0, u64::MAX).is_err());
    assert_eq!(content(&*file)[0], b'x');
}

fn bytes_that_were_cut_off_do_not_come_back(at: &Place) {
    let file = at.file("a", &[7; 10_000]);
    file.set_len(5).unwrap();
    assert_eq!(content(&*file), [7; 5]);
    file.set_len(10_000).unwrap();
    let bytes = content(&*file);
    assert_eq!(bytes[..5], [7; 5]);
    assert!(bytes[5..].iter().all(|&b| b == 0));
    file.set_len(5).unwrap();
    file.allocate(0, 8192).unwrap();
    assert!(content(&*file)[5..].iter().all(|&b| b == 0));
}

fn a_rename_replaces_what_had_the_name(at: &Place) {
    at.file("old", b"old");
    at.file("new", b"new");
    at.disk.rename(&at.path("new"), &at.path("old")).unwrap();
    assert_eq!(at.names(&at.dir), ["old"]);
    assert_eq!(content(&*at.open("old").unwrap()), b"new");
    at.folder("d");
    assert!(at.disk.rename(&at.path("old"), &at.path("d")).is_err());
    assert_eq!(at.names(&at.dir), ["d", "old"]);
}

fn a_rename_to_itself_keeps_the_file(at: &Place) {
    at.file("a", b"x");
    at.disk.rename(&at.path("a"), &at.path("a")).unwrap();
    assert_eq!(content(&*at.open("a").unwrap()), b"x");
    at.disk.link(&at.path("a"), &at.path("b")).unwrap();
    at.disk.rename(&at.path("a"), &at.path("b")).unwrap();
    assert_eq!(at.names(&at.dir), ["a", "b"]);
}

fn a_rename_into_another_folder_moves_the_file(at: &Place) {
    at.file("a", b"x");
    let folder = at.folder("d");
    at.disk.rename(&at.path("a"), &folder.join("b")).unwrap();
    assert_eq!(at.names(&at.dir), ["d"]);
    assert_eq!(at.names(&folder), ["b"]);
    assert_eq!(content(&*at.open("d/b").unwrap()), b"x");
}

fn handles_follow_a_renamed_file(at: &Place) {
    let file = at.file("a", b"x");
    at.disk.rename(&at.path("a"), &at.path("b")).unwrap();
    file.write_at(b"y", 1).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&*at.open("b").unwrap()), b"xy");
    at.file("a", b"another");
    assert_eq!(content(&*file), b"xy");
}

fn a_removed_file_lives_on_for_its_handles(at: &Place) {
    let file = at.file("a", b"x");
    at.disk.remove(&at.path("a")).unwrap();
    assert_eq!(kind(at.open("a")), ErrorKind::NotFound);
    file.write_at(b"y", 1).unwrap();
    file.sync_data().unwrap();
    assert_eq!(content(&*file), b"xy");
    at.file("a", b"new");
    assert_eq!(content(&*file), b"xy");
}

fn folders_are_not_removed_as_files(at: &Place) {
    let folder = at.folder("d");
    assert!(at.disk.remove(&folder).is_err());
    assert!(at.disk.list(&folder).unwrap().is_empty());
}

fn a_link_is_a_second_name_of_the_same_bytes(at: &Place) {
    let file = at.file("a", b"x");
    at.disk.link(&at.path("a"), &at.path("b")).unwrap();
    file.write_at(b"y", 1).unwrap();
    at.disk.remove(&at.path("a")).unwrap();
    assert_eq!(content(&*at.open("b").unwrap()), b"xy");
}

fn a_link_never_replaces(at: &Place) {
    at.file("a", b"a");
    at.file("b", b"b");
    assert_eq!(
        kind(at.disk.link(&at.path("a"), &at.path("b"))),
        ErrorKind::AlreadyExists
    );
    assert_eq!(content(&*at.open("b").unwrap()), b"b");
    let folder = at.folder("d");
    assert!(at.disk.link(&folder, &at.path("e")).is_err());
}

fn lists_are_sorted_and_tell_folders_from_files(at: &Place) {
    assert_eq!(at.disk.list(&at.dir).unwrap(), []);
    for name in ["b", "a", "Z", "10", "9"] {
        at.file(name, b"");
    }
    let folder = at.folder("c");
    at.disk.create_new(&folder.join("inner")).unwrap();
    let entry = |name: &str, is_dir| Entry {
        name: name.into(),
        is_dir,
    };
    let expected = [
        entry("10", false),
        entry("9", false),
        entry("Z", false),
        entry("a", false),
        entry("b", false),
        entry("c", true),
    ];
    assert_eq!(at.disk.list(&at.dir).unwrap(), expected);
}

fn only_folders_are_listed_and_synced(at: &Place) {
    at.file("a", b"");
    assert_eq!(kind(at.disk.list(&at.path("a"))), ErrorKind::NotADirectory);
    assert_eq!(
        kind(at.disk.sync_dir(&at.path("a"))),
        ErrorKind::NotADirectory
    );
}

fn folders_need_a_parent_and_a_free_name(at: &Place) {
    assert_eq!(
        kind(at.disk.create_dir(&at.path("x/y"))),
        ErrorKind::NotFound
    );
    let folder = at.folder("x");
    at.disk.create_dir(&folder.join("y")).unwrap();
    assert_eq!(
        kind(at.disk.create_dir(&folder.join("y"))),
        ErrorKind::AlreadyExists
    );
    assert_eq!(at.names(&folder), ["y"]);
}

fn odd_spellings_of_a_path_lead_to_the_same_file(at: &Place) {
    at.folder("d");
    at.file("d/a", b"x");
    for spelling in ["./d/a", "d//a", "d/./a"] {
        assert_eq!(content(&*at.open(spelling).unwrap()), b"x", "{spelling}");
    }
    assert_eq!(at.names(&at.path("d/")), ["a"]);
    at.disk.sync_dir(&at.path("d/.")).unwrap();
}

fn a_lock_excludes_until_it_is_dropped(at: &Place) {
    let path = at.path("LOCK");
    let held = at.disk.lock(&path).unwrap();
    assert_eq!(at.names(&at.dir), ["LOCK"]);
    assert_eq!(kind(at.disk.lock(&path)), ErrorKind::WouldBlock);
    let other = at.disk.lock(&at.path("OTHER")).unwrap();
    thread::scope(|scope| {
        let elsewhere = scope.spawn(|| kind(at.disk.lock(&path)));
        assert_eq!(elsewhere.join().unwrap(), ErrorKind::WouldBlock);
    });
    drop(held);
    let again = at.disk.lock(&path).unwrap();
    assert_eq!(kind(at.disk.lock(&at.path("OTHER"))), ErrorKind::WouldBlock);
    drop((again, other));
}

fn a_lock_holds_although_others_open_and_close_its_file(at: &Place) {
    let path = at.path("LOCK");
    let _held = at.disk.lock(&path).unwrap();
    drop(at.disk.open(&path, Access::ReadWrite).unwrap());
    assert_eq!(kind(at.disk.lock(&path)), ErrorKind::WouldBlock);
}

fn folders_are_not_locked(at: &Place) {
    let folder = at.folder("d");
    assert_ne!(kind(at.disk.lock(&folder)), ErrorKind::WouldBlock);
}

fn a_map_shows_what_was_written(at: &Place) {
    let bytes: Vec<u8> = (0..10_000).map(|i| i as u8).collect();
    let file = at.file("a", &bytes);
    let map = at.open("a").unwrap().map_read_only(9000).unwrap();
    assert_eq!(map, bytes[..9000]);
    assert_eq!(map.slice(100..200), bytes[100..200]);
    assert_eq!(file.map_read_only(10_000).unwrap(), bytes);
}

fn a_map_never_reaches_beyond_the_end(at: &Place) {
    let file = at.file("a", b"hello");
    assert!(file.map_read_only(6).is_err());
    assert!(file.map_read_only(u64::MAX).is_err());
    assert!(file.map_read_only(0).unwrap().is_empty());
}

fn a_map_outlives_its_file(at: &Place) {
    let file = at.file("a", &[7; 5000]);
    let map = file.map_read_only(5000).unwrap();
    drop(file);
    at.disk.remove(&at.path("a")).unwrap();
    assert_eq!(map[..], [7; 5000]);
}

fn syncs_succeed_again_and_again(at: &Place) {
    let file = at.file("a", b"x");
    for _ in 0..3 {
        file.sync_data().unwrap();
        at.disk.sync_dir(&at.dir).unwrap();
    }
    at.open("a").unwrap().sync_data().unwrap();
    assert_eq!(content(&*file), b"x");
}

fn threads_write_side_by_side(at: &Place) {
    let file = at.file("a", b"");
    thread::scope(|scope| {
        for part in 0..8u8 {
            let file = Arc::clone(&file);
            scope.spawn(move || {
                for step in 0..50u64 {
                    file.write_at(&[part; 100], (step * 8 + u64::from(part)) * 100)
                        .unwrap();
                }
            });
        }
    });
    let bytes = content(&*file);
    for (at, piece) in bytes.chunks(100).enumerate() {
        assert_eq!(piece, [(at % 8) as u8; 100]);
    }
}

fn there_is_room(at: &Place) {
    let space = at.disk.space(&at.dir).unwrap();
    assert!(0 < space.free && space.free <= space.total, "{space:?}");
    assert_eq!(kind(at.disk.space(&at.path("gone"))), ErrorKind::NotFound);
}
