//! The file system of this machine.

use std::{
    ffi::{OsStr, OsString},
    fs::File,
    io,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::{
    buffer::spare_capacity,
    fd::OwnedFd,
    fs::{self, AtFlags, Dir, FileType, FlockOperation, Mode, OFlags},
    io::{Errno, pread, pwrite, retry_on_intr},
};

#[cfg(target_os = "linux")]
use rustix::io::{ReadWriteFlags, preadv2};

use super::{Access, Disk, DiskFile, DiskLock, Entry, SharedFile, Space, map};

/// Neither children nor links may carry our descriptors elsewhere.
const ALWAYS: OFlags = OFlags::CLOEXEC.union(OFlags::NOFOLLOW);
const FILE_MODE: Mode = Mode::RUSR.union(Mode::WUSR);
const DIR_MODE: Mode = Mode::RWXU;

/// The file system of this machine, through its plain calls.
///
/// On Linux the promises of [`Disk`] hold as far as the file system and the drive keep theirs.
/// Elsewhere the nearest calls are used: room is reserved by writing zeros, and on Apple systems a
/// sync asks the drive itself (`F_FULLFSYNC`).
#[derive(Debug, Clone, Copy, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_new(&self, path: &Path) -> io::Result<SharedFile> {
        let flags = ALWAYS | OFlags::RDWR | OFlags::CREATE | OFlags::EXCL;
        let fd = retry_on_intr(|| fs::open(path, flags, FILE_MODE))?;
        Ok(Arc::new(RealFile {
            file: File::from(fd),
        }))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<SharedFile> {
        let mode = match access {
            Access::Read => OFlags::RDONLY,
            Access::ReadWrite => OFlags::RDWR,
        };
        Ok(Arc::new(RealFile {
            file: open_regular(path, mode)?,
        }))
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        Ok(fs::mkdir(path, DIR_MODE)?)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        Ok(fs::rename(from, to)?)
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Plain `link` follows a link in `from` on some systems.
        Ok(fs::linkat(fs::CWD, from, fs::CWD, to, AtFlags::empty())?)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        Ok(fs::unlink(path)?)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        Ok(fs::rmdir(path)?)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let fd = open_dir(dir)?;
        let mut entries = Vec::new();
        for found in Dir::read_from(&fd)? {
            let found = found?;
            let name = found.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let kind = match found.file_type() {
                // Some file systems don't say what a name stands for.
                FileType::Unknown => match fs::statat(&fd, name, AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(error) => return Err(error.into()),
                },
                kind => kind,
            };
            let name = OsString::from(OsStr::from_bytes(name.to_bytes()));
            entries.push(Entry {
                name,
                is_dir: kind == FileType::Directory,
                is_file: kind == FileType::RegularFile,
            });
        }
        entries.sort_unstable();
        Ok(entries)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let fd = open_dir(dir)?;
        Ok(retry_on_intr(|| fs::fsync(&fd))?)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let file = open_regular(path, OFlags::RDWR | OFlags::CREATE)?;
        take_lock(&file, path)?;
        Ok(Box::new(RealLock { _file: file }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = retry_on_intr(|| fs::statvfs(path))?;
        Ok(Space {
            free: stat.f_bavail.saturating_mul(stat.f_frsize),
            total: stat.f_blocks.saturating_mul(stat.f_frsize),
        })
    }

    fn resolve(&self, path: &Path) -> io::Result<PathBuf> {
        for (behind, part) in path.ancestors().enumerate() {
            let is_link = std::fs::symlink_metadata(part).is_ok_and(|about| about.is_symlink());
            if is_link {
                let names: Vec<_> = path.components().rev().take(behind).collect();
                let mut real = std::fs::canonicalize(part)?;
                real.extend(names.iter().rev());
                return Ok(real);
            }
        }
        Ok(path.to_path_buf())
    }
}

/// Opens what must be a regular file, without waiting for anything.
fn open_regular(path: &Path, mode: OFlags) -> io::Result<File> {
    // Opening a fifo to read waits for a writer, which may never come. O_NONBLOCK means nothing to
    // a regular file, so it can stay.
    let flags = ALWAYS | OFlags::NONBLOCK | OFlags::NOCTTY | mode;
    let fd = retry_on_intr(|| fs::open(path, flags, FILE_MODE))?;
    let kind = FileType::from_raw_mode(fs::fstat(&fd)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "not a regular file",
        ));
    }
    Ok(File::from(fd))
}

fn take_lock(file: &File, path: &Path) -> io::Result<()> {
    // A lock of the open file description: it holds against other threads of this process as well,
    // a dead process can't keep it, and closing some other descriptor of the file does not lose it,
    // as it would lose a POSIX record lock.
    retry_on_intr(|| fs::flock(file, FlockOperation::NonBlockingLockExclusive))?;
    // Whoever replaces the lock file under a holder makes room for a second holder. If the name has
    // gone to another file since this one was opened, its lock excludes nobody.
    let held = fs::fstat(file)?;
    let named = fs::statat(fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW)?;
    if (held.st_dev, held.st_ino) != (named.st_dev, named.st_ino) {
        return Err(io::Error::other(
            "the lock file was replaced while it was being locked",
        ));
    }
    Ok(())
}

fn open_dir(path: &Path) -> io::Result<OwnedFd> {
    let flags = ALWAYS | OFlags::RDONLY | OFlags::DIRECTORY;
    Ok(retry_on_intr(|| fs::open(path, flags, Mode::empty()))?)
}

#[derive(Debug)]
struct RealLock {
    _file: File,
}

impl DiskLock for RealLock {}

#[derive(Debug)]
struct RealFile {
    file: File,
}

impl DiskFile for RealFile {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buf.len() {
            let at = beyond(pos, done)?;
            match retry_on_intr(|| pread(&self.file, &mut buf[done..], at))? {
                0 => break,
                n => done += n,
            }
        }
        Ok(done)
    }

    fn read_behind(&self, buf: &mut Vec<u8>, len: usize, pos: u64) -> io::Result<usize> {
        let from = buf.len();
        buf.reserve_exact(len);
        while buf.len() < from + len {
            let at = beyond(pos, buf.len() - from)?;
            // More may have been reserved than was asked for.
            let read = retry_on_intr(|| pread(&self.file, spare_capacity(buf), at));
            match read {
                Ok(0) => break,
                Ok(_) => {}
                Err(error) => {
                    buf.truncate(from);
                    return Err(error.into());
                }
            }
        }
        buf.truncate(from + len);
        Ok(buf.len() - from)
    }

    #[cfg(target_os = "linux")]
    fn read_in_memory(&self, buf: &mut [u8], pos: u64) -> bool {
        let (len, mut parts) = (buf.len(), [io::IoSliceMut::new(buf)]);
        let read = preadv2(&self.file, &mut parts, pos, ReadWriteFlags::NOWAIT);
        read.is_ok_and(|read| read == len)
    }

    fn write_at(&self, buf: &[u8], pos: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buf.len() {
            let at = beyond(pos, done)?;
            match retry_on_intr(|| pwrite(&self.file, &buf[done..], at))? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => done += n,
            }
        }
        Ok(())
    }

    fn allocate(&self, pos: u64, len: u64) -> io::Result<()> {
        if len == 0 {
            return Ok(());
        }
        let end = pos.checked_add(len).ok_or(io::ErrorKind::FileTooLarge)?;
        #[cfg(target_os = "linux")]
        {
            let mode = fs::FallocateFlags::empty();
            match retry_on_intr(|| fs::fallocate(&self.file, mode, pos, len)) {
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => warn_of_zeros(),
                done => return Ok(done?),
            }
        }
        self.fill_with_zeros(pos, end)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Ok(retry_on_intr(|| fs::ftruncate(&self.file, len))?)
    }

    fn sync_data(&self) -> io::Result<()> {
        // An interrupted sync is one that did not come to an end: no page was found unwritable and
        // forgotten by it, so unlike after any other error it may be called again.
        retry_on_intr(|| sync_file(&self.file)).map_err(Into::into)
    }

    fn len(&self) -> io::Result<u64> {
        let size = fs::fstat(&self.file)?.st_size;
        u64::try_from(size).map_err(io::Error::other)
    }

    fn map_read_only(&self, len: u64) -> io::Result<Bytes> {
        map::first_bytes(&self.file, len)
    }
}

impl RealFile {
    /// Reserves room where the file system can't do it by itself.
    ///
    /// Only what lies beyond the old end is written: zeros over existing bytes could race with a
    /// write of real ones. Below the old end there are blocks already, as no file of ours has holes.
    fn fill_with_zeros(&self, pos: u64, end: u64) -> io::Result<()> {
        const STEP: usize = 64 * 1024;
        let zeros = [0; STEP];
        let mut at = pos.max(self.len()?);
        while at < end {
            let step = usize::try_from(end - at).map_or(STEP, |left| left.min(STEP));
            self.write_at(&zeros[..step], at)?;
            at = beyond(at, step)?;
        }
        Ok(())
    }
}

#[cfg(target_os = "linux")]
fn warn_of_zeros() {
    static SAID: std::sync::Once = std::sync::Once::new();
    SAID.call_once(|| {
        tracing::warn!(
            target: "tierlog::disk",
            "this file system cannot reserve room; zeros are written instead, which is slower"
        );
    });
}

#[cfg(target_vendor = "apple")]
fn sync_file(file: &File) -> rustix::io::Result<()> {
    // A plain fsync leaves the bytes in the drive's own cache here. Network file systems don't
    // know the stronger call.
    match fs::fcntl_fullfsync(file) {
        Err(Errno::NOTSUP | Errno::INVAL | Errno::NOTTY) => fs::fsync(file),
        done => done,
    }
}

#[cfg(not(target_vendor = "apple"))]
fn sync_file(file: &File) -> rustix::io::Result<()> {
    #[cfg(target_os = "dragonfly")]
    return fs::fsync(file);
    #[cfg(not(target_os = "dragonfly"))]
    fs::fdatasync(file)
}

/// The position `n` bytes behind `pos`.
fn beyond(pos: u64, n: usize) -> io::Result<u64> {
    pos.checked_add(n as u64)
        .ok_or_else(|| io::ErrorKind::FileTooLarge.into())
}

#[cfg(test)]
mod tests;
