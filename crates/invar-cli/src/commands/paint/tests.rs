use super::*;
use crate::commands::clustered::tests::squares;

#[test]
fn every_cluster_is_painted_and_in_the_legend() {
    let clustered = squares();
    let image = clustered.dataset.image(0);
    let painting = Painting::new(image, &clustered.clusters);
    let picture = painting.overlay(image, &clustered.sizes, 4096);
    assert_eq!((picture.width(), picture.height()), (64, 64 + 2 * 14 + 6));
    for cluster in [0, 1] {
        let colour = palette::colour(cluster);
        let count = |rows: std::ops::Range<u32>, colour: Rgb| {
            rows.flat_map(|y| (0..64).map(move |x| (x, y))).filter(|&(x, y)| picture.at(x, y) == colour).count()
        };
        // 8 squares of 8 x 8 pixels: 28 pixels of each are outline, 36 are white under 40 % of the colour.
        assert_eq!(count(0..64, colour), 8 * 28);
        assert_eq!(count(0..64, palette::mixed([255; 3], colour, OPACITY)), 8 * 36);
        assert_eq!(count(64..98, colour), 64, "the legend");
    }
}

#[test]
fn labels_are_the_cluster_and_one() {
    let mut clustered = squares();
    clustered.clusters[0] = Some(-1);
    clustered.clusters[1] = None;
    let painting = Painting::new(clustered.dataset.image(0), &clustered.clusters);
    let labels = painting.into_labels().labels;
    let count = |label: u32| labels.iter().filter(|&&l| l == label).count();
    assert_eq!((count(1), count(2)), (7 * 64, 7 * 64));
    assert_eq!(count(0), 64 * 64 - 14 * 64);
    // Grain 2 is the third square of the first row: rows 4 to 11, columns 36 to 43.
    assert_eq!((labels[4 * 64 + 36], labels[11 * 64 + 43], labels[12 * 64 + 43]), (1, 1, 0));
}

#[test]
fn overlapping_tiles_are_blocks() {
    // Tiles of 8 at 0, 4, 8 of an image of 16 x 8: cut half-way between their centres, in any order.
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
        let boxes = [[0, 0, 8, 8], [0, 4, 8, 12], [0, 8, 8, 16]];
        let mut owners = vec![0; 16 * 8];
        order.into_iter().for_each(|number| cover(&mut owners, 16, &boxes, number, |_, _| true));
        assert_eq!(owners[..16], [1, 1, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 3, 3]);
    }
}

#[test]
fn a_large_image_is_painted_smaller() {
    let clustered = squares();
    let image = clustered.dataset.image(0);
    let painting = Painting::new(image, &clustered.clusters);
    let picture = painting.overlay(image, &[], 30);
    assert_eq!((picture.width(), picture.height()), (22, 22));
    assert!((0..22).any(|x| (0..22).any(|y| picture.at(x, y) == palette::colour(1))));
}

#[test]
fn names_of_files_are_plain_and_their_own() {
    let mut taken = HashSet::new();
    let names = ["a/b", "a_b", "a_b", "c"].map(|name| file_name(name, &mut taken));
    assert_eq!(names, ["a_b", "a_b-2", "a_b-3", "c"]);
}
