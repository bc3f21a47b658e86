//! The entries of the manifest, and how one stands in bytes.
//!
//! ```text
//!  0        2        4              8                      16
//!  ┌────────┬────────┬──────────────┬──────────────────────┬────────┬───────────┐
//!  │ type   │ flags  │ body length  │ sequence             │ body … │ CRC64     │
//!  │ u16    │ u16    │ u32          │ u64                  │        │ u64       │
//!  └────────┴────────┴──────────────┴──────────────────────┴────────┴───────────┘
//!   flags: bit 0 = optional, a program that does not know the type skips the entry
//!   CRC64: everything before it
//! ```
//!
//! Types are never given a second meaning. A new one that older programs may ignore is written with
//! the optional flag; any other makes them stop with an error that names it.

use serde::Serialize;

use super::{
    RetentionState, Seq, UploadId,
    state::{MarkState, SegmentState},
    wire::{Reader, Wire},
};
use crate::{
    crc::crc64,
    ids::{Epoch, Incarnation, Offset, OwnerId, SegmentNo, StreamId},
};

/// Bytes before an entry's body.
pub const ENTRY_HEAD: usize = 16;
/// Bytes of an entry that are not its body.
pub const ENTRY_OVERHEAD: usize = ENTRY_HEAD + 8;
const _: () =
    assert!(ENTRY_HEAD == 2 + 2 + 4 + 8 && ENTRY_OVERHEAD == ENTRY_HEAD + size_of::<u64>());

/// Programs that don't know the type skip the entry.
pub const FLAG_OPTIONAL: u16 = 1;

/// From one table: the enum, its numbers and names, and both directions of the codec, so that a
/// field can't be written and forgotten when reading.
macro_rules! entries {
    ($(
        $(#[$doc:meta])*
        $code:literal $name:ident { $( $(#[$field_doc:meta])* $field:ident: $type:ty, )* }
    )*) => {
        /// One change of what the manifest says.
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(tag = "entry")]
        pub enum Entry {
            $( $(#[$doc])* $name { $( $(#[$field_doc])* $field: $type, )* }, )*
        }

        impl Entry {
            /// The number that stands for the type in files.
            pub const fn code(&self) -> u16 {
                match self { $( Self::$name { .. } => $code, )* }
            }

            /// The type's name, for people.
            pub const fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => stringify!($name), )* }
            }

            fn put_body(&self, out: &mut Vec<u8>) {
                match self { $( Self::$name { $($field,)* } => { $( $field.put(out); )* } )* }
            }

            /// `None`: no such type. `Some(None)`: not a body of this type.
            fn take_body(code: u16, from: &mut Reader<'_>) -> Option<Option<Self>> {
                match code {
                    $( $code => {
                        let take = |#[allow(unused)] from: &mut Reader<'_>| {
                            Some(Self::$name { $( $field: Wire::take(from)?, )* })
                        };
                        Some(take(from))
                    } )*
                    _ => None,
                }
            }
        }
    };
}

entries! {
    /// A stream exists from here on.
    1 StreamCreated {
        /// Its identity, which names its folder.
        stream: StreamId,
        /// Its name: 1 to 255 bytes, no control characters, unlike every other stream's.
        name: String,
        /// When, in nanoseconds since the epoch of Unix.
        created_ns: u64,
    }
    /// A new owner has opened the log.
    2 Epoch {
        /// Greater than every one before.
        epoch: Epoch,
        /// When, in nanoseconds since the epoch of Unix.
        opened_ns: u64,
    }
    /// A segment file exists, and so does its name in its folder, both durably.
    3 SegmentCreated {
        /// The stream.
        stream: StreamId,
        /// A number that the stream never used before.
        segment: SegmentNo,
        /// What its frames' checksums are salted with.
        salt: u64,
        /// How many bytes it is meant to hold.
        capacity: u64,
        /// The owner that created it.
        epoch: Epoch,
        /// The life of the stream's tail in which it was created.
        incarnation: Incarnation,
    }
    /// A segment ends here, without a footer. Bytes beyond are never read, nor taken for claims.
    4 Closed {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// Its first offset.
        base: Offset,
        /// The offset behind its last record.
        end: Offset,
        /// The byte behind its last frame.
        end_byte: u64,
    }
    /// A segment is complete, its footer durable.
    5 Sealed {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// Its first offset.
        base: Offset,
        /// The offset behind its last record.
        end: Offset,
        /// The byte behind its last frame, where the footer begins.
        data_end: u64,
        /// The file's length, footer included.
        file_len: u64,
        /// The timestamp of its first record.
        first_ts: u64,
        /// The timestamp of its last record.
        last_ts: u64,
        /// The least and the greatest ext_id, where there is any.
        ext: Option<(u64, u64)>,
        /// The digest over the checksums of its frames.
        digest: u64,
        /// A flush of it had failed once.
        flush_failed: bool,
    }
    /// A segment holds nothing any more: it is blank, or lies behind a truncation.
    6 Removed {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// Records before an offset are given up; segments that end there or earlier go.
    7 Trimmed {
        /// The stream.
        stream: StreamId,
        /// The first offset that is kept.
        start: Offset,
    }
    /// Records from an offset on are taken back; the offsets will be assigned again.
    8 TruncatedAfter {
        /// The stream.
        stream: StreamId,
        /// The offset that will be assigned next.
        end: Offset,
        /// The life of the tail that begins here; greater than the one before.
        incarnation: Incarnation,
    }
    /// How far a stream is durable: written when it goes idle and at a clean close.
    9 Mark {
        /// The stream.
        stream: StreamId,
        /// Every record below is durable.
        durable: Offset,
        /// The segment that is being written, if any.
        segment: Option<SegmentNo>,
        /// The byte behind the last durable frame of that segment.
        end_byte: u64,
        /// The life of the tail that this is said about.
        incarnation: Incarnation,
        /// The stream was closed in order: nothing stands behind the mark.
        clean: bool,
    }
    /// A compressed copy of a sealed segment is durable and was compared.
    10 Warmed {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// The length of the compressed file.
        file_len: u64,
        /// The checksum of the compressed file.
        crc: u64,
    }
    /// An upload is about to begin; its object must be there or removed some day.
    11 UploadStarted {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// The object's key.
        key: String,
        /// What tells this upload from another one of the same key.
        upload_id: String,
    }
    /// An object holds a verified copy of a sealed segment.
    12 Uploaded {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// The object's key.
        key: String,
        /// The object's length.
        len: u64,
        /// The object's checksum.
        crc: u64,
    }
    /// A manifest object was published.
    13 Published {
        /// Its number; greater than every one before.
        number: u64,
    }
    /// A segment's local copy was found damaged and is to be fetched again.
    14 NeedsRecovery {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// The segment file is about to be deleted; another copy stands for it.
    15 HotDropped {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// The compressed file is about to be deleted; another copy stands for it.
    16 WarmDropped {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// The object is about to be deleted; another copy stands for it, or it was trimmed.
    17 ColdDropped {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// The object is gone from the store.
    18 ColdDeleted {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// What follows, up to [`Entry::SnapshotEnd`], is all that was known; it replaces what came
    /// before this file.
    19 SnapshotBegin {
        /// The latest owner.
        epoch: Epoch,
        /// How many streams follow.
        streams: u64,
        /// How many segments follow.
        segments: u64,
    }
    /// A stream as it stood.
    20 SnapshotStream {
        /// The stream.
        stream: StreamId,
        /// Its name.
        name: String,
        /// When it was created, in nanoseconds since the epoch of Unix.
        created_ns: u64,
        /// The first offset that is kept.
        start: Offset,
        /// The highest end known.
        next: Offset,
        /// The first segment number that was never used.
        next_segment: SegmentNo,
        /// The life of its tail.
        incarnation: Incarnation,
        /// Its latest mark.
        mark: Option<MarkState>,
    }
    /// A segment as it stood.
    21 SnapshotSegment {
        /// The stream, which was named before.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
        /// How it stood.
        state: SegmentState,
    }
    /// The snapshot is complete.
    22 SnapshotEnd {}
    /// The segment file exists again, durably, made from another copy.
    23 HotRestored {
        /// The stream.
        stream: StreamId,
        /// The segment.
        segment: SegmentNo,
    }
    /// This directory is about to claim Tier 2: what it finds there of this owner is its own.
    24 ColdClaim {
        /// The number of the catalog object that will be the claim; not below one before.
        number: u64,
        /// The owner.
        owner: OwnerId,
    }
    /// A published catalog object names every segment of the stream that ends here or before.
    25 Archived {
        /// The stream.
        stream: StreamId,
        /// The offset behind the last of them.
        end: Offset,
    }
    /// How much a stream keeps from here on.
    26 Retention {
        /// The stream.
        stream: StreamId,
        /// How much.
        retention: RetentionState,
    }
    /// An upload in parts has begun, and none of them is sent before this is durable.
    27 PartsBegun {
        /// The key of the object that it is to make.
        key: String,
        /// What the store calls the upload.
        id: UploadId,
    }
    /// Nothing of an upload in parts is left in the store but the object that it may have made.
    28 PartsGone {
        /// The key of that object.
        key: String,
        /// What the store called the upload.
        id: UploadId,
    }
}

/// What stood where an entry was expected.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly every one is known, and none is kept"
)]
pub enum Decoded {
    /// An entry of a known type.
    Known(Entry),
    /// An intact entry of a type that a newer program added.
    Unknown {
        /// The number of the type.
        code: u16,
        /// It may be skipped.
        optional: bool,
    },
}

/// Why bytes are no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryFault {
    /// The entry says it is longer than what is there.
    #[error("an entry is cut short")]
    Cut,
    /// The checksum does not match.
    #[error("an entry's checksum does not match")]
    Crc,
    /// The checksum matches, but the body is not one of its type.
    #[error("the body of an entry of type {0} does not parse")]
    Body(u16),
    /// It is not the entry that its place calls for.
    #[error("an entry of sequence {0} stands in the wrong place")]
    Sequence(u64),
    /// A flag that this version does not know.
    #[error("an entry has flags {0:#x}, which are not known")]
    Flags(u16),
}

impl Entry {
    /// Appends the entry.
    pub fn encode(&self, seq: Seq, out: &mut Vec<u8>) {
        encode_raw(self.code(), self.flags(), seq, out, |out| {
            self.put_body(out)
        });
    }

    /// Programs that don't know of parts leave some in the store, and read the log all the same.
    pub(super) const fn flags(&self) -> u16 {
        match self {
            Self::PartsBegun { .. } | Self::PartsGone { .. } => FLAG_OPTIONAL,
            _ => 0,
        }
    }

    /// True for the entries that only the manifest itself writes, at the beginning of a file.
    pub const fn is_snapshot(&self) -> bool {
        matches!(
            self,
            Self::SnapshotBegin { .. }
                | Self::SnapshotStream { .. }
                | Self::SnapshotSegment { .. }
                | Self::SnapshotEnd {}
        )
    }

    /// The entry at the beginning of `bytes`, its sequence, and how many bytes it takes.
    pub fn decode(bytes: &[u8]) -> Result<(Decoded, Seq, usize), EntryFault> {
        let mut reader = Reader::new(bytes);
        let mut head = || {
            Some((
                u16::take(&mut reader)?,
                u16::take(&mut reader)?,
                u32::take(&mut reader)?,
                u64::take(&mut reader)?,
            ))
        };
        let (code, flags, body_len, seq) = head().ok_or(EntryFault::Cut)?;
        let body_len = usize::try_from(body_len).map_err(|_| EntryFault::Cut)?;
        let body = reader.bytes(body_len).ok_or(EntryFault::Cut)?;
        let crc = u64::take(&mut reader).ok_or(EntryFault::Cut)?;
        if crc64(&[&bytes[..ENTRY_HEAD], body]) != crc {
            return Err(EntryFault::Crc);
        }
        if flags & !FLAG_OPTIONAL != 0 {
            return Err(EntryFault::Flags(flags));
        }
        let mut body = Reader::new(body);
        let decoded = match Self::take_body(code, &mut body) {
            Some(Some(entry)) if body.is_empty() => Decoded::Known(entry),
            Some(_) => return Err(EntryFault::Body(code)),
            None => Decoded::Unknown {
                code,
                optional: flags & FLAG_OPTIONAL != 0,
            },
        };
        Ok((decoded, Seq(seq), ENTRY_OVERHEAD + body_len))
    }
}

/// Appends an entry of any type, also of one that does not exist yet.
pub(super) fn encode_raw(
    code: u16,
    flags: u16,
    seq: Seq,
    out: &mut Vec<u8>,
    body: impl FnOnce(&mut Vec<u8>),
) {
    let start = out.len();
    code.put(out);
    flags.put(out);
    0u32.put(out);
    seq.0.put(out);
    body(out);
    let body_len = out.len() - start - ENTRY_HEAD;
    let body_len = u32::try_from(body_len).expect("an entry is a few texts at most");
    out[start + 4..start + 8].copy_from_slice(&body_len.to_le_bytes());
    let crc = crc64(&[&out[start..]]);
    crc.put(out);
}
