use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use invar_dataset::{ColumnData, Dataset, NoProgress, SampleTable};

use super::*;
use crate::{GrainDataset, Neighbors, PixelsRef, Segmentation};

mod inputs;

struct Bench {
    directory: tempfile::TempDir,
    inputs: Inputs,
    config: IngestConfig,
}

impl Bench {
    /// With images of `size` `[height, width]`: three bright squares each, on a dark ground.
    fn new(images: &[&str], size: [u32; 2]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for (number, name) in images.iter().enumerate() {
            let path = directory.path().join("images").join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            image::GrayImage::from_raw(size[1], size[0], squares(size, number as u8)).unwrap().save(path).unwrap();
        }
        let inputs = Inputs::paths([directory.path().join("images")]);
        let config = IngestConfig {
            segment: toml::from_str("method = \"otsu\"\nsigma_px = 0.0\nmin_size_px = 1").unwrap(),
            ..IngestConfig::default()
        };
        Self { directory, inputs, config }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn out(&self) -> PathBuf {
        self.path("data")
    }

    fn run(&self) -> Result<Summary, Error> {
        ingest(&self.inputs, &self.out(), &self.config, &NoProgress)
    }

    fn dataset(&self) -> GrainDataset {
        self.run().unwrap();
        GrainDataset::open(&[self.out()]).unwrap()
    }

    fn error(&self) -> String {
        let error = self.run().unwrap_err().to_string();
        error.replace(&format!("{}/", self.directory.path().display()), "")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        fs::write(self.path(name), text).unwrap();
        self.path(name)
    }

    /// Every file of the dataset, by its path within it.
    fn bytes(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let (mut files, mut open) = (BTreeMap::new(), vec![self.out()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    open.push(path);
                } else {
                    files.insert(path.strip_prefix(self.out()).unwrap().into(), fs::read(&path).unwrap());
                }
            }
        }
        files
    }
}

fn squares([height, width]: [u32; 2], number: u8) -> Vec<u8> {
    let is_bright = |row: u32, column: u32| row % 16 >= 4 && row % 16 < 12 && column % 32 >= 8 && column % 32 < 20;
    let pixel = |i: u32| if is_bright(i / width, i % width) { 200 + number } else { 20 };
    (0..height * width).map(pixel).collect()
}

#[test]
fn images_become_grains() {
    let bench = Bench::new(&["a.png", "b/a.png"], [16, 96]);
    let dataset = bench.dataset();
    assert_eq!((dataset.num_images(), dataset.len()), (2, 6));
    let names: Vec<_> = (0..2).map(|image| dataset.image(image).name.clone()).collect();
    assert_eq!(names, ["images/a", "b/a"]);
    let grain = dataset.grain(4);
    assert_eq!((grain.id().as_str(), dataset.image_of(4), dataset.grains_of(1)), ("b/a#2", 1, 3..6));
    assert_eq!(grain.region().bbox_px, [4, 40, 12, 52]);
    assert!(grain.mask().contains(4, 40) && !grain.mask().contains(3, 40) && !grain.mask().contains(4, 52));
    let PixelsRef::U8(pixels) = grain.image.pixels().pixels else { panic!("8 bits stay 8 bits") };
    assert_eq!(pixels, squares([16, 96], 1));
    let labels = crate::read_label_map(bench.out().join("labels/b/a.tif"), 1).unwrap();
    assert_eq!((labels.labels[4 * 96 + 8], labels.labels[4 * 96 + 40], labels.labels[0]), (1, 2, 0));
}

#[test]
fn the_table_has_physical_units_where_the_pixel_size_is_known() {
    let mut bench = Bench::new(&["a.png"], [16, 96]);
    let column = |dataset: &GrainDataset, name: &str| {
        dataset.columns(0..1).unwrap().into_iter().find(|column| column.name == name).unwrap().data
    };
    let unknown = bench.dataset();
    assert_eq!(column(&unknown, "area_um2"), ColumnData::F64(vec![None]));
    assert_eq!(column(&unknown, "pixel_size_source"), ColumnData::Str(vec![Some("unknown".into())]));
    bench.config = IngestConfig { pixel_size_nm: Some(500.0), force: true, ..bench.config };
    let known = bench.dataset();
    // 8 x 12 pixels of half a micrometre.
    assert_eq!(column(&known, "area_um2"), ColumnData::F64(vec![Some(24.0)]));
    assert_eq!(column(&known, "area_px"), ColumnData::I64(vec![Some(96)]));
    // Wider than high: its major axis is horizontal.
    assert_eq!(column(&known, "orientation_deg"), ColumnData::F64(vec![Some(0.0)]));
    assert_eq!(column(&known, "pixel_size_source"), ColumnData::Str(vec![Some("user".into())]));
    assert_eq!(column(&known, "centroid_x_um"), ColumnData::F64(vec![Some(13.5 * 0.5)]));
}

#[test]
fn the_sheet_names_images_and_adds_columns() {
    let mut bench = Bench::new(&["a.png", "b.png"], [16, 96]);
    let sheet = bench.write("sheet.csv", "image,steel,hours,pixel_size_nm\nimages/b.png,316L,2,250\nimages/a.png,,,\n");
    bench.inputs = Inputs { paths: vec![], sheet: Some(sheet.clone()), samples: vec![] };
    let dataset = bench.dataset();
    assert_eq!((dataset.image(0).name.as_str(), dataset.image(1).name.as_str()), ("b", "a"));
    let columns = dataset.columns(2..4).unwrap();
    let of = |name: &str| columns.iter().find(|column| column.name == name).unwrap().data.clone();
    assert_eq!(of("steel"), ColumnData::Str(vec![Some("316L".into()), None]));
    assert_eq!(of("hours"), ColumnData::F64(vec![Some(2.0), None]));
    assert_eq!(of("pixel_size_nm"), ColumnData::F64(vec![Some(250.0), None]));
    // With inputs, rows are found by name.
    bench.config.force = true;
    bench.inputs.paths = vec![bench.path("images")];
    assert_eq!(bench.dataset().image(1).columns["steel"], "316L");
    bench.write("sheet.csv", "image,steel\nc.png,316L\n");
    assert_eq!(
        bench.error(),
        "sheet.csv: row 2: expected one of the inputs, found c.png, which is none; nearest: a.png, b.png"
    );
    bench.write("sheet.csv", "name,steel\n");
    assert_eq!(bench.error(), "sheet.csv: header: expected a column `image` or `file`, found name, steel");
}

#[test]
fn masks_are_found_by_name_and_keep_their_labels() {
    let mut bench = Bench::new(&["a.png", "b.png"], [16, 96]);
    fs::create_dir(bench.path("masks")).unwrap();
    let masks = bench.path("masks");
    let mask = |name: &str, size: [u32; 2]| {
        let labels: Vec<u16> = (0..size[0] * size[1]).map(|i| if i % size[1] < 5 { 700 } else { 3 }).collect();
        let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(size[1], size[0], labels).unwrap();
        image.save(masks.join(name)).unwrap();
    };
    mask("a_cp_masks.png", [16, 96]);
    bench.config.labels = Some(masks.clone());
    assert_eq!(
        bench.error(),
        "masks: mask of images/b.png: expected one file of the same name, found none among 1 files; nearest: a_cp_masks.png"
    );
    mask("b.png", [16, 90]);
    assert_eq!(bench.error(), "masks/b.png: a mask of 16 x 90, but the image images/b.png is 16 x 96 pixels");
    assert!(!bench.out().exists());
    mask("b.png", [16, 96]);
    let dataset = bench.dataset();
    assert_eq!((dataset.grain(1).id(), dataset.grain(1).region().area_px), ("a#700".into(), 80));
    assert_eq!(dataset.image(0).neighbors(), [Neighbors { a: 3, b: 700, boundary_px: 16, upright_px: 16 }]);
    assert_eq!(dataset.grain(0).region().num_neighbors, 1);
}

#[test]
fn what_is_cut_off_is_gone_and_said() {
    let mut bench = Bench::new(&["a.png"], [48, 96]);
    bench.config.crop_bottom_px = 32;
    let summary = bench.run().unwrap();
    assert_eq!(summary.manifest.facts["images"][0]["crop_bottom_px"], 32);
    let dataset = bench.dataset();
    assert_eq!((dataset.image(0).pixels().height, dataset.len()), (16, 3));
    bench.config.crop_bottom_px = 48;
    bench.config.force = true;
    assert!(bench.error().contains("fewer than the 48 rows"));
}

#[test]
fn an_image_without_grains_is_kept_and_counted() {
    let mut bench = Bench::new(&["a.png"], [16, 96]);
    image::GrayImage::from_pixel(40, 30, image::Luma([7])).save(bench.path("images/flat.png")).unwrap();
    let summary = bench.run().unwrap();
    assert_eq!((summary.manifest.counts["images"], summary.manifest.counts["images_without_grains"]), (2, 1));
    let dataset = GrainDataset::open(&[bench.out()]).unwrap();
    assert_eq!((dataset.num_images(), dataset.grains_of(1)), (2, 3..3));
    bench.config = IngestConfig { segment: Segmentation::WholeImage {}, force: true, ..bench.config };
    let whole = bench.dataset();
    assert_eq!((whole.len(), whole.grain(1).mask().is_full()), (2, true));
}

#[test]
fn values_that_are_no_number_are_named() {
    let bench = Bench::new(&[], [1, 1]);
    fs::create_dir(bench.path("images")).unwrap();
    let mut values = vec![1f32; 12];
    (values[6], values[7]) = (f32::NAN, f32::INFINITY);
    let file = fs::File::create(bench.path("images/nan.tif")).unwrap();
    let mut encoder = tiff::encoder::TiffEncoder::new(file).unwrap();
    encoder.write_image::<tiff::encoder::colortype::Gray32Float>(4, 3, &values).unwrap();
    let expected = "images/nan.tif, pixel at row 1, column 2: expected finite pixel values, found NaN (2 of 12 pixels are not finite)";
    assert_eq!(bench.error(), expected);
    assert!(!bench.out().exists());
}

#[test]
fn a_bad_image_ends_the_ingest_or_is_left_out() {
    let mut bench = Bench::new(&["a.png", "c.png"], [16, 96]);
    bench.write("images/b.tif", "hello");
    bench.write("images/d.tif", "");
    assert!(bench.error().starts_with("images/b.tif: "));
    assert!(!bench.out().exists());
    bench.config.skip_bad_images = true;
    let summary = bench.run().unwrap();
    assert_eq!((summary.manifest.counts["images"], summary.manifest.counts["bad_images"]), (2, 2));
    assert!(summary.manifest.skipped[0].contains("b.tif") && summary.manifest.skipped[1].contains("d.tif"));
    assert!(bench.run().unwrap().already_done);
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let bench = Bench::new(&["a.png", "b.png", "c.png", "d.png", "e.png"], [64, 96]);
    let run = |num_threads| {
        let _ = fs::remove_dir_all(bench.out());
        let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads).build().unwrap();
        pool.install(|| bench.run()).unwrap();
        bench.bytes()
    };
    assert!(run(1) == run(3));
}

/// Stops the ingest once this many shards are on the disk.
struct StopAt<'a>(&'a Path, usize, AtomicBool);

impl Progress for StopAt<'_> {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        let is_shard = |path: &Path| path.extension().is_some_and(|extension| extension == "shard");
        let num_shards = fs::read_dir(self.0).unwrap().filter(|e| is_shard(&e.as_ref().unwrap().path())).count();
        self.2.fetch_or(num_shards >= self.1, Ordering::Relaxed) || num_shards >= self.1
    }
}

#[test]
fn an_interrupted_ingest_goes_on_to_the_same_bytes() {
    let names: Vec<String> = (0..9).map(|i| format!("{i}.png")).collect();
    let bench = Bench::new(&names.iter().map(String::as_str).collect::<Vec<_>>(), [64, 96]);
    bench.run().unwrap();
    let whole = bench.bytes();
    for stop_at in [1, 5] {
        fs::remove_dir_all(bench.out()).unwrap();
        fs::create_dir(bench.out()).unwrap();
        let progress = StopAt(&bench.out(), stop_at, AtomicBool::new(false));
        let error = ingest(&bench.inputs, &bench.out(), &bench.config, &progress).unwrap_err();
        assert!(matches!(error, Error::Interrupted { .. }), "{error}");
        assert!(GrainDataset::open(&[bench.out()]).is_err());
        // As after a kill in the middle of a line or of a shard, and with a shard damaged afterwards.
        let journal = bench.out().join(".ingest.journal");
        let mut text = fs::read(&journal).unwrap();
        text.extend_from_slice(b"{\"shard\":");
        fs::write(&journal, text).unwrap();
        fs::write(bench.out().join(".micrographs-000008.shard.partial"), b"half").unwrap();
        let damaged = fs::read_dir(bench.out()).unwrap().map(|e| e.unwrap().path());
        let damaged = damaged.filter(|path| path.extension().is_some_and(|e| e == "shard")).min().unwrap();
        let mut bytes = fs::read(&damaged).unwrap();
        bytes[200] ^= 1;
        fs::write(&damaged, bytes).unwrap();
        let summary = bench.run().unwrap();
        assert!(summary.resumed_images + 1 >= stop_at, "{} images kept", summary.resumed_images);
        assert!(bench.bytes() == whole, "stopped at {stop_at}");
    }
}

#[test]
fn a_dataset_is_made_once_and_replaced_only_on_request() {
    let mut bench = Bench::new(&["a.png"], [16, 96]);
    assert!(!bench.run().unwrap().already_done);
    assert!(bench.run().unwrap().already_done);
    bench.config.min_area_px = 3;
    assert!(bench.error().contains("holds another dataset: its parameters"));
    bench.config.force = true;
    assert!(!bench.run().unwrap().already_done);
    bench.config.force = false;
    image::GrayImage::from_pixel(96, 16, image::Luma([7])).save(bench.path("images/a.png")).unwrap();
    assert!(bench.error().contains("a.png has changed since"));
    bench.inputs = Inputs::paths([bench.path("nothing*")]);
    assert!(bench.error().contains("which matches no file"));
}

#[test]
fn what_a_user_put_there_is_left_alone() {
    let mut bench = Bench::new(&["a.png"], [16, 96]);
    fs::create_dir_all(bench.out().join("labels")).unwrap();
    fs::write(bench.out().join("labels/mine.tif"), b"precious").unwrap();
    for force in [false, true] {
        bench.config.force = force;
        assert!(bench.error().contains("holds labels, which no ingest wrote"));
    }
    assert_eq!(fs::read(bench.out().join("labels/mine.tif")).unwrap(), b"precious");
}
