//! Names, folders and locks.

use std::{io::ErrorKind, thread};

use tierlog_storage::disk::{Access, Entry};

use super::{Place, content, kind};

conformance! {
    a_name_that_is_taken_is_not_created_again
    what_is_missing_is_reported_as_missing
    only_regular_files_are_opened
    a_rename_replaces_what_had_the_name
    a_rename_to_itself_keeps_the_file
    a_rename_into_another_folder_moves_the_file
    handles_follow_a_renamed_file
    a_removed_file_lives_on_for_its_handles
    folders_are_not_removed_as_files
    a_folder_is_removed_only_when_it_holds_nothing
    a_link_is_a_second_name_of_the_same_bytes
    a_link_never_replaces
    lists_are_sorted_and_tell_folders_from_files
    only_folders_are_listed_and_synced
    folders_need_a_parent_and_a_free_name
    odd_spellings_of_a_path_lead_to_the_same_file
    a_lock_excludes_until_it_is_dropped
    a_lock_holds_although_others_open_and_close_its_file
    folders_are_not_locked
    there_is_room
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

fn a_folder_is_removed_only_when_it_holds_nothing(at: &Place) {
    let folder = at.folder("d");
    at.file("d/a", b"x");
    assert!(at.disk.remove_dir(&folder).is_err());
    at.disk.remove(&at.path("d/a")).unwrap();
    at.disk.remove_dir(&folder).unwrap();
    assert_eq!(kind(at.disk.list(&folder)), ErrorKind::NotFound);
    assert_eq!(kind(at.disk.remove_dir(&folder)), ErrorKind::NotFound);
    at.file("b", b"x");
    assert!(at.disk.remove_dir(&at.path("b")).is_err());
    assert!(at.open("b").is_ok());
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
        is_file: !is_dir,
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

fn there_is_room(at: &Place) {
    let space = at.disk.space(&at.dir).unwrap();
    assert!(0 < space.free && space.free <= space.total, "{space:?}");
    assert_eq!(kind(at.disk.space(&at.path("gone"))), ErrorKind::NotFound);
}
