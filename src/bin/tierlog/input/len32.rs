//! Records behind their lengths, for what is not text.

use bytes::{Bytes, BytesMut};
use tierlog::NewRecord;

use super::{Cut, Refused};

const HEAD: usize = 4;

/// Four bytes of length, little-endian, then the record.
#[derive(Debug)]
pub(crate) struct Len32 {
    limit: usize,
    /// The length of the record under way, as far as it came.
    head: BytesMut,
    /// The same, once all of it came.
    len: Option<usize>,
    /// What came of the record under way in earlier blocks.
    begun: BytesMut,
    /// The number of the record under way, from 1.
    record: u64,
}

impl Len32 {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit,
            head: BytesMut::new(),
            len: None,
            begun: BytesMut::new(),
            record: 1,
        }
    }

    /// The length of the record under way; `None` when the block ends before it is known.
    fn len(&mut self, block: &mut Bytes) -> Result<Option<usize>, Refused> {
        if self.len.is_some() {
            return Ok(self.len);
        }
        let missing = HEAD - self.head.len();
        let part = block.split_to(missing.min(block.len()));
        self.head.extend_from_slice(&part);
        let Some(head) = self.head.first_chunk::<HEAD>() else {
            return Ok(None);
        };
        let len = u32::from_le_bytes(*head) as usize;
        // Before anything is gathered for it: the length may be noise.
        if len > self.limit {
            return Err(Refused {
                what: format!(
                    "record {} has {len} bytes and the limit is {}",
                    self.record, self.limit
                ),
                advice: "nothing from it on was appended: raise `max_record`, or check that the \
                         input has a length before each record",
            });
        }
        self.head.clear();
        self.len = Some(len);
        Ok(self.len)
    }
}

impl Cut for Len32 {
    fn block(&mut self, mut block: Bytes, records: &mut Vec<NewRecord>) -> Result<(), Refused> {
        while let Some(len) = self.len(&mut block)? {
            let missing = len - self.begun.len();
            let mut part = block.split_to(missing.min(block.len()));
            if part.len() < len {
                if self.begun.is_empty() {
                    // Each long record gets memory of its own, and no more than it needs: two
                    // that share some would both stay until the later one may go.
                    self.begun = BytesMut::with_capacity(len);
                }
                self.begun.extend_from_slice(&part);
                if self.begun.len() < len {
                    break;
                }
                part = std::mem::take(&mut self.begun).freeze();
            }
            records.push(NewRecord::new(part));
            self.len = None;
            self.record += 1;
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<NewRecord>) -> Result<(), Refused> {
        match self.head.is_empty() && self.len.is_none() {
            true => Ok(()),
            false => Err(Refused {
                what: format!("the input ends within record {}", self.record),
                advice: "what came before is appended; send that record whole",
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(bytes: &[u8], size: usize, limit: usize) -> (Vec<Vec<u8>>, Option<String>) {
        let mut cutter = Len32::new(limit);
        let mut records = Vec::new();
        let ended = bytes
            .chunks(size)
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
    fn records_come_out_the_same_however_the_blocks_fall() {
        let bytes = b"\x03\0\0\0one\0\0\0\0\x02\0\0\0\n\0";
        for size in 1..=bytes.len() {
            assert_eq!(
                cut(bytes, size, 10),
                (vec![b"one".to_vec(), vec![], b"\n\0".to_vec()], None)
            );
        }
    }

    #[test]
    fn a_record_that_is_cut_or_too_long_is_named_and_those_before_it_come_out() {
        for size in 1..=16 {
            let (records, refused) = cut(b"\x03\0\0\0one\x03\0\0\0tw", size, 10);
            assert_eq!(records, [b"one"]);
            assert!(refused.expect("it is cut").contains("within record 2"));
            let (records, refused) = cut(b"\x03\0\0\0one\xff\xff\xff\xff", size, 10);
            assert_eq!(records, [b"one"]);
            assert!(
                refused
                    .expect("it is too long")
                    .contains("record 2 has 4294967295 bytes")
            );
        }
    }
}
