//! `append STREAM [FILE]`: a record a line, acked in order.

mod flight;

use serde_json::json;
use tierlog::{ColdUri, Error, FlushPolicy, Level, Offset, Stream};

use crate::args::{AckLevel, Append, Delimiter};
use crate::exit::{Ending, say};
use crate::input::{self, Delimited, Input, Len32};
use crate::output::{Output, counted};
use crate::session::{DRAIN, PATIENCE, Patience, Session, note, room_for};

use flight::{Flight, Step};

pub(crate) async fn run(mut session: Session, args: Append) -> Result<(), Ending> {
    let level = match args.ack {
        AckLevel::Written => Level::Written,
        AckLevel::Durable => Level::Durable,
        AckLevel::Archived => {
            check_archives(session.settings.cold.as_ref())?;
            Level::Archived
        }
    };
    // Both before the log is opened, so that a mistake makes no log.
    session.check_new_name(&args.stream).await?;
    let source = input::open(args.file.as_deref())?;
    let limit = usize::try_from(session.settings.max_record.bytes()).unwrap_or(usize::MAX);
    let supervisor = session.open().await?;
    let stream = match supervisor.log().stream(&args.stream).await {
        Ok(stream) => stream,
        Err(error) => {
            session.abandon(supervisor).await;
            return Err(error.into());
        }
    };
    let input = match args.delimiter {
        Delimiter::Newline => Input::spawn(source, Delimited::new(b'\n', limit)),
        Delimiter::Nul => Input::spawn(source, Delimited::new(0, limit)),
        Delimiter::Len32 => Input::spawn(source, Len32::new(limit)),
    };
    let mut run = Run {
        flight: Flight::new(stream.clone(), level, args.window.unwrap_or(window(level))),
        level,
        patience: Patience::new(session.json),
        acks: Acks::new(args.print_acks, session.json),
        manual: session.settings.flush == FlushPolicy::Manual,
        stream,
        session: &mut session,
    };
    let ended = match input {
        Ok(input) => run.run_dry(input).await,
        Err(ending) => Err(ending),
    };
    let Acks {
        acked, bytes, next, ..
    } = run.acks;
    let closed = match ended {
        Err(Ending::Failed { .. }) => {
            session.abandon(supervisor).await;
            Ok(())
        }
        _ => session.close(supervisor).await,
    };
    let summary = Summary {
        stream: &args.stream,
        acked,
        bytes,
        next,
    };
    match ended {
        Ok(()) | Err(Ending::Stopped(_)) => summary.tell(&mut session)?,
        Err(_) => {}
    }
    ended.and(closed)
}

/// Refuses to wait for what never comes, before anything is appended.
fn check_archives(cold: Option<&ColdUri>) -> Result<(), Ending> {
    let what = match cold {
        None => "--ack archived needs Tier 2, and `cold` is not set",
        Some(uri) if !uri.outlives_process() => {
            "--ack archived needs a Tier 2 that keeps what it gets, and memory:// is gone with the process"
        }
        Some(_) => return Ok(()),
    };
    let advice = "set `cold` to a folder or a bucket, or use --ack durable";
    Err(Ending::usage(what, advice))
}

/// What has been acked, and the printing of it.
struct Acks {
    print: bool,
    json: bool,
    acked: u64,
    bytes: u64,
    next: Option<Offset>,
}

impl Acks {
    fn new(print: bool, json: bool) -> Self {
        Self {
            print,
            json,
            acked: 0,
            bytes: 0,
            next: None,
        }
    }

    fn note(&mut self, offset: Offset, bytes: u64, out: &mut Output) -> Result<(), Ending> {
        self.acked += 1;
        self.bytes += bytes;
        self.next = Some(offset.plus(1));
        match (self.print, self.json) {
            (false, _) => Ok(()),
            (true, false) => out.line(offset),
            (true, true) => out.json(&json!({"offset": offset})),
        }
    }
}

/// How many records are on their way at a time, unless somebody says how many. Before a full window is
/// archived its segment is ended, which should hold more than a few.
const fn window(level: Level) -> usize {
    match level {
        Level::Archived => 64 * 1024,
        _ => 4096,
    }
}

struct Run<'a> {
    session: &'a mut Session,
    level: Level,
    stream: Stream,
    flight: Flight,
    patience: Patience,
    acks: Acks,
    manual: bool,
}

impl Run<'_> {
    async fn run_dry(&mut self, mut input: Input) -> Result<(), Ending> {
        match self.pump(&mut input).await {
            Ok(()) => Ok(()),
            Err(Ending::Stopped(stop)) => {
                self.wind_down(&mut input).await;
                Err(Ending::Stopped(stop))
            }
            // Nobody reads the acks. What was sent is made durable by the shutdown.
            Err(Ending::OutputClosed) => Err(Ending::OutputClosed),
            Err(failed) => {
                // What was sent before the failure is still acked, in order. Nothing is sent any
                // more: it would stand behind a hole.
                self.flight.forget_waiting();
                let _ = self.finish().await;
                Err(failed)
            }
        }
    }

    /// Takes records in and acks out until the input ends and everything is acked.
    async fn pump(&mut self, input: &mut Input) -> Result<(), Ending> {
        loop {
            self.settle()?;
            if self.flight.has_waiting() {
                self.send_some().await?;
                continue;
            }
            // Nothing to send, and nobody knows for how long.
            self.session.out.flush()?;
            let interrupt = self.session.interrupt.clone();
            tokio::select! {
                biased;
                stopped = interrupt.fired() => return Err(stopped),
                () = self.flight.landed() => {}
                next = input.next() => match next {
                    Ok(Some(batch)) => self.flight.board(batch),
                    Ok(None) => return self.finish().await,
                    Err(refused) => {
                        // Every record before the refused one is appended all the same.
                        self.finish().await?;
                        return Err(Ending::failed(refused.what, refused.advice));
                    }
                },
            }
        }
    }

    /// Sends what waits, until it is gone, the window is full or the log has no room.
    async fn send_some(&mut self) -> Result<(), Ending> {
        match self.flight.send()? {
            Step::Sent => Ok(()),
            Step::WindowFull => {
                // Under `manual` nothing becomes durable until somebody asks, and nothing is archived
                // before its segment ends.
                if self.manual || self.level == Level::Archived {
                    self.hurry().await?;
                }
                self.session.out.flush()?;
                let interrupt = self.session.interrupt.clone();
                tokio::select! {
                    biased;
                    stopped = interrupt.fired() => Err(stopped),
                    () = self.flight.landed() => Ok(()),
                    // `every 1h` means that nobody should sync before; but nothing more can be
                    // taken in before either, and the input would stand still for an hour.
                    () = tokio::time::sleep(PATIENCE) => self.hurry().await,
                }
            }
            Step::NoRoom(kind, bytes) => {
                if self.manual {
                    self.hurry().await?;
                }
                self.session.out.flush()?;
                let interrupt = self.session.interrupt.clone();
                let short_of = room_for(kind);
                let ready = self.stream.ready_for(kind, bytes);
                tokio::select! {
                    biased;
                    stopped = interrupt.fired() => Err(stopped),
                    () = self.flight.landed() => Ok(()),
                    () = self.patience.wait(short_of, ready) => Ok(()),
                }
            }
        }
    }

    /// Brings about what the acks wait for: a sync, or the end of the segment.
    async fn hurry(&mut self) -> Result<(), Ending> {
        let interrupt = self.session.interrupt.clone();
        interrupt.cut(async { Ok(self.bring_about().await?) }).await
    }

    async fn bring_about(&self) -> Result<(), Error> {
        match self.level {
            Level::Archived => self.stream.seal().await.map(drop),
            _ => self.stream.flush().await.map(drop),
        }
    }

    /// Notes every ack that has come, in order.
    fn settle(&mut self) -> Result<(), Ending> {
        let mut any = false;
        while let Some((offset, bytes)) = self.flight.take_landed()? {
            self.acks.note(offset, bytes, &mut self.session.out)?;
            any = true;
        }
        match any && self.acks.print {
            true => self.session.out.flush(),
            false => Ok(()),
        }
    }

    /// Waits for the acks of everything that was sent, and of what was refused for want of room.
    async fn finish(&mut self) -> Result<(), Ending> {
        loop {
            self.settle()?;
            if self.flight.has_waiting() {
                self.send_some().await?;
            } else if self.flight.is_empty() {
                return Ok(());
            } else {
                self.hurry().await?;
                let interrupt = self.session.interrupt.clone();
                tokio::select! {
                    biased;
                    stopped = interrupt.fired() => return Err(stopped),
                    () = self.flight.landed() => {}
                }
            }
        }
    }

    /// After Ctrl-C: sends what was read as far as there is room for it, and gives what was sent
    /// the time of a shutdown to be acked. What then still has no ack is told by the summary.
    async fn wind_down(&mut self, input: &mut Input) {
        let json = self.session.json;
        for batch in input.stop() {
            self.flight.board(batch);
        }
        let drain = async {
            loop {
                if self.settle().is_err() {
                    return;
                }
                match self.flight.has_waiting().then(|| self.flight.send()) {
                    Some(Ok(Step::Sent)) => continue,
                    Some(Err(_)) => return,
                    Some(Ok(Step::NoRoom(..))) => self.flight.forget_waiting(),
                    Some(Ok(Step::WindowFull)) | None => {}
                }
                if self.flight.is_empty() && !self.flight.has_waiting() {
                    return;
                }
                if self.bring_about().await.is_err() {
                    return;
                }
                self.flight.landed().await;
            }
        };
        let slowly = async {
            tokio::time::sleep(PATIENCE).await;
            note(
                json,
                "ending: what was read is still being appended; Ctrl-C again ends at once",
            );
            std::future::pending().await
        };
        let drained = tokio::time::timeout(DRAIN, async {
            tokio::select! {
                () = drain => {}
                () = slowly => {}
            }
        });
        if drained.await.is_err() {
            note(
                json,
                "not everything that was read could be appended in time",
            );
        }
    }
}

struct Summary<'a> {
    stream: &'a str,
    acked: u64,
    bytes: u64,
    next: Option<Offset>,
}

impl Summary<'_> {
    /// The last line: on stderr, where it is in nobody's way, except for who asked for JSON.
    fn tell(&self, session: &mut Session) -> Result<(), Ending> {
        let Self {
            stream,
            acked,
            bytes,
            next,
        } = self;
        if session.json {
            session.out.json(&json!({
                "stream": stream, "records": acked, "bytes": bytes, "next": next,
            }))?;
            return session.out.flush();
        }
        let next = next.map(|next| format!("; the next offset is {next}"));
        say(&format!(
            "tierlog: appended {}, {} to {stream}{}",
            counted(*acked, "record"),
            counted(*bytes, "byte"),
            next.unwrap_or_default(),
        ));
        Ok(())
    }
}
