//! Damage in the midst of a stream: where a reader stops, what it tells, and what lies around it.

use tierlog::{
    Error, ErrorKind, From, NewRecord, Offset, ReadOnly, Settings,
    testing::storage::segment::FrameHead,
};

use crate::{
    folder::{files, patch},
    support::{close, open, small, within},
    track::text,
};

const FRAMES: u64 = 12;

/// A log with a sealed segment of twelve frames, one record each, and an open one of three.
async fn make(settings: &Settings) {
    let log = open(settings).await;
    let stream = log.log().stream("s").await.expect("a stream");
    for n in 0..FRAMES + 3 {
        within(stream.append(format!("record {n}")))
            .await
            .expect("an ack");
        if n == FRAMES - 1 {
            within(stream.seal()).await.expect("sealed");
        }
    }
    close(log).await;
}

/// Where each frame of a segment begins and ends.
fn frames(bytes: &[u8]) -> Vec<(u64, u64)> {
    let mut found = Vec::new();
    let mut pos = 128;
    while let Some(head) = FrameHead::parse(&bytes[pos..]) {
        let end = pos + head.total_len();
        found.push((pos as u64, end as u64));
        pos = end;
    }
    found
}

#[tokio::test]
async fn a_reader_stops_at_damage_with_its_exact_range_and_goes_on_behind_it_when_told_to() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    let segment = files(&settings.data, ".tls").remove(0);
    let places = frames(&std::fs::read(&segment).expect("a file"));
    assert_eq!(places.len() as u64, FRAMES);
    // The first, some in the middle that are neighbours, and the last.
    let bad = [0, 4, 5, 11_u64];
    for at in bad {
        let (start, _) = places[at as usize];
        patch(&segment, |bytes| bytes[start as usize + 50] ^= 1);
    }
    let ranges = [(0, 1), (4, 6), (11, 12_u64)];
    let view = within(ReadOnly::attach(&settings.data))
        .await
        .expect("attached");
    let stream = view.stream("s").expect("there");
    for (from, to) in ranges {
        let mut reader = stream
            .reader(From::Offset(Offset(from)))
            .await
            .expect("a reader");
        let error = within(reader.try_next()).await.expect_err("it is damaged");
        let Error::Corrupt(damage) = &error else {
            panic!("{error}");
        };
        assert_eq!(
            (damage.from, damage.to),
            (Offset(from), Offset(to)),
            "{damage}"
        );
        let bytes = (places[from as usize].0, places[to as usize - 1].1);
        assert_eq!(damage.bytes, bytes, "{damage}");
        assert_eq!(
            (error.kind(), damage.stream),
            (ErrorKind::Restore, stream.id())
        );
        let again = within(reader.try_next())
            .await
            .expect_err("it stays damaged");
        assert_eq!(again.to_string(), error.to_string());
    }
    read_around(&view, &ranges).await;
    let report = within(view.verify(None, |_, _| ()))
        .await
        .expect("verified");
    let found: Vec<_> = report.damage.iter().filter(|d| d.from < d.to).collect();
    let listed: Vec<_> = found.iter().map(|d| (d.from.get(), d.to.get())).collect();
    assert_eq!(listed, ranges, "{:?}", report.damage);
    assert_eq!(report.records, FRAMES + 3 - 4);

    // The owner's readers are told the same, and the stream goes on.
    let log = open(&settings).await;
    let stream = log.log().existing("s").await.expect("it opens");
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    assert!(matches!(
        within(reader.try_next()).await,
        Err(Error::Corrupt(_))
    ));
    let ack = within(stream.append("one more")).await.expect("an ack");
    assert_eq!(ack.offset, Offset(FRAMES + 3));
    close(log).await;
}

/// Everything before, between and behind the damage.
async fn read_around(view: &ReadOnly, ranges: &[(u64, u64)]) {
    let stream = view.stream("s").expect("there");
    let reader = stream.reader(From::Earliest).skip_damage();
    let mut reader = within(async { reader.await }).await.expect("a reader");
    let mut found = Vec::new();
    while let Some(record) = within(reader.try_next()).await.expect("no error") {
        assert_eq!(text(&record), format!("record {}", record.offset));
        found.push(record.offset.get());
    }
    let lost = |n: &u64| ranges.iter().any(|(from, to)| (from..to).contains(&n));
    let expected: Vec<_> = (0..FRAMES + 3).filter(|n| !lost(n)).collect();
    assert_eq!(found, expected);
    let gaps = reader
        .gaps()
        .iter()
        .map(|gap| (gap.from.get(), gap.to.get()));
    assert_eq!(gaps.collect::<Vec<_>>(), ranges);
}

#[tokio::test]
async fn a_record_before_the_damage_is_read_and_the_reader_stays_where_it_stopped() {
    let dir = tempfile::tempdir().expect("a folder");
    let settings = small(dir.path());
    make(&settings).await;
    let segment = files(&settings.data, ".tls").remove(0);
    let (start, _) = frames(&std::fs::read(&segment).expect("a file"))[7];
    patch(&segment, |bytes| bytes[start as usize + 1] ^= 0x40);
    let log = open(&settings).await;
    let stream = log.log().existing("s").await.expect("it opens");
    let mut reader = stream.reader(From::Earliest).await.expect("a reader");
    for n in 0..7 {
        let record = within(reader.try_next())
            .await
            .expect("no error")
            .expect("one");
        assert_eq!(record.offset, Offset(n));
    }
    for _ in 0..3 {
        let error = within(reader.try_next()).await.expect_err("it is damaged");
        assert!(
            matches!(&error, Error::Corrupt(d) if (d.from, d.to) == (Offset(7), Offset(8))),
            "{error}"
        );
        assert_eq!(reader.position(), Offset(7));
    }
    let mut behind = stream
        .reader(From::Offset(Offset(8)))
        .await
        .expect("a reader");
    let record = within(behind.try_next())
        .await
        .expect("no error")
        .expect("one");
    assert_eq!(text(&record), "record 8");
    close(log).await;
}

/// It used to be `Unavailable`, to be tried again, wherever the damage lay.
#[tokio::test]
async fn a_truncation_keeps_damage_before_it_takes_what_begins_there_and_is_refused_within() {
    for (cut, kept) in [(2, 2), (3, 3), (4, 12), (5, 12), (6, 6), (7, 7_u64)] {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = small(dir.path());
        let log = open(&settings).await;
        let stream = log.log().stream("s").await.expect("a stream");
        // Frames of three records each; the second one is damaged.
        for first in [0, 3, 6, 9] {
            let batch = (first..first + 3).map(|n| NewRecord::from(format!("record {n}")));
            let batch = stream.append_batch(batch.collect());
            within(batch).await.expect("an ack");
        }
        within(stream.seal()).await.expect("sealed");
        close(log).await;
        let segment = files(&settings.data, ".tls").remove(0);
        let places = frames(&std::fs::read(&segment).expect("a file"));
        let (from, to) = places[1];
        patch(&segment, |bytes| bytes[from as usize + 60] ^= 1);

        let log = open(&settings).await;
        let stream = log.log().existing("s").await.expect("a stream");
        let outcome = within(stream.truncate_after(Some(Offset(cut - 1)))).await;
        if (4..6).contains(&cut) {
            let error = outcome.expect_err("nobody knows what to keep");
            assert_eq!(error.kind(), ErrorKind::Restore, "{error}");
            let Error::Corrupt(damage) = &error else {
                panic!("{error:?}");
            };
            assert_eq!((damage.from, damage.to), (Offset(3), Offset(6)));
            assert_eq!(damage.bytes, (from, to));
            assert_eq!(stream.watermarks().next, Offset(12), "nothing has happened");
        } else {
            assert_eq!(outcome.expect("cut"), Offset(kept));
        }
        within(stream.append("behind")).await.expect("it goes on");
        let mut reader = stream
            .reader(From::Earliest)
            .skip_damage()
            .await
            .expect("a reader");
        let mut read = Vec::new();
        while let Some(record) = within(reader.try_next()).await.expect("a record") {
            read.push(record.offset.get());
        }
        let end = stream.watermarks().next.get();
        let there = (0..end).filter(|n| !(3..6.min(end - 1)).contains(n));
        assert_eq!(read, there.collect::<Vec<_>>(), "cut at {cut}");
        close(log).await;
    }
}
