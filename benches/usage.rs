//! What a process costs, and the machine that it runs on, as the kernel tells.

use std::{fs, time::Duration};

use serde_json::{Value, json};

/// The line of a file in `/proc` that begins so, as its first number.
fn number(file: &str, begins: &str) -> u64 {
    let text = fs::read_to_string(file).expect("proc");
    let line = text.lines().find(|line| line.starts_with(begins));
    let figure = line.and_then(|line| line[begins.len()..].split_whitespace().next());
    figure
        .expect("a figure")
        .parse()
        .expect("what the kernel counts")
}

/// Bytes of memory that this process had at its peak.
pub fn peak_resident() -> u64 {
    number("/proc/self/status", "VmHWM:") << 10
}

/// Lets the peak begin anew from what this process has now.
pub fn forget_peak() {
    fs::write("/proc/self/clear_refs", "5").expect("proc");
}

/// Bytes of memory that this process has.
pub fn resident() -> u64 {
    number("/proc/self/status", "VmRSS:") << 10
}

/// Bytes of pages that this process made the kernel write to a disk, counted when a page becomes dirty.
/// What a file system writes for itself, such as its journal, is not in it.
pub fn written() -> u64 {
    number("/proc/self/io", "write_bytes:")
}

/// Time that this process had on processors, its own and in the kernel.
pub fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::try_from(time).expect("it does not run backwards")
}

/// The machine, as far as a table needs it.
pub fn machine() -> Value {
    let line = |file: &str, begins: &str| {
        let text = fs::read_to_string(file).unwrap_or_default();
        let line = text.lines().find(|line| line.starts_with(begins));
        let value = line.and_then(|line| line.split_once(':'));
        value.map_or_else(String::new, |(_, value)| value.trim().to_owned())
    };
    json!({
        "processor": line("/proc/cpuinfo", "model name"),
        "processors": std::thread::available_parallelism().map_or(0, usize::from),
        "memory": line("/proc/meminfo", "MemTotal"),
        "kernel": fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default().trim(),
        "load": fs::read_to_string("/proc/loadavg").unwrap_or_default().trim(),
    })
}
