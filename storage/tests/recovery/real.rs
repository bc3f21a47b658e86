//! The same on a real file system.

use std::{fs, os::unix::fs::PermissionsExt, sync::Arc};

use tierlog_storage::{
    StorageError,
    disk::{Disk, RealDisk},
    layout::Layout,
    recovery::open_log,
};

use crate::rig::{Rig, Seal, options, read_all};

fn place() -> (tempfile::TempDir, Layout, Arc<dyn Disk>) {
    let temporary = tempfile::tempdir().unwrap();
    let layout = Layout::new(temporary.path().join("some/where/log"));
    (temporary, layout, Arc::new(RealDisk))
}

#[test]
fn a_log_lives_through_kills_and_closes() {
    let (_temporary, layout, disk) = place();
    let mut next = 0;
    for round in 0..6 {
        let mut rig = Rig::open_at(&disk, layout.clone()).unwrap();
        if round == 0 {
            rig.create("a").unwrap();
        }
        let id = rig.writers["a"].id;
        let read = read_all(&*disk, &layout, &rig.log.state, id).unwrap();
        assert!(read.is_whole("a", 0, next), "{round}: {read:?}");
        for count in 1..5 {
            rig.append("a", count).unwrap();
        }
        rig.roll("a", [Seal::Commit, Seal::Footer][round % 2])
            .unwrap();
        rig.append("a", 1).unwrap();
        next += 11;
        match round % 3 {
            0 => rig.close().unwrap(),
            _ => drop(rig),
        }
    }
}

#[test]
fn a_directory_without_permission_is_an_error_that_names_it() {
    let (_temporary, layout, disk) = place();
    drop(Rig::open_at(&disk, layout.clone()).unwrap());
    fs::remove_file(layout.lock()).unwrap();
    let read_only = fs::Permissions::from_mode(0o500);
    fs::set_permissions(layout.root(), read_only).unwrap();
    let opened = open_log(&disk, &layout, &options());
    let writable = fs::Permissions::from_mode(0o700);
    // The superuser may write anywhere.
    let is_root = fs::write(layout.root().join("x"), "").is_ok();
    fs::set_permissions(layout.root(), writable).unwrap();
    if !is_root {
        let error = opened.unwrap_err();
        assert!(matches!(error, StorageError::Io { .. }), "{error}");
        assert!(error.to_string().contains("LOCK"), "{error}");
    }
}

#[test]
fn a_file_where_the_directory_should_be_is_an_error_and_stays() {
    let temporary = tempfile::tempdir().unwrap();
    let path = temporary.path().join("log");
    fs::write(&path, "mine").unwrap();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let error = open_log(&disk, &Layout::new(&path), &options()).unwrap_err();
    assert!(matches!(error, StorageError::Io { .. }), "{error}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
}

#[test]
fn a_pointer_that_is_a_link_is_not_followed() {
    let (temporary, layout, disk) = place();
    drop(Rig::open_at(&disk, layout.clone()).unwrap());
    let elsewhere = temporary.path().join("elsewhere");
    fs::rename(layout.current(), &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, layout.current()).unwrap();
    assert!(open_log(&disk, &layout, &options()).is_err());
}
