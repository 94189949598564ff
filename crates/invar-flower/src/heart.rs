//! Tells the SuperLink that the node is there, while it works on a task.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{RecvTimeoutError, Sender, channel},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use invar_dataset::NoProgress;

use crate::{
    http::Client,
    proto::{Node, SendNodeHeartbeatRequest, SendNodeHeartbeatResponse},
};

/// How long a server may take to hear it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);
/// The pause after a beat that was not heard.
const AGAIN: Duration = Duration::from_secs(2);

/// A thread that beats as long as this lives.
pub(crate) struct Heart {
    node: Arc<AtomicU64>,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Heart {
    /// Starts, with a client of its own: one asks for one thing at a time.
    pub(crate) fn start(client: Client, interval: Duration) -> Self {
        let node = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = channel();
        let of = Arc::clone(&node);
        let beat = move || {
            // A server waits for two intervals.
            let usual = interval.mul_f64(0.8);
            let mut pause = usual;
            while stopped.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
                pause = match of.load(Ordering::Relaxed) {
                    0 => usual,
                    node => {
                        if beat(&client, node, interval).is_some_and(|heard| heard) {
                            usual
                        } else {
                            AGAIN.min(usual)
                        }
                    }
                };
            }
        };
        let thread = thread::Builder::new().name("invar-flower".into()).spawn(beat).ok();
        Self { node, stop: Some(stop), thread }
    }

    /// Beats for a node from now on; for none: 0.
    pub(crate) fn set(&self, node: u64) {
        self.node.store(node, Ordering::Relaxed);
    }

    /// Beats no more, not even now.
    pub(crate) fn stop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // A panic there is a beat less, which the server notices.
            let _ = thread.join();
        }
    }
}

impl Drop for Heart {
    fn drop(&mut self) {
        self.stop();
    }
}

/// One beat: whether the server knows the node, where it says anything.
fn beat(client: &Client, node: u64, interval: Duration) -> Option<bool> {
    let node = Some(Node { node_id: node });
    let request = SendNodeHeartbeatRequest { node, heartbeat_interval: interval.as_secs_f64() };
    let heard: Result<SendNodeHeartbeatResponse, _> =
        client.ask("send-node-heartbeat", &request, PATIENCE, &NoProgress);
    heard.ok().map(|heard| heard.success)
}
