//! Objects of S3, Google Cloud Storage, Azure and web servers, as what Invar reads and writes by URL.
//!
//! ```text
//! look      a GET of the first byte: size, entity tag, version; also what a bucket or an object that is missing is told by
//! read      ranged GETs of 4 MiB, four ahead of the reader, each for the entity tag that was looked at
//! upload    parts of 8 MiB, four at a time, completed last, aborted on any error
//! ```
//! A request that fails or stalls is made again, from the byte on that it came to, with growing pauses. Credentials come
//! from the environment variables of each store's own tools and from nowhere else; no error tells them.

use std::{
    collections::HashMap,
    env,
    future::Future,
    io::{self, Read},
    ops::Range,
    path::Path,
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use invar_dataset::object::{self, ObjectIdentity, ObjectStores};
use tokio::runtime::{Builder, Runtime};

mod address;
mod error;
mod fetch;
mod read_ahead;
mod upload;

use address::{Address, Client};
pub use error::StoreError;

/// Makes this process read and write by URL.
pub fn install() {
    object::install(Stores::default());
}

/// All stores, each with a client of its own once it is used.
#[derive(Default)]
struct Stores {
    clients: Mutex<HashMap<String, Arc<Client>>>,
}

/// How long and how often a store is asked.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Without a byte for this long, a request has failed.
    timeout: Duration,
    /// How often a request that failed is made again, unless bytes came.
    retries: usize,
}

impl Patience {
    /// `INVAR_STORE_TIMEOUT_S` (30) and `INVAR_STORE_RETRIES` (8).
    fn from_env() -> Result<Self, StoreError> {
        let number = |name: &'static str, default: u64| match env::var(name) {
            Err(_) => Ok(default),
            Ok(found) => found.parse().map_err(|_| StoreError::Setting { name, expected: "a whole number", found }),
        };
        let timeout = Duration::from_secs(number("INVAR_STORE_TIMEOUT_S", 30)?.max(1));
        Ok(Self { timeout, retries: number("INVAR_STORE_RETRIES", 8)? as usize })
    }

    /// The pause before the request is made again for the `number`th time: 0.1 s, doubled each time, 10 s at most.
    fn pause(number: usize) -> Duration {
        Duration::from_millis(100 << number.min(7)).min(Duration::from_secs(10))
    }
}

impl Stores {
    fn address(&self, url: &str) -> Result<Address, StoreError> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        Address::of(url, &mut clients)
    }
}

impl ObjectStores for Stores {
    fn look(&self, url: &str) -> io::Result<ObjectIdentity> {
        let address = self.address(url)?;
        Ok(wait_for(fetch::look(&address))??)
    }

    fn open(&self, url: &str, object: &ObjectIdentity) -> Box<dyn Read + Send> {
        match (self.address(url), runtime()) {
            (Ok(address), Ok(runtime)) => Box::new(read_ahead::ReadAhead::start(runtime, address, object.clone())),
            (Err(error), _) => Box::new(Failed(Some(error.into()))),
            (_, Err(error)) => Box::new(Failed(Some(error))),
        }
    }

    fn read_range(&self, url: &str, object: &ObjectIdentity, range: Range<u64>) -> io::Result<Vec<u8>> {
        let address = self.address(url)?;
        Ok(wait_for(fetch::fetch(&address, object, range))??)
    }

    fn list(&self, url: &str) -> io::Result<Vec<String>> {
        let address = self.address(url)?;
        Ok(wait_for(fetch::list(&address))??)
    }

    fn upload(&self, file: &Path, url: &str) -> io::Result<ObjectIdentity> {
        let address = self.address(url)?;
        wait_for(upload::upload(file, &address))?
    }

    fn forget(&self) {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

/// What cannot be read, as a reader.
struct Failed(Option<io::Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

fn wait_for<T>(work: impl Future<Output = T>) -> io::Result<T> {
    Ok(runtime()?.block_on(work))
}

/// Where requests are waited for: two threads, started with the first.
fn runtime() -> io::Result<&'static Runtime> {
    static RUNTIME: OnceLock<io::Result<Runtime>> = OnceLock::new();
    let start = || Builder::new_multi_thread().worker_threads(2).thread_name("invar-store").enable_all().build();
    RUNTIME.get_or_init(start).as_ref().map_err(|error| io::Error::new(error.kind(), error.to_string()))
}
