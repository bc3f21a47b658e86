//! What was acked and what was seen, over all rounds.

use std::{
    collections::{BTreeMap, HashMap},
    fmt,
};

use futures::StreamExt;
use tierlog::{From, Offset, ReadOnly, Reader, Supervisor};

use super::child::{STREAMS, payload};
use crate::support::within;

/// What the parent knows.
#[derive(Debug, Default)]
pub struct Ledger {
    streams: HashMap<&'static str, Known>,
}

#[derive(Debug, Default)]
struct Known {
    /// The payload of each acked record, by offset.
    acked: BTreeMap<u64, String>,
    /// What a reader has seen, by offset: it never disappears.
    seen: Vec<String>,
    /// What of it was written by the parent.
    own: u64,
}

impl Ledger {
    /// A line of the child; true when it was an ack.
    pub fn take_ack(&mut self, line: &str) -> bool {
        let words: Vec<&str> = line.split(' ').collect();
        let ["acked", name, offset, count, task, first, round] = words[..] else {
            return false;
        };
        let number = |text: &str| text.parse::<u64>().expect("a number");
        let name = STREAMS.into_iter().find(|known| *known == name);
        let known = self.streams.entry(name.expect("a stream")).or_default();
        let task = usize::try_from(number(task)).expect("a task");
        for at in 0..number(count) {
            let record = payload(number(round), task, number(first) + at);
            let before = known.acked.insert(number(offset) + at, record);
            assert_eq!(before, None, "offset {offset} of {line} was acked twice");
        }
        true
    }

    /// How many records were acked.
    pub fn acked(&self) -> usize {
        self.streams.values().map(|known| known.acked.len()).sum()
    }

    /// Reads what a read-only process can see after a kill.
    pub async fn look(&mut self, view: &ReadOnly, round: u64) {
        for (name, known) in &mut self.streams {
            let Ok(stream) = view.stream(name) else {
                assert!(known.acked.is_empty(), "round {round}: {name} is gone");
                continue;
            };
            let reader = stream.reader(From::Earliest).await.expect("a reader");
            known.check(name, reader, round).await;
            let durable = stream.watermarks().durable.get();
            assert_eq!(durable, known.seen.len() as u64, "round {round}: {name}");
        }
    }

    /// Reads what the next owner sees, and appends a record.
    pub async fn open(&mut self, log: &Supervisor, round: u64) {
        for name in STREAMS {
            let stream = within(log.log().stream(name)).await.expect("a stream");
            let known = self.streams.entry(name).or_default();
            let reader = stream.reader(From::Earliest).await.expect("a reader");
            known.check(name, reader, round).await;
            let record = format!("parent {round}");
            let ack = within(stream.append(record.clone())).await.expect("an ack");
            assert_eq!(ack.offset, Offset(known.seen.len() as u64));
            known.acked.insert(ack.offset.get(), record);
            known.own += 1;
        }
    }
}

impl Known {
    /// Reads it all: dense, nothing lost of what was acked or seen, and of each task a prefix of
    /// what it submitted in each round, each record once.
    async fn check(&mut self, name: &str, mut reader: Reader, round: u64) {
        let mut found = Vec::new();
        let mut next: HashMap<(u64, usize), u64> = HashMap::new();
        while let Some(record) = within(reader.next()).await {
            let record = record.unwrap_or_else(|error| panic!("round {round}: {name}: {error}"));
            assert_eq!(
                record.offset,
                Offset(found.len() as u64),
                "round {round}: {name}"
            );
            let text = String::from_utf8(record.payload.to_vec()).expect("text");
            if !text.starts_with("parent ") {
                let mut words = text.split(' ').map(|word| word.parse::<u64>());
                let mut number = || words.next().expect("a word").expect("a number");
                let (of, task, n) = (number(), number() as usize, number());
                let turn = next.entry((of, task)).or_default();
                assert_eq!(
                    n, *turn,
                    "round {round}: {name} at {}: task {task} of round {of}",
                    record.offset
                );
                *turn += 1;
                assert_eq!(text, payload(of, task, n), "round {round}: {name}");
            }
            found.push(text);
        }
        assert!(
            found.starts_with(&self.seen),
            "round {round}: {name}: what was seen has changed"
        );
        for (offset, record) in &self.acked {
            let there = usize::try_from(*offset).ok().and_then(|at| found.get(at));
            assert_eq!(
                there,
                Some(record),
                "round {round}: {name}: acked at {offset}"
            );
        }
        self.seen = found;
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, known) in &self.streams {
            let (acked, seen, own) = (known.acked.len(), known.seen.len(), known.own);
            writeln!(
                f,
                "{name}: {acked} acked, {seen} there, {own} by the parent"
            )?;
        }
        Ok(())
    }
}
