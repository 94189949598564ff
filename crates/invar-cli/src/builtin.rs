//! The recipes that are built into the program.

use toml_edit::DocumentMut;

/// A recipe of `pipelines/`.
#[derive(Debug)]
pub struct Builtin {
    /// Its name on the command line.
    pub name: &'static str,
    /// The TOML.
    pub text: &'static str,
}

macro_rules! builtin {
    ($($name:literal),+ $(,)?) => {
        &[$(Builtin { name: $name, text: include_str!(concat!("../../../pipelines/", $name, ".toml")) }),+]
    };
}

/// Those of `invar run`, `invar train` and `invar views`.
pub const BUILTIN: &[Builtin] = builtin![
    "reads/quickstart",
    "reads/long-reads",
    "reads/short-read-pairs",
    "reads/mapped-bam",
    "reads/federated",
    "micrographs/quickstart",
    "micrographs/grains",
    "micrographs/particles",
    "micrographs/textures",
    "micrographs/federated",
    "contigs/quickstart",
    "contigs/graph",
    "contigs/multi-sample",
    "micrographs/neighbourhoods",
    "graphs/nodes",
];

/// Those of `invar finetune`.
pub const FINETUNE: &[Builtin] = builtin!["finetune/full", "finetune/head", "finetune/probe"];

/// The list of built-in recipes and examples, for `invar run --help`.
pub fn help() -> String {
    let mut help = String::from("Built-in recipes:\n");
    for builtin in BUILTIN {
        help += &format!("  {:<24} {}\n", builtin.name, builtin.description());
    }
    help + "
Examples:
  invar run reads/quickstart --input sample.fastq.gz --out result
  invar run reads/short-read-pairs --input R1.fastq.gz R2.fastq.gz --out result
  invar run contigs/quickstart --input contigs.fa S1.bam S2.bam assembly_graph.gfa --out result
  invar run reads/quickstart --input sample.fastq.gz --out result --set train.steps=2000 --set source.ingest.min_length_bp=2000

To write a recipe of your own, start from `recipe.toml` of a finished run: it holds every key."
}

impl Builtin {
    /// Its purpose, in a sentence; empty if it has none.
    pub fn description(&self) -> String {
        let document = self.text.parse::<DocumentMut>().ok();
        let sentence = document.as_ref().and_then(|d| d.get("description")).and_then(|item| item.as_str());
        sentence.unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_says_what_each_recipe_is_for() {
        for builtin in BUILTIN {
            assert!(!builtin.description().is_empty(), "{}", builtin.name);
            assert!(help().contains(&builtin.description()), "{}", builtin.name);
        }
    }
}
