//! Whether this process stood still for a while: stopped by a signal, or with the whole machine. When it
//! goes on, all deadlines in it have passed at once, and a story of that time says nothing about the log.

use std::{
    sync::{
        OnceLock,
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// No thread that only looks at the clock gets no processor for so long, however busy the machine is.
const LONG: Duration = Duration::from_secs(10);

/// How often it stood still since this was first asked.
pub fn so_far() -> u64 {
    static WATCH: OnceLock<SyncSender<SyncSender<u64>>> = OnceLock::new();
    let watch = WATCH.get_or_init(|| {
        let (asks, asked) = sync_channel(16);
        thread::spawn(move || look(&asked));
        asks
    });
    let (answers, answer) = sync_channel(1);
    watch.send(answers).expect("the watch goes on");
    answer.recv().expect("an answer")
}

fn look(asked: &Receiver<SyncSender<u64>>) {
    let mut seen = 0;
    loop {
        let before = Instant::now();
        let ask = asked.recv_timeout(LOOK);
        seen += u64::from(before.elapsed() > LONG);
        match ask {
            Ok(answers) => drop(answers.send(seen)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
