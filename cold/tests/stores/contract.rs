//! The contract of `Store`, for every store that there is.

use std::sync::{Arc, atomic::Ordering};

use bytes::Bytes;
use tierlog_cold::store::{Listed, StoreErrorKind};
use tokio::{sync::Semaphore, task::JoinSet};

use super::rig::{Break, Breaking, Rig, is_pending, kind, noise, runtime};

macro_rules! contract {
    ($($store:ident: $($test:ident)+;)+) => {
        $(mod $store {
            use super::*;
            $(#[test]
            fn $test() {
                runtime().block_on(async {
                    if let Some(rig) = Rig::$store().await {
                        super::$test(&rig).await;
                    }
                });
            })+
        })+
    };
}

macro_rules! stores {
    ($($store:ident)+) => {
        contract! {
            $($store:
                an_object_is_read_back_whole
                an_object_is_made_once_and_keeps_its_bytes
                a_read_is_exactly_the_range_or_short
                what_is_not_there_is_missing
                what_was_deleted_is_gone_and_may_be_made_again
                a_replacement_takes_the_place_of_whatever_is_there
                a_listing_is_in_order_and_goes_on_behind_a_key
                a_key_is_no_way_out
                of_sixteen_creators_one_wins
                a_source_that_fails_leaves_nothing
                what_is_given_up_half_way_is_not_there
                its_place_is_named
            ;)+
        }
    };
}

stores! {
    memory behaved real_folder simulated_folder opendal_memory s3_in_process
    fake_gcs s3_server gcs_server azblob_server
}

async fn an_object_is_read_back_whole(rig: &Rig) {
    for (seed, len) in [0, 1, 4_096, 70_001, rig.large].into_iter().enumerate() {
        let bytes = noise(seed as u64, len);
        let key = format!("whole/{len}.tlz");
        rig.make(&key, &bytes).await.unwrap();
        assert_eq!(rig.store.stat(&key).await.unwrap(), len as u64);
        assert!(rig.content(&key).await.unwrap() == bytes, "{len} bytes");
    }
}

async fn an_object_is_made_once_and_keeps_its_bytes(rig: &Rig) {
    for len in [10, rig.large] {
        let key = format!("once/{len}");
        let (first, second) = (noise(1, len), noise(2, len));
        rig.make(&key, &first).await.unwrap();
        for other in [&first, &second, &Bytes::new()] {
            let again = rig.make(&key, other).await;
            assert_eq!(kind(again), StoreErrorKind::Exists, "{len} bytes");
        }
        assert!(rig.content(&key).await.unwrap() == first, "{len} bytes");
    }
}

async fn a_read_is_exactly_the_range_or_short(rig: &Rig) {
    let bytes = noise(3, 100_000);
    rig.make("ranges", &bytes).await.unwrap();
    for (from, to) in [(0, 1), (0, 100_000), (99_999, 100_000), (500, 70_123)] {
        let part = rig.store.read("ranges", from..to).await.unwrap();
        let (from, to) = (from as usize, to as usize);
        assert!(part == bytes[from..to], "{from}..{to}");
    }
    for at in [0, 500, 100_000] {
        let none = rig.store.read("ranges", at..at).await.unwrap();
        assert!(none.is_empty(), "{at}");
    }
    for (from, to) in [
        (0, 100_001),
        (99_999, 100_001),
        (100_000, 100_001),
        (200_000, 200_010),
        (5, 1 << 40),
    ] {
        let beyond = rig.store.read("ranges", from..to).await;
        assert_eq!(kind(beyond), StoreErrorKind::Short, "{from}..{to}");
    }
    rig.make("nothing", b"").await.unwrap();
    assert!(rig.store.read("nothing", 0..0).await.unwrap().is_empty());
    let beyond = rig.store.read("nothing", 0..1).await;
    assert_eq!(kind(beyond), StoreErrorKind::Short);
}

async fn what_is_not_there_is_missing(rig: &Rig) {
    rig.make("there/a", b"x").await.unwrap();
    for key in ["nowhere", "there/b", "there/b/c", "elsewhere/a"] {
        let (stat, read) = (rig.store.stat(key).await, rig.store.read(key, 0..1).await);
        assert_eq!(kind(stat), StoreErrorKind::Missing, "{key}");
        assert_eq!(kind(read), StoreErrorKind::Missing, "{key}");
        let nothing = rig.store.read(key, 0..0).await;
        assert_eq!(kind(nothing), StoreErrorKind::Missing, "{key}");
        rig.store.delete(key).await.unwrap();
    }
    assert_eq!(rig.store.list("nowhere/", None, 10).await.unwrap(), []);
}

async fn what_was_deleted_is_gone_and_may_be_made_again(rig: &Rig) {
    rig.make("gone/a", b"first").await.unwrap();
    rig.store.delete("gone/a").await.unwrap();
    let stat = rig.store.stat("gone/a").await;
    assert_eq!(kind(stat), StoreErrorKind::Missing);
    rig.store.delete("gone/a").await.unwrap();
    rig.make("gone/a", b"second").await.unwrap();
    assert_eq!(rig.content("gone/a").await.unwrap(), "second");
}

async fn a_replacement_takes_the_place_of_whatever_is_there(rig: &Rig) {
    for bytes in [
        &b"a first one"[..],
        b"shorter",
        b"",
        b"longer than all of them",
    ] {
        let bytes = Bytes::copy_from_slice(bytes);
        rig.store.replace("put/a", bytes.clone()).await.unwrap();
        assert_eq!(rig.content("put/a").await.unwrap(), bytes);
    }
    let again = rig.make("put/a", b"x").await;
    assert_eq!(kind(again), StoreErrorKind::Exists);
}

async fn a_listing_is_in_order_and_goes_on_behind_a_key(rig: &Rig) {
    let mut keys: Vec<String> = (0..12).map(|n| format!("s/{n:03}/x.tlz")).collect();
    keys.extend(
        [
            "s/a-b", "s/a.b", "s/a/b", "s/a/c/d", "s/a0", "s/az/b", "t/a",
        ]
        .map(str::to_owned),
    );
    for (n, key) in keys.iter().enumerate() {
        rig.make(key, &vec![7; n]).await.unwrap();
    }
    let mut all: Vec<Listed> = keys
        .iter()
        .enumerate()
        .map(|(n, key)| Listed {
            key: key.clone(),
            len: n as u64,
        })
        .collect();
    all.sort();
    for prefix in ["", "s/", "s", "s/00", "s/a", "s/a/", "s/a0", "t/", "u"] {
        let meant = all.iter().filter(|listed| listed.key.starts_with(prefix));
        let meant: Vec<Listed> = meant.cloned().collect();
        for most in [1, 3, 1_000] {
            let (mut found, mut after) = (Vec::new(), None);
            loop {
                let page = rig
                    .store
                    .list(prefix, after.as_deref(), most)
                    .await
                    .unwrap();
                assert!(page.len() <= most);
                let Some(last) = page.last() else { break };
                after = Some(last.key.clone());
                found.extend(page);
            }
            assert_eq!(found, meant, "{prefix:?}, {most} at a time");
        }
    }
    let from = |after| rig.store.list("s/", after, 1);
    let first = |page: Vec<Listed>| page.first().map(|listed| listed.key.clone());
    for (after, next) in [
        ("", Some("s/000/x.tlz")),
        ("a", Some("s/000/x.tlz")),
        ("s/a.", Some("s/a.b")),
        ("s/a/b0", Some("s/a/c/d")),
        ("s/az/b", None),
        ("z", None),
    ] {
        let found = first(from(Some(after)).await.unwrap());
        assert_eq!(found.as_deref(), next, "after {after:?}");
    }
}

async fn a_key_is_no_way_out(rig: &Rig) {
    for key in [
        "",
        "/etc/x",
        "../x",
        "a/../../x",
        "a//b",
        "a/",
        "a b",
        "~tmp/x",
    ] {
        let made = rig.make(key, b"x").await;
        assert_eq!(kind(made), StoreErrorKind::Unsupported, "{key:?}");
        let replaced = rig.store.replace(key, Bytes::new()).await;
        assert_eq!(kind(replaced), StoreErrorKind::Unsupported, "{key:?}");
        let (stat, read) = (rig.store.stat(key).await, rig.store.read(key, 0..0).await);
        assert_eq!(kind(stat), StoreErrorKind::Unsupported, "{key:?}");
        assert_eq!(kind(read), StoreErrorKind::Unsupported, "{key:?}");
        let deleted = rig.store.delete(key).await;
        assert_eq!(kind(deleted), StoreErrorKind::Unsupported, "{key:?}");
    }
    assert_eq!(rig.store.list("", None, 10).await.unwrap(), []);
}

async fn of_sixteen_creators_one_wins(rig: &Rig) {
    if !rig.races {
        return;
    }
    for round in 0..8 {
        let mut creators = JoinSet::new();
        for creator in 0..16_u64 {
            let (store, key) = (Arc::clone(&rig.store), format!("race/{round}"));
            creators.spawn(async move {
                let bytes = noise(creator, 100);
                (creator, store.create(&key, Arc::new(bytes)).await)
            });
        }
        let (mut winners, mut others) = (Vec::new(), Vec::new());
        while let Some(ended) = creators.join_next().await {
            match ended.unwrap() {
                (creator, Ok(())) => winners.push(creator),
                // A service may say of two at once that it does not know; that is no win.
                (_, Err(error)) => {
                    let kinds = [StoreErrorKind::Exists, StoreErrorKind::Unknown];
                    assert!(kinds.contains(&error.kind), "{error}");
                    others.push(error.what);
                }
            }
        }
        let [winner] = winners[..] else {
            panic!("round {round} was won by {winners:?}; {others:?}");
        };
        let there = rig.content(&format!("race/{round}")).await.unwrap();
        assert!(
            there == noise(winner, 100),
            "round {round}: another's bytes"
        );
    }
}

async fn a_source_that_fails_leaves_nothing(rig: &Rig) {
    for len in [100, rig.large] {
        for how in [Break::Fails, Break::IsShort] {
            let at = len as u64 - 1;
            let source = Breaking::new(noise(4, len), at, how);
            let made = rig.store.create("broken", source).await;
            assert_eq!(kind(made), StoreErrorKind::Source, "{len} bytes");
            let stat = rig.store.stat("broken").await;
            assert_eq!(kind(stat), StoreErrorKind::Missing, "{len} bytes");
        }
    }
    assert_eq!(rig.store.list("", None, 10).await.unwrap(), []);
    rig.make("broken", b"whole").await.unwrap();
}

async fn what_is_given_up_half_way_is_not_there(rig: &Rig) {
    let bytes = noise(5, rig.large);
    let source = Breaking::new(
        bytes.clone(),
        rig.large as u64 - 1,
        Break::Waits(Semaphore::new(0)),
    );
    // Its last bytes never come.
    let mut call = rig.store.create("given/up", source.clone());
    while !source.ends.load(Ordering::Relaxed) {
        assert!(is_pending(&mut call).await);
        tokio::task::yield_now().await;
    }
    drop(call);
    let stat = rig.store.stat("given/up").await;
    assert_eq!(kind(stat), StoreErrorKind::Missing);
    rig.make("given/up", &bytes).await.unwrap();
    assert!(rig.content("given/up").await.unwrap() == bytes);
}

async fn its_place_is_named(rig: &Rig) {
    assert!(rig.store.place().contains("://"), "{}", rig.store.place());
}
