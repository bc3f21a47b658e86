//! Where objects are, as opendal and as tierlog are told of it, and how opendal reads one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bytes::Bytes;
use opendal::{Operator, services};

use crate::server;

/// Parts as the store writes them, and as many at once.
pub const PART: usize = 8 << 20;
pub const AT_ONCE: usize = 4;

/// The places that are measured.
pub const NAMES: [&str; 2] = ["folder", "S3 server"];

pub enum Store {
    Folder(PathBuf),
    Server(u16),
}

impl Store {
    /// One of [`NAMES`], whose objects are files below this folder.
    pub async fn start(name: &str, folder: &Path) -> Self {
        match name {
            "folder" => Self::Folder(folder.to_owned()),
            _ => Self::Server(server::start(folder).await),
        }
    }

    /// What opendal knows below this name.
    pub fn operator(&self, below: &str) -> Operator {
        match self {
            Self::Folder(folder) => {
                let folder = folder.join(below);
                fs::create_dir_all(&folder).expect("a folder");
                let root = folder.to_str().expect("a name");
                Operator::new(services::Fs::default().root(root)).expect("a folder")
            }
            Self::Server(port) => {
                let service = services::S3::default()
                    .bucket("bucket")
                    .root(&format!("/{below}"))
                    .endpoint(&endpoint(*port))
                    .region("us-east-1")
                    .access_key_id(server::KEY)
                    .secret_access_key(server::KEY);
                Operator::new(service).expect("a bucket")
            }
        }
    }

    /// The same place, for tierlog.
    pub fn uri(&self, below: &str) -> String {
        match self {
            Self::Folder(folder) => {
                let folder = folder.join(below);
                fs::create_dir_all(&folder).expect("a folder");
                format!("fs://{}", folder.display())
            }
            Self::Server(port) => {
                let (endpoint, key) = (endpoint(*port), server::KEY);
                let options = format!("endpoint={endpoint}&region=us-east-1");
                let secrets = format!("access_key_id={key}&secret_access_key={key}");
                format!("s3://bucket/{below}?{options}&{secrets}")
            }
        }
    }
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Reads an object of so many bytes to its end, in parts.
pub async fn read(operator: &Operator, key: &str, len: u64, mut each: impl FnMut(Bytes)) {
    let reader = operator.reader_with(key);
    let reader = reader.chunk(PART).concurrent(AT_ONCE).await;
    let reader = reader.expect("a reader");
    let mut at = 0;
    while at < len {
        let end = (at + (PART * AT_ONCE) as u64).min(len);
        let part = reader.read(at..end).await.expect("read");
        part.for_each(&mut each);
        at = end;
    }
}
