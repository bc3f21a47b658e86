//! The manifest file that is being written.
//!
//! ```text
//!   create ──▶ publish ──▶ commit, commit, … ──▶ close_clean
//!     │           │           │
//!     │           ▼           ▼ the disk failed
//!     │        an error ──▶ spent: nothing is written to it or synced again; the owner creates
//!     ▼                     the next number from its state, and publishes that
//!   an error: the file is removed
//! ```
//!
//! A file is only ever appended to by the process that created it: a restart continues in a new one
//! that begins with a snapshot, since what it reads may never have reached the disk.

use std::{path::Path, sync::Arc};

use super::{
    ManifestOptions, Seq,
    apply::{Undo, invalid},
    chunk::{FileHeader, is_chunk_size},
    commit::{CommitBuilder, commit_max, padded},
    current::{Current, discard},
    entry::Entry,
    reserve,
    state::ManifestState,
    tail::Tail,
};
use crate::{
    crc::crc64,
    disk::{Disk, SharedFile},
    error::{Result, StorageError},
    ids::{Epoch, LogId},
    layout::{Layout, parse_manifest_name},
    segment::file::Latched,
};

/// A snapshot is written in commits of about this size.
const SNAPSHOT_COMMIT: usize = 64 << 10;
/// And in writes of about this size, so that memory does not grow with the log.
const SNAPSHOT_WRITE: usize = 1 << 20;

/// What may be done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Durable, but nothing points to it yet.
    Created,
    /// It is the manifest.
    Published,
    /// It was closed in order.
    Closed,
    /// The disk failed: what it holds is in doubt for good.
    Spent,
}

/// The manifest file that is being written. One job at a time owns it.
#[derive(Debug)]
pub struct ManifestLog {
    disk: Arc<dyn Disk>,
    layout: Layout,
    log: LogId,
    number: u64,
    file: Latched,
    stage: Stage,
    tail: Tail,
    last: Seq,
    epoch: Epoch,
    /// Where the file ends, zeros included.
    allocated: u64,
    snapshot_end: u64,
    rotate_bytes: u64,
}

/// What one call of [`ManifestLog::commit`] is about to write.
struct Prepared {
    tail: Tail,
    last: Seq,
    bytes: Vec<u8>,
    scratch: Vec<u8>,
    claimed: Seq,
}

impl ManifestLog {
    /// Begins the file of a number with a snapshot of `state`, all of it durable, its name in the
    /// folder too. `CURRENT` still points to the file before.
    ///
    /// The number must be greater than that of the file that counts; one that a crash left behind
    /// is replaced. After an error nothing is left of the file.
    pub fn create(
        disk: &Arc<dyn Disk>,
        layout: &Layout,
        number: u64,
        state: &ManifestState,
        options: &ManifestOptions,
        now_ns: u64,
    ) -> Result<Self> {
        options.check()?;
        if state.pending.is_some() {
            return invalid("a snapshot of a state that is being read".into());
        }
        let previous = Self::previous(disk, layout, number, state.log)?;
        let path = layout.manifest(number);
        let file = reserve::with_reserve(&**disk, layout, || create_file(&**disk, &path))?;
        let header = FileHeader {
            log: state.log,
            number,
            chunk_size: options.chunk_size,
            created_ns: now_ns,
            first: state.seq,
            previous,
            salt: salt(state, number, now_ns),
        };
        let mut bytes = Vec::new();
        let mut log = Self {
            disk: Arc::clone(disk),
            layout: layout.clone(),
            log: state.log,
            number,
            file: Latched::new(file, path),
            stage: Stage::Created,
            tail: Tail::begin(header, &mut bytes),
            last: state.seq,
            epoch: state.epoch,
            allocated: 0,
            snapshot_end: 0,
            rotate_bytes: options.rotate_bytes,
        };
        let made = log.write_snapshot(state, bytes);
        match made {
            Ok(()) => Ok(log),
            Err(error) => {
                discard(&*log.disk, log.file.path());
                Err(error)
            }
        }
    }

    /// The file that counts so far, which must not be the one that is to be created.
    fn previous(disk: &Arc<dyn Disk>, layout: &Layout, number: u64, log: LogId) -> Result<u64> {
        let Some(current) = Current::read(&**disk, layout)? else {
            return Ok(0);
        };
        if current.log != log {
            return Err(StorageError::ForeignLog {
                path: layout.current(),
                expected: log,
                found: current.log,
            });
        }
        if current.number >= number {
            return invalid(format!(
                "manifest {number} does not follow {}",
                current.number
            ));
        }
        Ok(current.number)
    }

    fn write_snapshot(&mut self, state: &ManifestState, mut bytes: Vec<u8>) -> Result<()> {
        let mut written = 0;
        let mut commit = Vec::new();
        let mut builder = CommitBuilder::new(state.seq, true, &mut commit);
        let most = commit_max(self.tail.chunk_size()).min(SNAPSHOT_COMMIT);
        for entry in state.snapshot_entries() {
            let before = builder.len_exact();
            builder.push(&entry);
            if builder.len() <= most {
                continue;
            }
            builder.pop_to(before);
            builder.finish(state.seq, self.tail.salt());
            self.tail.append(&commit, state.seq.next(), &mut bytes);
            if bytes.len() >= SNAPSHOT_WRITE {
                self.write_piece(&mut bytes, &mut written)?;
            }
            commit.clear();
            builder = CommitBuilder::new(state.seq, true, &mut commit);
            builder.push(&entry);
        }
        builder.finish(state.seq, self.tail.salt());
        self.tail.append(&commit, state.seq.next(), &mut bytes);
        self.write_piece(&mut bytes, &mut written)?;
        self.snapshot_end = self.tail.position();
        self.file.sync()?;
        let dir = self.layout.manifest_dir();
        self.disk
            .sync_dir(&dir)
            .map_err(|error| StorageError::io("sync the folder", dir, error))
    }

    fn write_piece(&mut self, bytes: &mut Vec<u8>, written: &mut u64) -> Result<()> {
        let end = *written + bytes.len() as u64;
        self.allocate(end, self.tail.chunk_end())?;
        self.file.write_at(bytes, *written)?;
        *written = end;
        bytes.clear();
        Ok(())
    }

    /// Sees to it that the file has room up to `need`, and if possible up to `want`.
    fn allocate(&mut self, need: u64, want: u64) -> Result<()> {
        if need > self.allocated {
            let range = (self.allocated, need, want.max(need));
            self.allocated = reserve::allocate(&*self.disk, &self.layout, &self.file, range)?;
        }
        Ok(())
    }

    /// Makes this file the manifest, durably.
    ///
    /// After an error nobody knows which file the pointer on the disk names, and this one is spent;
    /// the next attempt takes the next number.
    pub fn publish(&mut self) -> Result<()> {
        if self.stage != Stage::Created {
            return self.refuse("can't be published");
        }
        self.point(None)?;
        self.stage = Stage::Published;
        Ok(())
    }

    fn point(&mut self, clean: Option<(Seq, u64)>) -> Result<()> {
        let current = Current {
            log: self.log,
            number: self.number,
            clean,
            epoch: self.epoch,
        };
        current
            .publish(&*self.disk, &self.layout)
            .inspect_err(|_| self.stage = Stage::Spent)
    }

    /// Writes commits, makes them durable and takes them into `state`: one write and one sync for
    /// all of them. Each counts whole or not at all.
    ///
    /// The inner results are in the order of `commits`: the sequence of the last entry, which is
    /// durable, or [`StorageError::Invalid`] for a commit that makes no sense after those before
    /// it, of which then nothing was written; the others are not touched by that.
    ///
    /// After an outer error `state` is what it was before the call, and none of the commits may be
    /// called done. Where there was no room (see [`StorageError::is_storage_full`]) nothing was
    /// written and a later call may do better. After any other error the file is spent: what it
    /// holds of these commits is in doubt, so the owner creates the next file from `state`.
    ///
    /// Without any commits, one without entries is written: it claims that what came before is
    /// durable, so that damage to it is never taken for a torn tail.
    pub fn commit(
        &mut self,
        commits: &[Vec<Entry>],
        state: &mut ManifestState,
    ) -> Result<Vec<Result<Seq>>> {
        if self.stage != Stage::Published {
            return self.refuse("can't be written to");
        }
        if (state.log, state.seq) != (self.log, self.last) {
            return self.refuse("is about another state");
        }
        let mut undo = Vec::new();
        let mut prepared = Prepared {
            tail: self.tail.clone(),
            last: self.last,
            bytes: Vec::new(),
            scratch: Vec::new(),
            claimed: self.last,
        };
        let results = commits
            .iter()
            .map(|entries| prepared.add(entries, state, &mut undo))
            .collect();
        if commits.is_empty() {
            prepared.claim();
        }
        if !prepared.bytes.is_empty()
            && let Err(error) = self.write(prepared)
        {
            state.roll_back(&mut undo, 0);
            return Err(error);
        }
        state.seq = self.last;
        self.epoch = state.epoch;
        Ok(results)
    }

    fn write(&mut self, prepared: Prepared) -> Result<()> {
        let at = self.tail.position();
        let end = at + prepared.bytes.len() as u64;
        let written = self
            .allocate(end, prepared.tail.chunk_end())
            .and_then(|()| self.file.write_at(&prepared.bytes, at))
            .and_then(|()| self.file.sync());
        if let Err(error) = &written
            && (self.file.failed() || !error.is_storage_full())
        {
            self.stage = Stage::Spent;
        }
        written?;
        self.tail = prepared.tail;
        self.last = prepared.last;
        Ok(())
    }

    fn refuse<T>(&self, why: &str) -> Result<T> {
        invalid(format!(
            "manifest {} {why}: it is {}",
            self.number,
            match self.stage {
                Stage::Created => "not published",
                Stage::Published => "published",
                Stage::Closed => "closed",
                Stage::Spent => "spent, since the disk failed",
            }
        ))
    }

    /// Says in `CURRENT` where the file ends, so that nothing missing from it can ever be taken for
    /// a torn tail. Nothing can be committed afterwards.
    pub fn close_clean(&mut self) -> Result<()> {
        if self.stage != Stage::Published {
            return self.refuse("can't be closed");
        }
        self.point(Some((self.last, self.tail.position())))?;
        self.stage = Stage::Closed;
        Ok(())
    }

    /// Removes the files of lower numbers, which count no more once this one is published.
    pub fn delete_older(disk: &dyn Disk, layout: &Layout, number: u64) -> Result<()> {
        let dir = layout.manifest_dir();
        let names = disk
            .list(&dir)
            .map_err(|error| StorageError::io("list", &dir, error))?;
        let mut removed = false;
        for old in names
            .iter()
            .filter(|entry| entry.is_file)
            .filter_map(|entry| parse_manifest_name(&entry.name))
            .filter(|old| *old < number)
        {
            let path = layout.manifest(old);
            disk.remove(&path)
                .map_err(|error| StorageError::io("remove", path, error))?;
            removed = true;
        }
        if removed {
            disk.sync_dir(&dir)
                .map_err(|error| StorageError::io("sync the folder", dir, error))?;
        }
        Ok(())
    }

    /// True once so much stands behind the snapshot that a new file is due: enough by the options,
    /// and no less than the snapshot, so that a large log is not spent on snapshots.
    pub fn wants_rotation(&self) -> bool {
        self.behind_snapshot() >= self.rotate_bytes.max(self.snapshot_end)
    }

    /// How many bytes of commits stand behind the snapshot, without what is only allocated: what a
    /// replay has to read beyond the state itself.
    pub const fn behind_snapshot(&self) -> u64 {
        self.tail.position() - self.snapshot_end
    }

    /// The file's number.
    pub const fn number(&self) -> u64 {
        self.number
    }

    /// The sequence of the last durable entry.
    pub const fn last_seq(&self) -> Seq {
        self.last
    }

    /// How many bytes can be written before room has to be found for more.
    pub const fn allocated_ahead(&self) -> u64 {
        self.allocated.saturating_sub(self.tail.position())
    }

    /// The disk failed: nothing will be written to this file any more.
    pub const fn is_spent(&self) -> bool {
        matches!(self.stage, Stage::Spent)
    }
}

impl Prepared {
    fn add(
        &mut self,
        entries: &[Entry],
        state: &mut ManifestState,
        undo: &mut Vec<Undo>,
    ) -> Result<Seq> {
        if entries.is_empty() {
            return Ok(self.last);
        }
        if let Some(entry) = entries.iter().find(|entry| entry.is_snapshot()) {
            return invalid(format!("{} is written by the manifest alone", entry.name()));
        }
        let before = undo.len();
        state.apply_all_noting(entries, undo)?;
        self.encode(entries)
            .inspect_err(|_| state.roll_back(undo, before))
    }

    fn encode(&mut self, entries: &[Entry]) -> Result<Seq> {
        if self.last.0.checked_add(entries.len() as u64 + 1).is_none() {
            return invalid("the manifest has used up its sequences".into());
        }
        let most = commit_max(self.tail.chunk_size());
        let first = self.last.next();
        self.scratch.clear();
        let mut commit = CommitBuilder::new(first, false, &mut self.scratch);
        for entry in entries {
            commit.push(entry);
            if commit.len() > most {
                return invalid(format!(
                    "a commit of {} entries does not fit a chunk of the manifest",
                    entries.len()
                ));
            }
        }
        let last = Seq(first.0 + u64::from(commit.count()) - 1);
        commit.finish(self.claimed, self.tail.salt());
        self.tail.append(&self.scratch, first, &mut self.bytes);
        self.last = last;
        Ok(last)
    }

    fn claim(&mut self) {
        let next = self.last.next();
        let commit = CommitBuilder::new(next, false, &mut self.scratch);
        commit.finish(self.claimed, self.tail.salt());
        self.tail.append(&self.scratch, next, &mut self.bytes);
    }
}

impl ManifestOptions {
    fn check(&self) -> Result<()> {
        if is_chunk_size(self.chunk_size) {
            return Ok(());
        }
        invalid(format!(
            "chunks of the manifest can't have {} bytes",
            self.chunk_size
        ))
    }
}

const _: () = assert!(padded(0) < SNAPSHOT_COMMIT);

/// Unlike that of any file before: number and time differ, or the state does.
fn salt(state: &ManifestState, number: u64, now_ns: u64) -> u64 {
    crc64(&[
        state.log.as_bytes(),
        &number.to_le_bytes(),
        &now_ns.to_le_bytes(),
        &state.seq.0.to_le_bytes(),
        &state.epoch.0.to_le_bytes(),
    ])
}

/// Creates the file, in place of one that an unfinished attempt left.
fn create_file(disk: &dyn Disk, path: &Path) -> Result<SharedFile> {
    let create = || disk.create_new(path);
    match create() {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => disk
            .remove(path)
            .map_err(|error| StorageError::io("remove", path, error))
            .and_then(|()| create().map_err(|error| StorageError::io("create", path, error))),
        outcome => outcome.map_err(|error| StorageError::io("create", path, error)),
    }
}
