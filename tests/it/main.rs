//! The log as an app sees it, on real files unless a test says otherwise.

mod append;
mod beside;
mod calls;
mod cold;
mod crossings;
mod damage;
mod documents;
mod ends;
mod examples;
mod faults;
mod folder;
mod kill9;
mod lessons;
mod model;
mod observed;
mod open_errors;
mod policies;
mod power;
mod repairs;
mod retention;
mod runtimes;
mod sim;
mod sizes;
mod support;
mod sweep;
mod tiers;
mod track;
mod trims;
mod verify;
mod waits;
mod would_block;

// How the rules of the repository read its sources.
#[allow(dead_code, reason = "only a part of it is needed here")]
#[path = "../tidy/lexer.rs"]
mod lexer;
#[allow(dead_code, reason = "only a part of it is needed here")]
#[path = "../tidy/paths.rs"]
mod paths;
#[allow(dead_code, reason = "only a part of it is needed here")]
#[path = "../tidy/source.rs"]
mod source;
