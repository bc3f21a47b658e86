//! What is fuzzed: a module a target, each with a `run` that takes any bytes and panics where a
//! promise is broken. Nothing here needs libFuzzer, so that stable Rust can run the corpora too.
//!
//! Formats are full of checksums, and a fuzzer never guesses one. So the first byte of most inputs
//! says, among other things, whether the checksums are made right before the bytes are read: with
//! it the code behind them is reached, without it the checks themselves.

pub mod catalog;
pub mod checksums;
pub mod disk;
pub mod frame;
pub mod manifest;
pub mod names;
pub mod ops;
pub mod pointers;
pub mod seal;
pub mod seeds;
pub mod segment;
pub mod settings;
pub mod warm;

pub use tierlog::testing::storage;

/// A target: its name, what it runs, and what its committed corpus is made of.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The name of the binary and of the folder of its corpus.
    pub name: &'static str,
    /// Runs one input.
    pub run: fn(&[u8]),
    /// Inputs to begin with.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 10] = [
    Target {
        name: "frame",
        run: frame::run,
        seeds: seeds::frame,
    },
    Target {
        name: "segment",
        run: segment::run,
        seeds: seeds::segment,
    },
    Target {
        name: "seal",
        run: seal::run,
        seeds: seeds::seal,
    },
    Target {
        name: "warm",
        run: warm::run,
        seeds: seeds::warm,
    },
    Target {
        name: "manifest",
        run: manifest::run,
        seeds: seeds::manifest,
    },
    Target {
        name: "pointers",
        run: pointers::run,
        seeds: seeds::pointers,
    },
    Target {
        name: "catalog",
        run: catalog::run,
        seeds: seeds::catalog,
    },
    Target {
        name: "names",
        run: names::run,
        seeds: seeds::names,
    },
    Target {
        name: "settings",
        run: settings::run,
        seeds: seeds::settings,
    },
    Target {
        name: "ops",
        run: ops::run,
        seeds: seeds::ops,
    },
];

/// The next byte of an input, 0 behind its end.
pub fn take(data: &mut &[u8]) -> u8 {
    match data.split_first() {
        Some((first, rest)) => {
            *data = rest;
            *first
        }
        None => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::PathBuf};

    use super::*;

    fn corpus(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        paths.sort();
        paths
            .into_iter()
            .map(|path| (path.clone(), fs::read(path).unwrap()))
            .collect()
    }

    #[test]
    fn every_committed_input_passes() {
        for target in &TARGETS {
            let inputs = corpus(target);
            assert!(!inputs.is_empty(), "{} has no corpus", target.name);
            for (path, input) in inputs {
                println!("{}", path.display());
                (target.run)(&input);
            }
        }
    }

    #[test]
    fn every_seed_passes_and_so_does_each_of_its_halves() {
        for target in &TARGETS {
            for seed in (target.seeds)() {
                for end in [seed.len(), seed.len() / 2, seed.len() * 3 / 4] {
                    (target.run)(&seed[..end]);
                }
            }
            (target.run)(&[]);
        }
    }
}
