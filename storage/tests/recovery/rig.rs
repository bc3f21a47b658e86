//! A small writer, by hand: what the actors do, one step at a time, so that a test can stop between
//! any two of them.

use std::{collections::BTreeMap, sync::Arc};

use tierlog_storage::{
    Damage, Offset, SegmentNo, StorageError, StreamId,
    claims::Claim,
    disk::{Access, Disk},
    layout::Layout,
    manifest::{Entry, ManifestOptions, ManifestState, SegmentState, StreamState},
    recovery::{OpenOptions, OpenedLog, open_log, reopen_active},
    segment::{
        BlockError, Digest, Footer, Frame, FrameBuilder, FrameSeal, HEADER_LEN, Latched, Records,
        SegmentHeader, SparseIndex, create_segment, next_good, read_block,
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
        });
        Ok(())
    }

    /// Appends a frame of `count` records and does not sync it.
    pub fn append(&mut self, name: &str, count: u64) -> Result<(), StorageError> {
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
        let frame = frame(name, base, count, durable, active.salt);
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
        }
        bytes.extend_from_slice(&frame.bytes);
        active.index.note(frame.base, active.pos, frame.first_ts);
        active.digest.as_mut().unwrap().push(frame.crc);
        active.last_ts = frame.last_ts;
        active.file.write_at(&bytes, pos)?;
        active.pos += frame.len();
        writer.next += count;
        Ok(())
    }

    /// Syncs the active segment; `claim` writes it into the claims file, as an owner does.
    pub fn sync(&mut self, name: &str, claim: bool) -> Result<(), StorageError> {
        let epoch = self.log.state.epoch;
        let incarnation = self.stream(name).incarnation;
        let writer = self.writers.get_mut(name).unwrap();
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
        active.file.sync()?;
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

pub fn frame(name: &str, base: u64, count: u64, durable: u64, salt: u64) -> Frame {
    let mut builder = FrameBuilder::new(256);
    for offset in base..base + count {
        builder.push_payload(1_000 + offset, payload(name, offset).as_bytes());
    }
    builder.finish(&FrameSeal {
        base: Offset(base),
        durable: Offset(durable),
        salt,
    })
}

/// What a reader gets of a stream: records, and the ranges that it can't have.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Read {
    pub records: Vec<(u64, String)>,
    pub damage: Vec<(u64, u64)>,
}

impl Read {
    pub fn is_whole(&self, name: &str, start: u64, end: u64) -> bool {
        let expected = (start..end).map(|offset| (offset, payload(name, offset)));
        self.damage.is_empty() && self.records.iter().cloned().eq(expected)
    }
}

/// Reads all that the manifest says there is, from the files alone.
pub fn read_all(
    disk: &dyn Disk,
    layout: &Layout,
    state: &ManifestState,
    id: StreamId,
) -> Result<Read, StorageError> {
    let stream = &state.streams[&id];
    let mut read = Read::default();
    let mut at = stream.start;
    for (&no, segment) in &stream.segments {
        let (base, end, end_byte) = match (segment.status.range(), segment.status.end_byte()) {
            (Some((base, end)), Some(end_byte)) => (base, end, end_byte),
            _ => {
                let mark = stream.mark.unwrap();
                let found = reopen_active(disk, layout, state.log, id, no, segment, &mark)?;
                (found.base, found.end, found.pos)
            }
        };
        if base == end {
            continue;
        }
        assert!(base <= at, "offsets {at}..{base} belong to no segment");
        read_segment(
            disk,
            layout,
            id,
            no,
            segment,
            (base, end, end_byte),
            &mut read,
        );
        at = end;
    }
    assert_eq!(
        at,
        stream.next.max(stream.start),
        "the end that the manifest knows"
    );
    read.records
        .retain(|(offset, _)| *offset >= stream.start.get());
    Ok(read)
}

fn read_segment(
    disk: &dyn Disk,
    layout: &Layout,
    id: StreamId,
    no: SegmentNo,
    segment: &SegmentState,
    (base, end, end_byte): (Offset, Offset, u64),
    read: &mut Read,
) {
    let path = layout.segment(id, no);
    let Ok(file) = disk.open(&path, Access::Read) else {
        read.damage.push((base.get(), end.get()));
        return;
    };
    let file = Latched::new(file, path);
    let (mut at, mut pos) = (base, HEADER_LEN);
    while at < end {
        match read_block(&file, segment.salt, pos, end_byte, at, 1 << 16) {
            Ok(block) => {
                for (_, frame) in block.frames() {
                    for record in Records::of(frame).unwrap() {
                        let record = record.unwrap();
                        let text = String::from_utf8(record.payload.to_vec()).unwrap();
                        read.records.push((record.offset.get(), text));
                    }
                }
                (at, pos) = (block.end, block.next_pos);
            }
            Err(BlockError::Bad { .. }) => {
                let good = next_good(&file, segment.salt, pos, end_byte, at).unwrap();
                let (to, next) = good.map_or((end, end_byte), |(next, head)| (head.base, next));
                read.damage.push((at.get(), to.get()));
                (at, pos) = (to, next);
            }
            Err(BlockError::Disk(error)) => panic!("{error}"),
        }
    }
}

pub fn damage_of(log: &OpenedLog) -> Vec<Damage> {
    log.report.damage().cloned().collect()
}
