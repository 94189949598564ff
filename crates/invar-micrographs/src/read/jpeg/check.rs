//! Checks that the coded data of all scans are intact: every code is in its table, every block ends within itself,
//! every restart interval has exactly the pixels that belong to it. There is no checksum, so a change that preserves
//! all of this cannot be distinguished from a picture.

use super::{
    bits::{Bits, Table, Wrong},
    block::{self, Part, Tables},
};

/// Twice the largest mean of a block of 8-bit pixels: some programs change the brightness of the coded data.
const MAX_MEAN: i32 = 2 * 1024;

/// What is wrong with the coded data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Damage {
    /// Byte offset of the restart interval.
    pub(crate) offset: usize,
    pub(crate) what: String,
    pub(crate) expected: String,
    pub(crate) found: String,
}

/// Walks over all scans. Kinds of JPEG that the decoder rejects are left to it.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Damage> {
    let mut walker = Walker { bytes, frame: None, tables: Default::default(), quantizers: [None; 4], interval: 0 };
    let mut at = 2;
    while let Some((marker, start)) = next_marker(bytes, at) {
        match marker {
            0xd9 => break,
            0 | 1 | 0xd0..=0xd8 => at = start,
            0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => return Ok(()),
            _ => {
                let Some(segment) = segment(bytes, start) else { return Ok(()) };
                at = start + 2 + segment.len();
                let is_whole = match marker {
                    0xc0..=0xc2 => walker.start(marker, segment),
                    0xc4 => walker.define_tables(segment),
                    0xdb => walker.define_quantizers(segment),
                    0xdd => segment.first_chunk().map(|&pair| walker.interval = u16::from_be_bytes(pair).into()),
                    _ => Some(()),
                };
                is_whole.ok_or_else(|| {
                    damaged(start, "a segment", "one that makes sense", format!("marker {marker:#x}"))
                })?;
                if marker == 0xda {
                    match walker.scan(segment) {
                        Some(scan) => at = walker.walk(&scan, at)?,
                        // Tables of its own, or a frame that the decoder rejects.
                        None => return Ok(()),
                    }
                }
            }
        }
    }
    let frame = walker.frame.iter().flat_map(|frame| &frame.components);
    match frame.clone().filter(|component| !component.has_means).count() {
        0 => Ok(()),
        missing => {
            Err(damaged(at, "the scans", &format!("all {} components", frame.count()), format!("{missing} missing")))
        }
    }
}

struct Walker<'a> {
    bytes: &'a [u8],
    frame: Option<Frame>,
    /// For means, and for coefficients.
    tables: [[Option<Table>; 4]; 2],
    /// For means only.
    quantizers: [Option<u16>; 4],
    /// Restart interval; 0 for none.
    interval: usize,
}

struct Frame {
    is_progressive: bool,
    width: usize,
    height: usize,
    components: Vec<Component>,
}

struct Component {
    id: u8,
    /// Blocks of an MCU, across and down.
    across: usize,
    down: usize,
    quantizer: usize,
    /// By block: which coefficients are not zero so far. Progressive frames only.
    nonzero: Vec<u64>,
    has_means: bool,
}

struct Scan {
    /// Index of the component; tables for means and for coefficients.
    members: Vec<(usize, usize, usize)>,
    part: Part,
}

/// A component in a scan.
struct Member<'a> {
    component: usize,
    tables: Tables<'a>,
    /// Its number of blocks in an MCU, across and down.
    columns: usize,
    rows: usize,
    /// Blocks in a row of all MCUs.
    stride: usize,
}

impl Frame {
    fn most(&self, of: impl Fn(&Component) -> usize) -> usize {
        self.components.iter().map(of).max().unwrap_or(1)
    }

    /// MCUs across and down.
    fn units(&self) -> [usize; 2] {
        let across = self.width.div_ceil(8 * self.most(|component| component.across));
        [across, self.height.div_ceil(8 * self.most(|component| component.down))]
    }

    /// Blocks across and down for a component that is alone in a scan (T.81, A.2.2).
    fn blocks(&self, component: &Component) -> [usize; 2] {
        let width = (self.width * component.across).div_ceil(self.most(|component| component.across));
        let height = (self.height * component.down).div_ceil(self.most(|component| component.down));
        [width.div_ceil(8), height.div_ceil(8)]
    }
}

impl Walker<'_> {
    /// A frame header; `None` if it is truncated.
    fn start(&mut self, marker: u8, segment: &[u8]) -> Option<()> {
        let [precision, h1, h0, w1, w0, count, ..] = *segment else { return None };
        let (height, width) = (u16::from_be_bytes([h1, h0]).into(), u16::from_be_bytes([w1, w0]).into());
        let mut components = Vec::new();
        for spec in segment[6..].as_chunks::<3>().0.iter().take(count.into()) {
            let (across, down) = (usize::from(spec[1] >> 4), usize::from(spec[1] & 15));
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) || spec[2] > 3 {
                return None;
            }
            let quantizer = spec[2].into();
            components.push(Component { id: spec[0], across, down, quantizer, nonzero: Vec::new(), has_means: false });
        }
        if components.len() != usize::from(count) || precision != 8 || width == 0 || height == 0 {
            // Left to the decoder.
            return Some(());
        }
        let mut frame = Frame { is_progressive: marker == 0xc2, width, height, components };
        let [across, down] = frame.units();
        for component in frame.components.iter_mut().filter(|_| frame.is_progressive) {
            component.nonzero = vec![0; across * component.across * down * component.down];
        }
        self.frame = Some(frame);
        Some(())
    }

    fn define_tables(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&[place], rest)) = segment.split_first_chunk() {
            let (counts, rest) = rest.split_first_chunk::<16>()?;
            let num_symbols = counts.iter().map(|&count| usize::from(count)).sum();
            let symbols = rest.get(..num_symbols)?;
            let table = self.tables.get_mut(usize::from(place >> 4))?.get_mut(usize::from(place & 15))?;
            *table = Some(Table::new(counts, symbols)?);
            segment = &rest[num_symbols..];
        }
        Some(())
    }

    fn define_quantizers(&mut self, mut segment: &[u8]) -> Option<()> {
        while let Some((&place, rest)) = segment.split_first() {
            let is_wide = place >> 4 != 0;
            let of_mean = if is_wide { u16::from_be_bytes(*rest.first_chunk()?) } else { u16::from(*rest.first()?) };
            *self.quantizers.get_mut(usize::from(place & 15))? = Some(of_mean);
            segment = rest.get(if is_wide { 128 } else { 64 }..)?;
        }
        Some(())
    }

    /// A scan header; `None` if the scan is left to the decoder.
    fn scan(&self, segment: &[u8]) -> Option<Scan> {
        let frame = self.frame.as_ref()?;
        let (&count, rest) = segment.split_first()?;
        let specs = rest.get(..2 * usize::from(count))?.as_chunks::<2>().0;
        let &[first, last, bits, ..] = rest.get(2 * usize::from(count)..)? else { return None };
        let part = match frame.is_progressive {
            true => Part {
                first: first.into(),
                last: last.into(),
                is_refinement: bits >> 4 != 0,
                is_progressive: true,
                shift: (bits & 15).into(),
            },
            false => Part { first: 0, last: 63, is_refinement: false, is_progressive: false, shift: 0 },
        };
        let is_possible = part.first <= part.last && part.last <= 63 && part.shift <= 13 && (1..=4).contains(&count);
        if !is_possible || (part.is_progressive && (part.first == 0) != (part.last == 0)) {
            return None;
        }
        let member = |&[id, tables]: &[u8; 2]| {
            let component = frame.components.iter().position(|component| component.id == id)?;
            let (dc, ac) = (usize::from(tables >> 4), usize::from(tables & 15));
            let has_dc = part.first > 0 || part.is_refinement || self.tables[0].get(dc)?.is_some();
            let has_ac = part.last == 0 || self.tables[1].get(ac)?.is_some();
            (has_dc && has_ac && dc < 4 && ac < 4).then_some((component, dc, ac))
        };
        Some(Scan { members: specs.iter().map(member).collect::<Option<_>>()?, part })
    }

    /// What is needed to walk over the blocks of a component in a scan.
    fn member(&self, frame: &Frame, &(number, dc, ac): &(usize, usize, usize), is_alone: bool) -> Member<'_> {
        let component = &frame.components[number];
        let quantizer = self.quantizers[component.quantizer].unwrap_or(1).max(1);
        let (columns, rows) = if is_alone { (1, 1) } else { (component.across, component.down) };
        Member {
            component: number,
            tables: Tables {
                dc: self.tables[0][dc].as_ref(),
                ac: self.tables[1][ac].as_ref(),
                max_mean: MAX_MEAN / i32::from(quantizer) + 2,
            },
            columns,
            rows,
            stride: frame.units()[0] * component.across,
        }
    }

    /// Walks over the coded data of a scan, from `at`; returns the position of the next marker.
    fn walk(&mut self, scan: &Scan, mut at: usize) -> Result<usize, Damage> {
        let Some(mut frame) = self.frame.take() else { return Ok(at) };
        let [units_across, units_down] = frame.units();
        let alone = match scan.members.as_slice() {
            &[(component, ..)] => Some(frame.blocks(&frame.components[component])),
            _ => None,
        };
        let total = alone.map_or(units_across * units_down, |[across, down]| across * down);
        let across = alone.map_or(units_across, |[across, _]| across);
        let members: Vec<Member> =
            scan.members.iter().map(|member| self.member(&frame, member, alone.is_some())).collect();
        let (mut done, mut number) = (0, 0usize);
        loop {
            let end = end_of_data(self.bytes, at);
            let left = total - done;
            let count = if self.interval > 0 { left.min(self.interval) } else { left };
            let mut bits = Bits::new(&self.bytes[at..end]);
            let (mut means, mut run) = ([0; 4], 0);
            for unit in done..done + count {
                let (row, column) = (unit / across, unit % across);
                let walked = members.iter().zip(&mut means).try_for_each(|(member, mean)| {
                    for block in 0..member.columns * member.rows {
                        let row = row * member.rows + block / member.columns;
                        let column = column * member.columns + block % member.columns;
                        let nonzero = &mut frame.components[member.component].nonzero;
                        let mut nowhere = 0;
                        let nonzero = nonzero.get_mut(row * member.stride + column).unwrap_or(&mut nowhere);
                        block::walk(&mut bits, &member.tables, scan.part, (&mut *mean, &mut run), nonzero)?;
                    }
                    Ok(())
                });
                walked.map_err(|wrong| damage(at, number, unit, total, wrong))?;
            }
            done += count;
            let what = || format!("the coded data of restart interval {number}");
            let num_left = bits.num_left();
            if num_left > 0 || run > 0 {
                let found = if run > 0 { format!("{run} blocks fewer") } else { format!("{num_left} bytes more") };
                return Err(damaged(at, &what(), &format!("{count} MCUs of {total}"), found));
            }
            let marker = next_marker(self.bytes, end);
            if done == total {
                for &(component, ..) in &scan.members {
                    frame.components[component].has_means |= scan.part.first == 0;
                }
                self.frame = Some(frame);
                return Ok(end);
            }
            let expected = 0xd0 + (number % 8) as u8;
            match marker {
                Some((marker, start)) if marker == expected => at = start,
                other => {
                    let found = other.map_or("the end".into(), |(marker, _)| format!("marker {marker:#x}"));
                    return Err(damaged(
                        end,
                        &what(),
                        &format!("marker {expected:#x} after MCU {done} of {total}"),
                        found,
                    ));
                }
            }
            number += 1;
        }
    }
}

fn damage(offset: usize, number: usize, unit: usize, total: usize, wrong: Wrong) -> Damage {
    let found = match wrong {
        Wrong::End => "the end of its data",
        Wrong::Code => "an invalid code",
        Wrong::Coefficients => "more than 64 coefficients",
        Wrong::Size => "a coefficient of too many bits",
        Wrong::Range => "an impossible mean brightness",
    };
    let what = format!("the coded data of restart interval {number}");
    damaged(offset, &what, &format!("the coefficients of MCU {unit} of {total}"), found.into())
}

fn damaged(offset: usize, what: &str, expected: &str, found: String) -> Damage {
    Damage { offset, what: what.into(), expected: expected.into(), found }
}

/// The next marker and the position after it.
fn next_marker(bytes: &[u8], at: usize) -> Option<(u8, usize)> {
    let mut start = at + bytes.get(at..)?.iter().position(|&byte| byte == 0xff)?;
    while *bytes.get(start)? == 0xff {
        start += 1;
    }
    Some((bytes[start], start + 1))
}

/// The segment after a marker, without its length.
fn segment(bytes: &[u8], start: usize) -> Option<&[u8]> {
    let len = usize::from(u16::from_be_bytes(*bytes.get(start..)?.first_chunk()?));
    bytes.get(start + 2..start + len.max(2))
}

/// Where coded data end: at a marker, or at the end of the bytes.
fn end_of_data(bytes: &[u8], at: usize) -> usize {
    let is_marker = |index: &usize| bytes.get(at + index + 1).is_some_and(|&byte| byte != 0);
    memchr::memchr_iter(0xff, &bytes[at..]).find(is_marker).map_or(bytes.len(), |index| at + index)
}

#[cfg(test)]
mod tests;
