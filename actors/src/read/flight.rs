//! A reading job on its way: its turn, its threads, and how long it may take.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use tokio::sync::OwnedSemaphorePermit;

use super::{
    fetch::{Fetched, Order, carry_out},
    source::{ReadContext, Timer},
};
use crate::{
    error::Error,
    exec::{Completion, JobDied, Work},
};

/// A job under way, or waiting for its turn.
pub(super) struct Flight {
    pub(super) order: Order,
    state: State,
    /// Runs since somebody has begun to wait for it.
    timer: Option<Timer>,
}

enum State {
    Waiting(Pin<Box<dyn Future<Output = Option<OwnedSemaphorePermit>> + Send>>),
    Running(Completion<Fetched>),
}

impl fmt::Debug for Flight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = matches!(self.state, State::Waiting(_));
        f.debug_struct("Flight")
            .field("order", &self.order)
            .field("waiting", &waiting)
            .finish()
    }
}

impl Flight {
    /// Starts the job, or waits for its turn.
    pub(super) fn begin(ctx: &Arc<ReadContext>, order: Order) -> Self {
        let state = State::begin(ctx, &order);
        Self {
            order,
            state,
            timer: None,
        }
    }

    /// Starts the job only if a turn is free: nobody waits for it yet.
    pub(super) fn try_begin(ctx: &Arc<ReadContext>, order: Order) -> Option<Self> {
        let permit = Arc::clone(ctx.turns(order.far)).try_acquire_owned().ok()?;
        let state = State::Running(launch(ctx, &order, permit));
        Some(Self {
            order,
            state,
            timer: None,
        })
    }

    /// What came of it.
    pub(super) fn poll(
        &mut self,
        ctx: &Arc<ReadContext>,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Fetched, JobDied>> {
        loop {
            match &mut self.state {
                State::Waiting(turn) => match ready!(turn.as_mut().poll(cx)) {
                    Some(permit) => self.state = State::Running(launch(ctx, &self.order, permit)),
                    None => return Poll::Ready(Err(JobDied)),
                },
                State::Running(completion) => match ready!(Pin::new(completion).poll(cx)) {
                    Ok(Fetched::Far) => {
                        self.order.far = true;
                        self.state = State::begin(ctx, &self.order);
                    }
                    outcome => return Poll::Ready(outcome),
                },
            }
        }
    }

    /// Resolves when it has been waited for as long as anybody may be kept waiting, and again after
    /// as much time.
    pub(super) fn poll_late(&mut self, ctx: &ReadContext, cx: &mut Context<'_>) -> Poll<Error> {
        let Some(patience) = &ctx.patience else {
            return Poll::Pending;
        };
        let timer = self.timer.get_or_insert_with(|| patience.timer());
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        let what = match self.order.far {
            true => "Tier 2",
            false => "the disk",
        };
        Poll::Ready(Error::stalled(what, patience.after))
    }
}

impl State {
    fn begin(ctx: &Arc<ReadContext>, order: &Order) -> Self {
        let turns = ctx.turns(order.far);
        match Arc::clone(turns).try_acquire_owned() {
            Ok(permit) => Self::Running(launch(ctx, order, permit)),
            Err(_) => {
                let turn = Arc::clone(turns).acquire_owned();
                Self::Waiting(Box::pin(async move { turn.await.ok() }))
            }
        }
    }
}

fn launch(
    ctx: &Arc<ReadContext>,
    order: &Order,
    permit: OwnedSemaphorePermit,
) -> Completion<Fetched> {
    let (order, inner) = (order.clone(), Arc::clone(ctx));
    let work = match order.far {
        true => Work::Fetch,
        false => Work::Read,
    };
    ctx.job_of(work, move || {
        let fetched = carry_out(&inner, &order).unwrap_or_else(Fetched::Failed);
        // The turn is over when the job is, not when its reader has gone.
        drop(permit);
        fetched
    })
}
