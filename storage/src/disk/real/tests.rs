//! What only a real file system has: links, fifos, modes, blocks.

use std::os::unix::fs::{MetadataExt, symlink};

use tempfile::{TempDir, tempdir};

use super::*;

fn file(dir: &TempDir, name: &str, bytes: &[u8]) -> SharedFile {
    let file = RealDisk.create_new(&dir.path().join(name)).unwrap();
    file.write_at(bytes, 0).unwrap();
    file
}

#[test]
fn files_and_folders_are_the_owners_alone() {
    let dir = tempdir().unwrap();
    file(&dir, "a", b"");
    RealDisk.create_dir(&dir.path().join("d")).unwrap();
    drop(RealDisk.lock(&dir.path().join("LOCK")).unwrap());
    for (name, mode) in [("a", 0o600), ("d", 0o700), ("LOCK", 0o600)] {
        let found = std::fs::metadata(dir.path().join(name)).unwrap().mode();
        assert_eq!(found & 0o777, mode, "{name}");
    }
}

#[test]
fn links_are_never_followed() {
    let dir = tempdir().unwrap();
    file(&dir, "target", b"secret");
    std::fs::create_dir(dir.path().join("folder")).unwrap();
    symlink("target", dir.path().join("link")).unwrap();
    symlink("folder", dir.path().join("to-folder")).unwrap();
    symlink("nowhere", dir.path().join("dangling")).unwrap();
    for name in ["link", "dangling"] {
        let path = dir.path().join(name);
        assert!(RealDisk.open(&path, Access::Read).is_err(), "{name}");
        assert!(RealDisk.open(&path, Access::ReadWrite).is_err(), "{name}");
        assert!(RealDisk.lock(&path).is_err(), "{name}");
        let created = RealDisk.create_new(&path).unwrap_err();
        assert_eq!(created.kind(), io::ErrorKind::AlreadyExists, "{name}");
    }
    assert!(!dir.path().join("nowhere").exists());
    assert!(RealDisk.list(&dir.path().join("to-folder")).is_err());
    assert!(RealDisk.sync_dir(&dir.path().join("to-folder")).is_err());

    let folders: Vec<_> = RealDisk.list(dir.path()).unwrap();
    let folders: Vec<_> = folders.iter().filter(|entry| entry.is_dir).collect();
    assert_eq!(folders.len(), 1);
    assert_eq!(folders[0].name, "folder");

    // Removing or linking a link concerns the link, not what it leads to.
    RealDisk
        .link(&dir.path().join("link"), &dir.path().join("second"))
        .unwrap();
    assert!(dir.path().join("second").is_symlink());
    RealDisk.remove(&dir.path().join("link")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("target")).unwrap(), b"secret");
}

#[test]
fn the_path_that_comes_from_outside_is_followed() {
    let dir = tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    std::fs::create_dir_all(at("real/inner")).unwrap();
    symlink("real", at("link")).unwrap();
    symlink("link/inner", at("twice")).unwrap();
    symlink("nowhere", at("dangling")).unwrap();
    let real = std::fs::canonicalize(at("real")).unwrap();
    for (named, leads_to) in [
        ("link", real.clone()),
        ("link/new/log", real.join("new/log")),
        ("link/../link/new", real.join("new")),
        ("twice", real.join("inner")),
        ("twice/log", real.join("inner/log")),
        ("real/log", real.join("log")),
    ] {
        assert_eq!(RealDisk.resolve(&at(named)).unwrap(), leads_to, "{named}");
    }
    // What has no link in it stays as it was named, whether it is there or not.
    for named in ["./a/b", "tierlog-data", "/a", "../a"] {
        assert_eq!(
            RealDisk.resolve(Path::new(named)).unwrap(),
            Path::new(named)
        );
    }
    let error = RealDisk.resolve(&at("dangling/log")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotFound);
}

#[test]
fn a_fifo_in_place_of_a_file_is_an_error_and_does_not_block() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("fifo");
    let made = std::process::Command::new("mkfifo")
        .arg(&path)
        .status()
        .unwrap();
    assert!(made.success());
    for access in [Access::Read, Access::ReadWrite] {
        assert!(RealDisk.open(&path, access).is_err());
    }
    assert!(RealDisk.lock(&path).is_err());
    assert!(RealDisk.open(Path::new("/dev/null"), Access::Read).is_err());
}

#[cfg(target_os = "linux")]
#[test]
fn allocated_room_is_really_there() {
    let dir = tempdir().unwrap();
    file(&dir, "a", b"").allocate(0, 1 << 20).unwrap();
    let blocks = std::fs::metadata(dir.path().join("a")).unwrap().blocks();
    assert!(blocks * 512 >= 1 << 20, "{blocks} blocks");
}

#[test]
fn room_made_of_zeros_leaves_existing_bytes_alone() {
    let dir = tempdir().unwrap();
    file(&dir, "a", &[7; 100_000]);
    let path = dir.path().join("a");
    let real = RealFile {
        file: open_regular(&path, OFlags::RDWR).unwrap(),
    };
    real.fill_with_zeros(0, 50_000).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), [7; 100_000]);
    real.fill_with_zeros(50_000, 300_000).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(bytes.len(), 300_000);
    assert_eq!(bytes[..100_000], [7; 100_000]);
    assert!(bytes[100_000..].iter().all(|&b| b == 0));
    assert!(std::fs::metadata(&path).unwrap().blocks() * 512 >= 300_000);
}

#[test]
fn a_lock_on_a_replaced_file_is_no_lock_of_the_name() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("LOCK");
    drop(RealDisk.lock(&path).unwrap());
    let opened = open_regular(&path, OFlags::RDWR).unwrap();
    take_lock(&opened, &path).unwrap();
    file(&dir, "other", b"");
    std::fs::rename(dir.path().join("other"), &path).unwrap();
    assert!(take_lock(&opened, &path).is_err());
    std::fs::remove_file(&path).unwrap();
    assert!(take_lock(&opened, &path).is_err());
}

#[test]
fn descriptors_are_not_inherited() {
    let dir = tempdir().unwrap();
    file(&dir, "a", b"");
    let path = dir.path().join("a");
    let opened = open_regular(&path, OFlags::RDONLY).unwrap();
    let flags = rustix::io::fcntl_getfd(&opened).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
}

#[test]
fn what_is_read_in_memory_is_what_is_read_and_never_beyond_the_end() {
    let dir = TempDir::new().unwrap();
    let file = RealDisk.create_new(&dir.path().join("file")).unwrap();
    let bytes: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    file.write_at(&bytes, 0).unwrap();
    let mut buf = vec![0; 70_000];
    // Which file systems can tell differs; none may give anything else.
    if file.read_in_memory(&mut buf, 20_000) {
        assert_eq!(buf, bytes[20_000..90_000]);
    }
    assert!(!file.read_in_memory(&mut buf, 30_001), "a byte is missing");
    assert!(!file.read_in_memory(&mut buf, 100_000));
}
