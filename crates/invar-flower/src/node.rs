mod join;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use invar_dataset::Progress;
use prost::Message as _;

use crate::{
    Error, Options, Records,
    heart::{self, Heart},
    http::{ANSWER, Client, FLOWER, Failure, Refusal, TRANSFER},
    key::Key,
    object::{Kind, ObjectId, Objects, pull_all},
    proto::{
        self, ConfirmMessageReceivedRequest, ConfirmMessageReceivedResponse, DeactivateNodeRequest,
        DeactivateNodeResponse, Message, Metadata, PullMessagesRequest, PullMessagesResponse, PullObjectRequest,
        PullObjectResponse, PushMessagesRequest, PushMessagesResponse, PushObjectRequest, PushObjectResponse,
    },
    state::{Pulled, State},
};

/// `CLIENT_APP_RAISED_EXCEPTION`.
const TASK_FAILED: i64 = 2;
/// How often an answer is begun again whose objects the server lost on the way.
const PUSHES: usize = 5;
/// The pause before an object is asked for again that the server has not got yet.
const NOT_YET: Duration = Duration::from_secs(1);
/// What a server of Flower 1.42 takes for an interval of heartbeats.
const HEARTBEATS: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(1800));
/// How much of why a task failed is sent.
const REASON_BYTES: usize = 64 << 10;

/// What the server wants done.
#[derive(Clone, Debug, PartialEq)]
pub struct Task {
    /// The run of `flwr run` that it belongs to.
    pub run: u64,
    /// The name of the message.
    pub message_id: String,
    /// `train`, `evaluate`, `query`, or one of these with `.` and a name.
    pub message_type: String,
    /// What the server calls what belongs together, such as a round.
    pub group: String,
    /// When the server no longer takes an answer.
    pub deadline: SystemTime,
    /// What came with it.
    pub content: Records,
    pulled: Pulled,
}

/// A node that a SuperLink knows. When it is dropped, it takes its leave: the server counts it as gone at once.
pub struct Node {
    client: Client,
    heart: Heart,
    options: Options,
    id: u64,
    state: Option<State>,
    /// Of a process before this one.
    left: Option<Pulled>,
    /// Whether the server has taken this key.
    has_joined: bool,
}

impl Node {
    /// Registers the node, where the server lets nodes do so themselves, and activates it.
    ///
    /// Under `--enable-supernode-auth` the key has to have been registered: `flwr supernode register PUBLIC.pub`, of the public key
    /// as ssh-keygen writes it.
    ///
    /// # Errors
    /// For options that cannot be used; [`Error::Untrusted`], [`Error::Refused`], [`Error::Clock`], [`Error::NotActivated`],
    /// [`Error::Version`] and [`Error::Protocol`], which time does not mend; [`Error::Away`] where patience has an end;
    /// [`Error::Interrupted`].
    pub fn connect(options: Options, progress: &dyn Progress) -> Result<Self, Error> {
        if !(HEARTBEATS.0..=HEARTBEATS.1).contains(&options.heartbeat) {
            let expected = format!("{} s to {} s", HEARTBEATS.0.as_secs(), HEARTBEATS.1.as_secs());
            let found = format!("{} s", options.heartbeat.as_secs_f64());
            return Err(Error::Setting { name: "heartbeat", expected, found });
        }
        let key = Key::open(&options.key)?;
        let roots = options.root_certificates.as_deref();
        let client = || Client::new(&options.superlink, options.insecure, roots, key.clone(), options.limits);
        let (heart, client) = (Heart::start(client()?, options.heartbeat), client()?);
        let open = |directory| State::open(directory, &client.address, key.fingerprint());
        let state = options.state.as_deref().map(open).transpose()?;
        let id = state.as_ref().map_or(0, State::node);
        let left = state.as_ref().and_then(State::pulled);
        let mut node = Self { client, heart, options, id, state, left, has_joined: false };
        let version = node.client.persist(node.options.patience, progress, || node.client.version(progress));
        if let Some(found) = version.map_err(|failure| node.error(failure))?
            && release(&found) != release(FLOWER)
        {
            return Err(Error::Version { address: node.client.address.clone(), expected: FLOWER, found });
        }
        node.join(progress)?;
        Ok(node)
    }

    /// The number that the server knows the node by.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for a task. `None` if the user asks to stop.
    ///
    /// A SuperLink gives each message once: one that was pulled is not given again, whatever becomes of the node. So a node with
    /// a `state` writes down what it took until it is answered, and tells the server that it has it only then, so that the
    /// server keeps its objects; after a restart this returns the same task again. The server takes its answer if it comes
    /// before the deadline and the node was away for less than two heartbeats. Without a `state`, or when it was away for
    /// longer, Flower tells whoever waits for the answer that the node is gone (`NODE_UNAVAILABLE`).
    ///
    /// A message that cannot be read is answered by an error that says why, and the next one is waited for. A server that is
    /// away is waited for.
    ///
    /// # Errors
    /// As [`Node::connect`]; [`Error::File`].
    pub fn next(&mut self, progress: &dyn Progress) -> Result<Option<Task>, Error> {
        match self.wait(progress) {
            Err(Error::Interrupted) => Ok(None),
            other => other.map(Some),
        }
    }

    /// Answers a task: by records, or by why it failed.
    ///
    /// An answer that the server no longer wants, because the run or the time is over, or because it has one, is dropped, and
    /// the progress told. A server that is away is waited for.
    ///
    /// # Errors
    /// As [`Node::connect`]; [`Error::File`].
    ///
    /// # Panics
    /// If groups of two kinds have the same name.
    pub fn reply(
        &mut self,
        task: &Task,
        result: Result<Records, String>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        self.answer(&task.pulled, result, progress)
    }

    /// Takes leave, as dropping does.
    pub fn close(self) {}

    fn wait(&mut self, progress: &dyn Progress) -> Result<Task, Error> {
        loop {
            let (pulled, is_left) = match self.left.take() {
                Some(pulled) => (pulled, true),
                None => match self.pull(progress)? {
                    Some(pulled) => (pulled, false),
                    None => {
                        let slept = self.client.sleep(self.options.poll, progress);
                        slept.map_err(|failure| self.error(failure))?;
                        continue;
                    }
                },
            };
            self.remember(Some(&pulled))?;
            let id = pulled.metadata.message_id.clone();
            match self.content(&pulled, progress) {
                Ok(content) => return Ok(Task::new(pulled, content)),
                Err(Failure::Final(error @ (Error::NoObject(_) | Error::Object { .. }))) if is_left => {
                    progress.message(&format!("message {id}, left by a process before this one, is over: {error}"));
                    self.remember(None)?;
                }
                Err(Failure::Final(
                    error @ (Error::NoObject(_) | Error::Object { .. } | Error::Digest { .. } | Error::TooMuch { .. }),
                )) => {
                    progress.message(&format!("message {id} is refused: {error}"));
                    self.answer(&pulled, Err(format!("the message is refused: {error}")), progress)?;
                }
                Err(Failure::No(refusal)) => {
                    progress.message(&format!("message {id} is over: {}", refusal.detail));
                    self.remember(None)?;
                }
                Err(failure) => {
                    self.left = Some(pulled);
                    return Err(self.error(failure));
                }
            }
        }
    }

    fn pull(&mut self, progress: &dyn Progress) -> Result<Option<Pulled>, Error> {
        let request =
            |node| PullMessagesRequest { node: Some(proto::Node { node_id: node }), ..PullMessagesRequest::default() };
        let answer: PullMessagesResponse = match self.ask("pull-messages", request, ANSWER, progress) {
            Ok(answer) => answer,
            // It is another node now, for which there may be something.
            Err(Failure::No(refusal)) if refusal.status == Refusal::UNAUTHORIZED => return Ok(None),
            Err(failure) => return Err(self.error(failure)),
        };
        let message = answer.messages_list.into_iter().next().and_then(|message| message.metadata);
        Ok(message.map(|metadata| Pulled { metadata, pulled_at: now_s() }))
    }

    /// The content of a message, all of which has the digest that the message's name stands for.
    fn content(&mut self, pulled: &Pulled, progress: &dyn Progress) -> Result<Records, Failure> {
        let root = pulled.metadata.message_id.parse()?;
        let limits = self.options.limits;
        // What `pull_all` makes of an error is the error; what it makes of another failure is held here meanwhile.
        let mut held = None;
        let objects = pull_all(root, &limits, |id| {
            self.object(pulled, id, progress).map_err(|failure| match failure {
                Failure::Final(error) => error,
                other => {
                    held = Some(other);
                    Error::NoObject(id)
                }
            })
        });
        let objects = match (objects, held) {
            (Err(_), Some(failure)) => return Err(failure),
            (objects, _) => objects?,
        };
        let &[records] = &objects.get(root, Kind::Message)?.children[..] else {
            return Err(Error::object("message", "one object of content", "another number").into());
        };
        Ok(Records::read(records, &objects)?)
    }

    fn object(&mut self, pulled: &Pulled, id: ObjectId, progress: &dyn Progress) -> Result<Vec<u8>, Failure> {
        loop {
            let request = |node| PullObjectRequest {
                node: Some(proto::Node { node_id: node }),
                run_id: pulled.metadata.run_id,
                object_id: id.to_string(),
            };
            let answer: PullObjectResponse = self.ask("pull-object", request, TRANSFER, progress)?;
            let found = answer.object_content.len() as u64;
            if found > self.options.limits.object_bytes {
                let what = "bytes of an object";
                return Err(Error::TooMuch { what, limit: self.options.limits.object_bytes, found }.into());
            }
            match (answer.object_found, answer.object_available) {
                (true, true) => return Ok(answer.object_content),
                // Who sent the message is still sending it.
                (true, false) if now_s() < deadline_s(&pulled.metadata) => self.client.sleep(NOT_YET, progress)?,
                _ => return Err(Error::NoObject(id).into()),
            }
        }
    }

    fn answer(
        &mut self,
        pulled: &Pulled,
        result: Result<Records, String>,
        progress: &dyn Progress,
    ) -> Result<(), Error> {
        match self.push(pulled, result, progress) {
            Ok(Pushed::Taken) => {}
            Ok(Pushed::Unwanted(why)) => {
                progress.message(&format!("the answer to message {} is dropped: {why}", pulled.metadata.message_id));
            }
            Err(Failure::No(refusal)) => {
                let detail = refusal.detail;
                progress.message(&format!("the answer to message {} is dropped: {detail}", pulled.metadata.message_id));
            }
            Err(failure) => return Err(self.error(failure)),
        }
        self.remember(None)
    }

    fn push(
        &mut self,
        pulled: &Pulled,
        result: Result<Records, String>,
        progress: &dyn Progress,
    ) -> Result<Pushed, Failure> {
        let Some(mut metadata) = reply_to(pulled) else {
            return Ok(Pushed::Unwanted("its time is over".into()));
        };
        let (content, error) = match result {
            Ok(records) => (Some(records), None),
            Err(reason) => (None, Some(proto::Error { code: TASK_FAILED, reason: shortened(reason) })),
        };
        let mut objects = Objects::default();
        let children: Vec<ObjectId> = content.iter().map(|records| records.write(&mut objects)).collect();
        drop(content);
        let body = Message { metadata: Some(metadata.clone()), content: None, error: error.clone() }.encode_to_vec();
        let root = objects.add(Kind::Message, &children, &body);
        let tree = objects.tree(root)?;
        metadata.message_id = root.to_string();
        // The server wants the message with content or an error, and its content without anything in it.
        let content = error.is_none().then(proto::RecordDict::default);
        let message = Message { metadata: Some(metadata), content, error };
        let run = pulled.metadata.run_id;
        for push in 0..PUSHES {
            let request = |node| PushMessagesRequest {
                node: Some(proto::Node { node_id: node }),
                messages_list: vec![message.clone()],
                message_object_trees: vec![tree.clone()],
                clientapp_runtime_list: vec![(now_s() - pulled.pulled_at).max(0.0)],
            };
            let answer: PushMessagesResponse = self.ask("push-messages", request, ANSWER, progress)?;
            // The message itself is new to the server, unless it was pushed before.
            if push == 0 && !answer.objects_to_push.contains(&message_id(&message)) {
                let why = "it has one, or its time is over, or it counted this node as gone";
                return Ok(Pushed::Unwanted(why.into()));
            }
            let mut all_stored = true;
            for name in &answer.objects_to_push {
                let bytes = objects.bytes(name.parse()?)?;
                let request = |node| PushObjectRequest {
                    node: Some(proto::Node { node_id: node }),
                    run_id: run,
                    object_id: name.clone(),
                    object_content: bytes.to_vec(),
                    session_id: answer.session_id.clone(),
                };
                let stored: PushObjectResponse = self.ask("push-object", request, TRANSFER, progress)?;
                if !stored.stored {
                    all_stored = false;
                    break;
                }
            }
            if all_stored {
                self.confirm(pulled, progress);
                return Ok(Pushed::Taken);
            }
        }
        Ok(Pushed::Unwanted(format!("it lost the objects of the answer {PUSHES} times")))
    }

    /// Lets the server forget the objects of a message. It is of no consequence if that fails: they end with the run.
    fn confirm(&self, pulled: &Pulled, progress: &dyn Progress) {
        let request = ConfirmMessageReceivedRequest {
            node: Some(proto::Node { node_id: self.id }),
            run_id: pulled.metadata.run_id,
            message_object_id: pulled.metadata.message_id.clone(),
        };
        let _: Result<ConfirmMessageReceivedResponse, _> =
            self.client.ask("confirm-message-received", &request, ANSWER, progress);
    }

    /// Asks for as long as it takes. Where the server does not know this node any more, the node joins it again; if it is then
    /// another one to the server, the refusal is returned.
    fn ask<Q: prost::Message, R: prost::Message + Default>(
        &mut self,
        path: &str,
        request: impl Fn(u64) -> Q,
        timeout: Duration,
        progress: &dyn Progress,
    ) -> Result<R, Failure> {
        for is_again in [false, true] {
            let patience = self.options.patience;
            let ask = || self.client.ask(path, &request(self.id), timeout, progress);
            match self.client.persist(patience, progress, ask) {
                Err(Failure::No(refusal)) if refusal.status == Refusal::UNAUTHORIZED && !is_again => {
                    let before = self.id;
                    self.join(progress)?;
                    if self.id != before {
                        progress.message(&format!(
                            "{} had forgotten node {before}, which is node {} now",
                            self.client.address, self.id
                        ));
                        return Err(Failure::No(refusal));
                    }
                }
                Err(Failure::No(refusal)) if refusal.status == Refusal::UNAUTHORIZED => {
                    return Err(self.client.unauthorized(refusal).into());
                }
                other => return other,
            }
        }
        unreachable!("the second time returns")
    }

    fn remember(&mut self, pulled: Option<&Pulled>) -> Result<(), Error> {
        self.state.as_mut().map_or(Ok(()), |state| state.set_pulled(pulled))
    }

    fn error(&self, failure: Failure) -> Error {
        match failure {
            Failure::Final(error) => error,
            Failure::Away(reason) => Error::Away { address: self.client.address.clone(), reason, tried_s: 0 },
            Failure::No(refusal) if refusal.status == Refusal::UNAUTHORIZED => self.client.unauthorized(refusal),
            Failure::No(refusal) => {
                let found = format!("status {} ({})", refusal.status, refusal.detail);
                Error::Protocol { url: self.client.address.clone(), expected: FLOWER, found }
            }
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // A beat after this would bring the node back.
        self.heart.stop();
        if self.has_joined {
            let request = DeactivateNodeRequest { node_id: self.id };
            let _: Result<DeactivateNodeResponse, _> =
                self.client.ask("deactivate-node", &request, heart::PATIENCE, &invar_dataset::NoProgress);
        }
    }
}

impl Task {
    fn new(pulled: Pulled, content: Records) -> Self {
        let metadata = &pulled.metadata;
        let deadline = Duration::try_from_secs_f64(deadline_s(metadata)).unwrap_or_default();
        Self {
            run: metadata.run_id,
            message_id: metadata.message_id.clone(),
            message_type: metadata.message_type.clone(),
            group: metadata.group_id.clone(),
            // Of a message without an end, a year will do.
            deadline: UNIX_EPOCH
                .checked_add(deadline)
                .unwrap_or_else(|| SystemTime::now() + Duration::from_hours(8766)),
            content,
            pulled,
        }
    }
}

/// What became of an answer.
enum Pushed {
    Taken,
    Unwanted(String),
}

/// The metadata of an answer without its name, or nothing if its time is over.
fn reply_to(pulled: &Pulled) -> Option<Metadata> {
    let to = &pulled.metadata;
    let deadline = deadline_s(to);
    (now_s() < deadline).then(|| Metadata {
        run_id: to.run_id,
        message_id: String::new(),
        src_node_id: to.dst_node_id,
        dst_node_id: to.src_node_id,
        reply_to_message_id: to.message_id.clone(),
        group_id: to.group_id.clone(),
        ttl: deadline - pulled.pulled_at,
        message_type: to.message_type.clone(),
        created_at: pulled.pulled_at,
        src_task_id: to.dst_task_id,
        dst_task_id: to.src_task_id,
    })
}

fn message_id(message: &Message) -> String {
    message.metadata.as_ref().map(|metadata| metadata.message_id.clone()).unwrap_or_default()
}

fn deadline_s(metadata: &Metadata) -> f64 {
    metadata.created_at + metadata.ttl
}

fn now_s() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// `1.42` of `1.42.0`: what Flower wants to be the same on both sides.
fn release(version: &str) -> Vec<&str> {
    version.split('.').take(2).collect()
}

fn shortened(mut reason: String) -> String {
    if reason.len() > REASON_BYTES {
        reason.truncate(reason.floor_char_boundary(REASON_BYTES));
        reason.push_str(" ...");
    }
    reason
}
