//! A disk without room.

use super::*;

const MIB: u64 = 1 << 20;

fn full(error: io::Error) -> bool {
    error.kind() == io::ErrorKind::StorageFull
}

#[test]
fn a_full_disk_takes_nothing_new_and_still_takes_what_has_room() {
    let disk = SimDisk::with_capacity(MIB);
    let file = durable(&disk, "/a", b"");
    file.allocate(0, MIB).unwrap();
    assert_eq!(
        disk.space(path("/")).unwrap(),
        Space {
            free: 0,
            total: MIB
        }
    );
    file.write_at(&vec![1; MIB as usize], 0).unwrap();
    assert!(full(file.write_at(b"x", MIB).unwrap_err()));
    let other = disk.create_new(path("/b")).unwrap();
    assert!(full(other.write_at(b"x", 0).unwrap_err()));
    assert!(full(other.allocate(0, 1).unwrap_err()));
    assert_eq!(other.len().unwrap(), 0);
}

#[test]
fn an_allocation_without_room_leaves_part_of_it_behind() {
    let disk = SimDisk::with_capacity(MIB);
    let file = durable(&disk, "/a", b"hello");
    assert!(full(file.allocate(0, 2 * MIB).unwrap_err()));
    assert_eq!(file.len().unwrap(), MIB);
    assert_eq!(disk.space(path("/")).unwrap().free, 0);
    assert_eq!(read(&disk, "/a")[..5], *b"hello");
}

#[test]
fn a_write_without_room_leaves_its_first_pages_behind() {
    let disk = SimDisk::with_capacity(3 * 4096);
    let file = durable(&disk, "/a", b"");
    assert!(full(file.write_at(&[1; 5 * 4096], 100).unwrap_err()));
    assert_eq!(file.len().unwrap(), 3 * 4096);
}

#[test]
fn room_comes_back_when_the_last_name_and_handle_are_gone() {
    let disk = SimDisk::with_capacity(MIB);
    let file = durable(&disk, "/a", b"");
    file.allocate(0, MIB).unwrap();
    disk.remove(path("/a")).unwrap();
    assert_eq!(disk.used(), MIB);
    drop(file);
    assert_eq!(disk.used(), 0);
    disk.create_new(path("/b"))
        .unwrap()
        .allocate(0, MIB)
        .unwrap();
}

#[test]
fn room_comes_back_by_a_cut_of_the_file_and_by_a_larger_disk() {
    let disk = SimDisk::with_capacity(MIB);
    let file = durable(&disk, "/a", b"");
    file.allocate(0, MIB).unwrap();
    file.set_len(4096 + 1).unwrap();
    assert_eq!(disk.used(), 2 * 4096);
    file.allocate(0, MIB).unwrap();
    disk.set_capacity(Some(2 * MIB));
    file.allocate(0, 2 * MIB).unwrap();
    disk.set_capacity(None);
    file.allocate(0, 64 * MIB).unwrap();
}

#[test]
fn synced_room_is_there_after_a_cut() {
    let disk = SimDisk::with_capacity(MIB);
    let file = durable(&disk, "/a", b"");
    file.allocate(0, MIB).unwrap();
    file.sync_data().unwrap();
    for left in cuts(&disk) {
        assert_eq!(left.used(), MIB);
        let file = left.open(path("/a"), Access::ReadWrite).unwrap();
        file.write_at(&[1; 8192], MIB - 8192).unwrap();
    }
}
