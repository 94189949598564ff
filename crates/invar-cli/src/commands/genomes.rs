//! What groups of reads suggest about genomes, in plain words.

use std::path::Path;

use invar_cluster::groups::{Group, GroupTable};

use super::cluster::groups::{NamedGroups, share};
use crate::ui::thousands;

/// Number of reads from which a group is called a genome.
const LEAST_READS: usize = 50;
/// Depth from which an assembler produces more than fragments of a genome.
const ASSEMBLED_DEPTH: f64 = 10.0;

/// How many genomes, how deep, what is in doubt and why, and what can be done next with the results of a run: the
/// tables `clusters`, the dataset `data`, and `out`, which does not exist yet.
pub fn in_words(table: &GroupTable, clusters: &Path, data: &Path, out: &Path) -> String {
    let total: usize = table.groups.iter().map(|group| group.members).sum();
    let (genomes, rest): (Vec<&Group>, Vec<&Group>) =
        table.groups.iter().partition(|group| group.cluster >= 0 && group.members >= LEAST_READS);
    let (in_genomes, in_rest) = (reads_of(&genomes), reads_of(&rest));
    let plural = if genomes.len() == 1 { "genome" } else { "genomes" };
    let mut text = format!(
        "{} {plural}: groups of {LEAST_READS} reads or more, with {} of {} reads ({})",
        genomes.len(),
        thousands(in_genomes as u64),
        thousands(total as u64),
        share(in_genomes, total)
    );
    text += &depths(table, &genomes);
    if in_rest > 0 {
        text +=
            &format!("\n  the other {} reads are in {} smaller groups or none", thousands(in_rest as u64), rest.len());
    }
    text += &doubts(table, &genomes, total);
    text += "\n  genomes that are nearly the same (strains above about 98 % identity) are one group";
    if let Some(largest) = genomes.first() {
        let group = out.join(format!("group_{:03}.fastq.gz", largest.cluster)).display().to_string();
        text += &format!(
            "\nnext: the reads of each group in a file of their own, and an assembler for each, such as\n  \
             invar extract {} --data {} --out {}\n  flye --meta --nano-raw {group} --out-dir group_{:03} --threads 8",
            clusters.display(),
            data.display(),
            out.display(),
            largest.cluster
        );
    }
    text
}

fn reads_of(groups: &[&Group]) -> usize {
    groups.iter().map(|group| group.members).sum()
}

/// Their depth and size, if known from overlaps.
fn depths(table: &GroupTable, genomes: &[&Group]) -> String {
    let figures = |name: &str| -> Vec<f64> { genomes.iter().filter_map(|group| table.figure(group, name)).collect() };
    let (depths, sizes) = (figures("depth"), figures("genome_bp"));
    let Some(((least, most), (smallest, largest))) = extent(&depths).zip(extent(&sizes)) else { return String::new() };
    let deep = depths.iter().filter(|&&depth| depth >= ASSEMBLED_DEPTH).count();
    format!(
        "\n  by their overlaps {} deep and {} Mb large; {deep} of them {ASSEMBLED_DEPTH:.0}x or deeper, as an assembler \
         wants it",
        range(least, most, "x"),
        range(smallest / 1e6, largest / 1e6, ""),
    )
}

fn extent(values: &[f64]) -> Option<(f64, f64)> {
    let least = values.iter().copied().reduce(f64::min)?;
    Some((least, values.iter().copied().fold(least, f64::max)))
}

fn range(least: f64, most: f64, unit: &str) -> String {
    let (least, most) = (format!("{least:.1}{unit}"), format!("{most:.1}{unit}"));
    if least == most { least } else { format!("{least} to {most}") }
}

/// What is in doubt, and why.
fn doubts(table: &GroupTable, genomes: &[&Group], total: usize) -> String {
    let mut text = String::new();
    let doubtful: usize = table.groups.iter().filter_map(|group| group.doubtful).sum();
    if doubtful > 0 {
        text += &format!(
            "\n  {} of the reads ({}) are in doubt: most of the reads that are like them are in other groups",
            share(doubtful, total),
            thousands(doubtful as u64)
        );
    }
    let alone: f64 = table
        .groups
        .iter()
        .filter_map(|group| Some(table.figure(group, "without_partners")? * group.members as f64))
        .sum();
    if alone >= 1.0 {
        text += &format!(
            "\n  {} overlap no other read, and were placed by their composition alone",
            share(alone.round() as usize, total)
        );
    }
    if let Some(unsure) = NamedGroups::not_found_again(genomes.iter().copied()) {
        text += &format!(
            "\n  {} of the groups are not found again in halves of the reads, and may be pieces or mixtures: {unsure}",
            unsure.number
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(cluster: i32, members: usize, figures: [f64; 3], confidence: f32, doubtful: usize) -> Group {
        let (figures, doubtful) = (figures.map(Some).to_vec(), Some(doubtful));
        Group {
            cluster,
            members,
            figures,
            confidence: Some(confidence),
            doubtful,
            nearest: None,
            distance: None,
            exemplars: vec![],
            apart: vec![],
        }
    }

    fn words(groups: Vec<Group>) -> String {
        let figures = ["depth", "genome_bp", "without_partners"].map(str::to_owned).to_vec();
        let table = GroupTable { noun: "reads".into(), figures, groups };
        in_words(&table, Path::new("out/clusters.parquet"), Path::new("out/data"), Path::new("out/groups"))
    }

    #[test]
    fn genomes_their_depth_and_what_is_in_doubt() {
        let text = words(vec![
            group(0, 900, [12.0, 4.6e6, 0.0], 0.95, 0),
            group(1, 80, [1.26, 2.0e6, 0.5], 0.5, 9),
            group(2, 20, [1.0, 1.0e5, 1.0], 0.9, 0),
        ]);
        assert_eq!(
            text,
            "2 genomes: groups of 50 reads or more, with 980 of 1,000 reads (98 %)\n  \
             by their overlaps 1.3x to 12.0x deep and 2.0 to 4.6 Mb large; 1 of them 10x or deeper, as an assembler wants it\n  \
             the other 20 reads are in 1 smaller groups or none\n  \
             0.9 % of the reads (9) are in doubt: most of the reads that are like them are in other groups\n  \
             6 % overlap no other read, and were placed by their composition alone\n  \
             1 of the groups are not found again in halves of the reads, and may be pieces or mixtures: 1\n  \
             genomes that are nearly the same (strains above about 98 % identity) are one group\n\
             next: the reads of each group in a file of their own, and an assembler for each, such as\n  \
             invar extract out/clusters.parquet --data out/data --out out/groups\n  \
             flye --meta --nano-raw out/groups/group_000.fastq.gz --out-dir group_000 --threads 8"
        );
    }

    #[test]
    fn one_genome_and_none() {
        let text = words(vec![group(0, 500, [19.0, 4.6e6, 0.0], 1.0, 0)]);
        assert!(text.starts_with("1 genome: groups of 50 reads or more, with 500 of 500 reads (100 %)\n"), "{text}");
        assert!(text.contains("19.0x deep and 4.6 Mb large") && !text.contains("doubt"), "{text}");
        let text = words(vec![group(0, 4, [1.0, 1.0e4, 1.0], 1.0, 0)]);
        assert!(text.starts_with("0 genomes: ") && !text.contains("next:"), "{text}");
    }
}
