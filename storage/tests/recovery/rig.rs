//! A small writer, by hand: what the actors do, one step at a time, so that a test can stop between
//! any two of them.

use std::{collections::BTreeMap, sync::Arc};

use tierlog_storage::{
    Offset, SegmentNo, StorageError, StreamId,
    claims::Claim,
    disk::Disk,
    layout::Layout,
    manifest::{Entry, ManifestOptions, StreamState},
    recovery::{OpenOptions, OpenedLog, open_log, reopen_active},
    segment::{
        Digest, Footer, Frame, FrameBuilder, FrameSeal, HEADER_LEN, Latched, SegmentHeader,
        SparseIndex, create_segment,
    },
};

pub const CAPACITY: u64 = 4096;

pub fn layout() -> Layout {
    Layout::new("/data")
}

pub fn options() -> OpenOptions {
    OpenOptions {
        manifest: ManifestOptions {
            chunk_size: 16 << 10,
            rotate_bytes: 64 << 10,
        },
        create: true,
        now_ns: 1_000,
        claim_slots: 8,
    }
}

pub fn open(disk: &Arc<dyn Disk>) -> Result<OpenedLog, StorageError> {
    open_log(disk, &layout(), &options())
}

pub fn payload(stream: &str, offset: u64) -> String {
    let filler = "x".repeat((offset * 7 % 60) as usize);
    format!("{stream}/{offset}/{filler}")
}

pub use crate::reading::{Read, damage_of, read_all};

/// A log that is being written.
#[derive(Debug)]
pub struct Rig {
    pub disk: Arc<dyn Disk>,
    pub layout: Layout,
    pub log: OpenedLog,
    pub writers: BTreeMap<String, Writer>,
}

/// The writer of one stream.
#[derive(Debug)]
pub struct Writer {
    pub id: StreamId,
    pub slot: u32,
    pub active: Option<Active>,
    /// A segment that was created ahead.
    pub ahead: Option<Active>,
    /// Segments that are full, and that nobody has sealed or synced yet.
    pub rolled: Vec<Latched>,
    pub next: u64,
    pub durable: u64,
}

#[derive(Debug)]
pub struct Active {
    pub file: Latched,
    pub no: SegmentNo,
    pub salt: u64,
    pub seq: u64,
    pub base: u64,
    pub pos: u64,
    pub digest: Option<Digest>,
    pub index: SparseIndex,
    pub last_ts: u64,
    pub has_header: bool,
    /// Where each frame that was written here begins, and where the next one would.
    pub frames: Vec<(u64, u64)>,
}

impl Rig {
    pub fn open(disk: &Arc<dyn Disk>) -> Result<Self, StorageError> {
        Self::open_at(disk, layout())
    }

    pub fn open_at(disk: &Arc<dyn Disk>, layout: Layout) -> Result<Self, StorageError> {
        let log = open_log(disk, &layout, &options())?;
        let mut rig = Self {
            disk: Arc::clone(disk),
            layout,
            log,
            writers: BTreeMap::new(),
        };
        let known: Vec<_> = rig
            .log
            .state
            .streams
            .iter()
            .map(|(id, s)| (*id, s.name.clone()))
            .collect();
        for (id, name) in known {
            let writer = rig.reopen(id)?;
            rig.writers.insert(name, writer);
        }
        Ok(rig)
    }

    fn reopen(&self, id: StreamId) -> Result<Writer, StorageError> {
        let stream = &self.log.state.streams[&id];
        let mut writer = Writer {
            id,
            slot: self.writers.len() as u32,
            active: None,
            ahead: None,
            rolled: Vec::new(),
            next: stream.next.get(),
            durable: stream.next.get(),
        };
        for (&no, segment) in stream.segments.iter().filter(|(_, s)| s.status.is_open()) {
            let mark = stream
                .mark
                .expect("only a stream that was closed has a tail now");
            let disk = &*self.disk;
            let found = reopen_active(disk, &self.layout, self.log.log, id, no, segment, &mark)?;
            assert_eq!(found.end.get(), writer.next);
            let active = Active {
                no,
                salt: segment.salt,
                seq: found.header.as_ref().map_or(1, |h| h.manifest_seq),
                base: found.base.get(),
                pos: found.pos,
                frames: vec![(found.end.get(), found.pos)],
                has_header: found.header.is_some(),
                digest: found.digest,
                index: found.index,
                last_ts: found.last_ts,
                file: found.file,
            };
            match (active.has_header, writer.active.is_some()) {
                (true, _) => writer.active = Some(active),
                (false, _) => writer.ahead = Some(active),
            }
        }
        Ok(writer)
    }

    pub fn commit(&mut self, entries: Vec<Entry>) -> Result<u64, StorageError> {
        let results = self.log.manifest.commit(&[entries], &mut self.log.state)?;
        results.into_iter().next().unwrap().map(|seq| seq.get())
    }

    pub fn create(&mut self, name: &str) -> Result<(), StorageError> {
        let id = StreamId::from_bytes([self.writers.len() as u8 + 1; 16]);
        self.commit(vec![Entry::StreamCreated {
            stream: id,
            name: name.to_owned(),
            created_ns: 1,
        }])?;
        let slot = self.writers.len() as u32;
        let writer = Writer {
            id,
            slot,
            active: None,
            ahead: None,
            rolled: Vec::new(),
            next: 0,
            durable: 0,
        };
        self.writers.insert(name.to_owned(), writer);
        Ok(())
    }

    pub fn stream(&self, name: &str) -> &StreamState {
        &self.log.state.streams[&self.writers[name].id]
    }

    /// Creates a segment ahead, as the writer does before the active one is full.
    pub fn ahead(&mut self, name: &str) -> Result<(), StorageError> {
        if self.writers[name].ahead.is_some() {
            return Ok(());
        }
        let id = self.writers[name].id;
        let stream = &self.log.state.streams[&id];
        let (no, incarnation) = (stream.next_segment, stream.incarnation);
        // A number whose file is there is passed over: a writer that died has left it.
        let file = create_segment(&*self.disk, &self.layout, id, no, CAPACITY)?;
        let epoch = self.log.state.epoch;
        let salt = 0x5a17 ^ no.get() << 20 ^ epoch.get() << 40 ^ u64::from(id.as_bytes()[0]);
        let seq = self.commit(vec![Entry::SegmentCreated {
            stream: id,
            segment: no,
            salt,
            capacity: CAPACITY,
            epoch,
            incarnation,
        }])?;
        self.writers.get_mut(name).unwrap().ahead = Some(Active {
            file,
            no,
            salt,
            seq,
            base: 0,
            pos: HEADER_LEN,
            digest: None,
            index: SparseIndex::default(),
            last_ts: 0,
            has_header: false,
            frames: Vec::new(),
        });
        Ok(())
    }

    /// Appends a frame of `count` records and does not sync it.
    pub fn append(&mut self, name: &str, count: u64) -> Result<(), StorageError> {
        let next = self.writers[name].next;
        let records: Vec<_> = (next..next + count)
            .map(|offset| payload(name, offset))
            .collect();
        self.append_these(name, &records)
    }

    /// The same with payloads of one's own.
    pub fn append_these(&mut self, name: &str, records: &[String]) -> Result<(), StorageError> {
        if self.writers[name].active.is_none() {
            self.ahead(name)?;
            let writer = self.writers.get_mut(name).unwrap();
            writer.active = writer.ahead.take();
        }
        let log = self.log.log;
        let epoch = self.log.state.epoch;
        let incarnation = self.stream(name).incarnation;
        let writer = self.writers.get_mut(name).unwrap();
        let (id, base, durable) = (writer.id, writer.next, writer.durable);
        let active = writer.active.as_mut().unwrap();
        let frame = frame(base, records, durable, active.salt);
        let mut bytes = Vec::new();
        let mut pos = active.pos;
        if !active.has_header {
            let header = SegmentHeader {
                log,
                stream: id,
                segment: active.no,
                base: Offset(base),
                epoch,
                incarnation,
                created_ns: 1,
                capacity: CAPACITY,
                first_ext_id: None,
                salt: active.salt,
                manifest_seq: active.seq,
            };
            let encoded = header.encode();
            let crc = u64::from_le_bytes(*encoded.last_chunk().unwrap());
            active.digest = Some(Digest::new(crc));
            bytes.extend_from_slice(&encoded);
            (active.has_header, active.base, pos) = (true, base, 0);
            active.frames.push((base, active.pos));
        }
        bytes.extend_from_slice(&frame.bytes);
        active.index.note(frame.base, active.pos, frame.first_ts);
        active.digest.as_mut().unwrap().push(frame.crc);
        active.last_ts = frame.last_ts;
        active.file.write_at(&bytes, pos)?;
        active.pos += frame.len();
        writer.next += records.len() as u64;
        active.frames.push((writer.next, active.pos));
        Ok(())
    }

    /// Syncs the active segment; `claim` writes it into the claims file, as an owner does.
    pub fn sync(&mut self, name: &str, claim: bool) -> Result<(), StorageError> {
        let epoch = self.log.state.epoch;
        let incarnation = self.stream(name).incarnation;
        let writer = self.writers.get_mut(name).unwrap();
        for file in writer.rolled.drain(..) {
            file.sync()?;
        }
        if let Some(active) = &writer.active {
            active.file.sync()?;
        }
        writer.durable = writer.next;
        let told = Claim {
            stream: writer.id,
            epoch,
            incarnation,
            durable: Offset(writer.durable),
        };
        match claim {
            true => self.log.claims.put(writer.slot, &told),
            false => Ok(()),
        }
    }

    /// Goes over to the next segment; how far the seal of the last one comes is up to `upto`.
    pub fn roll(&mut self, name: &str, upto: Seal) -> Result<(), StorageError> {
        self.ahead(name)?;
        let writer = self.writers.get_mut(name).unwrap();
        let Some(active) = writer.active.take() else {
            return Ok(());
        };
        writer.active = writer.ahead.take();
        let (id, end, durable) = (writer.id, Offset(writer.next), Offset(writer.durable));
        if !active.has_header {
            writer.ahead = writer.active.replace(active);
            return Ok(());
        }
        writer.rolled.push(active.file.clone());
        if upto == Seal::Nothing {
            return Ok(());
        }
        let footer = Footer {
            log: self.log.log,
            segment: active.no,
            base: Offset(active.base),
            end,
            data_end: active.pos,
            first_ts: active.index.entries()[0].ts,
            last_ts: active.last_ts,
            ext: None,
            digest: active.digest.as_ref().unwrap().value(),
            watermark: durable,
            flush_failed: false,
            index: active.index,
        };
        let bytes = footer.encode(active.salt);
        let bytes = match upto {
            Seal::Torn => &bytes[..60],
            _ => &bytes[..],
        };
        active.file.write_at(bytes, active.pos)?;
        if upto != Seal::Commit {
            return Ok(());
        }
        let file_len = active.pos + bytes.len() as u64;
        active.file.set_len(file_len)?;
        // Nothing is sealed before all that stands before it is durable.
        for file in self.writers.get_mut(name).unwrap().rolled.drain(..) {
            file.sync()?;
        }
        self.commit(vec![Entry::Sealed {
            stream: id,
            segment: active.no,
            base: footer.base,
            end,
            data_end: footer.data_end,
            file_len,
            first_ts: footer.first_ts,
            last_ts: footer.last_ts,
            ext: None,
            digest: footer.digest,
            flush_failed: false,
        }])?;
        self.writers.get_mut(name).unwrap().durable = end.get();
        Ok(())
    }

    /// Closes the log in order.
    pub fn close(mut self) -> Result<(), StorageError> {
        let names: Vec<String> = self.writers.keys().cloned().collect();
        for name in names {
            self.sync(&name, true)?;
            let incarnation = self.stream(&name).incarnation;
            let writer = &self.writers[&name];
            let mark = Entry::Mark {
                stream: writer.id,
                durable: Offset(writer.durable),
                segment: writer.active.as_ref().map(|a| a.no),
                end_byte: writer.active.as_ref().map_or(0, |a| a.pos),
                incarnation,
                clean: true,
            };
            self.commit(vec![mark])?;
        }
        self.log.manifest.close_clean()
    }
}

/// How far a seal comes before the machine stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seal {
    Nothing,
    Torn,
    Footer,
    Commit,
}

pub fn frame(base: u64, records: &[String], durable: u64, salt: u64) -> Frame {
    let mut builder = FrameBuilder::new(256);
    for (offset, record) in (base..).zip(records) {
        builder.push_payload(1_000 + offset, record.as_bytes());
    }
    builder.finish(&FrameSeal {
        base: Offset(base),
        durable: Offset(durable),
        salt,
    })
}
