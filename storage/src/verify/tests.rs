use std::sync::Arc;

use super::*;
use crate::{
    Epoch, Incarnation,
    disk::RealDisk,
    manifest::state::Residency,
    segment::tests::{
        SALT,
        image::{Image, expect},
    },
};

/// A directory with the image as its one segment.
struct Place {
    disk: RealDisk,
    layout: Layout,
    _dir: Arc<tempfile::TempDir>,
}

impl Place {
    fn of(bytes: &[u8]) -> Self {
        let place = Self::empty();
        let path = place.layout.segment(expect().stream, expect().segment);
        let file = place.disk.create_new(&path).unwrap();
        file.write_at(bytes, 0).unwrap();
        place
    }

    fn empty() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let layout = Layout::new(dir.path());
        RealDisk.create_dir(&layout.streams_dir()).unwrap();
        RealDisk
            .create_dir(&layout.stream_dir(expect().stream))
            .unwrap();
        Self {
            disk: RealDisk,
            layout,
            _dir: Arc::new(dir),
        }
    }

    fn verify(&self, status: SegmentStatus, until: Option<u64>) -> SegmentVerdict {
        self.try_verify(status, until).unwrap()
    }

    fn try_verify(&self, status: SegmentStatus, until: Option<u64>) -> Result<SegmentVerdict> {
        let state = SegmentState {
            salt: SALT,
            capacity: 64 << 20,
            epoch: Epoch(5),
            incarnation: Incarnation(6),
            status,
            residency: Residency::hot(),
        };
        let expect = expect();
        verify_segment(
            &self.disk,
            &self.layout,
            expect.log,
            expect.stream,
            expect.segment,
            &state,
            until.map(Offset),
        )
    }
}

fn facts(image: &Image) -> SealedFacts {
    let footer = image.footer();
    SealedFacts {
        base: footer.base,
        end: footer.end,
        data_end: footer.data_end,
        file_len: footer.data_end + footer.encoded_len(),
        first_ts: footer.first_ts,
        last_ts: footer.last_ts,
        ext: footer.ext,
        digest: footer.digest,
        flush_failed: footer.flush_failed,
    }
}

fn sealed(image: &Image) -> SegmentStatus {
    SegmentStatus::Sealed(facts(image))
}

fn closed(image: &Image) -> SegmentStatus {
    SegmentStatus::Closed {
        base: image.header.base,
        end: image.end(),
        end_byte: image.data_end() as u64,
    }
}

/// Offsets and bytes of each damage.
fn ranges(verdict: &SegmentVerdict) -> Vec<(u64, u64, u64, u64)> {
    let damage = verdict.damage.iter();
    damage
        .map(|d| (d.from.0, d.to.0, d.bytes.0, d.bytes.1))
        .collect()
}

#[test]
fn good_segments_of_every_status_are_good() {
    let mut image = Image::counted(10, &[2, 3, 1]);
    for _ in 0..3 {
        image.payload(vec![1; 50_000]);
    }
    let closed = closed(&image);
    let len = image.data_end() as u64 - 128;
    image.seal();
    let place = Place::of(&image.bytes);
    for status in [sealed(&image), closed, SegmentStatus::Open] {
        let verdict = place.verify(status, None);
        assert!(verdict.is_good(), "{verdict:?}");
        assert_eq!(
            (verdict.frames, verdict.records, verdict.bytes),
            (6, 9, len)
        );
        assert_eq!(verdict.range, Some((Offset(10), Offset(19))));
    }
}

#[test]
fn damaged_frames_are_named_by_offsets_and_bytes() {
    let mut image = Image::counted(10, &[2, 3, 1, 2]);
    let closed = closed(&image);
    let starts: Vec<_> = image.starts.iter().map(|start| *start as u64).collect();
    image.seal();
    let status = sealed(&image);
    image.damage(1, 50).damage(3, 0);
    let place = Place::of(&image.bytes);
    let data_end = image.data_end() as u64;
    let want = [
        (12, 15, starts[1], starts[2]),
        (16, 18, starts[3], data_end),
    ];
    for status in [status, closed] {
        let verdict = place.verify(status, None);
        assert_eq!(ranges(&verdict), want);
        assert!(verdict.damage[0].what.contains("checksum"));
        assert_eq!((verdict.frames, verdict.records), (2, 3));
    }
    // The footer is not the manifest's word here, and yet it claims the last frame.
    let verdict = place.verify(SegmentStatus::Open, Some(18));
    assert_eq!(ranges(&verdict)[..1], want[..1]);
    assert_eq!((verdict.damage[1].from.0, verdict.damage[1].to.0), (16, 18));
}

#[test]
fn damage_around_the_records_loses_none_of_them() {
    let mut whole = Image::counted(10, &[2, 3]);
    whole.seal();
    let data_end = whole.data_end();
    let len = whole.bytes.len() as u64;
    for (at, bytes) in [
        (3, (0, 128)),
        (70, (0, 128)),
        (data_end + 3, (data_end as u64, len)),
        (len as usize - 1, (data_end as u64, len)),
    ] {
        let mut image = whole.clone();
        image.bytes[at] ^= 4;
        let verdict = Place::of(&image.bytes).verify(sealed(&whole), None);
        assert_eq!(verdict.records, 5);
        assert_eq!(verdict.damage.len(), 1, "byte {at}: {verdict:?}");
        let damage = &verdict.damage[0];
        assert_eq!((damage.from, damage.bytes), (damage.to, bytes));
    }
}

#[test]
fn every_flipped_bit_of_a_sealed_segment_is_reported() {
    let mut image = Image::counted(10, &[1, 2]);
    image.seal();
    let place = Place::of(&image.bytes);
    let path = place.layout.segment(expect().stream, expect().segment);
    let file = place.disk.open(&path, Access::ReadWrite).unwrap();
    for bit in 0..image.bytes.len() * 8 {
        let good = image.bytes[bit / 8];
        file.write_at(&[good ^ 1 << (bit % 8)], bit as u64 / 8)
            .unwrap();
        let verdict = place.verify(sealed(&image), None);
        assert!(!verdict.is_good(), "bit {bit}");
        let hit = |damage: &Damage| (damage.bytes.0..damage.bytes.1).contains(&(bit as u64 / 8));
        assert!(verdict.damage.iter().any(hit), "bit {bit}: {verdict:?}");
        file.write_at(&[good], bit as u64 / 8).unwrap();
    }
    assert!(place.verify(sealed(&image), None).is_good());
}

#[test]
fn a_file_of_another_length_is_reported_with_what_it_lost() {
    let mut image = Image::counted(10, &[2, 3]);
    image.seal();
    let len = image.bytes.len() as u64;
    let status = sealed(&image);
    let cut = Place::of(&image.bytes[..len as usize - 8]).verify(status, None);
    assert_eq!(ranges(&cut), [(15, 15, len - 8, len)]);
    image.zeros(24);
    let longer = Place::of(&image.bytes).verify(status, None);
    assert_eq!(ranges(&longer), [(15, 15, len, len + 24)]);
    // Cut within a frame: its records are lost too.
    let at = image.starts[1] + 10;
    let torn = Place::of(&image.bytes[..at]).verify(status, None);
    let lost = (12, 15, image.starts[1] as u64, image.data_end() as u64);
    assert!(ranges(&torn).contains(&lost), "{torn:?}");
}

#[test]
fn a_missing_file_is_damage_of_all_of_it() {
    let mut image = Image::counted(10, &[2, 3]);
    image.seal();
    let verdict = Place::empty().verify(sealed(&image), None);
    assert_eq!(ranges(&verdict), [(10, 15, 0, image.bytes.len() as u64)]);
    assert_eq!(verdict.damage[0].what, "the file is missing");
}

#[test]
fn a_whole_segment_in_place_of_another_is_not_the_one_that_was_sealed() {
    // Same header, same offsets, same lengths and all checksums good; other payloads.
    let mut image = Image::new(0);
    image.payload("one").payload("two").seal();
    let mut other = Image::new(0);
    other.payload("one").payload("TWO");
    let facts = facts(&image);
    let data_end = image.data_end();
    image.bytes[..data_end].copy_from_slice(&other.bytes[..data_end]);
    let verdict = Place::of(&image.bytes).verify(SegmentStatus::Sealed(facts), None);
    assert_eq!(verdict.damage.len(), 1, "{verdict:?}");
    assert!(verdict.damage[0].what.contains("digest"));
}

#[test]
fn a_manifest_that_tells_of_another_segment_is_reported() {
    let mut image = Image::counted(10, &[2, 3]);
    image.seal();
    let place = Place::of(&image.bytes);
    let good = facts(&image);
    for facts in [
        SealedFacts {
            digest: good.digest ^ 1,
            ..good
        },
        SealedFacts {
            base: Offset(9),
            ..good
        },
        SealedFacts {
            end: Offset(16),
            ..good
        },
        SealedFacts {
            end: Offset(12),
            ..good
        },
        SealedFacts {
            first_ts: 0,
            ..good
        },
        SealedFacts { last_ts: 0, ..good },
        SealedFacts {
            ext: Some((1, 2)),
            ..good
        },
        SealedFacts {
            data_end: good.data_end - 8,
            ..good
        },
        SealedFacts {
            flush_failed: true,
            ..good
        },
    ] {
        let verdict = place.verify(SegmentStatus::Sealed(facts), None);
        assert!(!verdict.is_good(), "{facts:?}");
    }
}

#[test]
fn beyond_a_closed_end_nothing_is_looked_at() {
    let mut image = Image::counted(10, &[2, 3]);
    let status = closed(&image);
    image.payload("beyond").damage(2, 0);
    image.bytes.extend_from_slice(&[0xee; 100]);
    let verdict = Place::of(&image.bytes).verify(status, None);
    assert!(verdict.is_good(), "{verdict:?}");
    assert_eq!(verdict.records, 5);
}

#[test]
fn an_empty_closed_segment_may_be_blank() {
    for end_byte in [0, 128] {
        let status = SegmentStatus::Closed {
            base: Offset(7),
            end: Offset(7),
            end_byte,
        };
        let verdict = Place::of(&[0; 4096]).verify(status, None);
        assert!(verdict.is_good(), "{verdict:?}");
    }
    let status = SegmentStatus::Closed {
        base: Offset(7),
        end: Offset(8),
        end_byte: 200,
    };
    let verdict = Place::of(&[0; 4096]).verify(status, None);
    assert_eq!(ranges(&verdict), [(7, 7, 0, 128), (7, 8, 128, 200)]);
}

#[test]
fn what_a_writer_may_be_writing_is_left_alone() {
    let mut image = Image::counted(10, &[2, 3, 2]);
    image.damage(2, 50).zeros(4096);
    let place = Place::of(&image.bytes);
    for (until, records) in [(10, 0), (12, 2), (15, 5)] {
        let verdict = place.verify(SegmentStatus::Open, Some(until));
        assert!(verdict.is_good(), "{until}: {verdict:?}");
        assert_eq!(verdict.records, records);
    }
    // What was promised has to be there.
    let verdict = place.verify(SegmentStatus::Open, Some(17));
    assert_eq!((verdict.damage[0].from.0, verdict.damage[0].to.0), (15, 17));
    // A torn end that nothing claims is no damage; one that is claimed from behind is.
    assert!(place.verify(SegmentStatus::Open, None).is_good());
    let mut image = Image::counted(10, &[2, 3, 2, 1]);
    let starts = image.starts.clone();
    image.damage(2, 50);
    let verdict = Place::of(&image.bytes).verify(SegmentStatus::Open, None);
    assert_eq!(
        ranges(&verdict),
        [(15, 17, starts[2] as u64, starts[3] as u64)]
    );
}

#[test]
fn damage_before_the_end_asked_for_is_seen_and_frames_behind_it_are_not_counted() {
    let mut image = Image::counted(10, &[2, 3, 2, 1]);
    let starts = image.starts.clone();
    image.damage(1, 50);
    // The frame behind the damage is also behind the end.
    let place = Place::of(&image.bytes);
    for until in [14, 15] {
        let verdict = place.verify(SegmentStatus::Open, Some(until));
        assert_eq!(verdict.records, 2);
        assert_eq!(verdict.range, Some((Offset(10), Offset(12))));
        let bytes = (starts[1] as u64, starts[2] as u64);
        assert_eq!(ranges(&verdict), [(12, until, bytes.0, bytes.1)]);
    }
}

#[test]
fn an_index_that_names_a_place_where_no_frame_begins_is_reported() {
    let mut image = Image::new(0);
    for _ in 0..4 {
        image.payload(vec![1; 50_000]);
    }
    let status = sealed(&image);
    let mut index = crate::segment::SparseIndex::default();
    for entry in image.footer().index.entries() {
        let off = if entry.pos > HEADER_LEN { 8 } else { 0 };
        index.note(entry.offset, entry.pos + off, entry.ts);
    }
    let footer = Footer {
        index,
        ..image.footer()
    };
    image.bytes.extend_from_slice(&footer.encode(SALT));
    let verdict = Place::of(&image.bytes).verify(status, None);
    assert_eq!(verdict.damage.len(), 1, "{verdict:?}");
    assert!(verdict.damage[0].what.contains("index"));
}

#[test]
fn an_open_segment_without_records_is_good() {
    for bytes in [&[0; 4096][..], &[]] {
        let verdict = Place::of(bytes).verify(SegmentStatus::Open, None);
        assert!(verdict.is_good() && verdict.range.is_none(), "{verdict:?}");
    }
}

#[test]
fn a_segment_of_a_newer_version_is_an_error_and_not_damage() {
    let mut image = Image::counted(10, &[2]);
    let status = closed(&image);
    image.bytes[8] = 2;
    let crc = crate::crc::crc64(&[&image.bytes[..120]]);
    image.bytes[120..128].copy_from_slice(&crc.to_le_bytes());
    let refused = Place::of(&image.bytes).try_verify(status, None);
    assert!(matches!(
        refused,
        Err(StorageError::NewerVersion { found: 2, .. })
    ));
}
