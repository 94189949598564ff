use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the Parquet schema and of the directory layout. A reader rejects a file of another version.
pub const SCHEMA_VERSION: u32 = 1;

/// Who made a file, from what, and how. Stored as Parquet key-values `invar.<field>` and in the end marker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: u32,
    /// Version of the program.
    pub tool_version: String,
    /// The resolved recipe, TOML.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// SHA-256 of the model's weights, hexadecimal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_sha256: Option<String>,
    /// The seed of the run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The instrument files that the samples came from, in order.
    #[serde(default)]
    pub inputs: Vec<InputChecksum>,
    /// Dimension of the embedding.
    pub dim: usize,
    /// Precision of its values.
    #[serde(default)]
    pub precision: Precision,
    /// How invariant the embedding is to the symmetries of the instrument, by figure ("strand_gap_max"). Only known at
    /// the end of a run.
    #[serde(default)]
    pub invariance: BTreeMap<String, f64>,
    /// Whatever else belongs to the run.
    #[serde(default)]
    pub extra: BTreeMap<String, Value>,
}

/// Number of bits per stored value of an embedding.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Precision {
    /// 32, `f32`.
    #[default]
    Single,
    /// 16, `f16` (IEEE 754): half the space, three digits.
    Half,
}

/// An instrument file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputChecksum {
    /// As given by the user.
    pub path: String,
    /// SHA-256 of the stored bytes, hexadecimal.
    pub sha256: String,
}

const PREFIX: &str = "invar.";
/// Fields that are stored as plain text; all others are JSON.
const PLAIN: [&str; 3] = ["tool_version", "recipe", "model_sha256"];

impl Provenance {
    /// A provenance with the minimum of information.
    pub fn new(tool_version: impl Into<String>, dim: usize) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            tool_version: tool_version.into(),
            recipe: None,
            model_sha256: None,
            seed: None,
            inputs: vec![],
            dim,
            precision: Precision::Single,
            invariance: BTreeMap::new(),
            extra: BTreeMap::new(),
        }
    }

    /// As Parquet key-values.
    pub(crate) fn to_key_values(&self) -> Vec<(String, String)> {
        let text = |(field, value): (String, Value)| match value {
            Value::String(text) if PLAIN.contains(&field.as_str()) => (format!("{PREFIX}{field}"), text),
            value => (format!("{PREFIX}{field}"), value.to_string()),
        };
        self.fields().into_iter().map(text).collect()
    }

    /// From Parquet key-values. `Ok(None)` if there are none of ours.
    ///
    /// # Errors
    /// What is wrong with them: `(field, expected, found)`.
    pub(crate) fn from_key_values<'a>(
        key_values: impl Iterator<Item = (&'a str, &'a str)>,
    ) -> Result<Option<Self>, (String, String, String)> {
        let mut fields = serde_json::Map::new();
        for (key, text) in key_values {
            let Some(field) = key.strip_prefix(PREFIX) else { continue };
            let value = if PLAIN.contains(&field) {
                Value::from(text)
            } else {
                serde_json::from_str(text).map_err(|_| (key.into(), "JSON".into(), format!("{text:?}")))?
            };
            fields.insert(field.into(), value);
        }
        let Some(version) = fields.get("schema_version") else { return Ok(None) };
        if version.as_u64() != Some(u64::from(SCHEMA_VERSION)) {
            return Err(("schema version".into(), SCHEMA_VERSION.to_string(), version.to_string()));
        }
        serde_json::from_value(Value::Object(fields))
            .map(Some)
            .map_err(|error| ("provenance".into(), "the fields of schema version 1".into(), error.to_string()))
    }

    /// The first field in which a run that began with `self` differs from `other`: `(field, self's, other's)`. Fields
    /// only known at the end do not count.
    pub(crate) fn difference(&self, other: &Self) -> Option<(String, String, String)> {
        let (ours, theirs) = (self.fields(), other.fields());
        if let (Some(ours), Some(theirs)) = (&self.recipe, &other.recipe)
            && let Some((line, ours, theirs)) = first_other_line(ours, theirs)
        {
            return Some((format!("line {line} of the recipe"), ours, theirs));
        }
        let text = |value: Option<&Value>| value.map_or("none".into(), |value| shortened(value.to_string()));
        let names = ours.keys().chain(theirs.keys().filter(|name| !ours.contains_key(*name)));
        names
            .filter(|name| *name != "invariance" && ours.get(*name) != theirs.get(*name))
            .map(|name| (name.clone(), text(ours.get(name)), text(theirs.get(name))))
            .next()
    }

    fn fields(&self) -> serde_json::Map<String, Value> {
        match serde_json::to_value(self).expect("provenance has string keys only") {
            Value::Object(fields) => fields,
            _ => unreachable!("a struct is an object"),
        }
    }
}

/// The first line in which two texts differ: its number, 1-based, and both lines.
fn first_other_line(a: &str, b: &str) -> Option<(usize, String, String)> {
    let line = |text: &str, index: usize| text.lines().nth(index).map_or("none".into(), |line| format!("`{line}`"));
    let same = a.lines().zip(b.lines()).take_while(|(a, b)| a == b).count();
    (a != b).then(|| (same + 1, line(a, same), line(b, same)))
}

/// A value shortened to fit on a line.
fn shortened(value: String) -> String {
    const MOST: usize = 120;
    if value.chars().count() <= MOST { value } else { value.chars().take(MOST).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Provenance {
        Provenance {
            recipe: Some("[train]\nseed = 7 # \"x\"\n".into()),
            model_sha256: Some("12".into()),
            // Above 2^53: a float would lose it.
            seed: Some(u64::MAX - 1),
            inputs: vec![InputChecksum { path: "a.fastq".into(), sha256: "ab".into() }],
            invariance: BTreeMap::from([("strand_gap_max".into(), 1.25e-7)]),
            extra: BTreeMap::from([("note".into(), Value::from("12")), ("k".into(), Value::from(6))]),
            ..Provenance::new("0.1.0", 128)
        }
    }

    fn back(key_values: &[(String, String)]) -> Result<Option<Provenance>, (String, String, String)> {
        Provenance::from_key_values(key_values.iter().map(|(k, v)| (k.as_str(), v.as_str())))
    }

    #[test]
    fn key_values_round_trip() {
        for provenance in [full(), Provenance::new("0.1.0", 3)] {
            assert_eq!(back(&provenance.to_key_values()).unwrap(), Some(provenance));
        }
    }

    #[test]
    fn text_stays_readable_and_foreign_keys_are_ignored() {
        let mut key_values = full().to_key_values();
        assert!(key_values.contains(&("invar.recipe".into(), "[train]\nseed = 7 # \"x\"\n".into())));
        key_values.push(("ARROW:schema".into(), "not JSON".into()));
        assert_eq!(back(&key_values).unwrap(), Some(full()));
        assert_eq!(back(&[("pandas".into(), "{}".into())]), Ok(None));
    }

    #[test]
    fn another_schema_version_is_refused() {
        let key_values = Provenance { schema_version: 9, ..full() }.to_key_values();
        assert_eq!(back(&key_values), Err(("schema version".into(), "1".into(), "9".into())));
    }

    #[test]
    fn the_first_difference_is_named() {
        let begun = Provenance { invariance: BTreeMap::new(), ..full() };
        assert_eq!(begun.difference(&full()), None);
        let other = Provenance { seed: Some(3), ..full() };
        let expected = ("seed".to_string(), (u64::MAX - 1).to_string(), "3".to_string());
        assert_eq!(full().difference(&other), Some(expected));
        let recipe = |steps| Some(format!("[train]\nsteps = {steps}\n"));
        let other = Provenance { recipe: recipe(4), ..full() };
        let expected = ("line 2 of the recipe".to_owned(), "`steps = 4`".to_owned(), "`steps = 6`".to_owned());
        assert_eq!(other.difference(&Provenance { recipe: recipe(6), ..full() }), Some(expected));
        let many = vec![InputChecksum { path: "a.fastq".into(), sha256: "ab".into() }; 100];
        assert!(full().difference(&Provenance { inputs: many, ..full() }).unwrap().2.len() < 130);
        let without = Provenance { recipe: None, ..full() };
        assert_eq!(without.difference(&full()).unwrap().0, "recipe");
    }
}
