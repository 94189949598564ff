//! What is ingested, under which name, with which mask.

use super::*;
use crate::{MaskKind, MaskReading};

impl Bench {
    fn mask(&self, name: &str, size: [u32; 2], label: impl Fn(u32, u32) -> u16) {
        let labels: Vec<u16> = (0..size[0] * size[1]).map(|i| label(i / size[1], i % size[1])).collect();
        let image = image::ImageBuffer::<image::Luma<u16>, _>::from_raw(size[1], size[0], labels).unwrap();
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        image.save(self.path(name)).unwrap();
    }

    fn names(&self) -> Vec<String> {
        let dataset = self.dataset();
        (0..dataset.num_images()).map(|image| dataset.image(image).name.clone()).collect()
    }

    fn warnings(&self) -> Vec<String> {
        self.run().unwrap().facts.warnings
    }
}

#[test]
fn own_datasets_and_pictures_and_masks_are_no_images() {
    let mut bench = Bench::new(&["a.png", "b.png"], [16, 96]);
    bench.inputs = Inputs::paths([bench.directory.path()]);
    assert_eq!(bench.names(), ["a", "b"]);
    // Datasets other than the output, and pictures drawn from them.
    let first = ingest(&bench.inputs, &bench.path("data2"), &bench.config, &NoProgress).unwrap();
    assert_eq!(first.facts.images.len(), 2);
    assert!(first.facts.warnings[0].starts_with("left out: 1 dataset of Invar ("), "{:?}", first.facts.warnings);
    fs::create_dir(bench.path("painted")).unwrap();
    fs::write(bench.path("painted/a.png"), crate::sign_png(fs::read(bench.path("images/a.png")).unwrap())).unwrap();
    fs::copy(bench.path("data2/labels/a.tif"), bench.path("painted/a.tif")).unwrap();
    assert!(bench.run().unwrap().already_done, "what Invar wrote changes nothing");
    // An interrupted dataset is not an input either.
    fs::create_dir_all(bench.path("data3/labels")).unwrap();
    fs::copy(bench.path("data2/labels/a.tif"), bench.path("data3/labels/x.tif")).unwrap();
    fs::write(bench.path("data3/.ingest.journal"), "{}").unwrap();
    assert!(bench.run().unwrap().already_done);
    // Masks beside their images, and other results of the same programs.
    for name in ["images/a_cp_masks.png", "images/a_cp_output.png", "images/b_Simple Segmentation.png", "masks/b.png"] {
        bench.mask(name, [16, 96], |_, _| 1);
    }
    assert!(bench.run().unwrap().already_done);
    bench.config.force = true;
    let warnings = bench.warnings();
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    assert!(warnings[1].starts_with("left out: 2 pictures drawn by Invar"), "{warnings:?}");
    assert!(warnings[2].starts_with("left out: 4 files called as a mask"), "{warnings:?}");
    // Files that are named are wanted, and a name without its image is still a name.
    bench.inputs.paths.push(bench.path("images/a_cp_masks.png"));
    bench.mask("images/c_seg.png", [16, 96], |_, _| 1);
    fs::write(bench.path("images/manifest.json"), "{}").unwrap();
    assert_eq!(bench.names(), ["a", "b", "c_seg", "a_cp_masks"]);
}

#[test]
fn a_file_is_one_image_whatever_its_names() {
    let mut bench = Bench::new(&["a.png", "b.png"], [16, 96]);
    let there = bench.path("images/../images/a.png");
    bench.inputs.paths.push(there);
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(bench.path("images/a.png"), bench.path("link.png")).unwrap();
        fs::hard_link(bench.path("images/b.png"), bench.path("hard.png")).unwrap();
        bench.inputs.paths.extend([bench.path("link.png"), bench.path("hard.png")]);
    }
    assert_eq!(bench.names(), ["a", "b"]);
    let warnings = bench.warnings();
    assert!(warnings[0].starts_with("taken once: "), "{warnings:?}");
    // Another file with the same bytes is another image, but is reported.
    fs::copy(bench.path("images/a.png"), bench.path("images/copy.png")).unwrap();
    bench.config.force = true;
    let warnings = bench.warnings();
    assert!(warnings.iter().any(|warning| warning.contains("1 file copied from another")), "{warnings:?}");
    assert_eq!(bench.run().unwrap().facts.images.len(), 3);
}

#[test]
fn a_page_and_a_file_of_one_name_are_two_images() {
    let bench = Bench::new(&["a-p2.png"], [16, 96]);
    let mut file = tiff::encoder::TiffEncoder::new(fs::File::create(bench.path("images/a.tif")).unwrap()).unwrap();
    for number in 1..=2 {
        file.write_image::<tiff::encoder::colortype::Gray8>(96, 16, &squares([16, 96], number)).unwrap();
    }
    drop(file);
    let dataset = bench.dataset();
    let ids: std::collections::BTreeSet<String> = (0..dataset.len()).map(|index| dataset.grain(index).id()).collect();
    assert_eq!((ids.len(), dataset.len()), (9, 9));
    for image in 0..3 {
        let labels = format!("labels/{}.tif", dataset.image(image).name);
        assert!(bench.out().join(&labels).is_file(), "{labels}");
    }
    assert_eq!(bench.names(), ["a-p2", "a~2-p1", "a~2-p2"]);
}

#[test]
fn masks_have_many_names() {
    let mut bench = Bench::new(&["Ko\u{308}rner.ome.png", "B 1.png"], [16, 96]);
    bench.mask("masks/K\u{f6}rner.ome_cp_masks.png", [16, 96], |row, _| u16::from(row < 5));
    bench.mask("masks/b-1_MASK.png", [16, 96], |row, _| u16::from(row < 3));
    bench.mask("masks/B 1_cp_output.png", [16, 96], |_, _| 9);
    bench.config.labels = Some(bench.path("masks"));
    bench.config.segment = Segmentation::Labels {};
    let dataset = bench.dataset();
    assert_eq!((dataset.grain(0).region().area_px, dataset.grain(1).region().area_px), (3 * 96, 5 * 96));
    // The only mask in a directory does not belong to an arbitrary image; a file that is named does.
    let mut one = Bench::new(&["c.png"], [16, 96]);
    one.mask("masks/d.png", [16, 96], |row, _| u16::from(row < 5));
    one.config.labels = Some(one.path("masks"));
    let error = one.error();
    assert!(error.ends_with("found none among 1 files; nearest: d.png"), "{error}");
    one.config.labels = Some(one.path("masks/d.png"));
    assert_eq!(one.dataset().len(), 1);
    // Two that match.
    one.config = IngestConfig { labels: Some(one.path("masks")), force: true, ..one.config };
    one.mask("masks/c_mask.png", [16, 96], |_, _| 1);
    one.mask("masks/c_seg.png", [16, 96], |_, _| 1);
    assert!(one.error().contains("c_mask.png and "), "{}", one.error());
}

#[test]
fn one_mask_page_is_that_of_all_pages() {
    let mut bench = Bench::new(&[], [16, 96]);
    fs::create_dir(bench.path("images")).unwrap();
    let mut file = tiff::encoder::TiffEncoder::new(fs::File::create(bench.path("images/a.tif")).unwrap()).unwrap();
    for number in 1..=3 {
        file.write_image::<tiff::encoder::colortype::Gray8>(96, 16, &squares([16, 96], number)).unwrap();
    }
    drop(file);
    bench.mask("a_mask.png", [16, 96], |row, _| 5 * u16::from(row < 5));
    bench.config.labels = Some(bench.path("a_mask.png"));
    assert_eq!((bench.dataset().num_images(), bench.dataset().len()), (3, 3));
}

#[test]
fn class_masks_are_parted_or_kept_as_the_user_says() {
    let mut bench = Bench::new(&["a.png", "b.png"], [16, 96]);
    // Squares of 8 x 12 on 16 x 32: three of class 2 on background 1.
    let is_square = |row: u32, column: u32| row % 16 >= 4 && row % 16 < 12 && column % 32 >= 8 && column % 32 < 20;
    for name in ["a.png", "b.png"] {
        bench.mask(&format!("masks/{name}"), [16, 96], |row, column| 1 + u16::from(is_square(row, column)));
    }
    bench.config.labels = Some(bench.path("masks"));
    let summary = bench.run().unwrap();
    assert_eq!((summary.facts.images[0].grains, summary.manifest.counts["grains"]), (3, 6));
    assert_eq!(summary.facts.images[0].mask.as_ref().unwrap().reading, MaskReading::Classes);
    let warning = &summary.facts.warnings[0];
    assert!(warning.starts_with("mask of a: a map of 2 classes") && warning.contains("1 image more"), "{warning}");
    assert_eq!(DatasetFacts::of(&bench.out(), &Manifest::read(&bench.out()).unwrap()).unwrap(), summary.facts);
    bench.config = IngestConfig { mask_kind: MaskKind::Instances, force: true, ..bench.config };
    assert_eq!(bench.dataset().len(), 4);
    let config = IngestConfig { mask_kind: MaskKind::Classes, mask_background: vec![2], ..bench.config };
    bench.config = config;
    assert_eq!(bench.dataset().len(), 2);
    // A row of the sheet sets it for one image.
    let sheet = bench
        .write("sheet.csv", "image,mask,mask_kind\nimages/a.png,masks/a.png,Instances\nimages/b.png,masks/b.png,\n");
    bench.inputs = Inputs { paths: vec![], sheet: Some(sheet), samples: vec![] };
    bench.config = IngestConfig { labels: None, mask_kind: MaskKind::Auto, mask_background: vec![], ..bench.config };
    let dataset = bench.dataset();
    assert_eq!((dataset.grains_of(0).len(), dataset.grains_of(1).len()), (2, 3));
}

#[test]
fn phases_of_a_mask_are_the_class_of_its_grains() {
    let mut bench = Bench::new(&["a.png"], [16, 96]);
    bench.mask(
        "m.png",
        [16, 96],
        |row, column| if row % 4 == 3 { 0 } else { [4, 6, 4, 6, 6, 4][column as usize / 16] },
    );
    bench.config.labels = Some(bench.path("m.png"));
    let dataset = bench.dataset();
    let classes: Vec<Option<u32>> = (0..5).map(|index| dataset.image(0).class(index)).collect();
    assert_eq!((dataset.len(), classes), (20, [4, 6, 4, 6, 4].map(Some).to_vec()));
}

#[test]
fn lossy_masks_are_thresholded_or_refused() {
    let mut bench = Bench::new(&["a.png"], [64, 96]);
    let bytes: Vec<u8> = squares([64, 96], 55).iter().map(|&value| if value > 100 { 255 } else { 0 }).collect();
    image::GrayImage::from_raw(96, 64, bytes).unwrap().save(bench.path("m.jpg")).unwrap();
    bench.config.labels = Some(bench.path("m.jpg"));
    let facts = bench.run().unwrap().facts;
    assert_eq!((facts.images[0].grains, facts.images[0].mask.as_ref().unwrap().reading), (12, MaskReading::Grey));
    assert!(facts.warnings[0].contains("grey levels"), "{:?}", facts.warnings);
    bench.config.force = true;
    let noise = (0..64 * 96).map(|i| invar_dataset::seed::mix(3, i) as u8).collect();
    image::GrayImage::from_raw(96, 64, noise).unwrap().save(bench.path("m.jpg")).unwrap();
    let error = bench.run().unwrap_err();
    assert!(error.is_bad_input() && error.to_string().contains("grey levels without black and white"), "{error}");
    // Classes cannot be recovered from lossy compression.
    bench.config.classes = bench.config.labels.take();
    assert!(bench.run().unwrap_err().to_string().contains("a class map in JPEG"));
}

#[test]
fn sheets_are_checked_alike_with_and_without_inputs() {
    let mut bench = Bench::new(&["a.png", "b.png"], [16, 96]);
    let sheet = bench.write("sheet.csv", "image,pixel_size_nm\nimages/a.png,10\nimages/b.png,20\nimages/a.png,30\n");
    for paths in [vec![], vec![bench.path("images")]] {
        bench.inputs = Inputs { paths, sheet: Some(sheet.clone()), samples: vec![] };
        let error = bench.error();
        assert!(error.starts_with("sheet.csv: row 4: expected each image once, found images/a.png again"), "{error}");
    }
    // Codes are not numbers; a mask for one of two is reported; empty rows do not count.
    bench.mask("m.png", [16, 96], |row, _| u16::from(row < 5));
    bench.write("sheet.csv", "Image,Sample,Dose,mask,\n.\\images\\a.png,001,2,m.png,\n,,,,\nimages/b.png,002,0.5,,\n");
    for paths in [vec![], vec![bench.path("images")]] {
        bench.inputs.paths = paths;
        bench.config.force = true;
        let dataset = bench.dataset();
        assert_eq!(
            (&dataset.image(0).columns["Sample"], &dataset.image(1).columns["Dose"]),
            (&"001".into(), &0.5.into())
        );
        let warnings = bench.warnings();
        assert!(warnings[0].starts_with("1 of 2 images have a mask"), "{warnings:?}");
    }
    // A mask among the images, with an unrelated name.
    fs::rename(bench.path("m.png"), bench.path("images/m.png")).unwrap();
    bench.write("sheet.csv", "image,mask\na.png,images/m.png\n");
    assert_eq!(bench.names(), ["a", "b"]);
    fs::remove_file(bench.path("images/m.png")).unwrap();
    bench.inputs.paths = vec![];
    for (text, expected) in [
        ("image\nimages/a.png\nnone.png\n", "row 3: expected an image, found none.png, which is not there"),
        (
            "image,mask\nimages/a.png,x.png\n",
            "row 2, mask: expected a file, or nothing, found x.png, which is not there",
        ),
        (
            "image,mask_kind\nimages/a.png,soup\n",
            "row 2, mask_kind: expected auto, instances, classes, or nothing, found soup",
        ),
        ("image,\nimages/a.png,5\n", "row 2: expected a name for column 2 in the header, found \"5\" without one"),
        ("image,Dose,dose\nimages/a.png,1,2\n", "header: expected each column once, found \"dose\" twice"),
    ] {
        bench.write("sheet.csv", text);
        assert_eq!(bench.error(), format!("sheet.csv: {expected}"));
        assert!(bench.run().unwrap_err().is_bad_input());
    }
}

#[test]
fn sheets_of_spreadsheets_are_read() {
    let mut bench = Bench::new(&["K\u{f6}rner.png"], [16, 96]);
    let text = "Image;Steel;Size, \u{b5}m;pixel_size_nm\r\nimages\\K\u{f6}rner.png;316L;1,5;12,5\r\n";
    let utf16: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
    // Python: text.encode('cp1252')
    let cp1252: Vec<u8> = text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect();
    for bytes in [text.as_bytes().to_vec(), [&[0xff, 0xfe], utf16.as_slice()].concat(), cp1252] {
        fs::write(bench.path("sheet.csv"), bytes).unwrap();
        bench.inputs = Inputs { paths: vec![], sheet: Some(bench.path("sheet.csv")), samples: vec![] };
        bench.config.force = true;
        let dataset = bench.dataset();
        let image = dataset.image(0);
        assert_eq!((&image.columns["Steel"], &image.columns["Size, \u{b5}m"]), (&"316L".into(), &1.5.into()));
        assert_eq!(image.pixel_size.unwrap().x_nm, 12.5);
    }
    fs::write(bench.path("sheet.csv"), b"PK\x03\x04").unwrap();
    assert!(bench.error().contains("a workbook"), "{}", bench.error());
}

#[test]
fn pixels_that_are_not_square_are_said() {
    let mut bench = Bench::new(&["a.png"], [16, 96]);
    let xml = r#"<OME><Image><Pixels DimensionOrder="XYZCT" Type="uint8" SizeX="96" SizeY="16" SizeZ="1" SizeC="1" SizeT="1" PhysicalSizeX="0.1" PhysicalSizeY="0.4"><TiffData/></Pixels></Image></OME>"#;
    let mut file = tiff::encoder::TiffEncoder::new(fs::File::create(bench.path("images/b.tif")).unwrap()).unwrap();
    let mut image = file.new_image::<tiff::encoder::colortype::Gray8>(96, 16).unwrap();
    image.encoder().write_tag(tiff::tags::Tag::ImageDescription, xml).unwrap();
    image.write_data(&squares([16, 96], 0)).unwrap();
    drop(file);
    bench.inputs = Inputs::paths([bench.path("images/b.tif")]);
    let warnings = bench.warnings();
    assert!(
        warnings[0].starts_with("pixels of 1 image are not square (first: 100 nm wide, 400 nm high)"),
        "{warnings:?}"
    );
    let dataset = bench.dataset();
    let columns = dataset.columns(0..1).unwrap();
    let number = |name: &str| match &columns.iter().find(|column| column.name == name).unwrap().data {
        ColumnData::F64(values) => values[0].unwrap(),
        other => panic!("{other:?}"),
    };
    // A square of 8 rows x 12 columns is 3.2 um high and 1.2 um wide; scikit-image 0.26:
    // regionprops(mask, spacing=(.4, .1))[0].axis_major_length, .axis_minor_length, .eccentricity
    for (name, expected) in [
        ("major_axis_um", 3.666060555964672),
        ("minor_axis_um", 1.380821011813865),
        ("eccentricity", 0.9263557203552644),
        ("orientation_deg", 90.0),
        ("aspect_ratio", 3.666060555964672 / 1.380821011813865),
        ("area_um2", 3.84),
        ("pixel_size_nm", 200.0),
    ] {
        assert!((number(name) - expected).abs() < 1e-6, "{name}: {}", number(name));
    }
    assert!((number("major_axis_px") - 13.8082).abs() < 1e-3);
}
