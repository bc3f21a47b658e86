//! What stands in for the loops of the writer, the flusher and the coordinator: it calls what they call, in
//! their order. The lane, the queue of frames, the marks, the permits, the tail and the list of segments are
//! those of the log.

use std::{collections::VecDeque, pin::pin, sync::Arc};

use futures::future::{Either, select};
use shuttle::{future::block_on, rand::Rng, thread, thread::JoinHandle};
use tierlog_actors::{
    Error,
    protocol::writer::{Append, LaneMsg},
    stream::{
        budget::UnsyncedPermit,
        marks::Level,
        segments::Segment,
        shared::{NextLife, StreamShared},
        ticket::Life,
    },
    writer::Queue,
};
use tierlog_storage::{
    Offset,
    segment::{FrameSeal, Latched},
};

use crate::disk::{Active, Place};

/// Bytes at which a frame is full.
const FRAME: usize = 96;
/// Frames at which a segment is.
const SEGMENT: usize = 2;

/// What the flusher is asked for.
struct Flush {
    file: Arc<Latched>,
    end: u64,
    /// Shown once the sync is done.
    sealed: Option<Segment>,
}

/// The writer of a stream.
struct Writer {
    stream: Arc<StreamShared>,
    place: Place,
    life: Arc<Life>,
    queue: Queue,
    /// The offset of the next record that comes off the lane.
    taken: u64,
    active: Active,
    held: VecDeque<(u64, UnsyncedPermit)>,
    /// Times that what is queued finds no room.
    full: usize,
    flush: flume::Sender<Flush>,
    flushed: flume::Receiver<u64>,
}

/// Starts writer and flusher; the first ends when `total` records are durable, and the second behind it.
pub(crate) fn start(
    stream: &Arc<StreamShared>,
    place: &Place,
    total: u64,
    full: usize,
) -> [JoinHandle<()>; 2] {
    let (flush, wanted) = flume::bounded(64);
    let (done, flushed) = flume::bounded(64);
    let of_flusher = Arc::clone(stream);
    let flusher = thread::spawn(move || block_on(flusher(&of_flusher, &wanted, &done)));
    let writer = Writer {
        stream: Arc::clone(stream),
        place: place.clone(),
        life: stream.life(),
        queue: Queue::starting_at(0, FRAME),
        taken: 0,
        active: place.begin(0, 0),
        held: VecDeque::new(),
        full,
        flush,
        flushed,
    };
    let writer = thread::spawn(move || block_on(writer.run(total)));
    [writer, flusher]
}

async fn flusher(
    stream: &StreamShared,
    wanted: &flume::Receiver<Flush>,
    done: &flume::Sender<u64>,
) {
    while let Ok(Flush { file, end, sealed }) = wanted.recv_async().await {
        thread::yield_now();
        file.sync().expect("a sync");
        if let Some(sealed) = sealed {
            stream.segments.put(Arc::new(sealed));
            if shuttle::rand::thread_rng().gen_bool(0.5) {
                stream.tail.clear();
            }
        }
        let _writer_has_ended = done.try_send(end);
    }
}

impl Writer {
    async fn run(mut self, total: u64) {
        let lane = self.stream.lane();
        while self.life.marks.get(Level::Durable) < total {
            let came = {
                let (append, flushed) = (pin!(lane.recv_async()), pin!(self.flushed.recv_async()));
                match select(append, flushed).await {
                    Either::Left((message, _)) => Ok(message.expect("the stream has the lane")),
                    Either::Right((end, _)) => Err(end.expect("the flusher is there")),
                }
            };
            match came {
                Ok(message) => {
                    self.take(message);
                    self.fill();
                    self.write();
                }
                Err(end) => self.durable_to(end),
            }
        }
    }

    /// From the lane into the queue, as much as there is.
    fn fill(&mut self) {
        let lane = self.stream.lane();
        while let Ok(message) = lane.try_recv() {
            self.take(message);
        }
        self.stream.bell.ring();
    }

    fn take(&mut self, message: LaneMsg) {
        let LaneMsg::Append(append) = message else {
            panic!("nobody gave a command");
        };
        assert_eq!(append.first, self.taken, "the lane keeps the order");
        self.taken += u64::from(append.what.count());
        self.queue.push(append, self.taken);
    }

    fn write(&mut self) {
        if self.full > 0 && shuttle::rand::thread_rng().gen_bool(0.2) {
            self.full -= 1;
            return self.refuse_for_space();
        }
        while let Some(queued) = self.queue.pop() {
            if self.active.frames == SEGMENT {
                self.roll(queued.first);
            }
            let frame = queued.builder.finish(&FrameSeal {
                base: Offset(queued.first),
                durable: Offset(self.life.marks.get(Level::Durable)),
                salt: self.active.segment.salt,
            });
            self.active.write(&frame);
            let (active, held, stream) = (&self.active, &mut self.held, &self.stream);
            stream.show_written(&self.life.marks, frame.end(), || {
                stream.tail.push(&frame);
                active.show(stream, frame.end());
                held.push_back((frame.end().get(), queued.permit.written()));
            });
        }
        self.ask(None);
    }

    /// As the writer does where the disk is full: what is queued is handed back.
    fn refuse_for_space(&mut self) {
        let from = self.queue.front().map_or(self.taken, |queued| queued.first);
        let taken: Vec<Append> = self.queue.give_up();
        let next = NextLife::GoOn { blocked: None };
        self.stream
            .fail_queued(from, vec![(from, Error::StorageFull)], taken, next);
        self.life = self.stream.life();
        self.taken = from;
    }

    fn roll(&mut self, base: u64) {
        let sealed = self.active.seal();
        self.ask(Some(sealed));
        self.active = self.place.begin(self.active.segment.no.get() + 1, base);
    }

    fn ask(&self, sealed: Option<Segment>) {
        let flush = Flush {
            file: Arc::clone(&self.active.file),
            end: self.life.marks.get(Level::Written),
            sealed,
        };
        self.flush.try_send(flush).expect("room for a request");
    }

    fn durable_to(&mut self, end: u64) {
        while self.held.front().is_some_and(|(of, _)| *of <= end) {
            self.held.pop_front();
        }
        if end > self.life.marks.get(Level::Durable) {
            self.life.marks.advance_durable(end);
            self.stream.publish();
        }
    }
}
