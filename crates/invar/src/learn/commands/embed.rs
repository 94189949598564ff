//! `invar embed`

mod probe;

use std::{collections::BTreeMap, ops::Range, path::Path};

use anyhow::Result;
use invar_cli::{
    cli::{self, Common, Dtype, Embed},
    commands::{
        cluster::groups::GROUP_FIGURES,
        evaluate::{MOVED, SHORTCUTS},
    },
    exit::Usage,
    ui::{DONE_BEFORE, Summary, Ui, Unit, thousands},
};
use invar_dataset::{Moved, RunDir, ViewSource, manifest::Manifest, path, seed::Stream};
use invar_embeddings::{EmbeddingWriter, InputChecksum, Precision, Provenance, Shard};
use invar_nn::Features;
use invar_train::{EmbedConfig, Model};
use serde_json::json;

use super::train;
use crate::{recipe::Recipe, source::Datasets};
use probe::Probe;

/// `invar embed`
pub fn run(args: &Embed, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = Recipe::of_run(&RunDir::new(&args.model))?;
    embed(&recipe, &Datasets::new(&recipe.source, &args.data, ui), args, common, ui)
}

/// Embeds every sample, or continues after the existing parts.
pub fn embed(recipe: &Recipe, data: &Datasets, args: &Embed, common: &Common, ui: &Ui) -> Result<Summary> {
    let file = RunDir::new(&args.model).model();
    if !file.is_file() {
        return Err(Usage(format!("{}: does not exist: the training has not finished", file.display())).into());
    }
    if args.shard.is_some() && args.out.extension().is_some_and(|ending| ending == "parquet") {
        let text = "tasks write parts into a directory, and this is the name of a file";
        return Err(Usage(format!("--shard: {}: {text}", args.out.display())).into());
    }
    let samples = data.samples()?;
    let device = train::device(common, ui)?;
    let mut model = Model::load(&file, device)?;
    if let Some(features) = args.features {
        model = model.with_features(chosen(features));
    }
    let moved = if args.moved { Some(moved(samples.views.as_ref(), recipe.seed)?) } else { None };
    let views: &dyn ViewSource = moved.as_ref().map_or(samples.views.as_ref(), |moved| moved);
    let mut provenance = Provenance {
        recipe: Some(recipe.to_toml()),
        model_sha256: Some(model.sha256().to_owned()),
        seed: Some(recipe.seed),
        inputs: inputs(data.dirs())?,
        extra: BTreeMap::from([
            ("torch_threads".to_owned(), json!(invar_train::EMBED_TORCH_THREADS)),
            ("features".to_owned(), json!(model.features())),
            ("device".to_owned(), json!(format!("{device:?}"))),
            (SHORTCUTS.to_owned(), json!(samples.table.shortcuts())),
            (GROUP_FIGURES.to_owned(), json!(samples.table.group_figures())),
        ]),
        precision: match args.dtype.unwrap_or(recipe.embed.dtype) {
            Dtype::Float32 => Precision::Single,
            Dtype::Float16 => Precision::Half,
        },
        ..Provenance::new(env!("CARGO_PKG_VERSION"), model.dim())
    };
    if args.moved {
        provenance.extra.insert(MOVED.into(), json!(samples.views.symmetries()));
    }
    let config = EmbedConfig { view_workers: rayon::current_num_threads(), ..EmbedConfig::default() };
    let total = samples.views.len();
    let rows = args.shard.map_or(0..total, |shard| share(shard, views, &config));
    let (mut writer, done) = match args.shard {
        Some(shard) => {
            let rows = rows.start as u64..rows.end as u64;
            EmbeddingWriter::resume_shard(&args.out, shard, rows, total as u64, provenance)?
        }
        None if common.force => EmbeddingWriter::replace(&args.out, provenance)?,
        None => EmbeddingWriter::resume(&args.out, provenance)?,
    };
    let of_shard = args.shard.map_or(String::new(), |shard| format!("shard {shard}, "));
    if writer.is_whole() {
        let text = format!("{}: {of_shard}{} embeddings, {DONE_BEFORE}", args.out.display(), thousands(done));
        return Ok(Summary {
            text,
            json: json!({"out": path::text(&args.out), "num_rows": done, "done_before": true}),
        });
    }
    let first = (rows.start + usize::try_from(done)?).min(rows.end);
    // First, so that the pairs' indexes are not in memory while everything is embedded. Once for all shards: by the
    // last one, which stores the figures of the whole.
    let figures = if args.shard.is_none_or(Shard::is_last) {
        let probe = Probe { model: &model, views: samples.views.as_ref(), config: &config, seed: recipe.seed, ui };
        probe.measure(args.probe, data)?
    } else {
        BTreeMap::new()
    };
    data.forget_pairs();
    let started = std::time::Instant::now();
    {
        let bar = ui.bar("embed", Unit::Items);
        let table = samples.table.as_ref();
        if first == rows.end {
            writer.write(&table.columns(0..0)?, &[])?;
        }
        let mut sink = |range: Range<usize>, values: &[f32]| {
            let columns = table.columns(range)?;
            writer.write(&columns, values)?;
            Ok(())
        };
        invar_train::embed(&model, views, first..rows.end, &config, &mut sink, &bar)?;
    }
    let elapsed_s = started.elapsed().as_secs_f64();
    let summary = writer.finish(&figures)?;
    let rate = (rows.end - first) as f64 / elapsed_s.max(1e-9);
    let mut text = format!(
        "{}: {of_shard}{} embeddings of {} dimensions in {} Parquet files ({rate:.0} samples/s)",
        args.out.display(),
        thousands(summary.num_rows),
        model.dim(),
        summary.num_parts
    );
    text += &probe::describe(&figures, total);
    if args.moved {
        text += "\n  every sample was moved by a random symmetry first";
    }
    let json = json!({
        "out": path::text(&args.out), "num_rows": summary.num_rows, "num_parts": summary.num_parts, "size_bytes": summary.size_bytes,
        "moved": args.moved, "shard": args.shard.map(|shard| shard.to_string()),
        "invariance": figures, "timing": {"elapsed_s": elapsed_s, "samples_per_s": rate},
    });
    Ok(Summary { text, json })
}

/// The samples of a shard: whole blocks, none of which is embedded twice.
fn share(shard: Shard, views: &dyn ViewSource, config: &EmbedConfig) -> Range<usize> {
    let block = invar_train::block_samples(views, config);
    let blocks = shard.of(views.len().div_ceil(block));
    (blocks.start * block).min(views.len())..(blocks.end * block).min(views.len())
}

/// Converts the command line's choice.
fn chosen(features: cli::Features) -> Features {
    match features {
        cli::Features::Projected => Features::Projected,
        cli::Features::Pooled => Features::Pooled,
        cli::Features::Both => Features::Both,
    }
}

/// The samples as transformed by `--moved`.
fn moved(views: &dyn ViewSource, seed: u64) -> Result<Moved<'_>> {
    let none = || Usage("--moved: these samples have no symmetry to be moved by".into());
    Ok(Moved::new(views, Stream::Moves.seed(seed)).ok_or_else(none)?)
}

/// The checksums of what the data were made of.
///
/// # Errors
/// If a directory is not a dataset.
pub fn inputs(data: &[std::path::PathBuf]) -> Result<Vec<InputChecksum>> {
    let of_dir = |dir: &Path| -> Result<Vec<InputChecksum>> {
        let inputs = Manifest::read(dir)?.inputs.into_iter();
        Ok(inputs.map(|input| InputChecksum { path: input.path, sha256: input.sha256 }).collect())
    };
    Ok(data.iter().map(|dir| of_dir(dir)).collect::<Result<Vec<_>>>()?.concat())
}
