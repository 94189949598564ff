//! Pictures stored one after the other under a single directory, which is how programs write stacks of more than 4 GB,
//! or all of their stacks.

use crate::{
    Error, Note, PageInfo,
    read::{
        ByteSource,
        tiff::{
            directory::{Directory, tag},
            layout::Layout,
            vendor::ImageJ,
        },
    },
};

/// How many pictures a directory claims.
struct Claim {
    num_pictures: u64,
    /// Whether the claim may be left over from another file: programs keep a description when they save a part of a
    /// stack.
    may_be_stale: bool,
}

/// Makes a page for each picture under the only directory of a file.
///
/// # Errors
/// If the file ends within the pictures, or they are not stored one after the other.
pub(crate) fn unroll(
    source: &ByteSource,
    directory: &Directory,
    (pages, layouts): (&mut Vec<PageInfo>, &mut Vec<Layout>),
    notes: &mut Vec<Note>,
) -> Result<(), Error> {
    let ([page], [first]) = (pages.as_slice(), layouts.as_slice()) else { return Ok(()) };
    let Some(Claim { num_pictures: said, may_be_stale }) = claim(source, directory, first) else { return Ok(()) };
    let Some(start) = first.start_if_contiguous(source)? else {
        if may_be_stale {
            notes.push(Note::FewerPictures { said, found: 1 });
            return Ok(());
        }
        return Err(source.unsupported(
            format!("{said} planes under one directory that are compressed or not in one piece"),
            "save one TIFF page per plane",
        ));
    };
    let page_bytes = first.page_bytes();
    let room = source.len().saturating_sub(start) / page_bytes.max(1);
    let found = if room >= said {
        said
    } else {
        // The pictures end with the file, or the other content of the file follows the first: nothing was cut off.
        let ends_with_picture = source.len().saturating_sub(start) % page_bytes.max(1) <= 1;
        let is_before_tags = directory.tags_end() > start;
        if !may_be_stale || !(ends_with_picture || is_before_tags) {
            let total = page_bytes.saturating_mul(said);
            source.check_range(start, total, &format!("{said} pictures of {page_bytes} bytes"))?;
        }
        let found = if is_before_tags { 1 } else { room.max(1) };
        notes.push(Note::FewerPictures { said, found });
        found
    };
    let page = page.clone();
    let unrolled = (0..found).map(|index| first.at(start + index * page_bytes, index as u32 + 1)).collect();
    *layouts = unrolled;
    *pages = vec![page; layouts.len()];
    Ok(())
}

/// The directory's claim of more than one picture.
fn claim(source: &ByteSource, directory: &Directory, layout: &Layout) -> Option<Claim> {
    // One value per plane (MetaMorph's file format, UIC2Tag).
    let num_planes = directory.count(tag::UIC2);
    if num_planes > 1 && directory.has(tag::UIC1) {
        return Some(Claim { num_pictures: num_planes, may_be_stale: false });
    }
    let description = directory.text(source, tag::DESCRIPTION)?;
    let num_pictures = match ImageJ::parse(&description) {
        Some(imagej) => imagej.num_images?,
        None => shaped(&description, layout)?,
    };
    (num_pictures > 1).then_some(Claim { num_pictures, may_be_stale: true })
}

/// The pictures of an array as described by `tifffile`: `{"shape": [3, 16, 20]}`.
fn shaped(description: &str, layout: &Layout) -> Option<u64> {
    let said: serde_json::Value = serde_json::from_str(description).ok()?;
    let sizes = said.get("shape")?.as_array()?.iter().map(serde_json::Value::as_u64);
    let num_values = sizes.collect::<Option<Vec<_>>>()?.into_iter().try_fold(1u64, u64::checked_mul)?;
    let of_page = u64::from(layout.width) * u64::from(layout.height) * u64::from(layout.num_stored);
    (num_values % of_page == 0).then_some(num_values / of_page)
}
