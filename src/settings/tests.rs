use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::*;

fn message(result: Result<impl std::fmt::Debug, SettingsError>) -> String {
    let text = result.expect_err("this should be refused").to_string();
    assert!(!text.contains('\n'), "one error is one line: {text}");
    text
}

#[test]
fn the_table_of_keys_tells_the_truth_about_the_defaults() {
    let defaults: Vec<_> = Settings::keys()
        .iter()
        .map(|key| (key.name, key.default.to_owned()))
        .collect();
    assert_eq!(Settings::default().entries(), defaults);
}

#[test]
fn the_table_of_keys_and_the_fields_are_the_same_set() {
    let written = serde_json::to_value(Settings::default()).unwrap();
    let mut fields: Vec<_> = written.as_object().unwrap().keys().cloned().collect();
    let mut keys: Vec<_> = Settings::keys()
        .iter()
        .map(|key| key.name.to_owned())
        .collect();
    fields.sort();
    keys.sort();
    assert_eq!(fields, keys);
}

#[test]
fn every_value_can_be_set_from_the_text_it_prints() {
    for settings in [Settings::default(), Settings::for_tests("/tmp/x")] {
        let mut copy = Settings::default();
        for (key, value) in settings.entries() {
            copy.set(key, &value).unwrap();
        }
        assert_eq!(copy, settings);
        let json = serde_json::to_string(&settings).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&json).unwrap(), settings);
    }
}

#[test]
fn the_defaults_and_the_small_settings_are_valid() {
    Settings::default().validate().unwrap();
    Settings::for_tests("/tmp/x").validate().unwrap();
}

#[test]
fn a_file_sets_texts_and_numbers_over_the_defaults() {
    let settings = Settings::from_toml(
        "# ours\nsegment_size = '32 MiB'\nmax_record = 1048576\nhot_budget = \"1GiB\"\n\
         flush = \"every 5ms\"\nsegment_age = \"1h\"\nlane_records = 16\n",
    )
    .unwrap();
    assert_eq!(settings.segment_size, Size::mib(32));
    assert_eq!(settings.max_record, Size::mib(1));
    assert_eq!(settings.hot_budget, Some(Size::gib(1)));
    assert_eq!(settings.flush, FlushPolicy::Every(Duration::from_millis(5)));
    assert_eq!(settings.segment_age, Some(Duration::from_secs(3600)));
    assert_eq!(settings.lane_records, 16);
    assert_eq!(settings.io_threads, Settings::default().io_threads);
}

#[test]
fn an_unknown_key_in_a_file_is_named_with_its_line_and_the_key_that_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log.toml");
    std::fs::write(&path, "io_threads = 2\n\nsegmnt_size = '1MiB'\n").unwrap();
    let error = message(Settings::from_file(&path));
    assert!(error.contains("log.toml: line 3: "), "{error}");
    assert!(
        error.contains("no setting `segmnt_size` (did you mean `segment_size`?)"),
        "{error}"
    );
    // A nested table is an unknown key like any other.
    let error = message(Settings::from_toml("[writer]\nflush = 'always'\n"));
    assert!(error.contains("no setting `writer`"), "{error}");
}

#[test]
fn a_file_that_is_missing_not_toml_or_endless_is_one_clear_line() {
    let error = message(Settings::from_file("/nowhere/log.toml"));
    assert!(error.contains("/nowhere/log.toml"), "{error}");
    let error = message(Settings::from_toml("io_threads = 2\nflush = always\n"));
    assert!(error.starts_with("line 2: this is not TOML"), "{error}");
    let error = message(Settings::from_toml("flush = 'always'\nflush = 'manual'\n"));
    assert!(error.starts_with("line 2: this is not TOML"), "{error}");
    let error = message(Settings::from_file("/dev/zero"));
    assert!(error.contains("no settings file"), "{error}");
}

#[test]
fn a_value_of_the_wrong_kind_names_its_key() {
    for (text, key) in [
        ("segment_size = true", "segment_size"),
        ("segment_size = 1.5", "segment_size"),
        ("segment_size = ['1MiB']", "segment_size"),
        ("segment_size = 0x10", "segment_size"),
        ("segment_size = -1", "segment_size"),
        ("segment_size = '64K'", "segment_size"),
        ("idle_mark = 5", "idle_mark"),
        ("flush = 'soon'", "flush"),
        ("read = 'mmap'", "read"),
        ("io_threads = 'many'", "io_threads"),
        ("data = ''", "data"),
    ] {
        let error = Settings::from_toml(text).expect_err(text);
        assert_eq!(error.key(), Some(key), "{text}: {error}");
        assert!(error.to_string().contains("can't be"), "{error}");
    }
}

#[test]
fn what_it_takes_to_get_into_tier_2_is_not_shown() {
    let mut settings = Settings::default();
    let error = message(settings.set("cold", "sftp://user:hunter2@bucket"));
    assert!(error.contains("`cold`"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    let uri = "s3://bucket/logs?access_key_id=me&secret_access_key=hunter2";
    settings.set("cold", uri).expect("a place");
    let shown = [
        format!("{settings:?}"),
        format!("{:?}", settings.entries()),
        serde_json::to_string(&settings).expect("text"),
    ];
    for shown in shown {
        assert!(shown.contains("s3://bucket/logs"), "{shown}");
        assert!(!shown.contains("hunter2"), "{shown}");
    }
}

#[test]
fn the_environment_sets_keys_and_a_wrong_variable_is_named() {
    let var = |name: &str, value: &str| (OsString::from(name), OsString::from(value));
    let mut settings = Settings::default();
    settings
        .apply_vars([
            var("PATH", "/bin"),
            var("TIERLOG_SEGMENT_SIZE", "32MiB"),
            (
                "TIERLOG_DATA".into(),
                OsString::from_vec(b"/tmp/\xff".to_vec()),
            ),
        ])
        .unwrap();
    assert_eq!(settings.segment_size, Size::mib(32));
    assert_eq!(settings.data.as_os_str().as_encoded_bytes(), b"/tmp/\xff");

    let error = message(settings.apply_vars([var("TIERLOG_SEGMENT_SIZ", "1MiB")]));
    assert!(error.contains("TIERLOG_SEGMENT_SIZ"), "{error}");
    assert!(error.contains("did you mean `segment_size`?"), "{error}");
    let error = message(settings.apply_vars([var("TIERLOG_FLUSH", "never")]));
    assert!(
        error.contains("TIERLOG_FLUSH") && error.contains("`flush`"),
        "{error}"
    );
    let raw = OsString::from_vec(vec![0xff]);
    let error = message(settings.apply_vars([("TIERLOG_FLUSH".into(), raw)]));
    assert!(error.contains("not UTF-8"), "{error}");
}

#[test]
fn values_that_do_not_go_together_are_refused_with_the_bound() {
    for (changes, key, bound) in [
        (&[("max_record", "65MiB")][..], "max_record", "64MiB"),
        (&[("max_record", "0")], "max_record", "1"),
        (&[("segment_size", "16MiB")], "segment_size", "16388KiB"),
        (
            &[("segment_size", "64KiB"), ("max_record", "1KiB")],
            "segment_size",
            "68KiB",
        ),
        (&[("segment_size", "17GiB")], "segment_size", "16GiB"),
        (&[("unsynced_bytes", "31MiB")], "unsynced_bytes", "32MiB"),
        (&[("hot_budget", "64MiB")], "hot_budget", "128MiB"),
        (&[("flush", "bytes 65MiB")], "flush", "64MiB"),
        (&[("flush", "bytes 0")], "flush", "from 1"),
        (&[("flush", "every 0")], "flush", "always"),
        (&[("flush", "every 2h")], "flush", "1h"),
        (&[("manifest_chunk", "8KiB")], "manifest_chunk", "16KiB"),
        (&[("manifest_chunk", "2MiB")], "manifest_chunk", "1MiB"),
        (&[("manifest_chunk", "20kB")], "manifest_chunk", "4KiB"),
        (
            &[("manifest_rotate", "300KiB")],
            "manifest_rotate",
            "512KiB",
        ),
        (&[("idle_mark", "0")], "idle_mark", "1ms"),
        (&[("stall_after", "2h")], "stall_after", "1h"),
        (&[("segment_age", "0")], "segment_age", "never"),
        (&[("lane_records", "0")], "lane_records", "1"),
        (&[("io_threads", "0")], "io_threads", "256"),
        (&[("max_streams", "0")], "max_streams", "1"),
        (&[("flusher_queue", "0")], "flusher_queue", "1"),
        (
            &[("supervisor_queue", "1048577")],
            "supervisor_queue",
            "1048576",
        ),
        (&[("restart_limit", "1001")], "restart_limit", "1000"),
    ] {
        let mut settings = Settings::default();
        for (key, value) in changes {
            settings.set(key, value).unwrap();
        }
        let error = settings.validate().expect_err(key);
        assert_eq!(error.key(), Some(key), "{error}");
        assert!(error.to_string().contains(bound), "{error}");
    }
}
