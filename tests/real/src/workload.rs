//! What a log lives through on the disk that records: three lives of three streams, with small segments that are
//! sealed, compressed, archived in the same file system, evicted and trimmed. It prints what it asks for and what it
//! is promised, each with the length that the record has at that moment.

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    time::Duration,
};

use fastrand::Rng;
use tierlog::{
    ColdUri, FlushPolicy, Level, NewRecord, Offset, Settings, Size, Stream, Ticket, TryAppend,
};

use crate::{journal::Told, look};

/// The line at the end of all.
pub const DONE: &str = "done";
const STREAMS: [&str; 3] = ["orders", "events", "raft"];
const LIVES: u64 = 3;
/// Things that each task does in a life.
const STEPS: usize = 45;

/// The record that a life appends at an offset.
pub fn payload(seed: u64, stream: &str, life: u64, offset: u64) -> String {
    let place = stream
        .bytes()
        .fold(life * 31 + offset * 1_000_003, |sum, byte| {
            sum.wrapping_mul(131).wrapping_add(u64::from(byte))
        });
    let mut rng = Rng::with_seed(seed ^ place);
    let mut text = format!("{stream} {life} {offset} ");
    let len = rng.usize(0..2600);
    // Half of them are easily compressed.
    match rng.bool() {
        true => text.extend(std::iter::repeat_with(|| rng.alphanumeric()).take(len)),
        false => text.extend(std::iter::repeat_n('.', len)),
    }
    text
}

/// The settings of a log on a file system that is mounted there.
pub fn settings(mount: &Path) -> Settings {
    let mut settings = Settings::for_tests(mount.join("log"));
    let segment = Size::kib(68);
    settings.segment_size = segment;
    settings.max_record = Size::kib(16);
    // Each stream keeps an open segment and the next one; what is more goes on to the other tiers.
    settings.hot_budget = Some(Size::new(segment.bytes() * 8));
    settings.warm_budget = Some(Size::kib(160));
    settings.compression_level = 1;
    settings.cold = Some(ColdUri::folder(mount.join("bucket")).expect("a path"));
    settings.archive_after = Duration::from_millis(20);
    settings.idle_mark = Duration::from_millis(20);
    settings
}

/// Tells what happened, with the position of the record.
#[derive(Debug, Clone)]
struct Teller {
    record: PathBuf,
}

impl Teller {
    /// Where the record stands now.
    fn position(&self) -> u64 {
        fs::metadata(&self.record).expect("a record").len()
    }

    fn tell(&self, told: &Told) {
        let line = format!("{} {told}\n", self.position());
        // In one write, since several tasks tell.
        std::io::stdout()
            .lock()
            .write_all(line.as_bytes())
            .expect("somebody listens");
    }
}

/// Lives all lives.
pub fn run(mount: &Path, record: &Path, seed: u64) {
    let runtime = look::runtime();
    let teller = Teller {
        record: record.to_owned(),
    };
    for life in 0..LIVES {
        let mut settings = settings(mount);
        settings.flush = match life % 3 {
            0 => FlushPolicy::Always,
            1 => FlushPolicy::Every(Duration::from_millis(2)),
            _ => FlushPolicy::Bytes(Size::kib(8)),
        };
        let teller = teller.clone();
        runtime.block_on(async move {
            let log = look::open(&settings).await;
            let mut tasks = tokio::task::JoinSet::new();
            for (nth, name) in STREAMS.into_iter().enumerate() {
                let stream = log.log().stream(name).await.expect("a stream");
                let begin = stream.watermarks().next.get();
                let task = Task {
                    rng: Rng::with_seed(seed ^ (life << 8) ^ nth as u64),
                    teller: teller.clone(),
                    next: begin,
                    seed,
                    life,
                    stream,
                };
                task.tell(|name| Told::Begins(life, name, begin));
                tasks.spawn(task.live());
            }
            while let Some(ended) = tasks.join_next().await {
                ended.expect("a task that ends");
            }
            match life {
                // As if the process had died: the next life finds what the cache holds.
                1 => drop(log),
                _ => look::close(log).await,
            }
        });
    }
    println!("{DONE}");
}

/// One stream in one life.
struct Task {
    stream: Stream,
    teller: Teller,
    seed: u64,
    life: u64,
    next: u64,
    rng: Rng,
}

impl Task {
    fn tell(&self, told: impl FnOnce(String) -> Told) {
        self.teller.tell(&told(self.stream.name().to_owned()));
    }

    async fn live(mut self) {
        for _ in 0..STEPS {
            match self.rng.u32(0..20) {
                0..=6 => self.one().await,
                7..=10 => self.batch().await,
                11..=13 => self.window().await,
                14 | 15 => self.packed().await,
                16 => self.flush().await,
                17 => self.seal().await,
                18 => self.archive().await,
                _ => self.trim().await,
            }
        }
    }

    /// Hands over `count` more, and says so before.
    fn submit(&mut self, count: u64, batch: bool) -> Vec<NewRecord> {
        let first = self.next;
        self.next += count;
        self.tell(|name| Told::Submits(name, first, count, batch));
        let record = |offset| payload(self.seed, self.stream.name(), self.life, offset);
        (first..self.next)
            .map(|offset| NewRecord::from(record(offset)))
            .collect()
    }

    fn durable(&self, end: u64) {
        self.tell(|name| Told::Durable(name, end));
    }

    async fn one(&mut self) {
        let record = self.submit(1, false).remove(0);
        let ack = self.stream.append(record).await.expect("an ack");
        assert_eq!(ack.offset.get() + 1, self.next);
        self.durable(self.next);
    }

    async fn batch(&mut self) {
        let count = self.rng.u64(2..=5);
        let records = self.submit(count, true);
        let ack = self.stream.append_batch(records).await.expect("an ack");
        assert_eq!(ack.offset.get() + count, self.next);
        self.durable(self.next);
    }

    /// Several on their way at once.
    async fn window(&mut self) {
        let mut tickets = Vec::new();
        for record in self.submit(6, false) {
            tickets.push(self.accepted(record).await);
        }
        for ticket in tickets {
            let ack = ticket.await.expect("an ack");
            self.durable(ack.offset.get() + 1);
        }
    }

    async fn accepted(&self, mut record: NewRecord) -> Ticket {
        loop {
            match self.stream.try_append(record) {
                Ok(ticket) => return ticket,
                Err(TryAppend::WouldBlock { kind, payload }) => {
                    record = payload;
                    self.stream.ready(kind).await;
                }
                Err(failed) => panic!("{failed}"),
            }
        }
    }

    /// By an appender, whose buffers hold many.
    async fn packed(&mut self) {
        let mut appender = self.stream.appender();
        let mut tickets = Vec::new();
        for record in self.submit(12, false) {
            tickets.extend(appender.push(&record.payload).await.expect("room"));
        }
        tickets.extend(appender.send().await.expect("room"));
        for ticket in tickets {
            let ack = ticket.await.expect("an ack");
            self.durable(ack.offset.get() + u64::from(ack.count));
        }
    }

    async fn flush(&mut self) {
        // With something that nobody waits for before it.
        let record = self.submit(1, false).remove(0);
        drop(self.accepted(record).await);
        let end = self.stream.flush().await.expect("flushed");
        self.durable(end.get());
    }

    async fn seal(&mut self) {
        let end = self.stream.seal().await.expect("sealed");
        self.durable(end.get());
    }

    async fn archive(&mut self) {
        let record = self.submit(1, false).remove(0);
        let ack = self
            .stream
            .append_at(record, Level::Archived)
            .await
            .expect("an ack");
        self.durable(ack.offset.get() + 1);
        self.tell(|name| Told::Archived(name, ack.offset.get() + 1));
    }

    async fn trim(&mut self) {
        let marks = self.stream.watermarks();
        let (start, durable) = (marks.start.get(), marks.durable.get());
        let before = start + (durable - start) / 3;
        self.tell(|name| Told::Trims(name, before));
        let start = self.stream.trim(Offset(before)).await.expect("trimmed");
        assert_eq!(start.get(), before);
        self.tell(|name| Told::Trimmed(name, before));
    }
}
