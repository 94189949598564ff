use std::{fs, path::Path};

use proptest::prelude::*;

use super::*;
use crate::{LabelMap, Neighbors, PixelsRef, Samples, measured::Measured};

fn metadata() -> Metadata {
    Metadata {
        name: "a".into(),
        source: "a.tif".into(),
        page: 1,
        page_name: None,
        sample_type: SampleType::U8,
        levels: Levels { low: 0.0, high: 1.0 },
        pixel_size: None,
        crop_bottom_px: 0,
        banner: None,
        columns: BTreeMap::from([("steel".into(), "316L".into())]),
        facts: None,
        classes: None,
    }
}

/// A shard of an image whose labels are `labels`, written in bands of two rows, then cropped.
fn write(path: &Path, [channels, height, width]: [usize; 3], interleaved: &Samples, labels: &[u32], crop: u32) {
    let sample_type = interleaved.sample_type();
    let size = [channels as u32, height as u32 + crop, width as u32];
    let mut writer = ShardWriter::create(path, size, StoredType::of(sample_type)).unwrap();
    let row = channels * width;
    for first in (0..height + crop as usize).step_by(2) {
        let rows = 2.min(height + crop as usize - first);
        let values = first * row..(first + rows) * row;
        let band = match interleaved {
            Samples::U8(v) => Samples::U8(v[values].to_vec()),
            Samples::U16(v) => Samples::U16(v[values].to_vec()),
            Samples::I16(v) => Samples::I16(v[values].to_vec()),
            _ => unreachable!("not used here"),
        };
        assert_eq!(writer.write_band(first as u32, rows as u32, &band).unwrap().count, 0);
    }
    if crop > 0 {
        writer.crop(height as u32).unwrap();
    }
    let pixels = writer.pixels().unwrap();
    let map = LabelMap { width, height, labels: labels.to_vec() };
    let measured = Measured::labels(&map, pixels.image());
    drop(pixels);
    writer.finish(&metadata(), &measured).unwrap();
}

/// Reads everything there is: the result must be an error or a value, never a panic.
fn read_everything(shard: &ShardFile) {
    let _ = (shard.metadata(), shard.regions(), shard.edges(), shard.masks(), shard.image());
}

fn values(pixels: PixelsRef<'_>) -> Vec<f64> {
    match pixels {
        PixelsRef::U8(v) => v.iter().map(|&v| v.into()).collect(),
        PixelsRef::U16(v) => v.iter().map(|&v| v.into()).collect(),
        PixelsRef::F32(v) => v.iter().map(|&v| v.into()).collect(),
    }
}

proptest! {
    #[test]
    fn an_image_is_read_as_it_was_written(
        (channels, height, width, crop) in (1usize..4, 1usize..7, 1usize..9, 0u32..4),
        seed in any::<u64>(),
        which in 0usize..3,
    ) {
        let number = |i: usize| invar_dataset::seed::mix(seed, i as u64);
        let count = channels * (height + crop as usize) * width;
        let samples = match which {
            0 => Samples::U8((0..count).map(|i| number(i) as u8).collect()),
            1 => Samples::U16((0..count).map(|i| number(i) as u16).collect()),
            _ => Samples::I16((0..count).map(|i| number(i) as i16).collect()),
        };
        let labels: Vec<u32> = (0..height * width).map(|i| (number(i + 1000) % 4) as u32).collect();
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.shard");
        write(&path, [channels, height, width], &samples, &labels, crop);
        let shard = ShardFile::open(&path).unwrap();
        prop_assert_eq!(shard.metadata().unwrap(), metadata());
        let image = shard.image();
        prop_assert_eq!((image.channels, image.height, image.width), (channels, height, width));
        let found = values(image.pixels);
        for channel in 0..channels {
            for pixel in 0..height * width {
                let interleaved = pixel * channels + channel;
                let expected = match &samples {
                    Samples::U8(v) => f64::from(v[interleaved]),
                    Samples::U16(v) => f64::from(v[interleaved]),
                    Samples::I16(v) => f64::from(v[interleaved]),
                    _ => unreachable!("not used here"),
                };
                prop_assert_eq!(found[channel * height * width + pixel], expected);
            }
        }
        // The masks agree with the labels.
        let (regions, offsets) = shard.regions().unwrap();
        for (region, offset) in regions.iter().zip(offsets) {
            let [top, left, bottom, right] = region.bbox_px.map(|edge| edge as usize);
            for (row, column) in (top..bottom).flat_map(|row| (left..right).map(move |column| (row, column))) {
                let bit = (row - top) * (right - left) + column - left;
                let is_inside = shard.masks()[offset as usize + bit / 8] >> (bit % 8) & 1 != 0;
                prop_assert_eq!(is_inside, labels[row * width + column] == region.label);
            }
        }
        prop_assert_eq!(regions.iter().map(|r| r.area_px).sum::<u64>(), labels.iter().filter(|&&l| l > 0).count() as u64);
    }

    #[test]
    fn a_damaged_shard_is_an_error_or_other_values(at in 0usize..700, byte in any::<u8>(), cut in 0usize..900) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.shard");
        write(&path, [1, 3, 4], &Samples::U16((0..12).collect()), &[1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 3, 3], 0);
        let mut bytes = fs::read(&path).unwrap();
        if let Some(place) = bytes.get_mut(at) {
            *place = byte;
        }
        bytes.truncate(bytes.len().saturating_sub(cut.saturating_sub(300)));
        fs::write(&path, bytes).unwrap();
        if let Ok(shard) = ShardFile::open(&path) {
            read_everything(&shard);
        }
    }
}

#[test]
fn the_same_image_is_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let paths = ["a", "b"].map(|name| directory.path().join(name));
    for path in &paths {
        write(path, [1, 3, 4], &Samples::U16((0..12).collect()), &[1, 1, 2, 2, 1, 1, 2, 2, 0, 0, 3, 3], 0);
    }
    assert_eq!(fs::read(&paths[0]).unwrap(), fs::read(&paths[1]).unwrap());
    let shard = ShardFile::open(&paths[0]).unwrap();
    let edges =
        [(1, 2, 2, 2), (2, 3, 2, 0)].map(|(a, b, boundary_px, upright_px)| Neighbors { a, b, boundary_px, upright_px });
    assert_eq!(shard.edges()[0], edges[0]);
}
