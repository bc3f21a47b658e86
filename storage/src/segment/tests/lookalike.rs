//! Payloads that hold frames. They are not found by a search for the next good frame, or what is
//! found in them is what was appended.

use super::{image::Image, *};
use crate::segment::Latched;

/// Pads `frame` so that it lies at a multiple of 8 when it is the payload of a frame of its own.
fn as_payload(frame: &[u8]) -> Vec<u8> {
    // Head of 48, then a length of two bytes and a delta of one.
    let mut payload = vec![0; 5];
    payload.extend_from_slice(frame);
    payload.resize(payload.len().max(200), 0);
    assert!(payload.len() < 1 << 14);
    payload
}

fn aligned(image: &Image, nth: usize, frame: &[u8]) -> bool {
    let bytes = &image.frames[nth].bytes;
    let at = bytes.windows(frame.len()).position(|part| part == frame);
    at.is_some_and(|at| at.is_multiple_of(8))
}

#[test]
fn a_whole_segment_stored_as_a_record_is_not_taken_for_the_tail() {
    let mut other = Image::counted(0, &[2, 2, 2]);
    // What lies in a segment of another salt.
    for (frame, start) in other.frames.clone().iter().zip(other.starts.clone()) {
        let sealed = frame.resealed(&FrameSeal {
            salt: SALT ^ 1,
            ..seal_at(frame.base.0 + 2)
        });
        other.bytes[start..start + sealed.bytes.len()].copy_from_slice(&sealed.bytes);
    }
    let mut image = Image::counted(0, &[1]);
    image.payload(as_payload(&other.bytes)).payload("behind");
    assert!(aligned(&image, 1, &other.bytes));
    let seen = image.damage(1, 0).scan();
    assert_eq!(seen.ranges(), [(0, 1), (2, 3)]);
}

#[test]
fn a_copy_of_an_earlier_frame_of_this_segment_is_not_taken_for_a_later_one() {
    let mut image = Image::counted(10, &[2, 1]);
    for copied in [0, 1] {
        let copy = image.frames[copied].bytes.clone();
        image.payload(as_payload(&copy));
        assert!(aligned(&image, 2 + copied, &copy));
    }
    image.payload("behind");
    let seen = image.damage(2, 0).damage(3, 20).scan();
    assert_eq!(seen.ranges(), [(10, 13), (15, 16)]);
    assert_eq!(seen.scan.runs[1].start, image.starts[4] as u64);
}

#[test]
fn a_torn_last_frame_that_holds_earlier_frames_stays_a_tear() {
    let mut image = Image::counted(10, &[2, 1, 3]);
    let all = image.bytes[128..].to_vec();
    image.payload(as_payload(&all));
    assert!(aligned(&image, 3, &all));
    image.damage(3, 1).zeros(4096);
    let seen = image.scan();
    assert_eq!(seen.ranges(), [(10, 16)]);
    assert_eq!(seen.scan.max_claim, Offset(13));
}

#[test]
fn a_copy_of_a_frame_that_is_damaged_itself_holds_what_was_appended() {
    // Three frames in a row are damaged; the third holds an unharmed copy of the second.
    let mut image = Image::counted(0, &[1, 1, 2]);
    let copy = image.frames[2].bytes.clone();
    image.payload(as_payload(&copy)).payload("behind");
    let records: Vec<_> = image.frames.iter().flat_map(read_all).collect();
    let seen = image.damage(1, 0).damage(2, 0).damage(3, 0).scan();
    assert_eq!(seen.ranges(), [(0, 1), (2, 4), (5, 6)]);
    let read = seen.records();
    assert!(read.iter().all(|read| records.contains(read)));
}

#[test]
fn a_copy_of_the_first_damaged_frame_is_not_taken_for_one_behind_it() {
    let mut image = Image::counted(0, &[1, 2]);
    let copy = image.frames[1].bytes.clone();
    image.payload(as_payload(&copy)).payload("behind");
    let seen = image.damage(1, 0).damage(2, 0).scan();
    assert_eq!(seen.ranges(), [(0, 1), (4, 5)]);
}

#[test]
fn a_made_up_frame_with_an_impossible_offset_is_refused() {
    let mut image = Image::counted(10, &[2]);
    // The salt is right, as if somebody had read it from the header.
    let far = numbered(1 << 40, 2);
    image.payload(as_payload(&far.bytes)).payload("behind");
    assert!(aligned(&image, 1, &far.bytes));
    let seen = image.damage(1, 0).scan();
    assert_eq!(seen.ranges(), [(10, 12), (13, 14)]);
    assert_eq!(seen.scan.max_claim, Offset(13));
}

#[test]
fn where_only_the_body_is_damaged_nothing_inside_it_is_looked_at() {
    let mut image = Image::counted(10, &[2]);
    // A made-up frame whose offset would be possible.
    let made_up = numbered(13, 5);
    image.payload(as_payload(&made_up.bytes)).payload("behind");
    assert!(aligned(&image, 1, &made_up.bytes));
    let len = image.frames[1].bytes.len();
    let seen = image.damage(1, len - 9).scan();
    assert_eq!(seen.ranges(), [(10, 12), (13, 14)]);
    assert_eq!(seen.records()[2].payload, "behind");
}

#[test]
fn a_payload_full_of_heads_is_searched_to_its_end() {
    let mut image = Image::counted(0, &[1]);
    let mut heads = Vec::new();
    for nth in 0..200u64 {
        let mut head = numbered(2, 1).bytes[..48].to_vec();
        head[4..8].copy_from_slice(&(40 * nth as u32 + 8).to_le_bytes());
        heads.extend_from_slice(&head);
    }
    image.payload(as_payload(&heads)).payload("behind");
    let file: Latched = super::image::latched(&image.damage(1, 0).bytes);
    let found = crate::segment::next_good(
        &file,
        SALT,
        image.starts[1] as u64,
        image.bytes.len() as u64,
        Offset(1),
    );
    let (at, head) = found.unwrap().unwrap();
    assert_eq!((at as usize, head.base), (image.starts[2], Offset(2)));
}
