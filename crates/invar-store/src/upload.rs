//! Requests that write.

use std::{fs::File, io::Read, path::Path};

use futures_util::{StreamExt, TryStreamExt, stream};
use invar_dataset::object::ObjectIdentity;
use object_store::{MultipartUpload, ObjectStoreExt, PutPayload};

use crate::{StoreError, address::Address, fetch::look};

/// Bytes of a part, unless the file would have more parts than stores take.
const PART_BYTES: u64 = 8 << 20;
const MOST_PARTS: u64 = 10_000;
/// Parts at a time.
const REQUESTS: usize = 4;

/// Stores a file as an object, which is there when all of it is.
pub(crate) async fn upload(path: &Path, address: &Address) -> std::io::Result<ObjectIdentity> {
    if address.bucket.is_none() {
        return Err(StoreError::Unsupported("a web server is only read from".into()).into());
    }
    let mut file = File::open(path)?;
    let size_bytes = file.metadata()?.len();
    if size_bytes <= PART_BYTES {
        let bytes = read_part(&mut file, size_bytes)?;
        let stored = address.client.writes.put(&address.key, PutPayload::from(bytes)).await;
        stored.map_err(|error| StoreError::of(&error))?;
    } else {
        let begun = address.client.writes.put_multipart(&address.key).await;
        let mut parts = begun.map_err(|error| StoreError::of(&error))?;
        let sent = send_parts(&mut file, size_bytes, parts.as_mut()).await;
        if let Err(error) = sent {
            // What was sent is in nobody's way, and paid for.
            let _ = parts.abort().await;
            return Err(error);
        }
    }
    let object = look(address).await?;
    let found = object.size_bytes;
    if found == size_bytes { Ok(object) } else { Err(StoreError::Incomplete { expected: size_bytes, found }.into()) }
}

async fn send_parts(file: &mut File, size_bytes: u64, parts: &mut dyn MultipartUpload) -> std::io::Result<()> {
    let part_bytes = PART_BYTES.max(size_bytes.div_ceil(MOST_PARTS - 1));
    let starts = stream::iter((0..size_bytes).step_by(part_bytes as usize));
    // Read when their turn comes, so that no more parts are in memory than are on their way.
    let begun = starts.map(|start| {
        let bytes = read_part(file, part_bytes.min(size_bytes - start))?;
        Ok::<_, std::io::Error>(parts.put_part(PutPayload::from(bytes)))
    });
    let failed = |error: object_store::Error| std::io::Error::from(StoreError::of(&error));
    let sent = begun.map(|part| async move { part?.await.map_err(failed) });
    sent.buffer_unordered(REQUESTS).try_collect::<Vec<()>>().await?;
    parts.complete().await.map_err(failed)?;
    Ok(())
}

fn read_part(file: &mut File, len: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; len as usize];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}
