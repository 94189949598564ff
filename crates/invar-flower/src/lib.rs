//! A node of a Flower SuperLink (`flwr` 1.42): takes tasks, answers them, and stays, whatever goes away in the meantime.
//!
//! ```text
//! join      activate-node, after register-node where the server lets nodes register themselves; heartbeats from then on
//! next      pull-messages every second; pull-object for each object below the message, each with the digest of its name
//! reply     push-messages, push-object for each object that the server lacks, confirm-message-received
//! leave     deactivate-node
//! ```
//! All of it is protobuf by POST over TLS, to `/v1/fleet/`, each request signed by the key of the node over the time. The protocol is
//! Flower's own and follows its version: a server of another release is refused, naming both.
//!
//! Nothing is printed: what a person should know is told to a [`Progress`](invar_dataset::Progress), which also says when to stop.

mod array;
mod error;
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod heart;
mod http;
mod key;
mod node;
mod object;
mod options;
mod records;
mod state;

/// Flower's messages.
#[allow(dead_code, missing_docs, clippy::enum_variant_names, reason = "made by prost, of more than is used here")]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/flwr.proto.rs"));
}

pub use array::{Array, Elements};
pub use error::Error;
pub use node::{Node, Task};
pub use object::{Limits, ObjectId};
pub use options::Options;
pub use records::{ConfigValue, Metric, Records};

#[cfg(test)]
mod tests;
