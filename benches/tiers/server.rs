//! An S3 server in this process, whose objects are files.

use std::path::Path;

use s3s::{auth::SimpleAuth, service::S3ServiceBuilder};
use tokio::net::TcpListener;

pub const KEY: &str = "bench";

/// Starts it on the runtime of the caller, with which it ends; gives its port. There is one bucket, named
/// `bucket`.
pub async fn start(folder: &Path) -> u16 {
    std::fs::create_dir(folder.join("bucket")).expect("a bucket");
    let files = s3s_fs::FileSystem::new(folder).expect("a folder");
    let mut service = S3ServiceBuilder::new(files);
    service.set_auth(SimpleAuth::from_single(KEY, KEY));
    let service = service.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("a port").port();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            // Else the end of an answer waits for the client's kernel to confirm its beginning, 40 ms.
            socket.set_nodelay(true).expect("a socket");
            let service = service.clone();
            tokio::spawn(async move {
                let executor = hyper_util::rt::TokioExecutor::new();
                let http = hyper_util::server::conn::auto::Builder::new(executor);
                let socket = hyper_util::rt::TokioIo::new(socket);
                // A client that goes away is none of the server's business.
                let _ = http.serve_connection(socket, service).await;
            });
        }
    });
    port
}
