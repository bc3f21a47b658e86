//! A manifest file of any bytes: replayed, inspected, and carried on.
//!
//! Byte 0: bit 0 makes all checksums right; bit 1 says that the bytes are the first chunk's commits
//! alone, without the kilobytes of zeros that a file has; bit 2 that the log was closed in order.

use std::{ops::ControlFlow, sync::Arc};

use crate::{
    checksums,
    disk::{LOG, empty, layout, put},
    storage::{
        Epoch, StorageError,
        disk::Disk,
        manifest::{
            Current, ManifestLog, ManifestOptions, ManifestState, Seq,
            chunk::{CHUNK_HEADER, CHUNK_MIN, ChunkHeader, FIRST_CHUNK, FileHeader},
            inspect, replay, visit_entries,
        },
    },
    take,
};

/// The number of the file.
pub const NUMBER: u64 = 3;
/// What its checksums begin with.
pub const FILE_SALT: u64 = 0x5a17;
const MOST: usize = 96 << 10;

/// The header of the file when the input has none.
pub fn header() -> FileHeader {
    FileHeader {
        log: LOG,
        number: NUMBER,
        chunk_size: CHUNK_MIN,
        created_ns: 1,
        first: Seq(0),
        previous: 0,
        salt: FILE_SALT,
    }
}

/// A file whose first chunks hold these commits.
fn around(commits: &[u8]) -> Vec<u8> {
    let mut file = header().encode().to_vec();
    file.resize(FIRST_CHUNK as usize, 0);
    for (index, commits) in (0..).zip(commits.chunks(CHUNK_MIN as usize - CHUNK_HEADER)) {
        let head = ChunkHeader {
            index,
            next: Seq(1),
            log: LOG,
            previous_crc: 0,
            number: NUMBER,
        };
        file.extend_from_slice(&head.encode(FILE_SALT));
        file.extend_from_slice(commits);
    }
    file.resize(file.len().next_multiple_of(FIRST_CHUNK as usize), 0);
    file
}

/// Runs one input.
pub fn run(mut data: &[u8]) {
    let mode = take(&mut data);
    let data = &data[..data.len().min(MOST)];
    let mut bytes = if mode & 2 != 0 {
        around(data)
    } else {
        data.to_vec()
    };
    if mode & 1 != 0 {
        checksums::manifest(&mut bytes);
    }
    let (disk, layout) = (empty(), layout());
    put(&disk, &layout.manifest(NUMBER), &bytes);
    let clean = (mode & 4 != 0).then_some((Seq(u64::from(mode >> 3)), bytes.len() as u64));
    let current = Current {
        log: LOG,
        number: NUMBER,
        clean,
        epoch: Epoch(1),
    };
    put(&disk, &layout.current(), &current.encode());

    // Looking never fails, whatever is there.
    let seen = inspect(&disk, &layout).expect("damage is told, not an error");
    assert_eq!(seen.files.len(), 1);
    let mut entries = 0;
    let walked = visit_entries(&disk, &layout, NUMBER, &mut |_, entry| {
        entries += u64::from(!format!("{entry:?}").is_empty());
        ControlFlow::Continue(())
    });
    let counted: u64 = seen.files[0].entries_by_type.values().sum();
    assert!(
        walked.is_err() || entries <= counted,
        "what is shown was counted"
    );

    match replay(&disk, &layout, &current) {
        Ok(replayed) => {
            assert!(replayed.report.entries <= counted, "what counts was seen");
            carry_on(&disk, replayed.state);
        }
        Err(
            StorageError::CorruptFile { .. }
            | StorageError::NewerVersion { .. }
            | StorageError::ForeignLog { .. }
            | StorageError::Invalid { .. },
        ) => {}
        Err(error) => panic!("{error}"),
    }
}

/// The state that was read is the one that its snapshot gives, here and in the next file.
fn carry_on(disk: &(impl Disk + Clone), state: ManifestState) {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    let layout = layout();
    let options = ManifestOptions {
        chunk_size: CHUNK_MIN,
        rotate_bytes: 4 * CHUNK_MIN,
    };
    let mut log = match ManifestLog::create(&disk, &layout, NUMBER + 1, &state, &options, 2) {
        Ok(log) => log,
        // A log can be at the end of all sequences; nothing else stops a snapshot.
        Err(StorageError::Invalid { .. }) if state.seq.get() == u64::MAX => return,
        Err(error) => panic!("{error}"),
    };
    log.publish().expect("no fault is armed");
    let current = Current::read(&*disk, &layout)
        .expect("a good pointer")
        .expect("a pointer");
    let again = replay(&*disk, &layout, &current).expect("what was written here is good");
    assert_eq!(again.state, state);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seeds;

    /// Else the fuzzer would not come by most entries, nor by what follows a full chunk.
    #[test]
    fn seeds_hold_every_entry_and_a_second_chunk() {
        let (mut types, mut chunks) = (std::collections::BTreeSet::new(), 0);
        for seed in seeds::manifest() {
            let mut bytes = seed[1..].to_vec();
            if seed[0] & 3 != 1 {
                continue;
            }
            checksums::manifest(&mut bytes);
            let (disk, layout) = (empty(), layout());
            put(&disk, &layout.manifest(NUMBER), &bytes);
            let current = Current {
                log: LOG,
                number: NUMBER,
                clean: None,
                epoch: Epoch(1),
            };
            replay(&disk, &layout, &current).expect("a good manifest");
            put(&disk, &layout.current(), &current.encode());
            let seen = inspect(&disk, &layout).expect("a good manifest");
            chunks = chunks.max(seen.files[0].chunks.len());
            types.extend(seen.files[0].entries_by_type.keys().cloned());
        }
        assert_eq!(chunks, 2);
        assert_eq!(types.len(), 28, "{types:?}");
    }
}
