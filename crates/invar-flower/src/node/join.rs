//! How a node comes to be one that the SuperLink counts as there.

use std::time::{Duration, Instant};

use invar_dataset::Progress;

use super::Node;
use crate::{
    Error,
    http::{ANSWER, Failure, Refusal},
    proto::{
        self, ActivateNodeRequest, ActivateNodeResponse, RegisterNodeFleetRequest, RegisterNodeFleetResponse,
        SendNodeHeartbeatRequest, SendNodeHeartbeatResponse,
    },
};

/// Pauses before a node is activated again: at first, and at most.
const ACTIVATE: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(8));

impl Node {
    /// Makes the server count this node as there.
    pub(super) fn join(&mut self, progress: &dyn Progress) -> Result<(), Error> {
        self.heart.set(0);
        if !self.is_known(progress)? {
            self.id = self.activate(progress)?;
        }
        self.heart.set(self.id);
        self.has_joined = true;
        let left = self.left.take_if(|left| left.metadata.dst_node_id != self.id);
        if let Some(left) = left {
            progress.message(&format!("message {} was for another node", left.metadata.message_id));
        }
        self.state.as_mut().map_or(Ok(()), |state| state.set_node(self.id))
    }

    /// Whether the server knows the node under the number that it had before. By a heartbeat it is there again.
    fn is_known(&self, progress: &dyn Progress) -> Result<bool, Error> {
        if self.id == 0 {
            return Ok(false);
        }
        let node = Some(proto::Node { node_id: self.id });
        let heartbeat_interval = self.options.heartbeat.as_secs_f64();
        let request = SendNodeHeartbeatRequest { node, heartbeat_interval };
        let ask = || self.client.ask("send-node-heartbeat", &request, ANSWER, progress);
        match self.client.persist(self.options.patience, progress, ask) {
            Ok(SendNodeHeartbeatResponse { success }) => Ok(success),
            // Of another key, or none that it knows; or the clock is off, which activating tells.
            Err(Failure::No(_)) => Ok(false),
            Err(failure) => Err(self.error(failure)),
        }
    }

    /// A node of this key that is online stays so for up to two heartbeats after it died: until then it cannot be activated. A server
    /// that knew the key and does not any more is waited for, until somebody registers it again.
    fn activate(&self, progress: &dyn Progress) -> Result<u64, Error> {
        let start = Instant::now();
        let died = self.options.heartbeat * 2 + Duration::from_secs(5);
        let patience = if self.has_joined { self.options.patience } else { Some(died) };
        let (mut is_told, mut pause) = (false, ACTIVATE.0);
        loop {
            let refusal = match self.activate_once(progress) {
                Ok(node) => return Ok(node),
                Err(Failure::No(refusal)) => refusal,
                Err(failure) => return Err(self.error(failure)),
            };
            if refusal.status == Refusal::UNAUTHORIZED {
                return Err(self.client.unauthorized(refusal));
            }
            let (address, reason) = (self.client.address.clone(), refusal.detail);
            if patience.is_some_and(|patience| start.elapsed() >= patience) {
                let fingerprint = self.client.key().fingerprint().into();
                return Err(Error::NotActivated { address, fingerprint, reason, tried_s: start.elapsed().as_secs() });
            }
            if !is_told {
                progress.message(&format!(
                    "{address} does not activate this node: {reason} Trying again; a node of the same key that died is online for up \
                     to {} s, and one that the server has forgotten has to be registered there",
                    died.as_secs()
                ));
                is_told = true;
            }
            self.client.sleep(pause, progress).map_err(|failure| self.error(failure))?;
            pause = (pause * 2).min(ACTIVATE.1);
        }
    }

    fn activate_once(&self, progress: &dyn Progress) -> Result<u64, Failure> {
        let public_key = self.client.key().public().as_bytes().to_vec();
        let heartbeat_interval = self.options.heartbeat.as_secs_f64();
        let request = ActivateNodeRequest { public_key: public_key.clone(), heartbeat_interval };
        let patience = self.options.patience;
        let activate = || {
            let ask = || self.client.ask("activate-node", &request, ANSWER, progress);
            self.client.persist(patience, progress, ask).map(|node: ActivateNodeResponse| node.node_id)
        };
        match activate() {
            Err(Failure::No(refusal)) if refusal.code == Some(Refusal::NOT_ACTIVATED) => {
                let request = RegisterNodeFleetRequest { public_key };
                let ask = || self.client.ask("register-node", &request, ANSWER, progress);
                let known = [Some(Refusal::KEY_IN_USE), Some(Refusal::REGISTERED_BY_HAND)];
                match self.client.persist(patience, progress, ask) {
                    Ok(RegisterNodeFleetResponse { .. }) => activate(),
                    Err(Failure::No(of_register)) if !known.contains(&of_register.code) => {
                        Err(Failure::No(of_register))
                    }
                    Err(Failure::No(of_register)) => {
                        let detail = format!("{} {}", refusal.detail, of_register.detail);
                        Err(Failure::No(Refusal { detail, ..refusal }))
                    }
                    Err(failure) => Err(failure),
                }
            }
            other => other,
        }
    }
}
