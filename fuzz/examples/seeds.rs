//! Writes the seeds into `corpus/`, a file each: `cargo run --example seeds`. Files that are there
//! are left alone.

use std::{fs, io, path::PathBuf};

fn main() -> io::Result<()> {
    let corpus = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("corpus");
    for target in &tierlog_fuzz::TARGETS {
        let folder = corpus.join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (1..).zip((target.seeds)()) {
            let path = folder.join(format!("seed-{number}"));
            if !path.exists() {
                fs::write(path, seed)?;
            }
        }
    }
    Ok(())
}
