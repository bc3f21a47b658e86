//! Processes of their own: to be killed, and to be measured alone. This program starts itself again, with
//! words that say what is to be done.

use std::{path::Path, process::Command};

use rustix::process::{Signal, getpid, kill_process};
use serde_json::Value;
use tierlog::Level;
use tierlog_benches::{appends, place, records, segments};

use crate::{
    cost,
    logs::{self, Use},
    ours,
};

const WORD: &str = "as-a-child";

fn words() -> Vec<String> {
    std::env::args().skip(1).collect()
}

/// Whether this process was started by [`start`].
pub fn is_one() -> bool {
    words().first().is_some_and(|word| word == WORD)
}

/// Does what it was started for.
pub fn run() {
    let words = words();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[1..] {
        ["killed", name, folder] => killed(name, Path::new(folder)),
        ["cost", name, folder, work, count] => {
            let count = count.parse().expect("a number");
            println!("{}", cost::alone(name, Path::new(folder), work, count));
        }
        _ => panic!("what is to be done? {words:?}"),
    }
}

fn start(words: &[&str]) -> std::process::Output {
    let own = std::env::current_exe().expect("a program");
    let child = Command::new(own).arg(WORD).args(words).output();
    child.expect("a process")
}

/// Opens a log in a process of its own, appends a record to it, and kills the process.
pub fn kill(name: &str, folder: &Path) {
    let ended = start(&["killed", name, &folder.to_string_lossy()]);
    let signal = std::os::unix::process::ExitStatusExt::signal(&ended.status);
    let error = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(signal, Some(Signal::KILL.as_raw()), "{name}: {error}");
}

/// The name of a log of ours with many segments.
pub const SEGMENTS: &str = "tierlog, many segments";

/// The name of a log of ours.
pub const OURS: &str = "tierlog";

fn killed(name: &str, folder: &Path) {
    let mut record = records::filling(100);
    records::stamp(&mut record, 0, 0);
    let die = || kill_process(getpid(), Signal::KILL).expect("killed");
    if name == OURS || name == SEGMENTS {
        place::runtime().block_on(async {
            let settings = match name {
                SEGMENTS => segments::settings(folder),
                _ => ours::settings(folder, Use::Again),
            };
            let (_log, stream) = appends::open(settings).await;
            stream
                .append_at(record.clone(), Level::Written)
                .await
                .expect("written");
            stream.flush().await.expect("durable");
            die();
        });
    }
    let kind = logs::named(name);
    let log = (kind.open)(folder, Use::Again, 1);
    if kind.durable.is_some() {
        log.durable(0, &record);
    } else {
        let records = records::Records::new(100, 1, 1);
        log.append(0, &records, 0..1, true);
        log.hand_over(1);
    }
    die();
}

/// What a process of its own prints about what it cost.
pub fn cost(name: &str, folder: &Path, work: &str, count: usize) -> Value {
    let folder = folder.to_string_lossy();
    let ended = start(&["cost", name, &folder, work, &count.to_string()]);
    let error = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{name}: {error}");
    let text = String::from_utf8_lossy(&ended.stdout);
    let last = text.lines().last().expect("a line");
    serde_json::from_str(last).expect("as it was printed")
}
