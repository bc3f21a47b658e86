//! What people have besides tierlog: the tool of zstd.

use std::{fs, path::PathBuf, process::Command};

use crate::{
    faults::rig::{Rig, eventually, one_stream},
    support::{close, say, within},
};

#[test]
fn the_tool_of_zstd_restores_the_segment() {
    if Command::new("zstd").arg("--version").output().is_err() {
        say("SKIPPED: there is no program `zstd` here; apt-get install zstd");
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let dir = tempfile::tempdir().expect("a folder");
        // Both files of each segment stay.
        let rig = Rig::real(dir.path()).with("hot_budget", "10MiB");
        let (log, stream) = one_stream(&rig).await;
        super::append(&stream, 0..150).await;
        within(stream.seal()).await.expect("sealed");
        let streams = dir.path().join("log/streams");
        let warm = || -> Vec<PathBuf> {
            let folder = streams.join(stream.id().to_string());
            let paths = fs::read_dir(folder)
                .expect("a folder")
                .map(|e| e.expect("a file").path());
            paths
                .filter(|path| path.extension().is_some_and(|e| e == "tlz"))
                .collect()
        };
        let segments = stream.segments().await.expect("segments").len();
        eventually("all are compressed", || warm().len() >= segments).await;
        close(log).await;
        for path in warm() {
            let decoded = Command::new("zstd")
                .args(["-d", "-q", "-c"])
                .arg(&path)
                .output();
            let decoded = decoded.expect("it runs");
            assert!(decoded.status.success(), "{decoded:?}");
            let segment = fs::read(path.with_extension("tls")).expect("the segment");
            assert!(decoded.stdout == segment, "byte for byte");
        }
    });
}
