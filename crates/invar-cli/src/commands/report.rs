//! `invar report`: a result as one page.

mod facts;
mod history;
mod sections;
mod thumbnails;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use invar_cluster::groups::DOUBTFUL;
use invar_dataset::{GroupFigures, atomic::AtomicFile, check_memory, order::Permutation, path};
use invar_embeddings::{ClusterTable, Provenance};
use invar_report::{Contents, MAX_POINTS, ReportWriter, Table};
use serde_json::json;

pub use self::sections::telling as telling_shortcuts;
use super::cluster::groups;
use crate::{
    cli::{Common, Report},
    exit::Usage,
    output, palette,
    result_dir::ResultDir,
    ui::{Summary, Ui, counted, thousands},
};

/// Maximum memory per sample, measured: the table of clusters, a column, and both while they are read.
const BYTES_A_ROW: usize = 400;

/// Number of colours before they repeat; see [`palette::colour`].
const NUM_COLOURS: i32 = 21;

/// `invar report`
pub fn run(args: &Report, common: &Common, ui: &Ui) -> Result<Summary> {
    let results = ResultDir::new(&args.result);
    let clusters = results.clusters();
    if !clusters.is_file() {
        let reason =
            format!("{}: holds no {}: it is not a result of `invar run`", args.result.display(), name_of(&clusters));
        return Err(Usage(reason).into());
    }
    output::check_file(&args.out, common, &[&clusters, &results.groups(), &results.evaluation()])?;
    write(&results, &args.out, args.title.as_deref(), ui)
}

/// Writes the report of `results` to `out`, replacing any file. What is missing in the results is left out, and noted
/// in its place.
///
/// # Errors
/// If a file of the results is damaged, or of other results, or the page cannot be written.
pub fn write(results: &ResultDir, out: &Path, title: Option<&str>, ui: &Ui) -> Result<Summary> {
    // From here on nobody else can write it.
    let file = AtomicFile::create(out).with_context(|| out.display().to_string())?;
    let num_rows = invar_embeddings::info(&results.clusters())?.num_rows;
    check_memory(
        num_rows * BYTES_A_ROW,
        || format!("a report of {} samples", thousands(num_rows as u64)),
        || "report on a part of them".into(),
    )?;
    let table = ClusterTable::read(&results.clusters())?;
    let rows = chosen(table.ids.len());
    let title = title.map_or_else(|| title_of(results.path()), str::to_owned);
    let failed = || out.display().to_string();
    let mut writer = ReportWriter::begin(file, &title, rows.len()).with_context(failed)?;
    let of_rows = |values: &[f32]| rows.iter().map(|&row| values[row]).collect::<Vec<f32>>();
    writer.points(&of_rows(&table.x), &of_rows(&table.y)).with_context(|| results.clusters().display().to_string())?;
    let mut notes = vec![];
    if rows.len() < table.ids.len() {
        notes.push(format!(
            "These are {} of {} samples, drawn at random.",
            thousands(rows.len() as u64),
            thousands(table.ids.len() as u64)
        ));
    }
    notes.extend(facts::write(&mut writer, results, &table, &rows).with_context(failed)?);
    let num_thumbnails = thumbnails::write(&mut writer, results, &table, &rows, &mut notes, ui)?;
    let contents = contents(results, &table, notes)?;
    let file = writer.finish(&contents).with_context(failed)?;
    file.commit().with_context(failed)?;
    let size = fs::metadata(out).with_context(failed)?.len();
    let num_clusters = num_clusters(&table);
    let text = format!(
        "{}: {} in {}, {:.1} MB, opens in a browser",
        out.display(),
        thousands(rows.len() as u64) + " " + &contents.noun,
        counted(num_clusters as u64, "cluster"),
        size as f64 / 1e6
    );
    let json = json!({
        "out": path::text(out), "num_rows": rows.len(), "num_rows_of": table.ids.len(), "num_clusters": num_clusters,
        "num_thumbnails": num_thumbnails, "size_bytes": size,
    });
    Ok(Summary { text, json })
}

/// The rows that are shown: all, or as many as allowed, drawn at random, in order.
fn chosen(num_rows: usize) -> Vec<usize> {
    if num_rows <= MAX_POINTS {
        return (0..num_rows).collect();
    }
    let order = Permutation::new(num_rows as u64, 0);
    let mut rows: Vec<usize> = (0..MAX_POINTS as u64).map(|at| order.get(at) as usize).collect();
    rows.sort_unstable();
    rows
}

/// The directory's name; for `.`, that of the actual directory.
fn title_of(directory: &Path) -> String {
    let resolved = fs::canonicalize(directory).unwrap_or_else(|_| directory.to_path_buf());
    resolved.file_name().map_or_else(|| "Report".into(), |name| path::text(Path::new(name)))
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn num_clusters(table: &ClusterTable) -> usize {
    table.clusters.iter().max().map_or(0, |&most| (most + 1).max(0) as usize)
}

/// What samples of these embeddings are called.
pub(super) fn noun(provenance: &Provenance) -> String {
    let noun = provenance.extra.get(groups::GROUP_FIGURES).and_then(|figures| figures["noun"].as_str());
    noun.unwrap_or("samples").to_owned()
}

/// The columns from which the domain computes figures of groups.
fn telling(provenance: &Provenance) -> Vec<String> {
    let said = provenance.extra.get(groups::GROUP_FIGURES);
    let asked: GroupFigures = said.and_then(|said| serde_json::from_value(said.clone()).ok()).unwrap_or_default();
    let mut names: Vec<String> = vec![];
    for name in asked.figures.iter().flat_map(|figure| figure.columns()) {
        if !names.iter().any(|named| named == name) {
            names.push(name.to_owned());
        }
    }
    names
}

fn contents(results: &ResultDir, table: &ClusterTable, notes: Vec<String>) -> Result<Contents> {
    let noun = noun(&table.provenance);
    let clusters = cluster_rows(&results.groups())?;
    let mut summary = vec![headline(table, &noun)];
    if let Some(clusters) = &clusters {
        summary.extend(doubts(clusters, table, &noun));
    }
    let evaluation = history::evaluation(&results.evaluation())?;
    summary.extend(evaluation.as_ref().and_then(sections::agreement));
    let mut sections = vec![sections::how_many(&table.found)];
    sections.push(sections::training(history::training(&results.run())?));
    sections.push(sections::invariance(&table.provenance, &noun));
    sections.push(sections::shortcuts(evaluation.as_ref()));
    sections.extend(evaluation.as_ref().and_then(sections::labels));
    sections.push(sections::provenance(results, table)?);
    let telling = telling(&table.provenance);
    let palette = (0..NUM_COLOURS).map(palette::colour).collect();
    Ok(Contents { summary, noun, telling, clusters, palette, notes, sections })
}

fn headline(table: &ClusterTable, noun: &str) -> String {
    let num_noise = table.clusters.iter().filter(|&&cluster| cluster < 0).count();
    let noise = match num_noise {
        0 => String::new(),
        number => format!("; {} are in none", thousands(number as u64)),
    };
    format!(
        "{} {noun} in {}, found by {}{noise}.",
        thousands(table.ids.len() as u64),
        counted(num_clusters(table) as u64, "cluster"),
        table.found["method"].as_str().unwrap_or(&table.method)
    )
}

/// How reliable the clusters are, in words.
fn doubts(clusters: &Table, table: &ClusterTable, noun: &str) -> Vec<String> {
    let column = |name: &str| clusters.columns.iter().position(|column| column == name);
    let mut sentences = vec![];
    if let Some(at) = column("confidence") {
        let known: Vec<(i32, f32)> =
            clusters.rows.iter().filter_map(|row| Some((row[0].parse().ok()?, row[at].parse().ok()?))).collect();
        let bands = groups::bands(&known);
        if !bands.is_empty() {
            sentences.push(format!("Of the clusters, {}.", bands.join("; ")));
        }
        let doubtful = table.probability.iter().zip(&table.clusters);
        let doubtful = doubtful.filter(|&(&probability, &cluster)| cluster >= 0 && probability < DOUBTFUL).count();
        let are_shares = table.found["method"] == "leiden";
        if doubtful > 0 && are_shares {
            sentences.push(format!(
                "{} {noun} are doubtful: most of what is near them is in other clusters. To see them: probability < 0.5.",
                thousands(doubtful as u64)
            ));
        }
    }
    sentences
}

/// The table of the clusters as written, if it exists.
fn cluster_rows(path: &PathBuf) -> Result<Option<Table>> {
    if !path.is_file() {
        return Ok(None);
    }
    let bad = |reason: String| crate::exit::BadInput(format!("{}: {reason}", path.display()));
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    let text = String::from_utf8(bytes).map_err(|_| bad("is no UTF-8: it is no table of clusters".into()))?;
    let cells = |line: &str| line.split('\t').map(str::to_owned).collect::<Vec<String>>();
    let mut lines = text.lines();
    let columns = cells(lines.next().unwrap_or_default());
    // Those are for programs; a person picks them on the map.
    let is_shown = |column: &String| column != "medoid" && !column.starts_with("exemplar");
    if columns[0] != "cluster" {
        return Err(bad(format!("expected a table that begins with \"cluster\", found {:?}", columns[0])).into());
    }
    let mut rows = vec![];
    for (number, line) in lines.enumerate() {
        let row = cells(line);
        if row.len() != columns.len() || row[0].parse::<i32>().is_err() {
            let (expected, found) = (columns.len(), row.len());
            let reason =
                format!("line {}: expected a cluster and {expected} cells, found {:?}, {found}", number + 2, row[0]);
            return Err(bad(reason).into());
        }
        rows.push(row);
    }
    let kept = |cells: &[String]| -> Vec<String> {
        let kept = cells.iter().zip(&columns).filter(|(_, column)| is_shown(column));
        kept.map(|(cell, _)| cell.clone()).collect()
    };
    let rows = rows.iter().map(|row| kept(row)).collect();
    Ok(Some(Table { caption: String::new(), columns: kept(&columns), rows }))
}

/// The words of a column name or key.
pub(super) fn words(name: &str) -> String {
    name.replace('_', " ")
}

/// Pairs of a name and a value as a table.
pub(super) fn pairs(caption: &str, pairs: impl IntoIterator<Item = (String, String)>) -> Table {
    let rows = pairs.into_iter().map(|(name, value)| vec![name, value]).collect();
    Table { caption: caption.into(), columns: vec![String::new(), String::new()], rows }
}

/// Figures by name.
pub(super) type Figures = BTreeMap<String, f64>;
