use std::{io, path::PathBuf};

use invar_dataset::{Fault, FaultClass};
use thiserror::Error;

use crate::object::ObjectId;

/// What can go wrong between a node and its SuperLink.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum Error {
    /// Not an address of a SuperLink.
    #[error("superlink {address:?}: {reason}")]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A setting is out of its range.
    #[error("{name}: expected {expected}, found {found}")]
    Setting {
        /// Its name.
        name: &'static str,
        /// What it may be.
        expected: String,
        /// What it is.
        found: String,
    },
    /// The private key cannot be used.
    #[error("key {}: {reason}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The root certificates cannot be used.
    #[error("root certificates {}: {reason}", path.display())]
    RootCertificates {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file of the node cannot be read or written.
    #[error("{}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Nobody answers, for as long as was to be waited.
    #[error("{address}: {reason}; tried for {tried_s} s")]
    Away {
        /// The SuperLink.
        address: String,
        /// Why.
        reason: String,
        /// For how long it was asked.
        tried_s: u64,
    },
    /// The server shows a certificate that the root certificates do not vouch for.
    #[error("{address} is not trusted: {reason}; the root certificates are {roots}")]
    Untrusted {
        /// The SuperLink.
        address: String,
        /// What TLS says.
        reason: String,
        /// Where the roots come from.
        roots: String,
    },
    /// The server does not take the signature, and the clocks agree.
    #[error("{address} refuses the signature of this key ({fingerprint}): {reason}")]
    Refused {
        /// The SuperLink.
        address: String,
        /// SHA-256 of the public key, as `openssl pkey -pubin -outform der | sha256sum` has it.
        fingerprint: String,
        /// What it says.
        reason: String,
    },
    /// The server does not take the signature, and the clocks differ.
    #[error(
        "{address} refuses the signature: the clock of this machine is off by {off_s} s: here it is {here}, there it is \
         {there}; a signature is taken from 5 s before to 300 s after it was made"
    )]
    Clock {
        /// The SuperLink.
        address: String,
        /// Here minus there.
        off_s: i64,
        /// The time here.
        here: String,
        /// The time there.
        there: String,
    },
    /// The server does not activate a node of this key.
    #[error(
        "{address} does not activate a node of this key ({fingerprint}): {reason}; tried for {tried_s} s; either the key is \
         not registered (`flwr supernode register`), or another node of the same key is online"
    )]
    NotActivated {
        /// The SuperLink.
        address: String,
        /// As in [`Error::Refused`].
        fingerprint: String,
        /// What it says.
        reason: String,
        /// For how long it was asked.
        tried_s: u64,
    },
    /// The server is of another version of Flower.
    #[error("{address} is of Flower {found}, this node of Flower {expected}")]
    Version {
        /// The SuperLink.
        address: String,
        /// Of this node.
        expected: &'static str,
        /// Of the server, or what it says about it.
        found: String,
    },
    /// The server answers otherwise than the Fleet API of this version does.
    #[error("{url}: expected an answer of the Fleet API of Flower {expected}, found {found}")]
    Protocol {
        /// What was asked for.
        url: String,
        /// Version of Flower.
        expected: &'static str,
        /// What came.
        found: String,
    },
    /// More comes than is taken.
    #[error("{what}: at most {limit} are taken, {found} came")]
    TooMuch {
        /// What there is too much of, with the unit.
        what: &'static str,
        /// What is taken.
        limit: u64,
        /// What came, or would have come.
        found: u64,
    },
    /// The content of an object is not what its name says.
    #[error("an object of {bytes} bytes has the digest {found} instead of {expected}")]
    Digest {
        /// What was asked for.
        expected: ObjectId,
        /// What came.
        found: ObjectId,
        /// The length of what came.
        bytes: usize,
    },
    /// An object is there by name only.
    #[error("object {0} is not to be had from the superlink")]
    NoObject(ObjectId),
    /// An object is not one, or not of the kind that belongs there.
    #[error("{what}: expected {expected}, found {found}")]
    Object {
        /// Which part of it.
        what: &'static str,
        /// What belongs there.
        expected: String,
        /// What is there.
        found: String,
    },
    /// The user asked to stop.
    #[error("interrupted")]
    Interrupted,
}

impl Error {
    pub(crate) fn object(what: &'static str, expected: impl Into<String>, found: impl Into<String>) -> Self {
        Self::Object { what, expected: expected.into(), found: found.into() }
    }
}

impl Fault for Error {
    fn class(&self) -> FaultClass {
        match self {
            Self::Address { .. } | Self::Setting { .. } | Self::Key { .. } | Self::RootCertificates { .. } => {
                FaultClass::Usage
            }
            Self::File { source, .. } => source.class(),
            Self::Interrupted => FaultClass::Interrupted,
            Self::TooMuch { .. } | Self::Digest { .. } | Self::NoObject(_) | Self::Object { .. } => {
                FaultClass::BadInput
            }
            Self::Away { .. }
            | Self::Untrusted { .. }
            | Self::Refused { .. }
            | Self::Clock { .. }
            | Self::NotActivated { .. }
            | Self::Version { .. }
            | Self::Protocol { .. } => FaultClass::Failed,
        }
    }
}
