//! Which calls in the sources a story came by: from the backtraces of its calls.

use std::{
    backtrace::Backtrace,
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
};

use tierlog::testing::storage::disk::fault::{CallKind, FaultPlan};

use super::scan::Site;

/// How many calls behind a failure are looked at: those that clean up after it.
const BEHIND: u64 = 60;

/// A call, and the lines of this repository that led to it, the innermost first.
type Seen = (CallKind, Vec<(String, usize)>);

/// What was seen of all stories.
#[derive(Debug, Clone, Default)]
pub struct Coverage(Arc<Mutex<BTreeSet<Seen>>>);

impl Coverage {
    /// Notes the calls of a plan: all of them, or those right behind a failure.
    pub fn note(&self, plan: &FaultPlan, all: bool) {
        let (seen, left) = (Arc::clone(&self.0), Mutex::new(BEHIND));
        plan.watch(move |call, failed| {
            if !all {
                let mut left = left.lock().unwrap_or_else(PoisonError::into_inner);
                if failed == 0 || *left == 0 {
                    return;
                }
                *left -= 1;
            }
            let lines = lines(&Backtrace::force_capture());
            let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert((call.kind, lines));
        });
    }

    /// The sites that no call came from.
    pub fn missed(&self, sites: &[Site]) -> Vec<Site> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_hit = |site: &Site| {
            let mut calls = seen.iter().filter(|(kind, _)| *kind == site.kind);
            calls.any(|(_, lines)| lines.iter().any(|line| is_at(site, line)))
        };
        sites.iter().filter(|site| !is_hit(site)).cloned().collect()
    }

    /// Calls that came from a line where the scan sees none.
    pub fn unknown(&self, sites: &[Site]) -> BTreeSet<(CallKind, String, usize)> {
        let seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unknown = BTreeSet::new();
        for (kind, lines) in seen.iter() {
            let Some(line) = lines.first() else { continue };
            let mut known = sites.iter().filter(|site| site.kind == *kind);
            if !known.any(|site| is_at(site, line)) {
                unknown.insert((*kind, line.0.clone(), line.1));
            }
        }
        unknown
    }
}

fn is_at(site: &Site, (file, line): &(String, usize)) -> bool {
    site.file == *file && (site.first..=site.last).contains(line)
}

/// The lines of a backtrace that lie in this repository, outside the disk module.
fn lines(trace: &Backtrace) -> Vec<(String, usize)> {
    let text = trace.to_string();
    let places = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("at "));
    let places = places.filter_map(|place| {
        let place = place.strip_prefix("./").unwrap_or(place);
        let place = place
            .strip_prefix(concat!(env!("CARGO_MANIFEST_DIR"), "/"))
            .unwrap_or(place);
        let mut parts = place.split(':');
        let (file, line) = (parts.next()?, parts.next()?.parse().ok()?);
        let crates = ["storage/src/", "actors/src/", "cold/src/", "src/"];
        let is_ours = crates.iter().any(|name| file.starts_with(name));
        (is_ours && !file.starts_with("storage/src/disk/")).then(|| (file.to_owned(), line))
    });
    places.collect()
}
