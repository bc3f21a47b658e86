//! Numbers and names that must not be mixed up, each its own type.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);

            /// The bare number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The one that is `n` further on.
            ///
            /// # Panics
            /// When the number would leave 64 bits, which no log reaches: it would be a broken
            /// invariant, and going on would assign numbers twice.
            #[must_use]
            pub const fn plus(self, n: u64) -> Self {
                match self.0.checked_add(n) {
                    Some(sum) => Self(sum),
                    None => panic!("a log number left 64 bits"),
                }
            }

            /// How far this one is beyond `earlier`; 0 where it is not beyond it.
            pub const fn since(self, earlier: Self) -> u64 {
                self.0.saturating_sub(earlier.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }
    };
}

number! {
    /// The position of a record in its stream: 0, 1, 2, … without gaps.
    Offset
}
number! {
    /// The number of a segment in its stream. Never used twice, not even after a truncation.
    SegmentNo
}
number! {
    /// The ownership of a log: each open for writing takes the next one.
    Epoch
}
number! {
    /// The life of a stream's tail: each restart and each truncation takes the next one, so that
    /// what was said about an offset before is never taken to be about what stands there now.
    Incarnation
}

/// An identity that nobody else has; of two from one process the later one is the greater.
fn unlike_every_other() -> Uuid {
    #[cfg(feature = "fault-injection")]
    if let Some(id) = seeded::next() {
        return id;
    }
    Uuid::now_v7()
}

/// Identities that follow from a seed: they order streams and keys and stand in the bytes that are
/// compressed, so that with others the same test takes another course.
#[cfg(feature = "fault-injection")]
mod seeded {
    use std::cell::RefCell;

    use uuid::{Builder, Uuid};

    thread_local! {
        static NEXT: RefCell<Option<(u64, fastrand::Rng)>> = const { RefCell::new(None) };
    }

    pub(super) fn begin(seed: Option<u64>) {
        NEXT.set(seed.map(|seed| (0, fastrand::Rng::with_seed(seed))));
    }

    pub(super) fn next() -> Option<Uuid> {
        NEXT.with_borrow_mut(|next| {
            let (count, random) = next.as_mut()?;
            *count += 1;
            let mut bytes = [0; 10];
            random.fill(&mut bytes);
            Some(Builder::from_unix_timestamp_millis(*count, &bytes).into_uuid())
        })
    }
}

/// Makes identities that are generated on this thread follow from a seed, or none any more.
#[cfg(feature = "fault-injection")]
pub fn seed_identities(seed: Option<u64>) {
    seeded::begin(seed);
}

macro_rules! identity {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new one, unlike every other.
            #[must_use]
            pub fn generate() -> Self {
                Self(unlike_every_other())
            }

            /// The sixteen bytes that stand in files.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                self.0.as_bytes()
            }

            /// From the sixteen bytes that stand in files.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_simple(), f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                text.parse().map(Self)
            }
        }
    };
}

identity! {
    /// Which log a file belongs to. It stands in every file of the log.
    LogId
}
identity! {
    /// Which stream a segment belongs to; names live in the manifest only.
    StreamId
}
identity! {
    /// An owner of the log as Tier 2 knows it: made anew for each claim, so that a copy of a directory
    /// is somebody else.
    OwnerId
}
identity! {
    /// One attempt to create an object of the catalog: tells our own from somebody else's when the
    /// response was lost.
    AttemptId
}
