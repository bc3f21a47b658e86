use super::{
    image::{Image, expect, file_of, latched, scan_bytes, scan_file},
    *,
};
use crate::{
    StorageError,
    segment::{FRAME_HEAD, HeaderState, MAX_BODY, Run, scan as scan_segment},
};

#[test]
fn a_whole_tail_is_one_run() {
    let mut image = Image::counted(1000, &[1, 3, 2]);
    let seen = image.zeros(4096).scan();
    assert_eq!(seen.scan.header, HeaderState::Valid(image.header.clone()));
    let run = Run {
        base: Offset(1000),
        end: Offset(1006),
        start: 128,
        end_byte: image.data_end() as u64,
    };
    assert_eq!(seen.scan.runs, [run]);
    assert_eq!(seen.scan.max_claim, Offset(1004));
    assert_eq!(seen.scan.last_ts, 1000 + 1005);
    assert!(!seen.scan.nonzero_after);
    assert_eq!(seen.scan.footer, None);
    let want: Vec<_> = image.frames.iter().flat_map(read_all).collect();
    assert_eq!(seen.records(), want);
    let places: Vec<_> = seen
        .frames
        .iter()
        .map(|(_, pos, _)| *pos as usize)
        .collect();
    assert_eq!(places, image.starts);
}

#[test]
fn a_preallocated_segment_that_nothing_was_written_to_is_blank() {
    let seen = scan_bytes(&[0; 70_000]);
    assert_eq!(seen.scan.header, HeaderState::Blank);
    assert!(seen.scan.runs.is_empty() && !seen.scan.nonzero_after);
    let seen = scan_bytes(&[0; 127]);
    assert_eq!(seen.scan.header, HeaderState::Missing);
    assert!(seen.scan.runs.is_empty() && !seen.scan.nonzero_after);
    assert_eq!(scan_bytes(&[]).scan.header, HeaderState::Missing);
}

#[test]
fn behind_a_bad_frame_the_later_ones_and_their_claims_are_found() {
    // In the marker, the length, the checksum, the base, the count, and the records.
    for at in [0, 5, 9, 16, 24, 50] {
        let mut image = Image::counted(0, &[2, 3, 2, 2]);
        image.damage(1, at).zeros(512);
        let seen = image.scan();
        assert_eq!(seen.ranges(), [(0, 2), (5, 9)], "damage at {at}");
        assert_eq!(seen.scan.max_claim, Offset(7));
        assert_eq!(seen.scan.runs[1].start, image.starts[2] as u64);
        assert_eq!(seen.scan.last_ts, 1008);
        assert!(!seen.scan.nonzero_after);
    }
}

#[test]
fn a_torn_last_frame_is_seen_but_not_part_of_a_run() {
    let whole = Image::counted(0, &[2, 2]);
    for lost in 8..whole.frames[1].bytes.len() {
        let mut image = whole.clone();
        image.bytes.truncate(whole.bytes.len() - lost);
        image.zeros(lost + 4096);
        let seen = image.scan();
        assert_eq!(seen.ranges(), [(0, 2)], "{lost} bytes lost");
        assert!(seen.scan.nonzero_after);
    }
}

#[test]
fn a_lost_page_takes_its_frames_and_no_others() {
    let mut image = Image::new(0);
    for _ in 0..300 {
        image.payload(vec![7; 60]);
    }
    image.bytes[4096..8192].fill(0);
    let seen = image.scan();
    let lost = |nth: usize| image.starts[nth] < 8192 && image.starts[nth] + 112 > 4096;
    let first = (0..300).find(|nth| lost(*nth)).unwrap() as u64;
    let last = (0..300).rfind(|nth| lost(*nth)).unwrap() as u64;
    assert_eq!(seen.ranges(), [(0, first), (last + 1, 300)]);
}

#[test]
fn frames_count_even_where_the_header_is_lost() {
    for (at, state) in [(0, "begin like"), (60, "checksum")] {
        let mut image = Image::counted(5, &[2, 2]);
        image.bytes[at] ^= 1;
        let seen = image.scan();
        let HeaderState::Damaged(what) = &seen.scan.header else {
            panic!("{:?}", seen.scan.header)
        };
        assert!(what.contains(state), "{what}");
        assert_eq!(seen.ranges(), [(5, 9)]);
    }
    let mut image = Image::counted(5, &[2, 2]);
    image.bytes[..128].fill(0);
    let seen = image.scan();
    assert_eq!(seen.scan.header, HeaderState::Blank);
    assert_eq!(seen.ranges(), [(5, 9)]);
}

#[test]
fn the_header_of_another_segment_is_damage() {
    let image = Image::counted(5, &[2]);
    let other = |change: fn(&mut crate::segment::SegmentHeader)| {
        let mut header = image.header.clone();
        change(&mut header);
        let mut bytes = image.bytes.clone();
        bytes[..128].copy_from_slice(&header.encode());
        match scan_bytes(&bytes).scan.header {
            HeaderState::Damaged(what) => what,
            state => panic!("{state:?}"),
        }
    };
    assert!(other(|h| h.log = crate::LogId::generate()).contains("log"));
    assert!(other(|h| h.stream = crate::StreamId::generate()).contains("stream"));
    assert!(other(|h| h.segment.0 += 1).contains("segment 4"));
    assert!(other(|h| h.salt += 1).contains("salt"));
}

#[test]
fn a_segment_of_a_newer_version_is_refused_and_not_called_damaged() {
    let mut bytes = Image::counted(5, &[2]).bytes;
    bytes[8] = 9;
    let crc = crate::crc::crc64(&[&bytes[..120]]);
    bytes[120..128].copy_from_slice(&crc.to_le_bytes());
    let refused = scan_segment(&latched(&bytes), &expect(), 128, &mut |_, _, _| ());
    assert!(
        matches!(
            refused,
            Err(StorageError::NewerVersion {
                found: 9,
                supported: 1,
                ..
            })
        ),
        "{refused:?}"
    );
}

#[test]
fn stale_frames_of_another_salt_never_count() {
    let mut image = Image::counted(0, &[2, 2]);
    let stale = numbered(4, 2).resealed(&FrameSeal {
        salt: SALT ^ 9,
        ..seal_at(4)
    });
    image.bytes.extend_from_slice(&stale.bytes);
    let seen = image.scan();
    assert_eq!(seen.ranges(), [(0, 4)]);
    assert!(seen.scan.nonzero_after);
}

#[test]
fn a_footer_without_the_manifests_word_is_found_and_is_tail() {
    let mut image = Image::counted(7, &[2, 2]);
    let footer = image.footer();
    let seen = image.seal().scan();
    assert_eq!(seen.scan.footer, Some(footer.clone()));
    assert_eq!(
        seen.scan.max_claim,
        Offset(11),
        "the footer's watermark is a claim"
    );
    assert!(!seen.scan.nonzero_after);

    // Not cut to its length yet when the power went.
    let seen = image.zeros(70_000).scan();
    assert_eq!(seen.scan.footer, Some(footer.clone()));
    assert!(!seen.scan.nonzero_after);

    // And with something behind it that nobody wrote.
    *image.bytes.last_mut().unwrap() = 1;
    let seen = image.scan();
    assert_eq!(seen.scan.footer, Some(footer));
    assert!(seen.scan.nonzero_after);
}

#[test]
fn a_footer_claims_what_is_damaged_before_it() {
    let mut image = Image::counted(0, &[2, 2]);
    image.seal().damage(1, 50);
    let seen = image.scan();
    assert_eq!(seen.ranges(), [(0, 2)]);
    assert_eq!(seen.scan.max_claim, Offset(4));
    assert!(seen.scan.footer.is_some() && seen.scan.nonzero_after);
}

#[test]
fn a_footer_of_another_segment_claims_nothing() {
    let mut image = Image::counted(0, &[2]);
    let mut footer = image.footer();
    footer.segment.0 += 1;
    image.bytes.extend_from_slice(&footer.encode(SALT));
    let seen = image.scan();
    assert_eq!((seen.scan.footer, seen.scan.max_claim), (None, Offset(0)));
    assert!(seen.scan.nonzero_after);
}

#[test]
fn a_scan_may_begin_at_any_frame() {
    let image = Image::counted(10, &[2, 3, 4]);
    let mut places = Vec::new();
    let from = image.starts[1] as u64;
    let scan = scan_segment(&latched(&image.bytes), &expect(), from, &mut |_, pos, _| {
        places.push(pos as usize);
    });
    assert_eq!(places, image.starts[1..]);
    let run = scan.unwrap().runs[0];
    assert_eq!(
        (run.base, run.end, run.start),
        (Offset(12), Offset(19), from)
    );
}

#[test]
fn frames_longer_than_a_read_and_across_its_border_are_whole() {
    let mut image = Image::new(0);
    for len in [900_000, 300_000, 3 << 20, 10, 1 << 20, 5] {
        image.payload(vec![len as u8; len]);
    }
    let seen = image.zeros(100).scan();
    assert_eq!(seen.ranges(), [(0, 6)]);
    assert_eq!(seen.frames.len(), 6);
    // Damage in the long one leaves the others; its own head may be lost too.
    for at in [2 << 20, 0] {
        let mut image = image.clone();
        let seen = image.damage(2, at).scan();
        assert_eq!(seen.ranges(), [(0, 2), (3, 6)]);
    }
}

#[test]
fn a_great_length_in_a_damaged_head_allocates_nothing() {
    let mut image = Image::counted(0, &[1, 1]);
    image.zeros(8 << 20);
    let body = (7u32 << 20).to_le_bytes();
    let at = image.starts[1] + 4;
    image.bytes[at..at + 4].copy_from_slice(&body);
    let (file, latched) = file_of(&image.bytes);
    assert_eq!(scan_file(&latched).ranges(), [(0, 1)]);
    assert!(file.longest_read() <= 1 << 20, "{}", file.longest_read());

    // Beyond the file, up to the cap and beyond the cap.
    for body in [9 << 20, MAX_BODY as u32, u32::MAX] {
        image.bytes[at..at + 4].copy_from_slice(&body.to_le_bytes());
        let (file, latched) = file_of(&image.bytes);
        assert_eq!(scan_file(&latched).ranges(), [(0, 1)]);
        assert!(file.longest_read() <= 1 << 20);
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_noticed_and_changes_no_record() {
    let mut image = Image::counted(3, &[1, 2, 1]);
    let whole = image.seal().scan();
    let records = whole.records();
    for bit in 0..image.bytes.len() * 8 {
        let mut bytes = image.bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let seen = scan_bytes(&bytes);
        assert_ne!(seen.scan, whole.scan, "bit {bit}");
        assert!(
            seen.records().iter().all(|record| records.contains(record)),
            "bit {bit}"
        );
        let lost = records.len() - seen.records().len();
        assert!(lost <= 2, "one frame at most: bit {bit}");
    }
}

#[test]
fn every_cut_of_a_sealed_segment_is_noticed_and_leaves_a_prefix() {
    let mut image = Image::counted(3, &[1, 2, 1]);
    let whole = image.seal().scan();
    let records = whole.records();
    for len in 0..image.bytes.len() {
        let seen = scan_bytes(&image.bytes[..len]);
        assert_ne!(seen.scan, whole.scan, "{len} bytes");
        assert!(records.starts_with(&seen.records()), "{len} bytes");
        let frames = image.starts.iter().zip(&image.frames);
        let kept = frames
            .filter(|(start, frame)| *start + frame.bytes.len() <= len)
            .count();
        assert_eq!(seen.frames.len(), kept, "{len} bytes");
    }
}

#[derive(Debug, Clone)]
enum Harm {
    Noise(Vec<u8>),
    Zeros(usize),
    Copy(prop::sample::Index, usize),
    Cut,
}

fn any_harm() -> impl Strategy<Value = (prop::sample::Index, Harm)> {
    let harm = prop_oneof![
        prop::collection::vec(any::<u8>(), 1..40).prop_map(Harm::Noise),
        (1usize..300).prop_map(Harm::Zeros),
        (any::<prop::sample::Index>(), 1usize..300).prop_map(|(from, len)| Harm::Copy(from, len)),
        Just(Harm::Cut),
    ];
    (any::<prop::sample::Index>(), harm)
}

fn harmed(bytes: &mut Vec<u8>, at: usize, harm: &Harm) {
    let new = match harm {
        Harm::Noise(noise) => noise.clone(),
        Harm::Zeros(len) => vec![0; *len],
        Harm::Copy(from, len) => {
            // Whole blocks land in the wrong place, aligned as a disk would have it.
            let from = from.index(bytes.len()) & !7;
            bytes[from..bytes.len().min(from + len)].to_vec()
        }
        Harm::Cut => return bytes.truncate(at),
    };
    let at = if matches!(harm, Harm::Copy(..)) {
        at & !7
    } else {
        at
    };
    let len = new.len().min(bytes.len() - at);
    bytes[at..at + len].copy_from_slice(&new[..len]);
}

proptest! {
    #[test]
    fn whatever_happens_to_the_bytes_only_appended_records_are_read(
        counts in prop::collection::vec(1u64..6, 1..12),
        seal: bool,
        harms in prop::collection::vec(any_harm(), 1..4),
    ) {
        let mut image = Image::counted(50, &counts);
        if seal { image.seal() } else { image.zeros(300) };
        let records = image.scan().records();
        let mut bytes = image.bytes.clone();
        for (at, harm) in &harms {
            if !bytes.is_empty() {
                let at = at.index(bytes.len());
                harmed(&mut bytes, at, harm);
            }
        }
        let seen = scan_bytes(&bytes);
        for record in seen.records() {
            prop_assert_eq!(&record, &records[(record.offset.0 - 50) as usize]);
        }
        for pair in seen.scan.runs.windows(2) {
            prop_assert!(pair[0].end <= pair[1].base && pair[0].end_byte <= pair[1].start);
        }
        prop_assert!(seen.scan.max_claim <= image.end());
    }

    #[test]
    fn noise_is_scanned_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        let mut bytes = bytes;
        let seen = scan_bytes(&bytes);
        prop_assert!(seen.scan.runs.is_empty());
        // And with heads strewn in.
        for chunk in bytes.chunks_mut(FRAME_HEAD) {
            if let Some(marker) = chunk.first_chunk_mut() {
                *marker = *b"TLFR";
            }
        }
        prop_assert!(scan_bytes(&bytes).scan.runs.is_empty());
    }
}
