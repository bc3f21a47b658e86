//! Random operations on a log against a model of it: everything read, every watermark and every
//! error is compared after each step, over clean restarts, crashes and power cuts.
//!
//! What was found once is kept in `tests/it/model.seeds` and tried first.

mod expected;
mod ops;
mod world;

use ops::{Policy, Step, policy, steps};
use proptest::{
    prelude::*,
    test_runner::{FileFailurePersistence, TestRunner},
};
use world::World;

use crate::sim;

fn config() -> ProptestConfig {
    ProptestConfig {
        max_shrink_iters: 2_000,
        failure_persistence: Some(Box::new(FileFailurePersistence::Direct(
            "tests/it/model.seeds",
        ))),
        ..ProptestConfig::default()
    }
}

/// Takes all steps, and then looks once more from the outside.
async fn play(policy: Policy, steps: Vec<Step>) {
    let mut world = World::begin(policy).await;
    for step in steps {
        world.take(step).await;
    }
    world.finish().await;
}

#[test]
fn a_log_is_what_the_model_says_after_any_operations() {
    let mut runner = TestRunner::new(config());
    let outcome = runner.run(&(policy(), steps()), |(policy, steps)| {
        sim::run(play(policy, steps));
        Ok(())
    });
    outcome.unwrap_or_else(|failure| panic!("{failure}"));
}
