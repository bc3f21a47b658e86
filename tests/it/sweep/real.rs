//! On real files: what is no regular file is never opened, followed or removed.

use std::{
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use tierlog::{Settings, Supervisor};

use super::{name, sweep};
use crate::support::{close, open, read_all, small, within};

fn folder_of(settings: &Settings, log: &Path) -> PathBuf {
    assert_eq!(settings.data, log);
    let mut streams = std::fs::read_dir(log.join("streams")).expect("a folder");
    let first = streams.next().expect("a stream").expect("an entry");
    first.path()
}

async fn filled(settings: &Settings) -> Supervisor {
    let log = open(settings).await;
    let stream = within(log.log().stream("s")).await.expect("a stream");
    within(stream.append("a record")).await.expect("an ack");
    log
}

#[test]
fn links_and_pipes_with_the_names_of_segments_are_left_alone_and_not_followed() {
    crate::faults::rig::on_each_runtime(|_| async {
        let dir = tempfile::tempdir().expect("a folder");
        let settings = small(dir.path());
        let log = filled(&settings).await;
        let folder = folder_of(&settings, &dir.path().join("log"));
        let own = folder.join(name(0, "tls"));
        assert!(own.exists());
        let target = dir.path().join("precious");
        std::fs::write(&target, "somebody's").expect("written");
        let planted = [
            (folder.join(name(900, "tls")), &target),
            (folder.join(name(901, "tlz")), &target),
            (folder.join(name(902, "tls.tmp")), &target),
            // To a segment of this very log.
            (folder.join(name(903, "tls")), &own),
            (folder.join(name(0, "tlz")), &own),
            (
                dir.path().join("log/manifest").join(name(0, "tlm")),
                &target,
            ),
        ];
        for (link, to) in &planted {
            symlink(to, link).expect("a link");
        }
        let pipe = folder.join(name(904, "tls"));
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.expect("mkfifo").success());
        let swept = sweep(&log).await;
        assert_eq!((swept.removed, swept.quarantined), (0, 0), "{swept:?}");
        assert_eq!(swept.foreign, planted.len() as u64 + 1, "{swept:?}");
        let are_there = || {
            let mut links = planted.iter().map(|(link, _)| link);
            links.all(|link| link.is_symlink()) && std::fs::symlink_metadata(&pipe).is_ok()
        };
        assert!(are_there());
        close(log).await;
        // An open leaves them alone as well, and is not kept from its work.
        let log = open(&settings).await;
        assert!(are_there());
        let stream = within(log.log().existing("s")).await.expect("a stream");
        assert_eq!(read_all(&stream).await.len(), 1);
        assert_eq!(std::fs::read(&target).expect("read"), b"somebody's");
        close(log).await;
    });
}
