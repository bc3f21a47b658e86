//! How much a benchmark does.

/// Whether figures are wanted. `cargo test --benches`, and `--quick`, only look whether all of it still
/// runs, and what is printed then means nothing.
pub fn is_measured() -> bool {
    let has = |wanted: &str| std::env::args().any(|word| word == wanted);
    has("--bench") && !has("--quick")
}

/// So many where figures are wanted, a fiftieth elsewhere, and one at least.
pub fn count(full: usize) -> usize {
    match is_measured() {
        true => full,
        false => (full / 50).max(1),
    }
}

/// So many rounds, or one.
pub fn rounds(full: usize) -> usize {
    match is_measured() {
        true => full,
        false => 1,
    }
}

/// The words behind `--`, or whatever a part is called where there are none.
pub fn wants(part: &str) -> bool {
    let mut words = std::env::args().skip(1).filter(|w| !w.starts_with('-'));
    let first = words.next();
    first.is_none_or(|first| first == part || words.any(|word| word == part))
}
