//! The coefficients of a block, decoded only as far as their positions (T.81, F.2.2 and G.1.2).

use super::bits::{Bits, MAX_AC_BITS, Step, Table, Wrong};

/// Differences of means of 8-bit pixels have at most 11 bits.
const MAX_DC_BITS: u32 = 11;

/// Which coefficients of a block a scan contains, and which of their bits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) first: u32,
    pub(super) last: u32,
    /// Whether the more significant bits were in an earlier scan.
    pub(super) is_refinement: bool,
    pub(super) is_progressive: bool,
    /// How many less significant bits are left to later scans.
    pub(super) shift: u32,
}

/// The tables for decoding a component's blocks.
pub(super) struct Tables<'a> {
    pub(super) dc: Option<&'a Table>,
    pub(super) ac: Option<&'a Table>,
    /// Largest plausible mean, in units of its quantizer.
    pub(super) max_mean: i32,
}

/// Walks over a block. `nonzero` has a bit for each coefficient that is not zero so far.
pub(super) fn walk(
    bits: &mut Bits<'_>,
    tables: &Tables<'_>,
    part: Part,
    (mean, run): (&mut i32, &mut u32),
    nonzero: &mut u64,
) -> Result<(), Wrong> {
    if part.first == 0 {
        match tables.dc {
            Some(_) if part.is_refinement => {
                bits.take(1)?;
            }
            Some(table) => {
                let len = u32::from(bits.symbol(table)?);
                if len > MAX_DC_BITS {
                    return Err(Wrong::Size);
                }
                *mean = mean.saturating_add(signed(bits.take(len)?, len));
                if (*mean << part.shift).abs() > tables.max_mean {
                    return Err(Wrong::Range);
                }
            }
            None => {}
        }
    }
    let first = part.first.max(1);
    match tables.ac {
        Some(table) if part.last >= first && part.is_refinement => {
            refine(bits, table, (first, part.last), run, nonzero)
        }
        Some(table) if part.last >= first => coefficients(bits, table, (first, part), run, nonzero),
        _ => Ok(()),
    }
}

/// A number of `len` bits, of which the lower half are negative (T.81, F.2.2.1).
fn signed(bits: u32, len: u32) -> i32 {
    match len {
        0 => 0,
        _ if bits >> (len - 1) == 0 => bits as i32 + 1 - (1 << len),
        _ => bits as i32,
    }
}

fn coefficients(
    bits: &mut Bits<'_>,
    table: &Table,
    (first, part): (u32, Part),
    run: &mut u32,
    nonzero: &mut u64,
) -> Result<(), Wrong> {
    if *run > 0 {
        *run -= 1;
        return Ok(());
    }
    let mut at = first;
    while at <= part.last {
        match bits.step(table) {
            Step::Coefficient { zeros, .. } => {
                at += u32::from(zeros);
                if at > part.last {
                    return Err(Wrong::Coefficients);
                }
                *nonzero |= 1 << at;
                at += 1;
                continue;
            }
            Step::EndOfBlock { .. } => return Ok(()),
            Step::Other => {}
        }
        let symbol = bits.symbol(table)?;
        let (zeros, len) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match len {
            0 if zeros == 15 => at += 16,
            0 if zeros == 0 => return Ok(()),
            0 if !part.is_progressive => return Err(Wrong::Code),
            0 => {
                *run = (1 << zeros) - 1 + bits.take(zeros)?;
                return Ok(());
            }
            _ if len > MAX_AC_BITS => return Err(Wrong::Size),
            _ => {
                at += zeros;
                if at > part.last {
                    return Err(Wrong::Coefficients);
                }
                bits.take(len)?;
                *nonzero |= 1 << at;
                at += 1;
            }
        }
    }
    // Sixteen zeros that extend beyond the block.
    if at > part.last + 1 { Err(Wrong::Coefficients) } else { Ok(()) }
}

fn refine(
    bits: &mut Bits<'_>,
    table: &Table,
    (first, last): (u32, u32),
    run: &mut u32,
    nonzero: &mut u64,
) -> Result<(), Wrong> {
    let mut at = first;
    while *run == 0 && at <= last {
        let symbol = bits.symbol(table)?;
        let (mut zeros, len) = (u32::from(symbol >> 4), u32::from(symbol & 15));
        match len {
            0 if zeros < 15 => {
                *run = (1 << zeros) + bits.take(zeros)?;
                break;
            }
            0 => {}
            1 => {
                bits.take(1)?;
            }
            _ => return Err(Wrong::Code),
        }
        while at <= last {
            if *nonzero >> at & 1 == 1 {
                bits.take(1)?;
            } else if zeros == 0 {
                break;
            } else {
                zeros -= 1;
            }
            at += 1;
        }
        if at > last {
            // The position for a new coefficient, or for the last of sixteen zeros, must be in the block.
            return if len == 1 || zeros > 0 { Err(Wrong::Coefficients) } else { Ok(()) };
        }
        if len == 1 {
            *nonzero |= 1 << at;
        }
        at += 1;
    }
    if *run > 0 {
        // A bit for each nonzero coefficient from here on.
        if at <= last {
            bits.pass((*nonzero >> at << at << (63 - last)).count_ones())?;
        }
        *run -= 1;
    }
    Ok(())
}
