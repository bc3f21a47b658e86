//! A record a line, or whatever else ends with one byte.

use bytes::{Bytes, BytesMut};
use tierlog::NewRecord;

use super::{Cut, Refused};

/// Cuts at each `delimiter`, which belongs to no record. What stands behind the last one is a
/// record too, unless it is nothing.
#[derive(Debug)]
pub(crate) struct Delimited {
    delimiter: u8,
    limit: usize,
    /// The record under way, when it began in an earlier block.
    begun: BytesMut,
    /// The number of the line under way, from 1.
    line: u64,
}

impl Delimited {
    pub(crate) fn new(delimiter: u8, limit: usize) -> Self {
        Self {
            delimiter,
            limit,
            begun: BytesMut::new(),
            line: 1,
        }
    }

    fn check(&self, len: usize) -> Result<(), Refused> {
        match len > self.limit {
            true => Err(Refused {
                what: format!(
                    "line {} is longer than the limit of {} bytes",
                    self.line, self.limit
                ),
                advice: "nothing from it on was appended: raise `max_record`, or cut the line",
            }),
            false => Ok(()),
        }
    }
}

impl Cut for Delimited {
    fn block(&mut self, block: Bytes, records: &mut Vec<NewRecord>) -> Result<(), Refused> {
        let mut from = 0;
        for end in memchr::memchr_iter(self.delimiter, &block) {
            let line = block.slice(from..end);
            self.check(self.begun.len() + line.len())?;
            let line = if self.begun.is_empty() {
                line
            } else {
                self.begun.extend_from_slice(&line);
                // With its memory: a next line that went on in it would keep both there.
                std::mem::take(&mut self.begun).freeze()
            };
            records.push(NewRecord::new(line));
            self.line += 1;
            from = end + 1;
        }
        self.check(self.begun.len() + block.len() - from)?;
        self.begun.extend_from_slice(&block[from..]);
        Ok(())
    }

    fn end(&mut self, records: &mut Vec<NewRecord>) -> Result<(), Refused> {
        if !self.begun.is_empty() {
            let last = std::mem::take(&mut self.begun);
            records.push(NewRecord::new(last.freeze()));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes out when the text arrives in blocks of `size`.
    fn cut(text: &[u8], size: usize, limit: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let mut cutter = Delimited::new(b'\n', limit);
        let mut records = Vec::new();
        let blocks = text.chunks(size);
        let ended = blocks
            .map(Bytes::copy_from_slice)
            .try_for_each(|block| cutter.block(block, &mut records))
            .and_then(|()| cutter.end(&mut records));
        let payloads = records
            .into_iter()
            .map(|record| record.payload.to_vec())
            .collect();
        (payloads, ended.err().map(|refused| refused.what))
    }

    #[test]
    fn lines_come_out_the_same_however_the_blocks_fall() {
        let text = b"one\n\ntwo\r\n\xff\xfe\nlast";
        let lines: [&[u8]; 5] = [b"one", b"", b"two\r", b"\xff\xfe", b"last"];
        for size in 1..=text.len() {
            let (records, refused) = cut(text, size, 100);
            assert_eq!(records, lines, "blocks of {size}");
            assert_eq!(refused, None);
        }
    }

    #[test]
    fn a_newline_at_the_end_makes_no_empty_record_and_no_input_makes_none() {
        assert_eq!(cut(b"one\n", 4, 100).0, [b"one"]);
        assert_eq!(cut(b"\n", 4, 100).0, [b""]);
        assert!(cut(b"", 4, 100).0.is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_named_and_those_before_it_come_out() {
        for size in 1..=16 {
            let (records, refused) = cut(b"one\nfour\nsevens\nx\n", size, 5);
            assert_eq!(records, [&b"one"[..], b"four"], "blocks of {size}");
            let refused = refused.expect("line 3 is too long");
            assert!(
                refused.contains("line 3") && refused.contains("5 bytes"),
                "{refused}"
            );
        }
        // Also when it never ends.
        let (records, refused) = cut(b"one\nsevens", 3, 5);
        assert_eq!(records, [b"one"]);
        assert!(refused.expect("line 2 is too long").contains("line 2"));
        assert_eq!(
            cut(b"fives\n", 3, 5).0,
            [b"fives"],
            "a line of the limit is taken"
        );
    }
}
