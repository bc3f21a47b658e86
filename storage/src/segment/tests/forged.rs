//! Payloads made of heads that promise long frames: what looking behind damage costs.
//!
//! Each such head once had its whole frame put through the checksum before it was known to be none,
//! so that one damaged record of heads cost its length times the rest of the segment: 45 TB of
//! checksums for one that fills a segment of 64 MiB, before the log could be opened.

use super::{
    image::{Image, latched, scan_file},
    *,
};
use crate::{
    crc::summed,
    segment::{
        FrameHead, MIN_RECORD, check_frame,
        frame::padded,
        next_good,
        resync::{Found, Resync, Wanted},
    },
    varint,
};

const USUAL: &str = "a record of the usual kind";

/// Where a payload of `len` bytes begins in its frame when it is the only record of it.
fn begins(len: usize) -> usize {
    48 + varint::len(len as u64) + varint::len(0)
}

/// Puts a head at the start of `bytes` with which a frame of `total` bytes could begin, and whose
/// checksum is wrong. If there is room for it, another one begins within it.
fn forge(bytes: &mut [u8], base: u64, total: usize, two: bool) {
    let head = |total: usize| {
        let mut head: [u8; 48] = *numbered(base, 1).bytes.first_chunk().unwrap();
        head[4..8].copy_from_slice(&((total - 48) as u32).to_le_bytes());
        head[8..16].fill(0xee);
        head
    };
    bytes[..48].copy_from_slice(&head(total));
    if two {
        // Its marker and length are the other's checksum, its base the other's count, and so on.
        bytes[8..16].copy_from_slice(&head(total - 8)[..8]);
        bytes[24..28].copy_from_slice(&(base as u32).to_le_bytes());
        bytes[32..40].copy_from_slice(&1u64.to_le_bytes());
    }
}

/// A payload of `len` bytes that is full of heads which all promise to go on to the `end`th byte
/// from its first.
fn heads(base: u64, len: usize, end: usize, two: bool) -> Vec<u8> {
    let mut payload = vec![0; len];
    let each = if two { 56 } else { 48 };
    // At multiples of 8 in the file.
    let first = begins(len).next_multiple_of(8) - begins(len);
    for at in (first..=len - each).step_by(each) {
        forge(&mut payload[at..], base, end - at, two);
    }
    payload
}

/// A frame of `len` bytes of heads that go on to the end of the segment, and real frames behind it.
fn forged(len: usize, behind: u64, two: bool) -> Image {
    let mut image = Image::counted(0, &[1]);
    let end = padded(begins(len) - 48 + len) - begins(len);
    let end = end + behind as usize * padded(USUAL.len() + 2);
    image.payload(heads(2, len, end, two));
    for _ in 0..behind {
        image.payload(USUAL);
    }
    image
}

#[test]
fn a_search_behind_damage_sums_a_small_multiple_of_what_it_passes() {
    for two in [false, true] {
        for (len, behind) in [(20_000, 2_000), (100_000, 0), (100_000, 3)] {
            let mut image = forged(len, behind, two);
            image.damage(1, 0);
            let (seen, bytes) = summed::by(|| scan_file(&latched(&image.bytes)));
            let ranges = [(0, 1), (2, 2 + behind)];
            assert_eq!(seen.ranges(), ranges[..1 + usize::from(behind > 0)]);
            let total = image.bytes.len() as u64;
            assert!(bytes <= 8 * total, "{bytes} bytes were summed of {total}");
        }
    }
}

#[test]
fn the_heads_are_such_that_each_has_to_be_looked_at() {
    for two in [false, true] {
        let image = forged(20_000, 3, two);
        let heads = (0..image.bytes.len() - 48).step_by(8).filter_map(|at| {
            let head = FrameHead::parse(&image.bytes[at..])?;
            (head.base == Offset(2) && at + head.total_len() == image.bytes.len()).then_some(at)
        });
        let each = if two { 28 } else { 48 };
        assert!(heads.count() >= 20_000 / each - 2);
    }
}

#[test]
fn many_damaged_frames_of_heads_cost_no_more_than_one() {
    // Each is damaged, and a good frame stands behind each, so that the search begins anew.
    let mut image = Image::counted(0, &[1]);
    let total = 100 * (padded(begins(2_000) - 48 + 2_000) + padded(USUAL.len() + 2));
    let before = image.bytes.len();
    for nth in 0..100 {
        let from = image.bytes.len() - before + begins(2_000);
        image.payload(heads(2 * nth + 2, 2_000, total - from, false));
        image.payload(USUAL);
    }
    for nth in 0..100 {
        image.damage(1 + 2 * nth, 0);
    }
    let (seen, bytes) = summed::by(|| scan_file(&latched(&image.bytes)));
    let mut ranges = vec![(0, 1)];
    ranges.extend((0..100).map(|nth| (2 * nth + 2, 2 * nth + 3)));
    assert_eq!(seen.ranges(), ranges);
    let total = image.bytes.len() as u64;
    assert!(bytes <= 8 * total, "{bytes} bytes were summed of {total}");
}

#[test]
fn a_reader_that_looks_behind_damage_sums_a_small_multiple_too() {
    let mut image = forged(100_000, 3, true);
    image.damage(1, 0);
    let (from, end) = (image.starts[1] as u64, image.bytes.len() as u64);
    let file = latched(&image.bytes);
    let (found, bytes) = summed::by(|| next_good(&file, SALT, from, end, Offset(1)));
    let (at, head) = found.unwrap().unwrap();
    assert_eq!((at as usize, head.base), (image.starts[2], Offset(2)));
    assert!(bytes <= 8 * end, "{bytes} bytes were summed of {end}");
}

#[test]
fn a_head_of_a_great_length_that_is_the_real_one_is_found_behind_a_thousand_made_up_ones() {
    // What claims that the damaged record was durable must not be lost among them.
    let mut image = Image::counted(0, &[1]);
    image.payload(heads(2, 48_000, 400_000, true));
    image.payload(vec![0x55; 400_000]);
    image.damage(1, 0);
    let seen = image.scan();
    assert_eq!(seen.ranges(), [(0, 1), (2, 3)]);
    assert_eq!(seen.scan.max_claim, Offset(2));
}

/// What the search has to find, each place looked at by itself.
fn by_hand(bytes: &[u8], from: usize, expected: u64) -> Option<(u64, FrameHead)> {
    let whole = |at: usize| {
        let head = check_frame(bytes.get(at..)?, SALT).ok()?;
        let between = ((at - from) / MIN_RECORD) as u64;
        let (base, behind) = (head.base.0, at > from);
        let fits = base >= expected && (!behind || base > expected && base - expected <= between);
        fits.then_some((at as u64, head))
    };
    let bad = FrameHead::parse(&bytes[from..]).filter(|head| head.base.0 == expected);
    let pointed = bad
        .and_then(|bad| whole(from + bad.total_len()).filter(|(_, head)| head.base == bad.end()));
    let places = (from..bytes.len()).step_by(8);
    whole(from)
        .or(pointed)
        .or_else(|| places.clone().find_map(whole))
}

proptest! {
    #[test]
    fn whichever_way_frames_are_checked_the_same_one_is_found(
        payloads in prop::collection::vec((0usize..600, any::<bool>(), any::<u8>()), 2..9),
        copies in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>()), 0..4),
        damage in prop::collection::vec(any::<prop::sample::Index>(), 0..6),
        from in any::<prop::sample::Index>(),
    ) {
        let mut image = Image::counted(0, &[1]);
        for (len, forge, fill) in payloads {
            let base = image.end().0 + 1;
            image.payload(if forge { heads(base, len + 60, 2_000, false) } else { vec![fill; len] });
        }
        for (frame, at) in copies {
            // A copy of a whole frame somewhere else, as a payload may hold one.
            let copy = frame.get(&image.frames).bytes.clone();
            let at = at.index(image.bytes.len()) / 8 * 8;
            let len = copy.len().min(image.bytes.len() - at);
            image.bytes[at..at + len].copy_from_slice(&copy[..len]);
        }
        for at in damage {
            let at = at.index(image.bytes.len());
            image.bytes[at] ^= 0x10;
        }
        let nth = from.index(image.starts.len());
        let (from, expected) = (image.starts[nth], image.frames[nth].base);
        let file = latched(&image.bytes);
        let look = |resync: Resync<'_>| {
            let wanted = Wanted { from: from as u64, expected: Some(expected) };
            match { resync }.find(&wanted).unwrap() {
                Found::Frame(at, head) => Some((at, head)),
                Found::Nothing { .. } => None,
            }
        };
        let resync = || Resync::new(&file, SALT, from as u64, image.bytes.len() as u64);
        let hand = by_hand(&image.bytes, from, expected.0);
        prop_assert_eq!(look(resync()), hand);
        prop_assert_eq!(look(resync().by_sums_alone()), hand);
    }
}
