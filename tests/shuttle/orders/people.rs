//! Those who append and those who read.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex},
};

use shuttle::{future::block_on, rand::Rng, thread, thread::JoinHandle};
use tierlog_actors::{
    Error,
    read::{From, Reader, ReaderOptions},
    stream::{
        marks::Level,
        shared::{Refusal, StreamShared},
        ticket::Ticket,
    },
};
use tierlog_storage::segment::NewRecord;

use crate::disk::Place;

/// What was acked, by offset. No thread is switched while it is locked.
pub(crate) type Acked = Arc<Mutex<BTreeMap<u64, Vec<u8>>>>;

/// Appends so many records; what is handed back is appended again.
pub(crate) fn appender(
    stream: &Arc<StreamShared>,
    who: u8,
    count: u8,
    acked: &Acked,
) -> JoinHandle<()> {
    let (stream, acked) = (Arc::clone(stream), Arc::clone(acked));
    thread::spawn(move || {
        let mut open = Vec::new();
        for n in 0..count {
            let payload = vec![who, n];
            let ticket = submit(&stream, NewRecord::new(payload.clone()));
            if shuttle::rand::thread_rng().gen_bool(0.5) {
                settle(&stream, ticket, payload, &acked);
            } else {
                open.push((ticket, payload));
            }
        }
        for (ticket, payload) in open {
            settle(&stream, ticket, payload, &acked);
        }
    })
}

fn submit(stream: &StreamShared, record: NewRecord) -> Ticket {
    let mut record = record;
    loop {
        match stream.submit_one(record) {
            Ok(ticket) => return ticket,
            Err((Refusal::WouldBlock(kind), back)) => {
                block_on(stream.ready(kind, back.encoded_len_max()));
                record = back;
            }
            Err((refusal, _)) => panic!("{refusal:?}"),
        }
    }
}

fn settle(stream: &StreamShared, ticket: Ticket, payload: Vec<u8>, acked: &Acked) {
    let mut ticket = ticket;
    loop {
        match block_on(ticket) {
            Ok(ack) => {
                let durable = stream.life().marks.get(Level::Durable);
                assert!(ack.offset.get() < durable, "acked early");
                let before = acked.lock().unwrap().insert(ack.offset.get(), payload);
                assert_eq!(before, None, "{} twice", ack.offset);
                return;
            }
            Err(failed) => {
                assert!(matches!(failed.error, Error::StorageFull), "{failed}");
                let back: Vec<_> = failed.records.into_iter().collect();
                let [record] = &back[..] else {
                    panic!("it comes back: {back:?}");
                };
                assert_eq!(record.payload, payload);
                ticket = submit(stream, record.clone());
            }
        }
    }
}

/// Reads `total` records, as they come.
pub(crate) fn reader(
    stream: &Arc<StreamShared>,
    place: &Place,
    level: Level,
    total: usize,
) -> JoinHandle<Vec<Vec<u8>>> {
    let (stream, ctx) = (Arc::clone(stream), place.reading());
    thread::spawn(move || {
        let options = ReaderOptions {
            follow: true,
            level,
            ..ReaderOptions::default()
        };
        let opens = Reader::open(ctx, stream, From::Earliest, options);
        let mut reader = block_on(opens).expect("it is there");
        let mut all = Vec::new();
        while all.len() < total {
            for record in block_on(reader.next_batch(2)).expect("nothing is damaged") {
                assert_eq!(record.offset.get(), all.len() as u64, "each once, in order");
                all.push(record.payload.to_vec());
            }
        }
        assert!(reader.gaps().is_empty());
        all
    })
}
