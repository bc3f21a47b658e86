//! A log beside its model.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tierlog::{
    Error, FlushPolicy, From, Level, NewRecord, Offset, ReadOnly, Reader, Settings, Size, Stream,
    Supervisor,
    testing::{Clock, Injected, storage::disk::sim::SimDisk},
};

use super::{
    expected::{Expected, Model, is_trimmed},
    ops::{End, NewText, Place, Policy, Step},
};
use crate::{sim, support::within};

const NAMES: [&str; 2] = ["one", "two"];

/// Goes on only when told to.
#[derive(Debug)]
struct SetClock(AtomicU64);

impl Clock for SetClock {
    fn now_ns(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

#[derive(Debug)]
pub struct World {
    disk: SimDisk,
    clock: Arc<SetClock>,
    settings: Settings,
    log: Option<Supervisor>,
    streams: Vec<Stream>,
    models: [Model; 2],
}

fn record(expected: &Expected) -> NewRecord {
    let mut record = NewRecord::from(expected.payload.clone());
    if let Some(key) = &expected.key {
        record = record.key(key.clone());
    }
    if let Some(id) = expected.ext_id {
        record = record.ext_id(id);
    }
    record
}

impl World {
    pub async fn begin(policy: Policy) -> Self {
        let flush = match policy {
            Policy::Always => FlushPolicy::Always,
            Policy::Every => FlushPolicy::Every(Duration::from_millis(2)),
            Policy::Bytes => FlushPolicy::Bytes(Size::kib(4)),
            Policy::Manual => FlushPolicy::Manual,
        };
        let mut world = Self {
            disk: SimDisk::new(),
            clock: Arc::new(SetClock(AtomicU64::new(1_000_000_000_000))),
            settings: Settings {
                flush,
                // Where nobody syncs by himself, the window is larger than all that is appended.
                unsynced_bytes: match policy {
                    Policy::Manual => Size::mib(8),
                    _ => sim::tiny().unsynced_bytes,
                },
                ..sim::tiny()
            },
            log: None,
            streams: Vec::new(),
            models: <[Model; 2]>::default(),
        };
        world.open().await;
        world
    }

    fn injected(&self) -> Injected {
        let clock = Arc::clone(&self.clock);
        Injected {
            clock,
            ..sim::on(self.disk.clone())
        }
    }

    async fn open(&mut self) {
        let log = Supervisor::open_with(self.settings.clone(), self.injected()).await;
        let log = log.expect("it opens");
        assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
        self.streams.clear();
        for (name, model) in NAMES.into_iter().zip(&mut self.models) {
            let stream = within(log.log().stream(name)).await.expect("a stream");
            let marks = stream.watermarks();
            assert_eq!((marks.durable, marks.written), (marks.next, marks.next));
            model.crashed(marks.start.get(), marks.next.get());
            self.streams.push(stream);
        }
        self.log = Some(log);
        self.look().await;
    }

    /// Compares watermarks and all that can be read.
    async fn look(&mut self) {
        for (stream, model) in self.streams.iter().zip(&mut self.models) {
            model.check_marks(&stream.watermarks());
            let durable = model.durable;
            let reader = stream.reader(From::Earliest).await.expect("a reader");
            let read = compare(reader, model, model.start, usize::MAX).await;
            // It may have grown meanwhile.
            assert!(
                read >= durable && read <= model.next(),
                "{read} of {durable}"
            );
        }
    }

    pub async fn take(&mut self, step: Step) {
        match step {
            Step::Append {
                stream,
                what,
                durable,
            } => self.append(stream, &what, durable).await,
            Step::Batch { stream, what } => self.batch(stream, &what).await,
            Step::AppendIf { stream, what, off } => self.append_if(stream, &what, off).await,
            Step::Pack { stream, fillers } => self.pack(stream, &fillers).await,
            Step::Submit { stream, what } => self.submit(stream, &what),
            Step::TooLarge { stream } => self.too_large(stream).await,
            Step::Flush { stream } => self.flush(stream).await,
            Step::Seal { stream } => self.seal(stream).await,
            Step::Trim { stream, part } => self.trim(stream, part).await,
            Step::Truncate { stream, part } => self.truncate(stream, part).await,
            Step::Read {
                stream,
                from,
                max,
                written,
            } => self.read(stream, from, max, written).await,
            Step::Clock { by } => {
                let now = self
                    .clock
                    .now_ns()
                    .saturating_add_signed(by * 1_000_000_000);
                self.clock.0.store(now, Ordering::Relaxed);
            }
            Step::Reopen(end) => self.reopen(end).await,
        }
        for (stream, model) in self.streams.iter().zip(&mut self.models) {
            model.check_marks(&stream.watermarks());
        }
    }

    fn both(&mut self, stream: usize) -> (&Stream, &mut Model) {
        (&self.streams[stream], &mut self.models[stream])
    }

    /// Nobody would ever make it durable by himself.
    fn is_manual(&self) -> bool {
        self.settings.flush == FlushPolicy::Manual
    }

    async fn append(&mut self, at: usize, what: &NewText, durable: bool) {
        let durable = durable && !self.is_manual();
        let (stream, model) = self.both(at);
        let expected = model.make(what);
        let level = if durable {
            Level::Durable
        } else {
            Level::Written
        };
        let ack = within(stream.append_at(record(&expected), level))
            .await
            .expect("an ack");
        assert_eq!((ack.offset.get(), ack.count), (model.next(), 1));
        model.add(&[expected]);
        if durable {
            model.durable = model.next();
        }
    }

    async fn batch(&mut self, at: usize, what: &[NewText]) {
        let manual = self.is_manual();
        let (stream, model) = self.both(at);
        let expected: Vec<_> = what.iter().map(|what| model.make(what)).collect();
        let records = expected.iter().map(record).collect();
        if manual {
            let ticket = stream.try_append_batch(records);
            let Ok(ticket) = ticket else { return };
            within(ticket.at(Level::Written)).await.expect("an ack");
            model.add(&expected);
            return;
        }
        let ack = within(stream.append_batch(records)).await.expect("an ack");
        assert_eq!(
            (ack.offset.get(), ack.count as usize),
            (model.next(), what.len())
        );
        model.add(&expected);
        model.durable = model.next();
    }

    async fn append_if(&mut self, at: usize, what: &NewText, off: i64) {
        let manual = self.is_manual();
        if manual {
            // A conflict is told once what it quotes is durable.
            self.flush(at).await;
        }
        let (stream, model) = self.both(at);
        let expected = model.make(what);
        let asked = model.next().saturating_add_signed(off);
        if manual && asked == model.next() {
            return;
        }
        let outcome = within(stream.append_if(Offset(asked), record(&expected))).await;
        if asked == model.next() {
            assert_eq!(outcome.expect("an ack").offset.get(), asked);
            model.add(&[expected]);
        } else {
            let failed = outcome.expect_err("it is elsewhere");
            assert!(
                matches!(failed.error, Error::Conflict { next, .. } if next.get() == model.next()),
                "{failed:?}"
            );
            assert_eq!(failed.records, [record(&expected)]);
        }
        // Either way it is said only once it is durable.
        model.durable = model.next();
    }

    async fn pack(&mut self, at: usize, fillers: &[usize]) {
        let manual = self.is_manual();
        let (stream, model) = self.both(at);
        let mut appender = stream.appender();
        for filler in fillers {
            let what = NewText {
                filler: *filler,
                key: None,
                ext_id: None,
            };
            let expected = model.make(&what);
            let sent = within(appender.push(expected.payload.as_bytes())).await;
            drop(sent.expect("there is room, sooner or later"));
            model.add(&[expected]);
        }
        let ticket = within(appender.send())
            .await
            .expect("room")
            .expect("a ticket");
        assert_eq!(appender.pending(), 0);
        if manual {
            within(ticket.at(Level::Written)).await.expect("an ack");
        } else {
            let ack = within(ticket).await.expect("an ack");
            assert_eq!(ack.offset.get() + u64::from(ack.count), model.next());
            model.durable = model.next();
        }
    }

    fn submit(&mut self, at: usize, what: &[NewText]) {
        let (stream, model) = self.both(at);
        for what in what {
            let expected = model.make(what);
            match stream.try_append(record(&expected)) {
                Ok(ticket) => {
                    drop(ticket);
                    model.add(&[expected]);
                }
                // Refused without a trace, which the next look will show.
                Err(tierlog::TryAppend::WouldBlock { payload, .. }) => {
                    assert_eq!(payload, record(&expected));
                }
                Err(failed) => panic!("{failed}"),
            }
        }
    }

    async fn too_large(&mut self, at: usize) {
        let limit = self.settings.max_record.bytes();
        let (stream, _) = self.both(at);
        let large = vec![7; usize::try_from(limit).expect("small") + 1];
        let failed = within(stream.append(large.clone()))
            .await
            .expect_err("too large");
        assert!(
            matches!(failed.error, Error::RecordTooLarge { .. }),
            "{failed}"
        );
        let failed = within(stream.append_batch(Vec::new()))
            .await
            .expect_err("nothing");
        assert!(
            matches!(failed.error, Error::InvalidInput { .. }),
            "{failed}"
        );
    }

    async fn flush(&mut self, at: usize) {
        let (stream, model) = self.both(at);
        let end = within(stream.flush()).await.expect("flushed");
        assert_eq!(end.get(), model.next());
        model.durable = model.next();
    }

    async fn seal(&mut self, at: usize) {
        let (stream, model) = self.both(at);
        let end = within(stream.seal()).await.expect("sealed");
        assert_eq!(end.get(), model.next());
        let segments = stream.segments().await.expect("segments");
        assert!(segments.iter().all(|s| s.state != "open"), "{segments:?}");
        model.durable = model.next();
    }

    async fn trim(&mut self, at: usize, part: u64) {
        let (stream, model) = self.both(at);
        let before = model.at(part);
        let durable = stream.watermarks().durable.get();
        match within(stream.trim(Offset(before))).await {
            Ok(start) => {
                assert_eq!(start.get(), model.start.max(before));
                model.start = start.get();
                model.durable = model.durable.max(before);
            }
            Err(error) => {
                assert!(matches!(error, Error::InvalidInput { .. }), "{error}");
                assert!(before > durable);
            }
        }
    }

    async fn truncate(&mut self, at: usize, part: Option<u64>) {
        let (stream, model) = self.both(at);
        let end = part.map_or(0, |part| model.at(part));
        let last = end.checked_sub(1).map(Offset);
        match within(stream.truncate_after(last)).await {
            Ok(next) => {
                assert!(end >= model.start);
                assert_eq!(next.get(), end.min(model.next()));
                if end < model.next() {
                    assert!(stream.watermarks().incarnation.get() > model.life);
                }
                model.truncate(end.min(model.next()));
                model.durable = model.next();
            }
            Err(error) => {
                assert!(
                    end < model.start && is_trimmed(&error, model.start),
                    "{error}"
                );
            }
        }
    }

    async fn read(&mut self, at: usize, place: Place, max: usize, written: bool) {
        // Times are known for what was read before.
        let reader = self.streams[at]
            .reader(From::Earliest)
            .level(Level::Written)
            .await;
        let model = &mut self.models[at];
        compare(reader.expect("a reader"), model, model.start, usize::MAX).await;
        let (stream, model) = self.both(at);
        let from = match place {
            Place::Earliest => From::Earliest,
            Place::Latest => From::Latest,
            Place::Offset(part, beyond) => From::Offset(Offset(model.at(part) + beyond)),
            Place::Time(part, later) => {
                let at = model
                    .at(part)
                    .min(model.next().saturating_sub(1))
                    .max(model.start);
                let known = (at < model.next()).then(|| model.record(at).time).flatten();
                From::Timestamp(known.unwrap_or(5) + later)
            }
            Place::ExtId(id) => From::ExtId(id),
        };
        let level = if written {
            Level::Written
        } else {
            Level::Durable
        };
        let before = stream.watermarks();
        let reader = match stream.reader(from).level(level).await {
            Ok(reader) => reader,
            Err(error) => {
                let From::Offset(asked) = from else {
                    panic!("{error}")
                };
                assert!(matches!(error, Error::InvalidInput { .. }), "{error}");
                assert!(asked > before.next, "{error}");
                return;
            }
        };
        let end = if written {
            before.written
        } else {
            before.durable
        }
        .get();
        let begin = match from {
            From::Earliest => model.start,
            From::Latest => reader.position().get(),
            From::Offset(offset) => offset.get(),
            From::Timestamp(time) => model.first_since(time).unwrap_or(u64::MAX),
            From::ExtId(id) => model.first_with(id).unwrap_or(u64::MAX),
        };
        let read = compare(reader, model, begin, max).await;
        let enough = begin.saturating_add(max as u64).min(end);
        assert!(
            read >= enough || begin >= end,
            "{place:?}: {read} of {enough}"
        );
    }

    async fn reopen(&mut self, end: End) {
        let log = self.log.take().expect("it is open");
        match end {
            End::Closed => {
                let report = log.shutdown(Duration::from_secs(10)).await.expect("closed");
                assert!(report.clean, "{report:?}");
                for model in &mut self.models {
                    model.durable = model.next();
                }
                self.disk = self.disk.crash_process();
            }
            End::Dropped => {
                drop(log);
                // Its tasks have ended when the lock is free; nothing of it writes any more.
                self.disk = self.disk.crash_process();
            }
            End::Killed => {
                self.disk = self.disk.crash_process();
                drop(log);
            }
            End::PowerCut(seed) => {
                self.disk = self.disk.power_cut(seed);
                drop(log);
            }
        }
        self.open().await;
    }

    /// Looks once more, as a reader without the owner, and again after a clean close.
    pub async fn finish(mut self) {
        self.look().await;
        self.reopen(End::Closed).await;
        let view = ReadOnly::attach_injected(self.settings.clone(), self.injected());
        let view = view.await.expect("attached");
        let report = view.verify(None, |_, _| ()).await.expect("verified");
        assert!(report.damage.is_empty(), "{report:?}");
        for (name, model) in NAMES.into_iter().zip(&mut self.models) {
            let stream = view.stream(name).expect("there");
            let reader = stream.reader(From::Earliest).await.expect("a reader");
            let read = compare(reader, model, model.start, usize::MAX).await;
            assert_eq!(read, model.next());
        }
    }
}

/// Reads up to `max` records and compares them; gives where it ended.
async fn compare(mut reader: Reader, model: &mut Model, begin: u64, max: usize) -> u64 {
    let mut at = begin;
    let mut last = 0;
    for _ in 0..max {
        let Some(record) = within(reader.try_next()).await.expect("no error") else {
            break;
        };
        assert_eq!(record.offset.get(), at, "each offset once, in order");
        assert!(record.timestamp >= last, "time goes back at {at}");
        model.check_record(&record);
        (at, last) = (at + 1, record.timestamp);
    }
    at
}
