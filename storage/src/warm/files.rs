//! Making and undoing the files of Tier 1, each step durable before the next one may rest on it.

use std::{io, path::Path};

use super::{
    Compressed, Pace, WarmFault, WarmIdentity, WarmOptions, WarmView, compare, compress,
    compress::damaged, read::read_exact,
};
use crate::{
    crc::Crc64,
    disk::{Access, Disk},
    error::{Result, StorageError},
    layout::Layout,
    manifest::{SealedFacts, WarmCopy},
    segment::{
        Block, Digest, Footer, HEADER_LEN, Latched, RecordsRef, SparseIndex, header::header_crc,
        read_block,
    },
};

/// Bytes copied at a time.
const PIECE: usize = 1 << 20;

/// Makes the warm file of a sealed segment that has none in the manifest. When this returns, the file
/// and its name are durable, and it was decoded and compared with the segment. When it fails, none is
/// left where that can be helped.
///
/// # Errors
/// As [`compress`] and [`compare`].
pub fn make(
    disk: &dyn Disk,
    layout: &Layout,
    identity: &WarmIdentity,
    options: &WarmOptions,
    pace: Pace<'_>,
) -> Result<Compressed, WarmFault> {
    let path = layout.warm(identity.stream, identity.segment);
    // One that is there was begun for nothing: the manifest names none.
    remove_if_there(disk, &path)?;
    let segment = open(disk, &layout.segment(identity.stream, identity.segment))?;
    let file = disk
        .create_new(&path)
        .map_err(|error| StorageError::io("create", &path, error))?;
    let file = Latched::new(file, path);
    let made = compress(&segment, identity, options, &file, pace).and_then(|written| {
        file.sync()?;
        sync_dir(disk, layout, identity)?;
        compare(&segment, &file, identity, &written, pace)?;
        Ok(written)
    });
    if made.is_err() {
        undo(disk, layout, identity, file.path());
    }
    made
}

/// Makes the segment file again from its warm file. When this returns, the file and its name are
/// durable. When it fails, none is left where that can be helped.
///
/// # Errors
/// What is wrong with the warm file, or with writing.
pub fn hydrate(
    disk: &dyn Disk,
    layout: &Layout,
    identity: &WarmIdentity,
    copy: &WarmCopy,
    pace: Pace<'_>,
) -> Result<(), WarmFault> {
    let view = WarmView::open(disk, layout, identity, copy)?;
    let path = layout.segment(identity.stream, identity.segment);
    remove_if_there(disk, &path)?;
    let file = disk
        .create_new(&path)
        .map_err(|error| StorageError::io("create", &path, error))?;
    let file = Latched::new(file, path);
    let mut fill = || {
        file.allocate(0, identity.facts.file_len)?;
        for frame in view.index().frames() {
            if !pace(frame.plain_pos) {
                return Err(WarmFault::Stopped);
            }
            file.write_at(&view.frame(frame)?, frame.plain_pos)?;
        }
        file.sync()?;
        sync_dir(disk, layout, identity)?;
        Ok(())
    };
    let filled = fill();
    if filled.is_err() {
        undo(disk, layout, identity, file.path());
    }
    filled
}

/// Makes the warm file again from its bytes elsewhere, in the place of one that may be damaged. When this
/// returns, the file and its name are durable, and it is the one that the manifest says. When it fails,
/// what was there before is as it was, where that can be helped.
///
/// # Errors
/// What is wrong with the source, or with writing.
pub fn fetch(
    disk: &dyn Disk,
    layout: &Layout,
    identity: &WarmIdentity,
    copy: &WarmCopy,
    source: &Latched,
    pace: Pace<'_>,
) -> Result<(), WarmFault> {
    let (path, new_path) = (
        layout.warm(identity.stream, identity.segment),
        layout.segment_tmp(identity.stream, identity.segment),
    );
    remove_if_there(disk, &new_path)?;
    let file = disk
        .create_new(&new_path)
        .map_err(|error| StorageError::io("create", &new_path, error))?;
    let file = Latched::new(file, new_path);
    let mut fill = || {
        file.allocate(0, copy.file_len)?;
        let crc = each_piece(source, copy.file_len, |pos, piece| {
            file.write_at(piece, pos)?;
            match pace(pos) {
                true => Ok(()),
                false => Err(WarmFault::Stopped),
            }
        })?;
        check_crc(crc, copy)?;
        WarmView::of(file.clone(), identity, copy.file_len)?;
        file.sync()?;
        disk.rename(file.path(), &path)
            .map_err(|error| StorageError::io("rename", file.path(), error))?;
        Ok(())
    };
    if let Err(fault) = fill() {
        undo(disk, layout, identity, file.path());
        return Err(fault);
    }
    Ok(sync_dir(disk, layout, identity)?)
}

/// Reads all of a warm file that is to stand for its segment alone, and holds it against the checksum
/// that the manifest has of it: what was compared when it was made may have been damaged since.
///
/// # Errors
/// What is wrong with it; `Disk` when it could not be read.
pub fn look(
    disk: &dyn Disk,
    layout: &Layout,
    identity: &WarmIdentity,
    copy: &WarmCopy,
) -> Result<(), WarmFault> {
    // The structure first: it says which segment it is, and of which version.
    WarmView::open(disk, layout, identity, copy)?;
    let file = open(disk, &layout.warm(identity.stream, identity.segment))?;
    check_crc(each_piece(&file, copy.file_len, |_, _| Ok(()))?, copy)
}

/// Hands a file's bytes to `take`, piece by piece, and gives their checksum.
fn each_piece(
    file: &Latched,
    len: u64,
    mut take: impl FnMut(u64, &[u8]) -> Result<(), WarmFault>,
) -> Result<u64, WarmFault> {
    let (mut crc, mut pos) = (Crc64::new(), 0);
    while pos < len {
        let left = usize::try_from(len - pos).unwrap_or(usize::MAX);
        let piece = read_exact(file, pos, left.min(PIECE))?;
        crc.write(&piece);
        take(pos, &piece)?;
        pos += piece.len() as u64;
    }
    Ok(crc.sum64())
}

pub(crate) fn check_crc(crc: u64, copy: &WarmCopy) -> Result<(), WarmFault> {
    match crc == copy.crc {
        true => Ok(()),
        false => Err(WarmFault::Damaged(
            "the checksum of the file is not that of what was written",
        )),
    }
}

/// Seals a segment that ended without a footer: a failed write, a recovery or a truncation had ended
/// it. Its file may be one that nobody may ever write to or sync again, so its frames are copied, with
/// a footer, to a new file that takes its name. Of the facts in `segment` only base, end and the byte
/// behind the frames are looked at; the others are what this is about to find out.
///
/// When this returns, the new file is durable under the name. Until the manifest says `Sealed`, what
/// stands behind the frames counts for nothing, as before.
///
/// # Errors
/// `Disk(Corrupt)` when a frame is damaged; nothing has changed then.
pub fn finish(
    disk: &dyn Disk,
    layout: &Layout,
    segment: &WarmIdentity,
    pace: Pace<'_>,
) -> Result<SealedFacts, WarmFault> {
    let path = layout.segment(segment.stream, segment.segment);
    let new_path = layout.segment_tmp(segment.stream, segment.segment);
    let old = open(disk, &path)?;
    remove_if_there(disk, &new_path)?;
    let file = disk
        .create_new(&new_path)
        .map_err(|error| StorageError::io("create", &new_path, error))?;
    let file = Latched::new(file, new_path);
    let written = write_finished(&old, &file, segment, pace).and_then(|facts| {
        file.sync()?;
        disk.rename(file.path(), &path)
            .map_err(|error| StorageError::io("rename", file.path(), error))?;
        Ok(facts)
    });
    let facts = match written {
        Ok(facts) => facts,
        Err(error) => {
            undo(disk, layout, segment, file.path());
            return Err(error);
        }
    };
    sync_dir(disk, layout, segment)?;
    Ok(facts)
}

/// What the frames of a segment add up to.
#[derive(Default)]
struct Sum {
    index: SparseIndex,
    first_ts: Option<u64>,
    last_ts: u64,
    ext: Option<(u64, u64)>,
}

impl Sum {
    fn add(&mut self, block: &Block, digest: &mut Digest) -> Result<()> {
        let mut pos = block.pos;
        for (head, bytes) in block.frames() {
            digest.push(head.crc);
            self.index.note(head.base, pos, head.base_ts);
            self.first_ts.get_or_insert(head.base_ts);
            pos += bytes.len() as u64;
            let invalid = |fault: crate::segment::FrameFault| StorageError::Invalid {
                what: format!("a frame with a good checksum: {fault}"),
            };
            for record in RecordsRef::of(&bytes).map_err(invalid)? {
                let record = record.map_err(invalid)?;
                self.last_ts = record.timestamp;
                if let Some(id) = record.ext_id {
                    let (min, max) = self.ext.unwrap_or((id, id));
                    self.ext = Some((min.min(id), max.max(id)));
                }
            }
        }
        Ok(())
    }
}

fn write_finished(
    old: &Latched,
    new: &Latched,
    segment: &WarmIdentity,
    pace: Pace<'_>,
) -> Result<SealedFacts, WarmFault> {
    let facts = &segment.facts;
    let header = read_exact(old, 0, HEADER_LEN as usize)?;
    let crc = header.first_chunk().map(header_crc).unwrap_or_default();
    new.write_at(&header, 0)?;
    let (mut digest, mut sum) = (Digest::new(crc), Sum::default());
    let (mut pos, mut at) = (HEADER_LEN, facts.base);
    while at < facts.end {
        if !pace(pos) {
            return Err(WarmFault::Stopped);
        }
        let block = read_block(old, segment.salt, pos, facts.data_end, at, PIECE)
            .map_err(|error| damaged(segment, error))?;
        sum.add(&block, &mut digest)?;
        new.write_at(&block.bytes, block.pos)?;
        (pos, at) = (block.next_pos, block.end);
    }
    if (pos, at) != (facts.data_end, facts.end) {
        return Err(WarmFault::Foreign("its end"));
    }
    let footer = Footer {
        log: segment.log,
        segment: segment.segment,
        base: facts.base,
        end: facts.end,
        data_end: pos,
        first_ts: sum.first_ts.unwrap_or(0),
        last_ts: sum.last_ts,
        ext: sum.ext,
        digest: digest.value(),
        watermark: facts.end,
        flush_failed: false,
        index: sum.index,
    };
    let bytes = footer.encode(segment.salt);
    new.write_at(&bytes, pos)?;
    Ok(SealedFacts {
        file_len: pos + bytes.len() as u64,
        first_ts: footer.first_ts,
        last_ts: footer.last_ts,
        ext: footer.ext,
        digest: footer.digest,
        ..*facts
    })
}

fn open(disk: &dyn Disk, path: &Path) -> Result<Latched> {
    let file = disk.open(path, Access::Read);
    let file = file.map_err(|error| StorageError::io("open", path, error))?;
    Ok(Latched::new(file, path.to_path_buf()))
}

fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<()> {
    match disk.remove(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StorageError::io("remove", path, error))
        }
        _ => Ok(()),
    }
}

/// Nothing names it: should this fail, the next open removes it.
fn undo(disk: &dyn Disk, layout: &Layout, of: &WarmIdentity, path: &Path) {
    let removed = remove_if_there(disk, path).and_then(|()| sync_dir(disk, layout, of));
    if let Err(error) = removed {
        tracing::warn!(
            target: "tierlog::storage", path = %path.display(), %error,
            "an unfinished file was left behind"
        );
    }
}

fn sync_dir(disk: &dyn Disk, layout: &Layout, of: &WarmIdentity) -> Result<()> {
    let dir = layout.stream_dir(of.stream);
    disk.sync_dir(&dir)
        .map_err(|error| StorageError::io("sync", dir, error))
}
