//! The power is cut below ext4 and XFS: a log lives on a disk that records, and each cut is a disk made of the record,
//! which the kernel mounts, replaying its own journal, and on which the log is opened by production code.

use std::{
    fmt::Write as _,
    fs,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
};

use fastrand::Rng;

use crate::{
    cuts::{Cut, Fate, Platter, copy},
    disk::Disk,
    journal::Journal,
    look,
    machine::Place,
    mounts::Kind,
    options::Options,
    record::{Entry, Record},
    workload,
};

/// Images that are looked at at once.
const AT_ONCE: usize = 2;

/// A life that was lived, on a disk.
struct Lived {
    record: Record,
    journal: Journal,
    kind: Kind,
    /// The first cut that there may be: the file system is mounted.
    from: usize,
}

/// All cuts of one file system.
pub fn run(kind: Kind, place: &Place, options: &Options) -> String {
    let kept = options.kept.clone();
    let dir = match &kept {
        Some(dir) => dir.clone(),
        None => {
            live(kind, place, options.seed);
            place.dir.clone()
        }
    };
    let lived = Lived::read(kind, &dir);
    let mut rng = Rng::with_seed(options.seed);
    let cuts = match &options.only {
        Some(cut) => vec![*cut],
        None => Cut::choose(
            &lived.record,
            lived.from,
            lived.record.len(),
            options.cuts,
            &mut rng,
        ),
    };
    let base = dir.join("base.img");
    let size = cuts.len().div_ceil(AT_ONCE).max(1);
    let failures: Vec<String> = std::thread::scope(|scope| {
        let shares: Vec<_> = cuts.chunks(size).enumerate().collect();
        let workers = shares.into_iter().map(|(nth, share)| {
            let (lived, base) = (&lived, &base);
            let place = place.folder(&format!("cuts.{nth}"));
            scope.spawn(move || lived.look_at(share, base, &place))
        });
        let workers: Vec<_> = workers.collect();
        workers
            .into_iter()
            .flat_map(|worker| worker.join().expect("a worker"))
            .collect()
    });
    if failures.is_empty() {
        return lived.tell(&cuts);
    }
    let kept = match kept {
        Some(dir) => dir,
        None => options.keep(
            &dir,
            &format!("power-{kind}"),
            &["base.img", "record", "told"],
        ),
    };
    let mut told = format!("{} of {} cuts failed", failures.len(), cuts.len());
    for failure in failures.iter().take(10) {
        let (dir, cut) = (
            kept.display(),
            failure.split(':').next().unwrap_or_default(),
        );
        let _ = write!(
            told,
            "\n  {failure}\n    again: tests/real/run --kept {dir} --only {cut} power-{kind}"
        );
    }
    panic!("{told}");
}

/// Lives a log on a recording disk, and leaves `base.img`, `record` and `told`.
fn live(kind: Kind, place: &Place, seed: u64) {
    let mut disk = Disk::new(kind, place);
    let begun = disk.position();
    let seed_text = seed.to_string();
    let child = place.role(
        "workload",
        [
            disk.at().as_os_str(),
            disk.record_file().as_os_str(),
            seed_text.as_ref(),
        ],
    );
    let lines = child.rest();
    let status = child.end();
    assert!(status.success(), "the workload ended with {status}");
    assert_eq!(lines.last().map(String::as_str), Some(workload::DONE));
    // What unmounting writes is a state of the disk too.
    disk.stop();
    let told = format!("{begun} {seed}\n{}\n", lines.join("\n"));
    fs::write(place.dir.join("told"), told).expect("room for the journal");
    assert!(disk.base().exists());
}

impl Lived {
    fn read(kind: Kind, dir: &Path) -> Self {
        let record = Record::read(&dir.join("record")).expect("a record");
        let told = fs::read_to_string(dir.join("told")).expect("a journal");
        let mut lines = told.lines().map(str::to_owned);
        let head = lines.next().expect("a first line");
        let (begun, seed) = head.split_once(' ').expect("a position and a seed");
        let from = record.entries_at(begun.parse().expect("a position"));
        let lines: Vec<String> = lines.collect();
        let journal = Journal::new(&lines, &record, seed.parse().expect("a seed"));
        Self {
            record,
            journal,
            kind,
            from,
        }
    }

    /// Looks at what some cuts leave, one after the other; gives those that break a promise.
    fn look_at(&self, cuts: &[Cut], base: &Path, place: &Place) -> Vec<String> {
        let mut platter = Platter::new(&self.record, base, place.dir.join("platter.img"));
        let (image, mount) = (place.dir.join("cut.img"), place.dir.join("mount"));
        let mut failures = Vec::new();
        for (nth, cut) in cuts.iter().enumerate() {
            platter.cut(*cut, &image);
            let looked = catch_unwind(AssertUnwindSafe(|| {
                self.look(*cut, &image, &mount, nth % 2 == 0)
            }));
            if let Err(panic) = looked {
                failures.push(format!("{cut}: {}", crate::options::words(&*panic)));
            }
            fs::remove_file(&image).expect("an image");
        }
        place.clear();
        failures
    }

    fn look(&self, cut: Cut, image: &Path, mount: &Path, clean: bool) {
        let mounted = self.kind.mount(image, mount);
        let mounted = mounted.unwrap_or_else(|why| panic!("the kernel does not mount it: {why}"));
        let settings = workload::settings(&mounted.at);
        look::runtime().block_on(look::recovers(&settings, clean, |found| {
            self.journal.check(found, cut.at)
        }));
    }

    fn tell(&self, cuts: &[Cut]) -> String {
        let flushes = (0..self.record.len())
            .filter(|n| self.record.entry(*n) == Entry::Flush)
            .count();
        let writes = self.record.len() - flushes;
        let (acks, archived) = self.journal.acks();
        let borders = cuts
            .iter()
            .filter(|cut| self.record.behind_flush(cut.at) == cut.at)
            .count();
        let of = |is: fn(Fate) -> bool| {
            let between = cuts
                .iter()
                .filter(|cut| self.record.behind_flush(cut.at) < cut.at);
            between.filter(|cut| is(cut.fate)).count()
        };
        format!(
            "{writes} writes, {flushes} flushes, {acks} acks, {archived} of the archive; {} cuts: {borders} right behind \
             a flush, {} with the writes since lost, {} kept, {} in part, {} torn",
            cuts.len(),
            of(|fate| fate == Fate::Lost),
            of(|fate| fate == Fate::Kept),
            of(|fate| matches!(fate, Fate::Some(_))),
            of(|fate| matches!(fate, Fate::Torn(_))),
        )
    }
}

/// Copies what a failure needs to be looked at again.
pub fn keep(from: &Path, to: &Path, names: &[&str]) {
    fs::create_dir_all(to).expect("room for a folder");
    for name in names {
        copy(&from.join(name), &to.join(name));
    }
}
