//! The files of Tier 1 on a disk that forgets and that fails.

use std::{path::Path, sync::Arc};

use super::*;
use crate::{
    disk::{
        Access, Disk,
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::SimDisk,
    },
    layout::Layout,
    manifest::{Residency, SegmentState, SegmentStatus, WarmCopy},
    verify::verify_segment,
};

struct Place {
    disk: SimDisk,
    layout: Layout,
    image: Image,
}

impl Place {
    /// A disk with one segment, durable; cut behind its frames where it is not sealed.
    fn new(is_sealed: bool) -> Self {
        let (disk, layout) = (SimDisk::new(), Layout::new("/log"));
        let mut image = Image::counted(7, &[6; 20]);
        if is_sealed {
            image.seal();
        } else {
            image.bytes.extend_from_slice(&[7; 100]);
        }
        let stream = image.header.stream;
        for dir in [
            layout.root().to_owned(),
            layout.streams_dir(),
            layout.stream_dir(stream),
        ] {
            disk.create_dir(&dir).unwrap();
        }
        let file = disk
            .create_new(&layout.segment(stream, image.header.segment))
            .unwrap();
        file.write_at(&image.bytes, 0).unwrap();
        file.sync_data().unwrap();
        for dir in [
            layout.stream_dir(stream),
            layout.streams_dir(),
            layout.root().to_owned(),
        ] {
            disk.sync_dir(&dir).unwrap();
        }
        disk.sync_dir(Path::new("/")).unwrap();
        Self {
            disk,
            layout,
            image,
        }
    }

    fn id(&self) -> WarmIdentity {
        identity(&self.image)
    }

    fn bytes(&self, disk: &dyn Disk, path: &Path) -> Option<Vec<u8>> {
        let _ = self;
        let file = disk.open(path, Access::Read).ok()?;
        let mut bytes = vec![0; file.len().unwrap() as usize];
        file.read_at(&mut bytes, 0).unwrap();
        Some(bytes)
    }

    fn paths(&self) -> [std::path::PathBuf; 3] {
        let (stream, no) = (self.image.header.stream, self.image.header.segment);
        [
            self.layout.segment(stream, no),
            self.layout.warm(stream, no),
            self.layout.segment_tmp(stream, no),
        ]
    }

    fn make(&self, disk: &dyn Disk) -> Result<Compressed, WarmFault> {
        make(disk, &self.layout, &self.id(), &options(SMALL), &mut |_| {
            true
        })
    }
}

const fn copy_of(written: &Compressed) -> WarmCopy {
    WarmCopy {
        file_len: written.file_len,
        crc: written.crc,
    }
}

fn planned(disk: &SimDisk) -> (Arc<dyn Disk>, FaultPlan) {
    let plan = FaultPlan::new();
    (
        Arc::new(FaultDisk::new(Arc::new(disk.clone()), plan.clone())),
        plan,
    )
}

#[test]
fn a_warm_file_that_was_made_survives_every_power_cut() {
    let place = Place::new(true);
    let written = place.make(&place.disk).unwrap();
    for seed in 0..20 {
        let cut = place.disk.power_cut(seed);
        let view = WarmView::open(&cut, &place.layout, &place.id(), &copy_of(&written)).unwrap();
        let mut bytes = vec![0; place.image.bytes.len() + 10];
        let read = crate::disk::DiskFile::read_at(&view, &mut bytes, 0).unwrap();
        assert_eq!(&bytes[..read], &place.image.bytes[..]);
    }
}

#[test]
fn whichever_call_fails_no_part_of_a_warm_file_is_left_and_the_segment_stays() {
    let mut tried = 0;
    for kind in [
        CallKind::CreateNew,
        CallKind::WriteAt,
        CallKind::SyncData,
        CallKind::SyncDir,
        CallKind::ReadAt,
    ] {
        for nth in 1.. {
            let place = Place::new(true);
            let (disk, plan) = planned(&place.disk);
            let armed = plan.fail(Calls::of(kind).nth(nth), Fault::Io);
            let made = place.make(&*disk);
            if armed.disarm() == 0 {
                made.unwrap();
                break;
            }
            made.expect_err("it failed");
            tried += 1;
            let [segment, warm, _] = place.paths();
            assert_eq!(place.bytes(&place.disk, &warm), None, "{kind:?} {nth}");
            assert_eq!(
                place.bytes(&place.disk, &segment).unwrap(),
                place.image.bytes
            );
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_segment_is_made_again_from_its_warm_file() {
    let place = Place::new(true);
    let copy = copy_of(&place.make(&place.disk).unwrap());
    let [segment, ..] = place.paths();
    place.disk.remove(&segment).unwrap();
    hydrate(&place.disk, &place.layout, &place.id(), &copy, &mut |_| {
        true
    })
    .unwrap();
    assert_eq!(
        place.bytes(&place.disk, &segment).unwrap(),
        place.image.bytes
    );
    let wrong = WarmCopy {
        file_len: copy.file_len + 1,
        ..copy
    };
    hydrate(&place.disk, &place.layout, &place.id(), &wrong, &mut |_| {
        true
    })
    .expect_err("another length");
}

/// Bytes behind the end of a closed segment, which may look like anything, are not taken along.
#[test]
fn a_closed_segment_is_sealed_by_a_copy_and_survives_every_power_cut() {
    let place = Place::new(false);
    let [segment, _, tmp] = place.paths();
    let facts = finish(&place.disk, &place.layout, &place.id(), &mut |_| true).unwrap();
    let mut expected = place.image.clone();
    expected.bytes.truncate(expected.data_end());
    expected.seal();
    assert_eq!(facts, identity(&expected).facts);
    for seed in 0..20 {
        let cut = place.disk.power_cut(seed);
        assert_eq!(place.bytes(&cut, &segment).unwrap(), expected.bytes);
        assert_eq!(place.bytes(&cut, &tmp), None);
    }
}

#[test]
fn a_closed_segment_that_could_not_be_copied_stays_as_it_is() {
    for kind in [
        CallKind::CreateNew,
        CallKind::WriteAt,
        CallKind::SyncData,
        CallKind::Rename,
    ] {
        let place = Place::new(false);
        let (disk, plan) = planned(&place.disk);
        let armed = plan.fail(Calls::of(kind), Fault::Io);
        finish(&*disk, &place.layout, &place.id(), &mut |_| true).expect_err("it failed");
        assert_eq!(armed.disarm(), 1);
        let [segment, _, tmp] = place.paths();
        assert_eq!(
            place.bytes(&place.disk, &segment).unwrap(),
            place.image.bytes
        );
        assert_eq!(place.bytes(&place.disk, &tmp), None);
    }
    let mut place = Place::new(false);
    let at = place.image.starts[5] as u64 + 60;
    let [segment, ..] = place.paths();
    let file = place.disk.open(&segment, Access::ReadWrite).unwrap();
    file.write_at(&[0xff; 4], at).unwrap();
    place.image.bytes[at as usize..at as usize + 4].fill(0xff);
    finish(&place.disk, &place.layout, &place.id(), &mut |_| true).expect_err("it is damaged");
    assert_eq!(
        place.bytes(&place.disk, &segment).unwrap(),
        place.image.bytes
    );
}

#[test]
fn verify_looks_into_the_warm_file_also_where_it_stands_alone() {
    for hot in [true, false] {
        let place = Place::new(true);
        let written = place.make(&place.disk).unwrap();
        let [segment, warm, _] = place.paths();
        if !hot {
            place.disk.remove(&segment).unwrap();
        }
        let state = SegmentState {
            status: SegmentStatus::Sealed(place.id().facts),
            residency: Residency {
                hot,
                warm: Some(copy_of(&written)),
                ..Residency::hot()
            },
            ..SegmentState::open(SALT, 1 << 20, crate::Epoch(1), crate::Incarnation(1))
        };
        let (log, stream, no) = (place.id().log, place.id().stream, place.id().segment);
        let verify = || verify_segment(&place.disk, &place.layout, log, stream, no, &state, None);
        let good = verify().unwrap();
        assert!(good.is_good(), "{good:?}");
        assert_eq!(good.records, 120);
        let file = place.disk.open(&warm, Access::ReadWrite).unwrap();
        let mut byte = [0];
        file.read_at(&mut byte, written.file_len / 2).unwrap();
        file.write_at(&[byte[0] ^ 1], written.file_len / 2).unwrap();
        let bad = verify().unwrap();
        assert!(!bad.is_good());
        assert!(bad.damage[0].what.contains("compressed file"), "{bad:?}");
        assert!(bad.damage[0].from < bad.damage[0].to);
        place.disk.remove(&warm).unwrap();
        let gone = verify().unwrap();
        assert!(gone.damage[0].what.contains("missing"), "{gone:?}");
    }
}
