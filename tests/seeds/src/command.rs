//! Everything that is asked of streams and logs besides appending and reading.

use std::{future::IntoFuture, sync::Arc, sync::atomic::Ordering, time::Duration};

use fastrand::Rng;
use tierlog::{
    Error, ErrorKind, FlushPolicy, From, Keep, Log, Offset, ReadOnly, Retention, Settings, Size,
    Stream, Supervisor, testing::storage::error::StorageError,
};
use tokio::time::{sleep, timeout};

use crate::{
    lives::injected,
    plan::Trouble,
    world::{Life, NAMES},
};

/// One who asks for things.
pub struct Commands {
    life: Arc<Life>,
    log: Log,
    streams: Vec<Stream>,
    settings: Settings,
    rng: Rng,
}

impl Commands {
    /// Someone.
    pub fn new(life: &Arc<Life>, log: &Log, streams: &[Stream], settings: &Settings) -> Self {
        Self {
            rng: life.world.rng(&format!("{}/commands", life.name)),
            life: Arc::clone(life),
            log: log.clone(),
            streams: streams.to_vec(),
            settings: settings.clone(),
        }
    }

    /// Asks for one thing after the other.
    pub async fn run(mut self) {
        for _ in 0..self.life.world.plan.calls / 2 {
            let pause = Duration::from_micros(self.rng.u64(0..40_000));
            sleep(pause).await;
            let at = self.rng.usize(0..self.streams.len());
            match self.rng.u32(0..16) {
                0..=3 => self.flush(at).await,
                4..=6 => self.seal(at).await,
                7..=9 if self.life.world.plan.cuts => self.trim(at).await,
                10..=11 if self.life.world.plan.cuts => self.truncate(at).await,
                12 if self.life.world.plan.cold => self.sweep().await,
                13 if self.life.world.plan.retains => self.retain(at).await,
                14 => self.another_owner().await,
                15 => self.look_beside().await,
                _ => self.list().await,
            }
        }
    }

    async fn flush(&mut self, at: usize) {
        let stream = &self.streams[at];
        let before = stream.watermarks();
        match self.life.ends("a flush", stream.flush()).await {
            Ok(end) => {
                self.life
                    .say(format_args!("{} flushed up to {end}", stream.name()));
                let now = stream.watermarks();
                let same = now.incarnation == before.incarnation;
                assert!(!same || now.durable >= end, "{now:?}, flushed up to {end}");
            }
            Err(error) => self.life.excused("a flush", &error),
        }
    }

    async fn seal(&mut self, at: usize) {
        let stream = &self.streams[at];
        if self.rng.u32(0..6) == 0 {
            let most = Duration::from_micros(self.rng.u64(0..5_000));
            let _ = timeout(most, stream.seal()).await;
            return self.life.world.points.pass("app: a seal was dropped");
        }
        match self.life.ends("a seal", stream.seal()).await {
            Ok(end) => self
                .life
                .say(format_args!("{} sealed at {end}", stream.name())),
            Err(error) => self.life.excused("a seal", &error),
        }
    }

    async fn trim(&mut self, at: usize) {
        let stream = &self.streams[at];
        let marks = stream.watermarks();
        let len = marks.durable.since(marks.start);
        let before = marks.start.plus(self.rng.u64(0..=len));
        self.life.world.model(at).may_trim(before.get());
        self.life
            .say(format_args!("{}: trim before {before}", stream.name()));
        let call = async {
            match self.rng.bool() {
                true => stream.trim(before).await,
                false => stream.try_trim(before).await,
            }
        };
        match self.life.ends("a trim", call).await {
            Ok(start) => {
                assert!(start >= before, "{start} for {before}");
                self.life.world.model(at).trimmed(start.get());
            }
            Err(Error::WouldBlock { kind }) => {
                self.life.world.points.pass(format!("refused trim: {kind}"));
            }
            Err(error) => self.life.excused("a trim", &error),
        }
    }

    async fn truncate(&mut self, at: usize) {
        let life = Arc::clone(&self.life);
        let _gate = life.ends("a gate", life.gates[at].write()).await;
        let stream = &self.streams[at];
        let marks = stream.watermarks();
        let len = marks.next.since(marks.start);
        let back = self.rng.u64(0..=len.min(40));
        let end = marks.start.plus(len - back);
        let last = end.get().checked_sub(1).map(Offset);
        let cut = life.world.model(at).cutting(end.get());
        life.say(format_args!("{}: truncate to {end}", stream.name()));
        if self.rng.u32(0..8) == 0 {
            let most = Duration::from_micros(self.rng.u64(0..5_000));
            // It may happen later; the process ends, or another cut is known, before that is.
            let _ = timeout(most, stream.truncate_after(last)).await;
            return life.world.points.pass("app: a truncation was dropped");
        }
        match life.ends("a truncation", stream.truncate_after(last)).await {
            Ok(next) => {
                let now = stream.watermarks();
                life.say(format_args!("{}: truncated to {next}", stream.name()));
                assert!(next <= end, "{next} for {end}");
                life.world.points.pass("app: a truncation");
                let is_cut = now.incarnation > marks.incarnation;
                let mut model = life.world.model(at);
                match is_cut {
                    true => model.cut(cut, next.get(), now.incarnation.get()),
                    false => model.not_cut(cut),
                }
            }
            Err(error) => {
                let did_nothing = matches!(
                    error,
                    Error::Trimmed { .. } | Error::Archived { .. } | Error::WouldBlock { .. }
                );
                // It waits for nothing that has no end of its own.
                if let Error::WouldBlock { kind } = error {
                    life.world
                        .points
                        .pass(format!("refused truncation: {kind}"));
                } else {
                    life.excused("a truncation", &error);
                }
                // Not one whose writer has ended in the midst of it.
                let did_nothing = did_nothing || error.to_string().contains("on its way");
                let mut model = life.world.model(at);
                match did_nothing {
                    true => model.not_cut(cut),
                    false => model.maybe_cut(cut),
                }
            }
        }
    }

    async fn sweep(&mut self) {
        let dry = self.rng.bool();
        let call = async {
            match dry {
                true => self.log.sweep_dry().await,
                false => self.log.sweep().await,
            }
        };
        match self.life.ends("a sweep", call).await {
            Ok(report) => {
                self.life.world.points.pass("app: a sweep");
                let here = report.directory.removed;
                let there = report.tier_2.map_or(0, |swept| swept.removed);
                self.life.say(format_args!(
                    "swept, {here} files and {there} objects removed, dry: {dry}"
                ));
            }
            Err(error) => self.life.excused("a sweep", &error),
        }
    }

    async fn retain(&mut self, at: usize) {
        self.life.world.model(at).may_trim(u64::MAX);
        let retention = Retention {
            age: Keep::Default,
            bytes: Keep::AtMost(Size::kib(self.rng.u32(64..400))),
        };
        let stream = &self.streams[at];
        match self
            .life
            .ends("a retention", stream.set_retention(retention))
            .await
        {
            Ok(()) => self.life.world.points.pass("app: a retention"),
            Err(error) => self.life.excused("a retention", &error),
        }
    }

    async fn list(&mut self) {
        match self.life.ends("a list", self.log.streams()).await {
            Ok(streams) => assert!(streams.len() >= self.streams.len(), "{}", streams.len()),
            Err(error) => self.life.excused("a list", &error),
        }
        let most = self.settings.max_streams;
        let mut refused = 0;
        if self.rng.u32(0..4) == 0 {
            for n in 0..most {
                let name = format!("nobody {n}");
                let opened = self.log.existing(&name);
                if let Err(error) = self.life.ends("a stream", opened).await {
                    refused += 1;
                    let unknown = matches!(error, Error::UnknownStream { .. });
                    assert!(unknown || error.kind() != ErrorKind::Restore, "{error}");
                }
            }
            assert_eq!(refused, most, "there are no such streams");
        }
    }

    /// A second one on the same directory is told at once that it is in use.
    async fn another_owner(&mut self) {
        let life = Arc::clone(&self.life);
        let store = life.world.plan.cold.then_some(&life.world.bucket);
        let injected = injected(&self.life, &mut self.rng, &self.settings, store);
        let opened = Supervisor::open_with(self.settings.clone(), injected);
        match self.life.ends("a second owner", opened).await {
            // The first one has closed it meanwhile.
            Ok(_) if life.closing.load(Ordering::Relaxed) => {}
            Ok(_) => panic!("two own one directory"),
            Err(Error::Storage(error)) if matches!(*error, StorageError::Locked { .. }) => {
                self.life.world.points.pass("app: locked");
            }
            Err(error) => self.life.excused("a second owner", &error),
        }
    }

    /// Somebody reads beside the owner, and sees nothing that is not so.
    async fn look_beside(&mut self) {
        let life = Arc::clone(&self.life);
        let store = life.world.plan.cold.then_some(&life.world.bucket);
        let injected = injected(&self.life, &mut self.rng, &self.settings, store);
        let attached = ReadOnly::attach_injected(self.settings.clone(), injected);
        let view = match self.life.ends("attaching", attached).await {
            Ok(view) => view,
            Err(error) => return self.life.excused("attaching", &error),
        };
        self.life
            .world
            .points
            .pass("app: attached beside the owner");
        for (at, name) in NAMES.into_iter().enumerate().take(self.streams.len()) {
            let Ok(stream) = view.stream(name) else {
                continue;
            };
            let opened = stream.reader(From::Earliest).into_future();
            let mut reader = match self.life.ends("a view", opened).await {
                Ok(reader) => reader,
                Err(error) => {
                    self.life.excused("a view", &error);
                    continue;
                }
            };
            loop {
                match self.life.ends("a view", reader.next_batch(50)).await {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => {
                        let model = self.life.world.model(at);
                        // It looked a while ago: a truncation since may have taken what it saw.
                        records.iter().for_each(|record| model.seen_before(record));
                    }
                    // Known and left: see the README of the tests.
                    Err(Error::Corrupt(_)) if self.life.world.plan.has(Trouble::Reads) => {
                        self.life
                            .world
                            .points
                            .pass("known: a view that could not look again");
                        break;
                    }
                    Err(error) => {
                        self.life.excused("a view", &error);
                        break;
                    }
                }
            }
        }
    }
}

/// Under the policy `manual` nothing becomes durable by itself.
pub async fn flush_now_and_then(life: Arc<Life>, settings: Settings, streams: Vec<Stream>) {
    let mut rng = life.world.rng(&format!("{}/flushes", life.name));
    while settings.flush == FlushPolicy::Manual && !life.closing.load(Ordering::Relaxed) {
        sleep(Duration::from_millis(rng.u64(1..60))).await;
        for stream in &streams {
            if let Err(error) = life.ends("a timed flush", stream.flush()).await {
                life.excused("a timed flush", &error);
            }
        }
    }
}
