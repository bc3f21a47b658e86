//! A real process that appends and is killed, over and over, in one directory.
//!
//! ```text
//!   this test ── starts ──▶ itself, as the test `child`, told by the environment where to write
//!       ▲                       │ "opened", and a line for each ack, flushed at once
//!       └──── kill -9 ◀─────────┘ after so many lines, or in the midst of opening
//! ```
//!
//! After each kill the log is attached read-only, which must show at least what was acked, and then
//! opened, which must show at least what the reader saw.

mod child;
mod ledger;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use ledger::Ledger;
use tierlog::{FlushPolicy, ReadOnly, Settings, Size};

use crate::support::{open, say, small, within};

const ROUNDS: u64 = 25;

/// Says that this process is the one to be killed, and where it writes.
const DIR: &str = "TIERLOG_TEST_KILL_DIR";
/// The number of the round.
const ROUND: &str = "TIERLOG_TEST_KILL_ROUND";

fn settings(dir: &Path, round: u64) -> Settings {
    let flush = match round % 3 {
        0 => FlushPolicy::Always,
        1 => FlushPolicy::Every(Duration::from_millis(2)),
        _ => FlushPolicy::Bytes(Size::kib(8)),
    };
    Settings {
        flush,
        ..small(dir)
    }
}

/// Kills the child when it goes out of scope, however that comes.
struct Victim(Child);

impl Drop for Victim {
    fn drop(&mut self) {
        // SIGKILL; one that has ended by itself is no mistake here.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawn(dir: &Path, round: u64) -> Victim {
    let child = Command::new(std::env::current_exe().expect("this binary"))
        .args(["--exact", "kill9::child", "--nocapture", "--test-threads=1"])
        .env(DIR, dir)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("a child");
    Victim(child)
}

/// When the child is killed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// So many microseconds after it began to open the log.
    Opening(u64),
    /// When so many acks have come.
    Acks(u64),
}

impl Moment {
    fn of(rng: &mut fastrand::Rng) -> Self {
        match rng.u64(0..4) {
            0 => Self::Opening(rng.u64(0..15_000)),
            _ => Self::Acks(rng.u64(1..600)),
        }
    }
}

/// Starts the child, kills it at that moment, and takes down the acks that it had told of.
fn live_and_die(dir: &Path, round: u64, moment: Moment, ledger: &mut Ledger) {
    let mut victim = spawn(dir, round);
    let out = victim.0.stdout.take().expect("it is piped");
    let mut acks = 0;
    for line in BufReader::new(out).lines() {
        // The last line may be cut short by the kill: then its ack was never told.
        let Ok(line) = line else { break };
        // The test harness has begun a line of its own before the first one.
        match (line.split_once("@@").map(|(_, told)| told), moment) {
            (Some("begins"), Moment::Opening(micros)) => {
                let until = Instant::now() + Duration::from_micros(micros);
                while Instant::now() < until {
                    std::hint::spin_loop();
                }
                victim.0.kill().expect("it is ours");
            }
            (Some(told), moment) => {
                acks += u64::from(ledger.take_ack(told));
                if matches!(moment, Moment::Acks(enough) if acks == enough) {
                    // Lines that are on their way are read after this as well.
                    victim.0.kill().expect("it is ours");
                }
            }
            (None, _) => {}
        }
    }
    let status = victim.0.wait().expect("it ended");
    assert!(
        !status.success(),
        "round {round}: the child ended by itself"
    );
    assert_eq!(
        std::os::unix::process::ExitStatusExt::signal(&status),
        Some(9),
        "round {round}: {status}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_no_acked_record() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut ledger = Ledger::default();
    let mut rng = fastrand::Rng::with_seed(0x7ee1);
    for round in 0..ROUNDS {
        let moment = Moment::of(&mut rng);
        live_and_die(dir.path(), round, moment, &mut ledger);
        let settings = settings(dir.path(), round);
        if settings.data.join("CURRENT").exists() {
            // Twice, as looking changes nothing.
            for _ in 0..2 {
                let view = within(ReadOnly::attach(&settings.data))
                    .await
                    .expect("attached");
                assert_eq!(view.recovery().damage().count(), 0, "{}", view.recovery());
                ledger.look(&view, round).await;
            }
        }
        if round % 4 == 3 {
            // Otherwise the next child is the one who recovers.
            let log = open(&settings).await;
            assert_eq!(log.recovery().damage().count(), 0, "{}", log.recovery());
            ledger.open(&log, round).await;
            if round % 8 == 3 {
                crate::support::close(log).await;
            }
        }
    }
    assert!(
        ledger.acked() > 2_000,
        "{} records were acked",
        ledger.acked()
    );
    say(&ledger.to_string());
}

#[test]
fn child() {
    let Ok(dir) = std::env::var(DIR) else {
        return;
    };
    let round = std::env::var(ROUND).expect("a round");
    let round = round.parse().expect("a number");
    child::write_until_killed(&settings(Path::new(&dir), round), round);
}
