//! Lines as records, so that every byte comes back: also of a line of a gigabyte, and of a file
//! that has no lines at all.

use bytes::{Bytes, BytesMut};
use tierlog::NewRecord;

use crate::input::{Cut, Refused};

/// The key of a piece that no newline follows: the line goes on in the next record, or the file
/// ends here. A record without a key is the end of its line.
pub(super) const GOES_ON: &[u8] = b"more";

/// Cuts at newlines, and cuts what is longer than `limit` into marked pieces.
#[derive(Debug)]
pub(super) struct Pieces {
    limit: usize,
    begun: BytesMut,
}

impl Pieces {
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            begun: BytesMut::new(),
        }
    }

    /// Adds a part of a line, and gives out pieces as they become full. A piece is given out only
    /// once more of its line is there, so a line of exactly the limit stays one record.
    fn grow(&mut self, mut part: Bytes, records: &mut Vec<NewRecord>) {
        loop {
            let room = self.limit - self.begun.len();
            if part.len() <= room {
                self.begun.extend_from_slice(&part);
                return;
            }
            self.begun.extend_from_slice(&part.split_to(room));
            records.push(goes_on(self.begun.split().freeze()));
        }
    }
}

impl Cut for Pieces {
    fn block(&mut self, block: Bytes, records: &mut Vec<NewRecord>) -> Result<(), Refused> {
        let mut from = 0;
        for end in memchr::memchr_iter(b'\n', &block) {
            let line = block.slice(from..end);
            from = end + 1;
            if self.begun.is_empty() && line.len() <= self.limit {
                records.push(NewRecord::new(line));
            } else {
                self.grow(line, records);
                records.push(NewRecord::new(self.begun.split().freeze()));
            }
        }
        self.grow(block.slice(from..), records);
        Ok(())
    }

    fn end(&mut self, records: &mut Vec<NewRecord>) -> Result<(), Refused> {
        if !self.begun.is_empty() {
            records.push(goes_on(self.begun.split().freeze()));
        }
        Ok(())
    }
}

fn goes_on(piece: Bytes) -> NewRecord {
    NewRecord::new(piece).key(GOES_ON)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(text: &[u8], block: usize, limit: usize) -> usize {
        let mut pieces = Pieces::new(limit);
        let mut records = Vec::new();
        for block in text.chunks(block) {
            pieces
                .block(Bytes::copy_from_slice(block), &mut records)
                .expect("nothing is refused");
        }
        pieces.end(&mut records).expect("nothing is refused");
        let mut back = Vec::new();
        for record in &records {
            assert!(record.payload.len() <= limit);
            back.extend_from_slice(&record.payload);
            match &record.key {
                None => back.push(b'\n'),
                Some(key) => assert_eq!(key, GOES_ON),
            }
        }
        assert_eq!(back, text, "blocks of {block}, pieces of {limit}");
        records.len()
    }

    #[test]
    fn every_byte_comes_back_however_lines_and_blocks_fall() {
        let texts: [&[u8]; 8] = [
            b"",
            b"\n",
            b"\n\n\nx",
            b"one\ntwo\r\nthree",
            b"one\ntwo\n",
            b"no newline anywhere at all",
            b"\0\xff\n\xfe",
            b"exact\nexacts\n",
        ];
        for text in texts {
            for block in 1..=8 {
                for limit in 1..=8 {
                    there_and_back(text, block, limit);
                }
            }
        }
        assert_eq!(there_and_back(b"exact\nexacts\n", 4, 5), 3);
        assert_eq!(there_and_back(b"exact", 4, 5), 1);
    }
}
