//! Damage: exact, told again and again, never passed in silence.

use tierlog_storage::{Damage, Offset, SegmentNo};

use super::kit::{Rig, assert_usual, drain, skipping, small};
use crate::{
    error::Error,
    options::ReadMode,
    read::{From, ReadLimits, Reader, ReaderOptions},
};

async fn corrupt(reader: &mut Reader) -> Damage {
    match reader.next_batch(1000).await {
        Err(Error::Corrupt(damage)) => damage,
        other => panic!("not damage: {other:?}"),
    }
}

/// Ten frames of ten records; frames 3 and 4 are broken.
fn broken(rig: &Rig) -> (u64, u64) {
    let mut writing = rig.begin(5, 0);
    writing.fill(100, 10);
    let segment = writing.sealed();
    writing.break_frame(3);
    writing.break_frame(4);
    rig.put(segment);
    rig.durable(100);
    (writing.frames[3].0, writing.frames[5].0)
}

#[tokio::test]
async fn damage_is_told_with_its_exact_range_on_each_call() {
    for mode in [ReadMode::Pread, ReadMode::Map] {
        let rig = Rig::new(ReadLimits {
            mode,
            ..ReadLimits::default()
        });
        let bytes = broken(&rig);
        let mut reader = rig.reader(From::Earliest, ReaderOptions::default()).await;
        let mut before = Vec::new();
        while before.len() < 30 {
            assert!(reader.next_batch_into(&mut before, 1000).await.unwrap() > 0);
        }
        assert_usual(&before, 0);
        for _ in 0..3 {
            let damage = corrupt(&mut reader).await;
            assert_eq!(
                (damage.stream, damage.segment),
                (rig.stream.id, SegmentNo(5))
            );
            assert_eq!((damage.from, damage.to), (Offset(30), Offset(50)));
            assert_eq!(damage.bytes, bytes);
            assert_eq!(reader.position(), Offset(30));
        }
        reader.seek(Offset(50));
        let after = drain(&mut reader).await;
        assert_usual(&after, 50);
        assert_eq!(after.len(), 50);
    }
}

#[tokio::test]
async fn beginning_within_behind_or_before_damage_gives_the_same_range() {
    let rig = Rig::new(small());
    broken(&rig);
    for within in [30, 39, 40, 49] {
        let mut reader = rig
            .reader(From::Offset(Offset(within)), ReaderOptions::default())
            .await;
        let damage = corrupt(&mut reader).await;
        assert!(
            damage.from <= Offset(within) && damage.to == Offset(50),
            "{damage:?}"
        );
    }
    let mut reader = rig
        .reader(From::Offset(Offset(55)), ReaderOptions::default())
        .await;
    let after = drain(&mut reader).await;
    assert_usual(&after, 55);
    assert_eq!(after.len(), 45);
}

#[tokio::test]
async fn who_skips_damage_gets_all_the_rest_and_the_gaps() {
    let rig = Rig::new(small());
    broken(&rig);
    let mut reader = rig.reader(From::Earliest, skipping()).await;
    let records = drain(&mut reader).await;
    assert_eq!(records.len(), 80);
    assert_usual(&records[..30], 0);
    assert_usual(&records[30..], 50);
    assert_eq!(reader.gaps().len(), 1);
    assert_eq!(
        (reader.gaps()[0].from, reader.gaps()[0].to),
        (Offset(30), Offset(50))
    );
}

#[tokio::test]
async fn damage_up_to_the_end_of_a_closed_segment_ends_where_the_segment_does() {
    let rig = Rig::new(small());
    let mut writing = rig.begin(0, 0);
    writing.fill(30, 10);
    writing.break_frame(2);
    // Recovery gave the lost records their offsets, up to 45, though nothing of the rest is there.
    rig.put(writing.closed_at(45, writing.pos));
    rig.put(rig.begin(1, 45).fill(60, 5).active());
    rig.durable(60);
    let mut reader = rig
        .reader(From::Offset(Offset(20)), ReaderOptions::default())
        .await;
    let damage = corrupt(&mut reader).await;
    assert_eq!((damage.from, damage.to), (Offset(20), Offset(45)));
    let mut skipper = rig.reader(From::Earliest, skipping()).await;
    let records = drain(&mut skipper).await;
    assert_usual(&records[..20], 0);
    assert_usual(&records[20..], 45);
}

#[tokio::test]
async fn a_missing_file_and_missing_segments_are_damage_and_never_an_end() {
    let rig = Rig::new(small());
    for no in 0..4 {
        let segment = rig.begin(no, no * 10).fill(no * 10 + 10, 5).sealed();
        if no != 2 {
            rig.put(segment);
        }
    }
    rig.durable(50);
    rig.ctx
        .disk
        .remove(&rig.layout.segment(rig.stream.id, SegmentNo(1)))
        .unwrap();
    let mut reader = rig
        .reader(From::Offset(Offset(10)), ReaderOptions::default())
        .await;
    let missing = corrupt(&mut reader).await;
    assert_eq!(
        (missing.segment, missing.from, missing.to),
        (SegmentNo(1), Offset(10), Offset(20))
    );
    reader.seek(Offset(25));
    let hole = corrupt(&mut reader).await;
    assert_eq!((hole.from, hole.to), (Offset(20), Offset(30)));
    let mut skipper = rig.reader(From::Earliest, skipping()).await;
    let records = drain(&mut skipper).await;
    assert_usual(&records[..10], 0);
    assert_usual(&records[10..], 30);
    let gaps: Vec<_> = skipper
        .gaps()
        .iter()
        .map(|gap| (gap.from.0, gap.to.0))
        .collect();
    assert_eq!(gaps, [(10, 20), (20, 30), (40, 50)]);
}

#[tokio::test]
async fn a_broken_footer_does_not_hide_whole_frames() {
    let rig = Rig::new(small());
    let mut writing = rig.begin(0, 0);
    writing.fill(500, 10);
    let segment = writing.sealed();
    writing
        .file
        .write_at(&[0xff; 16], writing.pos + 40)
        .unwrap();
    rig.put(segment);
    rig.durable(500);
    for from in [0, 333, 499] {
        let mut reader = rig
            .reader(From::Offset(Offset(from)), ReaderOptions::default())
            .await;
        let records = drain(&mut reader).await;
        assert_eq!(records.len() as u64, 500 - from);
        assert_usual(&records, from);
    }
}

#[tokio::test]
async fn many_broken_frames_are_each_found() {
    let rig = Rig::new(small());
    let mut writing = rig.begin(0, 0);
    writing.fill(300, 3);
    let segment = writing.closed();
    for nth in (1..100).step_by(2) {
        writing.break_frame(nth);
    }
    rig.put(segment);
    rig.durable(300);
    let mut reader = rig.reader(From::Offset(Offset(200)), skipping()).await;
    let records = drain(&mut reader).await;
    let expect: Vec<_> = (200..300).filter(|offset| offset / 3 % 2 == 0).collect();
    assert_eq!(
        records.iter().map(|r| r.offset.0).collect::<Vec<_>>(),
        expect
    );
    let lost: u64 = reader
        .gaps()
        .iter()
        .map(|gap| gap.to.0 - gap.from.0.max(200))
        .sum();
    assert_eq!(lost as usize + expect.len(), 100);
}
