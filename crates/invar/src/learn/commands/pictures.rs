//! The pictures at the end of a run, which show samples.

use std::path::PathBuf;

use anyhow::Result;
use invar_cli::{
    cli::{Clusters, Common, Gallery, Paint},
    commands::{gallery, paint},
    result_dir::ResultDir,
    ui::Ui,
};

use super::views;
use crate::recipe::Recipe;

/// Draws what the network learned to see as the same, the clusters as a contact sheet, and the clusters over the
/// images, and returns their paths.
///
/// # Errors
/// If the dataset cannot be read or a picture cannot be written.
pub fn draw(recipe: &Recipe, results: &ResultDir, common: &Common, ui: &Ui) -> Result<Vec<(&'static str, PathBuf)>> {
    let common = Common { force: true, ..common.clone() };
    let data = vec![results.data()];
    let of = || Clusters { clusters: results.clusters(), data: data.clone() };
    let (pairs, sheet, painted) = (results.views(), results.gallery(), results.painted());
    views::draw(recipe, &data, &pairs, VIEWS, ui)?;
    let request = Gallery { of: of(), out: sheet.clone(), each: 6, cell: 96 };
    gallery::run(&request, &common, ui)?;
    let request = Paint { of: of(), out: painted.clone(), max_side: 4096 };
    paint::run(&request, &common, ui)?;
    Ok(vec![("pairs", pairs), ("gallery", sheet), ("painted", painted)])
}

/// Number of pairs on the sheet.
const VIEWS: u32 = 24;
