//! A server of S3 that checks signatures, paths and times, for tests: s3s-fs on a free port of this machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::Context as _;
use hyper::Method;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use tokio::net::TcpListener;
use tokio::sync::Mutex;

/// The server's only key.
pub const ACCESS_KEY: &str = "scale-test-key";
/// And its secret.
pub const SECRET_KEY: &str = "scale-test-secret";
/// The bucket that is there.
pub const BUCKET: &str = "models";

/// One that runs in this process, as long as its runtime does.
#[derive(Clone, Debug)]
pub struct S3Server {
    address: SocketAddr,
    losing: Arc<AtomicU32>,
}

impl S3Server {
    /// Starts one whose bucket is a folder below `root`, on `port`; 0 takes a free one.
    ///
    /// # Errors
    /// When the folder or the port cannot be had.
    pub async fn start(root: &Path, port: u16) -> anyhow::Result<Self> {
        std::fs::create_dir_all(root.join(BUCKET)).context("make the bucket")?;
        let files = s3s_fs::FileSystem::new(root).map_err(|error| anyhow::anyhow!("s3s-fs: {error:?}"))?;
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = builder.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.context("listen")?;
        let address = listener.local_addr()?;
        // It looks whether an object is there before it writes one, and two writes at once would both find none. S3 itself
        // takes one of them.
        let writing = Arc::new(Mutex::new(()));
        let losing = Arc::new(AtomicU32::new(0));
        let (lost, writes) = (Arc::clone(&losing), Arc::new(AtomicU32::new(0)));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (service, writing) = (service.clone(), Arc::clone(&writing));
                let (lost, writes) = (Arc::clone(&lost), Arc::clone(&writes));
                let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
                    let (service, writing) = (service.clone(), Arc::clone(&writing));
                    let (lost, writes) = (Arc::clone(&lost), Arc::clone(&writes));
                    async move {
                        if request.method() != Method::PUT {
                            return Service::call(&service, request).await;
                        }
                        let _alone = writing.lock().await;
                        let mut answer = Service::call(&service, request).await?;
                        let every = lost.load(Ordering::Relaxed);
                        if every > 0 && writes.fetch_add(1, Ordering::Relaxed).is_multiple_of(every) {
                            *answer.status_mut() = hyper::StatusCode::SERVICE_UNAVAILABLE;
                        }
                        Ok(answer)
                    }
                });
                tokio::spawn(async move {
                    let _ = Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), answer).await;
                });
            }
        });
        Ok(Self { address, losing })
    }

    /// From now on one of so many writes is done, and answered as if it was not; 0: none.
    pub fn lose_answers(&self, every: u32) {
        self.losing.store(every, Ordering::Relaxed);
    }

    /// Its address, as `blobs.endpoint` takes it.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The variables by which a coordinator finds the keys.
    pub fn environment() -> Vec<(String, String)> {
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY), ("AWS_REGION", "eu-central-1")]
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .into()
    }
}
