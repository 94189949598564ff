use std::io;

use invar_dataset::object::ObjectIdentity;
use thiserror::Error;

/// What can go wrong with an object. Texts name neither the object, which callers name, nor any secret.
#[derive(Debug, Error)]
pub enum StoreError {
    /// Not a URL that can be used.
    #[error("{0}")]
    Url(String),
    /// An environment variable has an impossible value.
    #[error("{name}: expected {expected}, found {found:?}")]
    Setting {
        /// The variable.
        name: &'static str,
        /// What it can be.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// The environment has no credentials for the store.
    #[error("there are no credentials in the environment: set {0}")]
    NoCredentials(&'static str),
    /// The bucket does not exist.
    #[error("there is no bucket of this name")]
    NoBucket,
    /// The object does not exist.
    #[error("there is no such object")]
    NoObject,
    /// The store refuses to give or take the object.
    #[error("access denied: {0}; credentials come from the environment variables of the store")]
    Denied(String),
    /// The object is not what it was when it was first looked at.
    #[error("it changed while it was read: {then} before, {now} now")]
    Changed {
        /// What it was, in words.
        then: String,
        /// What it is.
        now: String,
    },
    /// What was stored is not what was sent.
    #[error("{found} bytes of {expected} arrived in the store")]
    Incomplete {
        /// Bytes sent.
        expected: u64,
        /// Bytes there.
        found: u64,
    },
    /// The store does not do what is needed.
    #[error("{0}")]
    Unsupported(String),
    /// A request failed in another way, also when it was made again.
    #[error("{reason}{}", tried(*.requests))]
    Failed {
        /// What happened.
        reason: String,
        /// How often the request was made.
        requests: usize,
        /// Whether it may succeed another time.
        may_pass: bool,
    },
}

fn tried(requests: usize) -> String {
    if requests > 1 { format!(" ({requests} requests)") } else { String::new() }
}

impl StoreError {
    /// What a request that failed means.
    pub(crate) fn of(error: &object_store::Error) -> Self {
        use object_store::Error as E;
        let text = with_sources(error);
        let status = after(&text, "status code: ").and_then(|rest| rest.get(..3)?.parse::<u16>().ok());
        let code = element(&text, "Code");
        let told = match (code, element(&text, "Message")) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(code), None) => code.to_owned(),
            _ => status.map_or_else(|| plain(&text), |status| format!("status {status}")),
        };
        let is_expired =
            code.is_some_and(|code| matches!(code, "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired"));
        match (error, status) {
            _ if code.is_some_and(|code| matches!(code, "NoSuchBucket" | "ContainerNotFound")) => Self::NoBucket,
            (E::NotFound { .. }, _) => Self::NoObject,
            (E::PermissionDenied { .. } | E::Unauthenticated { .. }, _) => Self::Denied(told),
            _ if is_expired => Self::Denied(told),
            (E::NotSupported { .. }, _) => {
                Self::Unsupported("the server does not give parts of files (HTTP ranges)".into())
            }
            _ if text.contains("redirect without LOCATION") => {
                Self::Unsupported("the bucket is in another region: set AWS_REGION".into())
            }
            (_, status) => {
                let may_pass = status.is_none_or(|status| status >= 500 || status == 408 || status == 429);
                Self::Failed { reason: told, requests: 1, may_pass }
            }
        }
    }

    pub(crate) fn changed(then: &ObjectIdentity, now: Option<&ObjectIdentity>) -> Self {
        let words = |object: &ObjectIdentity| {
            let tag = object.etag.as_ref().map_or_else(String::new, |etag| format!(" with ETag {etag}"));
            format!("{} bytes{tag}", object.size_bytes)
        };
        Self::Changed { then: words(then), now: now.map_or_else(|| "nothing".into(), words) }
    }

    /// A connection that ended early, or was silent for too long.
    pub(crate) fn broken(reason: impl Into<String>) -> Self {
        Self::Failed { reason: reason.into(), requests: 1, may_pass: true }
    }

    pub(crate) fn may_pass(&self) -> bool {
        matches!(self, Self::Failed { may_pass: true, .. })
    }

    pub(crate) fn after(self, requests: usize) -> Self {
        match self {
            Self::Failed { reason, may_pass, .. } => Self::Failed { reason, requests, may_pass },
            other => other,
        }
    }
}

/// Kinds are those that files have; none is one by which a decoder tells damage.
impl From<StoreError> for io::Error {
    fn from(error: StoreError) -> Self {
        let kind = match &error {
            StoreError::NoObject => io::ErrorKind::NotFound,
            StoreError::NoBucket => io::ErrorKind::NotADirectory,
            StoreError::NoCredentials(_) | StoreError::Denied(_) => io::ErrorKind::PermissionDenied,
            StoreError::Changed { .. } => io::ErrorKind::StaleNetworkFileHandle,
            StoreError::Unsupported(_) | StoreError::Url(_) | StoreError::Setting { .. } => io::ErrorKind::Unsupported,
            StoreError::Incomplete { .. } | StoreError::Failed { .. } => io::ErrorKind::ConnectionAborted,
        };
        Self::new(kind, error)
    }
}

/// The error and its causes, those left out that are said already.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let told = cause.to_string();
        if !text.contains(&told) {
            text += &format!(": {told}");
        }
        source = cause.source();
    }
    text
}

fn after<'a>(text: &'a str, mark: &str) -> Option<&'a str> {
    text.split_once(mark).map(|(_, rest)| rest)
}

/// The text of an element of the XML by which stores explain themselves.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let inside = after(text, &format!("<{name}>"))?.split_once(&format!("</{name}>"))?.0;
    Some(inside.trim())
}

/// The last cause of a failed request, without URLs: their queries may be signatures.
fn plain(text: &str) -> String {
    let last = text.rsplit(" - ").next().unwrap_or(text);
    let words = last.split_whitespace().filter(|word| !word.contains("://") && !word.contains('?'));
    let told = words.collect::<Vec<_>>().join(" ");
    let told =
        told.strip_prefix("Generic ").map_or(told.as_str(), |rest| rest.split_once(": ").map_or(rest, |(_, r)| r));
    told.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(text: &str) -> object_store::Error {
        object_store::Error::Generic { store: "S3", source: text.into() }
    }

    #[test]
    fn what_a_store_says_is_told_without_signatures() {
        let url = "http://h/b/k?X-Amz-Signature=secret";
        let text = format!("Error performing GET {url} in 3ms - HTTP error: error sending request for url ({url})");
        let told = StoreError::of(&generic(&text));
        assert!(!told.to_string().contains("secret"), "{told}");
        assert_eq!(told.to_string(), "HTTP error: error sending request for url");
        assert!(told.may_pass());
        let xml = "<Error><Code>ExpiredToken</Code><Message>The provided token has expired.</Message>\
                   <Token-0>secret</Token-0></Error>";
        let text =
            format!("Error performing GET {url} in 3ms - Server returned non-2xx status code: 400 Bad Request: {xml}");
        let told = StoreError::of(&generic(&text));
        assert_eq!(
            told.to_string(),
            "access denied: ExpiredToken: The provided token has expired.; credentials come from the environment variables \
             of the store"
        );
        assert_eq!(io::Error::from(told).kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        let of =
            |status: &str| StoreError::of(&generic(&format!("x - Server returned non-2xx status code: {status}: ")));
        for status in ["500 Internal Server Error", "503 Service Unavailable", "429 Too Many Requests"] {
            assert!(of(status).may_pass(), "{status}");
        }
        assert!(!of("400 Bad Request").may_pass());
        assert_eq!(of("503 Service Unavailable").after(9).to_string(), "status 503 (9 requests)");
    }
}
