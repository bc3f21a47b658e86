//! Checking every byte of a log.

use std::sync::Arc;

use serde::Serialize;
use tierlog_actors::{
    Error,
    exec::{Work, run},
    read::Attached,
};
use tierlog_storage::{
    Damage, LogId, Offset, SegmentNo, StreamId,
    layout::Layout,
    manifest::{SegmentState, SegmentStatus, StreamState},
    verify::{SegmentVerdict, verify_segment},
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
    /// Everything that is damaged, stream by stream, in order.
    pub damage: Vec<Damage>,
}

pub(crate) async fn verify(
    attached: &Arc<Attached>,
    layout: &Layout,
    only: Option<&str>,
    mut progress: impl FnMut(u64, u64),
) -> Result<VerifyReport, Error> {
    let manifest = attached.manifest();
    let wanted: Vec<(StreamId, StreamState)> = manifest
        .streams
        .into_iter()
        .filter(|(_, state)| only.is_none_or(|name| state.name == name))
        .collect();
    if let (Some(name), true) = (only, wanted.is_empty()) {
        return Err(Error::UnknownStream {
            name: name.to_owned(),
        });
    }
    let sizes = |state: &SegmentState| state.status.end_byte().unwrap_or(0);
    let total = wanted
        .iter()
        .flat_map(|(_, s)| s.segments.values())
        .map(sizes)
        .sum();
    let mut done = 0;
    let mut report = VerifyReport::default();
    for (id, state) in wanted {
        let durable = attached.stream(&state.name)?.watermarks().durable;
        let mut chain = Chain::new(id, state.start);
        for (no, segment) in &state.segments {
            let verdict = check(attached, layout, id, *no, segment, durable).await?;
            chain.add(*no, segment, &verdict, durable);
            report.segments += 1;
            report.frames += verdict.frames;
            report.records += verdict.records;
            report.bytes += verdict.bytes;
            report.damage.extend(verdict.damage);
            done += sizes(segment);
            progress(done, total);
        }
        report.damage.extend(chain.finish(durable));
        report.streams += 1;
    }
    let damage = report.damage.len() as u64;
    attached
        .context()
        .meters
        .damage_in_verifying
        .increment(damage);
    Ok(report)
}

async fn check(
    attached: &Arc<Attached>,
    layout: &Layout,
    id: StreamId,
    no: SegmentNo,
    segment: &SegmentState,
    durable: Offset,
) -> Result<SegmentVerdict, Error> {
    let context = attached.context();
    let (disk, log): (_, LogId) = (Arc::clone(&context.disk), attached.log());
    let (layout, segment) = (layout.clone(), segment.clone());
    let job = run(&context.executor, Work::Read, &context.running, move || {
        verify_segment(disk.as_ref(), &layout, log, id, no, &segment, Some(durable))
    });
    let died = |died| Error::Unavailable {
        why: format!("{died}").into(),
    };
    Ok(job.await.map_err(died)??)
}

/// Whether the segments of a stream join up from its start to its durable end.
struct Chain {
    stream: StreamId,
    at: Offset,
    last: SegmentNo,
    missing: Vec<Damage>,
}

impl Chain {
    fn new(stream: StreamId, start: Offset) -> Self {
        Self {
            stream,
            at: start,
            last: SegmentNo::ZERO,
            missing: Vec::new(),
        }
    }

    fn add(
        &mut self,
        no: SegmentNo,
        segment: &SegmentState,
        verdict: &SegmentVerdict,
        durable: Offset,
    ) {
        let range = match segment.status {
            // What an open segment holds only its bytes say.
            SegmentStatus::Open => verdict.range.map(|(base, end)| (base, end.max(base))),
            _ => segment.status.range(),
        };
        let Some((base, end)) = range.filter(|(base, end)| base < end) else {
            return;
        };
        if base > self.at && self.at < durable {
            self.gap(no, base.min(durable));
        }
        self.at = self.at.max(end);
        self.last = no;
    }

    fn gap(&mut self, segment: SegmentNo, to: Offset) {
        self.missing.push(Damage {
            stream: self.stream,
            segment,
            from: self.at,
            to,
            bytes: (0, 0),
            what: "no segment holds these offsets".into(),
        });
    }

    fn finish(mut self, durable: Offset) -> Vec<Damage> {
        if self.at < durable {
            self.gap(self.last, durable);
        }
        self.missing
    }
}
