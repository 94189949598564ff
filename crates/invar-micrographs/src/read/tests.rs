use std::path::Path;

use invar_dataset::seed;

use super::{ome::Ome, *};
use crate::PixelSizeSource;

const MAX_PIXELS: u64 = 1 << 16;

/// The valid specimens, by name.
fn specimens() -> Vec<(String, Vec<u8>)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs/corpus");
    let paths = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<_> = paths
        .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read(path).unwrap()))
        .filter(|(_, bytes)| read_bytes(bytes.clone(), MAX_PIXELS).is_ok())
        .collect();
    files.sort();
    assert!(files.len() > 60, "{} specimens", files.len());
    files
}

/// A file cut off anywhere is an error; or gives the same pixels, where only metadata is missing; or gives the pictures
/// before the cut and a note, where it was cut off exactly after a picture.
#[test]
fn every_beginning_of_a_file_is_refused_or_whole() {
    let is_said = |note: &Note| matches!(note, Note::BrokenChain { .. } | Note::FewerPictures { .. });
    for (name, whole) in specimens() {
        let pixels = read_bytes(whole.clone(), MAX_PIXELS).unwrap();
        let step = (whole.len() / 200).max(1);
        for len in (0..whole.len()).step_by(step) {
            let cut = whole[..len].to_vec();
            match read_bytes(cut.clone(), MAX_PIXELS) {
                Ok(read) if read.len() < pixels.len() => {
                    let file = ImageFile::new(ByteSource::of_bytes(cut), Purpose::Picture).unwrap();
                    assert!(file.notes().iter().any(is_said), "{name} cut to {len} bytes: nothing is said");
                    assert!(read == pixels[..read.len()], "{name} cut to {len} bytes gives other pixels");
                }
                Ok(read) => assert!(read == pixels, "{name} cut to {len} bytes gives other pixels"),
                Err(error) => assert!(error.is_bad_input(), "{name} cut to {len} bytes: {error}"),
            }
        }
    }
}

/// A few bytes changed anywhere: pixels or an error, never a panic.
#[test]
fn damaged_files_do_not_panic() {
    for (file, (name, whole)) in specimens().into_iter().enumerate() {
        for round in 0..150u64 {
            let mut state = seed::mix(file as u64, round);
            let mut bytes = whole.clone();
            for _ in 0..1 + round % 4 {
                state = seed::mix(state, 1);
                // Headers are at the beginning or at the end.
                let span = if state & 1 == 0 { bytes.len().min(300) } else { bytes.len() };
                let at = (state >> 8) as usize % span;
                bytes[at] = [0, 1, 0x7f, 0x80, 0xff, (state >> 40) as u8][(state >> 4) as usize % 6];
            }
            if let Err(error) = read_bytes(bytes, 64) {
                assert!(error.is_bad_input(), "{name}, round {round}: {error}");
            }
        }
    }
}

#[test]
fn units_of_length() {
    for (unit, nm) in
        [("Microns", 1e3), ("Micrometers", 1e3), ("UM", 1e3), ("NM", 1.0), ("nanometers", 1.0), ("MM", 1e6)]
    {
        assert_eq!(units::nanometres(unit), Some(nm), "{unit}");
    }
    for (unit, nm) in [
        ("µm", 1e3),
        ("Âµm", 1e3),
        ("meters", 1e9),
        ("Angstroms", 0.1),
        ("CM", 1e7),
        ("pm", 1e-3),
        ("μm", 1e3),
        ("\\u00B5m", 1e3),
        ("micron", 1e3),
        ("nm", 1.0),
        ("Å", 0.1),
    ] {
        assert_eq!(units::nanometres(unit), Some(nm), "{unit}");
    }
    for unit in ["", "pixel", "pixels", "1/nm", "inch", "s", "nm^-1", "Mm", "Pm", "cms^-1"] {
        assert_eq!(units::nanometres(unit), None, "{unit}");
    }
}

/// Planes of a multi-channel stack by `DimensionOrder` XYCZT: the channel runs first.
#[test]
fn ome_planes_are_named() {
    let xml = r#"<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06"><Image ID="Image:0">
        <Pixels DimensionOrder="XYCZT" SizeX="4" SizeY="4" SizeC="2" SizeZ="3" SizeT="1" PhysicalSizeX="0.5"
        PhysicalSizeY="250" PhysicalSizeYUnit="nm"><Channel Name="red"/><Channel/><TiffData/></Pixels></Image></OME>"#;
    let ome = Ome::parse(xml, "x", 6).unwrap();
    assert_eq!(ome.page(0).name.as_deref(), Some("red Z0"));
    assert_eq!(ome.page(5).name.as_deref(), Some("C1 Z2"));
    let size = ome.page(5).pixel_size.unwrap();
    assert_eq!((size.x_nm, size.y_nm, size.source), (500.0, 250.0, PixelSizeSource::Ome));
    assert!(Ome::parse("<OME>", "x", 6).is_none());
}

/// numpy.uint16([...]).view(numpy.float16).astype(float)
#[test]
fn half_precision() {
    let bits = [0x3c00u16, 0xc000, 0x7bff, 1, 0x8000, 0x7c00, 0x7e00];
    let fill = |bytes: &mut [u8]| {
        bytes.copy_from_slice(bytemuck::cast_slice(&bits));
        Ok(())
    };
    let Samples::F32(values) = samples::collect(samples::Stored::F16, bits.len(), fill).unwrap() else {
        panic!("no floats")
    };
    assert_eq!(values[..5], [1.0, -2.0, 65504.0, 5.960_464_5e-8, -0.0]);
    assert!(values[5].is_infinite() && values[6].is_nan());
}
