//! A limit on the size of files: a write beyond it fails, or a signal kills whoever tries.

use std::{os::unix::process::ExitStatusExt, process::Command};

use crate::{
    driven::Driven,
    driver::Order,
    machine::{Place, Running},
    options::Options,
};

/// What `SIGXFSZ` is on Linux.
const SIGXFSZ: i32 = 25;

/// Starts a driver below a shell that does something first, and takes down what it tells.
fn live(place: &Place, driven: &mut Driven, first: &str, order: Order) -> std::process::ExitStatus {
    let mut command = Command::new("sh");
    let this = std::env::current_exe().expect("this binary");
    command
        .args(["-c", &format!("{first}; exec \"$@\""), "sh"])
        .arg(this);
    command
        .args(["role", "driver"])
        .args(order.words(&place.dir.join("log")));
    let child = Running::start(command, &place.dir);
    for line in child.rest() {
        driven.take(order.life, &line);
    }
    child.end()
}

/// Limits of several sizes, with the signal ignored and not.
pub fn run(place: &Place, _: &Options) -> String {
    let (mut driven, mut killed, mut life) = (Driven::default(), 0, 0);
    let mut order = |records| {
        life += 1;
        Order {
            life,
            records,
            window: 8,
            stall_ms: 30_000,
        }
    };
    // In blocks of 512 bytes or of 1,024, as the shell likes: segments are of 80 KiB, the manifest is allocated ahead.
    for blocks in [0, 8, 24, 40, 70, 100, 159, 400] {
        for trap in ["trap '' XFSZ", "trap - XFSZ"] {
            let limit = format!("ulimit -f {blocks}; {trap}");
            let status = live(place, &mut driven, &limit, order(300));
            match status.signal() {
                Some(SIGXFSZ) if trap.starts_with("trap -") => killed += 1,
                _ => assert!(status.success(), "{limit}: it ended with {status}"),
            }
            driven.look(&place.dir.join("log"));
            // Without the limit it goes on.
            let before = driven.acks();
            let status = live(place, &mut driven, ":", order(40));
            assert!(status.success() && driven.acks() == before + 40, "{status}");
        }
    }
    driven.look(&place.dir.join("log"));
    assert!(
        killed > 0 && driven.ended > 0,
        "{killed} killed, {} ended",
        driven.ended
    );
    let (acks, ended, failures) = (driven.acks(), driven.ended, driven.failures);
    format!(
        "16 lives below a limit, of which SIGXFSZ killed {killed} and {ended} met an error and told it, with {failures} \
         records that were told to have failed; {acks} acks"
    )
}
