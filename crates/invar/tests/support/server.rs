//! A server of objects for tests: HTTP/1.1 with ranges and entity tags, and as much of S3 as an upload needs. It does to a
//! request what the test tells it.

use std::{
    collections::{BTreeMap, HashMap},
    io::{BufRead, BufReader, Read, Write},
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    pub headers: HashMap<String, String>,
    /// How many requests for this target with this method came before.
    pub before: usize,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug)]
pub enum Fate {
    Answered,
    /// Another status, with this body.
    Refused(u16, &'static str),
    /// The connection ends after this many bytes of the answer's body.
    CutAfter(usize),
    /// The connection ends after this many bytes of the request's body.
    CutIn(usize),
    /// Nothing is answered for so long.
    Silent(Duration),
    /// The object has another byte from now on.
    Changed,
    /// A kilobyte at a time, with pauses.
    Slow(Duration),
}

type Judge = Box<dyn FnMut(&Request) -> Fate + Send>;

/// The server; it ends with the test.
pub struct Server {
    pub port: u16,
    state: Arc<Mutex<State>>,
}

struct State {
    objects: BTreeMap<String, Vec<u8>>,
    uploads: BTreeMap<String, BTreeMap<u32, Vec<u8>>>,
    aborted: usize,
    requests: Vec<Request>,
    judge: Judge,
}

impl Server {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let state = Arc::new(Mutex::new(State {
            objects: BTreeMap::new(),
            uploads: BTreeMap::new(),
            aborted: 0,
            requests: vec![],
            judge: Box::new(|_| Fate::Answered),
        }));
        let shared = Arc::clone(&state);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let state = Arc::clone(&shared);
                // A connection that ends early is what is tested.
                thread::spawn(move || drop(serve(stream, &state)));
            }
        });
        Self { port, state }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// Stores an object under a path that begins with a slash.
    pub fn put(&self, path: &str, bytes: impl Into<Vec<u8>>) {
        self.state().objects.insert(path.into(), bytes.into());
    }

    pub fn object(&self, path: &str) -> Option<Vec<u8>> {
        self.state().objects.get(path).cloned()
    }

    /// Decides on all requests from here on.
    pub fn judge(&self, judge: impl FnMut(&Request) -> Fate + Send + 'static) {
        let mut state = self.state();
        state.judge = Box::new(judge);
        state.requests.clear();
    }

    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// Multipart uploads that were begun and neither completed nor aborted, and those that were aborted.
    pub fn uploads(&self) -> (usize, usize) {
        let state = self.state();
        (state.uploads.len(), state.aborted)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

/// The entity tag of these bytes.
pub fn etag(bytes: &[u8]) -> String {
    let hash = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    format!("\"{hash:016x}\"")
}

struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl Answer {
    fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self { status, headers: vec![], body: body.into() }
    }
}

fn serve(stream: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let mut words = line.split_whitespace();
        let (method, target) =
            (words.next().unwrap_or_default().to_owned(), words.next().unwrap_or_default().to_owned());
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_lowercase(), value.trim().to_owned());
        }
        let (request, fate) = {
            let mut state = state.lock().unwrap();
            let same = |other: &&Request| (&other.method, &other.target) == (&method, &target);
            let before = state.requests.iter().filter(same).count();
            let request = Request { method, target, headers, before };
            state.requests.push(request.clone());
            let fate = (state.judge)(&request);
            (request, fate)
        };
        let length: usize = request.headers.get("content-length").map_or(0, |length| length.parse().unwrap());
        if let Fate::CutIn(bytes) = fate {
            reader.by_ref().take(bytes.min(length) as u64).read_to_end(&mut vec![])?;
            return Ok(());
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        if let Fate::Silent(time) = fate {
            thread::sleep(time);
            return Ok(());
        }
        if let Fate::Changed = fate {
            let mut state = state.lock().unwrap();
            let path = request.target.split('?').next().unwrap_or_default();
            state.objects.get_mut(path).unwrap().push(b'\n');
        }
        let answer = match fate {
            Fate::Refused(status, body) => Answer::new(status, body),
            _ => answer(&request, body, &mut state.lock().unwrap()),
        };
        send(&stream, &request, &answer, fate)?;
        if matches!(fate, Fate::CutAfter(_)) {
            return Ok(());
        }
    }
}

fn send(mut stream: &TcpStream, request: &Request, answer: &Answer, fate: Fate) -> std::io::Result<()> {
    let mut head = format!("HTTP/1.1 {} Status\r\nContent-Length: {}\r\n", answer.status, answer.body.len());
    for (name, value) in &answer.headers {
        head += &format!("{name}: {value}\r\n");
    }
    stream.write_all(format!("{head}\r\n").as_bytes())?;
    if request.method == "HEAD" {
        return Ok(());
    }
    match fate {
        Fate::CutAfter(bytes) => stream.write_all(&answer.body[..bytes.min(answer.body.len())]),
        Fate::Slow(pause) => answer.body.chunks(1024).try_for_each(|chunk| {
            thread::sleep(pause);
            stream.write_all(chunk)
        }),
        _ => stream.write_all(&answer.body),
    }
}

fn answer(request: &Request, body: Vec<u8>, state: &mut State) -> Answer {
    let (path, query) = request.target.split_once('?').unwrap_or((&request.target, ""));
    // What Google's client writes for a dot.
    let path = path.replace("%2E", ".");
    let path = path.as_str();
    let parameters: HashMap<&str, &str> =
        query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, ""))).collect();
    match request.method.as_str() {
        "GET" if parameters.contains_key("list-type") => list(path, parameters.get("prefix").unwrap_or(&""), state),
        "GET" | "HEAD" => get(path, request, state),
        "POST" if parameters.contains_key("uploads") => {
            let id = format!("upload{}", state.requests.len());
            state.uploads.insert(id.clone(), BTreeMap::new());
            Answer::new(
                200,
                format!(
                    "<InitiateMultipartUploadResult><Bucket>b</Bucket><Key>k</Key><UploadId>{id}</UploadId>\
                 </InitiateMultipartUploadResult>"
                ),
            )
        }
        "POST" => {
            let parts = state.uploads.remove(parameters["uploadId"]).unwrap();
            let whole = parts.into_values().flatten().collect::<Vec<u8>>();
            let tag = etag(&whole);
            state.objects.insert(path.into(), whole);
            Answer::new(
                200,
                format!("<CompleteMultipartUploadResult><ETag>{tag}</ETag></CompleteMultipartUploadResult>"),
            )
        }
        "PUT" => {
            let headers = vec![("ETag", etag(&body))];
            match parameters.get("partNumber") {
                Some(number) => {
                    let upload = state.uploads.get_mut(parameters["uploadId"]).unwrap();
                    upload.insert(number.parse().unwrap(), body);
                }
                None => drop(state.objects.insert(path.into(), body)),
            }
            Answer { headers, ..Answer::new(200, "") }
        }
        "DELETE" => {
            state.uploads.remove(parameters["uploadId"]);
            state.aborted += 1;
            Answer::new(204, "")
        }
        _ => Answer::new(405, ""),
    }
}

fn get(path: &str, request: &Request, state: &State) -> Answer {
    let Some(bytes) = state.objects.get(path) else {
        let bucket = format!("/{}/", path[1..].split('/').next().unwrap_or_default());
        let has_bucket = state.objects.keys().any(|key| key.starts_with(&bucket));
        let code = if has_bucket { "NoSuchKey" } else { "NoSuchBucket" };
        return Answer::new(404, format!("<Error><Code>{code}</Code><Message>not there</Message></Error>"));
    };
    let tag = etag(bytes);
    if request.headers.get("if-match").is_some_and(|wanted| *wanted != tag) {
        return Answer::new(412, "<Error><Code>PreconditionFailed</Code></Error>");
    }
    let headers = vec![("ETag", tag), ("Last-Modified", "Sun, 29 Nov 2026 12:00:00 GMT".to_owned())];
    let Some(range) = request.headers.get("range") else {
        return Answer { headers, ..Answer::new(200, bytes.clone()) };
    };
    let (start, end) = range.trim_start_matches("bytes=").split_once('-').unwrap();
    let (start, end): (usize, usize) = (start.parse().unwrap(), end.parse().unwrap());
    if start >= bytes.len() {
        return Answer::new(416, "");
    }
    let end = end.min(bytes.len() - 1);
    let mut headers = headers;
    headers.push(("Content-Range", format!("bytes {start}-{end}/{}", bytes.len())));
    Answer { headers, ..Answer::new(206, &bytes[start..=end]) }
}

fn list(bucket: &str, prefix: &str, state: &State) -> Answer {
    let prefix = format!("{}/{}", bucket.trim_end_matches('/'), prefix.replace("%2F", "/"));
    let below = state.objects.iter().filter(|(path, _)| path.starts_with(&prefix));
    let contents: String = below
        .map(|(path, bytes)| {
            let key = &path[bucket.trim_end_matches('/').len() + 1..];
            format!(
                "<Contents><Key>{key}</Key><LastModified>2026-11-29T12:00:00.000Z</LastModified><ETag>x</ETag>\
                 <Size>{}</Size></Contents>",
                bytes.len()
            )
        })
        .collect();
    Answer::new(200, format!("<ListBucketResult><IsTruncated>false</IsTruncated>{contents}</ListBucketResult>"))
}
