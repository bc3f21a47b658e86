//! What goes wrong on purpose, and what that excuses.

use tierlog::Error;

use super::Process;

impl Process<'_> {
    /// Something fails from now on.
    pub(super) fn arm(&mut self, what: u8) {
        self.world.faulty = true;
        let disk = &self.world.disk;
        match what % 4 {
            0 => disk.fail_next_sync(|path| path.extension().is_some_and(|e| e == "tls")),
            1 => disk.fail_next_sync(|path| path.extension().is_some_and(|e| e == "tlm")),
            2 => {
                disk.set_capacity(Some(disk.used() + u64::from(what / 4) * 1024));
                self.world.full = true;
            }
            _ => self.make_room(),
        }
    }

    pub(super) fn make_room(&mut self) {
        self.world.disk.set_capacity(None);
        self.world.full = false;
    }

    /// An error of a call that nothing should have disturbed.
    pub(super) fn excused(&self, error: &Error) {
        let is_input = matches!(error, Error::InvalidInput { .. } | Error::WouldBlock { .. });
        assert!(
            self.world.faulty || is_input,
            "nothing went wrong, and yet: {error}"
        );
    }
}

#[cfg(test)]
mod tests {
    /// A conditional append waits for room on a full disk, and nothing else makes any.
    #[test]
    fn who_waits_on_a_full_disk_goes_on_when_there_is_room() {
        for input in [
            &[0, 11, 10, 0, 0, 9, 0, 4][..],
            &[0, 11, 10, 241, 0, 132, 162],
        ] {
            super::super::run(input);
        }
    }

    /// The sync of its commit fails, and that of the file that is begun anew: while the log restarts
    /// the record is still read, or its ticket looked at, and only later anybody knows.
    #[test]
    fn a_truncation_of_unknown_outcome_may_show_in_the_next_process() {
        for input in [
            &[0, 0, 0, 6, 11, 5, 11, 9, 9, 2, 12, 14][..],
            &[0, 3, 13, 6, 11, 9, 11, 9, 9, 2],
            &[0, 0, 0, 7, 11, 13, 11, 9, 9, 11, 10, 13],
        ] {
            super::super::run(input);
        }
    }
}
