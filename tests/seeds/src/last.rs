//! The last process, which nothing disturbs: everything has to be there and to work.

use std::{
    future::IntoFuture,
    sync::{Arc, PoisonError, atomic::Ordering},
    time::Duration,
};

use fastrand::Rng;
use tierlog::{Error, From, ReadOnly, Settings, Stream};

use crate::{
    append::Appending,
    command::flush_now_and_then,
    lives::{check, injected, open},
    rival,
    world::{Life, NAMES},
};

/// The last process: nothing goes wrong any more, so that everything has to be there and to work.
pub async fn last(life: &Arc<Life>, rng: &mut Rng) {
    let world = &life.world;
    life.calm();
    let mut settings = world.plan.settings(rng, "/log");
    (settings.hot_budget, settings.warm_budget) = (None, None);
    settings.cold_wait = Duration::from_secs(60);
    settings.restart_limit = 8;
    let opened = open(life, rng, &settings).await;
    let (supervisor, streams) = opened.expect("it is this log's");
    assert!(check(life, &streams, true).await, "all of it can be read");
    let at_work = (supervisor.log(), streams.clone());
    *life.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(at_work);
    let flushes = flush_now_and_then(Arc::clone(life), settings.clone(), streams.clone());
    let flushes = tokio::spawn(flushes);
    let appending = Appending::new(life, "the last", &streams, settings.max_record.bytes());
    appending.run().await;
    for stream in &streams {
        let end = life.ends("the last flush", stream.flush()).await;
        let end = end.expect("nothing goes wrong");
        assert!(end >= stream.watermarks().start);
    }
    assert!(check(life, &streams, false).await, "all of it can be read");
    let health = supervisor.health().await;
    assert_eq!(health.held_bytes, 0, "nothing is held: {health:?}");
    assert!(health.failed_streams.is_empty(), "{health:?}");
    if world.plan.cold {
        archive_all(life, &streams, true).await;
    }
    life.closing.store(true, Ordering::Relaxed);
    let closed = life
        .ends(
            "the last close",
            supervisor.shutdown(Duration::from_secs(60)),
        )
        .await;
    let report = closed.expect("it closes");
    assert!(report.clean, "{report:?}");
    flushes.abort();
    verify(life, rng, &settings).await;
    if world.plan.cold {
        rival::restore(life, rng, &settings).await;
    }
}

/// The store behaves: everything becomes archived.
pub async fn archive_all(life: &Arc<Life>, streams: &[Stream], is_last: bool) {
    for (at, stream) in streams.iter().enumerate() {
        let ids = life.world.ids(1);
        let batch = (ids.start, 1);
        life.world.model(at).offered(ids.start, batch);
        let record = crate::model::payload(ids.start, batch, 10);
        let call = stream.append_at(record, tierlog::Level::Archived);
        let ack = match life.ends("the last archive", call).await {
            Ok(ack) => ack,
            // Who waits for long is helped by trims; it is durable all the same.
            Err(failed) if matches!(failed.error, Error::Trimmed { .. }) => continue,
            Err(failed) => {
                life.excused("the last archive", &failed.error);
                assert!(!is_last, "not archived: {failed}");
                continue;
            }
        };
        let mut model = life.world.model(at);
        model.told(ids.start, crate::model::Told::Durable(ack.offset.get()));
        model.archived(ack.offset.get() + 1);
    }
}

/// Every byte is as it should be.
async fn verify(life: &Arc<Life>, rng: &mut Rng, settings: &Settings) {
    let store = life.world.plan.cold.then(|| life.world.bucket.clone());
    let injected = injected(life, rng, settings, store.as_ref());
    let attached = ReadOnly::attach_injected(settings.clone(), injected);
    let view = life.ends("attaching", attached).await.expect("attached");
    let report = life.ends("verifying", view.verify(None, |_, _| ())).await;
    let report = report.expect("verified");
    assert!(report.damage.is_empty(), "{:?}", report.damage);
    life.say(format_args!("verified {} records", report.records));
    for (at, name) in NAMES.iter().enumerate().take(life.world.plan.streams) {
        let stream = view.stream(name).expect("it is there");
        let reader = stream.reader(From::Earliest);
        let mut reader = life
            .ends("a view", reader.into_future())
            .await
            .expect("a reader");
        let (start, mut records) = (reader.position().get(), Vec::new());
        loop {
            let batch = life
                .ends("a view", reader.next_batch(64))
                .await
                .expect("records");
            if batch.is_empty() {
                break;
            }
            records.extend(batch);
        }
        life.world.model(at).check(start, &records, true);
    }
}
