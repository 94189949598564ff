//! OME-XML: pixel sizes and the names of channels. <https://docs.openmicroscopy.org/ome-model/>

use std::collections::BTreeMap;

use roxmltree::{Document, Node};

use crate::{PixelSize, PixelSizeSource, read::units};

/// What is said of the pages of a file.
#[derive(Debug, Default)]
pub(crate) struct Ome {
    /// By number of the directory in the main chain, from 0.
    pages: BTreeMap<u64, OmePage>,
    /// What holds for every page that is not listed: known where the file has one image only.
    only: Option<PixelSize>,
}

/// What is said of a page.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct OmePage {
    pub(crate) name: Option<String>,
    pub(crate) pixel_size: Option<PixelSize>,
}

impl Ome {
    /// Reads the description of the first page; nothing where it is no OME-XML. `file_name` picks this file out of a
    /// set, `num_pages` bounds the list.
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
            ome.only = image.pixel_size;
        }
        for image in &images {
            image.list(&mut ome.pages, file_name, num_pages);
        }
        Some(ome)
    }

    /// What is said of a directory, counted from 0.
    pub(crate) fn page(&self, index: u64) -> OmePage {
        let unlisted = || OmePage { name: None, pixel_size: self.only };
        self.pages.get(&index).cloned().unwrap_or_else(unlisted)
    }
}

/// An `Image` with its `Pixels`.
struct Pixels<'a> {
    node: Node<'a, 'a>,
    image_name: Option<&'a str>,
    pixel_size: Option<PixelSize>,
    channel_names: Vec<Option<&'a str>>,
    /// Sizes by `DimensionOrder`, the fastest first: letters of Z, C and T.
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
        let x_nm = length("X");
        let pixel_size = x_nm.and_then(|x| PixelSize::new(x, length("Y").unwrap_or(x), PixelSizeSource::Ome));
        let size = |letter: char| {
            let size = node.attribute(format!("Size{letter}").as_str()).and_then(|size| size.parse().ok());
            (letter, size.unwrap_or(1u64).max(1))
        };
        let order = node.attribute("DimensionOrder").unwrap_or("XYZCT");
        let mut letters: Vec<char> = order.chars().filter(|letter| "ZCT".contains(*letter)).collect();
        letters.dedup();
        let dimensions = <[char; 3]>::try_from(letters).unwrap_or(['Z', 'C', 'T']).map(size);
        let channel_names = children(node, "Channel").map(|channel| channel.attribute("Name")).collect();
        Some(Self { node, image_name: image.attribute("Name"), pixel_size, channel_names, dimensions })
    }

    /// Says which directory holds which plane.
    fn list(&self, pages: &mut BTreeMap<u64, OmePage>, file_name: &str, num_pages: u64) {
        for data in children(self.node, "TiffData") {
            let number = |name: &str| data.attribute(name).and_then(|number| number.parse::<u64>().ok());
            let other_file = children(data, "UUID").filter_map(|uuid| uuid.attribute("FileName"));
            if other_file.into_iter().any(|name| name != file_name) {
                continue;
            }
            let first = number("IFD").unwrap_or(0);
            let count = number("PlaneCount").unwrap_or(if number("IFD").is_some() { 1 } else { num_pages });
            let plane = self.plane_of(|letter| number(&format!("First{letter}")).unwrap_or(0));
            for index in 0..count.min(num_pages) {
                let page = first.saturating_add(index);
                if page < num_pages {
                    pages.entry(page).or_insert_with(|| self.describe(plane.saturating_add(index)));
                }
            }
        }
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

    /// Image, channel, and place in the stack, as far as there is more than one.
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
        OmePage { name: (!parts.is_empty()).then(|| parts.join(" ")), pixel_size: self.pixel_size }
    }
}

/// Children by local name: the namespace carries the version of the schema.
fn children<'a>(node: Node<'a, 'a>, name: &'static str) -> impl Iterator<Item = Node<'a, 'a>> {
    node.children().filter(move |child| child.tag_name().name() == name)
}
