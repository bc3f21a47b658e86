//! An operator of opendal that the app brings along, against a real server: what `tests/servers/run` starts,
//! or any bucket that the environment names.

use std::{collections::BTreeMap, io::Write};

use tierlog::{
    Error, From, Kind, Level, Offset, ReadOnly, Stream, Supervisor,
    opendal::{self, Operator, services},
};

use super::injected::{open, parts, settings};
use crate::{
    faults::rig::on_each_runtime,
    support::{close, texts, within},
    tiers::{holds, long},
};

const VARIABLE: &str = "TIERLOG_TEST_S3_URI";

/// What the variable names; it says so where it names nothing.
fn named() -> Option<String> {
    let uri = std::env::var(VARIABLE).ok();
    if uri.is_none() {
        let name = std::thread::current().name().unwrap_or("a test").to_owned();
        writeln!(
            std::io::stderr(),
            "skipped: {name}: {VARIABLE} names no server"
        )
        .expect("somebody listens");
    }
    uri
}

/// An operator made by hand, under a prefix of its own.
fn operator(uri: &str) -> Operator {
    opendal::install_default();
    let (place, options) = uri.split_once('?').unwrap_or((uri, ""));
    let place = place.strip_prefix("s3://").expect("a bucket of S3");
    let (bucket, path) = place.split_once('/').unwrap_or((place, ""));
    let options: BTreeMap<_, _> = options
        .split('&')
        .filter_map(|option| option.split_once('='))
        .collect();
    let root = format!("/{}/{:016x}", path.trim_matches('/'), fastrand::u64(..));
    let mut builder = services::S3::default().bucket(bucket).root(&root);
    for (name, set) in [
        ("endpoint", services::S3::endpoint as fn(_, _) -> _),
        ("region", services::S3::region),
        ("access_key_id", services::S3::access_key_id),
        ("secret_access_key", services::S3::secret_access_key),
    ] {
        if let Some(value) = options.get(name) {
            builder = set(builder, value);
        }
    }
    Operator::new(builder).expect("an operator")
}

/// Appends, and again what found no room: a server is slower than an app.
async fn fill(stream: &Stream, ids: std::ops::Range<u64>) {
    for id in ids {
        while let Err(failed) = within(stream.append(long(id))).await {
            assert!(matches!(failed.error, Error::StorageFull), "{failed}");
            within(stream.ready(Kind::Upload)).await;
        }
    }
}

async fn archive(stream: &Stream, id: u64) {
    let ack = within(stream.append_at(long(id), Level::Archived)).await;
    assert_eq!(ack.expect("archived").offset, Offset(id));
}

/// Records that are read from objects alone.
async fn is_far(stream: &Stream) {
    within(async {
        loop {
            let segments = stream.segments().await.expect("segments");
            if segments.iter().any(|segment| segment.tier == 2) {
                return;
            }
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[test]
fn an_injected_operator_archives_in_a_real_server_reads_back_and_restores() {
    let Some(uri) = named() else { return };
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let (old_dir, new_dir) = (dir.path().join("old"), dir.path().join("new"));
        let operator = operator(&uri);
        let (old, stream) = open(&old_dir, &operator).await;
        fill(&stream, 0..499).await;
        archive(&stream, 499).await;
        is_far(&stream).await;
        holds(&stream, 0..500).await;
        close(old).await;

        let (old, stream) = open(&old_dir, &operator).await;
        holds(&stream, 0..500).await;
        archive(&stream, 500).await;
        let swept = within(old.log().sweep()).await.expect("swept");
        let swept = swept.tier_2.expect("there is a bucket");
        assert!(swept.named >= 1, "{swept:?}");
        assert_eq!((swept.removed, swept.quarantined, swept.foreign), (0, 0, 0));
        close(old).await;

        let view = ReadOnly::attach_with_parts(settings(&old_dir), parts(&operator)).await;
        let view = view.expect("attached");
        let report = within(view.verify_archived(None, |_, _| ())).await;
        let report = report.expect("checked");
        assert_eq!((report.damage.len(), report.records), (0, 501));

        let restored =
            Supervisor::restore_with_parts(settings(&new_dir), parts(&operator), |_, _| ());
        assert_eq!(within(restored).await.expect("restored").records, 501);
        let (new, stream) = open(&new_dir, &operator).await;
        let mut reader = stream.reader(From::Earliest).await.expect("a reader");
        let mut read = Vec::new();
        while read.len() < 501 {
            read.extend(within(reader.next_batch(100)).await.expect("a batch"));
        }
        assert!(texts(&read) == (0..501).map(long).collect::<Vec<_>>());
        archive(&stream, 501).await;
        close(new).await;

        let fenced = Supervisor::open_with_parts(settings(&old_dir), parts(&operator));
        let fenced = within(fenced).await.expect_err("it was overtaken");
        assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    });
}
