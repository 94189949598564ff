//! Describes a pair in words, to show what is drawn.

use std::fmt::Write as _;

use invar_dataset::DatasetError;

use super::{DrawnPair, DrawnView, Purpose, ReadPairs};
use crate::packed::codes_to_ascii;

/// Number of bases shown per view.
const SHOWN: usize = 60;

impl ReadPairs {
    /// The pair that [`PairSource::pair`](invar_dataset::PairSource::pair) returns for `(index, seed)`, as text: the
    /// kind, and for each view the read, the position of the window (1-based, inclusive), the strand, the errors
    /// introduced and the first bases.
    ///
    /// # Errors
    /// As `pair`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn describe(&self, index: usize, seed: u64) -> Result<String, DatasetError> {
        let pair = self.draw(index, seed, Purpose::Show)?;
        let name = self.reads.name(self.first_read(index))?;
        let mut text = format!("sample {index} ({name}): {}", pair.kind);
        if pair.kind != pair.asked {
            let _ = write!(text, " pair, as it cannot provide a {} pair", pair.asked);
        } else {
            text.push_str(" pair");
        }
        text.push('\n');
        for (number, view) in pair.views.iter().enumerate() {
            self.describe_view(number + 1, view, &mut text)?;
        }
        if let Some(line) = distance(&pair) {
            text.push_str(&line);
        }
        if let (Some(component), Some(overlaps)) = (self.component(&pair.views), &self.overlaps) {
            let _ = writeln!(text, "  of component {component}, {} reads", overlaps.members(component).len());
        }
        Ok(text)
    }

    fn describe_view(&self, number: usize, view: &DrawnView, text: &mut String) -> Result<(), DatasetError> {
        let DrawnView { read, range, is_reverse, codes, errors } = view;
        let strand = if *is_reverse { "reverse" } else { "forward" };
        let _ = write!(
            text,
            "  view {number}: read {}, bases {}-{} of {}, {strand} strand",
            self.reads.name(*read)?,
            range.start + 1,
            range.end,
            self.reads.sequence(*read)?.len(),
        );
        if let Some(place) = self.reads.alignment(*read) {
            let reference = self.reads.reference_name(place.reference);
            let reference = reference.map_or_else(|| format!("reference {}", place.reference), str::to_owned);
            let strand = if place.is_reverse { '-' } else { '+' };
            let last = place.end().saturating_sub(1);
            let _ = write!(text, ", aligned at {reference}:{}-{last} ({strand})", place.position);
        }
        let mut letters = codes[..codes.len().min(SHOWN)].to_vec();
        codes_to_ascii(&mut letters);
        let _ = writeln!(
            text,
            "\n          {} substitutions, {} insertions, {} deletions, {} bases\n          {}{}",
            errors.substitutions,
            errors.insertions,
            errors.deletions,
            codes.len(),
            String::from_utf8_lossy(&letters),
            if codes.len() > SHOWN { "..." } else { "" },
        );
        Ok(())
    }
}

/// How far apart two windows of one read are.
fn distance(pair: &DrawnPair) -> Option<String> {
    let [a, b] = &pair.views;
    if a.read != b.read {
        return None;
    }
    let (first, second) = if a.range.start <= b.range.start { (a, b) } else { (b, a) };
    if first.range == second.range {
        return Some("  the same window\n".into());
    }
    let distance = second.range.start as i64 - first.range.end as i64;
    Some(format!("  {} bp {}\n", distance.abs(), if distance < 0 { "shared" } else { "apart" }))
}
