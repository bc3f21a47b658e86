//! Why the system refused a call.

use std::io;

use rustix::io::Errno;

/// Why a call of the system failed, by what there is to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum IoCause {
    /// The path, its permissions or its mount do not allow it. Somebody has to change them; until then
    /// the same call fails in the same way.
    Surroundings,
    /// The disk, the quota or the largest file is full.
    Full,
    /// Something else that the system shares out has run short: descriptors, memory, threads. Others
    /// give it back, so that the same call may succeed later, though hardly at once.
    Short,
    /// A signal came in between. Nothing was done.
    Interrupted,
    /// The device, or something that no rule here knows. After `EIO` nobody can say what is on the disk
    /// and what stands in memory alone, so trying again on the same files proves nothing: they have to
    /// be opened, and recovered, anew. What is unknown is taken for the same, since opening again is
    /// safe whatever it was, and a retry is not.
    Device,
}

impl IoCause {
    /// The cause of an error.
    pub fn of(error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        match error.kind() {
            Kind::StorageFull | Kind::QuotaExceeded | Kind::FileTooLarge => Self::Full,
            Kind::PermissionDenied
            | Kind::NotFound
            | Kind::ReadOnlyFilesystem
            | Kind::NotADirectory
            | Kind::IsADirectory
            | Kind::InvalidFilename
            | Kind::Unsupported => Self::Surroundings,
            Kind::Interrupted => Self::Interrupted,
            Kind::OutOfMemory | Kind::WouldBlock => Self::Short,
            // Those for which the standard library has no stable name.
            _ => match Errno::from_io_error(error) {
                Some(Errno::LOOP) => Self::Surroundings,
                Some(Errno::MFILE | Errno::NFILE) => Self::Short,
                _ => Self::Device,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_by_the_number_of_the_error() {
        let table: [(IoCause, &[Errno]); 5] = [
            (
                IoCause::Surroundings,
                &[
                    Errno::ACCESS,
                    Errno::PERM,
                    Errno::NOENT,
                    Errno::ROFS,
                    Errno::NOTDIR,
                    Errno::ISDIR,
                    Errno::NAMETOOLONG,
                    Errno::LOOP,
                    Errno::NOSYS,
                    Errno::OPNOTSUPP,
                ],
            ),
            (IoCause::Full, &[Errno::NOSPC, Errno::DQUOT, Errno::FBIG]),
            (
                IoCause::Short,
                &[Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::AGAIN],
            ),
            (IoCause::Interrupted, &[Errno::INTR]),
            (
                IoCause::Device,
                &[
                    Errno::IO,
                    Errno::NXIO,
                    Errno::NODEV,
                    Errno::STALE,
                    Errno::BADF,
                    Errno::INVAL,
                    Errno::EXIST,
                ],
            ),
        ];
        for (cause, codes) in table {
            for code in codes {
                assert_eq!(IoCause::of(&(*code).into()), cause, "{code:?}");
            }
        }
        let unknown = io::Error::from_raw_os_error(4_000);
        assert_eq!(IoCause::of(&unknown), IoCause::Device);
        // What was not tried after a first failure is no reason to try again, whatever that one was.
        let not_tried = io::Error::other("not tried: cannot sync x: no space left");
        assert_eq!(IoCause::of(&not_tried), IoCause::Device);
    }
}
