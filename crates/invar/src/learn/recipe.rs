//! Recipes: complete, named training jobs as TOML, checked so that a mistake is reported with its line and the remedy.

use std::fs;

use anyhow::{Context, Result};
use invar_cli::{
    builtin::{BUILTIN, Builtin},
    cli::Dtype,
    exit::Usage,
};
use invar_dataset::RunDir;
use invar_federation::FederationConfig;
use invar_loss::LossTables;
use invar_nn::{EncoderConfig, Features};
use invar_train::TrainConfig;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use toml_edit::{DocumentMut, InlineTable, Item, TableLike};

use crate::source::SourceConfig;

/// Everything that determines a result, except the data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Its name.
    pub name: String,
    /// Its purpose, in a sentence.
    #[serde(default)]
    pub description: String,
    /// Seed of everything random.
    #[serde(default)]
    pub seed: u64,
    /// The domain: how files are read, pairs are drawn and samples are embedded.
    pub source: SourceConfig,
    /// The network.
    pub encoder: EncoderConfig,
    /// The training objective.
    #[serde(default)]
    pub loss: LossTables,
    /// The training loop.
    #[serde(default)]
    pub train: TrainConfig,
    /// Which features of the network to embed with.
    #[serde(default)]
    pub embed: EmbedSettings,
    /// How the embeddings are grouped.
    #[serde(default)]
    pub cluster: invar_cluster::ClusterConfig,
    /// How they are mapped to the plane.
    #[serde(default)]
    pub projection: invar_cluster::ProjectionConfig,
    /// How labels are learned, if `invar finetune` made it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<LabelSettings>,
    /// How sites train together, if there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub federation: Option<FederationConfig>,
    /// The expected results of a run, for people and for the tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
}

/// The `[embed]` table of a recipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EmbedSettings {
    /// Which output of the encoder is the embedding of a view.
    pub features: Features,
    /// Number of bits per stored value.
    pub dtype: Dtype,
}

/// The `[labels]` table of a recipe: how `invar finetune` learns them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelSettings {
    /// Weight of their loss, above 0.
    pub weight: f64,
    /// Factor on the weights of the losses that the model was trained with; 0 leaves them out.
    pub contrastive: f64,
    /// Widths of the layers between the embedding and the classes; empty for a linear classifier, which starts as a
    /// logistic regression on the embeddings of the model as it was.
    pub hidden: Vec<usize>,
    /// Whether all classes weigh the same, however many labels they have.
    pub balance: bool,
    /// The least share of samples with labels in a batch: they are drawn again until they are as many.
    pub share: f64,
    /// The share of the labels, by group, that is held out to measure and calibrate the result; 0 for none.
    pub held_out: f64,
    /// Number of groups with labels that each class must have for any to be held out.
    pub held_out_from: usize,
    /// Predictions less probable than this abstain.
    pub threshold: f64,
}

impl Default for LabelSettings {
    fn default() -> Self {
        Self {
            weight: 1.0,
            contrastive: 0.03,
            hidden: vec![],
            balance: true,
            share: 0.25,
            held_out: 0.2,
            held_out_from: 20,
            threshold: 0.5,
        }
    }
}

impl LabelSettings {
    /// Checks the settings.
    ///
    /// # Errors
    /// Names the first that is out of range.
    pub fn check(&self) -> Result<()> {
        let within = |key: &str, value: f64, low: f64, high: f64, range: &str| match (low..high).contains(&value) {
            true => Ok(()),
            false => Err(Usage(format!("labels.{key} must be {range}, got {value}"))),
        };
        within("weight", self.weight, f64::MIN_POSITIVE, f64::INFINITY, "above 0")?;
        within("contrastive", self.contrastive, 0.0, f64::INFINITY, "at least 0")?;
        within("share", self.share, 0.0, 0.9, "in [0, 0.9)")?;
        within("held_out", self.held_out, 0.0, 0.5, "in [0, 0.5)")?;
        within("threshold", self.threshold, 0.0, 1.0, "in [0, 1)")?;
        Ok(())
    }
}

/// The expected results of a recipe on the data it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expected {
    /// The data: a directory of the project with `reads.fastq.gz` and `truth.tsv`.
    pub data: String,
    /// Minimum adjusted Rand index of k-means with the true number of labels.
    pub min_ari: f64,
    /// Minimum accuracy of the nearest neighbour.
    pub min_nearest_neighbour: f64,
}

impl Recipe {
    /// Reads a recipe file, or a built-in one of that name, and applies `key=value` overrides.
    ///
    /// # Errors
    /// If there is none, it is not TOML, or a key or a value is wrong; the message names the line.
    pub fn load(name_or_path: &str, overrides: &[String], seed: Option<u64>) -> Result<Self> {
        let builtin = BUILTIN.iter().find(|b| b.name == name_or_path);
        let mut recipe = match builtin {
            Some(builtin) => parse(name_or_path, builtin.text, overrides)?,
            None => parse(name_or_path, &read(name_or_path, BUILTIN)?, overrides)?,
        };
        recipe.reseed(seed);
        recipe.source.resolve(&recipe.encoder).map_err(|reason| Usage(format!("{name_or_path}: {reason}")))?;
        Ok(recipe)
    }

    /// Takes another seed, if one is given.
    pub fn reseed(&mut self, seed: Option<u64>) {
        self.seed = seed.unwrap_or(self.seed);
        self.spread_seed();
    }

    /// One seed for everything.
    fn spread_seed(&mut self) {
        self.train.seed = self.seed;
        self.cluster = self.cluster.clone().with_seed(self.seed);
        self.projection = self.projection.clone().with_seed(self.seed);
    }

    /// Reads the resolved recipe of a run directory.
    ///
    /// # Errors
    /// If the directory contains none.
    pub fn of_run(run: &RunDir) -> Result<Self> {
        let path = run.recipe();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("{}: not a run directory, it has no readable recipe", run.path().display()))?;
        parse(&path.display().to_string(), &text, &[])
    }

    /// The recipe with all defaults.
    pub fn to_toml(&self) -> String {
        toml_edit::ser::to_string_pretty(self).expect("a recipe has string keys and plain values")
    }
}

/// The text of a recipe file; `builtin` are the names that would do as well.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &str, builtin: &[Builtin]) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let names: Vec<&str> = builtin.iter().map(|b| b.name).collect();
        Usage(format!("{path}: {error}; built-in recipes are {}", names.join(", "))).into()
    })
}

/// A recipe from its text; `name` is for messages.
///
/// # Errors
/// If it is not TOML, or a key or a value is wrong; the message names the line.
pub fn parse(name: &str, text: &str, overrides: &[String]) -> Result<Recipe> {
    let mut document = document(name, text)?;
    override_keys(&mut document, overrides)?;
    if let Some(encoders) = document.get("encoder").and_then(Item::as_array_of_tables) {
        let line = find_word(text, "encoder", "key").unwrap_or(1);
        let found = encoders.len();
        let why =
            "[[encoder]] names one encoder for each kind of view, but a source of reads or micrographs has one kind";
        return Err(Usage(format!("{name}:{line}: {why}: expected one table [encoder], found {found}")).into());
    }
    let resolved = document.to_string();
    let mut recipe: Recipe =
        toml_edit::de::from_str(&resolved).map_err(|error| Usage(explain(name, &resolved, &error)))?;
    recipe.spread_seed();
    Ok(recipe)
}

/// TOML with the keys of a `T`.
///
/// # Errors
/// As [`parse`].
pub fn checked<T: DeserializeOwned>(name: &str, text: &str) -> Result<DocumentMut> {
    let document = document(name, text)?;
    toml_edit::de::from_str::<T>(text).map_err(|error| Usage(explain(name, text, &error)))?;
    Ok(document)
}

fn document(name: &str, text: &str) -> Result<DocumentMut> {
    let parsed = text.parse();
    Ok(parsed.map_err(|error: toml_edit::TomlError| Usage(format!("{name}: {}", error.to_string().trim_end())))?)
}

/// Applies `key=value` overrides.
///
/// # Errors
/// If one is not of this form, or its key leads through something that is no table.
pub fn override_keys(document: &mut DocumentMut, overrides: &[String]) -> Result<()> {
    overrides.iter().try_for_each(|assignment| apply(document, assignment))
}

fn apply(document: &mut DocumentMut, assignment: &str) -> Result<()> {
    let bad = |why: &str| Usage(format!("--set {assignment:?}: {why}"));
    let (key, value) = assignment.split_once('=').ok_or_else(|| bad("expected KEY=VALUE"))?;
    // A bare word is a string, so that --set encoder.type=conv needs no inner quotes.
    let value: toml_edit::Value = value.parse().unwrap_or_else(|_| value.into());
    let mut path: Vec<&str> = key.trim().split('.').collect();
    let last = path.pop().filter(|k| !k.is_empty()).ok_or_else(|| bad("the key is empty"))?;
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for part in path {
        // Missing tables are written inline, so that they can stand anywhere, even in `{ .. }`.
        let item = table.entry(part).or_insert_with(|| Item::Value(InlineTable::new().into()));
        table = item.as_table_like_mut().ok_or_else(|| bad(&format!("{part:?} is not a table")))?;
    }
    table.insert(last, Item::Value(value));
    Ok(())
}

/// Turns serde's error into file, line, key, and the most similar valid key.
fn explain(name: &str, text: &str, error: &toml_edit::de::Error) -> String {
    let message = error.message();
    let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
    let (Some(unknown), true) = (quoted.first(), message.starts_with("unknown")) else {
        let line = error.span().map_or(String::new(), |span| format!(":{}", line_of(text, span.start)));
        return format!("{name}{line}: {message}");
    };
    let what = if message.starts_with("unknown variant") { "value" } else { "key" };
    let line = find_word(text, unknown, what).map_or(String::new(), |line| format!(":{line}"));
    let valid = &quoted[1..];
    let nearest =
        valid.iter().max_by(|a, b| strsim::jaro_winkler(unknown, a).total_cmp(&strsim::jaro_winkler(unknown, b)));
    let remedy = match nearest {
        Some(nearest) if strsim::jaro_winkler(unknown, nearest) > 0.75 => format!("; did you mean `{nearest}`?"),
        _ => String::new(),
    };
    format!("{name}{line}: unknown {what} `{unknown}`{remedy} (valid here: {})", valid.join(", "))
}

/// The 1-based line on which a key is assigned, a table of that name opens, or a value appears.
fn find_word(text: &str, word: &str, what: &str) -> Option<usize> {
    let is_it = |line: &str| {
        let line = line.split('#').next().unwrap_or("").trim();
        if what == "value" {
            return line.contains(&format!("\"{word}\""));
        }
        let inside_header = line.trim_matches(['[', ']']);
        let assigned = |part: &str| part.split('=').next().is_some_and(|key| key.trim() == word);
        (line.starts_with('[') && inside_header.split('.').any(|part| part.trim() == word))
            || (line.contains('=') && line.split(['{', ',']).any(assigned))
    };
    text.lines().position(is_it).map(|index| index + 1)
}

fn line_of(text: &str, offset: usize) -> usize {
    text[..offset.min(text.len())].matches('\n').count() + 1
}

#[cfg(test)]
mod tests {
    use invar_train::Steps;

    use super::*;

    #[test]
    fn builtin_recipes_load_and_survive_a_round_trip() {
        for builtin in BUILTIN {
            let recipe = Recipe::load(builtin.name, &[], None).unwrap();
            assert!(!recipe.description.is_empty(), "{}", builtin.name);
            let again = parse(builtin.name, &recipe.to_toml(), &[]).unwrap();
            assert_eq!(again, recipe, "{}", builtin.name);
            assert_eq!(again.to_toml(), recipe.to_toml());
        }
    }

    #[test]
    fn an_unknown_key_is_named_with_its_line_and_the_nearest_key() {
        let text = BUILTIN[0].text.replace("[train]", "[train]\nstpes = 3");
        let error = parse("my.toml", &text, &[]).unwrap_err().to_string();
        let line = text.lines().position(|l| l.starts_with("stpes")).unwrap() + 1;
        assert!(error.starts_with(&format!("my.toml:{line}: unknown key `stpes`; did you mean `steps`?")), "{error}");
    }

    #[test]
    fn several_encoders_are_refused_where_there_is_one_kind_of_view() {
        let text = BUILTIN[0].text.replace("[encoder]", "[[encoder]]");
        let error = parse("my.toml", &text, &[]).unwrap_err().to_string();
        assert!(error.ends_with("has one kind: expected one table [encoder], found 1"), "{error}");
    }

    #[test]
    fn several_losses_are_read_and_written_and_a_slip_in_one_is_named() {
        let quickstart = BUILTIN.iter().find(|builtin| builtin.name == "reads/quickstart").unwrap().text;
        let two = "[[loss]]\ntype = \"info-nce\"\n\n[[loss]]\ntype = \"sigmoid\"\nweight = 0.5\n\n[unused]";
        let (before, after) = quickstart.split_once("[loss]").unwrap();
        let rest = &after[after.find("[train]").unwrap()..];
        let text = format!("{before}{}{rest}", two.replace("[unused]", ""));
        let recipe = parse("my.toml", &text, &[]).unwrap();
        assert_eq!(recipe.loss.losses.iter().map(|loss| loss.weight).collect::<Vec<_>>(), [1.0, 0.5]);
        assert_eq!(parse("my.toml", &recipe.to_toml(), &[]).unwrap(), recipe);
        let slip = text.replace("weight = 0.5", "wieght = 0.5");
        let error = parse("my.toml", &slip, &[]).unwrap_err().to_string();
        let line = slip.lines().position(|line| line.starts_with("wieght")).unwrap() + 1;
        assert!(error.starts_with(&format!("my.toml:{line}: unknown key `wieght`")), "{error}");
        let error = parse("my.toml", &text.replace("sigmoid", "sigmoud"), &[]).unwrap_err().to_string();
        assert!(error.contains("unknown value `sigmoud`; did you mean `sigmoid`?"), "{error}");
    }

    #[test]
    fn an_unknown_encoder_is_named() {
        let error = Recipe::load("reads/quickstart", &["encoder.type=kmer-mpl".into()], None).unwrap_err().to_string();
        assert!(error.contains("unknown value `kmer-mpl`; did you mean `kmer-mlp`?"), "{error}");
    }

    #[test]
    fn overrides_set_nested_keys() {
        let overrides = ["train.steps=7".to_owned(), "seed=9".to_owned()];
        let recipe = Recipe::load("reads/quickstart", &overrides, None).unwrap();
        assert_eq!((recipe.train.steps, recipe.seed), (Steps::Fixed(7), 9));
        assert_eq!(Recipe::load("reads/quickstart", &overrides, Some(11)).unwrap().seed, 11);
    }

    #[test]
    fn overrides_reach_into_inline_tables_and_make_missing_ones() {
        let load = |name: &str, set: &str| Recipe::load(name, &[set.to_owned()], None);
        let recipe = load("micrographs/textures", "source.pairs.augment.contrast.probability=0.125").unwrap();
        assert!(recipe.to_toml().contains("probability = 0.125"));
        assert!(!BUILTIN[0].text.contains("[source.ingest]"));
        let recipe = load(BUILTIN[0].name, "source.ingest.min_length_bp=77").unwrap();
        assert!(recipe.to_toml().contains("min_length_bp = 77"));
        let error = load(BUILTIN[0].name, "seed.of.all=1").unwrap_err().to_string();
        assert!(error.contains("\"seed\" is not a table"), "{error}");
    }

    #[test]
    fn embeddings_are_of_single_precision_unless_a_recipe_says_otherwise() {
        let dtype = |set: &[String]| Recipe::load(BUILTIN[0].name, set, None).map(|recipe| recipe.embed.dtype);
        assert_eq!(dtype(&[]).unwrap(), Dtype::Float32);
        assert_eq!(dtype(&["embed.dtype=float16".into()]).unwrap(), Dtype::Float16);
        let error = dtype(&["embed.dtype=flaot16".into()]).unwrap_err().to_string();
        assert!(error.contains("unknown value `flaot16`; did you mean `float16`?"), "{error}");
    }

    #[test]
    fn a_wrong_type_is_told_with_its_line() {
        let text = BUILTIN[0].text.replace("[train]", "[train]\nearly_stop_patience = \"soon\"");
        let error = parse("my.toml", &text, &[]).unwrap_err().to_string();
        assert!(error.starts_with("my.toml:") && error.contains("string"), "{error}");
    }
}
