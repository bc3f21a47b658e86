//! What is done to the log until the machine stops: three lives, four streams, each with a task of
//! its own.

use std::{cell::RefCell, time::Duration};

use futures::future::join_all;
use tierlog::{
    Error, NewRecord, Offset, Settings, Stream, Supervisor, Ticket, TryAppendBatch,
    testing::storage::disk::fault::FaultDisk,
};

use super::Tracks;
use crate::{
    sim,
    track::{Track, read},
};

const NAMES: [&str; 4] = ["single", "batches", "cuts", "packed"];

/// Runs all of it, or as far as the disk lets it.
pub async fn run(settings: &Settings, disk: &FaultDisk, stopped_by: &mut Option<String>) -> Tracks {
    let tracks: Vec<RefCell<Track>> = NAMES.iter().map(|_| RefCell::default()).collect();
    for (life, end) in [End::Clean, End::Dropped, End::Clean]
        .into_iter()
        .enumerate()
    {
        if let Err(error) = live(settings, disk, &tracks, life as u64, end).await {
            *stopped_by = Some(error.to_string());
            break;
        }
    }
    NAMES
        .into_iter()
        .zip(tracks.into_iter().map(RefCell::into_inner))
        .collect()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Clean,
    Dropped,
}

async fn live(
    settings: &Settings,
    disk: &FaultDisk,
    tracks: &[RefCell<Track>],
    life: u64,
    end: End,
) -> Result<(), Error> {
    let log = open(settings, disk).await?;
    let work = NAMES.iter().zip(tracks).map(|(name, track)| async {
        let outcome = write(&log, name, track, life).await;
        if let Err(error) = &outcome {
            assert!(!matches!(error, Error::Corrupt(_)), "{error}");
        }
        outcome
    });
    let outcomes = join_all(work).await;
    match end {
        End::Clean => {
            let report = log.shutdown(Duration::from_secs(10)).await?;
            let undone = || Error::InvalidInput {
                what: format!("{report:?}"),
            };
            report.clean.then_some(()).ok_or_else(undone)?;
        }
        End::Dropped => drop(log),
    }
    outcomes.into_iter().collect()
}

/// Opens it, waiting until the last owner in this process is gone.
async fn open(settings: &Settings, disk: &FaultDisk) -> Result<Supervisor, Error> {
    loop {
        let opened = Supervisor::open_with(settings.clone(), sim::on(disk.clone())).await;
        match opened {
            Err(error) if crate::support::is_locked(&error) => tokio::task::yield_now().await,
            opened => return opened,
        }
    }
}

async fn write(
    log: &Supervisor,
    name: &'static str,
    track: &RefCell<Track>,
    life: u64,
) -> Result<(), Error> {
    let stream = log.log().stream(name).await?;
    track.borrow_mut().created = true;
    let found = read(&stream).await?;
    track.borrow().check(name, Some(&found));
    track.borrow_mut().resume(&found);
    let outcome = match name {
        "single" => single(&stream, track, life).await,
        "batches" => batches(&stream, track).await,
        "cuts" => cuts(&stream, track).await,
        _ => packed(&stream, track).await,
    };
    let mut track = track.borrow_mut();
    if track.cutting.is_none() {
        // What a reader could see as durable has to stay as well.
        let durable = stream.watermarks().durable.get();
        track.ack(durable);
    }
    outcome
}

/// Text of a length that differs from record to record.
pub fn payload(name: &str, n: u64) -> String {
    format!("{name}/{n}/{}", "x".repeat((n * 97 % 700 * 12) as usize))
}

/// One record after the other, each acked before the next one; with seals and trims.
async fn single(stream: &Stream, track: &RefCell<Track>, life: u64) -> Result<(), Error> {
    for n in 0..12 {
        let payload = payload("single", track.borrow().next());
        track.borrow_mut().submit(&payload);
        let ack = stream.append(payload).await?;
        track.borrow_mut().ack(ack.offset.get() + 1);
        if n == 5 {
            stream.seal().await?;
        }
        if n == 9 {
            let before = track.borrow().next() - 8;
            track.borrow_mut().trimming = before;
            let start = stream.trim(Offset(before)).await?;
            track.borrow_mut().trimmed = start.get();
        }
    }
    // The last life ends with a record that nobody waited for.
    if life == 2 {
        let payload = payload("single", track.borrow().next());
        track.borrow_mut().submit(&payload);
        drop(accepted(stream, vec![NewRecord::from(payload)]).await?);
    }
    Ok(())
}

/// Batches and single records in flight together.
async fn batches(stream: &Stream, track: &RefCell<Track>) -> Result<(), Error> {
    for round in 0..4 {
        let mut tickets = Vec::new();
        for size in [3, 1, 4] {
            let first = track.borrow().next();
            let payloads: Vec<_> = (first..first + size)
                .map(|n| payload("batches", n % 3 + 5 * round))
                .collect();
            let records = payloads
                .iter()
                .map(|p| NewRecord::from(p.clone()).ext_id(first));
            let ticket = accepted(stream, records.collect()).await?;
            track.borrow_mut().submit_batch(&payloads);
            tickets.push(ticket);
        }
        settle(tickets, track).await?;
    }
    Ok(())
}

/// A ticket for a batch that was accepted, however long that takes.
async fn accepted(stream: &Stream, records: Vec<NewRecord>) -> Result<Ticket, Error> {
    let mut batch = records;
    loop {
        match stream.try_append_batch(batch) {
            Ok(ticket) => return Ok(ticket),
            Err(TryAppendBatch::WouldBlock { kind, records }) => {
                batch = records;
                stream.ready(kind).await;
            }
            Err(TryAppendBatch::Failed { error, .. }) => return Err(error),
        }
    }
}

async fn settle(tickets: Vec<Ticket>, track: &RefCell<Track>) -> Result<(), Error> {
    for ticket in tickets {
        let ack = ticket.await?;
        let end = ack.offset.get() + u64::from(ack.count);
        track.borrow_mut().ack(end);
    }
    Ok(())
}

/// As a Raft log: appends, truncations in the midst of batches, appends again.
async fn cuts(stream: &Stream, track: &RefCell<Track>) -> Result<(), Error> {
    for round in 0..3_u64 {
        let first = track.borrow().next();
        let payloads: Vec<_> = (0..6)
            .map(|n| payload("cuts", first + n + 1_000 * round))
            .collect();
        track.borrow_mut().submit_batch(&payloads);
        let records = payloads.iter().map(|p| NewRecord::from(p.clone()));
        let ack = stream.append_batch(records.collect()).await?;
        track.borrow_mut().ack(ack.offset.get() + 6);
        if round == 1 {
            stream.seal().await?;
        }
        let end = track.borrow().next() - [3, 6, 1][round as usize];
        track.borrow_mut().cutting = Some(end);
        let last = end.checked_sub(1).map(Offset);
        assert_eq!(stream.truncate_after(last).await?.get(), end);
        track.borrow_mut().cut();
    }
    Ok(())
}

/// By an appender, in buffers, with flushes.
async fn packed(stream: &Stream, track: &RefCell<Track>) -> Result<(), Error> {
    for _ in 0..3 {
        let mut appender = stream.appender();
        for _ in 0..7 {
            let payload = payload("packed", track.borrow().next());
            track.borrow_mut().submit(&payload);
            appender.push(payload.as_bytes()).await?;
        }
        let ticket = appender.send().await?;
        let durable = stream.flush().await?;
        track.borrow_mut().ack(durable.get());
        settle(ticket.into_iter().collect(), track).await?;
    }
    Ok(())
}
