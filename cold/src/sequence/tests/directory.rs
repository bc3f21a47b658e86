//! A directory: what its manifest durably knows, and what it does to it.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
};

use futures::future::BoxFuture;
use tierlog_storage::{
    Epoch, LogId, Offset, OwnerId, SegmentNo, StreamId,
    catalog::{ArchivedSegment, Catalog, Change},
    manifest::SealedFacts,
};

use super::{bucket::Bucket, history::says};
use crate::sequence::{Adopted, Claim, ClaimError, PublishError, Published, Sequence};

pub(super) const LOG: LogId = LogId::from_bytes([7; 16]);

/// What the manifest says, durably.
#[derive(Debug, Clone, Default)]
pub(super) struct Manifest {
    /// The owners that were recorded, with the numbers that they were about to claim.
    pub(super) recorded: Vec<(u64, OwnerId)>,
    pub(super) known: Option<u64>,
    pub(super) epoch: u64,
    /// What is archived as of `known`.
    archived: Catalog,
    /// Everything that is uploaded, and each stream and trim.
    pub(super) local: Catalog,
}

/// A directory, which outlives the owners that open it.
#[derive(Debug, Clone)]
pub(super) struct Directory(Arc<Mutex<Manifest>>);

impl Directory {
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(Manifest::default())))
    }

    /// Somebody copies the files.
    pub(super) fn copy(&self) -> Self {
        let manifest = self.manifest().clone();
        Self(Arc::new(Mutex::new(manifest)))
    }

    pub(super) fn manifest(&self) -> MutexGuard<'_, Manifest> {
        self.0.lock().expect("no test goes on after a panic")
    }

    /// What the next owner claims with.
    pub(super) fn claim(&self) -> Claim {
        let mut manifest = self.manifest();
        manifest.epoch += 1;
        Claim {
            log: LOG,
            epoch: Epoch(manifest.epoch),
            owner: OwnerId::generate(),
            known: manifest.known,
            ours: manifest.recorded.iter().map(|(_, owner)| *owner).collect(),
            catalog: manifest.as_of_known(),
        }
    }

    /// Opens it: claims, and notes what came of it.
    pub(super) async fn open(
        &self,
        bucket: &Bucket,
    ) -> Result<(Sequence, Adopted), ClaimError<String>> {
        let claim = self.claim();
        let owner = claim.owner;
        let record = |number| -> BoxFuture<'static, Result<(), String>> {
            self.manifest().recorded.push((number, owner));
            Box::pin(std::future::ready(Ok(())))
        };
        let local = self.manifest().local.clone();
        let knows = |change: &Change| says(&local, change);
        let (sequence, adopted) = Sequence::claim(bucket.objects(), claim, knows, record).await?;
        bucket.history(|history| {
            for &number in &adopted.numbers {
                let maker = history.owner(number);
                let ours = |(_, owner): &(u64, OwnerId)| *owner == maker;
                assert!(
                    self.manifest().recorded.iter().any(ours),
                    "{number} is not ours"
                );
            }
            history.believed(sequence.head(), owner, sequence.catalog());
        });
        let known = |change: &Change| says(&local, change);
        assert!(sequence.catalog().changes().all(|change| known(&change)));
        Ok((sequence, adopted))
    }

    /// Notes how far the sequence is known. An owner may die before it does.
    pub(super) fn note(&self, sequence: &Sequence) {
        let mut manifest = self.manifest();
        manifest.known = Some(sequence.head());
        manifest.archived = sequence.catalog().clone();
    }

    /// Uploads a segment of a stream, which it creates if it must.
    pub(super) fn upload(&self, stream: u8, salt: u64) {
        let mut manifest = self.manifest();
        let local = &mut manifest.local;
        let id = StreamId::from_bytes([stream; 16]);
        if !local.streams.contains_key(&id) {
            let name = format!("stream {stream}");
            let created_ns = 1;
            let stream = id;
            local
                .apply(&Change::Stream {
                    stream,
                    name,
                    created_ns,
                })
                .unwrap();
        }
        let known = &local.streams[&id];
        let (segment, base) = (known.next_segment, known.end());
        let archived = segment_of(base, base.plus(1 + salt % 9), salt);
        let stream = id;
        local
            .apply(&Change::Segment {
                stream,
                segment,
                archived,
            })
            .unwrap();
    }

    /// Trims a stream, at most to its end.
    pub(super) fn trim(&self, stream: u8, by: u64) {
        let mut manifest = self.manifest();
        let stream = StreamId::from_bytes([stream; 16]);
        let Some(known) = manifest.local.streams.get(&stream) else {
            return;
        };
        let start = known.start.plus(by).min(known.end());
        manifest
            .local
            .apply(&Change::Trimmed { stream, start })
            .unwrap();
    }

    /// What is still to be published.
    pub(super) fn due(&self, catalog: &Catalog) -> Vec<Change> {
        let manifest = self.manifest();
        let mut after = catalog.clone();
        let mut due = Vec::new();
        for change in manifest.local.changes() {
            if !says(&after, &change) {
                after.apply(&change).unwrap();
                due.push(change);
            }
        }
        due
    }

    /// Settles what is open, or else publishes what is due; checks that it is what it claims to be.
    pub(super) async fn publish(
        &self,
        bucket: &Bucket,
        sequence: &mut Sequence,
    ) -> Result<(), PublishError> {
        let expected = match sequence.pending() {
            Some((_, changes)) => changes.to_vec(),
            None => self.due(sequence.catalog()),
        };
        let Published { number, changes } = match sequence.pending() {
            Some(_) => sequence.settle().await?.expect("one was open"),
            None => sequence.publish(expected.clone()).await?,
        };
        assert_eq!((number, &changes), (sequence.head(), &expected));
        let (owner, catalog) = (sequence.owner(), sequence.catalog());
        bucket.history(|history| history.believed(number, owner, catalog));
        Ok(())
    }
}

impl Manifest {
    /// A manifest knows of streams and trims before they are published.
    fn as_of_known(&self) -> Catalog {
        let mut catalog = self.archived.clone();
        let segment = |change: &Change| matches!(change, Change::Segment { .. });
        for change in self.local.changes().filter(|change| !segment(change)) {
            catalog.adopt(&change).unwrap();
        }
        catalog
    }
}

pub(super) fn segment_of(base: Offset, end: Offset, salt: u64) -> ArchivedSegment {
    ArchivedSegment {
        salt,
        facts: SealedFacts {
            base,
            end,
            data_end: 1_000,
            file_len: 2_000,
            first_ts: base.get(),
            last_ts: end.get(),
            ext: None,
            digest: !salt,
            flush_failed: false,
        },
        epoch: Epoch(1),
        len: 700,
        crc: salt,
    }
}

/// A stream of `segments` segments of one record each.
pub(super) fn stream_of(stream: u8, segments: u64) -> Catalog {
    let stream = StreamId::from_bytes([stream; 16]);
    let segment = |no| (SegmentNo(no), segment_of(Offset(no), Offset(no + 1), no));
    let archived = tierlog_storage::catalog::ArchivedStream {
        name: "made by hand".to_owned(),
        created_ns: 1,
        start: Offset(0),
        next_segment: SegmentNo(segments),
        segments: (0..segments).map(segment).collect::<BTreeMap<_, _>>(),
    };
    Catalog::new([(stream, archived)]).unwrap()
}
