//! One object of the catalog.
//!
//! ```text
//!    0          8         10       12        16         32       40          56        64
//!    ┌──────────┬─────────┬────────┬─────────┬──────────┬────────┬───────────┬─────────┐
//!    │"TLCATLG1"│ version │ length │ flags   │ log uuid │ number │ owner     │ epoch   │
//!    ├─64───────┴──┬─80───┴┬─82────┴┬─84─────┼─88───────┼─96─────┴──┬─104────┴┬─112─────┼─120──────┐
//!    │ attempt     │ kind  │ body   │ 0       │ whole at │ body len  │ crc64   │ items   │ crc64 of │
//!    │             │ u16   │ u16    │ u32     │          │           │ of body │         │ 0..120   │
//!    ├─128─────────┴───────┴────────┴─────────┴──────────┴───────────┴─────────┴─────────┴──────────┘
//!    │ body …
//!    └───────
//!
//!   kind  1 claim        body  1 whole    items: streams
//!         2 publication        2 changes  items: changes
//!         3 tombstone          0 none
//!
//!   whole    stream: uuid, name, created ns, start, next segment, u64 segments, and those
//!            segment: number, archived
//!   changes  u16 1  stream: uuid, name, created ns
//!            u16 2  segment: uuid, number, archived
//!            u16 3  trimmed: uuid, start
//!   archived salt, facts as in the manifest's `Sealed`, epoch, length, crc64
//! ```
//!
//! A claim holds the whole catalog, a publication changes or the whole, a tombstone nothing. Whole at: the
//! number of the latest object that holds the whole, this one included; 0 in a tombstone. Header and body
//! have checksums of their own; in every version magic, version, length and the first of these stay in
//! their places, so that damage is not taken for a newer version.

use std::collections::BTreeMap;

use super::{ArchivedSegment, ArchivedStream, Catalog, Change};
use crate::{
    crc::crc64,
    ids::{AttemptId, Epoch, LogId, Offset, OwnerId, SegmentNo, StreamId},
    manifest::wire::{Reader, Wire, wire_struct},
};

/// The version of the format.
pub const CATALOG_VERSION: u16 = 1;

/// Bytes before the body.
pub const CATALOG_HEAD: usize = 128;

/// The most bytes of an object: some three million segments.
pub const CATALOG_MAX: u64 = 512 << 20;

const MAGIC: [u8; 8] = *b"TLCATLG1";
const AT_VERSION: usize = 8;
const AT_LEN: usize = 10;
const AT_FLAGS: usize = 12;
const AT_LOG: usize = 16;
const AT_NUMBER: usize = 32;
const AT_OWNER: usize = 40;
const AT_EPOCH: usize = 56;
const AT_ATTEMPT: usize = 64;
const AT_KIND: usize = 80;
const AT_BODY: usize = 82;
const AT_ZERO: usize = 84;
const AT_WHOLE: usize = 88;
const AT_BODY_LEN: usize = 96;
const AT_BODY_CRC: usize = 104;
const AT_ITEMS: usize = 112;
const AT_CRC: usize = 120;

const _: () = assert!(AT_CRC + 8 == CATALOG_HEAD && AT_ZERO + 4 == AT_WHOLE);
const _: () =
    assert!(AT_LOG + 16 == AT_NUMBER && AT_OWNER + 16 == AT_EPOCH && AT_ATTEMPT + 16 == AT_KIND);

/// One object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CatalogObject {
    /// Whose it is, and where it stands.
    pub head: CatalogHead,
    /// What it holds.
    pub body: Body,
}

/// What an object says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CatalogHead {
    /// The log.
    pub log: LogId,
    /// Its place in the sequence.
    pub number: u64,
    /// Who made it.
    pub owner: OwnerId,
    /// The epoch of who made it.
    pub epoch: Epoch,
    /// Which attempt of who made it.
    pub attempt: AttemptId,
    /// What it is for.
    pub kind: CatalogKind,
    /// The number of the latest object that holds the whole catalog, this one included; 0 in a tombstone.
    pub whole_at: u64,
}

/// What an object is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CatalogKind {
    /// A new owner begins.
    Claim,
    /// Its owner says what has changed.
    Publication,
    /// It was collected, and keeps its number.
    Tombstone,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The whole catalog.
    Whole(Catalog),
    /// What has changed since the object before.
    Changes(Vec<Change>),
    /// Nothing.
    None,
}

/// Why bytes are no object that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CatalogFault {
    /// A checksum does not match, or it contradicts itself.
    #[error("{0}")]
    Damaged(&'static str),
    /// A version that this program does not know.
    #[error(
        "it is of format version {0}, written by a newer tierlog; this one reads up to {CATALOG_VERSION}"
    )]
    NewerVersion(u16),
    /// It is whole, and stands in the place of another.
    #[error("it is number {found}, and stands in the place of {expected}")]
    Misplaced {
        /// What it says.
        found: u64,
        /// What its key says.
        expected: u64,
    },
}

impl CatalogKind {
    const fn code(self) -> u16 {
        match self {
            Self::Claim => 1,
            Self::Publication => 2,
            Self::Tombstone => 3,
        }
    }

    const fn of(code: u16) -> Option<Self> {
        Some(match code {
            1 => Self::Claim,
            2 => Self::Publication,
            3 => Self::Tombstone,
            _ => return None,
        })
    }
}

impl CatalogObject {
    /// The bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; CATALOG_HEAD];
        let (body, items) = match &self.body {
            Body::Whole(catalog) => (1u16, put_whole(catalog, &mut out)),
            Body::Changes(changes) => (2, put_changes(changes, &mut out)),
            Body::None => (0, 0),
        };
        let (head, rest) = out.split_at_mut(CATALOG_HEAD);
        let body_crc = crc64(&[rest]);
        let mut put = |at: usize, bytes: &[u8]| head[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, &MAGIC);
        put(AT_VERSION, &CATALOG_VERSION.to_le_bytes());
        put(AT_LEN, &(CATALOG_HEAD as u16).to_le_bytes());
        put(AT_LOG, self.head.log.as_bytes());
        put(AT_NUMBER, &self.head.number.to_le_bytes());
        put(AT_OWNER, self.head.owner.as_bytes());
        put(AT_EPOCH, &self.head.epoch.get().to_le_bytes());
        put(AT_ATTEMPT, self.head.attempt.as_bytes());
        put(AT_KIND, &self.head.kind.code().to_le_bytes());
        put(AT_BODY, &body.to_le_bytes());
        put(AT_WHOLE, &self.head.whole_at.to_le_bytes());
        put(AT_BODY_LEN, &(rest.len() as u64).to_le_bytes());
        put(AT_BODY_CRC, &body_crc.to_le_bytes());
        put(AT_ITEMS, &items.to_le_bytes());
        let crc = crc64(&[&head[..AT_CRC]]);
        head[AT_CRC..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads an object that was found under the key of `number`.
    ///
    /// # Errors
    /// `NewerVersion`, `Misplaced`, or `Damaged`.
    pub fn decode_at(number: u64, bytes: &[u8]) -> Result<Self, CatalogFault> {
        CatalogHead::decode_at(number, bytes)?;
        Self::decode(bytes)
    }

    /// Reads an object.
    ///
    /// # Errors
    /// `NewerVersion`, or `Damaged`.
    pub fn decode(bytes: &[u8]) -> Result<Self, CatalogFault> {
        use CatalogFault::Damaged;
        let (head, found) = take_head(bytes)?;
        let body = &bytes[CATALOG_HEAD..];
        if body.len() as u64 != u64_at(head, AT_BODY_LEN) || bytes.len() as u64 > CATALOG_MAX {
            return Err(Damaged("its length is not the one that it says"));
        }
        if crc64(&[body]) != u64_at(head, AT_BODY_CRC) {
            return Err(Damaged("the checksum of its body does not match"));
        }
        let body = take_body(u16_at(head, AT_BODY), u64_at(head, AT_ITEMS), body)?;
        let object = Self { head: found, body };
        match object.makes_sense() {
            true => Ok(object),
            false => Err(Damaged(
                "its kind, its place and its body do not go together",
            )),
        }
    }

    /// What is true of each object that is made here, and may be relied on.
    fn makes_sense(&self) -> bool {
        let CatalogHead {
            number,
            kind,
            whole_at,
            ..
        } = self.head;
        match &self.body {
            Body::Whole(_) => kind != CatalogKind::Tombstone && whole_at == number,
            Body::Changes(_) => kind == CatalogKind::Publication && whole_at < number,
            Body::None => kind == CatalogKind::Tombstone,
        }
    }
}

impl CatalogHead {
    /// Reads the head of an object that was found under the key of `number`, from its first
    /// [`CATALOG_HEAD`] bytes or more.
    ///
    /// # Errors
    /// `NewerVersion`, `Misplaced`, or `Damaged`.
    pub fn decode_at(number: u64, bytes: &[u8]) -> Result<Self, CatalogFault> {
        let (_, head) = take_head(bytes)?;
        match head.number == number {
            true => Ok(head),
            false => Err(CatalogFault::Misplaced {
                found: head.number,
                expected: number,
            }),
        }
    }

    fn makes_sense(&self) -> bool {
        let (number, whole_at) = (self.number, self.whole_at);
        number > 0
            && match self.kind {
                CatalogKind::Claim => whole_at == number,
                CatalogKind::Publication => 0 < whole_at && whole_at <= number,
                CatalogKind::Tombstone => whole_at == 0,
            }
    }
}

fn take_head(bytes: &[u8]) -> Result<(&[u8; CATALOG_HEAD], CatalogHead), CatalogFault> {
    use CatalogFault::Damaged;
    let head = bytes
        .first_chunk()
        .ok_or(Damaged("it is too short for its header"))?;
    check_head(head)?;
    let id = |at: usize| std::array::from_fn(|i| head[at + i]);
    let kind = CatalogKind::of(u16_at(head, AT_KIND));
    let found = CatalogHead {
        log: LogId::from_bytes(id(AT_LOG)),
        number: u64_at(head, AT_NUMBER),
        owner: OwnerId::from_bytes(id(AT_OWNER)),
        epoch: Epoch(u64_at(head, AT_EPOCH)),
        attempt: AttemptId::from_bytes(id(AT_ATTEMPT)),
        kind: kind.ok_or(Damaged("it is of a kind that does not exist"))?,
        whole_at: u64_at(head, AT_WHOLE),
    };
    match found.makes_sense() {
        true => Ok((head, found)),
        false => Err(Damaged("its kind and its place do not go together")),
    }
}

fn check_head(head: &[u8; CATALOG_HEAD]) -> Result<(), CatalogFault> {
    use CatalogFault::Damaged;
    if head[..AT_VERSION] != MAGIC {
        return Err(Damaged("it does not begin as an object of the catalog"));
    }
    if crc64(&[&head[..AT_CRC]]) != u64_at(head, AT_CRC) {
        return Err(Damaged("the checksum of its header does not match"));
    }
    match u16_at(head, AT_VERSION) {
        CATALOG_VERSION => {}
        0 => return Err(Damaged("it is of version 0")),
        newer => return Err(CatalogFault::NewerVersion(newer)),
    }
    let known = usize::from(u16_at(head, AT_LEN)) == CATALOG_HEAD
        && head[AT_FLAGS..AT_LOG] == [0; 4]
        && head[AT_ZERO..AT_WHOLE] == [0; 4];
    match known {
        true => Ok(()),
        false => Err(Damaged("its header makes no sense")),
    }
}

fn put_whole(catalog: &Catalog, out: &mut Vec<u8>) -> u64 {
    for (stream, known) in &catalog.streams {
        stream.put(out);
        known.name.put(out);
        known.created_ns.put(out);
        known.start.put(out);
        known.next_segment.put(out);
        (known.segments.len() as u64).put(out);
        for (segment, archived) in &known.segments {
            segment.put(out);
            archived.put(out);
        }
    }
    catalog.streams.len() as u64
}

fn put_changes(changes: &[Change], out: &mut Vec<u8>) -> u64 {
    changes.iter().for_each(|change| change.put(out));
    changes.len() as u64
}

fn take_body(kind: u16, items: u64, bytes: &[u8]) -> Result<Body, CatalogFault> {
    let from = &mut Reader::new(bytes);
    let body = match kind {
        0 if items == 0 => Some(Body::None),
        1 => take_streams(items, from).map(Body::Whole),
        2 => take_changes(items, from).map(Body::Changes),
        _ => None,
    };
    let body = body.filter(|_| from.is_empty());
    body.ok_or(CatalogFault::Damaged("its body makes no sense"))
}

/// Nothing is allocated on the word of a count: each item takes bytes that are there.
fn take_streams(items: u64, from: &mut Reader<'_>) -> Option<Catalog> {
    let (mut streams, mut last) = (Vec::new(), None);
    for _ in 0..items {
        let stream = StreamId::take(from)?;
        if last.replace(stream).is_some_and(|last| last >= stream) {
            return None;
        }
        streams.push((stream, ArchivedStream::take(from)?));
    }
    Catalog::new(streams).ok()
}

fn take_changes(items: u64, from: &mut Reader<'_>) -> Option<Vec<Change>> {
    let mut changes = Vec::new();
    for _ in 0..items {
        changes.push(Change::take(from)?);
    }
    Some(changes)
}

impl ArchivedStream {
    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let mut stream = Self {
            name: Wire::take(from)?,
            created_ns: Wire::take(from)?,
            start: Wire::take(from)?,
            next_segment: Wire::take(from)?,
            segments: BTreeMap::new(),
        };
        for _ in 0..u64::take(from)? {
            let (segment, archived) = (SegmentNo::take(from)?, ArchivedSegment::take(from)?);
            let last = stream.segments.last_key_value();
            if last.is_some_and(|(&last, _)| last >= segment) {
                return None;
            }
            stream.segments.insert(segment, archived);
        }
        Some(stream)
    }
}

wire_struct!(ArchivedSegment {
    salt,
    facts,
    epoch,
    len,
    crc
});

impl Wire for Change {
    fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Stream {
                stream,
                name,
                created_ns,
            } => {
                1u16.put(out);
                stream.put(out);
                name.put(out);
                created_ns.put(out);
            }
            Self::Segment {
                stream,
                segment,
                archived,
            } => {
                2u16.put(out);
                stream.put(out);
                segment.put(out);
                archived.put(out);
            }
            Self::Trimmed { stream, start } => {
                3u16.put(out);
                stream.put(out);
                start.put(out);
            }
        }
    }

    fn take(from: &mut Reader<'_>) -> Option<Self> {
        let kind = u16::take(from)?;
        let stream = StreamId::take(from)?;
        Some(match kind {
            1 => Self::Stream {
                stream,
                name: Wire::take(from)?,
                created_ns: Wire::take(from)?,
            },
            2 => Self::Segment {
                stream,
                segment: Wire::take(from)?,
                archived: Wire::take(from)?,
            },
            3 => Self::Trimmed {
                stream,
                start: Offset::take(from)?,
            },
            _ => return None,
        })
    }
}

fn u16_at(bytes: &[u8; CATALOG_HEAD], at: usize) -> u16 {
    u16::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}

fn u64_at(bytes: &[u8; CATALOG_HEAD], at: usize) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]))
}
