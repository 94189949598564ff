//! Whether a run directory belongs to a recipe.

use std::fs;

use invar_dataset::ViewShape;
use serde_json::{Value, json};

use crate::{Error, Model, Recipe, checkpoint};

/// All that fixes the weights: what may not change between a run and its resumption.
///
/// # Errors
/// When the model to start from cannot be read.
pub(super) fn identity(recipe: &Recipe, shape: &ViewShape, num_samples: usize) -> Result<Value, Error> {
    let mut train = json!(recipe.train);
    if let Some(settings) = train.as_object_mut() {
        for free in ["checkpoint_every", "keep_checkpoints", "log_every", "view_workers"] {
            settings.remove(free);
        }
    }
    // The model itself, not where it lies.
    if let (Some(path), Some(settings)) = (&recipe.train.warm_start, train.as_object_mut()) {
        let path = Model::path_of(path);
        let bytes = fs::read(&path).map_err(Error::io(path))?;
        settings.insert("warm_start".into(), checkpoint::digest(&bytes).into());
    }
    Ok(json!({
        "data": recipe.data,
        "encoder": recipe.encoder,
        "loss": recipe.loss,
        "num_samples": num_samples,
        "seed": recipe.train.seed,
        "train": train,
        "views": format!("{shape:?}"),
    }))
}

/// The first key, in order, under which two values differ, and both values.
pub(super) fn first_difference(a: &Value, b: &Value, key: String) -> Option<(String, String, String)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) => {
            let mut keys: Vec<&String> = x.keys().chain(y.keys()).collect();
            keys.sort();
            keys.dedup();
            let dot = if key.is_empty() { "" } else { "." };
            keys.into_iter().find_map(|k| {
                let at = |map: &serde_json::Map<String, Value>| map.get(k).cloned().unwrap_or(Value::Null);
                first_difference(&at(x), &at(y), format!("{key}{dot}{k}"))
            })
        }
        _ if a == b => None,
        _ => Some((key, a.to_string(), b.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_difference_is_named_with_both_values() {
        let a = json!({"x": {"y": 1, "z": [1, 2]}, "w": "same"});
        let differ = |b: Value| first_difference(&a, &b, String::new());
        assert_eq!(differ(a.clone()), None);
        let expected = ("x.z".to_owned(), "[1,2]".to_owned(), "[1,3]".to_owned());
        assert_eq!(differ(json!({"x": {"y": 1, "z": [1, 3]}, "w": "same"})), Some(expected));
        let expected = ("x.y".to_owned(), "1".to_owned(), "null".to_owned());
        assert_eq!(differ(json!({"x": {"z": [1, 2]}, "w": "same"})), Some(expected));
    }

    #[test]
    fn what_does_not_change_the_weights_does_not_count() {
        let recipe = |view_workers, seed| Recipe {
            encoder: Default::default(),
            loss: Default::default(),
            train: crate::TrainConfig { view_workers, seed, ..Default::default() },
            data: String::new(),
        };
        let of = |recipe: Recipe| identity(&recipe, &ViewShape::Dense(vec![3]), 10).unwrap();
        assert_eq!(of(recipe(1, 7)), of(recipe(5, 7)));
        assert_ne!(of(recipe(1, 7)), of(recipe(1, 8)));
    }
}
