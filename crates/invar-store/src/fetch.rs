//! Requests that read.

use std::{future::Future, ops::Range};

use futures_util::{StreamExt, TryStreamExt};
use invar_dataset::object::ObjectIdentity;
use object_store::{GetOptions, GetRange, ObjectMeta, ObjectStore, ObjectStoreExt};
use tokio::time::{sleep, timeout};

use crate::{Patience, StoreError, address::Address};

/// What an object is now. By a GET of its first byte: unlike a HEAD, it is explained where it fails, and a URL that was
/// signed for reading allows it.
pub(crate) async fn look(address: &Address) -> Result<ObjectIdentity, StoreError> {
    let mut requests = 0;
    loop {
        requests += 1;
        match again_or(address.client.patience, requests, look_once(address).await).await {
            Some(done) => return done,
            None => continue,
        }
    }
}

async fn look_once(address: &Address) -> Result<ObjectIdentity, StoreError> {
    let patience = address.client.patience;
    let first = GetOptions { range: Some(GetRange::Bounded(0..1)), ..GetOptions::default() };
    match in_time(patience, address.client.reads.get_opts(&address.key, first)).await? {
        Ok(result) => Ok(identity(&result.meta)),
        // There is no first byte.
        Err(error) if error.to_string().contains("status code: 416") => {
            let head = in_time(patience, address.client.reads.head(&address.key)).await?;
            Ok(identity(&head.map_err(|error| StoreError::of(&error))?))
        }
        Err(error) => Err(StoreError::of(&error)),
    }
}

/// The bytes of `range` of an object that is as it was.
pub(crate) async fn fetch(
    address: &Address,
    object: &ObjectIdentity,
    range: Range<u64>,
) -> Result<Vec<u8>, StoreError> {
    let mut bytes = Vec::with_capacity((range.end - range.start) as usize);
    let mut requests = 0;
    loop {
        let before = bytes.len();
        let fetched = fetch_into(address, object, &range, &mut bytes).await;
        // What gives bytes, if slowly or in pieces, is not given up.
        requests = if bytes.len() > before { 1 } else { requests + 1 };
        match again_or(address.client.patience, requests, fetched).await {
            Some(Ok(())) => return Ok(bytes),
            Some(Err(StoreError::NoObject | StoreError::NoBucket)) => return Err(StoreError::changed(object, None)),
            Some(Err(StoreError::Changed { .. })) => {
                let now = look(address).await.ok();
                return Err(StoreError::changed(object, now.as_ref()));
            }
            Some(Err(error)) => return Err(error),
            None => continue,
        }
    }
}

/// Adds what is missing of `range` to `bytes`.
async fn fetch_into(
    address: &Address,
    object: &ObjectIdentity,
    range: &Range<u64>,
    bytes: &mut Vec<u8>,
) -> Result<(), StoreError> {
    let missing = range.start + bytes.len() as u64..range.end;
    if missing.is_empty() {
        return Ok(());
    }
    let options = GetOptions {
        if_match: object.etag.clone().filter(|etag| !etag.starts_with("W/")),
        version: object.version.clone(),
        range: Some(GetRange::Bounded(missing.clone())),
        ..GetOptions::default()
    };
    let patience = address.client.patience;
    let result = match in_time(patience, address.client.reads.get_opts(&address.key, options)).await? {
        Ok(result) => result,
        Err(object_store::Error::Precondition { .. }) => return Err(StoreError::changed(object, None)),
        Err(error) if error.to_string().contains("status code: 416") => return Err(StoreError::changed(object, None)),
        Err(error) => return Err(StoreError::of(&error)),
    };
    let now = identity(&result.meta);
    let is_same = (&now.etag, now.size_bytes) == (&object.etag, object.size_bytes)
        && (object.etag.is_some() || now.modified_ns == object.modified_ns);
    if !is_same {
        return Err(StoreError::changed(object, Some(&now)));
    }
    let mut stream = result.into_stream();
    let mut left = (missing.end - missing.start) as usize;
    while let Some(piece) = in_time(patience, stream.next()).await? {
        let piece = piece.map_err(|error| StoreError::of(&error))?;
        bytes.extend_from_slice(&piece[..piece.len().min(left)]);
        left -= piece.len().min(left);
    }
    match left {
        0 => Ok(()),
        _ => Err(StoreError::broken(format!("the connection ended {left} bytes before the end of a part"))),
    }
}

/// The URLs of all objects below.
pub(crate) async fn list(address: &Address) -> Result<Vec<String>, StoreError> {
    let Some(bucket) = &address.bucket else {
        return Err(StoreError::Unsupported("a web server does not list its files: name each".into()));
    };
    let found = address.client.writes.list(Some(&address.key)).try_collect::<Vec<ObjectMeta>>().await;
    let found = found.map_err(|error| StoreError::of(&error))?;
    if found.is_empty() {
        return Err(StoreError::NoObject);
    }
    // Keys that end with a slash stand for directories.
    let mut urls: Vec<String> = found.iter().map(|object| format!("{bucket}{}", object.location)).collect();
    urls.sort();
    Ok(urls)
}

pub(crate) fn identity(meta: &ObjectMeta) -> ObjectIdentity {
    ObjectIdentity {
        size_bytes: meta.size,
        etag: meta.e_tag.clone(),
        version: meta.version.clone(),
        modified_ns: meta.last_modified.timestamp_nanos_opt().unwrap_or(0),
    }
}

/// `None`, after a pause, if a request is to be made again.
async fn again_or<T>(
    patience: Patience,
    requests: usize,
    done: Result<T, StoreError>,
) -> Option<Result<T, StoreError>> {
    match done {
        Err(error) if error.may_pass() && requests <= patience.retries => {
            sleep(Patience::pause(requests - 1)).await;
            None
        }
        done => Some(done.map_err(|error| error.after(requests))),
    }
}

async fn in_time<T>(patience: Patience, work: impl Future<Output = T>) -> Result<T, StoreError> {
    let silent = || StoreError::broken(format!("no answer within {} s", patience.timeout.as_secs()));
    timeout(patience.timeout, work).await.map_err(|_| silent())
}
