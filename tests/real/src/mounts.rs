//! File systems that are made and mounted for a while.

use std::{
    ffi::OsStr,
    fmt, fs,
    path::{Path, PathBuf},
};

use crate::machine::{Need, command};

/// A kind of file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With ordered data, as is the default.
    Ext4,
    /// As `mkfs.xfs` makes it.
    Xfs,
    /// In memory: it is full, and nothing else.
    Tmpfs,
}

impl Kind {
    /// What it needs.
    pub fn needs(self) -> Vec<Need> {
        const LOOP: Need = Need::File("/dev/loop-control", "the kernel has no loop devices");
        let mut needs = vec![Need::Root, Need::Program("mount", "mount")];
        match self {
            Self::Ext4 => needs.extend([
                LOOP,
                Need::FileSystem("ext4"),
                Need::Program("mkfs.ext4", "e2fsprogs"),
            ]),
            Self::Xfs => needs.extend([
                LOOP,
                Need::FileSystem("xfs"),
                Need::Program("mkfs.xfs", "xfsprogs"),
            ]),
            Self::Tmpfs => needs.push(Need::FileSystem("tmpfs")),
        }
        needs
    }

    /// The least that it can be made of, and that logs of these tests fit into.
    fn size(self) -> u64 {
        match self {
            Self::Ext4 => 48 << 20,
            // What `mkfs.xfs` calls the least.
            Self::Xfs => 300 << 20,
            Self::Tmpfs => 12 << 20,
        }
    }

    /// Makes an empty one in a new file.
    pub fn make(self, image: &Path) {
        let file = fs::File::create_new(image).expect("a new image");
        file.set_len(self.size()).expect("room for an image");
        drop(file);
        let path = image.as_os_str();
        let made = match self {
            Self::Ext4 => {
                // Everything is made here, so that no thread of the kernel makes the rest of it later on. Blocks are pages:
                // a part of a page is a request of its own to the FUSE file, and if the second one of two fails, the loop
                // driver takes a write that was cut short for one that was done.
                let words = [
                    "-q",
                    "-F",
                    "-b",
                    "4096",
                    "-E",
                    "nodiscard,lazy_itable_init=0,lazy_journal_init=0",
                ];
                command("mkfs.ext4", words.map(OsStr::new).into_iter().chain([path]))
            }
            Self::Xfs => command(
                "mkfs.xfs",
                ["-q".as_ref(), "-f".as_ref(), "-K".as_ref(), path],
            ),
            Self::Tmpfs => panic!("a tmpfs has no image"),
        };
        made.expect("a file system");
    }

    /// Mounts one that is in a file, or a new one of a size of its own.
    pub fn mount(self, image: &Path, at: &Path) -> Result<Mounted, String> {
        fs::create_dir_all(at).expect("room for a folder");
        let size;
        let (kind, options) = match self {
            Self::Ext4 => ("ext4", "loop,noatime"),
            // Images of cuts are copies of one another, with its identity.
            Self::Xfs => ("xfs", "loop,noatime,nouuid"),
            Self::Tmpfs => {
                size = format!("size={}", self.size());
                ("tmpfs", size.as_str())
            }
        };
        let words = [
            "-t".as_ref(),
            kind.as_ref(),
            "-o".as_ref(),
            options.as_ref(),
        ];
        command(
            "mount",
            words.into_iter().chain([image.as_os_str(), at.as_os_str()]),
        )?;
        Ok(Mounted { at: at.to_owned() })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ext4 => "ext4",
            Self::Xfs => "xfs",
            Self::Tmpfs => "tmpfs",
        })
    }
}

/// A file system that is mounted, until it goes out of scope. Its loop device goes with it.
#[derive(Debug)]
pub struct Mounted {
    /// Where.
    pub at: PathBuf,
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // A thread of a log that was dropped may hold a file for a moment.
        for _ in 0..200 {
            if command("umount", [&self.at]).is_ok() {
                return;
            }
        }
        let _ = command("umount", ["-l".as_ref(), self.at.as_os_str()]);
    }
}
