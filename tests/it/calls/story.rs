//! All that a log does to a disk, in four lives: appends, seals, moves through all tiers, reads, trims,
//! truncations, sweeps, recoveries, closes, verifications, a restore.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tierlog::{
    Level, ReadOnly, Stream, Supervisor,
    testing::storage::{
        disk::{Disk, fault::CallKind, sim::SimDisk},
        layout::Layout,
        manifest::inspect,
    },
};

use super::{
    account::{Account, fair},
    rig::{LOG, Life, Rig, litter},
};

/// How many steps of a story were begun, and what the last one is.
#[derive(Debug, Default)]
pub struct Steps(Mutex<(u64, &'static str)>);

impl Steps {
    pub fn told(&self) -> (u64, &'static str) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn begin(&self, what: &'static str) {
        let mut steps = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *steps = (steps.0 + 1, what);
    }
}

/// The streams of a story: one of long records, which crosses all tiers, one of short ones, and one of
/// the log without Tier 2.
#[derive(Debug, Clone)]
pub struct Told {
    long: Account,
    short: Account,
    plain: Account,
}

impl Default for Told {
    fn default() -> Self {
        Self {
            long: Account::of(15_000),
            short: Account::of(300),
            plain: Account::of(7_000),
        }
    }
}

/// An open log and its streams, as far as they could be opened.
struct Begun<'a> {
    log: Supervisor,
    long: Option<Stream>,
    short: Option<Stream>,
    steps: &'a Steps,
}

async fn begin<'a>(rig: &Rig, steps: &'a Steps, life: Life) -> Option<Begun<'a>> {
    // A process that could not open its log is begun once more.
    for _ in 0..2 {
        steps.begin("open");
        match rig.open(life).await {
            Ok(log) => {
                steps.begin("stream");
                let long = opened(&log, "long").await;
                let short = opened(&log, "short").await;
                return Some(Begun {
                    log,
                    long,
                    short,
                    steps,
                });
            }
            Err(error) => fair("open", &error),
        }
    }
    None
}

async fn opened(log: &Supervisor, name: &str) -> Option<Stream> {
    let opened = log.log().stream(name).await;
    opened.inspect_err(|error| fair("stream", error)).ok()
}

/// How a story stands before one of its lives, when nothing has failed so far: a call that fails in this
/// life need not have all the lives before it told again.
#[derive(Debug)]
pub struct Beginning {
    pub life: Life,
    sim: SimDisk,
    told: Told,
    /// How many calls of each kind this life makes.
    made: BTreeMap<CallKind, u64>,
}

impl Beginning {
    /// The disk, to go on from here, and what is known of the streams.
    pub fn set_out(&self) -> (Rig, Told) {
        (Rig::on(self.sim.copy()), self.told.clone())
    }

    pub fn made(&self, kind: CallKind) -> u64 {
        self.made.get(&kind).copied().unwrap_or_default()
    }
}

/// Tells all of it on this disk, and gives how each life began.
pub async fn tell_all_lives(rig: &Rig) -> Vec<Beginning> {
    // Somebody has made the folder already, and seen to it that it stays.
    rig.sim.create_dir(LOG.as_ref()).expect("a folder");
    rig.sim.sync_dir("/".as_ref()).expect("no fault is armed");
    let (steps, mut told) = (Steps::default(), Told::default());
    let mut beginnings = Vec::new();
    for life in Life::ALL {
        if life != Life::First {
            rig.free().await;
        }
        let (sim, before) = (rig.sim.copy(), told.clone());
        rig.plan.reset_counts();
        live(rig, &steps, &mut told, life).await;
        let made = CallKind::ALL.map(|kind| (kind, rig.plan.count(kind)));
        beginnings.push(Beginning {
            life,
            sim,
            told: before,
            made: made.into(),
        });
    }
    beginnings
}

/// Tells it from one life on, and says when that one is over.
pub async fn tell(
    rig: &Rig,
    steps: &Steps,
    mut told: Told,
    from: Life,
    over: impl FnOnce(),
) -> Told {
    let mut lives = Life::ALL.into_iter().skip_while(|life| *life != from);
    if let Some(first) = lives.next() {
        live(rig, steps, &mut told, first).await;
    }
    over();
    for life in lives {
        live(rig, steps, &mut told, life).await;
    }
    told
}

async fn live(rig: &Rig, steps: &Steps, told: &mut Told, life: Life) {
    if life == Life::Restored {
        return restore(rig, steps).await;
    }
    if life == Life::Recovered {
        litter(&rig.sim);
    }
    let Some(begun) = begin(rig, steps, life).await else {
        return;
    };
    match life {
        Life::First => begun.first(told).await,
        Life::CutShort => begun.cut_short(told).await,
        Life::Recovered => begun.recovered(told).await,
        Life::Roomy => begun.last(rig, told).await,
        Life::Plain | Life::Restored => begun.plain(told).await,
    }
}

impl Begun<'_> {
    async fn append(&self, account: &mut Account, stream: &Stream, count: usize, level: Level) {
        for _ in 0..count {
            self.steps.begin("append");
            account.append(stream, level).await;
        }
    }

    /// Six at once, so many times.
    async fn several(&self, account: &mut Account, stream: &Stream, times: usize) {
        for _ in 0..times {
            self.steps.begin("append several");
            account.several(stream, 6).await;
        }
    }

    async fn seal(&self, stream: &Stream) {
        self.steps.begin("seal");
        if let Err(error) = stream.seal().await {
            fair("seal", &error);
        }
    }

    async fn flush(&self, stream: &Stream) {
        self.steps.begin("flush");
        if let Err(error) = stream.flush().await {
            fair("flush", &error);
        }
    }

    async fn read(&self, account: &Account, stream: &Stream) {
        self.steps.begin("read");
        account.read(stream).await;
    }

    async fn truncate(&self, account: &mut Account, stream: &Stream, count: u64) {
        self.steps.begin("truncate");
        account.truncate(stream, count).await;
    }

    /// Whatever there is to be done, and then the process is gone.
    async fn first(self, told: &mut Told) {
        if let Some(long) = &self.long {
            self.several(&mut told.long, long, 1).await;
        }
        if let Some(short) = &self.short {
            self.append(&mut told.short, short, 4, Level::Durable).await;
            self.seal(short).await;
            self.append(&mut told.short, short, 3, Level::Durable).await;
            self.truncate(&mut told.short, short, 1).await;
            self.append(&mut told.short, short, 2, Level::Durable).await;
            self.flush(short).await;
        }
        if let Some(long) = &self.long {
            self.append(&mut told.long, long, 6, Level::Durable).await;
            self.several(&mut told.long, long, 6).await;
            self.append(&mut told.long, long, 1, Level::Archived).await;
            for _ in 0..3 {
                self.read(&told.long, long).await;
            }
            self.steps.begin("trim");
            told.long.trim(long, 12).await;
        }
        if let Some(short) = &self.short {
            self.read(&told.short, short).await;
        }
        self.steps.begin("dry sweep");
        let dry = self.log.log().sweep_dry().await;
        self.steps.begin("sweep");
        for swept in [dry, self.log.log().sweep().await] {
            if let Err(error) = swept {
                fair("sweep", &error);
            }
        }
        drop(self.log);
    }

    /// What was only written when the process ended is copied by the next one.
    async fn cut_short(self, told: &mut Told) {
        for (account, stream) in [(&mut told.short, &self.short), (&mut told.long, &self.long)] {
            let Some(stream) = stream else { continue };
            self.append(account, stream, 2, Level::Written).await;
            self.flush(stream).await;
            self.append(account, stream, 2, Level::Written).await;
        }
        drop(self.log);
    }

    async fn recovered(self, told: &mut Told) {
        for (account, stream) in [(&mut told.short, &self.short), (&mut told.long, &self.long)] {
            let Some(stream) = stream else { continue };
            self.read(account, stream).await;
            self.append(account, stream, 3, Level::Durable).await;
            self.truncate(account, stream, 1).await;
            self.append(account, stream, 1, Level::Durable).await;
        }
        self.close().await;
    }

    async fn last(self, rig: &Rig, told: &mut Told) {
        for (account, stream) in [(&mut told.short, &self.short), (&mut told.long, &self.long)] {
            let Some(stream) = stream else { continue };
            // Read again and again, a segment is fetched, and its file made again.
            for _ in 0..6 {
                self.read(account, stream).await;
            }
            self.append(account, stream, 2, Level::Durable).await;
        }
        self.look(rig, &mut told.short).await;
        self.close().await;
    }

    /// Truncations into frames, into segments that were sealed, and into one that is here only compressed.
    async fn plain(self, told: &mut Told) {
        let Some(stream) = &self.long else { return };
        let account = &mut told.plain;
        self.append(account, stream, 3, Level::Durable).await;
        self.seal(stream).await;
        self.steps.begin("batch");
        account.batch(stream, 4).await;
        self.truncate(account, stream, 1).await;
        self.truncate(account, stream, 4).await;
        self.append(account, stream, 8, Level::Durable).await;
        self.several(account, stream, 12).await;
        self.read(account, stream).await;
        let many = stream.watermarks().durable.get().saturating_sub(5);
        self.truncate(account, stream, many).await;
        self.append(account, stream, 2, Level::Durable).await;
        self.close().await;
    }

    /// Somebody who only reads checks every byte.
    async fn look(&self, rig: &Rig, account: &mut Account) {
        self.steps.begin("attach");
        let attached =
            ReadOnly::attach_injected(rig.settings(Life::Roomy), rig.injected(Life::Roomy)).await;
        let view = match attached {
            Ok(view) => view,
            Err(error) => return fair("attach", &error),
        };
        if let Some(stream) = &self.short {
            self.append(account, stream, 1, Level::Durable).await;
        }
        self.steps.begin("refresh");
        if let Err(error) = view.refresh().await {
            fair("refresh", &error);
        }
        self.steps.begin("verify");
        match view.verify_archived(None, |_, _| ()).await {
            Ok(report) => {
                let damage = report.damage;
                assert!(
                    damage.is_empty(),
                    "a call failed, and damage was told: {damage:?}"
                );
            }
            Err(error) => fair("verify", &error),
        }
        // A manifest that can't be read is shown as far as it can.
        let _shown = inspect(&*rig.disk(), &Layout::new(LOG));
    }

    async fn close(self) {
        self.steps.begin("shutdown");
        if let Err(error) = self.log.shutdown(Duration::from_secs(5)).await {
            fair("shutdown", &error);
        }
    }
}

/// Makes another log of what Tier 2 holds.
async fn restore(rig: &Rig, steps: &Steps) {
    for _ in 0..2 {
        steps.begin("restore");
        let (settings, injected) = (rig.settings(Life::Restored), rig.injected(Life::Restored));
        if let Err(error) = Supervisor::restore_with(settings, injected).await {
            fair("restore", &error);
        }
    }
}

/// What has to hold when the fault is gone: the logs open, hold what they should, and go on.
pub async fn check(rig: &Rig, told: &Told) {
    let here = [("short", &told.short), ("long", &told.long)];
    let elsewhere = [("long", &told.plain)];
    for (life, streams) in [(Life::First, &here[..]), (Life::Plain, &elsewhere)] {
        let log = rig.open(life).await.expect("the log opens");
        assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
        for (name, account) in streams {
            let stream = log.log().stream(name).await.expect("a stream");
            account.check(&stream).await;
            let next = stream.watermarks().next;
            let ack = stream.append("and on").await.expect("an ack");
            assert_eq!(ack.offset, next);
        }
        let report = log.shutdown(Duration::from_secs(60)).await;
        let report = report.expect("it closes");
        assert!(report.clean, "{report:?}");
    }
}
