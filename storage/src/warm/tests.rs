//! Warm files: what they give back, and what is refused.

mod files;
mod pairs;
mod whole;

use proptest::prelude::*;

use super::{index::IndexTail, *};
use crate::{
    Offset,
    error::StorageError,
    segment::{
        NewRecord,
        tests::{SALT, frame_of, image::Image, image::file_of, image::latched},
    },
};

/// Small enough for a segment of some kilobytes to have many.
const SMALL: usize = 600;

fn identity(image: &Image) -> WarmIdentity {
    let footer = image.footer();
    WarmIdentity {
        log: image.header.log,
        stream: image.header.stream,
        segment: image.header.segment,
        salt: SALT,
        facts: SealedFacts {
            base: footer.base,
            end: footer.end,
            data_end: footer.data_end,
            file_len: image.bytes.len() as u64,
            first_ts: footer.first_ts,
            last_ts: footer.last_ts,
            ext: footer.ext,
            digest: footer.digest,
            flush_failed: footer.flush_failed,
        },
    }
}

fn sealed(counts: &[u64]) -> Image {
    let mut image = Image::counted(7, counts);
    image.seal();
    image
}

fn options(frame: usize) -> WarmOptions {
    WarmOptions { level: 3, frame }
}

fn try_compress(image: &Image, frame: usize) -> Result<(Vec<u8>, Compressed), WarmFault> {
    let (mem, out) = file_of(&[]);
    let segment = latched(&image.bytes);
    let written = compress(
        &segment,
        &identity(image),
        &options(frame),
        &out,
        &mut |_| true,
    )?;
    compare(&segment, &out, &identity(image), &written, &mut |_| true)?;
    let mut bytes = vec![0; written.file_len as usize];
    crate::disk::DiskFile::read_at(&*mem, &mut bytes, 0).unwrap();
    Ok((bytes, written))
}

fn warm(image: &Image, frame: usize) -> Vec<u8> {
    try_compress(image, frame).unwrap().0
}

fn restored(bytes: &[u8], identity: &WarmIdentity) -> Result<Vec<u8>, WarmFault> {
    let file = latched(bytes);
    let index = read_index(&file, bytes.len() as u64, identity)?;
    let mut out = Vec::new();
    restore(&file, &index, &mut |pos, plain| {
        assert_eq!(pos, out.len() as u64, "in order");
        out.extend_from_slice(plain);
        Ok(())
    })?;
    Ok(out)
}

#[test]
fn what_comes_back_is_the_segment_byte_for_byte() {
    for counts in [&[1][..], &[3, 1, 40, 2, 90], &[5; 60]] {
        let image = sealed(counts);
        for frame in [1, SMALL, WARM_FRAME] {
            let bytes = warm(&image, frame);
            assert_eq!(restored(&bytes, &identity(&image)).unwrap(), image.bytes);
        }
    }
}

#[test]
fn a_frame_larger_than_a_piece_stays_whole() {
    let mut image = Image::counted(7, &[2]);
    image.payload(vec![9; 3 * SMALL]).payload("behind").seal();
    let bytes = warm(&image, SMALL);
    let index = read_index(&latched(&bytes), bytes.len() as u64, &identity(&image)).unwrap();
    let starts: Vec<_> = index.frames().iter().map(|f| f.plain_pos).collect();
    for start in &starts[1..starts.len() - 1] {
        assert!(image.starts.contains(&(*start as usize)), "cut at borders");
    }
    assert_eq!(restored(&bytes, &identity(&image)).unwrap(), image.bytes);
}

#[test]
fn each_frame_tells_where_it_begins_and_is_decoded_alone() {
    let image = sealed(&[4; 50]);
    let bytes = warm(&image, SMALL);
    let file = latched(&bytes);
    let index = read_index(&file, bytes.len() as u64, &identity(&image)).unwrap();
    assert!(index.frames().len() > 5, "many pieces");
    for frame in image.frames.iter().zip(&image.starts) {
        let (frame, start) = (frame.0, *frame.1 as u64);
        let holds = index.at(start).expect("a piece");
        let plain = read_frame(&file, holds).unwrap();
        let at = (start - holds.plain_pos) as usize;
        assert_eq!(&plain[at..at + frame.bytes.len()], &frame.bytes[..]);
        assert!(holds.offset <= frame.base);
        assert!(holds.ts <= frame.first_ts);
    }
    assert_eq!(index.at(image.bytes.len() as u64), None);
    let footer = index.at(image.data_end() as u64).expect("the footer");
    assert_eq!(footer.offset, image.end());
}

#[test]
fn a_damaged_segment_is_never_compressed_as_a_shorter_one() {
    let whole = sealed(&[3; 12]);
    for nth in [0, 5, 11] {
        let mut image = whole.clone();
        image.damage(nth, 60);
        let fault = try_compress(&image, SMALL).unwrap_err();
        assert!(
            matches!(&fault, WarmFault::Disk(StorageError::Corrupt(damage))
                if damage.from == image.frames[nth].base),
            "{fault}"
        );
    }
    let mut other = whole.clone();
    other.bytes[100] ^= 1;
    try_compress(&other, SMALL).expect_err("its header");
    // Good frames, and not those that were sealed.
    let mut exchanged = Image::counted(7, &[3; 11]);
    exchanged.push(&frame_of(
        0,
        &[
            (1_040, NewRecord::from("another")),
            (1_041, NewRecord::from("tail")),
            (1_042, NewRecord::from("of the same length")),
        ],
    ));
    let mut id = identity(&whole);
    id.facts.data_end = exchanged.data_end() as u64;
    let fault = compress(
        &latched(&exchanged.bytes),
        &id,
        &options(SMALL),
        &latched(&[]),
        &mut |_| true,
    );
    assert!(matches!(fault, Err(WarmFault::Foreign(_))), "{fault:?}");
}

#[test]
fn every_flipped_bit_is_told_or_changes_nothing() {
    let image = sealed(&[6; 20]);
    let bytes = warm(&image, SMALL);
    let id = identity(&image);
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut flipped = bytes.clone();
            flipped[at] ^= 1 << bit;
            match restored(&flipped, &id) {
                Ok(plain) => panic!("byte {at}: told nothing; {} bytes", plain.len()),
                Err(WarmFault::Damaged(_) | WarmFault::Foreign(_)) => {}
                Err(other) => panic!("byte {at}: {other}"),
            }
        }
    }
}

#[test]
fn every_cut_and_every_addition_is_told() {
    let image = sealed(&[6; 20]);
    let bytes = warm(&image, SMALL);
    let id = identity(&image);
    for len in 0..bytes.len() {
        restored(&bytes[..len], &id).expect_err("it is cut short");
    }
    let mut longer = bytes;
    longer.push(0);
    restored(&longer, &id).expect_err("it is longer");
}

#[test]
fn a_file_of_another_segment_or_log_is_refused() {
    let image = sealed(&[2, 2]);
    let bytes = warm(&image, SMALL);
    let good = identity(&image);
    let mut others = [good; 5];
    others[0].log = crate::LogId::from_bytes([9; 16]);
    others[1].stream = crate::StreamId::from_bytes([9; 16]);
    others[2].segment = crate::SegmentNo(99);
    others[3].salt ^= 1;
    others[4].facts.digest ^= 1;
    for other in others {
        let fault = restored(&bytes, &other).unwrap_err();
        assert!(matches!(fault, WarmFault::Foreign(_)), "{fault}");
        let tail = WarmIndex::parse(&bytes, bytes.len() as u64, &other);
        assert!(matches!(tail, Err(WarmFault::Foreign(_))), "{tail:?}");
    }
}

#[test]
fn a_newer_version_is_told_from_damage() {
    let image = sealed(&[2]);
    let mut bytes = warm(&image, SMALL);
    bytes[16] = 2;
    let crc = crate::crc::crc64(&[&bytes[..HEAD_LEN - 8]]);
    bytes[HEAD_LEN - 8..HEAD_LEN].copy_from_slice(&crc.to_le_bytes());
    let fault = restored(&bytes, &identity(&image)).unwrap_err();
    assert!(matches!(fault, WarmFault::NewerVersion(2)), "{fault}");
}

/// The whole file of a hostile store can have right checksums: what it says of lengths is still held
/// against what the manifest says and against what is there.
#[test]
fn an_index_that_lies_about_lengths_is_refused_before_anything_is_decoded() {
    let image = sealed(&[6; 20]);
    let bytes = warm(&image, SMALL);
    let id = identity(&image);
    let head = WarmHead::of(&id);
    let index = read_index(&latched(&bytes), bytes.len() as u64, &id).unwrap();
    let lies: [fn(&mut WarmFrame); 6] = [
        |f| f.plain_len = u32::MAX,
        |f| f.plain_len += 1,
        |f| f.plain_pos += 1,
        |f| f.stored_len += 1,
        |f| f.offset = Offset(1 << 40),
        |f| f.stored_len = 0,
    ];
    let body = index
        .frames()
        .last()
        .map(|f| f.stored_pos + u64::from(f.stored_len));
    let body = &bytes[..body.unwrap() as usize];
    for lie in lies {
        let mut frames = index.frames().to_vec();
        lie(&mut frames[2]);
        let forged = [body, &WarmIndex::new(frames).encode(&head)].concat();
        let fault = restored(&forged, &id).unwrap_err();
        assert!(matches!(fault, WarmFault::Damaged(_)), "{fault}");
    }
}

/// A frame that decodes to gigabytes, with a right checksum of what is stored.
#[test]
fn a_bomb_is_refused_by_its_own_word_before_memory_is_spent() {
    let plain = vec![0; 8 << 20];
    let stored = zstd::bulk::compress(&plain, 3).unwrap();
    let frame = WarmFrame {
        stored_pos: 0,
        stored_len: stored.len() as u32,
        plain_pos: 0,
        plain_len: 1_000,
        offset: Offset(0),
        ts: 0,
        crc: crate::crc::crc64(&[&stored]),
    };
    let fault = decode(&stored, &frame).unwrap_err();
    assert!(matches!(fault, WarmFault::Damaged(_)), "{fault}");
    let too_much = WarmFrame {
        plain_len: u32::MAX,
        ..frame
    };
    decode(&stored, &too_much).expect_err("more than any frame holds");
    // Without a word about its length it is not decoded at all.
    let mut silent = zstd::bulk::Compressor::new(3).unwrap();
    silent.include_contentsize(false).unwrap();
    let stored = silent.compress(&plain[..1_000]).unwrap();
    let frame = WarmFrame {
        stored_len: stored.len() as u32,
        crc: crate::crc::crc64(&[&stored]),
        ..frame
    };
    decode(&stored, &frame).expect_err("its length is not said");
}

#[test]
fn the_index_is_found_from_any_long_enough_end_of_the_file() {
    let image = sealed(&[6; 20]);
    let bytes = warm(&image, SMALL);
    let (id, len) = (identity(&image), bytes.len() as u64);
    let whole = read_index(&latched(&bytes), len, &id).unwrap();
    let mut needed = None;
    for have in seek_table::FOOTER..bytes.len() {
        match WarmIndex::parse(&bytes[bytes.len() - have..], len, &id).unwrap() {
            IndexTail::Needs(more) => {
                assert!(more > have as u64);
                assert_eq!(*needed.get_or_insert(more), more);
            }
            IndexTail::Whole(index) => {
                assert!(needed.is_some_and(|needed| have as u64 >= needed));
                assert_eq!(index, whole);
            }
        }
    }
}

#[test]
fn a_copy_that_differs_is_noticed_before_it_counts() {
    let image = sealed(&[6; 20]);
    let (bytes, written) = try_compress(&image, SMALL).unwrap();
    let id = identity(&image);
    let segment = latched(&image.bytes);
    let mut flipped = bytes.clone();
    let middle = bytes.len() / 2;
    flipped[middle] ^= 4;
    compare(&segment, &latched(&flipped), &id, &written, &mut |_| true).expect_err("a flipped bit");
    let mut other = sealed(&[6; 20]);
    let at = other.bytes.len() - 200;
    other.bytes[at] ^= 1;
    compare(
        &latched(&other.bytes),
        &latched(&bytes),
        &id,
        &written,
        &mut |_| true,
    )
    .expect_err("the segment is another");
    let wrong = Compressed {
        crc: written.crc ^ 1,
        ..written
    };
    compare(&segment, &latched(&bytes), &id, &wrong, &mut |_| true).expect_err("another checksum");
}

proptest! {
    #[test]
    fn any_segment_round_trips(
        sizes in prop::collection::vec(0usize..900, 1..40), frame in 1usize..4_000, level in 1i32..6,
    ) {
        let mut image = Image::new(3);
        for (nth, size) in sizes.iter().enumerate() {
            image.payload(vec![nth as u8; *size]);
        }
        image.seal();
        let (_, out) = file_of(&[]);
        let (segment, id) = (latched(&image.bytes), identity(&image));
        let written = compress(&segment, &id, &WarmOptions { level, frame }, &out, &mut |_| true).unwrap();
        compare(&segment, &out, &id, &written, &mut |_| true).unwrap();
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in prop::collection::vec(any::<u8>(), 0..600)) {
        let id = identity(&sealed(&[2]));
        let _ = WarmHead::decode(&noise);
        let _ = WarmIndex::parse(&noise, noise.len() as u64, &id);
        prop_assert!(restored(&noise, &id).is_err());
    }
}

#[test]
fn a_head_round_trips() {
    let head = WarmHead::of(&identity(&sealed(&[2])));
    assert_eq!(WarmHead::decode(&head.encode()).unwrap(), head);
}
