//! A store that the app brings along: an operator of opendal, in the place of a `cold` in the settings.

use std::{future::IntoFuture, path::Path};

use tierlog::{
    ClaimHealth, Error, ErrorKind, From, Level, Offset, Parts, ReadOnly, Settings, Stream,
    Supervisor, opendal::Operator,
};

use super::operator::{Behaves, SECRET, without};
use crate::{
    faults::rig::on_each_runtime,
    support::{close, read_all, texts, within},
    tiers::{append, holds, long},
};

pub fn settings(dir: &Path) -> Settings {
    let mut settings = Settings::for_tests(dir.to_owned());
    for (key, value) in [
        ("archive_after", "1ms"),
        ("hot_budget", "320KiB"),
        ("warm_budget", "96KiB"),
        ("tail_cache", "0B"),
    ] {
        settings.set(key, value).expect("a setting");
    }
    settings
}

pub fn parts(operator: &Operator) -> Parts {
    Parts::new().operator(operator.clone())
}

pub async fn open(dir: &Path, operator: &Operator) -> (Supervisor, Stream) {
    let log = within(Supervisor::open_with_parts(settings(dir), parts(operator))).await;
    let log = log.expect("the log opens");
    let stream = within(log.log().stream("s")).await.expect("a stream");
    (log, stream)
}

async fn refused(dir: &Path, settings: Settings, operator: &Operator) -> String {
    let opened = within(Supervisor::open_with_parts(settings, parts(operator))).await;
    let error = opened.expect_err("it can't work");
    assert_eq!(error.kind(), ErrorKind::FixInput, "{error}");
    assert!(!dir.join("CURRENT").exists(), "nothing is made");
    error.to_string()
}

async fn archive(stream: &Stream, id: u64) {
    let ack = within(stream.append_at(long(id), Level::Archived)).await;
    assert_eq!(ack.expect("archived").offset, Offset(id));
}

#[test]
fn what_an_operator_archives_is_read_from_it_attached_to_and_restored() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let (old_dir, new_dir) = (dir.path().join("old"), dir.path().join("new"));
        let operator = Behaves::well().operator();
        let (old, stream) = open(&old_dir, &operator).await;
        append(&stream, 0..400).await;
        archive(&stream, 400).await;
        within(async {
            loop {
                let segments = stream.segments().await.expect("segments");
                if segments.iter().any(|segment| segment.tier == 2) {
                    break;
                }
                tokio::task::yield_now().await;
            }
        })
        .await;
        holds(&stream, 0..401).await;
        close(old).await;

        let view = ReadOnly::attach_with_parts(settings(&old_dir), parts(&operator)).await;
        let view = view.expect("attached");
        let view = view.stream("s").expect("a stream");
        let mut reader = within(view.reader(From::Earliest).into_future())
            .await
            .expect("a reader");
        let mut read = Vec::new();
        while let Some(record) = within(reader.try_next()).await.expect("a record") {
            read.push(record);
        }
        assert!(texts(&read) == (0..401).map(long).collect::<Vec<_>>());

        let restored =
            Supervisor::restore_with_parts(settings(&new_dir), parts(&operator), |_, _| ());
        assert_eq!(within(restored).await.expect("restored").records, 401);
        let (new, stream) = open(&new_dir, &operator).await;
        holds(&stream, 0..401).await;
        archive(&stream, 401).await;
        close(new).await;

        let fenced = Supervisor::open_with_parts(settings(&old_dir), parts(&operator));
        let fenced = within(fenced).await.expect_err("it was overtaken");
        assert!(matches!(fenced, Error::Fenced { .. }), "{fenced}");
    });
}

#[test]
fn an_operator_in_memory_is_never_the_only_place_of_a_record() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let operator = without(
            Behaves {
                scheme: "memory",
                ..Behaves::well()
            }
            .operator(),
            |_| (),
        );
        let (log, stream) = open(&dir.path().join("log"), &operator).await;
        append(&stream, 0..5).await;
        let refused = within(stream.append_at(long(5), Level::Archived)).await;
        let refused = refused.expect_err("it would not outlive the process");
        assert!(
            matches!(refused.error, Error::Unsupported { .. }),
            "{refused}"
        );
        assert_eq!(stream.watermarks().archived, Offset(0));
        close(log).await;
    });
}

#[test]
fn an_operator_that_fails_now_and_then_is_asked_again() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let behaves = Behaves {
            fails_each: 4,
            ..Behaves::well()
        };
        let operator = behaves.clone().operator();
        let (log, stream) = open(&dir.path().join("log"), &operator).await;
        append(&stream, 0..90).await;
        archive(&stream, 90).await;
        assert!(behaves.made() > 8, "{} calls, some failed", behaves.made());
        assert_eq!(read_all(&stream).await.len(), 91);
        close(log).await;
    });
}

#[test]
fn an_operator_that_overwrites_is_found_out_and_refused_unless_the_risk_is_taken() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let operator = Behaves {
            overwrites: true,
            ..Behaves::well()
        }
        .operator();
        let data = dir.path().join("log");
        let opened = within(Supervisor::open_with_parts(
            settings(&data),
            parts(&operator),
        ))
        .await;
        let error = opened
            .expect_err("two owners can't be told apart")
            .to_string();
        assert!(error.contains("cold_unfenced"), "{error}");
        let settings = Settings {
            cold_unfenced: true,
            ..settings(&data)
        };
        let opened = within(Supervisor::open_with_parts(settings, parts(&operator))).await;
        let log = opened.expect("the risk is taken");
        let cold = log.health().await.cold.expect("it has Tier 2");
        assert_eq!(cold.claim, ClaimHealth::Claimed);
        close(log).await;
    });
}

#[test]
fn an_operator_that_can_not_work_is_refused_before_anything_is_made() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path().join("log");
        let well = || Behaves::well().operator();

        let blind = without(well(), |can| can.write_with_if_not_exists = false);
        let error = refused(&data, settings(&data), &blind).await;
        assert!(error.contains("create only if absent"), "{error}");

        let folder = Behaves {
            scheme: "fs",
            ..Behaves::well()
        }
        .operator();
        let error = refused(&data, settings(&data), &folder).await;
        assert!(error.contains("fs:///folder"), "{error}");

        let mut both = settings(&data);
        both.set("cold", "memory://").expect("a setting");
        let error = refused(&data, both, &well()).await;
        assert!(error.contains("only one Tier 2"), "{error}");

        let mut no_room = settings(&data);
        no_room.set("warm_budget", "0B").expect("a setting");
        let error = refused(&data, no_room, &well()).await;
        assert!(error.contains("warm_budget"), "{error}");
    });
}

#[test]
fn what_an_operator_hides_is_not_shown() {
    on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let operator = Behaves::well().operator();
        assert!(
            format!("{operator:?}").contains(SECRET),
            "or this shows nothing"
        );
        let (log, stream) = open(&dir.path().join("log"), &operator).await;
        let shown = format!(
            "{:?} {:#?} {log:?} {stream:?} {:?} {:?}",
            parts(&operator),
            parts(&operator),
            log.context(),
            log.health().await
        );
        assert!(
            shown.contains("bucket://of-a-test"),
            "the place is: {shown}"
        );
        assert!(!shown.contains(SECRET), "{shown}");
        close(log).await;
    });
}
