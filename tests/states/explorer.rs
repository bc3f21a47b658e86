//! Goes through the crash states of one seed.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    str::FromStr,
    sync::{Arc, Mutex, PoisonError},
};

use tierlog::testing::storage::disk::{
    Disk,
    fault::{CallKind, FaultDisk, FaultPlan},
    sim::{self, Choices, SimDisk},
};

use crate::{
    bucket::Objects,
    cuts::{self, Cut},
    plan::Plan,
    promises::Promises,
    recorder::Boundary,
    recovered::{Recovered, recover},
    whole::{from_the_bucket, keeps, through_actors},
    workload,
};

/// Of so many new states one is recovered through the actors.
const THROUGH_ACTORS: u64 = 64;
/// Of so many new states the recovery is stopped at each of its changes as well.
const STOPPED_AGAIN: u64 = 64;

/// Which state: after which seed, before which change, and what was lost. Within its recovery the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    pub seed: u64,
    pub moment: usize,
    pub cut: Cut,
    pub again: Option<(usize, Cut)>,
}

/// What was gone through.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    pub moments: u64,
    /// Moments at which all choices were tried.
    pub exhausted: u64,
    pub recoveries: u64,
    pub through_actors: u64,
    pub restores: u64,
    /// Different disks that were left within a recovery.
    pub within: u64,
}

/// One seed, its moments, and what was found of its states.
pub struct Explorer {
    plan: Plan,
    moments: Vec<Boundary>,
    /// What was recovered from each disk and bucket: later moments hold it against more.
    known: HashMap<(u64, u64), Rc<Recovered>>,
    /// The disks that were recovered, by their checksums.
    pub images: HashSet<u64>,
    pub tally: Tally,
}

/// How closely a state is looked at.
#[derive(Debug, Clone, Copy)]
struct Depth {
    through_actors: bool,
    stopped_again: bool,
}

impl Explorer {
    /// Carries out what a seed stands for.
    pub fn of(seed: u64) -> Self {
        let plan = Plan::of(seed);
        Self {
            moments: workload::run(&plan),
            plan,
            known: HashMap::new(),
            images: HashSet::new(),
            tally: Tally::default(),
        }
    }

    /// Goes through all states of all moments; gives the first failure, for people.
    pub fn explore(&mut self) -> Result<(), String> {
        let mut archived = 0;
        for moment in 0..self.moments.len() {
            let boundary = self.moments[moment].clone();
            let choices = boundary.disk.choices();
            self.tally.moments += 1;
            self.tally.exhausted += u64::from(choices.count() <= cuts::MOST);
            for cut in cuts::all(&choices) {
                let disk = cut.of(&boundary.disk, &choices, moment as u64);
                let judged = self.judge(&boundary, (disk, &cut), None);
                judged.map_err(|what| self.tell(moment, &choices, &cut, &what))?;
            }
            if boundary.objects.changes != archived {
                archived = boundary.objects.changes;
                self.tally.restores += 1;
                let restored = from_the_bucket(&self.plan, &boundary.objects, &boundary.promises);
                restored.map_err(|what| {
                    let name = format!("{}/{moment}/killed", self.plan.seed);
                    format!("{name}, its bucket: {what}\n{}", again(&name))
                })?;
            }
        }
        Ok(())
    }

    /// Looks at one state as closely as can be.
    pub fn look(&mut self, name: &Name) -> Result<(), String> {
        let count = self.moments.len();
        let boundary = self.moments.get(name.moment);
        let boundary = boundary
            .ok_or(format!("there are {count} moments"))?
            .clone();
        let choices = boundary.disk.choices();
        let disk = name.cut.of(&boundary.disk, &choices, name.moment as u64);
        let Boundary {
            objects, promises, ..
        } = &boundary;
        let judged = match &name.again {
            None => {
                let depth = Depth {
                    through_actors: true,
                    stopped_again: true,
                };
                let judged = self.judge(&boundary, (disk, &name.cut), Some(depth));
                judged.and_then(|()| from_the_bucket(&self.plan, objects, promises))
            }
            Some((moment, cut)) => {
                let stops = self.stops(&disk, objects);
                let stop = stops.get(*moment);
                let stop = stop.ok_or(format!("there are {} moments in it", stops.len()))?;
                let left = cut.of(stop, &stop.choices(), *moment as u64);
                let twice = self.twice(&left, cut, objects);
                twice.and_then(|found| keeps(promises, &found.streams))
            }
        };
        judged.map_err(|what| self.tell(name.moment, &choices, &name.cut, &what))
    }

    /// Recovers a state and holds it against what was promised.
    fn judge(
        &mut self,
        boundary: &Boundary,
        (disk, cut): (SimDisk, &Cut),
        depth: Option<Depth>,
    ) -> Result<(), String> {
        let image = disk.image();
        let key = (image, boundary.objects.changes);
        if depth.is_none()
            && let Some(known) = self.known.get(&key)
        {
            return keeps(&boundary.promises, &known.streams);
        }
        let number = self.images.len() as u64;
        let is_new = self.images.insert(image);
        let depth = depth.unwrap_or(Depth {
            through_actors: self.plan.all_through_actors
                || (is_new && number.is_multiple_of(THROUGH_ACTORS)),
            stopped_again: is_new && number.is_multiple_of(STOPPED_AGAIN),
        });
        // The first recovery changes the disk.
        let others = (depth.through_actors || depth.stopped_again).then(|| disk.copy());
        let judged = catch_unwind(AssertUnwindSafe(|| {
            let found = self.twice(&disk, cut, &boundary.objects)?;
            keeps(&boundary.promises, &found.streams)?;
            let Some(other) = others else {
                return Ok(found);
            };
            let (objects, promises) = (&boundary.objects, &boundary.promises);
            if depth.through_actors {
                self.tally.through_actors += 1;
                let whole = through_actors(&self.plan, &other.copy(), objects, promises);
                whole.map_err(|what| format!("through the actors, {what}"))?;
            }
            if depth.stopped_again {
                self.stop_again(&other, objects, promises)?;
            }
            Ok(found)
        }));
        let found = judged.unwrap_or_else(|panic| Err(message(&*panic)))?;
        self.known.insert(key, Rc::new(found));
        Ok(())
    }

    /// Recovers a disk, and once more what is durable then.
    ///
    /// Files may go by that in two cases, once. Where the cut was that of a process, what it had removed may
    /// come back by a cut of the power: its successor saw nothing of it, and had no folder to sync. And where
    /// the log had been closed in order, nobody has looked yet for what is trimmed.
    fn twice(&mut self, disk: &SimDisk, cut: &Cut, objects: &Objects) -> Result<Recovered, String> {
        let found = self.recover(disk, objects)?;
        let mut left = disk.preview_cut(sim::Cut::AllLost);
        let mut may_move = *cut == Cut::Killed || found.findings.was_closed;
        loop {
            let again = self.recover(&left, objects);
            let again = again.map_err(|what| format!("the second recovery: {what}"))?;
            if again.streams != found.streams {
                let (before, after) = (&found.streams, &again.streams);
                return Err(format!(
                    "the second recovery finds {after:?}\nand the first had found {before:?}"
                ));
            }
            let Some(finding) = again.findings.first() else {
                return Ok(found);
            };
            if !may_move || !again.findings.tails.is_empty() {
                return Err(format!("the second recovery still does: {finding}"));
            }
            may_move = false;
            left = left.preview_cut(sim::Cut::AllLost);
        }
    }

    fn recover(&mut self, disk: &SimDisk, objects: &Objects) -> Result<Recovered, String> {
        self.tally.recoveries += 1;
        let disk: Arc<dyn Disk> = Arc::new(disk.clone());
        recover(&disk, &self.plan.settings, objects)
    }

    /// The disk before each change that its recovery makes.
    fn stops(&self, disk: &SimDisk, objects: &Objects) -> Vec<SimDisk> {
        let stops = Arc::new(Mutex::new(Vec::new()));
        let plan = FaultPlan::new();
        let (below, kept) = (disk.clone(), Arc::clone(&stops));
        plan.watch(move |call, _| {
            if !CallKind::CHANGING.contains(&call.kind) {
                return;
            }
            let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(below.copy());
        });
        let watched: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(disk.clone()), plan));
        // What it finds was found before.
        let _ = recover(&watched, &self.plan.settings, objects);
        let mut stops = stops.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::take(&mut *stops)
    }

    /// Stops the recovery of a disk at each of its changes, and recovers what is left.
    fn stop_again(
        &mut self,
        disk: &SimDisk,
        objects: &Objects,
        promises: &Promises,
    ) -> Result<(), String> {
        let cuts = [
            Cut::Killed,
            Cut::Lost,
            Cut::Kept,
            Cut::Sample(0),
            Cut::Sample(1),
        ];
        for (moment, stop) in self.stops(disk, objects).iter().enumerate() {
            let choices = stop.choices();
            for cut in &cuts {
                let left = cut.of(stop, &choices, moment as u64);
                if !self.images.insert(left.image()) {
                    continue;
                }
                self.tally.within += 1;
                let found = self.twice(&left, cut, objects);
                let kept = found.and_then(|found| keeps(promises, &found.streams));
                kept.map_err(|what| format!("stopped again, /{moment}/{cut}: {what}"))?;
            }
        }
        Ok(())
    }

    /// A failure, for people: which state it is, what is kept in it, and how it is tried again.
    fn tell(&mut self, moment: usize, choices: &Choices, cut: &Cut, what: &str) -> String {
        let boundary = self.moments[moment].clone();
        let seed = self.plan.seed;
        let name = |cut: &Cut| format!("{seed}/{moment}/{cut}");
        let named = name(cut);
        let Some(mut picks) = cut.picks(choices, moment as u64) else {
            return format!(
                "{named}, before {}: {what}\n{}",
                boundary.before,
                again(&named)
            );
        };
        let depth = Depth {
            through_actors: what.contains("through the actors"),
            stopped_again: what.contains("stopped again"),
        };
        for group in 0..choices.groups() {
            let before = picks.clone();
            choices.lose(group, &mut picks);
            let fails = self.judge(&boundary, (choices.cut(&picks), cut), Some(depth));
            if fails.is_ok() {
                picks = before;
            }
        }
        let kept = match choices.tell(&picks) {
            nothing if nothing.is_empty() => "  nothing\n".to_owned(),
            kept => kept,
        };
        let (before, promises) = (&boundary.before, &boundary.promises);
        let again = again(&name(&cuts::named(&picks)));
        format!(
            "{named}, before {before}: {what}\nit fails as well where no more is kept than\n{kept}{again}\n\
             promised was {promises:?}"
        )
    }
}

/// How a state is looked at again.
fn again(name: &str) -> String {
    format!("again: TIERLOG_STATES_REPEAT={name} cargo test --test states looked_at_again")
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
    format!("a panic: {}", text.unwrap_or_default())
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.seed, self.moment, self.cut)?;
        match &self.again {
            Some((moment, cut)) => write!(f, "/{moment}/{cut}"),
            None => Ok(()),
        }
    }
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let strange = || format!("{text:?} is not SEED/MOMENT/CUT or SEED/MOMENT/CUT/MOMENT/CUT");
        let parts: Vec<&str> = text.split('/').collect();
        let number = |text: &str| text.parse().map_err(|_| strange());
        let (seed, moment, cut, again) = match parts[..] {
            [seed, moment, cut] => (seed, moment, cut, None),
            [seed, moment, cut, second, then] => {
                (seed, moment, cut, Some((number(second)?, then.parse()?)))
            }
            _ => return Err(strange()),
        };
        Ok(Self {
            seed: seed.parse().map_err(|_| strange())?,
            moment: number(moment)?,
            cut: cut.parse()?,
            again,
        })
    }
}
