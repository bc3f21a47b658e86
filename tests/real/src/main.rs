//! Real kernels: ext4 and XFS below which a recording disk loses its power or fails, file systems that are full,
//! system calls that fail, processes that are killed and stopped, limits. `tests/real/run --help` tells the rest.

mod cuts;
mod device;
mod disk;
mod driven;
mod driver;
mod eio;
mod full;
mod journal;
mod limits;
mod look;
mod machine;
mod mounts;
mod options;
mod power;
mod record;
mod signals;
mod strace;
mod workload;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        // Processes that the conductor starts: each does its work, and never what another one does.
        ["role", "device", dir] => device::serve(dir.as_ref()),
        ["role", "workload", mount, record, seed] => {
            workload::run(mount.as_ref(), record.as_ref(), options::number(seed));
            ExitCode::SUCCESS
        }
        ["role", "driver", ref rest @ ..] => driver::run(rest),
        _ => options::carry_out(&arguments),
    }
}
