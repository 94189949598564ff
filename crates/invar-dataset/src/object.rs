//! Files by URL: objects of S3, Google Cloud Storage and Azure, and what web servers give.
//!
//! A URL takes the place of a path wherever an input is named: `s3://BUCKET/KEY`, `gs://BUCKET/KEY`,
//! `az://CONTAINER/KEY`, `https://HOST/PATH`. This module knows what a URL is and what is remembered of an object; who
//! fetches the bytes is a [`ObjectStores`] that the program [installs](install), so that whatever reads inputs compiles
//! without a client for HTTP and TLS.
//!
//! The first look at an object in a command fixes its [`ObjectIdentity`], and all later reads ask for exactly that: what
//! is noted in a manifest is what was read.

use std::{
    collections::HashMap,
    io::{self, Read},
    ops::Range,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use serde::{Deserialize, Serialize};

mod ranged;
mod url;

pub use ranged::RangedObject;
pub(crate) use url::refusal;
pub use url::{first_refusal, is_url, join, named};

/// Number of objects that are looked at at a time.
const LOOKS_AT_ONCE: usize = 16;

/// What distinguishes one content of an object from another, as its store says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectIdentity {
    /// Size, as stored.
    pub size_bytes: u64,
    /// The entity tag (RFC 9110, section 8.8.3): another content has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub etag: Option<String>,
    /// Which version, where the store keeps old ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// When it was stored, nanoseconds since 1970; 0 if the store does not say.
    pub modified_ns: i64,
}

/// Stores of objects, by URL. Errors have the kind that a file's would have: `NotFound`, `PermissionDenied`.
pub trait ObjectStores: Send + Sync {
    /// What an object is now.
    ///
    /// # Errors
    /// If there is none, access is denied, or the store does not answer.
    fn look(&self, url: &str) -> io::Result<ObjectIdentity>;

    /// Reads an object from front to back, ahead of its use.
    fn open(&self, url: &str, object: &ObjectIdentity) -> Box<dyn Read + Send>;

    /// The bytes of `range`, all of them.
    ///
    /// # Errors
    /// As [`ObjectStores::look`]; if the object has changed.
    fn read_range(&self, url: &str, object: &ObjectIdentity, range: Range<u64>) -> io::Result<Vec<u8>>;

    /// The URLs of all objects below one that ends with a slash, sorted.
    ///
    /// # Errors
    /// As [`ObjectStores::look`]; if the store cannot list.
    fn list(&self, url: &str) -> io::Result<Vec<String>>;

    /// Stores a file as an object, which appears when it is complete and replaces another one.
    ///
    /// # Errors
    /// If the file cannot be read or the store does not take it: then nothing of it stays.
    fn upload(&self, file: &Path, url: &str) -> io::Result<ObjectIdentity>;

    /// Forgets how stores are reached: credentials and addresses are looked up anew.
    fn forget(&self);
}

static STORES: OnceLock<Box<dyn ObjectStores>> = OnceLock::new();

static LOOKED_AT: Mutex<Option<HashMap<PathBuf, ObjectIdentity>>> = Mutex::new(None);

/// Makes this process read and write by URL. Only the first call counts.
pub fn install(stores: impl ObjectStores + 'static) {
    let _ = STORES.set(Box::new(stores));
}

/// What an object was when it was first looked at.
///
/// # Errors
/// As [`ObjectStores::look`].
pub fn look(path: &Path) -> io::Result<ObjectIdentity> {
    if let Some(object) = known(path) {
        return Ok(object);
    }
    let object = stores()?.look(&url::full(path)?)?;
    Ok(looked_at().get_or_insert_default().entry(path.into()).or_insert(object).clone())
}

/// Looks at many objects at once, so that asking for each afterwards costs nothing. Errors are left to that.
pub fn look_at_all<'a>(paths: impl IntoIterator<Item = &'a Path>) {
    let paths: Vec<&Path> = paths.into_iter().filter(|path| is_url(path)).collect();
    if paths.len() < 2 {
        return;
    }
    let look_at = |part: &[&Path]| part.iter().for_each(|path| drop(look(path)));
    thread::scope(|scope| {
        for part in paths.chunks(paths.len().div_ceil(LOOKS_AT_ONCE).max(1)) {
            scope.spawn(move || look_at(part));
        }
    });
}

/// Reads an object from front to back.
///
/// # Errors
/// As [`look`].
pub fn open(path: &Path) -> io::Result<Box<dyn Read + Send>> {
    let object = look(path)?;
    Ok(stores()?.open(&url::full(path)?, &object))
}

/// All objects below a URL that ends with a slash, sorted.
///
/// # Errors
/// As [`ObjectStores::list`].
pub fn list(path: &Path) -> io::Result<Vec<PathBuf>> {
    let found = stores()?.list(&url::full(path)?)?;
    Ok(found.into_iter().map(PathBuf::from).collect())
}

/// Stores a file as an object; see [`ObjectStores::upload`].
///
/// # Errors
/// As [`ObjectStores::upload`].
pub fn upload(file: &Path, path: &Path) -> io::Result<()> {
    looked_at().get_or_insert_default().remove(path);
    let object = stores()?.upload(file, &url::full(path)?)?;
    looked_at().get_or_insert_default().insert(path.into(), object);
    Ok(())
}

/// What an object was when it was looked at, if it was.
pub fn known(path: &Path) -> Option<ObjectIdentity> {
    looked_at().get_or_insert_default().get(path).cloned()
}

/// Forgets what objects were, how stores are reached, and which URLs were refused: the next command of this process looks
/// again.
pub fn forget() {
    looked_at().take();
    if let Some(stores) = STORES.get() {
        stores.forget();
    }
    url::forget_refusals();
}

fn stores() -> io::Result<&'static dyn ObjectStores> {
    let none = || io::Error::new(io::ErrorKind::Unsupported, "this program was built without object stores");
    Ok(STORES.get().ok_or_else(none)?.as_ref())
}

fn looked_at() -> MutexGuard<'static, Option<HashMap<PathBuf, ObjectIdentity>>> {
    LOOKED_AT.lock().unwrap_or_else(PoisonError::into_inner)
}
