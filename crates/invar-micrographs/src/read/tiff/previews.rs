//! Which pages of the chain are separate pictures, and which are smaller copies of another, masks, or photographs of a
//! slide.

use crate::{
    Error, Preview,
    read::{
        ByteSource,
        tiff::directory::{Directory, Header, tag},
    },
};

/// What a page is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Picture,
    /// Has the shape of another page (1-based), but smaller; nothing else suggests that it is a copy.
    Copy {
        of: u32,
    },
    LeftOut(Preview),
}

/// Minimum reduction of a smaller copy: programs that write pyramids into the chain reduce each level by at least this.
const LEAST_FACTOR: f64 = 1.9;

/// The properties of a page that matter.
struct Page {
    number: u32,
    width: u64,
    height: u64,
    num_values: u64,
    is_tiled: bool,
    description: String,
    flagged: Option<Preview>,
}

/// What each directory is. At least one is a picture.
pub(crate) fn find(source: &ByteSource, header: &Header, directories: &[Directory]) -> Result<Vec<Kind>, Error> {
    let pages = directories.iter().map(|directory| Page::read(source, header, directory));
    let mut pages = pages.collect::<Result<Vec<_>, _>>()?;
    // Aperio, Ventana.
    let is_slide =
        pages.iter().any(|page| page.description.starts_with("Aperio") || page.description.starts_with("level="));
    for page in &mut pages {
        let is_small = page.flagged == Some(Preview::Reduced);
        page.flagged = of_words(&page.description).filter(|_| is_slide || is_small).or(page.flagged);
    }
    let whole = || pages.iter().filter(|page| page.flagged.is_none());
    let largest = |page: &&Page| (page.width * page.height, std::cmp::Reverse(page.number));
    let Some(main) = whole().max_by_key(largest).or_else(|| pages.iter().max_by_key(largest)) else {
        return Ok(Vec::new());
    };
    let of_main = &directories[main.number as usize - 1];
    if main.flagged.is_some() && of_main.has(tag::SUB_DIRECTORIES) {
        let feature = "a camera's raw file, in which only previews are pages,";
        return Err(source.unsupported(feature, "convert it to TIFF"));
    }
    Ok(pages.iter().map(|page| page.kind(main, is_slide)).collect())
}

impl Page {
    fn read(source: &ByteSource, header: &Header, directory: &Directory) -> Result<Self, Error> {
        let number = |tag| Ok::<_, Error>(directory.number(source, header, tag)?.unwrap_or(0));
        let description = directory.text(source, tag::DESCRIPTION).unwrap_or_default();
        let kind = number(tag::SUBFILE_TYPE)?;
        let is_reduced = kind & 1 != 0 || number(tag::OLD_SUBFILE_TYPE)? == 2;
        // The lens in Hamamatsu's NDPI: of the slide as a whole, of its map, of a level.
        let lens = directory.real(source, header, tag::NDPI_LENS);
        let flagged = match lens {
            Some(-1.0) => Some(Preview::Macro),
            Some(-2.0) => Some(Preview::Mask),
            _ if kind & 4 != 0 => Some(Preview::Mask),
            // Aperio's flag of the macro picture.
            _ if kind == 9 => Some(Preview::Macro),
            _ => is_reduced.then_some(Preview::Reduced),
        };
        Ok(Self {
            number: directory.page,
            width: number(tag::WIDTH)?,
            height: number(tag::HEIGHT)?,
            num_values: directory.number(source, header, tag::SAMPLES)?.unwrap_or(1),
            is_tiled: directory.has(tag::TILE_OFFSETS),
            description,
            flagged,
        })
    }

    fn kind(&self, main: &Self, is_slide: bool) -> Kind {
        if self.number == main.number {
            return Kind::Picture;
        }
        if let Some(flagged) = self.flagged {
            return Kind::LeftOut(flagged);
        }
        let is_made_smaller = is_slide && self.description.contains("->");
        let is_copy = self.is_scaled(main);
        match () {
            () if is_made_smaller || is_copy && (main.is_tiled || is_slide) => Kind::LeftOut(Preview::Reduced),
            () if is_copy => Kind::Copy { of: main.number },
            () => Kind::Picture,
        }
    }

    /// Whether this is the shape of another page, divided by a number, to within a pixel.
    fn is_scaled(&self, main: &Self) -> bool {
        if self.width == 0 || self.height == 0 || self.num_values != main.num_values {
            return false;
        }
        let (across, down) = (main.width as f64 / self.width as f64, main.height as f64 / self.height as f64);
        let is_near = |size: u64, of: u64, factor: f64| (size as f64 - of as f64 / factor).abs() <= 1.0;
        across.min(down) >= LEAST_FACTOR
            && (is_near(self.height, main.height, across) || is_near(self.width, main.width, down))
    }
}

/// The kind of page according to its description: Aperio's second line, the first word in others.
fn of_words(description: &str) -> Option<Preview> {
    let mut lines = description.lines().map(str::trim);
    let first = lines.next().unwrap_or("");
    let line = if first.starts_with("Aperio") { lines.next().unwrap_or("") } else { first };
    if let Some(level) = line.strip_prefix("level=") {
        return level.starts_with(|digit: char| ('1'..='9').contains(&digit)).then_some(Preview::Reduced);
    }
    match line.split([' ', '_']).next().unwrap_or("").to_lowercase().as_str() {
        "label" => Some(Preview::Label),
        "macro" => Some(Preview::Macro),
        "thumbnail" => Some(Preview::Reduced),
        _ => None,
    }
}
