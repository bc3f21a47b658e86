//! Where the files of a round live, and the runtime that it runs on.

use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tierlog::Settings;
use tokio::runtime::{Builder, Runtime};

/// `TIERLOG_BENCH_DIR`, or the target folder: a real disk, where the system's folder for temporary
/// files may be memory.
pub fn root() -> PathBuf {
    let chosen = std::env::var_os("TIERLOG_BENCH_DIR").map(PathBuf::from);
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    chosen.unwrap_or_else(|| own.parent().unwrap_or(own).join("target"))
}

/// Where tables and plots are put: a folder `benches` in the target folder.
pub fn results() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = own.parent().unwrap_or(own).join("target/benches");
    std::fs::create_dir_all(&folder).expect("a folder for results");
    folder
}

/// A fresh folder, removed when it is dropped.
pub fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("bench-")
        .tempdir_in(root())
        .expect("a folder")
}

/// The defaults, in a fresh folder.
pub fn settings(folder: &TempDir) -> Settings {
    Settings::new(folder.path().join("log"))
}

/// Two workers, as on the machines that the figures are for.
pub fn runtime() -> Runtime {
    Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime")
}
