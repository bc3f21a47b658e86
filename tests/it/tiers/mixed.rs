//! One cursor over all of it: readers that follow while segments are sealed, compressed, dropped, made
//! again and trimmed under them see every offset once, in order, or that it was trimmed.

use tierlog::{Error, From, Offset, Stream, testing::storage::disk::sim::SimDisk};

use super::{files, long, rig};
use crate::{
    faults::rig::one_stream,
    support::{close, texts, within},
};

/// Follows from the start; goes on behind what was trimmed. Gives how many records it saw.
async fn follow(stream: Stream, until: u64) -> u64 {
    let mut reader = within(stream.reader(From::Earliest).follow().into_future())
        .await
        .expect("a reader");
    let mut seen = 0;
    while reader.position() < Offset(until) {
        let position = reader.position();
        match within(reader.next_batch(17)).await {
            Ok(batch) => {
                let ids = position.get()..position.get() + batch.len() as u64;
                let expected: Vec<_> = ids.map(long).collect();
                assert!(texts(&batch) == expected, "from {position}");
                seen += batch.len() as u64;
            }
            Err(Error::Trimmed { asked, start }) => {
                assert_eq!(asked, position);
                assert!(start > position);
                reader.seek(start);
            }
            Err(error) => panic!("at {position}: {error}"),
        }
    }
    seen
}

/// Reads from the start again and again, so that segments are wanted back.
async fn scan(stream: Stream, until: u64) {
    while stream.watermarks().durable < Offset(until) {
        let start = stream.watermarks().start;
        let Ok(mut reader) = within(stream.reader(From::Offset(start)).into_future()).await else {
            continue;
        };
        for _ in 0..20 {
            let position = reader.position();
            match within(reader.next_batch(40)).await {
                Ok(batch) if batch.is_empty() => break,
                Ok(batch) => {
                    let ids = position.get()..position.get() + batch.len() as u64;
                    let expected: Vec<_> = ids.map(long).collect();
                    assert!(texts(&batch) == expected, "from {position}");
                }
                Err(Error::Trimmed { .. }) => break,
                Err(error) => panic!("at {position}: {error}"),
            }
        }
        tokio::task::yield_now().await;
    }
}

#[test]
fn readers_see_every_offset_once_whatever_moves_under_them() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        for seed in 0..6 {
            fastrand::seed(seed);
            let disk = SimDisk::new();
            let hot = 200 + 40 * fastrand::u64(..6);
            let rig = rig(&disk)
                .with("hot_budget", &format!("{hot}KiB"))
                .with("compression_workers", ["1", "3"][fastrand::usize(..2)])
                .with("tail_cache", ["0B", "64KiB"][fastrand::usize(..2)])
                .with("read_cache", ["0B", "128KiB"][fastrand::usize(..2)]);
            let (log, stream) = one_stream(&rig).await;
            let count = 500;
            let followers: Vec<_> = (0..3)
                .map(|_| tokio::spawn(follow(stream.clone(), count)))
                .collect();
            let scanners: Vec<_> = (0..2)
                .map(|_| tokio::spawn(scan(stream.clone(), count)))
                .collect();
            let trims = seed % 2 == 1;
            for id in 0..count {
                within(stream.append(long(id))).await.expect("an ack");
                match fastrand::u32(..60) {
                    0 => drop(within(stream.seal()).await.expect("sealed")),
                    1 if trims => {
                        let start = stream.watermarks().start;
                        let before = Offset(start.get() + fastrand::u64(..=(id - start.get()) / 2));
                        within(stream.trim(before)).await.expect("trimmed");
                    }
                    _ => {}
                }
            }
            for follower in followers {
                let seen = within(follower).await.expect("no panic");
                assert!(trims || seen == count, "{seen}");
            }
            for scanner in scanners {
                within(scanner).await.expect("no panic");
            }
            assert!(
                trims || !files(&disk, &stream, "tlz").is_empty(),
                "there were moves"
            );
            close(log).await;
        }
    });
}
