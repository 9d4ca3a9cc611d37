//! A database and an object store that fail when they are told to.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path as ObjectPath;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result,
};
use scale_sql::{Inject, Point};

use super::operations::{Answers, DatabaseFault, Fails, ObjectFault};
use crate::context::guard;
use crate::store::StoreError;

/// How long a slow call is under way before anything happens.
const SLOWLY: Duration = Duration::from_millis(400);

/// Makes another sum of a sum.
pub(super) type Spoil = Arc<dyn Fn(&[u8]) -> Vec<u8> + Send + Sync>;

/// A fault that a server has for good: it breaks a promise, and the check has to see it.
#[derive(Clone)]
pub(super) enum Plant {
    /// Sums become others.
    Sum(Spoil),
    /// Nothing of this folder is deleted.
    Keeps(&'static str),
    /// Transactions of this name find rows that contradict each other.
    Conflicts(&'static str),
    /// Transactions of this name are never kept.
    Never(&'static str),
}

impl std::fmt::Debug for Plant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Plant")
    }
}

/// What is to fail next, and how often something has.
#[derive(Debug, Default)]
pub(super) struct Faults {
    database: Mutex<Option<(DatabaseFault, u8)>>,
    objects: Mutex<Option<(ObjectFault, u8)>>,
    struck: AtomicU64,
    planted: Mutex<Option<Plant>>,
}

impl Faults {
    pub(super) fn database(&self, fault: DatabaseFault, count: u8) {
        *guard(&self.database) = Some((fault, count));
    }

    pub(super) fn objects(&self, fault: ObjectFault, count: u8) {
        *guard(&self.objects) = Some((fault, count));
    }

    pub(super) fn plant(&self, plant: Plant) {
        *guard(&self.planted) = Some(plant);
    }

    fn planted(&self) -> Option<Plant> {
        guard(&self.planted).clone()
    }

    pub(super) fn off(&self) {
        (*guard(&self.database), *guard(&self.objects)) = (None, None);
    }

    /// How many calls have failed, or were slow, on purpose.
    pub(super) fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }

    /// For [`scale_sql::Database::inject`].
    pub(super) fn hook(self: &Arc<Self>) -> Inject {
        let faults = Arc::clone(self);
        Arc::new(move |name, point| faults.at(name, point))
    }

    fn at(&self, name: &str, point: Point) -> Option<StoreError> {
        match self.planted() {
            Some(Plant::Conflicts(which)) if which == name => return Some(StoreError::Conflict("planted".into())),
            Some(Plant::Never(which)) if which == name && point == Point::Commit => {
                return Some(StoreError::Unavailable("planted".into()));
            }
            _ => {}
        }
        let mut next = guard(&self.database);
        let (fault, left) = next.as_mut()?;
        let here = match fault.how {
            Fails::Begin => Point::Begin,
            Fails::Statement | Fails::Full => Point::Statement,
            Fails::Commit => Point::Commit,
            Fails::Kept => Point::Kept,
        };
        if here != point || fault.name.is_some_and(|only| only != name) {
            return None;
        }
        *left -= 1;
        let full = fault.how == Fails::Full;
        if *left == 0 {
            *next = None;
        }
        self.struck.fetch_add(1, Ordering::Relaxed);
        let why = format!("on purpose, at {point:?} of {name}");
        Some(if full { StoreError::Full(why) } else { StoreError::Unavailable(why) })
    }

    /// Whether this call of the object store goes wrong in one of these ways.
    fn object(&self, path: Option<&ObjectPath>, ways: &[Answers]) -> Option<Answers> {
        let mut next = guard(&self.objects);
        let (fault, left) = next.as_mut()?;
        let fits = fault.folder.is_none_or(|only| path.is_some_and(|path| folder(path) == only));
        if !fits || !ways.contains(&fault.how) {
            return None;
        }
        *left -= 1;
        let how = fault.how;
        if *left == 0 {
            *next = None;
        }
        self.struck.fetch_add(1, Ordering::Relaxed);
        Some(how)
    }
}

/// An object store in memory.
#[derive(Debug)]
pub(super) struct Objects {
    inner: Arc<InMemory>,
    faults: Arc<Faults>,
}

impl Objects {
    pub(super) fn new(inner: Arc<InMemory>, faults: Arc<Faults>) -> Self {
        Self { inner, faults }
    }

    async fn meets(&self, path: Option<&ObjectPath>, ways: &[Answers]) -> Option<Answers> {
        let how = self.faults.object(path, ways);
        if how == Some(Answers::Slowly) {
            tokio::time::sleep(SLOWLY).await;
            return None;
        }
        how
    }
}

/// The first part of a blob's name.
fn folder(path: &ObjectPath) -> &str {
    path.as_ref().split('/').next().unwrap_or_default()
}

fn broken<T>() -> Result<T> {
    Err(object_store::Error::Generic { store: "simulation", source: "on purpose".into() })
}

impl std::fmt::Display for Objects {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Objects")
    }
}

#[tonic::async_trait]
impl ObjectStore for Objects {
    async fn put_opts(&self, at: &ObjectPath, bytes: PutPayload, options: PutOptions) -> Result<PutResult> {
        match self.meets(Some(at), &[Answers::PutFails, Answers::PutKept, Answers::Slowly]).await {
            Some(Answers::PutFails) => broken(),
            Some(_) => {
                self.inner.put_opts(at, bytes, options).await?;
                broken()
            }
            None => {
                let bytes = match self.faults.planted() {
                    Some(Plant::Sum(other)) if folder(at) == "sums" => other(&bytes::Bytes::from(bytes)).into(),
                    _ => bytes,
                };
                self.inner.put_opts(at, bytes, options).await
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        at: &ObjectPath,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(at, options).await
    }

    async fn get_opts(&self, at: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let ways: &[Answers] = match folder(at) {
            "staging" => &[Answers::GetFails, Answers::Slowly, Answers::Removed],
            _ => &[Answers::GetFails, Answers::Slowly],
        };
        match self.meets(Some(at), ways).await {
            Some(Answers::Removed) => {
                object_store::ObjectStoreExt::delete(&*self.inner, at).await?;
                self.inner.get_opts(at, options).await
            }
            Some(_) => broken(),
            None => self.inner.get_opts(at, options).await,
        }
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<ObjectPath>>) -> BoxStream<'static, Result<ObjectPath>> {
        let (inner, faults) = (Arc::clone(&self.inner), Arc::clone(&self.faults));
        let one = move |path: Result<ObjectPath>| {
            let (inner, faults) = (Arc::clone(&inner), Arc::clone(&faults));
            async move {
                let path = path?;
                if faults.object(Some(&path), &[Answers::DeleteFails]).is_some() {
                    return broken();
                }
                if matches!(faults.planted(), Some(Plant::Keeps(kept)) if folder(&path) == kept) {
                    return Ok(path);
                }
                object_store::ObjectStoreExt::delete(&*inner, &path).await.map(|()| path)
            }
        };
        paths.then(one).boxed()
    }

    fn list(&self, prefix: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        if self.faults.object(prefix, &[Answers::ListFails]).is_some() {
            return futures::stream::once(async { broken() }).boxed();
        }
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&ObjectPath>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &ObjectPath, to: &ObjectPath, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
