use super::{
    image::{Image, file_of},
    *,
};
use crate::{
    LogId, SegmentNo,
    crc::crc64,
    disk::DiskFile,
    segment::{Digest, Footer, FooterError, IndexEntry, SparseIndex},
};

fn some_footer() -> Footer {
    let mut index = SparseIndex::default();
    index.note(Offset(1000), 128, 5);
    index.note(Offset(1100), 128 + 70_000, 6);
    Footer {
        log: LogId::from_bytes([0x11; 16]),
        segment: SegmentNo(3),
        base: Offset(1000),
        end: Offset(1200),
        data_end: 128 + 80_000,
        first_ts: 5,
        last_ts: 7,
        ext: Some((8, 9)),
        digest: 10,
        watermark: Offset(1150),
        flush_failed: true,
        index,
    }
}

#[test]
fn the_bytes_of_a_footer_are_those_of_the_diagram() {
    let mut bytes = Vec::new();
    for value in [1000u64, 128, 5, 1100, 128 + 70_000, 6] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    bytes.extend_from_slice(b"TLSEALD1");
    bytes.extend_from_slice(&[1, 0, 128, 0, 3, 0, 0, 0]);
    bytes.extend_from_slice(&[0x11; 16]);
    for value in [3u64, 1000, 1200, 128 + 80_000, 2, 5, 7, 8, 9, 10, 1150] {
        bytes.extend_from_slice(&value.to_le_bytes());
    }
    let crc = crc64(&[&SALT.to_le_bytes(), &bytes]);
    bytes.extend_from_slice(&crc.to_le_bytes());
    assert_eq!(some_footer().encode(SALT), bytes);
    assert_eq!(some_footer().encoded_len(), bytes.len() as u64);
}

#[test]
fn a_digest_tells_the_order_and_the_number_of_frames() {
    let of = |crcs: &[u64]| {
        let mut digest = Digest::new(7);
        crcs.iter().for_each(|crc| digest.push(*crc));
        digest.value()
    };
    assert_eq!(
        of(&[1, 2]),
        crc64(&[
            &7u64.to_le_bytes(),
            &1u64.to_le_bytes(),
            &2u64.to_le_bytes()
        ])
    );
    assert_ne!(of(&[1, 2]), of(&[2, 1]));
    assert_ne!(of(&[1, 2]), of(&[1]));
    assert_ne!(of(&[1, 2]), of(&[1, 2, 0]));
}

#[test]
fn a_footer_is_read_from_the_end_of_its_file() {
    let mut image = Image::counted(4, &[2, 3]);
    let footer = image.footer();
    let (file, _) = file_of(&image.seal().bytes);
    let len = file.len().unwrap();
    assert_eq!(Footer::read(&*file, len, SALT).unwrap(), footer);
    assert!(matches!(
        Footer::read(&*file, len, SALT ^ 1),
        Err(FooterError::Crc)
    ));
    assert!(matches!(
        Footer::read(&*file, len - 8, SALT),
        Err(FooterError::Magic)
    ));
    assert!(matches!(
        Footer::read(&*file, len + 8, SALT),
        Err(FooterError::TooShort)
    ));
    assert!(matches!(
        Footer::read(&*file, 100, SALT),
        Err(FooterError::TooShort)
    ));
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_footer_is_noticed() {
    let bytes = some_footer().encode(SALT);
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Footer::decode(&bytes, SALT).is_err(), "bit {bit}");
    }
    for len in 0..bytes.len() {
        assert!(Footer::decode(&bytes[..len], SALT).is_err(), "{len} bytes");
        assert!(
            Footer::decode(&bytes[bytes.len() - len..], SALT).is_err(),
            "last {len}"
        );
    }
}

/// The footer with the trailer's bytes at `at` changed and the checksum made right again.
fn forged(at: usize, field: &[u8]) -> Result<Footer, FooterError> {
    let mut bytes = some_footer().encode(SALT);
    bytes[48 + at..48 + at + field.len()].copy_from_slice(field);
    let end = bytes.len() - 8;
    let crc = crc64(&[&SALT.to_le_bytes(), &bytes[..end]]);
    bytes[end..].copy_from_slice(&crc.to_le_bytes());
    Footer::decode(&bytes, SALT)
}

#[test]
fn footers_that_contradict_themselves_are_refused() {
    assert!(forged(32, &[4]).is_ok());
    assert!(matches!(
        forged(8, &[2, 0]),
        Err(FooterError::NewerVersion(2))
    ));
    for (name, at, value) in [
        ("the version", 8, 0u64),
        ("the trailer's length", 10, 64),
        ("the flags", 12, 4),
        ("a base behind the end", 40, 2000),
        ("a base that the index has not", 40, 999),
        ("an end before its entries", 48, 1050),
        ("frames before the header", 56, 120),
        ("frames that end askew", 56, 128 + 79_999),
        ("frames beyond all files", 56, u64::MAX - 7),
        ("an entry behind the frames", 56, 128 + 70_000),
        ("more entries than bytes", 64, 3),
        ("more entries than frames", 64, u64::MAX),
        ("times that go back", 72, 8),
        ("entries later than the last record", 80, 5),
        ("ext_ids that go back", 88, 10),
        ("a claim beyond the end", 112, 1201),
    ] {
        let len = if at < 16 { 2 } else { 8 };
        let refused = forged(at, &value.to_le_bytes()[..len]);
        assert!(
            matches!(refused, Err(FooterError::Invalid(_))),
            "{name}: {refused:?}"
        );
    }
}

#[test]
fn an_index_out_of_order_is_refused() {
    for entries in [
        [(1000, 128, 5), (1000, 70_000, 6)],
        [(1000, 128, 5), (1001, 128, 6)],
        [(1000, 128, 5), (1001, 70_001, 6)],
        [(1000, 128, 5), (1001, 70_000, 4)],
        [(1000, 136, 5), (1001, 70_000, 6)],
    ] {
        let entries = entries.map(|(offset, pos, ts)| IndexEntry {
            offset: Offset(offset),
            pos,
            ts,
        });
        let footer = Footer {
            index: SparseIndex::of(entries.to_vec()),
            ..some_footer()
        };
        let read = Footer::decode(&footer.encode(SALT), SALT);
        assert!(matches!(read, Err(FooterError::Invalid(_))), "{entries:?}");
    }
}

#[test]
fn an_index_denser_than_any_writer_makes_is_refused() {
    let entries = (0..4).map(|nth| IndexEntry {
        offset: Offset(1000 + nth),
        pos: 128 + nth * 64,
        ts: 5,
    });
    let footer = Footer {
        index: SparseIndex::of(entries.collect()),
        data_end: 128 + 4096 * 2,
        ..some_footer()
    };
    let read = Footer::decode(&footer.encode(SALT), SALT);
    assert!(matches!(read, Err(FooterError::Invalid(_))), "{read:?}");
}

#[test]
fn an_index_length_beyond_the_file_allocates_nothing() {
    let mut image = Image::counted(4, &[2]);
    image.seal();
    let at = image.bytes.len() - 128 + 64;
    for entries in [2, 1 << 20, u64::MAX] {
        image.bytes[at..at + 8].copy_from_slice(&entries.to_le_bytes());
        let (file, _) = file_of(&image.bytes);
        let len = file.len().unwrap();
        assert!(matches!(
            Footer::read(&*file, len, SALT),
            Err(FooterError::Invalid(_))
        ));
        assert_eq!(file.longest_read(), 128);
    }
}

proptest! {
    #[test]
    fn footers_round_trip(
        log: [u8; 16], segment: u64, base in 0u64..1 << 60, digest: u64, flush_failed: bool, salt: u64,
        steps in prop::collection::vec((1u64..1000, 4096u64 / 8..20_000, 0u64..100), 0..40),
        ext in proptest::option::of((any::<u64>(), any::<u64>())), watermark in 0u64..1 << 60,
    ) {
        let (mut offset, mut pos, mut ts) = (base, 128, 77);
        let mut entries = Vec::new();
        for (records, words, time) in steps {
            entries.push(IndexEntry { offset: Offset(offset), pos, ts });
            offset += records;
            pos += words * 8;
            ts += time;
        }
        let footer = Footer {
            log: LogId::from_bytes(log),
            segment: SegmentNo(segment),
            base: Offset(base),
            end: Offset(offset),
            data_end: pos,
            first_ts: 77,
            last_ts: ts,
            ext: ext.map(|(a, b)| (a.min(b), a.max(b))),
            digest,
            watermark: Offset(watermark.min(offset)),
            flush_failed,
            index: SparseIndex::of(entries),
        };
        let bytes = footer.encode(salt);
        prop_assert_eq!(Footer::decode(&bytes, salt).unwrap(), footer);
    }

    #[test]
    fn any_bytes_are_a_footer_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..400), salt: u64) {
        prop_assert!(Footer::decode(&bytes, salt).is_err());
        let mut bytes = bytes;
        if let Some(at) = bytes.len().checked_sub(128) {
            bytes[at..at + 8].copy_from_slice(b"TLSEALD1");
            prop_assert!(Footer::decode(&bytes, salt).is_err());
        }
    }
}

#[test]
fn trailers_that_are_made_up_cost_one_pass_over_the_index() {
    let trailer = |entries: usize| {
        let mut trailer = *some_footer().encode(SALT).last_chunk::<128>().unwrap();
        trailer[56..64].copy_from_slice(&(1u64 << 40).to_le_bytes());
        trailer[64..72].copy_from_slice(&(entries as u64).to_le_bytes());
        trailer
    };
    let mut bytes = Vec::new();
    for nth in 0..400 {
        bytes.truncate(nth * 120);
        bytes.extend_from_slice(&trailer(nth * 5));
    }
    let (found, summed) = crate::crc::summed::by(|| Footer::leading(&bytes, 1 << 40, SALT));
    assert_eq!(found, None);
    assert!(summed <= 3 * bytes.len() as u64, "{summed}");
}

#[test]
fn a_footer_is_told_from_what_follows_it() {
    let mut bytes = some_footer().encode(SALT);
    for behind in [0, 8, 4096] {
        bytes.resize(bytes.len() + behind, 0xee);
        let found = Footer::leading(&bytes, 128 + 80_000, SALT);
        assert_eq!(found, Some(some_footer()));
        assert_eq!(Footer::leading(&bytes, 128 + 80_008, SALT), None);
        assert_eq!(Footer::leading(&bytes, 128 + 80_000, SALT + 1), None);
    }
}
