//! Checking every byte of a log.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;
use tierlog_actors::{
    Error,
    exec::{Work, run},
    read::Attached,
};
use tierlog_storage::{
    Damage, LogId, Offset, SegmentNo, StreamId,
    catalog::SegmentKey,
    layout::Layout,
    manifest::{SegmentState, SegmentStatus, StreamState, WarmCopy},
    verify::{SegmentVerdict, verify_object, verify_segment},
    warm::WarmIdentity,
};

/// What a verification found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct VerifyReport {
    /// Streams checked.
    pub streams: u64,
    /// Segments checked.
    pub segments: u64,
    /// Good frames.
    pub frames: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of good frames.
    pub bytes: u64,
    /// Objects of Tier 2 read and checked.
    pub objects: u64,
    /// Segments that are in Tier 2 alone and were not read: their offsets are taken to be there.
    pub unread: u64,
    /// Everything that is damaged, stream by stream, in order.
    pub damage: Vec<Damage>,
}

/// How often a stream is checked again that was truncated meanwhile.
const LOOKS: usize = 5;

pub(crate) async fn verify(
    attached: &Arc<Attached>,
    layout: &Layout,
    only: Option<&str>,
    archived: bool,
    mut progress: impl FnMut(u64, u64),
) -> Result<VerifyReport, Error> {
    if archived && !attached.context().has_objects() {
        return Err(Error::Unsupported {
            what: "the log was attached without its Tier 2; set `cold`".into(),
        });
    }
    let wanted: Vec<Seen> = seen(attached)
        .into_iter()
        .filter(|seen| only.is_none_or(|name| seen.state.name == name))
        .collect();
    if let (Some(name), true) = (only, wanted.is_empty()) {
        return Err(Error::UnknownStream {
            name: name.to_owned(),
        });
    }
    let segments = wanted.iter().flat_map(|seen| seen.state.segments.values());
    let total: u64 = segments.map(size).sum();
    let mut done = 0;
    let mut report = VerifyReport::default();
    for seen in wanted {
        let check = Check {
            attached,
            layout,
            id: seen.id,
            archived,
        };
        let found = check.settle(seen, |bytes| {
            // A second look at a stream counts no bytes twice.
            done = total.min(done + bytes);
            progress(done, total);
        });
        report.add(found.await?);
    }
    let damage = report.damage.len() as u64;
    attached
        .context()
        .meters
        .damage_in_verifying
        .increment(damage);
    Ok(report)
}

impl VerifyReport {
    fn add(&mut self, stream: Self) {
        let Self {
            streams,
            segments,
            frames,
            records,
            bytes,
            objects,
            unread,
            damage,
        } = stream;
        self.streams += streams;
        self.segments += segments;
        self.frames += frames;
        self.records += records;
        self.bytes += bytes;
        self.objects += objects;
        self.unread += unread;
        self.damage.extend(damage);
    }

    fn count(&mut self, verdict: SegmentVerdict) {
        self.segments += 1;
        self.frames += verdict.frames;
        self.records += verdict.records;
        self.bytes += verdict.bytes;
        self.damage.extend(verdict.damage);
    }
}

/// A stream as it was known at one moment.
struct Seen {
    id: StreamId,
    state: StreamState,
    durable: Offset,
}

/// Ends first, then the manifest: an end covers nothing that a later manifest does not name.
fn seen(attached: &Attached) -> Vec<Seen> {
    let streams = attached.streams();
    let ends: BTreeMap<StreamId, Offset> = streams
        .iter()
        .map(|stream| (stream.id, stream.watermarks().durable))
        .collect();
    let streams = attached.manifest().streams.into_iter();
    streams
        .map(|(id, state)| Seen {
            durable: ends.get(&id).copied().unwrap_or(state.start),
            id,
            state,
        })
        .collect()
}

fn size(segment: &SegmentState) -> u64 {
    segment.status.end_byte().unwrap_or(0)
}

/// One stream's check.
struct Check<'a> {
    attached: &'a Arc<Attached>,
    layout: &'a Layout,
    id: StreamId,
    /// Objects of Tier 2 are read as well.
    archived: bool,
}

impl Check<'_> {
    /// Checks it, and once more where a truncation took away what was being looked for.
    async fn settle(
        &self,
        mut seen: Seen,
        mut progress: impl FnMut(u64),
    ) -> Result<VerifyReport, Error> {
        for _ in 1..LOOKS {
            let found = self.stream(&seen, &mut progress).await?;
            if found.damage.is_empty() {
                return Ok(found);
            }
            match self.now() {
                Some(now) if now.state.incarnation != seen.state.incarnation => seen = now,
                _ => return Ok(found),
            }
        }
        self.stream(&seen, &mut progress).await
    }

    /// What is known of the stream by now.
    fn now(&self) -> Option<Seen> {
        let all = seen(self.attached).into_iter();
        all.into_iter().find(|seen| seen.id == self.id)
    }

    async fn stream(
        &self,
        seen: &Seen,
        progress: &mut impl FnMut(u64),
    ) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport {
            streams: 1,
            ..VerifyReport::default()
        };
        let mut links = Vec::with_capacity(seen.state.segments.len());
        // The last one first: where a segment ends that is not sealed, the next one tells. A writer
        // that rolls over, or that was killed while it did, leaves several of them.
        let mut until = seen.durable;
        for (no, segment) in seen.state.segments.iter().rev() {
            let range = segment.status.range();
            if range.is_some_and(|(_, end)| end <= seen.state.start) {
                // Trimmed, and known until its object is deleted.
                continue;
            }
            if let Some((status, verdict)) = self.copies(*no, segment, until, &mut report).await? {
                links.push(Link::of(*no, &status, &verdict));
                until = verdict.base.map_or(until, |base| until.min(base));
            }
            progress(size(segment));
        }
        let begins = match report.damage.is_empty() && links.len() == seen.state.segments.len() {
            true => seen.state.start,
            false => self.now().map_or(seen.state.start, |now| {
                now.state.start.max(seen.state.start)
            }),
        };
        report
            .damage
            .extend(self.gaps(begins, &links, seen.durable));
        report.damage.sort_by_key(|d| (d.from, d.segment, d.bytes));
        Ok(report)
    }

    /// Checks each copy of a segment that is to be read; `None` where it is gone.
    async fn copies(
        &self,
        no: SegmentNo,
        segment: &SegmentState,
        until: Offset,
        report: &mut VerifyReport,
    ) -> Result<Option<(SegmentStatus, SegmentVerdict)>, Error> {
        let copies = &segment.residency;
        let has_object = copies.cold.as_ref().is_some_and(|cold| !cold.dropped);
        let is_here = copies.hot || copies.warm.is_some() || !has_object;
        let look = async |segment: &SegmentState| self.job(no, segment, until).await;
        let mut found = match is_here {
            true => self.settled(no, segment, look).await?,
            false => None,
        };
        if let Some((_, verdict)) = &found {
            report.count(verdict.clone());
        }
        if !has_object {
            return Ok(found);
        }
        if self.archived {
            let look = async |segment: &SegmentState| self.object(no, segment).await;
            let Some(object) = self.settled(no, segment, look).await? else {
                return Ok(found);
            };
            report.objects += 1;
            match is_here {
                true => report.damage.extend(object.1.damage),
                false => {
                    report.count(object.1.clone());
                    found = Some(object);
                }
            }
        } else if !is_here {
            report.unread += 1;
            let base = segment.status.range().map(|(base, _)| base);
            let verdict = SegmentVerdict {
                base,
                ..SegmentVerdict::default()
            };
            found = Some((segment.status, verdict));
        }
        Ok(found)
    }

    /// Checks a segment; `None` where it is gone. What looks like damage counts only if the
    /// manifest still says of the segment what it said: it may have been trimmed or sealed since, or be
    /// in another tier.
    async fn settled(
        &self,
        no: SegmentNo,
        segment: &SegmentState,
        look: impl AsyncFn(&SegmentState) -> Result<SegmentVerdict, Error>,
    ) -> Result<Option<(SegmentStatus, SegmentVerdict)>, Error> {
        let mut segment = segment.clone();
        for _ in 1..LOOKS {
            let verdict = look(&segment).await?;
            if verdict.is_good() {
                return Ok(Some((segment.status, verdict)));
            }
            self.attached.refresh().await?;
            let now = self
                .now()
                .and_then(|mut now| now.state.segments.remove(&no));
            match now {
                None => return Ok(None),
                Some(now) if now == segment => return Ok(Some((now.status, verdict))),
                Some(now) => segment = now,
            }
        }
        let verdict = look(&segment).await?;
        Ok(Some((segment.status, verdict)))
    }

    async fn job(
        &self,
        no: SegmentNo,
        segment: &SegmentState,
        until: Offset,
    ) -> Result<SegmentVerdict, Error> {
        let context = self.attached.context();
        let (disk, log): (_, LogId) = (Arc::clone(&context.disk), self.attached.log());
        let (layout, segment, id) = (self.layout.clone(), segment.clone(), self.id);
        let job = run(&context.executor, Work::Read, &context.running, move || {
            verify_segment(disk.as_ref(), &layout, log, id, no, &segment, Some(until))
        });
        Ok(job.await.map_err(|died| unavailable(&died))??)
    }

    /// Checks the object of a segment. Bytes can be altered on their way: it is damaged if it is so twice.
    async fn object(&self, no: SegmentNo, segment: &SegmentState) -> Result<SegmentVerdict, Error> {
        let mut verdict = SegmentVerdict::default();
        let (SegmentStatus::Sealed(facts), Some(cold)) = (segment.status, &segment.residency.cold)
        else {
            return Ok(verdict);
        };
        let identity = WarmIdentity {
            log: self.attached.log(),
            stream: self.id,
            segment: no,
            salt: segment.salt,
            facts,
        };
        let (context, len) = (self.attached.context(), cold.len);
        let copy = WarmCopy {
            file_len: cold.len,
            crc: cold.crc,
        };
        for _ in 0..2 {
            let key = SegmentKey::parse(&cold.key);
            let Some(object) = key.and_then(|key| context.object(key, len)) else {
                return Err(Error::Unavailable {
                    why: format!("nobody can read {}", cold.key).into(),
                });
            };
            let job = run(
                &context.executor,
                Work::Fetch,
                &context.running,
                move || verify_object(object, &identity, &copy),
            );
            verdict = match job.await.map_err(|died| unavailable(&died))? {
                Err(error) if error.is_timeout() => return Err(unavailable(&error)),
                found => found?,
            };
            if verdict.is_good() {
                break;
            }
        }
        Ok(verdict)
    }

    /// Offsets from the start of the stream to its durable end that no segment accounts for.
    fn gaps(&self, start: Offset, backwards: &[Link], durable: Offset) -> Vec<Damage> {
        let mut missing = Vec::new();
        let (mut at, mut last) = (start, SegmentNo::ZERO);
        let mut gap = |segment, from, to| {
            missing.push(Damage {
                stream: self.id,
                segment,
                from,
                to,
                bytes: (0, 0),
                what: "no segment holds these offsets".into(),
            });
        };
        for link in backwards.iter().rev().filter(|link| link.base < link.end) {
            if link.base > at && at < durable {
                gap(link.no, at, link.base.min(durable));
            }
            (at, last) = (at.max(link.end), link.no);
        }
        if at < durable {
            gap(last, at, durable);
        }
        missing
    }
}

fn unavailable(why: &dyn fmt::Display) -> Error {
    Error::Unavailable {
        why: why.to_string().into(),
    }
}

/// What a segment accounts for: records, or damage in their place.
struct Link {
    no: SegmentNo,
    base: Offset,
    end: Offset,
}

impl Link {
    fn of(no: SegmentNo, status: &SegmentStatus, verdict: &SegmentVerdict) -> Self {
        let (base, end) = match status {
            // What an open segment holds only its bytes say.
            SegmentStatus::Open => {
                let base = verdict.base.unwrap_or_default();
                let good = verdict.range.map_or(base, |(_, end)| end);
                let damaged = verdict.damage.iter().map(|damage| damage.to);
                (base, damaged.fold(good, Offset::max))
            }
            _ => status.range().unwrap_or_default(),
        };
        Self { no, base, end }
    }
}
