//! A process that owns a log, as a test drives it.

use std::sync::Arc;

use tempfile::TempDir;
use tierlog_storage::{
    Incarnation, Offset, SegmentNo, StreamId,
    claims::Claim,
    disk::{Disk, RealDisk},
    layout::Layout,
    manifest::{Entry, ManifestOptions, SealedFacts},
    recovery::{OpenOptions, OpenedLog, open_log},
    segment::create_segment,
};

use super::kit::{Writing, salt};

/// The process that owns the log.
pub(super) struct Owner {
    pub(super) layout: Layout,
    pub(super) log: OpenedLog,
    pub(super) stream: StreamId,
    pub(super) life: u64,
    pub(super) next_segment: u64,
    pub(super) active: Option<Writing>,
}

impl Owner {
    pub(super) fn create(dir: &TempDir) -> Self {
        let mut owner = Self::open(dir);
        owner.add_stream("s");
        owner
    }

    pub(super) fn open(dir: &TempDir) -> Self {
        let layout = Layout::new(dir.path().join("log"));
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        let manifest = ManifestOptions {
            chunk_size: 16 << 10,
            ..ManifestOptions::default()
        };
        let options = OpenOptions {
            manifest,
            create: true,
            now_ns: 1,
            claim_slots: 16,
        };
        let log = open_log(&disk, &layout, &options).unwrap();
        let (stream, life, next_segment) = match log.state.streams.first_key_value() {
            Some((id, state)) => (*id, state.incarnation.0, state.next_segment.0),
            None => (StreamId::generate(), 1, 0),
        };
        Self {
            layout,
            log,
            stream,
            life,
            next_segment,
            active: None,
        }
    }

    pub(super) fn add_stream(&mut self, name: &str) {
        let (stream, name) = (self.stream, name.to_owned());
        self.commit(vec![Entry::StreamCreated {
            stream,
            name,
            created_ns: 1,
        }]);
    }

    pub(super) fn commit(&mut self, entries: Vec<Entry>) {
        let done = self
            .log
            .manifest
            .commit(&[entries], &mut self.log.state)
            .unwrap();
        assert!(done.iter().all(Result::is_ok), "{done:?}");
    }

    pub(super) fn created(&self, no: u64) -> Entry {
        Entry::SegmentCreated {
            stream: self.stream,
            segment: SegmentNo(no),
            salt: salt(no),
            capacity: 1 << 20,
            epoch: self.log.state.epoch,
            incarnation: Incarnation(self.life),
        }
    }

    /// A new active segment.
    pub(super) fn begin(&mut self, base: u64) {
        let no = self.next_segment;
        self.next_segment += 1;
        let file = create_segment(
            &RealDisk,
            &self.layout,
            self.stream,
            SegmentNo(no),
            64 << 10,
        )
        .unwrap();
        self.commit(vec![self.created(no)]);
        let (log, seq) = (self.log.log, self.log.state.seq.0);
        self.active = Some(Writing::in_file(file, log, self.stream, no, base, seq));
    }

    pub(super) fn active(&mut self) -> &mut Writing {
        self.active.as_mut().unwrap()
    }

    pub(super) fn write(&mut self, to: u64) {
        self.active().fill(to, 7);
    }

    pub(super) fn claim(&self, durable: u64) {
        let claim = Claim {
            stream: self.stream,
            epoch: self.log.state.epoch,
            incarnation: Incarnation(self.life),
            durable: Offset(durable),
        };
        self.log.claims.put(0, &claim).unwrap();
    }

    /// Writes and claims.
    pub(super) fn append(&mut self, to: u64) {
        self.write(to);
        self.claim(to);
    }

    pub(super) fn seal(&mut self) {
        let writing = self.active.take().unwrap();
        let facts = writing.seal();
        let SealedFacts {
            base,
            end,
            data_end,
            file_len,
            first_ts,
            last_ts,
            ext,
            digest,
            ..
        } = facts;
        let (stream, segment, flush_failed) = (self.stream, writing.no, false);
        self.commit(vec![Entry::Sealed {
            stream,
            segment,
            base,
            end,
            data_end,
            file_len,
            first_ts,
            last_ts,
            ext,
            digest,
            flush_failed,
        }]);
        self.begin(end.0);
    }

    /// Cuts the active segment at the nth frame.
    pub(super) fn truncate(&mut self, nth: usize) -> u64 {
        let writing = self.active.take().unwrap();
        let (end_byte, end) = writing.frames[nth];
        self.life += 1;
        let (stream, segment, incarnation) = (self.stream, writing.no, Incarnation(self.life));
        let (base, end_at) = (writing.base, Offset(end));
        self.commit(vec![
            Entry::TruncatedAfter {
                stream,
                end: end_at,
                incarnation,
            },
            Entry::Closed {
                stream,
                segment,
                base,
                end: end_at,
                end_byte,
            },
        ]);
        self.begin(end);
        end
    }
}
