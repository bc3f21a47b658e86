//! Faults on order: a plan that says which calls fail, and a disk that keeps to it.
//!
//! ```text
//! test ── arms, counts, releases ──▶ FaultPlan ◀── asks before each call ── FaultDisk ──▶ any Disk
//! ```
//!
//! The plan is a cheap clone that stays with the test while the disk is in use, so faults can be
//! armed, and held calls released, in the midst of a run.

mod disk;
mod plan;
#[cfg(test)]
mod tests;

use std::{fmt, io, path::Path, sync::Arc};

pub use disk::FaultDisk;
pub use plan::{Armed, Call, FaultPlan, Held};
use rustix::io::Errno;

/// The calls of [`Disk`](super::Disk) and [`DiskFile`](super::DiskFile).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is named after its call")]
pub enum CallKind {
    CreateNew,
    Open,
    CreateDir,
    Rename,
    Link,
    Remove,
    RemoveDir,
    List,
    SyncDir,
    Lock,
    Space,
    ReadAt,
    WriteAt,
    Allocate,
    SetLen,
    SyncData,
    Len,
    Map,
}

impl CallKind {
    /// All of them.
    pub const ALL: [Self; 18] = [
        Self::CreateNew,
        Self::Open,
        Self::CreateDir,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::RemoveDir,
        Self::List,
        Self::SyncDir,
        Self::Lock,
        Self::Space,
        Self::ReadAt,
        Self::WriteAt,
        Self::Allocate,
        Self::SetLen,
        Self::SyncData,
        Self::Len,
        Self::Map,
    ];

    /// The calls that change something, or make it durable.
    pub const CHANGING: [Self; 11] = [
        Self::CreateNew,
        Self::CreateDir,
        Self::Rename,
        Self::Link,
        Self::Remove,
        Self::RemoveDir,
        Self::SyncDir,
        Self::WriteAt,
        Self::Allocate,
        Self::SetLen,
        Self::SyncData,
    ];
}

const _: () = {
    let mut at = 0;
    while at < CallKind::ALL.len() {
        assert!(CallKind::ALL[at] as usize == at, "each kind once, in order");
        at += 1;
    }
    assert!(CallKind::Map as usize + 1 == at, "and no kind is left out");
};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The device fails (EIO) and the call has no effect. A sync forgets what it should have made
    /// durable, as kernels do.
    Io,
    /// There is no room (ENOSPC) and the call has no effect. A sync forgets as under [`Self::Io`].
    Full,
    /// Any other error number, with no effect. A sync forgets as under [`Self::Io`].
    Errno(i32),
    /// A write or an allocation has its effect on this many bytes and then finds no room (ENOSPC).
    /// On any other call the same as [`Self::Full`].
    Short(usize),
    /// The call has its whole effect and is nevertheless reported as failed (EIO).
    DoneButReported,
    /// The machine has stopped before the call: nothing below is touched, not even by a sync.
    /// Armed for good, everything from one call on is as if it had never been.
    Halt,
}

impl Fault {
    fn error(self) -> io::Error {
        match self {
            Self::Io | Self::DoneButReported => Errno::IO.into(),
            Self::Full | Self::Short(_) => Errno::NOSPC.into(),
            Self::Errno(code) => io::Error::from_raw_os_error(code),
            Self::Halt => io::Error::other("the machine has stopped"),
        }
    }
}

type Predicate = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Which calls are meant: by kind, by path, and by their number among those.
///
/// Without more, the first such call and no other.
#[derive(Clone)]
#[must_use]
pub struct Calls {
    kinds: Option<Vec<CallKind>>,
    path: Option<Predicate>,
    first: u64,
    times: u64,
}

impl Calls {
    /// Calls of one kind.
    pub fn of(kind: CallKind) -> Self {
        Self::of_kinds(&[kind])
    }

    /// Calls of any of these kinds, counted together.
    pub fn of_kinds(kinds: &[CallKind]) -> Self {
        Self {
            kinds: Some(kinds.to_vec()),
            ..Self::any()
        }
    }

    /// Calls of any kind.
    pub fn any() -> Self {
        Self {
            kinds: None,
            path: None,
            first: 1,
            times: 1,
        }
    }

    /// Only those on a path that satisfies `wanted`. A file keeps the path that it was opened by;
    /// a rename or a link is meant when either of its paths is.
    pub fn at(mut self, wanted: impl Fn(&Path) -> bool + Send + Sync + 'static) -> Self {
        self.path = Some(Arc::new(wanted));
        self
    }

    /// Only those on a path whose text ends so: a file name, or an extension.
    pub fn ending(self, end: &str) -> Self {
        let end = end.to_owned();
        self.at(move |path| {
            path.as_os_str()
                .as_encoded_bytes()
                .ends_with(end.as_bytes())
        })
    }

    /// The `n`th such call from when this is armed; 1 is the next one.
    pub fn nth(mut self, n: u64) -> Self {
        self.first = n;
        self
    }

    /// So many calls in a row and not one alone.
    pub fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }

    /// That call and every later one.
    pub fn forever(self) -> Self {
        self.times(u64::MAX)
    }

    fn are(&self, kind: CallKind, paths: &[&Path]) -> bool {
        self.kinds
            .as_ref()
            .is_none_or(|kinds| kinds.contains(&kind))
            && self
                .path
                .as_ref()
                .is_none_or(|wanted| paths.iter().any(|path| wanted(path)))
    }

    /// Whether the `number`th such call is meant.
    fn include(&self, number: u64) -> bool {
        number >= self.first && number - self.first < self.times
    }
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls")
            .field("kinds", &self.kinds)
            .field("some_paths", &self.path.is_some())
            .field("first", &self.first)
            .field("times", &self.times)
            .finish()
    }
}
