//! Checks that two embeddings were made by the same network.

use std::path::Path;

use anyhow::Result;
use invar_embeddings::Info;
use serde_json::Value;

use crate::exit::BadInput;

/// Checks that the embeddings at `path` can be compared with those at `of`.
///
/// # Errors
/// If they were made by different networks or from different features, or one of the two cannot be read.
pub fn check(of: &Path, path: &Path) -> Result<()> {
    let (old, new) = (invar_embeddings::info(of)?, invar_embeddings::info(path)?);
    let model = |one: &Info| one.provenance.as_ref().and_then(|made| made.model_sha256.clone());
    let features = |one: &Info| {
        let made = one.provenance.as_ref()?;
        made.extra.get("features").and_then(Value::as_str).map(str::to_owned)
    };
    let dim = |one: &Info| one.dim.map(|dim| dim.to_string());
    for (what, (expected, found)) in [
        ("the model", (model(&old), model(&new))),
        ("what of the network was embedded", (features(&old), features(&new))),
        ("the dimension of the embedding", (dim(&old), dim(&new))),
    ] {
        if expected != found {
            let known = |value: Option<String>| value.unwrap_or("unknown".into());
            let (expected, found) = (known(expected), known(found));
            let (of, path) = (of.display(), path.display());
            let reason = format!("{what} is {expected} in {of} and {found} in {path}: they cannot be compared");
            return Err(BadInput(reason).into());
        }
    }
    Ok(())
}
