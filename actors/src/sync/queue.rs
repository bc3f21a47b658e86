//! A stand-in for flume's bounded channel under loom: what the lane of a stream uses of it. Like that one,
//! it keeps what lies on it when the last receiver goes.

use std::collections::VecDeque;

use flume::{RecvError, SendError, TryRecvError, TrySendError};

use super::{Arc, Mutex, MutexGuard, Notify, PoisonError};

#[derive(Debug)]
struct Shared<T> {
    most: usize,
    messages: Mutex<VecDeque<T>>,
    room: Notify,
    come: Notify,
}

/// Where messages go in.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// Where they come out.
#[derive(Debug)]
pub struct Receiver<T>(Arc<Shared<T>>);

/// A channel for at most so many messages. Both ends of it live in the stream, so that neither is ever gone.
pub fn bounded<T>(most: usize) -> (Sender<T>, Receiver<T>) {
    let shared = Arc::new(Shared {
        most,
        messages: Mutex::new(VecDeque::new()),
        room: Notify::new(),
        come: Notify::new(),
    });
    (Sender(Arc::clone(&shared)), Receiver(shared))
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, VecDeque<T>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_full(&self) -> bool {
        self.lock().len() >= self.most
    }
}

impl<T> Sender<T> {
    /// Puts one in, or gives it back.
    pub fn try_send(&self, message: T) -> Result<(), TrySendError<T>> {
        let mut messages = self.0.lock();
        if messages.len() >= self.0.most {
            return Err(TrySendError::Full(message));
        }
        messages.push_back(message);
        drop(messages);
        self.0.come.notify_one();
        Ok(())
    }

    /// Puts one in as soon as there is room.
    pub async fn send_async(&self, message: T) -> Result<(), SendError<T>> {
        let mut message = message;
        loop {
            match self.try_send(message) {
                Ok(()) => return Ok(()),
                Err(refused) => message = refused.into_inner(),
            }
            self.0.room.notified().await;
        }
    }

    /// Whether there is no room.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }
}

impl<T> Receiver<T> {
    /// Takes the first one.
    pub fn try_recv(&self) -> Result<T, TryRecvError> {
        let message = self.0.lock().pop_front().ok_or(TryRecvError::Empty)?;
        self.0.room.notify_one();
        Ok(message)
    }

    /// Takes the first one as soon as there is one.
    pub async fn recv_async(&self) -> Result<T, RecvError> {
        loop {
            if let Ok(message) = self.try_recv() {
                return Ok(message);
            }
            self.0.come.notified().await;
        }
    }

    /// Takes one after the other until there is none.
    pub fn try_iter(&self) -> impl Iterator<Item = T> + use<'_, T> {
        std::iter::from_fn(|| self.try_recv().ok())
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.0.lock().len()
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.0.is_full()
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}
