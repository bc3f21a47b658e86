//! What becomes of names.

use std::collections::BTreeSet;

use super::*;

fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
    let entries = disk.list(path(dir)).unwrap();
    entries
        .into_iter()
        .map(|entry| entry.name.into_string().unwrap())
        .collect()
}

#[test]
fn a_synced_file_is_gone_when_its_folder_was_not_synced() {
    let disk = data();
    let file = disk.create_new(path("/a")).unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync_data().unwrap();
    assert!(!exists(&disk.preview_cut(Cut::AllLost), "/a"));
    assert_eq!(read(&disk.preview_cut(Cut::AllKept), "/a"), b"x");
}

#[test]
fn a_synced_folder_is_gone_when_its_parent_was_not_synced() {
    let disk = data();
    disk.create_dir(path("/d")).unwrap();
    durable(&disk, "/d/a", b"x");
    let left = disk.preview_cut(Cut::AllLost);
    assert_eq!(names(&left, "/"), [""; 0]);
    disk.sync_dir(path("/")).unwrap();
    for left in cuts(&disk) {
        assert_eq!(read(&left, "/d/a"), b"x");
    }
}

#[test]
fn creations_are_kept_in_order_or_in_any_choice() {
    let disk = data();
    for name in ["/a", "/b", "/c"] {
        disk.create_new(path(name)).unwrap();
    }
    let found: BTreeSet<_> = cuts(&disk).map(|left| names(&left, "/")).collect();
    assert_eq!(found.len(), 8, "{found:?}");
}

#[test]
fn a_removed_file_can_come_back_until_the_folder_is_synced() {
    let disk = data();
    durable(&disk, "/a", b"x");
    disk.remove(path("/a")).unwrap();
    assert!(!exists(&disk, "/a"));
    assert_eq!(read(&disk.preview_cut(Cut::AllLost), "/a"), b"x");
    disk.sync_dir(path("/")).unwrap();
    for left in cuts(&disk) {
        assert!(!exists(&left, "/a"));
    }
}

#[test]
fn a_replaced_pointer_is_the_old_one_or_the_new_one() {
    let disk = data();
    durable(&disk, "/CURRENT", b"old");
    let file = disk.create_new(path("/CURRENT.tmp")).unwrap();
    file.write_at(b"new", 0).unwrap();
    file.sync_data().unwrap();
    disk.rename(path("/CURRENT.tmp"), path("/CURRENT")).unwrap();
    let found: BTreeSet<_> = cuts(&disk).map(|left| read(&left, "/CURRENT")).collect();
    assert_eq!(found, BTreeSet::from([b"new".to_vec(), b"old".to_vec()]));
    disk.sync_dir(path("/")).unwrap();
    for left in cuts(&disk) {
        assert_eq!(names(&left, "/"), ["CURRENT"]);
        assert_eq!(read(&left, "/CURRENT"), b"new");
    }
}

#[test]
fn a_pointer_whose_bytes_were_not_synced_can_be_empty_after_its_rename() {
    let disk = data();
    durable(&disk, "/CURRENT", b"old");
    let file = disk.create_new(path("/CURRENT.tmp")).unwrap();
    file.write_at(b"new", 0).unwrap();
    disk.rename(path("/CURRENT.tmp"), path("/CURRENT")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(read(&disk.preview_cut(Cut::AllLost), "/CURRENT"), b"");
}

#[test]
fn a_rename_between_folders_never_leaves_two_names_nor_none() {
    let disk = data();
    disk.create_dir(path("/d")).unwrap();
    disk.create_dir(path("/e")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    durable(&disk, "/d/a", b"x");
    disk.rename(path("/d/a"), path("/e/b")).unwrap();
    let mut moved = 0;
    for left in cuts(&disk) {
        assert_ne!(exists(&left, "/d/a"), exists(&left, "/e/b"));
        moved += u32::from(exists(&left, "/e/b"));
    }
    assert!(moved > 10);
    disk.sync_dir(path("/e")).unwrap();
    for left in cuts(&disk) {
        assert!(!exists(&left, "/d/a"));
        assert_eq!(read(&left, "/e/b"), b"x");
    }
}

#[test]
fn both_names_of_a_link_lead_to_the_same_bytes_after_a_cut() {
    let disk = data();
    let file = durable(&disk, "/a", b"x");
    disk.link(path("/a"), path("/b")).unwrap();
    disk.remove(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    file.write_at(b"y", 0).unwrap();
    file.sync_data().unwrap();
    for left in cuts(&disk) {
        assert_eq!(names(&left, "/"), ["b"]);
        assert_eq!(read(&left, "/b"), b"y");
    }
}

#[test]
fn a_failed_folder_sync_is_forgotten_by_the_next() {
    let disk = data();
    disk.create_new(path("/a")).unwrap();
    disk.forget_changes(path("/"));
    disk.create_new(path("/b")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert_eq!(names(&disk, "/"), ["a", "b"]);
    for cut in [Cut::AllLost, Cut::AllKept] {
        assert_eq!(names(&disk.preview_cut(cut), "/"), ["b"]);
    }
}

#[test]
fn a_forgotten_change_never_undoes_a_later_one() {
    let disk = data();
    disk.create_new(path("/a")).unwrap();
    disk.forget_changes(path("/"));
    disk.remove(path("/a")).unwrap();
    durable(&disk, "/b", b"other");
    disk.rename(path("/b"), path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    for left in cuts(&disk) {
        assert_eq!(names(&left, "/"), ["a"]);
        assert_eq!(read(&left, "/a"), b"other");
    }
    disk.remove(path("/a")).unwrap();
    disk.sync_dir(path("/")).unwrap();
    for left in cuts(&disk) {
        assert_eq!(names(&left, "/"), [""; 0]);
    }
}
