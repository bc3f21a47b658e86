//! The second pass: the log beside the file, byte by byte.

use std::io::Read;
use std::time::{Duration, Instant};

use tierlog::{From, Offset, Record, SegmentInfo, Stream};

use crate::exit::Ending;
use crate::input;

use super::pieces::GOES_ON;
use super::source::Source;

/// Records asked for at once.
const BATCH: usize = 4096;
/// Bytes of the file read at once.
const BLOCK: usize = 256 * 1024;

/// What the comparison found.
#[derive(Debug)]
pub(super) struct Verdict {
    pub(super) records: u64,
    pub(super) bytes: u64,
    pub(super) took: Duration,
    /// What of it was read from each tier.
    pub(super) tiers: [TierRead; 3],
    /// Where the log first differs from the file, as a position in the file.
    pub(super) differs_at: Option<u64>,
}

/// What was read from one tier.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct TierRead {
    pub(super) records: u64,
    /// Of the file.
    pub(super) bytes: u64,
    pub(super) took: Duration,
}

/// Neighbours in one tier are read by a reader of their own, so that its time is theirs.
pub(super) async fn run(
    stream: &Stream,
    segments: &[SegmentInfo],
    source: &Source,
    json: bool,
) -> Result<Verdict, Ending> {
    let mut original = Original::new(source.open()?);
    let bar = source.progress("reading", json);
    let mut tiers = [TierRead::default(); 3];
    let (mut next, mut same) = (Offset::ZERO, true);
    for run in segments.chunk_by(|a, b| a.tier == b.tier) {
        let (first, last) = (&run[0], &run[run.len() - 1]);
        // A hole would be a record that is missing, whatever the bytes say.
        same = same && first.base == next;
        if !same {
            break;
        }
        let (began, at) = (Instant::now(), original.position);
        let mut reader = stream.reader(From::Offset(next)).await?;
        while same && next < last.end {
            let left = last.end.get() - next.get();
            let batch = reader.next_batch(BATCH.min(left as usize)).await?;
            same = !batch.is_empty();
            for record in &batch {
                same = same && record.offset == next && matches(&mut original, record)?;
                next = next.plus(1);
            }
            bar.set_position(original.position);
        }
        let read = &mut tiers[usize::from(first.tier.min(2))];
        read.records += next.get() - first.base.get();
        read.bytes += original.position - at;
        read.took += began.elapsed();
    }
    same = same && stream.watermarks().durable == next && original.is_at_end()?;
    bar.finish_and_clear();
    Ok(Verdict {
        records: next.get(),
        bytes: original.position,
        took: tiers.iter().map(|tier| tier.took).sum(),
        tiers,
        differs_at: (!same).then_some(original.position),
    })
}

fn matches(original: &mut Original, record: &Record) -> Result<bool, Ending> {
    let newline: &[u8] = match record.key.as_deref() {
        Some(GOES_ON) => b"",
        _ => b"\n",
    };
    Ok(original.goes_on_with(&record.payload)? && original.goes_on_with(newline)?)
}

/// The file once more.
struct Original {
    from: input::Source,
    block: Vec<u8>,
    /// What is left of the block.
    rest: std::ops::Range<usize>,
    /// Bytes found the same so far.
    position: u64,
}

impl Original {
    fn new(from: input::Source) -> Self {
        Self {
            from,
            block: vec![0; BLOCK],
            rest: 0..0,
            position: 0,
        }
    }

    /// Whether these bytes come next; `position` stands behind the last that did.
    fn goes_on_with(&mut self, mut bytes: &[u8]) -> Result<bool, Ending> {
        while !bytes.is_empty() {
            self.fill()?;
            let here = &self.block[self.rest.clone()];
            let n = here.len().min(bytes.len());
            if n == 0 || here[..n] != bytes[..n] {
                let same = here.iter().zip(bytes).take_while(|(a, b)| a == b).count();
                self.position += same as u64;
                return Ok(false);
            }
            self.rest.start += n;
            self.position += n as u64;
            bytes = &bytes[n..];
        }
        Ok(true)
    }

    fn is_at_end(&mut self) -> Result<bool, Ending> {
        self.fill()?;
        Ok(self.rest.is_empty())
    }

    fn fill(&mut self) -> Result<(), Ending> {
        while self.rest.is_empty() {
            match self.from.read(&mut self.block) {
                Ok(0) => return Ok(()),
                Ok(n) => self.rest = 0..n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => {
                    return Err(Ending::failed(
                        format!("cannot read the file a second time: {error}"),
                        "try again",
                    ));
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;

    fn original(text: &'static [u8]) -> Original {
        Original::new(Box::new(Cursor::new(text)))
    }

    #[test]
    fn a_difference_is_found_at_its_byte() {
        let mut file = original(b"one\ntwo\n");
        assert!(file.goes_on_with(b"one\n").unwrap());
        assert!(!file.goes_on_with(b"twx\n").unwrap());
        assert_eq!(file.position, 6);
    }

    #[test]
    fn a_log_that_is_longer_or_shorter_than_the_file_differs() {
        let mut file = original(b"one\n");
        assert!(!file.goes_on_with(b"one\ntwo").unwrap());
        assert_eq!(file.position, 4);
        let mut file = original(b"one\ntwo\n");
        assert!(file.goes_on_with(b"one\n").unwrap());
        assert!(!file.is_at_end().unwrap());
    }
}
