//! What a node remembers over its own end: who it is to the SuperLink, and which message it has not answered.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use invar_dataset::{atomic, lock::Lock};
use prost::Message as _;
use serde::{Deserialize, Serialize};

use crate::{Error, proto::Metadata};

/// A message that was pulled.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pulled {
    pub(crate) metadata: Metadata,
    /// When, in seconds since 1970. The answer carries it, so that the same answer is the same bytes also from another
    /// process.
    pub(crate) pulled_at: f64,
}

/// The directory of a node, which nobody else uses at the same time.
pub(crate) struct State {
    file: PathBuf,
    held: Held,
    _lock: Lock,
}

#[derive(Clone, Default, Deserialize, Serialize)]
#[serde(default)]
struct Held {
    superlink: String,
    key: String,
    node: u64,
    message: Option<HeldMessage>,
}

#[derive(Clone, Deserialize, Serialize)]
struct HeldMessage {
    metadata: String,
    pulled_at: f64,
}

impl State {
    /// Opens the directory, or makes it. What is there of another SuperLink or key, or is damaged, is forgotten.
    ///
    /// # Errors
    /// [`Error::File`], also if another process uses the directory.
    pub(crate) fn open(directory: &Path, superlink: &str, key: &str) -> Result<Self, Error> {
        let error = |path: &Path, source| Error::File { path: path.into(), source };
        let lock = Lock::directory(directory).map_err(|source| error(directory, source))?;
        let file = directory.join("node.json");
        let held = match fs::read(&file) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_default(),
            Err(missing) if missing.kind() == io::ErrorKind::NotFound => Held::default(),
            Err(source) => return Err(error(&file, source)),
        };
        let held = if held.superlink == superlink && held.key == key {
            held
        } else {
            Held { superlink: superlink.into(), key: key.into(), ..Held::default() }
        };
        Ok(Self { file, held, _lock: lock })
    }

    /// The number of the node, 0 where it has none yet.
    pub(crate) fn node(&self) -> u64 {
        self.held.node
    }

    /// The message that was not answered.
    pub(crate) fn pulled(&self) -> Option<Pulled> {
        let held = self.held.message.as_ref()?;
        let metadata = Metadata::decode(&BASE64.decode(&held.metadata).ok()?[..]).ok()?;
        Some(Pulled { metadata, pulled_at: held.pulled_at })
    }

    /// Remembers the number of the node. What another one has not answered is forgotten.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn set_node(&mut self, node: u64) -> Result<(), Error> {
        if self.held.node != node {
            self.held = Held { node, message: None, ..self.held.clone() };
        }
        self.write()
    }

    /// Remembers a message until it is answered, or that it is.
    ///
    /// # Errors
    /// [`Error::File`].
    pub(crate) fn set_pulled(&mut self, pulled: Option<&Pulled>) -> Result<(), Error> {
        self.held.message = pulled.map(|pulled| HeldMessage {
            metadata: BASE64.encode(pulled.metadata.encode_to_vec()),
            pulled_at: pulled.pulled_at,
        });
        self.write()
    }

    fn write(&self) -> Result<(), Error> {
        let json = serde_json::to_vec(&self.held).expect("a JSON value has string keys");
        atomic::write(&self.file, &json).map_err(|source| Error::File { path: self.file.clone(), source })
    }
}
