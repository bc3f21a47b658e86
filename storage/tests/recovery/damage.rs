//! Every length to which a file can be cut and every bit that can flip: what was durable is read
//! right, or there is an error or a damaged range that says so. One file at a time is damaged.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
    sync::Arc,
};

use tierlog_storage::{
    disk::{
        Access, Disk,
        sim::{Cut, SimDisk},
    },
    recovery::read_only,
};

use crate::{
    creation::everything,
    rig::{Rig, Seal, damage_of, layout, open, payload, read_all},
};

struct Victim {
    sim: SimDisk,
    durable: u64,
    written: u64,
}

/// A sealed segment, one that is being written, one ahead.
fn victim(clean: bool) -> Victim {
    let sim = SimDisk::new();
    let disk: Arc<dyn Disk> = Arc::new(sim.clone());
    let mut rig = Rig::open(&disk).unwrap();
    rig.create("a").unwrap();
    rig.append("a", 2).unwrap();
    rig.append("a", 3).unwrap();
    rig.roll("a", Seal::Commit).unwrap();
    rig.append("a", 2).unwrap();
    rig.sync("a", false).unwrap();
    rig.append("a", 1).unwrap();
    rig.append("a", 2).unwrap();
    rig.sync("a", true).unwrap();
    rig.ahead("a").unwrap();
    match clean {
        true => rig.close().unwrap(),
        false => rig.append("a", 2).unwrap(),
    }
    let sim = sim.crash_process();
    Victim {
        sim,
        durable: 10,
        written: if clean { 10 } else { 12 },
    }
}

fn files(sim: &SimDisk) -> Vec<PathBuf> {
    let names = everything(sim).into_iter();
    names
        .filter(|path| sim.open(path, Access::Read).is_ok())
        .collect()
}

fn contents(sim: &SimDisk, path: &Path) -> Vec<u8> {
    let file = sim.open(path, Access::Read).unwrap();
    let mut bytes = vec![0; file.len().unwrap() as usize];
    file.read_at(&mut bytes, 0).unwrap();
    bytes
}

/// Opens what is left and holds it against what there was. True when the damage was noticed.
fn judge(victim: &Victim, sim: SimDisk, what: &str) -> bool {
    let disk: Arc<dyn Disk> = Arc::new(sim);
    let seen = read_only(&*disk, &layout()).map(|log| {
        let id = *log.state.streams.keys().next().unwrap();
        let read = read_all(&*disk, &layout(), &log.state, id).unwrap();
        check(victim, &read, &format!("read-only: {what}"));
    });
    let Ok(log) = open(&disk) else {
        return true;
    };
    drop(seen);
    let Some(&id) = log.state.streams.keys().next() else {
        panic!("{what}: the stream is gone and nobody says so");
    };
    match read_all(&*disk, &layout(), &log.state, id) {
        Ok(read) => {
            check(victim, &read, what);
            !read.damage.is_empty() || !damage_of(&log).is_empty()
        }
        Err(_) => true,
    }
}

fn check(victim: &Victim, read: &crate::rig::Read, what: &str) {
    let mut there: BTreeSet<u64> = BTreeSet::new();
    for (offset, text) in &read.records {
        assert_eq!(text, &payload("a", *offset), "{what}");
        assert!(there.insert(*offset), "{what}: {offset} twice");
        assert!(*offset < victim.written, "{what}");
    }
    for (from, to) in &read.damage {
        there.extend(*from..*to);
    }
    for offset in 0..victim.durable {
        assert!(
            there.contains(&offset),
            "{what}: {offset} is gone without a word: {read:?}"
        );
    }
}

/// One bit of every byte as far as anything is written, another one each time, and behind that now
/// and then one; with `TIERLOG_THOROUGH` set, every bit of what is written.
fn bits(bytes: &[u8]) -> Vec<(usize, u8)> {
    let thorough = std::env::var_os("TIERLOG_THOROUGH").is_some();
    let written = bytes
        .iter()
        .rposition(|byte| *byte != 0)
        .map_or(0, |last| last + 1);
    let chosen = |at: usize| match thorough {
        true => 0..8,
        false => at * 5 % 8..at * 5 % 8 + 1,
    };
    let dense = (0..written).filter(|at| thorough || bytes[*at] != 0 || at % 5 == 0);
    let dense = dense.flat_map(|at| chosen(at).map(move |bit| (at, 1 << bit)));
    let sparse = (written..bytes.len()).step_by(211).map(|at| (at, 0x10));
    dense.chain(sparse).collect()
}

fn flip_every_bit(clean: bool) {
    let victim = victim(clean);
    for path in files(&victim.sim) {
        let bytes = contents(&victim.sim, &path);
        let step = if bytes.len() > 100_000 { 101 } else { 1 };
        for (at, bit) in bits(&bytes).into_iter().step_by(step) {
            let sim = victim.sim.preview_cut(Cut::AllKept);
            let file = sim.open(&path, Access::ReadWrite).unwrap();
            file.write_at(&[bytes[at] ^ bit], at as u64).unwrap();
            drop(file);
            judge(
                &victim,
                sim,
                &format!("{} bit {bit:#x} of byte {at}", path.display()),
            );
        }
    }
}

fn cut_to_every_length(clean: bool) {
    let victim = victim(clean);
    for path in files(&victim.sim) {
        let bytes = contents(&victim.sim, &path);
        let written = bytes
            .iter()
            .rposition(|byte| *byte != 0)
            .map_or(0, |last| last + 1);
        let lengths = (0..written).chain((written..bytes.len()).step_by(bytes.len() / 40 + 1));
        for len in lengths {
            let sim = victim.sim.preview_cut(Cut::AllKept);
            let file = sim.open(&path, Access::ReadWrite).unwrap();
            file.set_len(len as u64).unwrap();
            drop(file);
            let what = format!("{} cut to {len}", path.display());
            let noticed = judge(&victim, sim, &what);
            let is_segment = path.extension().is_some_and(|e| e == "tls");
            if is_segment && len == 0 && written > 0 {
                assert!(noticed, "{what}: nobody noticed");
            }
        }
    }
}

#[test]
fn any_flipped_bit_of_a_closed_log_is_harmless_or_told() {
    flip_every_bit(true);
}

#[test]
fn any_flipped_bit_of_a_log_that_was_killed_is_harmless_or_told() {
    flip_every_bit(false);
}

#[test]
fn any_cut_of_a_file_of_a_closed_log_is_harmless_or_told() {
    cut_to_every_length(true);
}

#[test]
fn any_cut_of_a_file_of_a_log_that_was_killed_is_harmless_or_told() {
    cut_to_every_length(false);
}
