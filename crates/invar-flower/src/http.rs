//! Requests of the Fleet API: protobuf by POST, each with a signature over the time.

use std::{
    error::Error as _,
    fs,
    future::Future,
    hash::{BuildHasher, RandomState},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use chrono::{DateTime, SecondsFormat, Utc};
use invar_dataset::Progress;
use prost::Message;
use reqwest::{Certificate, Response, StatusCode, redirect::Policy};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::{Error, Limits, key::Key};

/// The version of Flower that this speaks as.
pub(crate) const FLOWER: &str = "1.42.0";
const PROTOBUF: &str = "application/protobuf";
/// How long a server may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// How long a connection may be idle and be used again. Flower's server closes it after 5 s, which is seen only when it is used.
const IDLE: Duration = Duration::from_secs(3);
/// How long it may take for an answer.
pub(crate) const ANSWER: Duration = Duration::from_secs(60);
/// How long it may take for an object to come or go: 5 MiB at a bit more than 20 KB/s.
pub(crate) const TRANSFER: Duration = Duration::from_secs(240);
/// Pauses between requests that fail: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));
/// How soon a wish to stop is seen.
const GLANCE: Duration = Duration::from_millis(100);

/// What became of a request instead of an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nobody answers, or not now: it is worth while to ask again.
    Away(String),
    /// An answer that says no.
    No(Refusal),
    /// It is of no use to ask again.
    Final(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Final(error)
    }
}

/// An answer that says no.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) status: u16,
    /// Flower's own number (`ApiErrorCode`).
    pub(crate) code: Option<u32>,
    /// What it says.
    pub(crate) detail: String,
    /// When it says so.
    pub(crate) date: Option<DateTime<Utc>>,
}

impl Refusal {
    pub(crate) const UNAUTHORIZED: u16 = 401;
    /// `PUBLIC_KEY_ALREADY_IN_USE`.
    pub(crate) const KEY_IN_USE: u32 = 23;
    /// `RUNTIME_VERSION_INCOMPATIBLE`.
    const VERSION: u32 = 1001;
    /// `FLEET_SUPERNODE_REGISTRATION_DISABLED`.
    pub(crate) const REGISTERED_BY_HAND: u32 = 2001;
    /// `FLEET_NODE_ACTIVATION_FAILED`.
    pub(crate) const NOT_ACTIVATED: u32 = 2004;
}

/// Who asks a SuperLink.
pub(crate) struct Client {
    runtime: Runtime,
    http: reqwest::Client,
    /// Scheme, host and port.
    pub(crate) address: String,
    roots: String,
    key: Key,
    limits: Limits,
}

impl Client {
    /// # Errors
    /// [`Error::Address`], [`Error::File`] and [`Error::RootCertificates`].
    pub(crate) fn new(
        superlink: &str,
        insecure: bool,
        roots: Option<&Path>,
        key: Key,
        limits: Limits,
    ) -> Result<Self, Error> {
        let address = address(superlink, insecure)?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("invar/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .connect_timeout(CONNECT)
            .pool_idle_timeout(IDLE)
            .https_only(!insecure);
        if let Some(path) = roots {
            builder = builder.tls_built_in_root_certs(false);
            for certificate in certificates(path)? {
                builder = builder.add_root_certificate(certificate);
            }
        }
        let of = |reason: String| Error::Address { address: superlink.into(), reason };
        let http = builder.build().map_err(|error| of(innermost(&error)))?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| of(error.to_string()))?;
        let roots = roots.map_or_else(|| "those of the system".into(), |path| format!("those of {}", path.display()));
        Ok(Self { runtime, http, address, roots, key, limits })
    }

    pub(crate) fn key(&self) -> &Key {
        &self.key
    }

    /// One request.
    pub(crate) fn ask<R: Message + Default>(
        &self,
        path: &str,
        request: &impl Message,
        timeout: Duration,
        progress: &dyn Progress,
    ) -> Result<R, Failure> {
        let url = format!("{}/v1/fleet/{path}", self.address);
        let time = DateTime::<Utc>::from(SystemTime::now()).to_rfc3339_opts(SecondsFormat::Micros, false);
        let request = self.http.post(&url).timeout(timeout).body(request.encode_to_vec());
        let request = request
            .header("content-type", PROTOBUF)
            .header("accept", PROTOBUF)
            .header("flwr-public-key", BASE64.encode(self.key.public()))
            .header("flwr-signature", self.key.sign(time.as_bytes()))
            .header("flwr-timestamp", time)
            .header("flwr-package-name", "flwr")
            .header("flwr-package-version", FLOWER)
            .header("flwr-component-name", "SuperNode");
        let limit = self.limits.answer_bytes.max(self.limits.object_bytes + 1024);
        let answer = async {
            let response = request.send().await.map_err(|error| self.failed(&error, timeout))?;
            let (status, date) = (response.status(), date(&response));
            let kind = response.headers().get("content-type").and_then(|value| value.to_str().ok());
            let kind = kind.unwrap_or_default().to_owned();
            let bytes = self.body(response, limit, timeout).await?;
            if status == StatusCode::OK {
                return Ok((kind, bytes));
            }
            Err(self.refused(&url, status, date, &bytes))
        };
        let (kind, bytes) = self.runtime.block_on(unless_cancelled(answer, progress))?;
        let protocol = |found: String| Error::Protocol { url: url.clone(), expected: FLOWER, found };
        if !kind.starts_with(PROTOBUF) {
            return Err(protocol(format!("{} bytes of {kind:?}", bytes.len())).into());
        }
        R::decode(&bytes[..])
            .map_err(|error| protocol(format!("{} bytes that are no such message: {error}", bytes.len())).into())
    }

    /// The version of Flower that the server names, where it does.
    pub(crate) fn version(&self, progress: &dyn Progress) -> Result<Option<String>, Failure> {
        #[derive(Deserialize)]
        struct Described {
            info: Info,
        }
        #[derive(Deserialize)]
        struct Info {
            title: String,
            version: String,
        }
        let request = self.http.get(format!("{}/openapi.json", self.address)).timeout(ANSWER);
        let answer = async {
            let response = request.send().await.map_err(|error| self.failed(&error, ANSWER))?;
            let status = response.status();
            if status.is_server_error() {
                return Err(Failure::Away(format!("status {status}")));
            }
            self.body(response, self.limits.answer_bytes, ANSWER).await
        };
        let bytes = self.runtime.block_on(unless_cancelled(answer, progress))?;
        let described = serde_json::from_slice(&bytes).ok().filter(|d: &Described| d.info.title.contains("SuperLink"));
        Ok(described.map(|described| described.info.version))
    }

    /// Asks until there is an answer of either kind, for `patience` or for ever. What is wrong, and that it is over, is told
    /// once each.
    pub(crate) fn persist<T>(
        &self,
        patience: Option<Duration>,
        progress: &dyn Progress,
        mut ask: impl FnMut() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (start, mut told, mut pause) = (Instant::now(), None, PAUSE.0);
        loop {
            let reason = match ask() {
                Err(Failure::Away(reason)) => reason,
                other => {
                    if told.is_some() {
                        let away_s = start.elapsed().as_secs();
                        progress.message(&format!("{} answers again, after {away_s} s", self.address));
                    }
                    return other;
                }
            };
            if let Some(patience) = patience
                && start.elapsed() >= patience
            {
                let address = self.address.clone();
                return Err(Error::Away { address, reason, tried_s: start.elapsed().as_secs() }.into());
            }
            if told.as_ref() != Some(&reason) {
                let most_s = PAUSE.1.as_secs();
                progress.message(&format!("{}: {reason}; trying again, at least every {most_s} s", self.address));
                told = Some(reason);
            }
            self.sleep(jittered(pause), progress)?;
            pause = (pause * 2).min(PAUSE.1);
        }
    }

    /// Waits for a time, or until the user asks to stop.
    pub(crate) fn sleep(&self, time: Duration, progress: &dyn Progress) -> Result<(), Failure> {
        let sleep = async {
            tokio::time::sleep(time).await;
            Ok(())
        };
        self.runtime.block_on(unless_cancelled(sleep, progress))
    }

    /// Why the server does not take our signature: of the clock, or of the key.
    pub(crate) fn unauthorized(&self, refusal: Refusal) -> Error {
        let (address, now) = (self.address.clone(), DateTime::<Utc>::from(SystemTime::now()));
        if let Some(there) = refusal.date {
            // Of a date in whole seconds, by which a second may have passed.
            let off_s = (now - there).num_seconds();
            if !(-299..4).contains(&off_s) {
                let text = |time: DateTime<Utc>| time.to_rfc3339_opts(SecondsFormat::Secs, true);
                return Error::Clock { address, off_s, here: text(now), there: text(there) };
            }
        }
        Error::Refused { address, fingerprint: self.key.fingerprint().into(), reason: refusal.detail }
    }

    async fn body(&self, mut response: Response, limit: u64, timeout: Duration) -> Result<Vec<u8>, Failure> {
        let what = "bytes of an answer";
        if let Some(found) = response.content_length().filter(|&length| length > limit) {
            return Err(Error::TooMuch { what, limit, found }.into());
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| self.failed(&error, timeout))? {
            let found = (bytes.len() + chunk.len()) as u64;
            if found > limit {
                return Err(Error::TooMuch { what, limit, found }.into());
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(bytes)
    }

    fn failed(&self, error: &reqwest::Error, timeout: Duration) -> Failure {
        let (address, reason) = (self.address.clone(), innermost(error));
        if reason.contains("invalid peer certificate") {
            return Error::Untrusted { address, reason, roots: self.roots.clone() }.into();
        }
        if reason.contains("InvalidContentType") {
            return Error::Protocol { url: address, expected: FLOWER, found: "no TLS".into() }.into();
        }
        let is_connecting = error.is_connect();
        Failure::Away(match error.is_timeout() {
            true if is_connecting => format!("no connection within {} s", CONNECT.as_secs()),
            true => format!("no answer within {} s", timeout.as_secs()),
            false => reason,
        })
    }

    fn refused(&self, url: &str, status: StatusCode, date: Option<DateTime<Utc>>, bytes: &[u8]) -> Failure {
        #[derive(Default, Deserialize)]
        struct Told {
            code: Option<u32>,
            detail: Option<String>,
            extra: Option<String>,
        }
        let Told { code, detail, extra } = serde_json::from_slice(bytes).unwrap_or_default();
        let said: Vec<String> = [detail, extra].into_iter().flatten().collect();
        let detail = if said.is_empty() { format!("status {status}") } else { said.join(" ") };
        if code == Some(Refusal::VERSION) {
            return Error::Version { address: self.address.clone(), expected: FLOWER, found: detail }.into();
        }
        match status.as_u16() {
            408 | 429 | 500.. => Failure::Away(detail),
            404 | 405 | 415 => {
                let found = format!("status {status} ({detail})");
                Error::Protocol { url: url.into(), expected: FLOWER, found }.into()
            }
            status => Failure::No(Refusal { status, code, detail, date }),
        }
    }
}

/// Scheme, host and port of the address of a SuperLink.
fn address(superlink: &str, insecure: bool) -> Result<String, Error> {
    let error = |reason: &str| Error::Address { address: superlink.into(), reason: reason.into() };
    let url = Url::parse(superlink).map_err(|reason| error(&format!("expected https://HOST:PORT: {reason}")))?;
    match url.scheme() {
        "https" => {}
        "http" if insecure => {}
        "http" => return Err(error("without TLS anybody can read and change what is sent; that has to be asked for")),
        _ => return Err(error("expected https://HOST:PORT")),
    }
    let is_bare = matches!(url.path(), "" | "/") && url.query().is_none() && url.username().is_empty();
    if !is_bare || url.host().is_none() {
        return Err(error("expected https://HOST:PORT and nothing else"));
    }
    Ok(url.origin().ascii_serialization())
}

fn certificates(path: &Path) -> Result<Vec<Certificate>, Error> {
    let pem = fs::read(path).map_err(|source| Error::File { path: path.into(), source })?;
    let error = |reason: String| Error::RootCertificates { path: path.into(), reason };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|reason| error(innermost(&reason)))?;
    if certificates.is_empty() {
        return Err(error("expected certificates in PEM, found none".into()));
    }
    Ok(certificates)
}

async fn unless_cancelled<T>(
    work: impl Future<Output = Result<T, Failure>>,
    progress: &dyn Progress,
) -> Result<T, Failure> {
    let cancelled = async {
        while !progress.is_cancelled() {
            tokio::time::sleep(GLANCE).await;
        }
    };
    tokio::pin!(work, cancelled);
    std::future::poll_fn(|context| {
        if let std::task::Poll::Ready(result) = work.as_mut().poll(context) {
            return std::task::Poll::Ready(result);
        }
        cancelled.as_mut().poll(context).map(|()| Err(Error::Interrupted.into()))
    })
    .await
}

fn date(response: &Response) -> Option<DateTime<Utc>> {
    let date = response.headers().get("date")?.to_str().ok()?;
    Some(DateTime::parse_from_rfc2822(date).ok()?.to_utc())
}

/// The last of an error's sources, which says most.
fn innermost(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = error.to_string();
        source = error.source();
    }
    text
}

/// Between half of a pause and all of it, so that nodes that lost a server do not come back at once.
fn jittered(pause: Duration) -> Duration {
    let drawn = RandomState::new().hash_one(0) as f64 / u64::MAX as f64;
    pause.mul_f64(0.5 + drawn / 2.0)
}
