//! Named points at which a test kills, parks or panics an actor. Without the feature
//! `fault-injection` a point is nothing at all.

#[cfg(feature = "fault-injection")]
pub use armed::{Action, Faults, Sway};
#[cfg(not(feature = "fault-injection"))]
pub use unarmed::Faults;

/// Every point of a log with one tier, as `actor.step`. A test derives its cases from this list.
pub const POINTS: &[&str] = &[
    "writer.drain",
    "writer.before_write",
    "writer.after_write",
    "writer.before_ack",
    "writer.flush_done",
    "writer.before_seal",
    "writer.after_seal",
    "writer.before_repair_commit",
    "writer.before_truncate_commit",
    "writer.after_truncate_commit",
    "writer.retire",
    "flusher.take",
    "flusher.before_sync",
    "flusher.after_sync",
    "coordinator.admit",
    "coordinator.before_create",
    "coordinator.after_create",
    "coordinator.after_commit",
    "coordinator.rollover",
    "coordinator.trim",
    "coordinator.after_trim_commit",
    "manifest.take",
    "manifest.before_commit",
    "manifest.after_commit",
    "supervisor.open",
];

/// Those that only a log with more than one tier comes by.
pub const MOVE_POINTS: &[&str] = &[
    "coordinator.before_move",
    "coordinator.after_move",
    "compressor.take",
];

/// Those that only a log with Tier 2 comes by.
pub const COLD_POINTS: &[&str] = &[
    "coordinator.before_publish",
    "coordinator.after_publish",
    "uploader.take",
    "uploader.publish",
];

/// Those that only an upload in parts comes by.
pub const PARTS_POINTS: &[&str] = &["uploader.before_parts", "uploader.after_parts"];

/// Those that only a sweep comes by that has something to remove.
pub const SWEEP_POINTS: &[&str] = &[
    "coordinator.before_take",
    "coordinator.before_clean",
    "coordinator.before_discard",
];

#[cfg(not(feature = "fault-injection"))]
mod unarmed {
    /// Nothing can be armed.
    #[derive(Debug, Clone, Default)]
    pub struct Faults(());

    impl Faults {
        /// Nothing happens here.
        #[inline(always)]
        pub async fn at(&self, _point: &'static str) {}
    }
}

#[cfg(feature = "fault-injection")]
mod armed {
    use std::{
        collections::HashMap,
        fmt,
        sync::{Arc, Mutex, PoisonError},
    };

    use futures::future::BoxFuture;
    use tokio::sync::Notify;

    /// What happens at a point.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub enum Action {
        /// The actor's task is torn down where it stands, as by `kill`.
        Kill,
        /// The actor waits until it is released.
        Park,
        /// The actor panics.
        Panic,
    }

    /// The points that are armed in one log. Clones share them.
    #[derive(Debug, Clone, Default)]
    pub struct Faults(Arc<Inner>);

    /// What whoever comes by a point does first: waits a little, or not.
    pub type Sway = Arc<dyn Fn(&'static str) -> BoxFuture<'static, ()> + Send + Sync>;

    #[derive(Default)]
    struct Inner {
        points: Mutex<HashMap<&'static str, Point>>,
        sway: Mutex<Option<Sway>>,
        reached: Notify,
        released: Notify,
    }

    #[derive(Debug, Default, Clone, Copy)]
    struct Point {
        armed: Option<(Action, u32)>,
        passed: u64,
        parked: u32,
        releases: u32,
    }

    impl fmt::Debug for Inner {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.debug_struct("Inner")
                .field("points", &self.points)
                .finish_non_exhaustive()
        }
    }

    /// The panic payload of a kill, so that it can be told from a failed assertion.
    #[derive(Debug)]
    pub struct Killed;

    impl Faults {
        /// Arms a point: it acts once, the `nth` time (from 1) that it is reached from now on.
        pub fn arm(&self, point: &'static str, action: Action, nth: u32) {
            let all = [
                super::POINTS,
                super::MOVE_POINTS,
                super::COLD_POINTS,
                super::SWEEP_POINTS,
                super::PARTS_POINTS,
            ];
            let known = all.iter().any(|points| points.contains(&point));
            assert!(known, "no such point: {point}");
            self.with(point, |at| at.armed = Some((action, nth)));
        }

        /// Lets what is parked at a point go on.
        pub fn release(&self, point: &'static str) {
            self.with(point, |at| at.releases += at.parked.max(1));
            self.0.released.notify_waiters();
        }

        /// How often a point was passed or acted upon.
        pub fn passed(&self, point: &'static str) -> u64 {
            self.with(point, |at| at.passed)
        }

        /// Resolves when somebody is parked at the point, or it acted in another way since `seen`.
        pub async fn reached(&self, point: &'static str, seen: u64) {
            loop {
                let reached = self.0.reached.notified();
                tokio::pin!(reached);
                reached.as_mut().enable();
                if self.passed(point) > seen {
                    return;
                }
                reached.await;
            }
        }

        /// What is done at every point from now on, before what is armed there acts.
        pub fn sway(&self, sway: Sway) {
            *self.0.sway.lock().unwrap_or_else(PoisonError::into_inner) = Some(sway);
        }

        /// Acts if the point is armed.
        pub async fn at(&self, point: &'static str) {
            let sways = {
                let sway = self.0.sway.lock().unwrap_or_else(PoisonError::into_inner);
                sway.as_ref().map(|sway| sway(point))
            };
            if let Some(sways) = sways {
                sways.await;
            }
            let action = self.with(point, |at| {
                at.passed += 1;
                let (action, nth) = at.armed?;
                if nth > 1 {
                    at.armed = Some((action, nth - 1));
                    return None;
                }
                at.armed = None;
                if action == Action::Park {
                    at.parked += 1;
                }
                Some(action)
            });
            self.0.reached.notify_waiters();
            match action {
                None => {}
                Some(Action::Panic) => panic!("told to panic at {point}"),
                // To a task it is all one whether it is aborted or unwound: its state is dropped
                // without another step of it being run.
                Some(Action::Kill) => std::panic::resume_unwind(Box::new(Killed)),
                Some(Action::Park) => self.park(point).await,
            }
        }

        async fn park(&self, point: &'static str) {
            loop {
                let released = self.0.released.notified();
                tokio::pin!(released);
                released.as_mut().enable();
                let free = self.with(point, |at| {
                    if at.releases == 0 {
                        return false;
                    }
                    at.releases -= 1;
                    at.parked = at.parked.saturating_sub(1);
                    true
                });
                if free {
                    return;
                }
                released.await;
            }
        }

        fn with<T>(&self, point: &'static str, f: impl FnOnce(&mut Point) -> T) -> T {
            let mut points = self.0.points.lock().unwrap_or_else(PoisonError::into_inner);
            f(points.entry(point).or_default())
        }
    }
}
