//! A disk for work that nobody waits for, beside syncs that somebody waits for.
//!
//! A disk carries out what it was given before a flush, whoever gave it: a sync of one record behind that of a
//! file of several MiB takes as long as all of it. What is written here is synced piece by piece while others
//! sync, each piece right behind one of theirs, so that it is over, or nearly so, when the next of them comes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;

use super::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space};

/// Bytes that are written before they are synced. A disk that writes 1 GB/s takes a quarter of a millisecond.
const PIECE: usize = 256 * 1024;
/// After so many pieces without a sync by anybody else, nobody is in a hurry any more.
const QUIET_AFTER: u32 = 16;

/// How long a piece waits for its turn. Without a limit a disk that does not answer would keep what is written on
/// others.
const PATIENCE: Duration = Duration::from_millis(3);

/// What is synced in this process: logs share their disks, whoever opened them.
static TRAFFIC: Traffic = Traffic::new(PATIENCE);

/// Says that a sync has ended for which somebody waited.
pub fn note_awaited_sync() {
    TRAFFIC.note_awaited();
}

#[derive(Debug)]
struct Traffic {
    now: Mutex<Now>,
    changed: Condvar,
    patience: Duration,
}

#[derive(Debug)]
struct Now {
    /// Syncs that have ended for which somebody waited.
    awaited: u64,
    /// Syncs of pieces that are under way.
    pieces: u32,
    /// Awaited syncs at the last look.
    seen: u64,
    /// Looks until nobody is in a hurry.
    hurry: u32,
}

impl Traffic {
    const fn new(patience: Duration) -> Self {
        Self {
            now: Mutex::new(Now {
                awaited: 0,
                pieces: 0,
                seen: 0,
                hurry: 0,
            }),
            changed: Condvar::new(),
            patience,
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether others wait for syncs. Whoever has written a whole piece asks, and with him it begins; who has
    /// less to sync gives way as well, while it lasts.
    fn is_hurried(&self, is_piece: bool) -> bool {
        let mut now = self.now();
        now.hurry = match now.awaited != now.seen && (is_piece || now.hurry > 0) {
            true => QUIET_AFTER,
            false => now.hurry.saturating_sub(1),
        };
        now.seen = now.awaited;
        now.hurry > 0
    }

    fn note_awaited(&self) {
        self.now().awaited += 1;
        self.changed.notify_all();
    }

    /// Syncs a piece when a sync has just ended for which somebody waited, and no other piece is under way: who
    /// waited has to do something before the next one, and meanwhile the disk is free.
    fn piece(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        let now = self.now();
        let seen = now.awaited;
        let not_yet = |now: &mut Now| now.awaited == seen || now.pieces > 0;
        let waited = self
            .changed
            .wait_timeout_while(now, self.patience, not_yet)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut now, _) = waited;
        now.pieces += 1;
        drop(now);
        let _under_way = UnderWay(self);
        sync()
    }

    /// Syncs what is left behind the last piece, or a folder: a few KiB, and a commit of the file system's journal,
    /// behind which others wait as well.
    fn last(&self, sync: impl FnOnce() -> io::Result<()>) -> io::Result<()> {
        match self.is_hurried(false) {
            true => self.piece(sync),
            false => sync(),
        }
    }
}

/// A sync that is under way. It counts until it is over, also where the disk panics: else each piece behind it
/// would wait for as long as it may.
struct UnderWay<'a>(&'a Traffic);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.now().pieces -= 1;
        self.0.changed.notify_all();
    }
}

/// Another disk, on which new files are written gently. A failed sync of a piece is a failed write.
#[derive(Debug)]
pub struct GentleDisk(Arc<dyn Disk>);

impl GentleDisk {
    /// Writes new files on this one.
    pub fn new(inner: Arc<dyn Disk>) -> Self {
        Self(inner)
    }
}

impl Disk for GentleDisk {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        Ok(Arc::new(GentleFile {
            inner: self.0.create_new(path)?,
            unsynced: AtomicUsize::new(0),
        }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        self.0.open(path, access)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.0.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.link(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        self.0.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        self.0.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        TRAFFIC.last(|| self.0.sync_dir(dir))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.0.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.0.space(path)
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.resolve(path)
    }

    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self, dir: &Path) {
        self.0.forget_changes(dir);
    }
}

#[derive(Debug)]
struct GentleFile {
    inner: SharedFile,
    /// Bytes that were written since a piece was last whole.
    unsynced: AtomicUsize,
}

impl GentleFile {
    /// Whether a piece is whole with so many bytes more.
    fn is_whole(&self, len: usize) -> bool {
        let is_whole = self.unsynced.fetch_add(len, Ordering::Relaxed) + len >= PIECE;
        if is_whole {
            self.unsynced.store(0, Ordering::Relaxed);
        }
        is_whole
    }
}

impl DiskFile for GentleFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        self.inner.read_at(buf, pos)
    }

    fn read_behind(&self, buf: &mut Vec<u8>, len: usize, pos: u64) -> io::Result<usize> {
        self.inner.read_behind(buf, len, pos)
    }

    fn read_in_memory(&self, buf: &mut [u8], pos: u64) -> bool {
        self.inner.read_in_memory(buf, pos)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let mut pos = pos;
        for part in buf.chunks(PIECE) {
            self.inner.write_at(part, pos)?;
            pos += part.len() as u64;
            if self.is_whole(part.len()) && TRAFFIC.is_hurried(true) {
                TRAFFIC.piece(|| self.inner.sync_data())?;
            }
        }
        Ok(())
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        self.inner.allocate(pos, len)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        TRAFFIC.last(|| self.inner.sync_data())
    }

    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn is_empty(&self) -> io::Result<bool> {
        self.inner.is_empty()
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        self.inner.map_read_only(len)
    }

    #[cfg(feature = "fault-injection")]
    fn forget_changes(&self) {
        self.inner.forget_changes();
    }
}

#[cfg(test)]
mod tests {
    use std::{
        panic::{AssertUnwindSafe, catch_unwind},
        sync::{
            atomic::{AtomicUsize, Ordering::SeqCst},
            mpsc::sync_channel,
        },
        thread,
    };

    use super::*;
    use crate::disk::{
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    };

    #[test]
    fn pieces_wait_while_others_wait_for_syncs_and_for_a_while_after() {
        let traffic = Traffic::new(Duration::ZERO);
        assert!(!traffic.is_hurried(true), "nobody does");
        traffic.note_awaited();
        assert!(!traffic.is_hurried(false), "nobody has written a piece");
        traffic.note_awaited();
        assert!(traffic.is_hurried(true));
        for _ in 1..QUIET_AFTER {
            assert!(traffic.is_hurried(true));
        }
        assert!(!traffic.is_hurried(true), "nobody has synced since");
        traffic.note_awaited();
        assert!(traffic.is_hurried(true));
        traffic.note_awaited();
        for _ in 0..QUIET_AFTER {
            assert!(traffic.is_hurried(false), "and so does what is left");
        }
        assert!(!traffic.is_hurried(false));
    }

    #[test]
    fn a_piece_is_whole_with_its_last_byte() {
        let disk = GentleDisk::new(Arc::new(SimDisk::new()));
        disk.create_new(Path::new("/file")).unwrap();
        let file = GentleFile {
            inner: disk.open(Path::new("/file"), Access::ReadWrite).unwrap(),
            unsynced: AtomicUsize::new(0),
        };
        assert!(!file.is_whole(PIECE - 1));
        assert!(file.is_whole(1));
        assert!(!file.is_whole(PIECE - 1));
    }

    #[test]
    fn what_is_left_behind_the_pieces_waits_for_its_turn_as_well() {
        beside_syncs(1, |traffic| {
            while !traffic.is_hurried(true) {}
            for _ in 0..100 {
                let before = traffic.now().awaited;
                let synced = traffic.last(|| {
                    assert!(traffic.now().awaited > before);
                    Ok(())
                });
                synced.unwrap();
            }
        });
    }

    /// Lets threads sync pieces, and notes syncs until all of them are done.
    fn beside_syncs(threads: usize, piece: impl Fn(&Traffic) + Sync) {
        let traffic = Traffic::new(Duration::from_secs(600));
        thread::scope(|scope| {
            let (begun, begins) = sync_channel(threads);
            let threads: Vec<_> = (0..threads)
                .map(|_| {
                    let begun = begun.clone();
                    let (traffic, piece) = (&traffic, &piece);
                    scope.spawn(move || {
                        begun.send(()).unwrap();
                        piece(traffic);
                    })
                })
                .collect();
            for _ in &threads {
                begins.recv().unwrap();
            }
            while threads.iter().any(|thread| !thread.is_finished()) {
                traffic.note_awaited();
            }
        });
    }

    #[test]
    fn a_piece_goes_behind_a_sync_that_somebody_waited_for() {
        beside_syncs(1, |traffic| {
            for _ in 0..100 {
                let before = traffic.now().awaited;
                let synced = traffic.piece(|| {
                    assert!(traffic.now().awaited > before);
                    Ok(())
                });
                synced.unwrap();
            }
        });
    }

    #[test]
    fn one_piece_is_synced_at_a_time() {
        let at_once = AtomicUsize::new(0);
        beside_syncs(4, |traffic| {
            for _ in 0..100 {
                let synced = traffic.piece(|| {
                    assert_eq!(at_once.fetch_add(1, SeqCst), 0);
                    at_once.fetch_sub(1, SeqCst);
                    Ok(())
                });
                synced.unwrap();
            }
        });
    }

    #[test]
    fn a_piece_waits_neither_for_ever_for_a_sync_nor_for_a_piece_that_hangs() {
        let traffic = Traffic::new(Duration::ZERO);
        let within = traffic.piece(|| traffic.piece(|| Err(io::ErrorKind::TimedOut.into())));
        assert_eq!(within.unwrap_err().kind(), io::ErrorKind::TimedOut);
        assert_eq!(traffic.now().pieces, 0);
    }

    #[test]
    fn a_disk_that_panics_leaves_no_piece_behind() {
        let traffic = Traffic::new(Duration::ZERO);
        let panics = || drop(traffic.piece(|| panic!("on purpose")));
        catch_unwind(AssertUnwindSafe(panics)).unwrap_err();
        assert_eq!(traffic.now().pieces, 0);
    }

    #[test]
    fn what_was_written_in_pieces_is_on_the_disk_but_for_the_last_one() {
        let (sim, path) = (SimDisk::new(), Path::new("/file"));
        let disk = GentleDisk::new(Arc::new(sim.clone()));
        let file = disk.create_new(path).unwrap();
        sim.sync_dir(Path::new("/")).unwrap();
        note_awaited_sync();
        file.write_at(&vec![7; 2 * PIECE + 1], 0).unwrap();
        let left = sim.power_cut_with(Cut::AllLost);
        let file = left.open(path, Access::Read).unwrap();
        assert_eq!(file.len().unwrap(), 2 * PIECE as u64);
        let mut bytes = vec![0; 2 * PIECE];
        assert_eq!(file.read_at(&mut bytes, 0).unwrap(), bytes.len());
        assert!(bytes.iter().all(|byte| *byte == 7));
    }

    #[test]
    fn a_sync_that_fails_fails_the_write() {
        let plan = FaultPlan::new();
        let faulty = FaultDisk::new(Arc::new(SimDisk::new()), plan.clone());
        let disk = GentleDisk::new(Arc::new(faulty));
        let file = disk.create_new(Path::new("/file")).unwrap();
        plan.fail(Calls::of(CallKind::SyncData), Fault::Io);
        note_awaited_sync();
        file.write_at(&vec![7; PIECE], 0).unwrap_err();
    }
}
