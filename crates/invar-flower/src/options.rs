use std::{path::PathBuf, time::Duration};

use crate::Limits;

/// How a node finds its SuperLink and behaves towards it.
#[derive(Clone, Debug)]
pub struct Options {
    /// `https://HOST:PORT`.
    pub superlink: String,
    /// PEM of the only certificates that vouch for the server. Without it, those of the system do.
    pub root_certificates: Option<PathBuf>,
    /// PEM of the private key of this node, on the curve P-384.
    pub key: PathBuf,
    /// Whether `http://` will do.
    pub insecure: bool,
    /// A directory in which the node remembers what it has not answered; see [`Node::next`](crate::Node::next).
    pub state: Option<PathBuf>,
    /// The server counts a node as gone from which it has heard nothing for two of these. 10 s to 30 min.
    pub heartbeat: Duration,
    /// The pause between two questions for a task.
    pub poll: Duration,
    /// For how long a server that is away is asked again. Without it, for ever.
    pub patience: Option<Duration>,
    /// How much is taken.
    pub limits: Limits,
}

impl Options {
    /// With heartbeats every 30 s, questions every second, and patience without end.
    pub fn new(superlink: impl Into<String>, key: impl Into<PathBuf>) -> Self {
        Self {
            superlink: superlink.into(),
            root_certificates: None,
            key: key.into(),
            insecure: false,
            state: None,
            heartbeat: Duration::from_secs(30),
            poll: Duration::from_secs(1),
            patience: None,
            limits: Limits::default(),
        }
    }
}
