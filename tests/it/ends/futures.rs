//! The public futures, each as an app would have it.

use std::{future::IntoFuture, time::Duration};

use ::futures::{StreamExt, future::LocalBoxFuture};
use tierlog::{
    AppendError, Error, From, Keep, Kind, Level, NewRecord, Offset, ReadOnly, Reader, Retention,
    Supervisor, TryAppend,
};

use super::world::World;

type Outcome = Result<(), Error>;

/// One of them.
pub struct Case {
    /// As the sources have it.
    pub name: &'static str,
    /// Begins one.
    pub begin: fn(World) -> LocalBoxFuture<'static, Outcome>,
}

/// What only calls another one, on real parts, with the name of that one.
pub const FRONTS: &[(&str, &str)] = &[
    ("Supervisor::open", "Supervisor::open_with"),
    ("Supervisor::open_with_parts", "Supervisor::open_with"),
    ("Supervisor::restore", "Supervisor::restore_with"),
    ("Supervisor::restore_with_parts", "Supervisor::restore_with"),
    ("ReadOnly::attach", "ReadOnly::attach_injected"),
    ("ReadOnly::attach_with", "ReadOnly::attach_injected"),
    ("ReadOnly::attach_with_parts", "ReadOnly::attach_injected"),
    // Beside that it waits for its store on a thread, and there is one here.
    ("ReadOnly::verify_archived", "ReadOnly::verify"),
    ("Reader::open", "ReaderBuilder: IntoFuture"),
];

macro_rules! cases {
    ($($name:literal => |$world:ident| $body:expr;)+) => {
        pub const CASES: &[Case] = &[$(Case {
            name: $name,
            begin: |$world: World| Box::pin(async move { $body }),
        }),+];
    };
}

fn told<T>(outcome: Result<T, AppendError>) -> Outcome {
    outcome.map(drop).map_err(|failed| failed.error)
}

async fn follower(world: &World) -> Result<Reader, Error> {
    world
        .stream
        .reader(From::Latest)
        .follow()
        .into_future()
        .await
}

fn view_of(outcome: Result<impl Sized, Error>) -> Outcome {
    outcome.map(drop)
}

cases! {
    "Stream::append" => |world| told(world.stream.append("a").await);
    "Stream::append_at" => |world| told(world.stream.append_at("a", Level::Archived).await);
    "Stream::append_batch" => |world| {
        let records = vec![NewRecord::from("b"), NewRecord::from("c")];
        told(world.stream.append_batch(records).await)
    };
    "Stream::append_if" => |world| {
        // A conflict: it waits until what it quotes is durable.
        told(world.stream.append_if(Offset(1 << 40), "d").await)
    };
    "Stream::ready" => |world| {
        world.stream.ready(Kind::Admission).await;
        Ok(())
    };
    "Stream::ready_for" => |world| {
        world.stream.ready_for(Kind::Flush, 100).await;
        Ok(())
    };
    "Stream::flush" => |world| view_of(world.stream.flush().await);
    "Stream::seal" => |world| view_of(world.stream.seal().await);
    "Stream::trim" => |world| {
        let before = world.stream.watermarks().start.plus(1);
        view_of(world.stream.trim(before).await)
    };
    "Stream::try_trim" => |world| {
        let before = world.stream.watermarks().start.plus(1);
        view_of(world.stream.try_trim(before).await)
    };
    "Stream::truncate_after" => |world| {
        let last = world.stream.watermarks().durable.get().saturating_sub(2);
        view_of(world.stream.truncate_after(Some(Offset(last))).await)
    };
    "Stream::segments" => |world| view_of(world.stream.segments().await);
    "Stream::set_retention" => |world| {
        let retention = Retention {
            age: Keep::All,
            bytes: Keep::All,
        };
        world.stream.set_retention(retention).await
    };
    "Appender::push" => |world| {
        let mut appender = world.stream.appender();
        // More than fits into one buffer.
        for _ in 0..8 {
            view_of(appender.push(&[7; 9_000]).await)?;
        }
        Ok(())
    };
    "Appender::send" => |world| {
        let mut appender = world.stream.appender();
        appender.try_push(b"sent")?;
        view_of(appender.send().await)
    };
    "Ticket: Future" => |world| match world.stream.try_append("t") {
        Ok(ticket) => told(ticket.await),
        Err(TryAppend::WouldBlock { kind, .. }) => Err(Error::WouldBlock { kind }),
        Err(TryAppend::Failed { error, .. }) => Err(error),
    };
    "ReaderBuilder: IntoFuture" => |world| {
        view_of(world.stream.reader(From::Earliest).into_future().await)
    };
    "Reader::next_batch" => |world| view_of(follower(&world).await?.next_batch(3).await);
    "Reader::next_batch_into" => |world| {
        let mut records = Vec::new();
        view_of(follower(&world).await?.next_batch_into(&mut records, 3).await)
    };
    "Reader::visit" => |world| view_of(follower(&world).await?.visit(3, |_| ()).await);
    "TryNext: Future" => |world| view_of(follower(&world).await?.try_next().await);
    "Reader: Stream" => |world| {
        let mut reader = follower(&world).await?;
        reader.next().await.map_or(Ok(()), view_of)
    };
    "Log::stream" => |world| view_of(world.handle()?.stream("another").await);
    "Log::existing" => |world| view_of(world.handle()?.existing("s").await);
    "Log::streams" => |world| view_of(world.handle()?.streams().await);
    "Log::sweep" => |world| view_of(world.handle()?.sweep().await);
    "Log::sweep_dry" => |world| view_of(world.handle()?.sweep_dry().await);
    "Supervisor::open_with" => |world| {
        let (settings, injected) = world.elsewhere();
        view_of(Supervisor::open_with(settings, injected).await)
    };
    "Supervisor::restore_with" => |world| {
        let (settings, injected) = world.restored();
        view_of(Supervisor::restore_with(settings, injected).await)
    };
    "Supervisor::health" => |world| {
        let Some(log) = world.take_log() else { return Err(Error::Closed) };
        let _health = log.health().await;
        world.put_log(log);
        Ok(())
    };
    "Supervisor::shutdown" => |world| {
        let Some(log) = world.take_log() else { return Err(Error::Closed) };
        view_of(log.shutdown(Duration::from_secs(2)).await)
    };
    "ReadOnly::attach_injected" => |world| {
        let (settings, injected) = world.reading();
        view_of(ReadOnly::attach_injected(settings, injected).await)
    };
    "ReadOnly::refresh" => |world| world.view.refresh().await;
    "ReadOnly::verify" => |world| view_of(world.view.verify(None, |_, _| ()).await);
}
