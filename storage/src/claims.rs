//! The claims file: how far each open stream is durable, for restarts and for readers beside it.
//!
//! ```text
//! slot i, 64 bytes at 64 * i
//!  0        4     6     8          24      32            40       48       56      64
//!  | "TLCL" | ver |  0  | stream   | epoch | incarnation | durable | 0      | crc64 |
//! ```
//!
//! A slot is written after a sync has succeeded and before anybody is told, and is never synced
//! itself. The page cache carries it over a kill, and a reader in another process sees it at once.
//! It only ever says what is true, "a sync covered everything below this offset", so one that is
//! stale, torn or gone after a power cut costs no more than precision.
//!
//! A claim counts only for the stream's newest incarnation under the manifest's newest epoch: a
//! slot of an earlier life may speak of records that were cut since.

use std::io;
use std::sync::{Mutex, PoisonError};

use crate::{
    crc::crc64,
    disk::{Access, Disk, DiskFile, SharedFile},
    error::{Result, StorageError},
    ids::{Epoch, Incarnation, Offset, StreamId},
    layout::Layout,
};

const MAGIC: [u8; 4] = *b"TLCL";
const VERSION: u16 = 1;
const SLOT: usize = 64;
const CRC_AT: usize = 56;
/// The most slots that are made or read.
const MAX_SLOTS: u32 = 1 << 20;
/// How often a slot that looks torn is read again: its writer may be at work this moment.
const LOOKS: usize = 3;

const _: () = assert!(CRC_AT + size_of::<u64>() == SLOT);
const _: () = assert!(MAGIC.len() + 2 + 2 + 16 + 3 * 8 <= CRC_AT);

/// That a sync of `stream` covered everything below `durable`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Claim {
    /// The stream.
    pub stream: StreamId,
    /// Under which ownership of the log it was said.
    pub epoch: Epoch,
    /// Of which life of the stream's tail it was said.
    pub incarnation: Incarnation,
    /// The first offset that is not covered.
    pub durable: Offset,
}

impl Claim {
    fn encode(&self) -> [u8; SLOT] {
        let mut slot = [0; SLOT];
        slot[0..4].copy_from_slice(&MAGIC);
        slot[4..6].copy_from_slice(&VERSION.to_le_bytes());
        slot[8..24].copy_from_slice(self.stream.as_bytes());
        slot[24..32].copy_from_slice(&self.epoch.get().to_le_bytes());
        slot[32..40].copy_from_slice(&self.incarnation.get().to_le_bytes());
        slot[40..48].copy_from_slice(&self.durable.get().to_le_bytes());
        let crc = crc64(&[&slot[..CRC_AT]]);
        slot[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        slot
    }

    fn decode(slot: &[u8; SLOT]) -> Slot {
        if slot.iter().all(|&byte| byte == 0) {
            return Slot::Empty;
        }
        if slot[0..4] != MAGIC || number(slot, CRC_AT) != crc64(&[&slot[..CRC_AT]]) {
            return Slot::Torn;
        }
        let version = u16::from_le_bytes([slot[4], slot[5]]);
        if version != VERSION {
            return Slot::Newer(version);
        }
        let mut stream = [0; 16];
        stream.copy_from_slice(&slot[8..24]);
        Slot::Claim(Self {
            stream: StreamId::from_bytes(stream),
            epoch: Epoch(number(slot, 24)),
            incarnation: Incarnation(number(slot, 32)),
            durable: Offset(number(slot, 40)),
        })
    }
}

enum Slot {
    Empty,
    Torn,
    Newer(u16),
    Claim(Claim),
}

fn number(slot: &[u8; SLOT], at: usize) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&slot[at..at + 8]);
    u64::from_le_bytes(bytes)
}

/// The claims file of the log that this process owns.
#[derive(Debug)]
pub struct ClaimsFile {
    file: SharedFile,
    layout: Layout,
    slots: u32,
    /// What each slot holds, so that it only rises.
    held: Vec<Mutex<Option<Claim>>>,
}

impl ClaimsFile {
    /// Begins an empty file of `slots` slots in place of the one that is there.
    ///
    /// What the old one says must have been read before, and what it claimed be known otherwise.
    pub fn create(disk: &dyn Disk, layout: &Layout, slots: u32) -> Result<Self> {
        if slots > MAX_SLOTS {
            let what = format!("{slots} slots for claims; {MAX_SLOTS} are the most");
            return Err(StorageError::Invalid { what });
        }
        let path = layout.claims();
        // A new file and not a cut of the old one: a reader that has the old one open goes on
        // seeing whole claims, which its epoch tells apart.
        match disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StorageError::io("remove", &path, error));
            }
            _ => {}
        }
        let file = disk
            .create_new(&path)
            .map_err(|e| StorageError::io("create", &path, e))?;
        let room = u64::from(slots) * SLOT as u64;
        if let Err(error) = file.allocate(0, room) {
            let error = StorageError::io("allocate room in", &path, error);
            // A full disk must not keep the log from being opened and read: claims go in where
            // there is room, and one that does not costs precision alone.
            if !error.is_storage_full() {
                return Err(error);
            }
            tracing::warn!(target: "tierlog::storage", %error, "claims may not be kept");
        }
        Ok(Self {
            file,
            layout: layout.clone(),
            slots,
            held: (0..slots).map(|_| Mutex::default()).collect(),
        })
    }

    /// Writes a claim into its slot, in place of what it held.
    ///
    /// Two syncs of one stream may end at the same time, that of a seal and that of the segment
    /// behind it, and leave their claims in any order: one that says less than the slot holds
    /// changes nothing, or what was acked on the word of the greater one would be claimed no more.
    ///
    /// A failure makes nothing less durable: the caller may go on without the claim.
    pub fn put(&self, slot: u32, claim: &Claim) -> Result<()> {
        let Some(held) = self.held.get(slot as usize) else {
            let what = format!("claim slot {slot} of {}", self.slots);
            return Err(StorageError::Invalid { what });
        };
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |claim: &Claim| (claim.stream, claim.epoch, claim.incarnation);
        if held.is_some_and(|held| of(&held) == of(claim) && held.durable >= claim.durable) {
            return Ok(());
        }
        self.file
            .write_at(&claim.encode(), position(slot))
            .map_err(|error| StorageError::io("write", self.layout.claims(), error))?;
        *held = Some(*claim);
        Ok(())
    }

    /// How many slots there are.
    pub fn slots(&self) -> u32 {
        self.slots
    }
}

/// The claims that can be read, in the order of their slots. A missing file holds none; slots
/// that are empty or torn are left out.
pub fn read_claims(disk: &dyn Disk, layout: &Layout) -> Result<Vec<Claim>> {
    let path = layout.claims();
    let file = match disk.open(&path, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(StorageError::io("open", &path, error)),
    };
    let io = |error| StorageError::io("read", &path, error);
    let mut claims = Vec::new();
    let mut buf = vec![0; 1024 * SLOT];
    let mut slot = 0;
    while slot < MAX_SLOTS {
        let read = file.read_at(&mut buf, position(slot)).map_err(io)?;
        // The rest that makes no slot is the end of a file that was cut.
        let (whole, _) = buf[..read].as_chunks::<SLOT>();
        for bytes in whole {
            match look(file.as_ref(), slot, bytes).map_err(io)? {
                Slot::Claim(claim) => claims.push(claim),
                Slot::Empty | Slot::Torn => {}
                Slot::Newer(found) => {
                    return Err(StorageError::NewerVersion {
                        path,
                        found,
                        supported: VERSION,
                    });
                }
            }
            slot += 1;
        }
        if read < buf.len() {
            break;
        }
    }
    Ok(claims)
}

fn look(file: &dyn DiskFile, slot: u32, first: &[u8; SLOT]) -> io::Result<Slot> {
    let mut seen = Claim::decode(first);
    let mut again = [0; SLOT];
    for _ in 1..LOOKS {
        if !matches!(seen, Slot::Torn) || file.read_at(&mut again, position(slot))? < SLOT {
            break;
        }
        seen = Claim::decode(&again);
    }
    Ok(seen)
}

fn position(slot: u32) -> u64 {
    u64::from(slot) * SLOT as u64
}

#[cfg(test)]
mod tests;
