//! Folders as a test sees them: their whole contents, to be compared, copied and put back.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Everything below a folder: files with their bytes, folders with none.
pub type Contents = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// All that lies below a folder.
pub fn contents(dir: &Path) -> Contents {
    let mut found = Contents::new();
    gather(dir, dir, &mut found);
    found
}

fn gather(root: &Path, dir: &Path, found: &mut Contents) {
    for entry in fs::read_dir(dir).expect("a folder") {
        let path = entry.expect("an entry").path();
        let name = path.strip_prefix(root).expect("below it").to_path_buf();
        if path.is_dir() {
            found.insert(name, None);
            gather(root, &path, found);
        } else {
            found.insert(name, Some(fs::read(&path).expect("a file")));
        }
    }
}

/// The files below a folder whose names end so, in order.
pub fn files(dir: &Path, end: &str) -> Vec<PathBuf> {
    let all = contents(dir).into_iter();
    all.filter(|(name, bytes)| bytes.is_some() && name.to_string_lossy().ends_with(end))
        .map(|(name, _)| dir.join(name))
        .collect()
}

/// Changes some bytes of a file.
pub fn patch(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).expect("a file");
    change(&mut bytes);
    fs::write(path, bytes).expect("it can be written");
}
