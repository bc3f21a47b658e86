//! Who reads beside the owner, and hears late of what moves.

use tierlog::{Error, From, Offset, ReadOnly, testing::storage::disk::sim::SimDisk};

use super::{append, files, long, rig};
use crate::{
    faults::rig::{eventually, on_each_runtime, one_stream},
    support::{close, within},
};

/// A view had not heard that a segment was cut, compressed anew and dropped, and called it damage that the
/// records behind the cut were not where they had been.
#[test]
fn a_view_that_has_not_heard_of_a_cut_does_not_call_it_damage() {
    on_each_runtime(|_| async {
        let disk = SimDisk::new();
        let rig = rig(&disk);
        let (log, stream) = one_stream(&rig).await;
        append(&stream, 0..100).await;
        within(stream.seal()).await.expect("sealed");
        let attach = ReadOnly::attach_injected(rig.settings.clone(), rig.injected());
        let view = within(attach).await.expect("attached");
        let cut = stream.truncate_after(Some(Offset(49)));
        within(cut).await.expect("cut");
        append(&stream, 50..300).await;
        eventually("old segments are compressed alone", || {
            files(&disk, &stream, "tls").len() <= 4
        })
        .await;
        let seen = view.stream("s").expect("it is there");
        for from in 0..100 {
            let reader = seen.reader(From::Offset(Offset(from))).into_future();
            let mut reader = match within(reader).await {
                Ok(reader) => reader,
                // It has heard of it since.
                Err(Error::InvalidInput { .. }) => break,
                Err(error) => panic!("{error}"),
            };
            let mut id = from;
            loop {
                match within(reader.next_batch(10)).await {
                    Ok(records) if records.is_empty() => break,
                    Ok(records) => {
                        for record in records {
                            assert_eq!(record.payload, long(id));
                            id += 1;
                        }
                    }
                    Err(Error::Truncated { end, .. }) => {
                        assert_eq!(end, Offset(50));
                        break;
                    }
                    Err(error) => panic!("from {from}: {error}"),
                }
            }
        }
        close(log).await;
    });
}
