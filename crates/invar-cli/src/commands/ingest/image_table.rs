//! The table of images: one row per image, how it was segmented and the results.

use invar_dataset::{Column, ColumnData};
use invar_micrographs::{GrainFacts, GrainSizes, ImageFacts};

/// `image`, `source`, `page`, `width_px`, `height_px`, `grains`, `border_grains`, `mean_area_px`, `mean_area_um2`,
/// `pixel_size_nm` (for non-square pixels, the side of the square of equal area); `segmented_as`, `reason`, `sigma_px`,
/// `threshold`, `exponent` and `doubts` of the segmentation; ASTM grain-size numbers `e112_intercept`, the same with
/// the threshold divided and multiplied by 1.25, and `e112_planimetric`. Unknown values are null.
pub fn columns(images: &[&ImageFacts]) -> Vec<Column> {
    let text = |name: &str, of: &dyn Fn(&ImageFacts) -> Option<String>| Column {
        name: name.into(),
        data: ColumnData::Str(images.iter().map(|image| of(image)).collect()),
    };
    let count = |name: &str, of: &dyn Fn(&ImageFacts) -> u64| Column {
        name: name.into(),
        data: ColumnData::I64(images.iter().map(|image| i64::try_from(of(image)).ok()).collect()),
    };
    let number = |name: &str, of: &dyn Fn(&ImageFacts) -> Option<f64>| Column {
        name: name.into(),
        data: ColumnData::F64(images.iter().map(|image| of(image)).collect()),
    };
    let found = |image: &ImageFacts, of: fn(&GrainFacts) -> Option<f64>| image.segmentation.as_ref().and_then(of);
    let size = |image: &ImageFacts, of: fn(&GrainSizes) -> Option<f64>| image.grain_size.as_ref().and_then(of);
    vec![
        text("image", &|image| Some(image.image.clone())),
        text("source", &|image| Some(image.source.clone())),
        count("page", &|image| image.page.into()),
        count("width_px", &|image| image.width_px.into()),
        count("height_px", &|image| image.height_px.into()),
        count("grains", &|image| image.grains),
        count("border_grains", &|image| image.border_grains),
        number("mean_area_px", &|image| image.mean_area_px),
        number("mean_area_um2", &|image| image.mean_area_um2),
        number("pixel_size_nm", &|image| image.pixel_size.map(|size| (size.x_nm * size.y_nm).sqrt())),
        text("segmented_as", &|image| Some(image.segmentation.as_ref()?.kind.words().into())),
        text("reason", &|image| Some(image.segmentation.as_ref()?.reason.clone())),
        number("sigma_px", &|image| found(image, |found| Some(f64::from(found.sigma_px)))),
        number("threshold", &|image| found(image, |found| found.threshold)),
        number("exponent", &|image| found(image, |found| found.exponent)),
        text("doubts", &|image| {
            let doubts: Vec<String> = image.segmentation.as_ref()?.doubts.iter().map(ToString::to_string).collect();
            (!doubts.is_empty()).then(|| doubts.join("; "))
        }),
        number("e112_intercept", &|image| size(image, |sizes| Some(sizes.intercept?.number))),
        number("e112_intercept_threshold_over_1_25", &|image| {
            size(image, |sizes| Some(sizes.intercept_numbers_moved?[0]))
        }),
        number("e112_intercept_threshold_times_1_25", &|image| {
            size(image, |sizes| Some(sizes.intercept_numbers_moved?[1]))
        }),
        number("e112_planimetric", &|image| size(image, |sizes| Some(sizes.planimetric?.number))),
    ]
}
