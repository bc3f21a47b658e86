//! Runs one input of a target, and says what it does: `cargo run --example replay TARGET FILE`.

use std::{env, fs};

fn main() {
    let mut args = env::args().skip(1);
    let name = args.next().expect("the name of a target");
    let input = fs::read(args.next().expect("a file")).expect("the file can be read");
    let target = tierlog_fuzz::TARGETS
        .iter()
        .find(|target| target.name == name);
    (target.expect("one of the targets").run)(&input);
}
