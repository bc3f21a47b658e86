//! Counting by callgrind: this program once more, under valgrind, as a child that does one thing.

use std::{
    ffi::OsStr,
    path::Path,
    process::{Command, Stdio},
};

/// What callgrind knows [`counted_region`](crate::counted_region) by, whichever way its name is mangled.
pub const REGION: &str = "*counted_region*";

/// Without `rep movsb` and `rep stosb`, of which callgrind counts each byte as an instruction: a buffer that
/// happened to be moved when it grew, in place of being grown where it was, made a scan 5 % dearer.
const TUNED: (&str, &str) = ("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-ERMS");

/// All that a counted child has of the environment. The stack begins behind it, so that its length moves how
/// what lies there is aligned, and code that works on aligned words takes more or fewer steps.
const KEPT: [&str; 4] = ["PATH", "TIERLOG_BENCH_DIR", "TMPDIR", "VALGRIND_LIB"];

/// Which valgrind there is, or how to get one.
///
/// # Errors
/// That there is none.
pub fn version() -> Result<String, String> {
    output("valgrind", &["--version"]).map_err(|why| {
        format!("valgrind does not run ({why}); to have it: apt-get install valgrind")
    })
}

/// What a program prints, without the white space around it.
///
/// # Errors
/// That it does not run, or fails.
pub fn output(program: &str, words: &[&str]) -> Result<String, String> {
    let output = Command::new(program)
        .args(words)
        .output()
        .map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    match output.status.success() {
        true => Ok(text),
        false => Err(format!("{program}: {}", output.status)),
    }
}

/// Runs this program with these words, and gives what it printed.
///
/// # Errors
/// That it did not end well.
pub fn plain(words: &[impl AsRef<OsStr>]) -> Result<String, String> {
    let mut child = Command::new(own()?);
    child.args(words);
    run(child)
}

/// The same under callgrind: what it printed, and how many instructions the region took.
///
/// # Errors
/// That it did not end well, or never came by the region.
pub fn count(words: &[impl AsRef<OsStr>]) -> Result<(String, u64), String> {
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let file = folder.path().join("counts");
    let mut child = Command::new("valgrind");
    child
        .args(["-q", "--tool=callgrind"])
        .arg(format!("--toggle-collect={REGION}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(own()?)
        .args(words)
        .env_clear()
        .envs(std::env::vars_os().filter(|(name, _)| KEPT.iter().any(|kept| name == kept)))
        .env(TUNED.0, TUNED.1);
    let printed = run(child)?;
    let counted = total(&file)?;
    match counted {
        0 => Err("nothing was counted: valgrind did not see the region".to_owned()),
        counted => Ok((printed, counted)),
    }
}

fn own() -> Result<std::path::PathBuf, String> {
    std::env::current_exe().map_err(|error| error.to_string())
}

fn run(mut child: Command) -> Result<String, String> {
    let output = child
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| error.to_string())?;
    match output.status.success() {
        true => Ok(String::from_utf8_lossy(&output.stdout).into_owned()),
        false => Err(format!("it ended with {}", output.status)),
    }
}

fn total(file: &Path) -> Result<u64, String> {
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    total_of(&text).ok_or_else(|| "callgrind wrote no total".to_owned())
}

/// The line `totals:`, which sums what all lines above it say.
fn total_of(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_the_first_figure_behind_its_word() {
        assert_eq!(
            total_of("events: Ir\nsummary: 7\n\ntotals: 123 4\n"),
            Some(123)
        );
        assert_eq!(total_of("events: Ir\nsummary: 7\n"), None);
        assert_eq!(total_of("totals: many"), None);
    }
}
