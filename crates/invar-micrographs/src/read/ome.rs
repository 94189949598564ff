//! OME-XML: pixel sizes and the names of channels. <https://docs.openmicroscopy.org/ome-model/>

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use crate::{Note, PixelSize, PixelSizeSource, read::units};

/// Metadata of the pages of a file.
#[derive(Debug, Default)]
pub(crate) struct Ome {
    /// By index of the directory in the main chain, from 0.
    pages: BTreeMap<u64, OmePage>,
    /// Applies to every page that is not listed: known only if the file has one image.
    only: OmePage,
    /// Number of pages said to be in this file.
    num_said: u64,
}

/// Metadata of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OmePage {
    pub(crate) name: Option<String>,
    pub(crate) pixel_size: Option<PixelSize>,
    /// Whether only the width of a pixel is stated.
    pub(crate) is_square_assumed: bool,
}

impl Ome {
    /// Reads the description of the first page; empty if it is not OME-XML. `file_name` picks this file out of a set,
    /// `num_pages` limits the list.
    pub(crate) fn parse(description: &str, file_name: &str, num_pages: u64) -> Option<Self> {
        let description = description.trim();
        if !description.ends_with("OME>") {
            return None;
        }
        let document = Document::parse(description).ok()?;
        let root = document.root_element();
        if root.tag_name().name() != "OME" {
            return None;
        }
        let mut ome = Self::default();
        let images: Vec<Pixels> = children(root, "Image").filter_map(Pixels::read).collect();
        if let [image] = images.as_slice() {
            ome.only = image.unnamed();
        }
        for image in &images {
            ome.num_said = ome.num_said.max(image.list(&mut ome.pages, file_name, num_pages));
        }
        Some(ome)
    }

    /// The metadata of a directory, counted from 0.
    pub(crate) fn page(&self, index: u64) -> OmePage {
        self.pages.get(&index).unwrap_or(&self.only).clone()
    }

    /// A note if the description mentions more directories of this file than there are.
    pub(crate) fn missing_pictures(&self, num_pages: u64) -> Option<Note> {
        (self.num_said > num_pages).then_some(Note::FewerPictures { said: self.num_said, found: num_pages })
    }
}

/// An `Image` with its `Pixels`.
struct Pixels<'a> {
    node: Node<'a, 'a>,
    image_name: Option<&'a str>,
    pixel_size: Option<PixelSize>,
    is_square_assumed: bool,
    channel_names: Vec<Option<&'a str>>,
    /// Sizes by `DimensionOrder`, fastest first: letters of Z, C and T.
    dimensions: [(char, u64); 3],
}

impl<'a> Pixels<'a> {
    fn read(image: Node<'a, 'a>) -> Option<Self> {
        let node = children(image, "Pixels").next()?;
        let length = |axis: &str| {
            let size: f64 = node.attribute(format!("PhysicalSize{axis}").as_str())?.trim().parse().ok()?;
            let unit = node.attribute(format!("PhysicalSize{axis}Unit").as_str()).unwrap_or("µm");
            Some(size * units::nanometres(unit)?)
        };
        // The height may be missing; one that is present but not a length is not the width either.
        let is_square_assumed = node.attribute("PhysicalSizeY").is_none();
        let y_nm = if is_square_assumed { length("X") } else { length("Y") };
        let pixel_size = length("X").zip(y_nm).and_then(|(x, y)| PixelSize::new(x, y, PixelSizeSource::Ome));
        let size = |letter: char| {
            let size = node.attribute(format!("Size{letter}").as_str()).and_then(|size| size.parse().ok());
            (letter, size.unwrap_or(1u64).max(1))
        };
        let order = node.attribute("DimensionOrder").unwrap_or("XYZCT");
        let mut letters: Vec<char> = order.chars().filter(|letter| "ZCT".contains(*letter)).collect();
        letters.dedup();
        let dimensions = <[char; 3]>::try_from(letters).unwrap_or(['Z', 'C', 'T']).map(size);
        let channel_names = children(node, "Channel").map(|channel| channel.attribute("Name")).collect();
        let image_name = image.attribute("Name");
        Some(Self { node, image_name, pixel_size, is_square_assumed, channel_names, dimensions })
    }

    fn unnamed(&self) -> OmePage {
        OmePage { name: None, pixel_size: self.pixel_size, is_square_assumed: self.is_square_assumed }
    }

    /// Records which directory holds which plane; returns how many directories the file must then have.
    fn list(&self, pages: &mut BTreeMap<u64, OmePage>, file_name: &str, num_pages: u64) -> u64 {
        let mut num_said = 0;
        for data in children(self.node, "TiffData") {
            let number = |name: &str| data.attribute(name).and_then(|number| number.parse::<u64>().ok());
            let other_file = children(data, "UUID").filter_map(|uuid| uuid.attribute("FileName"));
            if other_file.into_iter().any(|name| name != file_name) {
                continue;
            }
            let first = number("IFD").unwrap_or(0);
            let count = number("PlaneCount").unwrap_or(if number("IFD").is_some() { 1 } else { num_pages });
            num_said = num_said.max(first.saturating_add(count));
            let plane = self.plane_of(|letter| number(&format!("First{letter}")).unwrap_or(0));
            for index in 0..count.min(num_pages) {
                let page = first.saturating_add(index);
                if page < num_pages {
                    pages.entry(page).or_insert_with(|| self.describe(plane.saturating_add(index)));
                }
            }
        }
        num_said
    }

    fn plane_of(&self, first: impl Fn(char) -> u64) -> u64 {
        let mut stride = 1u64;
        let mut plane = 0u64;
        for (letter, size) in self.dimensions {
            plane = plane.saturating_add(first(letter).saturating_mul(stride));
            stride = stride.saturating_mul(size);
        }
        plane
    }

    /// Image, channel, and position in the stack, if there is more than one.
    fn describe(&self, plane: u64) -> OmePage {
        let mut parts: Vec<String> =
            self.image_name.filter(|name| !name.is_empty()).map(Into::into).into_iter().collect();
        let mut rest = plane;
        for (letter, size) in self.dimensions {
            let at = rest % size;
            rest /= size;
            let name = self.channel_names.get(at as usize).copied().flatten().filter(|_| letter == 'C');
            match name {
                Some(name) => parts.push(name.into()),
                None if size > 1 => parts.push(format!("{letter}{at}")),
                None => {}
            }
        }
        OmePage { name: (!parts.is_empty()).then(|| parts.join(" ")), ..self.unnamed() }
    }
}

/// Children by local name: the namespace contains the version of the schema.
fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}
