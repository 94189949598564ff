//! Memory that the contigs of an assembly take, so that what does not fit is refused before it is begun, with both figures.

use std::path::Path;

use invar_bases::{ConfigError, kmer::KmerProfiler};
use invar_dataset::{DatasetError, check_memory};

use crate::{
    ContigDataset, FeatureConfig, Shown,
    contigs::Names,
    depth::CACHED_BP,
    shard::{SHARD_BP, SHARD_TEXT_BYTES},
};

/// Contigs, segments or links between two looks at the memory that they take.
pub(crate) const LOOK_EVERY: usize = 1 << 16;

/// A name, its place in the table of names (which is rarely full), and both allocations.
const NAME_BYTES: usize = 150;
/// A reference in the header of a file of alignments, and its target.
const REFERENCE_BYTES: usize = 250;
/// Mean, variance and breadth.
const DEPTH_BYTES: usize = 12;
/// A segment with its checksum, in the list and in the tables of names and checksums.
const SEGMENT_BYTES: usize = 200;
/// A link by the names of its ends, and by their numbers.
const LINK_BYTES: usize = 120;
/// A step of a path, likewise.
const STEP_BYTES: usize = 80;

/// Checks the names read so far, now and then.
pub(crate) fn check_names(names: &Names) -> Result<(), DatasetError> {
    if names.len() == 0 || !names.len().is_multiple_of(LOOK_EVERY) {
        return Ok(());
    }
    let needed = of_names(names) + SHARD_BP as usize / 4 + SHARD_TEXT_BYTES;
    let what = || format!("an assembly of {} contigs, and more,", names.len());
    check_memory(needed, what, || "leave short contigs out of the FASTA".into())
}

/// Checks what it takes to measure the depth of contigs, of which the longest has `longest_bp`, from these files, as many at
/// a time as there are threads.
pub(crate) fn check_depth(
    names: &Names,
    longest_bp: u32,
    alignments: &[impl AsRef<Path>],
    num_threads: usize,
) -> Result<(), DatasetError> {
    let longest = longest_bp as usize;
    let of_bam = 4 * longest + DEPTH_BYTES * names.num_kept() + REFERENCE_BYTES * names.len();
    // The bases that CRAM leaves out, and another table of names.
    let of_cram = of_bam + CACHED_BP as usize + longest + of_names(names);
    let is_bam = |path: &&Path| path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("bam"));
    let num_bam = alignments.iter().map(AsRef::as_ref).filter(is_bam).count();
    let at_once = num_threads.min(alignments.len());
    let cram_at_once = at_once.min(alignments.len() - num_bam);
    let needed = of_names(names)
        .saturating_add(cram_at_once.saturating_mul(of_cram))
        .saturating_add((at_once - cram_at_once).saturating_mul(of_bam));
    let what = || format!("the depth of {} contigs, {at_once} samples at a time,", names.num_kept());
    check_memory(needed, what, || "lower --threads".into())
}

/// Checks the depth of all contigs in the samples of a table.
pub(crate) fn check_table(names: &Names, num_samples: usize) -> Result<(), DatasetError> {
    let needed = of_names(names).saturating_add((DEPTH_BYTES * names.num_kept()).saturating_mul(num_samples));
    let what = || format!("a table of {num_samples} samples and {} contigs", names.num_kept());
    check_memory(needed, what, || "divide the table by samples".into())
}

/// Checks a graph of so many segments, links, and steps of paths, whose names have `name_bytes` in all.
pub(crate) fn check_graph(segments: usize, links: usize, steps: usize, name_bytes: usize) -> Result<(), DatasetError> {
    let needed = SEGMENT_BYTES * segments + LINK_BYTES * links + STEP_BYTES * steps + 4 * name_bytes;
    let what = || format!("a graph of {segments} segments and {links} links, and more,");
    check_memory(needed, what, || "leave the graph out".into())
}

/// Memory that the pairs of contigs take once every contig was drawn, in bytes: what makes the profile of any stretch of
/// a contig cheap, and with a graph the features of every contig, which its neighbours see.
///
/// # Errors
/// If a setting is invalid.
pub fn pairs_memory_bytes(contigs: &ContigDataset, view: &FeatureConfig) -> Result<usize, ConfigError> {
    let (mut sums, mut num_features) = (0, 2 * contigs.samples().len());
    if view.shown != Shown::Depth {
        let profiler = KmerProfiler::new(&view.kmers()).map_err(|error| error.within("view"))?;
        sums = (0..contigs.len()).map(|index| profiler.sums_bytes(contigs.length_bp(index) as usize)).sum();
        num_features += profiler.num_features();
    }
    Ok(sums + view.graph.as_ref().map_or(0, |_| size_of::<f32>() * num_features * contigs.len()))
}

fn of_names(names: &Names) -> usize {
    NAME_BYTES * names.len() + names.name_bytes()
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use invar_dataset::{NoProgress, host_memory};

    use super::*;
    use crate::{IngestConfig, Inputs, ingest, views::AssemblyView};

    /// Both figures of a refusal, in MB, and what is said of it.
    fn refusal(found: Result<(), DatasetError>) -> (u64, String) {
        let error = found.unwrap_err();
        assert!(matches!(error, DatasetError::TooLarge { .. }));
        let text = error.to_string();
        let available = format!("this machine has {} MB", host_memory().unwrap().div_ceil(1_000_000));
        assert!(text.contains(&available), "{text}");
        let needed = text.split("takes about ").nth(1).unwrap().split(' ').next().unwrap();
        (needed.parse().unwrap(), text)
    }

    #[test]
    fn what_does_not_fit_is_refused_with_both_figures() {
        let mut names = Names::new(PathBuf::from("c.fa"));
        for number in 0..1000 {
            names.add(&format!("contig-{number:03}"), 1, u32::MAX - number, true);
        }
        assert!(check_names(&names).is_ok());
        assert!(check_graph(1000, 1000, 1000, 10_000).is_ok() && check_table(&names, 10).is_ok());
        assert!(check_depth(&names, 5_000_000, &["a.bam", "b.cram"], 8).is_ok());
        if host_memory().is_none() {
            return;
        }
        // 4 bytes of each base of the longest contig for a BAM file, and one more for CRAM, of 1000 samples at once.
        let files = |extension: &str| (0..1000).map(|number| format!("{number}.{extension}")).collect::<Vec<_>>();
        let (bam, said) = refusal(check_depth(&names, u32::MAX, &files("bam"), 1000));
        assert!((17_179_869..17_190_000).contains(&bam), "{said}");
        assert!(
            said.starts_with("the depth of 1000 contigs, 1000 samples at a time, takes") && said.ends_with("--threads")
        );
        let (cram, said) = refusal(check_depth(&names, u32::MAX, &files("cram"), 1000));
        assert!((cram - bam).abs_diff(4_294_967 + 64_000) < 1000, "{said}");
        // Half of them at a time.
        let (half, _) = refusal(check_depth(&names, u32::MAX, &files("bam"), 500));
        assert!(half.abs_diff(bam / 2) < 10, "{half}");
        let (table, said) = refusal(check_table(&names, 1 << 40));
        assert!(table.abs_diff((12_000u64 << 40) / 1_000_000) < 10, "{said}");
        let (_, said) = refusal(check_graph(1 << 40, 7, 7, 7));
        assert!(said.contains("1099511627776 segments and 7 links"), "{said}");
    }

    #[test]
    fn sums_of_pairs_are_those_of_every_contig() {
        let dir = tempfile::tempdir().unwrap();
        let fasta = dir.path().join("c.fa");
        let text: String =
            [10, 4095, 4096, 20_000].map(|len| format!(">{len}\n{}\n", "ACGT".repeat(len / 4 + 1))).concat();
        std::fs::write(&fasta, text).unwrap();
        let config = IngestConfig { min_length_bp: 0, ..IngestConfig::default() };
        let out = dir.path().join("data");
        ingest(&Inputs { fasta, ..Inputs::default() }, &out, &config, &NoProgress).unwrap();
        let contigs = ContigDataset::open(&[out]).unwrap();
        let view = FeatureConfig { ks: vec![2, 4], ..FeatureConfig::default() };
        let profiler = KmerProfiler::new(&view.kmers()).unwrap();
        let each = (0..4).map(|index| profiler.sums(contigs.sequence(index).unwrap()).size_bytes());
        assert_eq!(pairs_memory_bytes(&contigs, &view).unwrap(), each.sum::<usize>());
        // With a graph 10 and 136 features of each as well.
        let of_graph = FeatureConfig { graph: Some(AssemblyView::default()), ..view.clone() };
        let beyond = pairs_memory_bytes(&contigs, &of_graph).unwrap() - pairs_memory_bytes(&contigs, &view).unwrap();
        assert_eq!(beyond, 4 * 4 * (10 + 136));
        assert_eq!(pairs_memory_bytes(&contigs, &FeatureConfig { shown: Shown::Depth, ..view }).unwrap(), 0);
    }
}
