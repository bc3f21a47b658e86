//! The two ends of a sealed segment: a header and a footer of any bytes.
//!
//! Byte 0: bit 0 makes the checksums right; bit 1 chooses the footer.

use crate::{
    checksums,
    disk::{SALT, with_segment},
    storage::segment::{Footer, SegmentHeader},
    take,
};

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let mut bytes = data[..data.len().min(16 << 10)].to_vec();
    if mode & 2 == 0 {
        if mode & 1 != 0 {
            checksums::head(&mut bytes);
        }
        header(&bytes);
    } else {
        if mode & 1 != 0 {
            checksums::footer(&mut bytes, SALT);
        }
        footer(&bytes);
    }
}

fn header(bytes: &[u8]) {
    if let Ok(Some(header)) = SegmentHeader::decode(bytes) {
        let again = header.encode();
        let read = SegmentHeader::decode(&again).expect("what was encoded here is good");
        assert_eq!(read.as_ref(), Some(&header));
    }
}

fn footer(bytes: &[u8]) {
    let alone = Footer::decode(bytes, SALT);
    let (_disk, file) = with_segment(bytes);
    // Behind frames it has to say where they end; here nothing stands before it.
    if let Ok(found) = Footer::read(&**file.file(), bytes.len() as u64, SALT) {
        let len = found.encoded_len();
        assert!(
            found.data_end + len == bytes.len() as u64,
            "it ends the file"
        );
    }
    let Ok(footer) = alone else {
        return;
    };
    assert_eq!(footer.encoded_len(), bytes.len() as u64);
    assert!(
        footer.base < footer.end && footer.watermark <= footer.end,
        "{footer:?}"
    );
    let again = footer.encode(SALT);
    let read = Footer::decode(&again, SALT).expect("what was encoded here is good");
    assert_eq!(read, footer);
    for offset in [footer.base, footer.end] {
        let Some(entry) = footer.index.floor(offset) else {
            continue;
        };
        assert!(
            entry.offset <= offset && entry.pos < footer.data_end,
            "{entry:?}"
        );
    }
}
