//! The log as an app sees it, on real files unless a test says otherwise.

mod append;
mod documents;
mod examples;
mod folder;
mod repairs;
mod sim;
mod support;
mod track;
