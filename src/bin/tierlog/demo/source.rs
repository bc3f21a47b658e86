//! The file that a demo puts through the log. It is read twice, so it must be one that can be.

use std::fs::File;
use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use indicatif::ProgressBar;

use crate::exit::Ending;
use crate::input;
use crate::progress::progress;

/// Made by `examples/make_demo_log.rs`.
static SHIPPED: &[u8] = include_bytes!("../../../../assets/demo.log");

/// See the module.
#[derive(Debug)]
pub(super) struct Source {
    file: Option<PathBuf>,
    len: u64,
}

impl Source {
    pub(super) fn new(file: Option<PathBuf>) -> Result<Self, Ending> {
        let Some(path) = file else {
            return Ok(Self {
                file: None,
                len: SHIPPED.len() as u64,
            });
        };
        let opened = input::open_file(&path)?;
        match opened.metadata() {
            Ok(about) if about.is_file() => Ok(Self {
                len: about.len(),
                file: Some(path),
            }),
            _ => Err(Ending::failed(
                format!(
                    "{} is no plain file, and the demo reads it twice",
                    path.display()
                ),
                "save it to a file first",
            )),
        }
    }

    /// From its beginning.
    pub(super) fn open(&self) -> Result<input::Source, Ending> {
        match &self.file {
            None => Ok(Box::new(Cursor::new(SHIPPED))),
            Some(path) => input::open_file(path).map(|file: File| Box::new(file) as input::Source),
        }
    }

    pub(super) fn len(&self) -> u64 {
        self.len
    }

    pub(super) fn name(&self) -> String {
        match &self.file {
            None => "the shipped demo.log".into(),
            Some(path) => path.display().to_string(),
        }
    }

    /// A bar on stderr, if that is a terminal and nobody asked for JSON.
    pub(super) fn progress(&self, what: &'static str, json: bool) -> ProgressBar {
        let style = "{msg:9} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
        let bar = progress(json, style).with_message(what);
        bar.set_length(self.len);
        bar.enable_steady_tick(Duration::from_millis(200));
        bar
    }
}
