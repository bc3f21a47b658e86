//! The list of segments, as readers find it while the writer goes on and segments are moved.

use std::sync::Arc;

use loom::thread;
use tierlog_actors::stream::{
    marks::Level,
    segments::{Copies, Segment, SegmentKind, Segments},
};
use tierlog_storage::{Offset, SegmentNo, manifest::SegmentStatus};

use crate::rig::{Room, every_order, frame, stream};

fn segment(no: u64, base: u64, end: u64) -> Segment {
    let status = SegmentStatus::Closed {
        base: Offset(base),
        end: Offset(end),
        end_byte: end * 10,
    };
    Segment::ended(SegmentNo(no), 0, &status).expect("it has ended")
}

/// Who finds that a segment has a record finds its bytes as well: the byte rises first.
#[test]
fn who_sees_the_end_of_a_segment_sees_its_last_byte() {
    every_order(3, || {
        let segment = Arc::new(Segment::growing(SegmentNo(1), 0, Offset(0), Offset(0), 0));
        let writer = {
            let segment = Arc::clone(&segment);
            thread::spawn(move || {
                segment.advance(Offset(1), 10);
                segment.advance(Offset(2), 20);
            })
        };
        let end = segment.end();
        let bytes = segment.end_byte();
        assert!(bytes >= end.get() * 10, "{end} without its bytes: {bytes}");
        writer.join().unwrap();
    });
}

/// A segment is moved to another tier, and another one trimmed, while a reader looks for a record of the
/// first: it is there all the time.
#[test]
fn a_segment_that_is_moved_is_found_all_the_time() {
    every_order(3, || {
        let segments = Arc::new(Segments::default());
        segments.put(Arc::new(segment(1, 0, 2)));
        segments.put(Arc::new(segment(2, 2, 4)));
        let mover = {
            let segments = Arc::clone(&segments);
            thread::spawn(move || {
                segments.update(|map| {
                    let there = map.get(&2).expect("it is there");
                    let moved = there.moved(SegmentKind::Closed, Copies::HOT);
                    map.insert(2, Arc::new(moved));
                });
            })
        };
        let trims = {
            let segments = Arc::clone(&segments);
            thread::spawn(move || segments.remove(&segments.ended_below(Offset(2))))
        };
        let found = segments.at(Offset(3)).expect("it is there");
        assert_eq!((found.base, found.end()), (Offset(2), Offset(4)));
        mover.join().unwrap();
        trims.join().unwrap();
        assert_eq!(segments.len(), 1);
    });
}

/// A mark sends readers to where frames are: whoever sees it finds them in the tail cache or in a segment,
/// also while the tail lets go of them.
#[test]
fn who_sees_a_mark_finds_the_frames_below_it() {
    every_order(3, || {
        let stream = stream(Room {
            tail: frame(0, 1).bytes.len(),
            ..Room::default()
        });
        let growing = Segment::growing(SegmentNo(1), 0, Offset(0), Offset(0), 0);
        let growing = Arc::new(growing);
        let writer = {
            let stream = Arc::clone(&stream);
            thread::spawn(move || {
                let marks = &stream.life().marks;
                for base in 0..2 {
                    let frame = frame(base, 1);
                    stream.show_written(marks, frame.end(), || {
                        stream.tail.push(&frame);
                        growing.advance(frame.end(), frame.end().get() * 10);
                        stream.segments.put(Arc::clone(&growing));
                    });
                }
            })
        };
        let written = stream.life().marks.get(Level::Written);
        for offset in (0..written).map(Offset) {
            let in_tail = stream.tail.find(offset).is_some();
            let held = stream.segments.at(offset);
            let in_segment = held.is_some_and(|held| held.base <= offset && held.end() > offset);
            assert!(
                in_tail || in_segment,
                "{offset} is nowhere, below {written}"
            );
            assert!(in_segment, "{offset} may be let go by the tail");
        }
        writer.join().unwrap();
    });
}
