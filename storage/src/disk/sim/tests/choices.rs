//! Going through all that a power cut can leave.

use std::collections::BTreeSet;

use super::*;

/// The images of all choices; there is one for each.
fn images(disk: &SimDisk) -> BTreeSet<u64> {
    let choices = disk.choices();
    let all = 0..choices.count();
    all.map(|number| choices.cut(&choices.nth(number)).image())
        .collect()
}

#[test]
fn two_sectors_of_a_page_are_lost_apart_and_the_others_are_as_they_were() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 4096]);
    file.write_at(&[2; 20], 500).unwrap();
    file.write_at(&[3; 20], 500).unwrap();
    let choices = disk.choices();
    assert_eq!((choices.groups(), choices.count()), (1, 9));
    assert_eq!(images(&disk).len(), 9);
}

#[test]
fn a_sector_that_was_written_with_what_it_held_is_no_choice() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 4096]);
    file.write_at(&[1; 4096], 0).unwrap();
    assert_eq!(disk.choices().count(), 1);
    file.write_at(&[2; 10], 0).unwrap();
    file.write_at(&[1; 10], 0).unwrap();
    assert_eq!(disk.choices().count(), 2);
}

#[test]
fn names_lengths_and_pages_are_chosen_apart() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 100]);
    file.write_at(&[2; 100], 100).unwrap();
    disk.create_new(path("/b")).unwrap();
    disk.rename(path("/a"), path("/c")).unwrap();
    let choices = disk.choices();
    // Two changes of names, one length, one sector.
    assert_eq!((choices.groups(), choices.count()), (4, 16));
    // Where the length is lost, so are the bytes.
    assert_eq!(images(&disk).len(), 4 * 3);
}

#[test]
fn what_a_sampled_cut_leaves_is_one_of_all_choices() {
    let disk = data();
    disk.create_dir(path("/d")).unwrap();
    let file = durable(&disk, "/d/a", &[1; 600]);
    file.write_at(&[2; 100], 0).unwrap();
    disk.fail_next_sync(|_| true);
    assert!(file.sync_data().is_err());
    file.write_at(&[3; 100], 580).unwrap();
    disk.link(path("/d/a"), path("/d/b")).unwrap();
    disk.forget_changes(path("/d"));
    disk.rename(path("/d/b"), path("/d/c")).unwrap();
    let all = images(&disk);
    let sampled: BTreeSet<_> = cuts(&disk).map(|left| left.image()).collect();
    assert!(sampled.is_subset(&all));
    assert!(
        sampled.len() > all.len() / 2,
        "{} of {}",
        sampled.len(),
        all.len()
    );
}

#[test]
fn a_choice_is_all_lost_and_all_kept_where_it_says_so() {
    let disk = data();
    let file = durable(&disk, "/a", &[1; 5000]);
    file.write_at(&[2; 5000], 1000).unwrap();
    disk.create_new(path("/b")).unwrap();
    let choices = disk.choices();
    let image = |picks| choices.cut(&picks).image();
    assert_eq!(image(choices.kept()), disk.image());
    assert_eq!(
        image(choices.lost()),
        disk.preview_cut(Cut::AllLost).image()
    );
    let mut picks = choices.kept();
    for group in 0..choices.groups() {
        assert!(!choices.is_lost(group, &picks));
        choices.lose(group, &mut picks);
        assert!(choices.is_lost(group, &picks));
    }
    assert_eq!(picks, choices.lost());
    for group in 0..choices.groups() {
        choices.keep(group, &mut picks);
    }
    assert_eq!(image(picks), disk.image());
}

#[test]
fn what_a_failed_sync_forgot_may_be_found_and_is_not_kept() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    disk.fail_next_sync(|_| true);
    assert!(file.sync_data().is_err());
    file.sync_data().unwrap();
    let choices = disk.choices();
    assert_eq!(choices.count(), 2);
    assert_eq!(read(&choices.cut(&choices.kept()), "/a"), b"old");
    assert_eq!(read(&choices.cut(&choices.nth(1)), "/a"), b"new");
}

#[test]
fn a_choice_is_told_by_what_it_keeps() {
    let disk = data();
    disk.create_dir(path("/d")).unwrap();
    let file = durable(&disk, "/d/a", &[1; 100]);
    file.write_at(&[2; 5000], 100).unwrap();
    disk.rename(path("/d/a"), path("/d/b")).unwrap();
    let choices = disk.choices();
    assert_eq!(choices.tell(&choices.lost()), "");
    let told = choices.tell(&choices.kept());
    assert!(told.contains("/d is there, a folder"), "{told}");
    assert!(told.contains("/d/a is gone, /d/b is there"), "{told}");
    assert!(told.contains("/d/b has 5100 bytes and not 100"), "{told}");
    assert!(told.contains("/d/b, page 1, sectors 0: 1 of 1"), "{told}");
}

#[test]
fn an_image_changes_with_each_bit_name_and_length_and_with_nothing_else() {
    let disk = data();
    let file = durable(&disk, "/a", &[7; 5000]);
    let mut seen = BTreeSet::from([disk.image()]);
    file.write_at(&[7], 4999).unwrap();
    file.allocate(0, 100).unwrap();
    disk.sync_dir(path("/")).unwrap();
    assert!(seen.contains(&disk.image()));
    file.write_at(&[6], 4999).unwrap();
    assert!(seen.insert(disk.image()));
    file.set_len(4999).unwrap();
    assert!(seen.insert(disk.image()));
    disk.rename(path("/a"), path("/b")).unwrap();
    assert!(seen.insert(disk.image()));
    // A page of zeros is as good as none.
    file.set_len(9000).unwrap();
    let hole = disk.image();
    assert!(seen.insert(hole));
    file.write_at(&[0; 4000], 5000).unwrap();
    assert_eq!(disk.image(), hole);
    disk.create_dir(path("/d")).unwrap();
    assert!(seen.insert(disk.image()));
}

#[test]
fn a_disk_goes_on_apart_from_what_its_choices_hold() {
    let disk = data();
    let file = durable(&disk, "/a", b"old");
    file.write_at(b"new", 0).unwrap();
    let choices = disk.choices();
    file.write_at(b"other", 0).unwrap();
    file.sync_data().unwrap();
    let left = choices.cut(&choices.kept());
    left.open(path("/a"), Access::ReadWrite)
        .unwrap()
        .write_at(b"!", 0)
        .unwrap();
    assert_eq!(read(&choices.cut(&choices.kept()), "/a"), b"new");
    assert_eq!(read(&disk, "/a"), b"other");
}
