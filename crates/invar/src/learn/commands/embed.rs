//! `invar embed`

use std::{collections::BTreeMap, path::Path};

use anyhow::Result;
use invar_cli::{
    cli::{Common, Embed},
    commands::evaluate::MOVED,
    exit::Usage,
    ui::{Significant, Summary, Ui, Unit, thousands},
};
use invar_cluster::{Rows, neighbors};
use invar_dataset::{Moved, ViewSource, manifest::Manifest, order::Permutation, seed};
use invar_embeddings::{EmbeddingWriter, InputChecksum, Provenance};
use invar_train::{EmbedConfig, Model, Orbits, orbits, pair_quality};
use serde_json::json;

use super::train;
use crate::recipe::Recipe;

/// The part of the seed that draws symmetries.
const MOVES: u64 = 0x6d6f_7665;

/// `invar embed`
pub fn run(args: &Embed, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = Recipe::of_run(&args.model)?;
    embed(&recipe, args, common, ui)
}

/// Embeds every sample, or goes on after the parts that are there.
pub fn embed(recipe: &Recipe, args: &Embed, common: &Common, ui: &Ui) -> Result<Summary> {
    let path = args.model.join("model.safetensors");
    if !path.is_file() {
        return Err(
            Usage(format!("{}: not trained to the end, it has no model.safetensors", args.model.display())).into()
        );
    }
    let samples = recipe.source.samples(&args.data)?;
    let device = train::device(common, ui)?;
    let model = Model::load(&path, device)?;
    let moved = if args.moved { Some(moved(samples.views.as_ref(), recipe.seed)?) } else { None };
    let views: &dyn ViewSource = moved.as_ref().map_or(samples.views.as_ref(), |moved| moved);
    if common.force {
        invar_embeddings::remove(&args.out)?;
    }
    let mut provenance = Provenance {
        recipe: Some(recipe.to_toml()),
        model_sha256: Some(model.sha256().to_owned()),
        seed: Some(recipe.seed),
        inputs: inputs(&args.data)?,
        extra: BTreeMap::from([
            ("torch_threads".to_owned(), json!(invar_train::EMBED_TORCH_THREADS)),
            ("device".to_owned(), json!(format!("{device:?}"))),
        ]),
        ..Provenance::new(env!("CARGO_PKG_VERSION"), model.dim())
    };
    if args.moved {
        provenance.extra.insert(MOVED.into(), json!(samples.views.symmetries()));
    }
    let (mut writer, done) = EmbeddingWriter::resume(&args.out, provenance)?;
    let total = samples.views.len();
    if writer.is_whole() {
        let text = format!("{}: {} embeddings, done before", args.out.display(), thousands(done));
        return Ok(Summary { text, json: json!({"out": args.out, "num_rows": done, "done_before": true}) });
    }
    let first = usize::try_from(done)?.min(total);
    let config = EmbedConfig { view_workers: rayon::current_num_threads(), ..EmbedConfig::default() };
    let started = std::time::Instant::now();
    {
        let bar = ui.bar("embed", Unit::Items);
        let table = samples.table.as_ref();
        if first == total {
            writer.write(&table.columns(0..0)?, &[])?;
        }
        let mut sink = |range: std::ops::Range<usize>, values: &[f32]| {
            let columns = table.columns(range)?;
            writer.write(&columns, values)?;
            Ok(())
        };
        invar_train::embed(&model, views, first..total, &config, &mut sink, &bar)?;
    }
    let elapsed_s = started.elapsed().as_secs_f64();
    let figures = probe(recipe, args, &model, &samples, &config, ui)?;
    let summary = writer.finish(&figures)?;
    let rate = (total - first) as f64 / elapsed_s.max(1e-9);
    let mut text = format!(
        "{}: {} embeddings of {} dimensions in {} Parquet files ({rate:.0} samples/s)",
        args.out.display(),
        thousands(summary.num_rows),
        model.dim(),
        summary.num_parts
    );
    for (name, value) in &figures {
        text += &format!("\n  {:<24} {:>12}", name.replace('_', " "), Significant(*value).to_string());
    }
    if args.moved {
        text += "\n  every sample was moved by a random symmetry first";
    }
    let json = json!({
        "out": args.out, "num_rows": summary.num_rows, "num_parts": summary.num_parts, "size_bytes": summary.size_bytes,
        "moved": args.moved,
        "invariance": figures, "timing": {"elapsed_s": elapsed_s, "samples_per_s": rate},
    });
    Ok(Summary { text, json })
}

/// Measures on some samples, as they lie, how far the symmetries of the instrument move the embedding, and how near the
/// two views of a pair are.
fn probe(
    recipe: &Recipe,
    args: &Embed,
    model: &Model,
    samples: &crate::source::Samples,
    config: &EmbedConfig,
    ui: &Ui,
) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    let total = samples.views.len();
    if args.probe == 0 || total == 0 {
        return Ok(figures);
    }
    let chosen = some(total, args.probe, recipe.seed);
    let bar = ui.bar("probe", Unit::Items);
    figures.extend(of_orbits(&orbits(model, samples.views.as_ref(), &chosen, config, &bar)?, recipe.seed)?);
    // Data without the pairs of the recipe (reads without mates, say) can be embedded, but have no alignment.
    match recipe.source.pairs(&args.data) {
        Ok(pairs) => {
            let chosen = some(pairs.len(), args.probe, recipe.seed);
            let quality = pair_quality(model, pairs.as_ref(), &chosen, recipe.seed)?;
            figures.insert("alignment".into(), quality.alignment);
        }
        Err(error) => ui.detail(&format!("no alignment: {error}")),
    }
    Ok(figures)
}

/// How far the symmetries move the embeddings, and whether a moved sample is still found among the others.
fn of_orbits(orbits: &Orbits, seed: u64) -> Result<BTreeMap<String, f64>> {
    let mut figures = BTreeMap::new();
    let Some(moved) = orbits.one_at_random(seed::mix(seed, MOVES)) else { return Ok(figures) };
    let report = orbits.invariance();
    let gaps = &report.symmetries;
    let mean = gaps.iter().map(|gap| gap.mean).sum::<f64>() / gaps.len() as f64;
    figures.insert("symmetry_gap_mean".into(), mean);
    figures.insert("symmetry_gap_max".into(), gaps.iter().map(|gap| gap.max).fold(0.0, f64::max));
    figures.insert("symmetry_cosine_mean".into(), report.cosine_mean);
    figures.insert("symmetry_cosine_p1".into(), report.cosine_p1);
    let own: Vec<usize> = (0..report.num_samples).collect();
    let found = |gallery: &[f32], queries: &[f32]| {
        neighbors::self_retrieval(Rows::new(gallery, orbits.dim)?, Rows::new(queries, orbits.dim)?, &own)
    };
    figures.insert("retrieval_upright_moved".into(), found(&orbits.upright, &moved)?);
    if let Some((first, second)) = orbits.two_at_random(seed::mix(seed, MOVES)) {
        figures.insert("retrieval_moved_moved".into(), found(&first, &second)?);
    }
    Ok(figures)
}

/// The samples as `--moved` embeds them.
fn moved(views: &dyn ViewSource, seed: u64) -> Result<Moved<'_>> {
    let none = || Usage("--moved: these samples have no symmetry to be moved by".into());
    Ok(Moved::new(views, seed::mix(seed, MOVES)).ok_or_else(none)?)
}

/// At most `count` of `0..total`, drawn at random, in order.
fn some(total: usize, count: usize, seed: u64) -> Vec<usize> {
    let order = Permutation::new(total as u64, seed);
    let mut chosen: Vec<usize> = (0..count.min(total) as u64).map(|position| order.get(position) as usize).collect();
    chosen.sort_unstable();
    chosen
}

fn inputs(data: &[std::path::PathBuf]) -> Result<Vec<InputChecksum>> {
    let of_dir = |dir: &Path| -> Result<Vec<InputChecksum>> {
        let inputs = Manifest::read(dir)?.inputs.into_iter();
        Ok(inputs.map(|input| InputChecksum { path: input.path, sha256: input.sha256 }).collect())
    };
    Ok(data.iter().map(|dir| of_dir(dir)).collect::<Result<Vec<_>>>()?.concat())
}
