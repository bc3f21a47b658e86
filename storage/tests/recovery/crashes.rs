//! The machine stops at every step of a recovery, and at any step of a writer.

use std::sync::Arc;

use fastrand::Rng;
use tierlog_storage::{
    Offset, SegmentNo, StorageError,
    disk::{
        Disk,
        fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
        sim::{Cut, SimDisk},
    },
    manifest::Entry,
};

use crate::rig::{Rig, Seal, damage_of, open, read_all};

/// Several streams, each with another kind of tail. What is durable of each is returned.
fn unclean_log() -> (SimDisk, Vec<(&'static str, u64, u64)>) {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    for name in ["blank", "plain", "rolled", "sealed"] {
        rig.create(name).unwrap();
    }
    rig.ahead("blank").unwrap();
    for name in ["plain", "rolled", "sealed"] {
        rig.append(name, 4).unwrap();
        rig.append(name, 3).unwrap();
        rig.sync(name, name == "plain").unwrap();
        rig.append(name, 5).unwrap();
    }
    rig.roll("rolled", Seal::Footer).unwrap();
    rig.append("rolled", 6).unwrap();
    rig.ahead("rolled").unwrap();
    rig.roll("sealed", Seal::Commit).unwrap();
    rig.append("sealed", 6).unwrap();
    drop(rig);
    (
        sim,
        vec![
            ("blank", 0, 0),
            ("plain", 7, 12),
            ("rolled", 7, 18),
            ("sealed", 12, 18),
        ],
    )
}

fn assert_prefixes(disk: &Arc<dyn Disk>, expected: &[(&'static str, u64, u64)]) -> Vec<u64> {
    let rig = Rig::open(disk).unwrap();
    assert_eq!(damage_of(&rig.log), []);
    let mut ends = Vec::new();
    for (name, durable, written) in expected {
        let read = read_all(&**disk, &rig.layout, &rig.log.state, rig.writers[*name].id).unwrap();
        let end = read.records.len() as u64;
        assert!(read.is_whole(name, 0, end), "{name}: {read:?}");
        assert!((*durable..=*written).contains(&end), "{name}: {end}");
        ends.push(end);
    }
    ends
}

#[test]
fn a_recovery_that_stops_at_any_step_is_made_up_for_by_the_next_one() {
    for step in 1.. {
        let mut died = false;
        for cut in [
            None,
            Some(Cut::AllLost),
            Some(Cut::AllKept),
            Some(Cut::Seeded(step)),
        ] {
            let (sim, expected) = unclean_log();
            let sim = sim.crash_process();
            let plan = FaultPlan::new();
            let faulty: Arc<dyn Disk> =
                Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
            plan.fail(
                Calls::of_kinds(&CallKind::CHANGING).nth(step).forever(),
                Fault::Halt,
            );
            let opened = open(&faulty);
            died |= opened.is_err();
            drop(opened);
            let sim = match cut {
                None => sim.crash_process(),
                Some(cut) => sim.power_cut_with(cut),
            };
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            let ends = assert_prefixes(&disk, &expected);
            // What this one served is there for ever.
            let disk: Arc<dyn Disk> = Arc::new(sim.power_cut_with(Cut::AllLost));
            assert_eq!(assert_prefixes(&disk, &expected), ends);
        }
        if !died {
            assert!(step > 20, "only {step} steps");
            break;
        }
    }
}

#[test]
fn a_recovery_that_was_reported_as_done_survives_any_power_cut() {
    for seed in 0..50 {
        let (sim, expected) = unclean_log();
        let sim = sim.power_cut(seed);
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let ends = assert_prefixes(&disk, &expected);
        let disk: Arc<dyn Disk> = Arc::new(sim.power_cut(seed + 1_000));
        assert_eq!(assert_prefixes(&disk, &expected), ends);
    }
}

#[test]
fn an_error_at_any_step_of_a_recovery_loses_nothing() {
    for fault in [Fault::Io, Fault::Full, Fault::DoneButReported] {
        for step in 1.. {
            let (sim, expected) = unclean_log();
            let sim = sim.crash_process();
            let plan = FaultPlan::new();
            let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
            let armed = plan.fail(Calls::of_kinds(&CallKind::CHANGING).nth(step), fault);
            let opened = open(&disk);
            if armed.struck() == 0 {
                break;
            }
            if let Err(error) = &opened {
                assert!(matches!(error, StorageError::Io { .. }), "{error}");
            }
            drop(opened);
            let disk: Arc<dyn Disk> = Arc::new(sim.clone());
            assert_prefixes(&disk, &expected);
            let disk: Arc<dyn Disk> = Arc::new(sim.power_cut(step));
            assert_prefixes(&disk, &expected);
        }
    }
}

#[test]
fn a_read_error_at_any_step_of_a_recovery_is_never_taken_for_an_end() {
    for step in 1.. {
        let (sim, expected) = unclean_log();
        let sim = sim.crash_process();
        let plan = FaultPlan::new();
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        let kinds = [
            CallKind::ReadAt,
            CallKind::Open,
            CallKind::List,
            CallKind::Len,
        ];
        let armed = plan.fail(Calls::of_kinds(&kinds).nth(step), Fault::Io);
        let opened = open(&disk);
        if armed.struck() == 0 {
            break;
        }
        assert!(opened.is_err(), "read {step} failed and nobody noticed");
        drop(opened);
        let disk: Arc<dyn Disk> = Arc::new(sim);
        let ends = assert_prefixes(&disk, &expected);
        assert_eq!(
            ends,
            [0, 12, 18, 18],
            "nothing was cut on the word of a failed read"
        );
    }
}

#[test]
fn recoveries_that_die_again_and_again_leave_no_heap_of_copies() {
    let (mut sim, expected) = unclean_log();
    for round in 0..30 {
        sim = sim.crash_process();
        let plan = FaultPlan::new();
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        let renames = Calls::of(CallKind::Rename).ending("CURRENT");
        plan.fail(renames.forever(), Fault::Halt);
        if round < 29 {
            open(&disk).unwrap_err();
        }
    }
    sim = sim.crash_process();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let ends = assert_prefixes(&disk, &expected);
    assert_eq!(ends, [0, 12, 18, 18]);
    let rig = Rig::open(&disk).unwrap();
    let named: u64 = rig
        .log
        .state
        .streams
        .values()
        .map(|s| s.segments.len() as u64)
        .sum();
    let files = crate::creation::everything(&sim);
    let segments = files
        .iter()
        .filter(|p| p.extension().is_some_and(|e| e == "tls"))
        .count();
    assert_eq!(segments as u64, named, "{files:?}");
}

/// One stream, and everything that was ever appended to it.
struct Model {
    history: Vec<String>,
    durable: usize,
    start: usize,
    tag: u64,
}

impl Model {
    fn new_records(&mut self, count: u64) -> Vec<String> {
        self.tag += 1;
        let tag = self.tag;
        let base = self.history.len() as u64;
        let records: Vec<String> = (base..base + count)
            .map(|offset| format!("{offset}/{tag}/{}", "y".repeat(30)))
            .collect();
        self.history.extend(records.iter().cloned());
        records
    }

    /// What an open has found must be what was appended, as far as it goes, and all that was durable.
    fn check(&mut self, rig: &Rig, seed: u64) {
        assert_eq!(
            damage_of(&rig.log),
            [],
            "seed {seed}: a crash damages nothing"
        );
        let id = rig.writers["s"].id;
        let read = read_all(&*rig.disk, &rig.layout, &rig.log.state, id).unwrap();
        assert_eq!(
            read.damage,
            [],
            "seed {seed}: {:#?}\n{}",
            rig.stream("s"),
            rig.log.report
        );
        self.start = rig.stream("s").start.get() as usize;
        let end = rig.stream("s").next.get() as usize;
        assert!(
            end >= self.durable,
            "seed {seed}: {end} of {} durable",
            self.durable
        );
        assert!(end <= self.history.len(), "seed {seed}");
        let expected = (self.start..end).map(|at| (at as u64, self.history[at].clone()));
        assert!(
            read.records.iter().cloned().eq(expected),
            "seed {seed}: {read:?}"
        );
        self.history.truncate(end);
        // Served, so it may not go any more.
        self.durable = end;
    }
}

fn step(
    rig: &mut Rig,
    model: &mut Model,
    rng: &mut Rng,
    sim: &SimDisk,
) -> Result<(), StorageError> {
    match rng.u32(0..100) {
        0..45 => {
            let records = model.new_records(rng.u64(1..4));
            rig.append_these("s", &records)?;
        }
        45..65 => {
            rig.sync("s", rng.bool())?;
            model.durable = rig.writers["s"].durable as usize;
        }
        65..80 => {
            let seals = [Seal::Nothing, Seal::Footer, Seal::Commit, Seal::Commit];
            rig.roll("s", seals[rng.usize(..seals.len())])?;
            model.durable = rig.writers["s"].durable as usize;
        }
        80..86 => rig.ahead("s")?,
        86..90 => {
            let start = rng.usize(model.start..=model.durable);
            let stream = rig.writers["s"].id;
            rig.commit(vec![Entry::Trimmed {
                stream,
                start: Offset(start as u64),
            }])?;
        }
        90..94 => poison(rig, model, rng, sim)?,
        94..97 => truncate(rig, model, rng)?,
        _ => {
            return Err(StorageError::Invalid {
                what: "the end of this life".into(),
            });
        }
    }
    Ok(())
}

/// P5: a sync fails, the segment is closed at its last durable byte, and what was beyond is written
/// to the next one, before or after the commit that says so.
fn poison(
    rig: &mut Rig,
    model: &mut Model,
    rng: &mut Rng,
    sim: &SimDisk,
) -> Result<(), StorageError> {
    let writer = &rig.writers["s"];
    let Some(active) = writer.active.as_ref().filter(|a| a.has_header) else {
        return Ok(());
    };
    if !writer.rolled.is_empty() || active.base > writer.durable {
        return Ok(());
    }
    sim.fail_next_sync(|path| path.extension().is_some_and(|e| e == "tls"));
    let (durable, next) = (writer.durable, writer.next);
    let Some(&(_, end_byte)) = active.frames.iter().find(|(offset, _)| *offset == durable) else {
        return Ok(());
    };
    active.file.sync().unwrap_err();
    rig.ahead("s")?;
    let writer = rig.writers.get_mut("s").unwrap();
    let poisoned = writer.active.take().unwrap();
    let closed = vec![Entry::Closed {
        stream: writer.id,
        segment: poisoned.no,
        base: Offset(poisoned.base),
        end: Offset(durable),
        end_byte,
    }];
    writer.next = durable;
    let late = rng.bool();
    if !late {
        rig.commit(closed.clone())?;
    }
    let again: Vec<String> = model.history[durable as usize..next as usize].to_vec();
    if !again.is_empty() {
        rig.append_these("s", &again)?;
    }
    if late && rng.u8(..3) > 0 {
        rig.commit(closed)
    } else if late {
        // The machine stops between the two.
        Err(StorageError::Invalid {
            what: "stopped".into(),
        })
    } else {
        Ok(0)
    }
    .map(drop)
}

fn truncate(rig: &mut Rig, model: &mut Model, rng: &mut Rng) -> Result<(), StorageError> {
    rig.sync("s", true)?;
    model.durable = rig.writers["s"].durable as usize;
    let start = model.start as u64;
    let writer = &rig.writers["s"];
    let Some(active) = writer.active.as_ref().filter(|a| a.has_header) else {
        return Ok(());
    };
    let borders: Vec<_> = active
        .frames
        .iter()
        .filter(|(offset, _)| *offset >= start)
        .collect();
    let Some(&&(end, end_byte)) = borders.get(rng.usize(..borders.len().max(1))) else {
        return Ok(());
    };
    let (stream, segment, base) = (writer.id, active.no, Offset(active.base));
    let incarnation = rig.stream("s").incarnation.plus(1);
    let open: Vec<SegmentNo> = rig
        .stream("s")
        .segments
        .iter()
        .filter(|(no, s)| s.status.is_open() && **no != segment)
        .map(|(no, _)| *no)
        .collect();
    if open.iter().any(|no| *no < segment) {
        return Ok(());
    }
    let mut entries = vec![
        Entry::TruncatedAfter {
            stream,
            end: Offset(end),
            incarnation,
        },
        Entry::Closed {
            stream,
            segment,
            base,
            end: Offset(end),
            end_byte,
        },
    ];
    entries.extend(
        open.iter()
            .map(|&segment| Entry::Removed { stream, segment }),
    );
    // From here on nobody may rely on what is beyond.
    model.durable = model.durable.min(end as usize);
    rig.commit(entries)?;
    model.history.truncate(end as usize);
    let writer = rig.writers.get_mut("s").unwrap();
    (writer.active, writer.ahead) = (None, None);
    (writer.next, writer.durable) = (end, end);
    Ok(())
}

/// Opens the log, now and then with a machine that stops in the middle of it.
fn reopen(mut sim: SimDisk, rng: &mut Rng) -> (SimDisk, Rig) {
    for _ in 0..rng.u32(0..3) {
        let plan = FaultPlan::new();
        let disk: Arc<dyn Disk> = Arc::new(FaultDisk::new(Arc::new(sim.clone()), plan.clone()));
        let calls = Calls::of_kinds(&CallKind::CHANGING).nth(rng.u64(1..60));
        match rng.bool() {
            true => plan.fail(calls.forever(), Fault::Halt),
            false => plan.fail(calls, Fault::Io),
        };
        drop(open(&disk));
        sim = crash(&sim, rng);
    }
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let rig = Rig::open(&disk).unwrap();
    (sim, rig)
}

fn crash(sim: &SimDisk, rng: &mut Rng) -> SimDisk {
    match rng.u8(..4) {
        0 => sim.crash_process(),
        1 => sim.power_cut_with(Cut::AllLost),
        _ => sim.power_cut(rng.u64(..)),
    }
}

#[test]
fn a_stream_is_always_a_prefix_of_what_was_appended_and_holds_all_that_was_durable() {
    for seed in 0..300 {
        let mut rng = Rng::with_seed(seed);
        let sim = SimDisk::new();
        let mut model = Model {
            history: Vec::new(),
            durable: 0,
            start: 0,
            tag: 0,
        };
        let disk: Arc<dyn Disk> = Arc::new(sim.clone());
        let mut rig = Rig::open(&disk).unwrap();
        rig.create("s").unwrap();
        let mut sim = sim;
        for _ in 0..8 {
            let mut failed = false;
            for _ in 0..rng.u32(0..40) {
                if step(&mut rig, &mut model, &mut rng, &sim).is_err() {
                    failed = true;
                    break;
                }
            }
            if !failed && rng.u8(..3) == 0 {
                rig.close().unwrap();
                model.durable = model.history.len();
            } else {
                drop(rig);
            }
            sim = crash(&sim, &mut rng);
            (sim, rig) = reopen(sim, &mut rng);
            model.check(&rig, seed);
        }
    }
}
