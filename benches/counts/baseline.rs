//! Counts in a file: one line a path, and what they were made with.

use std::{collections::BTreeMap, fmt::Write, path::Path};

/// How many instructions a path took for how many units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    /// All of them.
    pub instructions: u64,
    /// Records, or entries.
    pub units: u64,
}

impl Count {
    /// Of one record, or entry.
    pub fn of_one(self) -> f64 {
        self.instructions as f64 / self.units as f64
    }
}

/// What a file of counts says.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Baseline {
    /// What they were made with, and in what version: counts of two compilers say nothing about the code.
    pub with: BTreeMap<String, String>,
    /// By path.
    pub counts: BTreeMap<String, Count>,
}

const HEAD: &str = "# Instructions of the hot paths, and of how many records or entries.\n\
                    # Written by `cargo bench -p tierlog-counts --bench counts -- save`.\n";

impl Baseline {
    /// Reads it.
    ///
    /// # Errors
    /// The line that makes no sense.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut read = Self::default();
        let lines = text.lines().filter(|line| !line.starts_with('#'));
        for line in lines.filter(|line| !line.trim().is_empty()) {
            let senseless = || format!("this line makes no sense: {line}");
            if let Some((what, version)) =
                line.strip_prefix("with ").and_then(|l| l.split_once(": "))
            {
                read.with.insert(what.to_owned(), version.to_owned());
                continue;
            }
            let words: Vec<_> = line.split_whitespace().collect();
            let [path, instructions, units] = words[..] else {
                return Err(senseless());
            };
            let count = Count {
                instructions: instructions.parse().map_err(|_| senseless())?,
                units: units.parse().map_err(|_| senseless())?,
            };
            if count.instructions == 0 || count.units == 0 {
                return Err(senseless());
            }
            read.counts.insert(path.to_owned(), count);
        }
        Ok(read)
    }

    /// Reads it from a file.
    ///
    /// # Errors
    /// What is wrong, with the file's name.
    pub fn read(path: &Path) -> Result<Self, String> {
        let text = std::fs::read_to_string(path).map_err(|error| error.to_string());
        text.and_then(|text| Self::parse(&text))
            .map_err(|why| format!("{}: {why}", path.display()))
    }

    /// Its text.
    pub fn text(&self) -> String {
        let mut text = HEAD.to_owned();
        for (what, version) in &self.with {
            let _ = writeln!(text, "with {what}: {version}");
        }
        for (path, count) in &self.counts {
            let _ = writeln!(text, "{path} {} {}", count.instructions, count.units);
        }
        text
    }

    /// What it was made with that differs: `what: theirs, here ours`.
    pub fn differences(&self, here: &BTreeMap<String, String>) -> Vec<String> {
        let here = here.iter();
        let different = here.filter(|(what, ours)| self.with.get(*what) != Some(ours));
        different
            .map(|(what, ours)| {
                let theirs = self.with.get(what).map_or("not said", String::as_str);
                format!("{what}: {theirs}; here {ours}")
            })
            .collect()
    }
}

/// How much more this is than that, in percent.
pub fn change(before: Count, now: Count) -> f64 {
    (now.of_one() / before.of_one() - 1.0) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(instructions: u64, units: u64) -> Count {
        Count {
            instructions,
            units,
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let written = Baseline {
            with: [("rustc", "1.95.0 (x: y)"), ("libc", "glibc 2.36")]
                .map(|(what, version)| (what.to_owned(), version.to_owned()))
                .into(),
            counts: [("append/x".to_owned(), count(12_345, 100))].into(),
        };
        assert_eq!(Baseline::parse(&written.text()), Ok(written));
    }

    #[test]
    fn a_line_that_makes_no_sense_is_told() {
        for line in [
            "append/x 1",
            "append/x one 1",
            "append/x 1 0",
            "append/x 0 1",
        ] {
            let told = Baseline::parse(line).expect_err("nothing that counts");
            assert!(told.contains(line), "{told}");
        }
    }

    #[test]
    fn another_compiler_and_one_that_was_not_named_are_told() {
        let read = Baseline::parse("with rustc: 1.95.0").expect("good");
        let here = |rustc: &str| [("rustc".to_owned(), rustc.to_owned())].into();
        assert!(read.differences(&here("1.95.0")).is_empty());
        assert_eq!(read.differences(&here("1.96.0")).len(), 1);
        let unnamed = Baseline::default();
        assert_eq!(unnamed.differences(&here("1.95.0")).len(), 1);
    }

    #[test]
    fn a_change_is_of_one_unit() {
        assert!((change(count(100, 10), count(2040, 200)) - 2.0).abs() < 1e-9);
        assert!((change(count(100, 10), count(5, 1)) + 50.0).abs() < 1e-9);
    }
}
