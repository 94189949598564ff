//! Digital Micrograph, DM3 and DM4.

use crate::{
    Error, Note, Orientation, PageInfo, PixelSize, PixelSizeSource, SampleType,
    read::{
        ByteSource, Format, Opened, Pixels,
        raw::{Pixel, Plane},
        samples::Stored,
        units,
    },
};

mod tags;

use tags::Tag;

/// The pictures except the thumbnails; the planes of a stack are pages.
pub(crate) fn open(source: &ByteSource, format: Format) -> Result<Opened, Error> {
    let (root, big_endian) = tags::read(source, format == Format::Dm4)?;
    let list = root.get("ImageList").ok_or_else(|| source.corrupt("the tag ImageList", "a list of images", "none"))?;
    let is_thumbnail = |index: usize| {
        let thumbnails = root.get("Thumbnails").into_iter().flat_map(Tag::children);
        thumbnails.filter_map(|tag| tag.get("ImageIndex")?.number()).any(|number| number == index as f64)
    };
    let mut opened = Opened::new(format, Vec::new(), Pixels::Raw(Vec::new()));
    let mut planes = Vec::new();
    for (index, image) in list.children().enumerate().filter(|(index, _)| !is_thumbnail(*index)) {
        let image = Image { source, image, index, big_endian };
        if image.is_spectrum()? {
            opened.notes.push(Note::NoPicture { what: format!("image {index}, which is a spectrum,") });
            continue;
        }
        add_image(&image, &mut opened.pages, &mut planes)?;
    }
    if opened.pages.is_empty() {
        return Err(match opened.notes.is_empty() {
            true => source.corrupt("the list of images", "an image that is no thumbnail", "none"),
            false => source.unsupported("a spectrum (fewer than two dimensions)", ""),
        });
    }
    opened.pixels = Pixels::Raw(planes);
    Ok(opened)
}

struct Image<'a> {
    source: &'a ByteSource,
    image: &'a Tag,
    index: usize,
    big_endian: bool,
}

fn add_image(image: &Image<'_>, pages: &mut Vec<PageInfo>, planes: &mut Vec<Plane>) -> Result<(), Error> {
    let (stored, pixel) = image.stored()?;
    let (width, height, num_slices) = image.size()?;
    let info = PageInfo {
        name: image.image.get("Name").and_then(Tag::text).filter(|name| !name.is_empty()).map(String::from),
        width,
        height,
        channels: if pixel == Pixel::Bgra { 3 } else { 1 },
        sample_type: stored.sample_type(),
        pixel_size: image.pixel_size(),
        is_lossy: false,
        orientation: Orientation::UPRIGHT,
        notes: Vec::new(),
    };
    let Some(&Tag::Array { offset, num_bytes, .. }) = image.image.at(&["ImageData", "Data"]) else {
        return Err(image.corrupt("ImageData.Data", "an array", "none"));
    };
    let plane = Plane { offset, stored, big_endian: image.big_endian, pixel };
    let slice_bytes = u128::from(plane.row_bytes(&info)) * u128::from(height);
    let needed = slice_bytes * u128::from(num_slices);
    if needed > u128::from(num_bytes) {
        let expected = format!("{needed} for {num_slices} x {height} x {width} pixels");
        return Err(image.corrupt("the bytes of ImageData.Data", &expected, num_bytes));
    }
    for slice in 0..num_slices {
        pages.push(info.clone());
        planes.push(Plane { offset: offset + slice * slice_bytes as u64, ..plane });
    }
    Ok(())
}

impl Image<'_> {
    fn corrupt(&self, what: &str, expected: &str, found: impl std::fmt::Display) -> Error {
        self.source.corrupt(format!("{what} of image {}", self.index), expected, found)
    }

    /// Number type, by the codes of `ImageData.DataType`.
    fn stored(&self) -> Result<(Stored, Pixel), Error> {
        let code = self.image.at(&["ImageData", "DataType"]).and_then(Tag::number).unwrap_or(0.0);
        let kind = match code as i64 {
            1 => SampleType::I16,
            2 => SampleType::F32,
            6 => SampleType::U8,
            7 => SampleType::I32,
            9 => SampleType::I8,
            10 => SampleType::U16,
            11 => SampleType::U32,
            12 => SampleType::F64,
            14 => return Ok((Stored::Bool, Pixel::Channels)),
            23 => return Ok((Stored::As(SampleType::U8), Pixel::Bgra)),
            3 | 5 | 13 | 27 | 28 => return Err(self.source.unsupported("complex numbers", "save the magnitude")),
            39 => SampleType::I64,
            40 => SampleType::U64,
            _ => return Err(self.corrupt("ImageData.DataType", "1 to 40", code)),
        };
        Ok((Stored::As(kind), Pixel::Channels))
    }

    fn dimensions(&self) -> Result<Vec<f64>, Error> {
        let sizes = self.image.at(&["ImageData", "Dimensions"]);
        let sizes: Vec<f64> = sizes.into_iter().flat_map(Tag::children).filter_map(Tag::number).collect();
        if let Some(size) = sizes.iter().find(|&&size| !(1.0..=f64::from(i32::MAX)).contains(&size)) {
            return Err(self.corrupt("ImageData.Dimensions", "at least 1", size));
        }
        Ok(sizes)
    }

    fn is_spectrum(&self) -> Result<bool, Error> {
        Ok(self.dimensions()?.len() < 2)
    }

    /// Columns, rows, and the product of the other dimensions.
    fn size(&self) -> Result<(u32, u32, u64), Error> {
        let sizes = self.dimensions()?;
        let [width, height, rest @ ..] = sizes.as_slice() else {
            return Err(self.corrupt("ImageData.Dimensions", "at least two", sizes.len()));
        };
        let num_slices = rest.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
        let num_slices = num_slices.filter(|&number| number <= self.source.len());
        let num_slices =
            num_slices.ok_or_else(|| self.corrupt("ImageData.Dimensions", "as many as fit the file", "more"))?;
        Ok((*width as u32, *height as u32, num_slices))
    }

    fn pixel_size(&self) -> Option<PixelSize> {
        let mut axes = self.image.at(&["ImageData", "Calibrations", "Dimension"])?.children();
        let mut length = || {
            let axis = axes.next()?;
            Some(axis.get("Scale")?.number()? * units::nanometres(axis.get("Units")?.text()?)?)
        };
        PixelSize::new(length()?, length()?, PixelSizeSource::Dm)
    }
}
