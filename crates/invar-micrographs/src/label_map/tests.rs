use std::fs::File;

use proptest::prelude::*;
use tiff::encoder::{
    TiffEncoder,
    colortype::{ColorType, Gray8, Gray16, Gray32Float, GrayI32, RGB8},
};

use super::*;

fn written<C: ColorType>(width: u32, values: &[C::Inner]) -> (tempfile::TempDir, std::path::PathBuf)
where
    [C::Inner]: tiff::encoder::TiffValue,
{
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.tif");
    let height = (values.len() / C::SAMPLE_FORMAT.len()) as u32 / width;
    let mut encoder = TiffEncoder::new(File::create(&path).unwrap()).unwrap();
    encoder.write_image::<C>(width, height, values).unwrap();
    (dir, path)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn what_is_written_is_read(width in 1usize..40, height in 1usize..40, seed in any::<u32>(), bits in 0u32..33) {
        let labels = (0..(width * height) as u64).map(|i| {
            let value = (i / 7 + u64::from(seed)).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
            (value & ((1u64 << bits) - 1)) as u32
        });
        let map = LabelMap { width, height, labels: labels.collect() };
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("labels.tif");
        write_label_map(&path, &map).unwrap();
        prop_assert_eq!(read_label_map(&path, 1).unwrap(), map);
    }
}

#[test]
fn grains_compress() {
    let map = LabelMap { width: 1000, height: 1000, labels: (0..1_000_000).map(|i| i / 50_000 + 1).collect() };
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("labels.tif");
    write_label_map(&path, &map).unwrap();
    let bytes = std::fs::metadata(&path).unwrap().len();
    assert!(bytes < 4_000_000 / 50, "{bytes} bytes for 4 MB of labels");
}

#[test]
fn masks_of_every_number_type_are_read() {
    let want = LabelMap { width: 2, height: 2, labels: vec![0, 1, 7, 200] };
    let check = |(_dir, path): (tempfile::TempDir, std::path::PathBuf)| {
        assert_eq!(read_label_map(path, 1).unwrap(), want);
    };
    check(written::<Gray8>(2, &[0, 1, 7, 200]));
    check(written::<Gray16>(2, &[0, 1, 7, 200]));
    check(written::<Gray32>(2, &[0, 1, 7, 200]));
    check(written::<GrayI32>(2, &[0, 1, 7, 200]));
    check(written::<Gray32Float>(2, &[0.0, 1.0, 7.0, 200.0]));
}

#[test]
fn masks_in_png_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask.png");
    image::GrayImage::from_raw(2, 1, vec![3, 0]).unwrap().save(&path).unwrap();
    assert_eq!(read_label_map(&path, 1).unwrap().labels, [3, 0]);
    image::ImageBuffer::<image::Luma<u16>, _>::from_raw(2, 1, vec![300u16, 0]).unwrap().save(&path).unwrap();
    assert_eq!(read_label_map(&path, 1).unwrap().labels, [300, 0]);
    image::RgbImage::from_raw(2, 1, vec![5, 5, 5, 0, 0, 0]).unwrap().save(&path).unwrap();
    assert_eq!(read_label_map(&path, 1).unwrap().labels, [5, 0]);
    image::RgbImage::from_raw(2, 1, vec![5, 6, 5, 0, 0, 0]).unwrap().save(&path).unwrap();
    assert!(matches!(read_label_map(&path, 1), Err(Error::Unsupported { .. })));
}

#[test]
fn labels_that_are_none_name_their_pixel() {
    let text = |(_dir, path): (tempfile::TempDir, std::path::PathBuf)| {
        let error = read_label_map(path, 1).unwrap_err();
        assert!(matches!(error, Error::Corrupt { .. }), "{error:?}");
        error.to_string()
    };
    let negative = text(written::<GrayI32>(2, &[0, 1, -1, 2]));
    assert!(negative.contains("row 1, column 0") && negative.contains("found -1"), "{negative}");
    let half = text(written::<Gray32Float>(2, &[0.0, 1.5, 1.0, 2.0]));
    assert!(half.contains("row 0, column 1") && half.contains("found 1.5"), "{half}");
    let nan = text(written::<Gray32Float>(2, &[0.0, 1.0, 1.0, f32::NAN]));
    assert!(nan.contains("row 1, column 1") && nan.contains("found NaN"), "{nan}");
}

#[test]
fn bad_files_have_their_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mask");
    let read = |bytes: &[u8], page| {
        std::fs::write(&path, bytes).unwrap();
        read_label_map(&path, page).unwrap_err()
    };
    assert!(matches!(read(b"", 1), Error::NotAnImage { .. }));
    assert!(matches!(read(b"label,area\n", 1), Error::NotAnImage { .. }));
    let (_dir, colour) = written::<RGB8>(1, &[1, 2, 3]);
    assert!(matches!(read(&std::fs::read(colour).unwrap(), 1), Error::Unsupported { .. }));
    let (_dir, good) = written::<Gray16>(64, &[1; 64 * 64]);
    let good = std::fs::read(good).unwrap();
    let beyond = read(&good, 2);
    assert!(
        matches!(beyond, Error::Corrupt { .. }) && beyond.to_string().contains("expected 1 to 1, found 2"),
        "{beyond}"
    );
    for cut in [5, 9, 100, good.len() - 1] {
        assert!(read(&good[..cut], 1).is_bad_input(), "cut to {cut} bytes");
    }
    assert!(matches!(read_label_map(dir.path().join("absent"), 1), Err(Error::Io { .. })));
}

#[test]
fn a_header_that_promises_too_much_is_refused_before_memory_is_taken() {
    let (_dir, path) = written::<Gray32>(1, &[1]);
    let mut bytes = std::fs::read(&path).unwrap();
    // Width (tag 256) and height (257) are LONG entries of 12 bytes; the value is their last 4.
    for tag in [256u16, 257] {
        let entry = bytes.windows(4).position(|w| w[..2] == tag.to_le_bytes() && w[2..] == [4, 0]).unwrap();
        bytes[entry + 8..entry + 12].copy_from_slice(&100_000u32.to_le_bytes());
    }
    std::fs::write(&path, bytes).unwrap();
    let error = read_label_map(&path, 1).unwrap_err();
    let length = std::fs::metadata(&path).unwrap().len();
    let (promised, there) = ("40000000000 bytes", format!("found a file of {length} bytes"));
    let text = error.to_string();
    assert!(matches!(error, Error::Truncated { .. }) && text.contains(promised) && text.contains(&there), "{text}");
}

#[test]
fn an_empty_map_is_refused() {
    let map = LabelMap { width: 0, height: 3, labels: vec![] };
    assert!(matches!(write_label_map("unused.tif", &map), Err(Error::Config { .. })));
}
