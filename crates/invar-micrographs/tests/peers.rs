//! The readers against other implementations, on random pictures: TIFF as the crate `tiff` writes it, MRC as `mrc`
//! writes it.

use std::{fs::File, io::BufWriter, path::Path};

use invar_micrographs::{Band, Samples, open};
use proptest::prelude::*;
use tiff::encoder::{Compression, DeflateLevel, Predictor, TiffEncoder, colortype};

fn read(path: &Path, max_pixels: u64) -> Vec<Samples> {
    let mut file = open(path).unwrap();
    let mut bands = Vec::new();
    file.read_bands(0, max_pixels, &mut |band: Band| {
        bands.push(band.samples);
        Ok(())
    })
    .unwrap();
    bands
}

macro_rules! values {
    ($bands:expr, $variant:ident) => {
        $bands
            .into_iter()
            .flat_map(|band| match band {
                Samples::$variant(values) => values,
                other => panic!("{:?}", other.sample_type()),
            })
            .collect::<Vec<_>>()
    };
}

fn encoder(path: &Path, scheme: u8) -> Result<TiffEncoder<BufWriter<File>>, tiff::TiffError> {
    let compression = match scheme % 4 {
        0 => Compression::Uncompressed,
        1 => Compression::Lzw,
        2 => Compression::Deflate(DeflateLevel::Fast),
        _ => Compression::Packbits,
    };
    let predictor = if scheme >= 4 && matches!(scheme % 4, 1 | 2) { Predictor::Horizontal } else { Predictor::None };
    let file = BufWriter::new(File::create(path).unwrap());
    Ok(TiffEncoder::new(file)?.with_compression(compression).with_predictor(predictor))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn tiff_comes_back(
        (width, height, seed) in (1u32..60, 1u32..60, any::<u64>()),
        scheme in 0u8..8,
        rows_per_strip in 1u32..20,
        max_pixels in 1u64..4000,
    ) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.tif");
        let value = |index: u32| (seed.wrapping_mul(u64::from(index) + 1) >> 40) as u16 & 0x3ff;
        let grey: Vec<u16> = (0..width * height).map(value).collect();
        let mut file = encoder(&path, scheme).unwrap();
        let mut image = file.new_image::<colortype::Gray16>(width, height).unwrap();
        image.rows_per_strip(rows_per_strip).unwrap();
        image.write_data(&grey).unwrap();
        drop(file);
        prop_assert_eq!(values!(read(&path, max_pixels), U16), grey);

        let colour: Vec<u8> = (0..3 * width * height).map(|index| value(index) as u8).collect();
        let mut file = encoder(&path, scheme).unwrap();
        let mut image = file.new_image::<colortype::RGB8>(width, height).unwrap();
        image.rows_per_strip(rows_per_strip).unwrap();
        image.write_data(&colour).unwrap();
        drop(file);
        prop_assert_eq!(values!(read(&path, max_pixels), U8), colour);
    }

    #[test]
    fn mrc_comes_back((width, height, depth) in (1usize..20, 1usize..20, 1usize..4), seed in any::<u32>()) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.mrc");
        let values: Vec<f32> = (0..width * height * depth).map(|i| (seed.wrapping_mul(i as u32 + 1) >> 8) as f32).collect();
        mrc::write_as(&path, &values, [width, height, depth]).unwrap();
        prop_assert_eq!(open(&path).unwrap().pages().len(), depth);
        prop_assert_eq!(values!(read(&path, 50), F32), &values[..width * height]);
    }
}
