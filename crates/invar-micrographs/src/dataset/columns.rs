//! The grain table.

use std::ops::Range;

use invar_dataset::{Column, ColumnData, DatasetError, FigureRule, GroupFigure, GroupFigures, SampleTable, Shortcuts};
use rayon::prelude::*;

use super::{Grain, GrainDataset};
use crate::{PhysicalMeasures, Region};

impl SampleTable for GrainDataset {
    /// `id` (`image#label`), `source`, `key`, `image`, `page`, `label`; the box `bbox_top_px`, `bbox_left_px`,
    /// `bbox_bottom_px`, `bbox_right_px` (the last two one past the end); `centroid_x_px`, `centroid_y_px` and in
    /// physical units `centroid_x_um`, `centroid_y_um` (from the centre of the upper left pixel, y downwards); area,
    /// diameter of the circle of equal area, perimeter and axes in pixels and micrometres; `aspect_ratio` (major over
    /// minor axis; null for a line), `orientation_deg` (major axis to the horizontal, counter-clockwise, in (-90, 90]),
    /// `eccentricity`, `solidity`, `mean_intensity`, `min_intensity`, `max_intensity` (raw), `touches_border`,
    /// `num_neighbors`, `pixel_size_nm` (for non-square pixels, the side of a square of equal area),
    /// `pixel_size_source`, `class` (null without a class map); then the columns of the sample sheet. Without a pixel
    /// size, everything in micrometres is null. If it is known, `aspect_ratio`, `orientation_deg` and `eccentricity`
    /// are those of the specimen, which for non-square pixels differ from those of the grid; see
    /// [`crate::Region::in_um`].
    fn columns(&self, range: Range<usize>) -> Result<Vec<Column>, DatasetError> {
        let grains: Vec<Grain> = range.clone().map(|index| self.grain(index)).collect();
        let keys = range.map(|index| i64::try_from(self.key(index)).ok()).collect();
        let mut columns = named_columns(&grains, keys);
        self.sheet.add_to(&mut columns, grains.iter().map(|grain| Some(&grain.image.columns)));
        Ok(columns)
    }

    fn shortcuts(&self) -> Shortcuts {
        let ours = named_columns(&[], vec![]);
        let suspects = ["source", "image", "pixel_size_nm", "mean_intensity"].map(str::to_owned).into_iter();
        let suspects = suspects.chain(self.sheet.names(&ours)).collect();
        Shortcuts { suspects, group: "image".into() }
    }

    /// Mean size and shape of the grains; in pixels only if the pixel size is unknown.
    fn group_figures(&self) -> GroupFigures {
        let mean =
            |name: &str, column: &str| GroupFigure::new(name, FigureRule::Mean { column: column.into(), weight: None });
        let figures = vec![
            mean("mean_area_px", "area_px"),
            mean("mean_area_um2", "area_um2"),
            mean("mean_equivalent_diameter_um", "equivalent_diameter_um"),
            mean("mean_aspect_ratio", "aspect_ratio"),
        ];
        GroupFigures { noun: "grains".into(), figures }
    }
}

fn named_columns(grains: &[Grain], keys: Vec<Option<i64>>) -> Vec<Column> {
    let mut columns = Vec::new();
    let mut add = |name: &str, data: ColumnData| columns.push(Column { name: name.into(), data });
    let texts = |value: &dyn Fn(&Grain) -> Option<String>| ColumnData::Str(grains.iter().map(value).collect());
    let whole = |value: &dyn Fn(&Grain) -> u32| ColumnData::U32(grains.iter().map(|g| Some(value(g))).collect());
    let real = |value: &dyn Fn(&Grain) -> Option<f64>| ColumnData::F64(grains.iter().map(value).collect());
    let physical: Vec<Option<PhysicalMeasures>> = grains.par_iter().map(Grain::in_um).collect();
    let um = |value: &dyn Fn(&PhysicalMeasures) -> f64| {
        ColumnData::F64(physical.iter().map(|p| p.as_ref().map(value)).collect())
    };

    add("id", texts(&|g| Some(g.id())));
    add("source", texts(&|g| Some(g.image.source.clone())));
    add("key", ColumnData::I64(keys));
    add("image", texts(&|g| Some(g.image.name.clone())));
    add("page", whole(&|g| g.image.page));
    add("label", whole(&|g| g.region().label));
    for (edge, name) in ["bbox_top_px", "bbox_left_px", "bbox_bottom_px", "bbox_right_px"].into_iter().enumerate() {
        add(name, whole(&|g| g.region().bbox_px[edge]));
    }
    add("centroid_x_px", real(&|g| Some(g.region().centroid_px[1])));
    add("centroid_y_px", real(&|g| Some(g.region().centroid_px[0])));
    add("centroid_x_um", real(&|g| Some(g.region().centroid_px[1] * g.image.pixel_size?.x_nm * 1e-3)));
    add("centroid_y_um", real(&|g| Some(g.region().centroid_px[0] * g.image.pixel_size?.y_nm * 1e-3)));
    add("area_px", ColumnData::I64(grains.iter().map(|g| i64::try_from(g.region().area_px).ok()).collect()));
    add("area_um2", um(&|p| p.area_um2));
    add("equivalent_diameter_px", real(&|g| Some(g.region().equivalent_diameter_px)));
    add("equivalent_diameter_um", um(&|p| p.equivalent_diameter_um));
    add("perimeter_px", real(&|g| Some(g.region().perimeter_px)));
    add("perimeter_um", um(&|p| p.perimeter_um));
    add("major_axis_px", real(&|g| Some(g.region().major_axis_px)));
    add("minor_axis_px", real(&|g| Some(g.region().minor_axis_px)));
    add("major_axis_um", um(&|p| p.major_axis_um));
    add("minor_axis_um", um(&|p| p.minor_axis_um));
    // Of the specimen if its scale is known, else of the grid.
    let ellipse = |of_grid: &dyn Fn(&Region) -> f64, of_specimen: &dyn Fn(&PhysicalMeasures) -> f64| -> Vec<f64> {
        let value = |(grain, physical): (&Grain, &Option<PhysicalMeasures>)| {
            physical.as_ref().map_or_else(|| of_grid(grain.region()), of_specimen)
        };
        grains.iter().zip(&physical).map(value).collect()
    };
    let major = ellipse(&|r| r.major_axis_px, &|p| p.major_axis_um);
    let minor = ellipse(&|r| r.minor_axis_px, &|p| p.minor_axis_um);
    let aspect_ratio = major.into_iter().zip(minor).map(|(major, minor)| (minor > 0.0).then(|| major / minor));
    let orientation_rad = ellipse(&|r| r.orientation_rad, &|p| p.orientation_rad);
    let eccentricity = ellipse(&|r| r.eccentricity, &|p| p.eccentricity);
    add("aspect_ratio", ColumnData::F64(aspect_ratio.collect()));
    add("orientation_deg", ColumnData::F64(orientation_rad.into_iter().map(|o| Some(to_horizontal_deg(o))).collect()));
    add("eccentricity", ColumnData::F64(eccentricity.into_iter().map(Some).collect()));
    add("solidity", real(&|g| Some(g.region().solidity)));
    add("mean_intensity", real(&|g| Some(g.region().mean_intensity)));
    add("min_intensity", real(&|g| Some(g.region().min_intensity)));
    add("max_intensity", real(&|g| Some(g.region().max_intensity)));
    add("touches_border", ColumnData::Bool(grains.iter().map(|g| Some(g.region().touches_border)).collect()));
    add("num_neighbors", whole(&|g| g.region().num_neighbors));
    add("pixel_size_nm", real(&|g| Some(g.image.pixel_um()? * 1e3)));
    add("pixel_size_source", texts(&|g| Some(g.image.pixel_size.map_or("unknown", |size| size.source.name()).into())));
    add("class", ColumnData::U32(grains.iter().map(|g| g.image.class(g.index_in_image)).collect()));
    columns
}

/// `regionprops` measures from the row axis; people from the horizontal.
fn to_horizontal_deg(orientation_rad: f64) -> f64 {
    let degrees = orientation_rad.to_degrees() - 90.0;
    if degrees <= -90.0 { degrees + 180.0 } else { degrees }
}
