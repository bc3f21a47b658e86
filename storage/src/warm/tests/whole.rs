//! A compressed copy is one file and no other, whatever it decodes to.

use super::*;
use crate::{manifest::WarmCopy, verify::verify_object};

/// Two files of one segment that differ and are equally long, as of two levels of zstd.
fn two_of_one() -> (Image, [(Vec<u8>, Compressed); 2]) {
    for counts in (1..40).map(|n| vec![3; n]) {
        let image = sealed(&counts);
        let mut seen: Vec<(Vec<u8>, Compressed)> = Vec::new();
        for level in 1..=22 {
            let (mem, out) = file_of(&[]);
            let options = WarmOptions {
                level,
                frame: WARM_FRAME,
            };
            let segment = latched(&image.bytes);
            let written =
                compress(&segment, &identity(&image), &options, &out, &mut |_| true).unwrap();
            let mut bytes = vec![0; written.file_len as usize];
            crate::disk::DiskFile::read_at(&*mem, &mut bytes, 0).unwrap();
            let alike =
                |(other, _): &&(Vec<u8>, Compressed)| other.len() == bytes.len() && *other != bytes;
            if let Some(other) = seen.iter().find(alike) {
                return (image, [other.clone(), (bytes, written)]);
            }
            seen.push((bytes, written));
        }
    }
    panic!("no two levels make files of one length");
}

/// Verifying had compared each frame with its checksum, and the length with the manifest's: a file that
/// was compressed elsewhere, and equally long, passed for the object that was uploaded.
#[test]
fn another_whole_file_of_the_same_segment_is_not_the_object_that_was_uploaded() {
    let (image, files) = two_of_one();
    let identity = identity(&image);
    for (bytes, _) in &files {
        assert!(
            restored(bytes, &identity).unwrap() == image.bytes,
            "it is whole"
        );
    }
    for (at, (bytes, _)) in files.iter().enumerate() {
        for (of, (_, written)) in files.iter().enumerate() {
            let copy = WarmCopy {
                file_len: written.file_len,
                crc: written.crc,
            };
            let verdict = verify_object(latched(bytes), &identity, &copy).unwrap();
            assert_eq!(verdict.is_good(), at == of, "{:?}", verdict.damage);
            for damage in &verdict.damage {
                assert!(damage.what.contains("the checksum of the file"), "{damage}");
                let facts = &identity.facts;
                assert_eq!((damage.from, damage.to), (facts.base, facts.end));
            }
        }
    }
}
