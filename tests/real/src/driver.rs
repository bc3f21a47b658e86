//! A process that appends and tells of each ack, for others to kill, stop, limit, and fail the calls of.
//!
//! ```text
//!   opened NEXT             the log is open, the stream ends there
//!   ack OFFSET N            record N of this life is durable
//!   failed N absent|unknown record N is surely not there, or nobody knows; why follows
//!   short KIND              nothing can be taken for now
//!   ends WHY                it gives up before the last record
//!   closed CLEAN            shut down
//! ```

use std::{collections::VecDeque, io::Write, path::Path, process::ExitCode, time::Duration};

use tierlog::{
    AppendError, Error, ErrorKind, FlushPolicy, NewRecord, Settings, Size, Stream, Supervisor,
    Ticket, TryAppend,
};
use tokio::time::timeout;

use crate::look;

/// What the stream is called.
pub const STREAM: &str = "driven";
/// So long it waits for room.
const ROOM: Duration = Duration::from_millis(500);
/// Failed records after which it gives up.
const FAILURES: usize = 20;

/// What it is to do.
#[derive(Debug, Clone, Copy)]
pub struct Order {
    /// Which of its lives this is.
    pub life: u64,
    /// Records to append.
    pub records: u64,
    /// On their way at once.
    pub window: usize,
    /// A call to the disk that takes longer ends its stream.
    pub stall_ms: u64,
}

impl Order {
    /// As arguments of the role.
    pub fn words(&self, data: &Path) -> Vec<String> {
        let numbers = [self.life, self.records, self.window as u64, self.stall_ms];
        let path = data.to_str().expect("a path of ours").to_owned();
        std::iter::once(path)
            .chain(numbers.map(|number| number.to_string()))
            .collect()
    }
}

/// Record `n` of a life.
pub fn payload(life: u64, n: u64) -> String {
    let filler = "x".repeat(usize::try_from((n * 131 + life * 17) % 900).expect("small"));
    format!("driven {life} {n} {filler}")
}

/// The settings of a log that is driven.
pub fn settings(data: &Path) -> Settings {
    Settings {
        stall_after: Duration::from_secs(30),
        ..Settings::for_tests(data)
    }
}

/// Appends until it has done what it was told, or can't.
pub fn run(words: &[&str]) -> ExitCode {
    let [data, life, records, window, stall_ms] = words else {
        panic!("a driver needs five words, not {words:?}");
    };
    let number = crate::options::number;
    let order = Order {
        life: number(life),
        records: number(records),
        window: usize::try_from(number(window)).expect("a few"),
        stall_ms: number(stall_ms),
    };
    let mut settings = settings(data.as_ref());
    settings.stall_after = Duration::from_millis(order.stall_ms);
    settings.flush = match order.life % 3 {
        0 => FlushPolicy::Always,
        1 => FlushPolicy::Every(Duration::from_millis(2)),
        _ => FlushPolicy::Bytes(Size::kib(8)),
    };
    look::runtime().block_on(drive(&settings, order));
    ExitCode::SUCCESS
}

/// In one write, so that a kill leaves no half a line in the midst of others.
fn tell(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes())
        .expect("somebody listens");
}

fn tell_end(error: &Error) {
    assert!(look::is_typed(error), "no error of a disk: {error:?}");
    tell(&format!("ends {error}"));
}

async fn drive(settings: &Settings, order: Order) {
    let log = match Supervisor::open(settings.clone()).await {
        Ok(log) => log,
        Err(error) => return tell_end(&error),
    };
    match log.log().stream(STREAM).await {
        Ok(stream) => {
            tell(&format!("opened {}", stream.watermarks().next));
            let mut flight = Flight {
                stream,
                sent: VecDeque::new(),
                failures: 0,
            };
            if let Err(error) = flight.fly(order).await {
                tell_end(&error);
            }
        }
        Err(error) => tell_end(&error),
    }
    match log.shutdown(Duration::from_secs(2)).await {
        Ok(report) => tell(&format!("closed {}", report.clean)),
        Err(error) => tell_end(&error),
    }
}

/// Records on their way.
struct Flight {
    stream: Stream,
    sent: VecDeque<(u64, Ticket)>,
    failures: usize,
}

impl Flight {
    async fn fly(&mut self, order: Order) -> Result<(), Error> {
        for n in 0..order.records {
            let mut record = NewRecord::from(payload(order.life, n));
            loop {
                match self.stream.try_append(record) {
                    Ok(ticket) => break self.sent.push_back((n, ticket)),
                    Err(TryAppend::WouldBlock { kind, payload }) => {
                        record = payload;
                        self.land(0).await?;
                        if timeout(ROOM, self.stream.ready(kind)).await.is_err() {
                            tell(&format!("short {kind}"));
                            return Err(Error::WouldBlock { kind });
                        }
                    }
                    Err(TryAppend::Failed { error, .. }) => {
                        self.land(0).await?;
                        return Err(error);
                    }
                }
            }
            self.land(order.window - 1).await?;
        }
        self.land(0).await
    }

    /// Waits for outcomes until no more than these are on their way.
    async fn land(&mut self, most: usize) -> Result<(), Error> {
        while self.sent.len() > most {
            let (n, ticket) = self.sent.pop_front().expect("one is on its way");
            match look::within(ticket).await {
                Ok(ack) => tell(&format!("ack {} {n}", ack.offset)),
                Err(failed) => self.failed(n, failed)?,
            }
        }
        Ok(())
    }

    fn failed(&mut self, n: u64, failed: AppendError) -> Result<(), Error> {
        let AppendError { error, .. } = failed;
        assert!(look::is_typed(&error), "no error of a disk: {error:?}");
        let surely = matches!(error, Error::NotAppended { .. } | Error::StorageFull);
        tell(&format!(
            "failed {n} {} {error}",
            if surely { "absent" } else { "unknown" }
        ));
        self.failures += 1;
        // Behind one that has ended for good, all others tell what became of them.
        let ended = error.kind() == ErrorKind::Reopen && self.sent.is_empty();
        match ended || self.failures > FAILURES {
            true => Err(error),
            false => Ok(()),
        }
    }
}
