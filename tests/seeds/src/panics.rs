//! Panics: those that were planted are part of the test, every other one is a failure of the seed.

use std::{
    cell::RefCell,
    panic,
    sync::{Arc, Mutex, PoisonError},
};

/// What panicked, with the place.
pub type Panics = Arc<Mutex<Vec<String>>>;

thread_local! {
    static MINE: RefCell<Option<Panics>> = const { RefCell::new(None) };
}

/// Notes panics instead of printing them, from now on, on threads that said where.
pub fn listen() {
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let Some(mine) = of_this_thread() else {
            return before(info);
        };
        let what = info.payload_as_str().unwrap_or("a panic without words");
        if what.starts_with("told to panic at") {
            return;
        }
        let place = info.location().map(ToString::to_string);
        let line = format!("{what} ({})", place.unwrap_or_default());
        mine.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(line);
    }));
}

/// Where panics of this thread are noted.
pub fn of_this_thread() -> Option<Panics> {
    MINE.try_with(|mine| mine.borrow().clone()).ok().flatten()
}

/// Panics of this thread are noted there from now on.
pub fn take(panics: Option<Panics>) {
    MINE.set(panics);
}
