//! Recovers a disk by the whole of it: `Supervisor::open` with its actors, readers, appends, a close and
//! one more open; and a log from its bucket alone.

use std::{collections::BTreeMap, time::Duration};

use tierlog::{
    Error, FlushPolicy, From, Level, ReadOnly, Record, Stream, Supervisor,
    testing::storage::disk::sim::{Cut, SimDisk},
};

use crate::{
    bucket::{Bucket, Objects},
    plan::{Plan, Tiers},
    promises::{Found, Promises, sum},
    recovered::findings,
    sim,
    workload::{Ticking, injected},
};

const PATIENCE: Duration = Duration::from_secs(600);

type Streams = BTreeMap<String, Found>;

/// Opens the log, reads it, appends, closes it, and opens it again after one more cut.
pub fn through_actors(
    plan: &Plan,
    disk: &SimDisk,
    objects: &Objects,
    promises: &Promises,
) -> Result<(), String> {
    let bucket = Bucket::of(objects.clone());
    let first = sim::run(within(live(plan, disk, &bucket, promises)))?;
    // All of it is durable, or it was not closed in order.
    let left = disk.preview_cut(Cut::AllLost);
    let again = sim::run(within(async {
        verified(plan, &left, &bucket).await?;
        let (log, streams) = open(plan, &left, &bucket).await?;
        // A file that the log has dropped may have come back: nothing waits for its folder to be synced.
        match (
            log.recovery().clean,
            findings(&log.recovery())?.tails.first(),
        ) {
            (true, None) => Ok(streams),
            (_, found) => Err(format!("closed in order, and then: {found:?}")),
        }
    }))?;
    same(&first, &again)
}

/// Makes a log of what the bucket holds: what was called archived is there, unless it was trimmed.
pub fn from_the_bucket(plan: &Plan, objects: &Objects, promises: &Promises) -> Result<(), String> {
    let archived = promises
        .iter()
        .filter(|(_, promised)| promised.archived > promised.trimming);
    let archived: Vec<_> = archived.collect();
    if archived.is_empty() {
        return Ok(());
    }
    let (disk, bucket) = (SimDisk::new(), Bucket::of(objects.clone()));
    let streams = sim::run(within(async {
        let parts = injected(disk.clone(), &Ticking::new(), Tiers::Cold, &bucket);
        let restored = Supervisor::restore_with(plan.settings.clone(), parts).await;
        restored.map_err(|error| format!("no restore: {error}"))?;
        open(plan, &disk, &bucket).await.map(|(_, streams)| streams)
    }))?;
    for (name, promised) in archived {
        let found = streams
            .get(*name)
            .ok_or_else(|| format!("{name} was archived and is not restored"))?;
        let is_there = found.start <= promised.trimming && found.end() >= promised.archived;
        if !is_there {
            let (start, end) = (found.start, found.end());
            let known = promised.archived;
            return Err(format!(
                "{name} was archived up to {known}, and {start}..{end} is restored"
            ));
        }
        let records = promised.check_records(found);
        records.map_err(|what| format!("{name}, restored: {what}"))?;
    }
    Ok(())
}

/// What takes for ever has failed.
async fn within<T>(task: impl Future<Output = Result<T, String>>) -> Result<T, String> {
    let done = tokio::time::timeout(PATIENCE, task).await;
    done.unwrap_or_else(|_| Err("it hangs".to_owned()))
}

fn same(before: &Streams, after: &Streams) -> Result<(), String> {
    for (name, found) in before {
        let now = after.get(name);
        // What was on its way to the bucket may have arrived since.
        let is_same = now.is_some_and(|now| {
            (found.start, &found.records) == (now.start, &now.records)
                && found.archived <= now.archived
        });
        if !is_same {
            return Err(format!(
                "{name} was {found:?}, and is {now:?} after a close"
            ));
        }
    }
    Ok(())
}

/// A life, with one more record in each stream. Gives what there was in the end.
async fn live(
    plan: &Plan,
    disk: &SimDisk,
    bucket: &Bucket,
    promises: &Promises,
) -> Result<Streams, String> {
    let (log, mut streams) = open(plan, disk, bucket).await?;
    keeps(promises, &streams)?;
    for (name, found) in &mut streams {
        let failed = |error: Error| format!("{name} takes no more: {error}");
        let stream = log.log().existing(name).await.map_err(failed)?;
        let (payload, end) = (format!("one more for {name}"), found.end());
        found.records.push(sum(payload.as_bytes(), None, None));
        let offset = append(plan, &stream, payload).await.map_err(failed)?;
        if offset != end {
            return Err(format!(
                "{name} ended at {end}, and the next record got {offset}"
            ));
        }
    }
    let report = log.shutdown(Duration::from_secs(10)).await;
    match report {
        Ok(report) if report.clean => Ok(streams),
        Ok(report) => Err(format!("not closed: {report:?}")),
        Err(error) => Err(format!("not closed: {error}")),
    }
}

/// Every byte of every copy is what its checksums say, those of the bucket too.
async fn verified(plan: &Plan, disk: &SimDisk, bucket: &Bucket) -> Result<(), String> {
    let failed = |error: Error| format!("not verified: {error}");
    let parts = injected(disk.clone(), &Ticking::new(), plan.tiers, bucket);
    let view = ReadOnly::attach_injected(plan.settings.clone(), parts).await;
    let view = view.map_err(failed)?;
    let report = match plan.tiers {
        Tiers::Cold => view.verify_archived(None, |_, _| ()).await,
        Tiers::Hot | Tiers::Warm => view.verify(None, |_, _| ()).await,
    };
    match report.map_err(failed)?.damage.first() {
        Some(damage) => Err(format!("damage: {damage}")),
        None => Ok(()),
    }
}

async fn append(plan: &Plan, stream: &Stream, payload: String) -> Result<u64, Error> {
    if plan.settings.flush == FlushPolicy::Manual {
        let ack = stream.append_at(payload, Level::Written).await?;
        stream.flush().await?;
        return Ok(ack.offset.get());
    }
    Ok(stream.append(payload).await?.offset.get())
}

/// Opens the log and reads all that it holds.
async fn open(
    plan: &Plan,
    disk: &SimDisk,
    bucket: &Bucket,
) -> Result<(Supervisor, Streams), String> {
    let parts = injected(disk.clone(), &Ticking::new(), plan.tiers, bucket);
    let log = Supervisor::open_with(plan.settings.clone(), parts).await;
    let log = log.map_err(|error| format!("no open: {error}"))?;
    findings(&log.recovery())?;
    let failed = |error: Error| format!("no list: {error}");
    let mut streams = Streams::new();
    for info in log.log().streams().await.map_err(failed)? {
        let failed = |error: Error| format!("{}: {error}", info.name);
        let stream = log.log().existing(&info.name).await.map_err(failed)?;
        let found = read(&stream).await.map_err(failed)?;
        let marks = stream.watermarks();
        let ends = [marks.durable, marks.written, marks.next];
        if ends.iter().any(|end| end.get() != found.end()) {
            let (name, end) = (&info.name, found.end());
            return Err(format!("{name} is read up to {end}: {marks:?}"));
        }
        streams.insert(info.name, found);
    }
    Ok((log, streams))
}

async fn read(stream: &Stream) -> Result<Found, Error> {
    let marks = stream.watermarks();
    let mut found = Found {
        start: marks.start.get(),
        archived: marks.archived.get(),
        records: Vec::new(),
    };
    let mut reader = stream.reader(From::Earliest).await?;
    loop {
        let batch = reader.next_batch(1_000).await?;
        if batch.is_empty() {
            return Ok(found);
        }
        for record in batch {
            let Record {
                offset,
                payload,
                key,
                ext_id,
                ..
            } = record;
            assert_eq!(offset.get(), found.end(), "each offset once, in order");
            found.records.push(sum(&payload, key.as_deref(), ext_id));
        }
    }
}

/// Holds all streams against what was promised of them.
pub fn keeps(promises: &Promises, streams: &Streams) -> Result<(), String> {
    if let Some(name) = streams
        .keys()
        .find(|name| !promises.contains_key(name.as_str()))
    {
        return Err(format!("nobody made {name}"));
    }
    for (name, promised) in promises {
        let kept = promised.check(streams.get(*name));
        kept.map_err(|what| format!("{name}: {what}"))?;
    }
    Ok(())
}
