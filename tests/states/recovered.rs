//! Recovers a disk by what `Supervisor::open` itself calls to do so, and reads all of it from the files and
//! from the bucket: the quick way, without actors.

use std::{collections::BTreeMap, io, path::PathBuf, sync::Arc};

use bytes::Bytes;
use tierlog::{
    Offset, Settings, StreamId,
    testing::storage::{
        catalog::catalog_key,
        crc::crc64,
        disk::{Access, Disk, DiskFile},
        layout::Layout,
        manifest::{ManifestOptions, SegmentState, SegmentStatus, StreamState},
        recovery::{OpenOptions, OpenedLog, RecoveryReport, open_log, reopen_active},
        segment::{HEADER_LEN, Latched, RecordsRef, read_block},
        warm::{WarmIdentity, WarmView, as_segment},
    },
};

use crate::{
    bucket::Objects,
    promises::{Found, sum},
};

/// What was found by one recovery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered {
    pub streams: BTreeMap<String, Found>,
    pub findings: Findings,
}

/// What a recovery told of its own doings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// It had been closed in order: nothing was looked for.
    pub was_closed: bool,
    /// Tails that were cut or copied.
    pub tails: Vec<String>,
    /// Files that were removed or set aside.
    pub files: Vec<String>,
}

impl Findings {
    /// One of them, if there is any.
    pub fn first(&self) -> Option<&String> {
        self.tails.first().or(self.files.first())
    }
}

/// Opens a log and reads all of it.
pub fn recover(
    disk: &Arc<dyn Disk>,
    settings: &Settings,
    objects: &Objects,
) -> Result<Recovered, String> {
    let layout = Layout::new(&settings.data);
    let log = open_log(disk, &layout, &options(settings)).map_err(|e| format!("no open: {e}"))?;
    let findings = findings(&log.report)?;
    let reading = Reading {
        disk: &**disk,
        layout: &layout,
        log: &log,
        objects,
    };
    reading.agrees_with_the_bucket()?;
    let streams = log.state.streams.iter().map(|(id, stream)| {
        let found = reading.stream(*id, stream);
        let found = found.map_err(|what| format!("{}: {what}", stream.name))?;
        Ok((stream.name.clone(), found))
    });
    Ok(Recovered {
        streams: streams.collect::<Result<_, String>>()?,
        findings,
    })
}

fn options(settings: &Settings) -> OpenOptions {
    OpenOptions {
        manifest: ManifestOptions {
            chunk_size: settings.manifest_chunk.bytes(),
            rotate_bytes: settings.manifest_rotate.bytes(),
        },
        create: true,
        now_ns: 1_800_000_000_000_000_000,
        claim_slots: u32::try_from(settings.max_streams).unwrap_or(u32::MAX),
    }
}

/// What a recovery did; a crash damages nothing, and leaves nothing that is strange to a log.
pub fn findings(report: &RecoveryReport) -> Result<Findings, String> {
    if let Some(damage) = report.damage().next() {
        return Err(format!("damage: {damage}"));
    }
    // Files that the manifest dropped and that were about to be removed may be in the quarantine or, where
    // their heads are torn, left alone.
    let dropped = |path: &&PathBuf| {
        let ending = path.extension().unwrap_or_default();
        ending == "tls" || ending == "tlz"
    };
    if let Some(strange) = report.foreign.iter().find(|path| !dropped(path)) {
        return Err(format!("a strange file: {}", strange.display()));
    }
    let streams = report.streams.iter().map(|stream| format!("{stream:?}"));
    let moved = report.quarantined.iter().chain(&report.removed);
    let moved = moved.map(|path| path.display().to_string());
    Ok(Findings {
        was_closed: report.clean,
        tails: streams.collect(),
        files: moved.collect(),
    })
}

/// A log that is read.
struct Reading<'a> {
    disk: &'a dyn Disk,
    layout: &'a Layout,
    log: &'a OpenedLog,
    objects: &'a Objects,
}

impl Reading<'_> {
    /// Every object that the manifest names is there, and every catalog object that it calls its own.
    fn agrees_with_the_bucket(&self) -> Result<(), String> {
        let state = &self.log.state;
        if let Some(number) = state.published {
            let key = catalog_key(number);
            if !self.objects.by_key.contains_key(&key) {
                return Err(format!("{key} was published and is not there"));
            }
        }
        for stream in state.streams.values() {
            for (no, segment) in &stream.segments {
                let copies = &segment.residency;
                if let Some(cold) = copies.cold.as_ref().filter(|cold| !cold.dropped) {
                    let object = self.objects.by_key.get(&cold.key);
                    let is_it = object.is_some_and(|object| {
                        object.len() as u64 == cold.len && crc64(&[object]) == cold.crc
                    });
                    if !is_it {
                        return Err(format!("{} is not what the manifest says of it", cold.key));
                    }
                }
                let kept = segment.status.range();
                let kept = kept.filter(|(base, end)| base < end && *end > stream.start);
                let is_archived = kept.is_some_and(|(_, end)| end <= stream.archived);
                if is_archived && !copies.is_cold() {
                    return Err(format!(
                        "segment {no} is archived and has no object: {segment:?}"
                    ));
                }
                if kept.is_some() && !copies.hot && copies.warm.is_none() && !copies.is_cold() {
                    return Err(format!("segment {no} has no copy: {segment:?}"));
                }
            }
        }
        Ok(())
    }

    fn stream(&self, id: StreamId, stream: &StreamState) -> Result<Found, String> {
        let mut found = Found {
            start: stream.start.get(),
            archived: stream.archived.max(stream.start).get(),
            records: Vec::new(),
        };
        let mut at = stream.start;
        for (&no, segment) in &stream.segments {
            let (base, end, end_byte) = self.range(id, no, stream, segment)?;
            if base == end || end <= stream.start {
                continue;
            }
            if base > at || end < at {
                return Err(format!("segment {no} has {base}..{end}, and {at} is next"));
            }
            let file = self.file(id, no, segment)?;
            let span = (base.max(at), end);
            read(&file, segment.salt, (base, end, end_byte), span, &mut found)
                .map_err(|what| format!("segment {no}: {what}"))?;
            at = end;
        }
        if at != stream.next.max(stream.start) {
            return Err(format!("the next offset is {}, and {at} is", stream.next));
        }
        Ok(found)
    }

    /// Offsets and the byte behind the last one. What is open was closed in order.
    fn range(
        &self,
        id: StreamId,
        no: tierlog::SegmentNo,
        stream: &StreamState,
        segment: &SegmentState,
    ) -> Result<(Offset, Offset, u64), String> {
        if let (Some((base, end)), Some(end_byte)) =
            (segment.status.range(), segment.status.end_byte())
        {
            return Ok((base, end, end_byte));
        }
        let mark = stream.mark.ok_or("there is an open segment and no mark")?;
        let (layout, log) = (self.layout, self.log.log);
        let active = reopen_active(self.disk, layout, log, id, no, segment, &mark);
        let active = active.map_err(|error| format!("segment {no} can't go on: {error}"))?;
        Ok((active.base, active.end, active.pos))
    }

    /// The segment, from the nearest copy.
    fn file(
        &self,
        id: StreamId,
        no: tierlog::SegmentNo,
        segment: &SegmentState,
    ) -> Result<Latched, String> {
        let open = |path: PathBuf| match self.disk.open(&path, Access::Read) {
            Ok(file) => Ok(Latched::new(file, path)),
            Err(error) => Err(format!("{}: {error}", path.display())),
        };
        if segment.residency.hot {
            return open(self.layout.segment(id, no));
        }
        let SegmentStatus::Sealed(facts) = segment.status else {
            return Err(format!("segment {no} has no file and is not sealed"));
        };
        let identity = WarmIdentity {
            log: self.log.log,
            stream: id,
            segment: no,
            salt: segment.salt,
            facts,
        };
        let view = match (&segment.residency.warm, &segment.residency.cold) {
            (Some(warm), _) => {
                WarmView::of(open(self.layout.warm(id, no))?, &identity, warm.file_len)
            }
            (None, Some(cold)) => {
                let object = self.objects.by_key.get(&cold.key).cloned();
                let object = Object(object.ok_or_else(|| format!("no object {}", cold.key))?);
                let file = Latched::new(Arc::new(object), PathBuf::from(&cold.key));
                WarmView::of(file, &identity, cold.len)
            }
            (None, None) => return Err(format!("segment {no} has no copy")),
        };
        let view = view.map_err(|fault| format!("segment {no}: {fault}"))?;
        Ok(as_segment(&Arc::new(view)))
    }
}

/// Reads the records of a segment that lie in `span`.
fn read(
    file: &Latched,
    salt: u64,
    (base, end, end_byte): (Offset, Offset, u64),
    span: (Offset, Offset),
    found: &mut Found,
) -> Result<(), String> {
    let (mut at, mut pos) = (base, HEADER_LEN);
    while at < end {
        let block = read_block(file, salt, pos, end_byte, at, 1 << 17)
            .map_err(|error| format!("at {at}: {error}"))?;
        for (_, frame) in block.frames() {
            let records = RecordsRef::of(&frame).map_err(|fault| format!("at {at}: {fault}"))?;
            for record in records {
                let record = record.map_err(|fault| format!("at {at}: {fault}"))?;
                let offset = record.offset;
                if span.0 <= offset && offset < span.1 {
                    if offset.get() != found.end() {
                        return Err(format!("{offset} stands where {} should", found.end()));
                    }
                    found
                        .records
                        .push(sum(record.payload, record.key, record.ext_id));
                }
            }
        }
        (at, pos) = (block.end, block.next_pos);
    }
    Ok(())
}

/// An object as a file.
#[derive(Debug)]
struct Object(Bytes);

impl DiskFile for Object {
    fn read_at(&self, buf: &mut [u8], pos: u64) -> io::Result<usize> {
        let from = usize::try_from(pos).unwrap_or(usize::MAX).min(self.0.len());
        let part = &self.0[from..];
        let len = part.len().min(buf.len());
        buf[..len].copy_from_slice(&part[..len]);
        Ok(len)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn allocate(&self, _: u64, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn map_read_only(&self, _: u64) -> io::Result<Bytes> {
        Err(io::ErrorKind::Unsupported.into())
    }
}
