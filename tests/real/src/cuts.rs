//! Power cuts: which there are in a record, and the disk that each of them leaves.

use std::{
    fmt, fs,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    str::FromStr,
};

use fastrand::Rng;

use crate::record::{Entry, Record};

/// The least that a disk writes at once.
const SECTOR: usize = 512;

/// What becomes of the writes since the last flush.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// None of them is there.
    Lost,
    /// All of them are.
    Kept,
    /// Some of them are, by this seed.
    Some(u64),
    /// Some of them are, some are not, and of some a part of their sectors is, by this seed.
    Torn(u64),
}

/// The power is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// So many entries of the record had been carried out.
    pub at: usize,
    /// And this became of those that no flush covers.
    pub fate: Fate,
}

impl Cut {
    /// `count` of them among the entries `from..=to`: half of them right before or right behind a flush, the others
    /// anywhere; in their order.
    pub fn choose(
        record: &Record,
        from: usize,
        to: usize,
        count: usize,
        rng: &mut Rng,
    ) -> Vec<Self> {
        let flushes: Vec<usize> = (from..to)
            .filter(|n| record.entry(*n) == Entry::Flush)
            .collect();
        let mut cuts: Vec<Self> = (0..count)
            .map(|n| {
                let at = match (n % 2, flushes.is_empty()) {
                    (0, false) => flushes[rng.usize(..flushes.len())] + rng.usize(0..=1),
                    _ => rng.usize(from..=to),
                };
                // Behind a flush nothing is in doubt, whatever its fate is called.
                let fate = match n / 2 % 4 {
                    0 => Fate::Lost,
                    1 => Fate::Kept,
                    2 => Fate::Some(rng.u64(0..1_000_000)),
                    _ => Fate::Torn(rng.u64(0..1_000_000)),
                };
                Self { at, fate }
            })
            .collect();
        cuts.sort_by_key(|cut| cut.at);
        cuts
    }
}

impl fmt::Display for Cut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fate {
            Fate::Lost => write!(f, "{}/lost", self.at),
            Fate::Kept => write!(f, "{}/kept", self.at),
            Fate::Some(seed) => write!(f, "{}/some-{seed}", self.at),
            Fate::Torn(seed) => write!(f, "{}/torn-{seed}", self.at),
        }
    }
}

impl FromStr for Cut {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("`{text}` is no cut, as 812/lost, 812/kept, 812/some-7 or 812/torn-7 are");
        let (at, fate) = text.split_once('/').ok_or_else(wrong)?;
        let at = at.parse().map_err(|_| wrong())?;
        let fate = match fate.split_once('-') {
            None if fate == "lost" => Fate::Lost,
            None if fate == "kept" => Fate::Kept,
            Some(("some", seed)) => Fate::Some(seed.parse().map_err(|_| wrong())?),
            Some(("torn", seed)) => Fate::Torn(seed.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        };
        Ok(Self { at, fate })
    }
}

/// What is surely on the disk, going forward with the record.
#[derive(Debug)]
pub struct Platter<'a> {
    record: &'a Record,
    image: PathBuf,
    done: usize,
}

impl<'a> Platter<'a> {
    /// The disk as it was before the record, copied to `image`.
    pub fn new(record: &'a Record, base: &Path, image: PathBuf) -> Self {
        copy(base, &image);
        Self {
            record,
            image,
            done: 0,
        }
    }

    /// Makes the disk that a cut leaves, in `image`. Cuts come in the order of the record.
    pub fn cut(&mut self, cut: Cut, image: &Path) {
        let durable = self.record.behind_flush(cut.at);
        assert!(durable >= self.done, "cuts come in their order");
        apply(&self.image, self.record, self.done..durable, |_, _| true);
        self.done = durable;
        copy(&self.image, image);
        let doubtful = durable..cut.at;
        match cut.fate {
            Fate::Lost => {}
            Fate::Kept => apply(image, self.record, doubtful, |_, _| true),
            Fate::Some(seed) => {
                let mut rng = Rng::with_seed(seed);
                let kept: Vec<bool> = doubtful.clone().map(|_| rng.bool()).collect();
                apply(image, self.record, doubtful, |nth, _| kept[nth]);
            }
            Fate::Torn(seed) => {
                let mut rng = Rng::with_seed(seed);
                let of: Vec<u8> = doubtful.clone().map(|_| rng.u8(0..3)).collect();
                apply(image, self.record, doubtful, |nth, _| match of[nth] {
                    0 => false,
                    1 => true,
                    _ => rng.bool(),
                });
            }
        }
    }
}

/// The superblock of ext4 is in it, which is written in place with one checksum over two sectors: of half a one the
/// kernel says that it has to be repaired, whatever stands on it. So it is written whole or not at all.
const FIRST_BLOCK: u64 = 4096;

/// Writes what `keeps` says, of each write and sector of it.
fn apply(
    image: &Path,
    record: &Record,
    entries: std::ops::Range<usize>,
    mut keeps: impl FnMut(usize, usize) -> bool,
) {
    let file = fs::OpenOptions::new()
        .write(true)
        .open(image)
        .expect("an image");
    for (nth, number) in entries.enumerate() {
        let Entry::Write(offset, data) = record.entry(number) else {
            continue;
        };
        let mut of_first_block = None;
        for (sector, bytes) in data.chunks(SECTOR).enumerate() {
            let at = offset + (sector * SECTOR) as u64;
            let keeps = match at < FIRST_BLOCK {
                true => *of_first_block.get_or_insert_with(|| keeps(nth, sector)),
                false => keeps(nth, sector),
            };
            if keeps {
                file.write_all_at(bytes, at).expect("room for an image");
            }
        }
    }
}

/// Copies a file with its holes.
pub fn copy(from: &Path, to: &Path) {
    crate::machine::command(
        "cp",
        ["--sparse=auto".as_ref(), from.as_os_str(), to.as_os_str()],
    )
    .expect("room for a copy");
}
