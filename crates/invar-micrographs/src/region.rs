//! Regions of a label map and their measures, in pixels.

mod hull;
mod measure;
mod perimeter;
mod physical;

pub use measure::{regions, regions_of_boxes};
pub use physical::PhysicalMeasures;

/// Which region each pixel belongs to, row-major; 0 is background.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LabelMap {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Labels `[height, width]`.
    pub labels: Vec<u32>,
}

/// A region and its measures, by the definitions of scikit-image's `regionprops`.
#[derive(Clone, Debug, PartialEq)]
pub struct Region {
    /// Its label in the map; at least 1.
    pub label: u32,
    /// `[first row, first column, last row + 1, last column + 1]`, pixels.
    pub bbox_px: [u32; 4],
    /// Number of pixels.
    pub area_px: u64,
    /// `[row, column]` of the mean pixel centre, pixels, from 0.
    pub centroid_px: [f64; 2],
    /// Diameter of the circle of equal area.
    pub equivalent_diameter_px: f64,
    /// Axes of the ellipse with the same second moments.
    pub major_axis_px: f64,
    /// See `major_axis_px`.
    pub minor_axis_px: f64,
    /// Eccentricity of that ellipse.
    pub eccentricity: f64,
    /// Angle of the major axis to the row axis, counter-clockwise, radians in (-pi/2, pi/2].
    pub orientation_rad: f64,
    /// Length of the outline, 4-connected (Benkrid and Crookes).
    pub perimeter_px: f64,
    /// Area over the area of the convex hull.
    pub solidity: f64,
    /// Mean of the raw pixel values, over the channels too. This and the next two are NaN without an image.
    pub mean_intensity: f64,
    /// Smallest.
    pub min_intensity: f64,
    /// Largest.
    pub max_intensity: f64,
    /// Whether it touches the edge of the image, so that its size is a lower bound.
    pub touches_border: bool,
    /// Number of other regions it touches.
    pub num_neighbors: u32,
}

/// Two regions that touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbors {
    /// The smaller label.
    pub a: u32,
    /// The larger label.
    pub b: u32,
    /// Length of their common boundary: pairs of touching pixels, each an edge of a pixel.
    pub boundary_px: u64,
    /// Those of them that are horizontally adjacent: vertical edges, as high as a pixel; the others are as wide as one.
    pub upright_px: u64,
}

#[cfg(test)]
mod tests;
