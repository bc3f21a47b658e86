//! What stands in files.

use std::{sync::Arc, thread};

use tierlog_storage::disk::Access;

use super::{Place, content};

conformance! {
    a_new_file_is_empty_and_takes_bytes
    a_file_opened_for_reading_is_not_changed
    written_bytes_are_seen_by_every_handle
    reading_stops_at_the_end
    what_is_read_behind_bytes_leaves_these_as_they_are
    a_write_beyond_the_end_leaves_zeros_before_it
    a_write_beyond_64_bits_is_refused
    an_empty_write_changes_nothing
    allocation_adds_zeros_and_keeps_bytes
    allocation_never_shortens
    an_impossible_allocation_is_refused
    bytes_that_were_cut_off_do_not_come_back
    a_map_shows_what_was_written
    a_map_never_reaches_beyond_the_end
    a_map_outlives_its_file
    syncs_succeed_again_and_again
    threads_write_side_by_side
}

fn a_new_file_is_empty_and_takes_bytes(at: &Place) {
    let file = at.disk.create_new(&at.path("a")).unwrap();
    assert!(file.is_empty().unwrap());
    file.write_at(b"hello", 0).unwrap();
    assert_eq!(content(&*file), b"hello");
    file.write_at(b"EL", 1).unwrap();
    assert_eq!(content(&*file), b"hELlo");
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

fn what_is_read_behind_bytes_leaves_these_as_they_are(at: &Place) {
    let bytes: Vec<u8> = (0..9000_u32).map(|n| (n % 251) as u8).collect();
    let file = at.file("a", &bytes);
    for (had, room, len, pos, expected) in [
        (0, 0, 0, 0, 0),
        (0, 0, 5000, 100, 5000),
        // More room than is asked for.
        (3, 8000, 10, 700, 10),
        (10, 10, 4000, 8000, 1000),
        (10, 0, 1, 9000, 0),
        (10, 0, 70, 1 << 40, 0),
    ] {
        let mut buf = Vec::with_capacity(room);
        buf.resize(had, 7);
        assert_eq!(file.read_behind(&mut buf, len, pos).unwrap(), expected);
        assert_eq!(buf[..had], vec![7; had]);
        let from = usize::try_from(pos).unwrap().min(bytes.len());
        assert_eq!(buf[had..], bytes[from..from + expected]);
    }
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
