//! What is a URL, and what of it may be shown.

use std::{
    collections::BTreeMap,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

const SCHEMES: [&str; 5] = ["s3", "gs", "az", "https", "http"];

/// URLs by the names that stand for them, which are free of secrets. Or why a URL is refused. Not by paths, which a slash at
/// the end does not tell apart.
static NAMED: Mutex<BTreeMap<OsString, Result<String, String>>> = Mutex::new(BTreeMap::new());

/// Whether it is the URL of an object, not a path.
pub fn is_url(path: &Path) -> bool {
    path.to_str().and_then(scheme).is_some_and(|scheme| SCHEMES.contains(&scheme))
}

/// The path, or the name by which the program knows the URL from here on: without its query, which may be a signature
/// that lets whoever reads it in a manifest or a message do the same. A URL that cannot be taken gets a name too, and
/// the reason is the error of whatever uses it.
pub fn named(path: &Path) -> PathBuf {
    match (path.to_str(), path.to_str().and_then(scheme)) {
        (Some(text), Some(scheme)) => remember(text, scheme),
        _ => path.into(),
    }
}

/// Why the URL of this name cannot be taken.
pub(crate) fn refusal(name: &Path) -> Option<String> {
    let named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    named.get(name.as_os_str())?.as_ref().err().cloned()
}

/// Why the first of the URLs that were named in this command and cannot be taken is not, in words without its secrets.
pub fn first_refusal() -> Option<String> {
    let named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    named.values().find_map(|url| url.as_ref().err().cloned())
}

pub(super) fn forget_refusals() {
    NAMED.lock().unwrap_or_else(PoisonError::into_inner).retain(|_, url| url.is_ok());
}

/// The URL with its secrets.
///
/// # Errors
/// Why it cannot be taken.
pub(super) fn full(path: &Path) -> io::Result<String> {
    let named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    match named.get(path.as_os_str()) {
        Some(Ok(url)) => Ok(url.clone()),
        Some(Err(reason)) => Err(io::Error::new(io::ErrorKind::InvalidInput, reason.clone())),
        None => Ok(path.to_string_lossy().into_owned()),
    }
}

/// What `file`, a URL or relative, means in the sheet or list at `url`.
pub fn join(url: &Path, file: &str) -> PathBuf {
    let directory = url.to_str().and_then(|url| url.rsplit_once('/')).map_or("", |(directory, _)| directory);
    PathBuf::from(format!("{directory}/{}", file.trim_start_matches("./")))
}

fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once("://")?;
    let is_scheme =
        scheme.len() > 1 && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    is_scheme.then_some(scheme)
}

fn remember(text: &str, scheme: &str) -> PathBuf {
    let rest = &text[scheme.len() + 3..];
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    let is_web = matches!(scheme, "https" | "http");
    // What is a query on the web is part of a key elsewhere.
    let path = if is_web { path.split(['?', '#']).next().unwrap_or_default() } else { path };
    let shown = format!("{scheme}://{host}{path}");
    let url = if !SCHEMES.contains(&scheme) {
        Err(format!("{shown}: expected a path or a URL of {}", SCHEMES.map(|scheme| format!("{scheme}://")).join(" ")))
    } else if host.len() < authority.len() {
        Err(format!(
            "{shown}: a name or password in a URL is not taken, because other users of this machine see it in the list of \
             processes"
        ))
    } else if host.is_empty() || path.trim_start_matches('/').is_empty() {
        Err(format!("{shown}: expected {scheme}://{}", if is_web { "HOST/PATH" } else { "BUCKET/KEY" }))
    } else {
        Ok(text.to_owned())
    };
    let mut named = NAMED.lock().unwrap_or_else(PoisonError::into_inner);
    // URLs that differ in their queries alone are numbered.
    let names =
        (1..).map(|number| OsString::from(if number == 1 { shown.clone() } else { format!("{shown}#{number}") }));
    let name = { names }.find(|name| named.get(name).is_none_or(|there| *there == url)).expect("numbers do not end");
    named.insert(name.clone(), url);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> String {
        named(Path::new(text)).display().to_string()
    }

    #[test]
    fn urls_are_told_from_paths() {
        for url in ["s3://b/k", "gs://b/k", "az://c/k", "https://h/p", "http://h/p"] {
            assert!(is_url(Path::new(url)), "{url}");
            assert_eq!(name(url), url);
        }
        for path in ["a/b", "s3:/b/k", "C:\\a", "c://a", "ftp://h/p", "-", "a b://c", ""] {
            assert!(!is_url(Path::new(path)), "{path}");
        }
        assert_eq!(name("a?b"), "a?b");
    }

    #[test]
    fn a_signature_is_kept_but_not_shown() {
        let url = "https://h.example/a/b.fq?X-Amz-Signature=secret1&n=1";
        assert_eq!(name(url), "https://h.example/a/b.fq");
        assert_eq!(full(Path::new("https://h.example/a/b.fq")).unwrap(), url);
        // Another object of the same path has a name of its own, which it keeps.
        let other = "https://h.example/a/b.fq?X-Amz-Signature=secret2";
        assert_eq!(
            [name(other), name(url), name(other)],
            [2, 1, 2].map(|number| match number {
                1 => "https://h.example/a/b.fq".to_owned(),
                _ => "https://h.example/a/b.fq#2".to_owned(),
            })
        );
        assert_eq!(full(Path::new("https://h.example/a/b.fq#2")).unwrap(), other);
        assert_eq!(name("https://h.example/a/b.fq"), "https://h.example/a/b.fq#3", "without a query it is another too");
        assert_eq!(name("s3://b/what?.fq"), "s3://b/what?.fq", "part of the key");
        assert_eq!([name("s3://b/parts"), name("s3://b/parts/")], ["s3://b/parts", "s3://b/parts/"], "two objects");
    }

    #[test]
    fn what_cannot_be_taken_is_said_without_the_secret() {
        for url in [
            "https://me:secret@bad/p.fq",
            "s3://key:secret@bad/k",
            "ftp://me:secret@bad/p",
            "https://bad?secret",
            "s3://bad/",
        ] {
            let reason = refusal(&named(Path::new(url))).unwrap();
            assert!(!reason.contains("secret") && reason.contains(&name(url)), "{reason}");
            assert!(!name(url).contains("secret"));
            assert_eq!(full(&named(Path::new(url))).unwrap_err().to_string(), reason);
        }
        assert!(first_refusal().is_some());
    }

    #[test]
    fn what_a_sheet_names_lies_beside_it() {
        assert_eq!(join(Path::new("s3://b/d/s.csv"), "x/a.fq"), Path::new("s3://b/d/x/a.fq"));
        assert_eq!(join(Path::new("https://h/s.csv"), "./a.fq"), Path::new("https://h/a.fq"));
    }
}
