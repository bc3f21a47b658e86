//! Several directories, some of them copies of others, that are opened, publish, collect, and die between
//! any two steps, on a store that loses requests and answers and lets lost requests land late. The bucket
//! checks each object as it is created ([`History`](super::history::History)): numbers are dense, each
//! publication is of the owner of the claim before it, a claim forgets nothing, and no two owners take one
//! number for theirs.

use std::task::Poll;

use futures::future::BoxFuture;
use proptest::prelude::*;
use tierlog_storage::catalog::{CatalogHead, CatalogKind, Change, catalog_key};

use super::{
    bucket::{Bucket, Trouble},
    directory::Directory,
    history::says,
    schedule::{now, once},
};
use crate::sequence::{ClaimError, FindError, Found, PublishError, Sequence, find};

/// How one life of a directory ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The store did not answer, or all was done.
    Quiet,
    /// It could not be opened.
    ShutOut,
    /// It was overtaken.
    Overtaken,
}

async fn life(directory: Directory, bucket: Bucket, mut rng: fastrand::Rng) -> End {
    let mut sequence = match directory.open(&bucket).await {
        Ok((sequence, _)) => sequence,
        Err(ClaimError::Store(_)) => return End::Quiet,
        Err(ClaimError::Fenced { number, .. }) => {
            assert!(!is_own(&directory, &bucket, number), "{number} is its own");
            return End::ShutOut;
        }
        Err(error) => panic!("{error}"),
    };
    if rng.bool() {
        directory.note(&sequence);
    }
    for _ in 0..rng.u32(..20) {
        work(&directory, &mut rng);
        match directory.publish(&bucket, &mut sequence).await {
            Ok(()) if rng.bool() => directory.note(&sequence),
            Ok(()) | Err(PublishError::Store(_)) => {}
            Err(PublishError::Fenced { number, .. }) => {
                let maker = bucket.history(|history| history.owner(number));
                assert_ne!(maker, sequence.owner(), "{number} is its own");
                return End::Overtaken;
            }
            Err(error) => panic!("{error}"),
        }
        if rng.u32(..4) == 0 {
            collect(&directory, &mut sequence, rng.u64(1..9)).await;
        }
    }
    End::Quiet
}

/// An object of a recorded owner, all of which the directory knows. A copy that was left behind may also
/// find it collected.
fn is_own(directory: &Directory, bucket: &Bucket, number: u64) -> bool {
    let bytes = bucket.read(&catalog_key(number)).expect("it was found");
    let head = CatalogHead::decode_at(number, &bytes).unwrap();
    let manifest = directory.manifest();
    let recorded = manifest
        .recorded
        .iter()
        .any(|(_, owner)| *owner == head.owner);
    head.kind != CatalogKind::Tombstone
        && recorded
        && bucket.history(|history| {
            let mut changes = history.catalog(number).changes();
            changes.all(|change| says(&manifest.local, &change))
        })
}

fn work(directory: &Directory, rng: &mut fastrand::Rng) {
    for _ in 0..rng.u32(..4) {
        let stream = rng.u8(1..4);
        match rng.u32(..3) {
            0 => directory.trim(stream, rng.u64(..12)),
            _ => directory.upload(stream, rng.u64(..)),
        }
    }
}

async fn collect(directory: &Directory, sequence: &mut Sequence, limit: u64) {
    let known = directory.manifest().known;
    if let Some(known) = known {
        match sequence.collect(known, limit).await {
            Ok(_) | Err(PublishError::Store(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

/// A directory, and the life that it is in.
struct Place {
    directory: Directory,
    life: Option<BoxFuture<'static, End>>,
    shut_out: bool,
}

impl Place {
    fn new(directory: Directory) -> Self {
        Self {
            directory,
            life: None,
            shut_out: false,
        }
    }

    /// Begins a life, ends it, or lets it take a step.
    fn step(&mut self, bucket: &Bucket, rng: &mut fastrand::Rng) {
        let Some(life) = &mut self.life else {
            let (directory, bucket) = (self.directory.clone(), bucket.clone());
            let seed = rng.u64(..);
            self.life = Some(Box::pin(life(
                directory,
                bucket,
                fastrand::Rng::with_seed(seed),
            )));
            return;
        };
        if rng.u32(..200) == 0 {
            self.life = None;
            return;
        }
        if let Poll::Ready(end) = once(life.as_mut()) {
            self.life = None;
            // Who was shut out once stays so, however it tries.
            let possible = match self.shut_out {
                true => matches!(end, End::ShutOut | End::Quiet),
                false => true,
            };
            assert!(possible, "{end:?}");
            self.shut_out |= end != End::Quiet;
        }
    }
}

/// Somebody who reads from the bucket alone, now and then.
#[derive(Default)]
struct Visitor {
    /// With the end of the history when it began.
    visit: Option<(u64, Visit)>,
}

type Visit = BoxFuture<'static, Result<Option<Found>, FindError>>;

impl Visitor {
    fn step(&mut self, bucket: &Bucket) {
        let Some((before, visit)) = &mut self.visit else {
            let before = bucket.history(|history| history.last());
            let bucket = bucket.clone();
            self.visit = Some((before, Box::pin(async move { find(&bucket).await })));
            return;
        };
        let Poll::Ready(found) = once(visit.as_mut()) else {
            return;
        };
        let before = *before;
        self.visit = None;
        match found {
            Ok(Some(found)) => right(bucket, &found, before),
            Ok(None) => assert_eq!(before, 0),
            Err(FindError::Store(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}

fn right(bucket: &Bucket, found: &Found, before: u64) {
    assert!(found.head >= before);
    bucket.history(|history| {
        let head = history.head(found.head);
        assert_eq!((found.owner, found.epoch), (head.owner, head.epoch));
        assert_eq!(&found.catalog, history.catalog(found.head));
    });
}

/// Lets all of them go on for a while, and answers with the directories.
fn run(seed: u64, directories: usize, copies: usize, steps: usize) -> (Bucket, Vec<Place>) {
    let rng = &mut fastrand::Rng::with_seed(seed);
    let bucket = Bucket::slow(rng.u64(..), Trouble::SOME);
    let mut places: Vec<_> = (0..directories)
        .map(|_| Place::new(Directory::new()))
        .collect();
    let mut visitor = Visitor::default();
    for _ in 0..steps {
        match rng.u32(..100) {
            0 if places.len() < directories + copies => {
                let original = &places[rng.usize(..places.len())];
                let mut copy = Place::new(original.directory.copy());
                copy.shut_out = original.shut_out;
                places.push(copy);
            }
            1..15 => visitor.step(&bucket),
            _ => {
                let place = rng.usize(..places.len());
                places[place].step(&bucket, rng);
            }
        }
    }
    (bucket, places)
}

/// All die, the store is well again, what was lost lands. Whoever can be opened is the one owner.
fn settle(bucket: &Bucket, mut places: Vec<Place>) {
    places.iter_mut().for_each(|place| place.life = None);
    bucket.trouble(Trouble::NONE);
    bucket.land();
    if bucket.history(|history| history.last()) > 0 {
        let found = now(find(bucket)).unwrap().unwrap();
        right(bucket, &found, bucket.history(|history| history.last()));
    }
    let mut owner = None;
    for place in &places {
        match now(place.directory.open(bucket)) {
            Ok((sequence, _)) => {
                assert!(owner.is_none() && !place.shut_out);
                owner = Some((&place.directory, sequence));
            }
            Err(ClaimError::Fenced { .. }) => {}
            Err(error) => panic!("{error}"),
        }
    }
    let (directory, mut sequence) = owner.expect("whoever made the last object knows it");
    bucket.land();
    now(directory.publish(bucket, &mut sequence)).unwrap();
    let found = now(find(bucket)).unwrap().unwrap();
    assert_eq!(
        (found.owner, &found.catalog),
        (sequence.owner(), sequence.catalog())
    );
    assert_eq!(
        directory.due(&found.catalog),
        [],
        "all that it has is archived"
    );
    let local = directory.manifest().local.clone();
    let known = |change: &Change| says(&local, change);
    assert!(
        found.catalog.changes().all(|change| known(&change)),
        "and nothing else"
    );
}

proptest! {
    #[test]
    fn one_directory_is_never_shut_out_by_itself_and_archives_each_change_once(seed: u64) {
        let (bucket, places) = run(seed, 1, 0, 1_500);
        prop_assert!(places.iter().all(|place| !place.shut_out));
        settle(&bucket, places);
    }

    #[test]
    fn whatever_owners_do_there_is_one_history_and_each_knows_its_part_of_it(seed: u64) {
        let (bucket, places) = run(seed, 3, 0, 1_500);
        settle(&bucket, places);
    }

    #[test]
    fn copies_of_directories_make_one_history_too(seed: u64) {
        let (bucket, places) = run(seed, 1, 4, 2_500);
        settle(&bucket, places);
    }
}
