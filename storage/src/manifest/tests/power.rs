//! The power fails before any call, with any choice of what was unsynced: what was acked is there,
//! and what is there was submitted.

use super::{
    arbitrary::LOG,
    support::{Bench, bulky, stream},
};
use crate::{
    disk::{
        fault::{CallKind, Calls, Fault},
        sim::Cut,
    },
    error::Result,
    manifest::{Current, Entry, ManifestLog, ManifestState},
};

/// What may be found after a cut.
#[derive(Default)]
struct History {
    /// Each state that the manifest went through, one more for each commit.
    states: Vec<ManifestState>,
    /// The index of the last one that was acked.
    acked: Option<usize>,
}

impl History {
    fn commit(&mut self, log: &mut ManifestLog, state: &mut ManifestState, n: u64) -> Result<()> {
        let commits = match n % 4 {
            0 => vec![stream(n)],
            1 => vec![stream(n), stream(n + 1000), stream(n + 2000)],
            2 => vec![],
            _ => vec![bulky(n * 10_000, 45, 300), stream(n)],
        };
        self.expect(state, &commits);
        for result in log.commit(&commits, state)? {
            result?;
        }
        self.ack(state);
        Ok(())
    }

    fn expect(&mut self, state: &ManifestState, commits: &[Vec<Entry>]) {
        let mut next = state.clone();
        for commit in commits {
            next.apply_all(commit).unwrap();
            next.seq.0 += commit.len() as u64;
            self.states.push(next.clone());
        }
    }

    fn ack(&mut self, state: &ManifestState) {
        let last = self.states.len() - 1;
        assert_eq!(&self.states[last], state);
        self.acked = Some(last);
    }

    /// The life of a log up to its clean close, or to the call before which the machine stopped.
    fn live(&mut self, bench: &Bench) -> Result<()> {
        let mut state = ManifestState::new(LOG);
        self.states.push(state.clone());
        let mut log = bench.create(1, &state)?;
        log.publish()?;
        self.ack(&state);
        for n in 0..9 {
            self.commit(&mut log, &mut state, n)?;
        }
        let mut log = bench.create(2, &state)?;
        log.publish()?;
        ManifestLog::delete_older(&*bench.disk, &bench.layout, 2)?;
        for n in 10..14 {
            self.commit(&mut log, &mut state, n)?;
        }
        log.close_clean()
    }

    /// Opens what a cut left, checks it, and goes on with it.
    fn check(&self, bench: &Bench, what: &dyn std::fmt::Debug) {
        let Some(current) = Current::read(&*bench.disk, &bench.layout).unwrap() else {
            assert_eq!(self.acked, None, "{what:?}: the pointer is gone");
            return;
        };
        let replayed = bench.replay().unwrap_or_else(|e| panic!("{what:?}: {e}"));
        let from = self.acked.unwrap_or(0);
        let mut state = replayed.state;
        assert!(
            self.states[from..].contains(&state),
            "{what:?}: at {}, acked {}",
            state.seq,
            self.states[from].seq
        );
        // What was read may live in the cache only: it is durable once the next file is.
        let mut log = bench.publish(current.number + 1, &state);
        for result in log.commit(&[stream(77_777)], &mut state).unwrap() {
            result.unwrap();
        }
        let later = Bench::over(bench.sim.preview_cut(Cut::AllLost));
        assert_eq!(later.replay().unwrap().state, state, "{what:?}");
    }
}

#[test]
fn a_power_cut_at_any_call_keeps_what_was_acked() {
    let calls = {
        let bench = Bench::new();
        History::default().live(&bench).unwrap();
        bench.plan.changes()
    };
    assert!(calls > 45, "{calls}");
    for nth in 1..=calls + 1 {
        let bench = Bench::new();
        let stop = Calls::of_kinds(&CallKind::CHANGING).nth(nth).forever();
        bench.plan.fail(stop, Fault::Halt);
        let mut history = History::default();
        let lived = history.live(&bench);
        assert_eq!(lived.is_ok(), nth > calls);
        let cuts = [Cut::AllLost, Cut::AllKept];
        for cut in cuts.into_iter().chain((0..12).map(Cut::Seeded)) {
            let later = Bench::over(bench.sim.preview_cut(cut));
            history.check(&later, &(nth, cut));
        }
        // Killed, and the cache still there.
        history.check(&Bench::over(bench.sim.crash_process()), &nth);
    }
}
