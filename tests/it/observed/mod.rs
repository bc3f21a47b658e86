//! What a log tells those who watch it: figures and lines.

pub mod listener;
pub mod recorder;
mod story;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
    sync::Arc,
    time::Duration,
};

use metrics::set_default_local_recorder;
use tierlog::{
    Error, Offset, Settings, Supervisor,
    testing::{
        Action,
        storage::disk::{
            Disk,
            fault::{CallKind, Calls, Fault, FaultDisk, FaultPlan},
            sim::SimDisk,
        },
    },
};
use tracing::{Dispatch, Level, dispatcher};

use self::{
    listener::Listener,
    recorder::Recording,
    story::{KEY, PAYLOAD, Story},
};
use crate::{
    faults::rig::{Rig, eventually, one_stream, segment, settle},
    sim,
    support::{close, within},
};

/// A runtime of one thread: what is installed for this thread is installed for the actors.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().build().expect("a runtime");
    runtime.block_on(future)
}

/// A log that syncs when it is told to, so that what happens together is the test's to say.
fn story(dir: &Path, to: Dispatch) -> Story {
    let rig = Rig::real(dir)
        .with("flush", "manual")
        .with("idle_mark", "1h");
    Story { rig, to }
}

/// A row of the table.
struct Row {
    label: Option<String>,
    kind: String,
    unit: String,
    text: String,
}

fn table() -> BTreeMap<String, Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/operations.md")).expect("the page");
    let rows = page.lines().filter(|line| line.starts_with("| `tierlog_"));
    rows.map(|line| {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [name, kind, text, _] = cells[..] else {
            panic!("four cells: {line}");
        };
        let name = name.trim_matches('`');
        let (name, label) = match name.split_once('{') {
            Some((name, label)) => (name, Some(label.trim_end_matches('}').to_owned())),
            None => (name, None),
        };
        let (kind, unit) = kind.split_once(", ").expect("kind and unit");
        let row = Row {
            label,
            kind: kind.to_owned(),
            unit: unit.to_owned(),
            text: text.to_owned(),
        };
        (name.to_owned(), row)
    })
    .collect()
}

#[test]
fn every_metric_of_the_table_is_emitted_and_every_emitted_one_is_in_the_table() {
    let recording = Recording::default();
    let dir = tempfile::tempdir().expect("a folder");
    let _installed = set_default_local_recorder(&recording);
    block_on(async {
        story(dir.path(), Dispatch::none()).happens().await;
        // A thread may still be about to let go of what a reader had asked for.
        eventually("the gauges are at rest", || recording.at_rest()).await;
    });
    let table = table();
    let told = recording.told();
    let emitted: BTreeSet<_> = told.keys().map(|(name, _)| name).collect();
    let silent: Vec<_> = table
        .keys()
        .filter(|name| !emitted.contains(name))
        .collect();
    assert!(
        silent.is_empty(),
        "in the table and never emitted: {silent:#?}"
    );
    for name in recording.registered() {
        assert!(table.contains_key(&name), "{name} is not in the table");
        let (kind, unit, text) = recording.described(&name).expect("it is described");
        let row = &table[&name];
        assert_eq!(row.kind, kind.to_string(), "{name}");
        let unit = unit.map_or("", |unit| unit.as_str());
        assert_eq!(row.unit, unit, "{name}");
        assert!(!text.is_empty(), "{name}");
    }
    for ((name, labels), told) in &told {
        let row = &table[name];
        assert_eq!(row.kind, told.kind.to_string(), "{name}");
        let label: Vec<_> = labels.keys().collect();
        assert_eq!(row.label.iter().collect::<Vec<_>>(), label, "{name}");
        for value in labels.values() {
            let named = format!("`{value}`");
            assert!(row.text.contains(&named), "{name} does not tell of {named}");
        }
    }
}

#[test]
fn who_reads_without_owning_tells_only_of_reading() {
    let dir = tempfile::tempdir().expect("a folder");
    let story = story(dir.path(), Dispatch::none());
    block_on(story.happens());
    let recording = Recording::default();
    let _installed = set_default_local_recorder(&recording);
    block_on(story.look());
    let expected = [
        "tierlog_damage_total",
        "tierlog_read_cache_bytes",
        "tierlog_read_cache_hits_total",
        "tierlog_read_cache_misses_total",
        "tierlog_would_block_total",
    ];
    assert_eq!(recording.registered(), expected);
    // One at the attach, two in the verification: nothing was read but what is whole.
    assert_eq!(recording.value("tierlog_damage_total"), 3.0);
}

#[test]
fn two_logs_share_a_gauge_and_each_takes_its_part_with_it() {
    let recording = Recording::default();
    let _installed = set_default_local_recorder(&recording);
    let [open, segments, stopped] = [
        "tierlog_open_streams",
        "tierlog_tier_segments",
        "tierlog_not_running",
    ];
    block_on(async {
        let (one, _one) = one_stream(&Rig::sim(&SimDisk::new())).await;
        let (other, stream) = one_stream(&Rig::sim(&SimDisk::new())).await;
        within(other.log().stream("more")).await.expect("a stream");
        within(stream.append("x")).await.expect("durable");
        assert_eq!(recording.value(open), 3.0);
        assert_eq!(recording.value(segments), 1.0);
        close(one).await;
        assert_eq!(recording.value(open), 2.0);
        // Dropped, as in a crash: who opens it again must not be told that it does not run.
        drop(other);
        let gone = || recording.value(open) + recording.value(segments) == 0.0;
        eventually("it is gone", gone).await;
        settle().await;
        assert_eq!(recording.value(stopped), 0.0);
    });
}

/// A log in one thread, whose clock stands still unless the test moves it.
async fn timed_log(disk: impl Disk) -> (Supervisor, tierlog::Stream, tierlog::testing::Faults) {
    let injected = sim::on(disk);
    let faults = injected.faults.clone();
    let settings = Settings {
        idle_mark: Duration::from_secs(3_600),
        ..sim::tiny()
    };
    let log = Supervisor::open_with(settings, injected)
        .await
        .expect("it opens");
    let stream = log.log().stream("s").await.expect("a stream");
    (log, stream, faults)
}

#[test]
fn an_append_is_timed_from_its_acceptance_until_its_ack() {
    let recording = Recording::default();
    let _installed = set_default_local_recorder(&recording);
    let timed = || {
        let name = "tierlog_append_seconds";
        (recording.times(name), recording.value(name))
    };
    sim::run(async {
        let (log, stream, faults) = timed_log(SimDisk::new()).await;
        stream.append("warm").await.expect("durable");
        assert_eq!(timed(), (1, 0.0));
        let seen = faults.passed("writer.drain");
        faults.arm("writer.drain", Action::Park, 1);
        // What waits for its turn on the lane waits as well.
        let first = stream.try_append("timed").expect("room");
        faults.reached("writer.drain", seen).await;
        tokio::time::advance(Duration::from_secs(2)).await;
        let second = stream.try_append("of the same group").expect("room");
        faults.release("writer.drain");
        first.await.expect("durable");
        second.await.expect("durable");
        assert_eq!(timed(), (2, 2.0), "the one that waited longest");
        let groups = recording.times("tierlog_group_records");
        assert_eq!((groups, log.counters().durable_records), (2, 3));
        close(log).await;
    });
}

#[test]
fn an_append_that_a_restart_made_durable_is_timed() {
    let recording = Recording::default();
    let _installed = set_default_local_recorder(&recording);
    block_on(async {
        let rig = Rig::sim(&SimDisk::new()).with("flush", "manual");
        let (log, stream) = one_stream(&rig).await;
        rig.faults.arm("writer.after_write", Action::Panic, 1);
        let ack = within(stream.append("recovered")).await.expect("durable");
        assert_eq!(ack.offset, Offset(0));
        assert_eq!(recording.times("tierlog_append_seconds"), 1);
        close(log).await;
    });
}

/// It finds no room and ends; its place and its time must not count for the one that gets its offset.
#[test]
fn an_append_that_failed_is_not_timed() {
    let recording = Recording::default();
    let _installed = set_default_local_recorder(&recording);
    sim::run(async {
        let plan = FaultPlan::new();
        let disk = FaultDisk::new(Arc::new(SimDisk::new()), plan.clone());
        let (log, stream, _) = timed_log(disk).await;
        let calls = Calls::of(CallKind::Allocate).at(segment).forever();
        stream.append("warm").await.expect("durable");
        let armed = plan.fail(calls, Fault::Full);
        let failed = stream.append(vec![0; 20_000]).await.expect_err("no room");
        assert!(matches!(failed.error, Error::StorageFull), "{failed}");
        armed.disarm();
        tokio::time::advance(Duration::from_secs(5)).await;
        let ack = stream.append("later").await.expect("durable");
        assert_eq!(ack.offset, Offset(1));
        let name = "tierlog_append_seconds";
        assert_eq!((recording.times(name), recording.value(name)), (2, 0.0));
        close(log).await;
    });
}

#[test]
fn a_group_counts_what_a_repair_made_durable() {
    let recording = Recording::default();
    let _installed = set_default_local_recorder(&recording);
    block_on(async {
        let rig = Rig::sim(&SimDisk::new()).with("idle_mark", "1h");
        let (log, stream) = one_stream(&rig).await;
        within(stream.append("one")).await.expect("durable");
        let calls = Calls::of(CallKind::SyncData).at(segment);
        rig.plan.fail(calls, Fault::Io);
        within(stream.append("two"))
            .await
            .expect("written elsewhere");
        assert_eq!(log.counters().repairs, 1);
        assert_eq!(log.counters().durable_records, 2);
        assert_eq!(recording.value("tierlog_group_records"), 2.0);
        close(log).await;
    });
}

#[test]
fn transitions_restarts_and_faults_are_told_and_no_payload_and_no_key_is() {
    let listener = Listener::default();
    let to = Dispatch::new(listener.clone());
    // With one subscriber in the process, a place in the code that a thread of another test passes
    // first would count as one that nobody listens to.
    let _another = Dispatch::new(Listener::default());
    let dir = tempfile::tempdir().expect("a folder");
    dispatcher::with_default(&to.clone(), || {
        block_on(story(dir.path(), to).happens());
    });
    for (target, level, words) in [
        ("tierlog::recovery", Level::INFO, "recovery"),
        ("tierlog::recovery", Level::INFO, "the log is open"),
        ("tierlog::recovery", Level::INFO, "made durable before"),
        ("tierlog::recovery", Level::WARN, "a torn end was cut off"),
        (
            "tierlog::recovery",
            Level::WARN,
            "a torn end of the manifest",
        ),
        ("tierlog::recovery", Level::WARN, "quarantined"),
        ("tierlog::recovery", Level::ERROR, "damage"),
        ("tierlog::supervisor", Level::DEBUG, "a stream is open"),
        (
            "tierlog::supervisor",
            Level::INFO,
            "restart actor=\"flusher\"",
        ),
        ("tierlog::supervisor", Level::WARN, "a writer ended"),
        (
            "tierlog::supervisor",
            Level::INFO,
            "a writer is at work again",
        ),
        ("tierlog::supervisor", Level::WARN, "an actor ended"),
        (
            "tierlog::supervisor",
            Level::INFO,
            "the log is at work again",
        ),
        ("tierlog::supervisor", Level::INFO, "the log is closed"),
        ("tierlog::coordinator", Level::DEBUG, "a segment was made"),
        ("tierlog::coordinator", Level::DEBUG, "a segment is sealed"),
        ("tierlog::coordinator", Level::DEBUG, "trimmed"),
        ("tierlog::writer", Level::INFO, "the tail was cut off"),
        ("tierlog::writer", Level::WARN, "a write or sync failed"),
        ("tierlog::writer", Level::INFO, "written again elsewhere"),
        ("tierlog::writer", Level::WARN, "no room"),
        ("tierlog::writer", Level::DEBUG, "there is room again"),
        ("tierlog::storage", Level::ERROR, "closed for writing"),
        ("tierlog::reader", Level::WARN, "damage"),
        ("tierlog::appender", Level::WARN, "buffered records"),
    ] {
        assert!(
            listener.heard(target, level, words),
            "{level} {target}: {words}, in {:#?}",
            listener.lines()
        );
    }
    let bytes = |text: &str| {
        let listed = format!("{:?}", text.as_bytes());
        listed.trim_matches(['[', ']']).to_owned()
    };
    for line in listener.lines() {
        for secret in [PAYLOAD, KEY] {
            let told = line.text.contains(secret) || line.text.contains(&bytes(secret));
            assert!(!told, "{line:?}");
        }
    }
}
