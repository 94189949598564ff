//! A node before a server that says what a test wants.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use chrono::{DateTime, Utc};
use invar_dataset::{NoProgress, Progress};
use prost::Message as _;

use super::super::*;
use super::{below, golden_metadata, golden_records, message};
use crate::{
    object::{Object, Objects},
    proto::{
        ActivateNodeRequest, ActivateNodeResponse, ConfirmMessageReceivedResponse, DeactivateNodeResponse, Message,
        Metadata, ObjectTree, PullMessagesResponse, PullObjectRequest, PullObjectResponse, PushMessagesRequest,
        PushMessagesResponse, PushObjectRequest, PushObjectResponse, RegisterNodeFleetResponse,
        SendNodeHeartbeatResponse,
    },
};

/// A progress that keeps what it is told.
#[derive(Default)]
struct Told {
    lines: Mutex<Vec<String>>,
    is_cancelled: AtomicBool,
}

impl Progress for Told {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, text: &str) {
        self.lines.lock().unwrap().push(text.to_owned());
    }
    fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}

impl Told {
    fn count(&self, text: &str) -> usize {
        self.lines.lock().unwrap().iter().filter(|line| line.contains(text)).count()
    }
}

/// Status, headers and body of an answer.
struct Answer(u16, &'static str, Vec<u8>);

impl Answer {
    fn ok(message: &impl prost::Message) -> Self {
        Self(200, "content-type: application/protobuf\r\n", message.encode_to_vec())
    }

    fn no(status: u16, code: u32) -> Self {
        Self(status, "", format!(r#"{{"code": {code}, "detail": "No."}}"#).into_bytes())
    }
}

/// A server that answers each request by a function of its path and body, and no more after the test.
fn server(mut answer: impl FnMut(&str, &[u8]) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let Some((path, body)) = request(&mut stream) else { continue };
            let Answer(status, headers, body) = answer(path.rsplit('/').next().unwrap(), &body);
            let head = format!("HTTP/1.1 {status} Said\r\nconnection: close\r\n{headers}");
            let length = if headers.contains("content-length") {
                String::new()
            } else {
                format!("content-length: {}\r\n", body.len())
            };
            let _ = stream.get_mut().write_all(&[format!("{head}{length}\r\n").as_bytes(), &body].concat());
        }
    });
    address
}

fn request(stream: &mut BufReader<TcpStream>) -> Option<(String, Vec<u8>)> {
    let mut line = String::new();
    stream.read_line(&mut line).ok().filter(|&read| read > 0)?;
    let path = line.split(' ').nth(1)?.to_owned();
    let mut length = 0;
    loop {
        line.clear();
        stream.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).ok()?;
    Some((path, body))
}

fn options(address: &str) -> Options {
    let key = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/keys/sec1.pem"));
    let mut options = Options::new(address, key);
    options.insecure = true;
    options.heartbeat = Duration::from_secs(10);
    options.poll = Duration::from_millis(10);
    options
}

/// What Flower 1.42 says to a node of a known key.
fn usual(path: &str) -> Answer {
    match path {
        "openapi.json" => Answer(200, "", br#"{"info": {"title": "SuperLink API", "version": "1.42.3"}}"#.to_vec()),
        "activate-node" => Answer::ok(&ActivateNodeResponse { node_id: 7 }),
        "send-node-heartbeat" => Answer::ok(&SendNodeHeartbeatResponse { success: true }),
        "pull-messages" => Answer::ok(&PullMessagesResponse::default()),
        "confirm-message-received" => Answer::ok(&ConfirmMessageReceivedResponse {}),
        "deactivate-node" => Answer::ok(&DeactivateNodeResponse {}),
        other => panic!("{other} was not expected"),
    }
}

fn refusal(answer: impl FnMut(&str, &[u8]) -> Answer + Send + 'static) -> Error {
    Node::connect(options(&server(answer)), &NoProgress).err().unwrap()
}

#[test]
fn an_address_is_https_unless_asked_otherwise() {
    let connect = |address: &str| {
        let options = Options { insecure: false, ..options(address) };
        Node::connect(options, &NoProgress).err().unwrap().to_string()
    };
    assert!(connect("http://127.0.0.1:1").contains("without TLS"));
    for address in ["127.0.0.1:1", "ftp://a", "https://a/b", "https://u@a:1", "https://a?b", ""] {
        assert!(connect(address).contains("expected https://HOST:PORT"), "{address}: {}", connect(address));
    }
    let options = Options { heartbeat: Duration::from_secs(9), ..options("http://a:1") };
    let told = Node::connect(options, &NoProgress).err().unwrap().to_string();
    assert_eq!(told, "heartbeat: expected 10 s to 1800 s, found 9 s");
    let mut options = self::options("https://a:1");
    options.root_certificates = Some(options.key.with_file_name("public.pem"));
    let told = Node::connect(options, &NoProgress).err().unwrap().to_string();
    assert!(told.ends_with("public.pem: expected certificates in PEM, found none"), "{told}");
}

#[test]
fn another_version_is_named_with_ours() {
    let told =
        refusal(|_, _| Answer(200, "", br#"{"info": {"title": "SuperLink API", "version": "1.43.0"}}"#.to_vec()));
    assert!(told.to_string().ends_with("is of Flower 1.43.0, this node of Flower 1.42.0"), "{told}");
    let told = refusal(|path, _| match path {
        "openapi.json" => Answer(404, "", vec![]),
        _ => Answer(412, "", br#"{"code": 1001, "detail": "Mismatch.", "extra": "SuperLink version 1.44.0"}"#.to_vec()),
    });
    assert!(told.to_string().contains("1.44.0") && told.to_string().contains("1.42.0"), "{told}");
}

#[test]
fn a_clock_that_is_off_is_told_with_both_times() {
    // As `node_auth.py` refuses a signature of another time: status 401; and uvicorn dates each answer.
    let at = |off_s: i64| {
        let date =
            (Utc::now() - chrono::TimeDelta::seconds(off_s)).format("date: %a, %d %b %Y %H:%M:%S GMT\r\n").to_string();
        let date: &'static str = Box::leak(date.into_boxed_str());
        refusal(move |path, _| match path {
            "openapi.json" => usual(path),
            _ => Answer(401, date, br#"{"detail": "Invalid SuperNode authentication"}"#.to_vec()),
        })
    };
    for off_s in [-400, 60, 100_000] {
        let Error::Clock { off_s: found, here, there, .. } = at(off_s) else { panic!("{}", at(off_s)) };
        assert!((found - off_s).abs() <= 2, "{found} of {off_s}");
        let time = |text: &str| DateTime::parse_from_rfc3339(text).unwrap();
        assert!(((time(&here) - time(&there)).num_seconds() - off_s).abs() <= 2);
    }
    let told = at(0).to_string();
    // Of tests/keys/public.pem by `openssl pkey -pubin -outform der | sha256sum`.
    let fingerprint = include_str!("../../tests/keys/fingerprint.txt").trim();
    assert!(told.contains(fingerprint) && told.ends_with("Invalid SuperNode authentication"), "{told}");
}

#[test]
fn what_is_no_fleet_api_is_told_with_what_came() {
    let page = Answer(200, "content-type: text/html\r\n", b"<html>".to_vec());
    let mut page = Some(page);
    let told =
        refusal(move |path, _| if path == "openapi.json" { usual(path) } else { page.take().unwrap() }).to_string();
    assert!(told.contains("/v1/fleet/activate-node") && told.contains("6 bytes of \"text/html\""), "{told}");
    let told =
        refusal(|path, _| if path == "openapi.json" { usual(path) } else { Answer(404, "", vec![]) }).to_string();
    assert!(told.contains("Flower 1.42.0, found status 404"), "{told}");
    let told = refusal(|path, _| match path {
        "openapi.json" => usual(path),
        _ => Answer(200, "content-type: application/protobuf\r\n", vec![0xff; 5]),
    });
    assert!(told.to_string().contains("5 bytes that are no such message"), "{told}");
    let told = refusal(|path, _| match path {
        "openapi.json" => usual(path),
        _ => Answer(200, "content-type: application/protobuf\r\ncontent-length: 999999999999\r\n", vec![]),
    });
    assert!(told.to_string().ends_with("are taken, 999999999999 came"), "{told}");
}

#[test]
fn a_node_registers_itself_where_it_may() {
    let mut is_registered = false;
    let address = server(move |path, body| match path {
        "activate-node" if !is_registered => Answer::no(412, 2004),
        "register-node" => {
            is_registered = true;
            Answer::ok(&RegisterNodeFleetResponse { node_id: 7 })
        }
        "activate-node" => {
            let request = ActivateNodeRequest::decode(body).unwrap();
            assert_eq!(request.heartbeat_interval, 10.0);
            assert_eq!(request.public_key, include_bytes!("../../tests/keys/public.pem"));
            usual(path)
        }
        _ => usual(path),
    });
    assert_eq!(Node::connect(options(&address), &NoProgress).unwrap().id(), 7);
}

/// A SuperLink with one message, whose objects one can spoil and whose answers go wrong now and then.
struct Link {
    objects: Objects,
    root: ObjectId,
    messages: Vec<Metadata>,
    /// Requests that fail by a 503, counted from the first.
    failing: fn(usize) -> bool,
    num_requests: usize,
    spoiled: Option<ObjectId>,
    answers: Arc<Mutex<Vec<PushMessagesRequest>>>,
    pushed: Arc<Mutex<Vec<PushObjectRequest>>>,
}

impl Link {
    fn of(records: &Records) -> Self {
        let (objects, root) = message(records);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        let metadata =
            Metadata { message_id: root.to_string(), dst_node_id: 7, created_at: now, ttl: 60.0, ..golden_metadata() };
        let (answers, pushed) = Default::default();
        Self {
            objects,
            root,
            messages: vec![metadata],
            failing: |_| false,
            num_requests: 0,
            spoiled: None,
            answers,
            pushed,
        }
    }

    fn answer(&mut self, path: &str, body: &[u8]) -> Answer {
        self.num_requests += 1;
        if (self.failing)(self.num_requests) {
            return Answer(503, "", vec![]);
        }
        match path {
            "pull-messages" => {
                let messages =
                    self.messages.pop().map(|metadata| Message { metadata: Some(metadata), ..Message::default() });
                let tree = ObjectTree { object_id: self.root.to_string(), children: vec![] };
                let (list, trees) = (messages.into_iter().collect(), vec![tree]);
                Answer::ok(&PullMessagesResponse {
                    messages_list: list,
                    message_object_trees: trees,
                    ..Default::default()
                })
            }
            "pull-object" => {
                let request = PullObjectRequest::decode(body).unwrap();
                let id = request.object_id.parse().unwrap();
                let mut content = self.objects.bytes(id).unwrap().to_vec();
                if self.spoiled == Some(id) {
                    content.pop();
                }
                Answer::ok(&PullObjectResponse { object_found: true, object_available: true, object_content: content })
            }
            "push-messages" => {
                let request = PushMessagesRequest::decode(body).unwrap();
                let ids: Vec<String> =
                    below(&request.message_object_trees[0]).iter().map(ObjectId::to_string).collect();
                self.answers.lock().unwrap().push(request);
                Answer::ok(&PushMessagesResponse { objects_to_push: ids, session_id: "s".into(), ..Default::default() })
            }
            "push-object" => {
                let request = PushObjectRequest::decode(body).unwrap();
                let stored = ObjectId::of(&request.object_content).to_string() == request.object_id;
                self.pushed.lock().unwrap().push(request);
                Answer::ok(&PushObjectResponse { stored })
            }
            _ => usual(path),
        }
    }
}

fn small_records() -> Records {
    let mut records = golden_records();
    records.arrays.get_mut("arrays").unwrap().remove("zeros");
    records
}

#[test]
fn a_task_is_answered_through_failures() {
    let records = small_records();
    let mut link = Link { failing: |request| request % 3 == 0, ..Link::of(&records) };
    let (answers, pushed) = (Arc::clone(&link.answers), Arc::clone(&link.pushed));
    let address = server(move |path, body| link.answer(path, body));
    let told = Told::default();
    let mut node = Node::connect(options(&address), &told).unwrap();
    let task = node.next(&told).unwrap().unwrap();
    assert_eq!((&task.content, &task.message_type[..], &task.group[..]), (&records, "train", "3"));
    node.reply(&task, Ok(records), &told).unwrap();
    let answer = answers.lock().unwrap().pop().unwrap();
    let metadata = answer.messages_list[0].metadata.clone().unwrap();
    assert_eq!(metadata.reply_to_message_id, task.message_id);
    assert_eq!((metadata.src_node_id, metadata.dst_node_id, metadata.dst_task_id), (7, 1, Some(4)));
    assert!(
        metadata.created_at + metadata.ttl < SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() + 60.1
    );
    let root = pushed.lock().unwrap().iter().find(|object| object.object_id == metadata.message_id).cloned().unwrap();
    let object = Object::read(&root.object_content).unwrap();
    let hashed = Message::decode(object.body).unwrap().metadata.unwrap();
    assert_eq!(Metadata { message_id: metadata.message_id.clone(), ..hashed }, metadata);
    // Once when it goes, once when it is back, and that a few times.
    assert!(told.count("503") > 0 && told.count("503") == told.count("answers again"), "{:?}", told.lines);
    // Nothing more comes, and the user stops.
    told.is_cancelled.store(true, Ordering::Relaxed);
    assert_eq!(node.next(&told).unwrap(), None);
}

#[test]
fn what_cannot_be_read_is_answered_by_why() {
    let records = small_records();
    let mut link = Link::of(&records);
    let mut scratch = Objects::default();
    let spoiled = records.write(&mut scratch);
    link.spoiled = Some(spoiled);
    let answers = Arc::clone(&link.answers);
    let address = server(move |path, body| link.answer(path, body));
    let told = Arc::new(Told::default());
    let mut node = Node::connect(options(&address), &*told).unwrap();
    let watched = Arc::clone(&told);
    let seen = Arc::clone(&answers);
    thread::spawn(move || {
        while seen.lock().unwrap().is_empty() {
            thread::sleep(Duration::from_millis(10));
        }
        watched.is_cancelled.store(true, Ordering::Relaxed);
    });
    let _ = node.next(&*told);
    let error = answers.lock().unwrap()[0].messages_list[0].error.clone().unwrap();
    assert_eq!(error.code, 2);
    assert!(error.reason.contains(&format!("instead of {spoiled}")), "{}", error.reason);
}

#[test]
fn a_node_that_died_gets_its_task_again_and_answers_by_the_same_bytes() {
    let records = small_records();
    let mut link = Link::of(&records);
    let answers = Arc::clone(&link.answers);
    let address = server(move |path, body| link.answer(path, body));
    let directory = tempfile::tempdir().unwrap();
    let options = Options { state: Some(directory.path().join("state")), ..options(&address) };
    let mut node = Node::connect(options.clone(), &NoProgress).unwrap();
    let before = node.next(&NoProgress).unwrap().unwrap();
    // It dies before it answers, and when it has answered but not written that down.
    drop(node);
    let file = directory.path().join("state/node.json");
    let held = std::fs::read(&file).unwrap();
    for _ in 0..2 {
        std::fs::write(&file, &held).unwrap();
        let mut node = Node::connect(options.clone(), &NoProgress).unwrap();
        let task = node.next(&NoProgress).unwrap().unwrap();
        assert_eq!(task, before);
        node.reply(&task, Ok(records.clone()), &NoProgress).unwrap();
    }
    let ids: Vec<String> = answers
        .lock()
        .unwrap()
        .iter()
        .map(|answer| answer.messages_list[0].metadata.clone().unwrap().message_id)
        .collect();
    assert!(ids.len() == 2 && ids[0] == ids[1], "{ids:?}");
    // What was answered does not come again.
    let told = Told::default();
    let mut node = Node::connect(options, &told).unwrap();
    told.is_cancelled.store(true, Ordering::Relaxed);
    assert_eq!(node.next(&told).unwrap(), None);
}

#[test]
fn a_server_that_forgot_the_node_is_joined_again() {
    let mut is_known = true;
    let mut num_asked = 0;
    let address = server(move |path, _| match path {
        "pull-messages" => {
            num_asked += 1;
            is_known = is_known && num_asked != 3;
            if is_known { usual(path) } else { Answer(401, "", br#"{"detail": "Invalid"}"#.to_vec()) }
        }
        "send-node-heartbeat" if !is_known => Answer(401, "", vec![]),
        "activate-node" if !is_known => {
            is_known = true;
            Answer::ok(&ActivateNodeResponse { node_id: 8 })
        }
        _ => usual(path),
    });
    let told = Arc::new(Told::default());
    let mut node = Node::connect(options(&address), &*told).unwrap();
    let watched = Arc::clone(&told);
    thread::spawn(move || {
        while watched.count("had forgotten node 7, which is node 8 now") == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        watched.is_cancelled.store(true, Ordering::Relaxed);
    });
    assert_eq!(node.next(&*told).unwrap(), None);
    assert_eq!(node.id(), 8);
}

#[test]
fn a_message_is_remembered_until_it_is_answered() {
    let records = small_records();
    let mut link = Link::of(&records);
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("node.json");
    let held = Arc::new(Mutex::new(Vec::new()));
    let (seen, at) = (Arc::clone(&held), file.clone());
    let address = server(move |path, body| {
        if path == "push-messages" {
            let mut seen = seen.lock().unwrap();
            seen.push(std::fs::read_to_string(&at).unwrap().contains("\"metadata\""));
            // It is not known, then it is, under the same number.
            if seen.len() == 1 {
                return Answer(401, "", vec![]);
            }
        }
        link.answer(path, body)
    });
    let options = Options { state: Some(directory.path().into()), ..options(&address) };
    let mut node = Node::connect(options, &NoProgress).unwrap();
    let task = node.next(&NoProgress).unwrap().unwrap();
    node.reply(&task, Ok(records), &NoProgress).unwrap();
    assert_eq!(*held.lock().unwrap(), [true, true]);
    assert!(!std::fs::read_to_string(&file).unwrap().contains("\"metadata\""));
}

#[test]
fn patience_can_have_an_end() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let options = Options { patience: Some(Duration::from_secs(1)), ..options(&address) };
    let told = Told::default();
    let error = Node::connect(options, &told).err().unwrap();
    assert!(matches!(error, Error::Away { .. }) && error.to_string().contains("refused"), "{error}");
    assert_eq!(told.count("trying again"), 1);
}
