use std::path::Path;

use image::{DynamicImage, codecs::jpeg::JpegDecoder};
use invar_dataset::seed;

use super::*;

/// Baseline with and without restart markers, grey and in colour; progressive, with subsampled colours.
const NAMES: [&str; 5] = ["grey.jpg", "rgb.jpg", "restarts.jpg", "progressive.jpg", "progressive-restarts.jpg"];

fn specimen(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs/corpus");
    std::fs::read(directory.join(name)).unwrap()
}

fn pixels(bytes: &[u8]) -> Option<Vec<u8>> {
    let decoder = JpegDecoder::new(std::io::Cursor::new(bytes)).ok()?;
    DynamicImage::from_decoder(decoder).ok().map(DynamicImage::into_bytes)
}

/// Where the data of the first scan begins.
fn scan_of(bytes: &[u8]) -> usize {
    let at = bytes.windows(2).position(|pair| pair == [0xff, 0xda]).unwrap();
    at + 2 + usize::from(u16::from_be_bytes([bytes[at + 2], bytes[at + 3]]))
}

#[test]
fn whole_files_are_whole() {
    for name in NAMES {
        assert_eq!(check(&specimen(name)), Ok(()), "{name}");
    }
}

/// Six bytes overwritten anywhere in a scan: either it is reported, or the decoder finds all blocks; it leaves missing
/// blocks grey.
#[test]
fn damage_is_not_swallowed() {
    let mut num_said = 0;
    for name in NAMES {
        let whole = specimen(name);
        let picture = pixels(&whole).unwrap();
        let start = scan_of(&whole);
        for round in 0..200 {
            let mut state = seed::mix(7, round);
            let mut bytes = whole.clone();
            let at = start + state as usize % (whole.len() - start - 8);
            for byte in &mut bytes[at..at + 6] {
                state = seed::mix(state, 1);
                *byte = state as u8;
            }
            if check(&bytes).is_err() {
                num_said += 1;
                continue;
            }
            let Some(found) = pixels(&bytes) else { continue };
            let is_lost = |(before, after): (&u8, &u8)| *before != 128 && *after == 128;
            let num_lost = picture.iter().zip(&found).filter(|pair| is_lost(*pair)).count();
            assert!(num_lost * 10 < picture.len(), "{name}, round {round}: {num_lost} of {} values", picture.len());
        }
    }
    assert!(num_said > 700, "{num_said} of 1000");
}

#[test]
fn a_lost_restart_interval_is_named() {
    let whole = specimen("restarts.jpg");
    let markers: Vec<usize> =
        (0..whole.len() - 1).filter(|&at| whole[at] == 0xff && (0xd0..=0xd7).contains(&whole[at + 1])).collect();
    let mut bytes = whole.clone();
    bytes.drain(markers[0]..markers[1]);
    let damage = check(&bytes).unwrap_err();
    assert!(damage.expected.contains("0xd0") && damage.found.contains("0xd1"), "{damage:?}");
}
