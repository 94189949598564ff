//! Strains of one species beside sister species, and what two genomes have of a third.

use super::*;

/// The largest component of the reads of a genome.
fn component(sample: &Sample, overlaps: &Overlaps, genome: usize) -> u32 {
    let is_of = |&component: &u32| sample.places[overlaps.members(component)[0] as usize].0 == genome;
    (0..overlaps.num_components() as u32).find(is_of).unwrap()
}

#[test]
fn strains_are_of_one_genome_and_sister_species_of_two() {
    let one = structured(200_000, 70);
    let [strain, sister] = [(0.05, 71), (0.12, 72)].map(|(differ, seed)| diverged(&one, differ, seed));
    for (errors, depth) in [(0.01, 10.0), (0.05, 10.0)] {
        let sample = Sample::of(&[&one, &strain, &sister], 8_000, depth, errors);
        let overlaps = find(&sample.sequences);
        let [one, strain, sister] = [0, 1, 2].map(|genome| component(&sample, &overlaps, genome));
        assert!(one != strain && strain != sister, "{errors} {depth}");
        assert_eq!(overlaps.probable_genome(one), overlaps.probable_genome(strain), "{errors} {depth}");
        assert_eq!(overlaps.probable_genome(sister), sister, "{errors} {depth}");
        for component in [one, strain] {
            assert!(overlaps.homologs(component).contains(&sister), "{errors} {depth}");
        }
        assert!(!overlaps.homologs(one).contains(&strain), "{errors} {depth}");
    }
}

#[test]
fn a_plasmid_of_two_genomes_and_a_deep_phage_are_of_neither() {
    let with = |seed, inserted: &[u8]| {
        let mut genome = structured(200_000, seed);
        genome[50_000..50_000 + inserted.len()].copy_from_slice(inserted);
        genome
    };
    // Shared with a difference, so that the reads do not overlap.
    let element = structured(40_000, 80);
    let (one, other) = (with(81, &diverged(&element, 0.05, 83)), with(82, &diverged(&element, 0.05, 84)));
    for (hosts, depth) in [(vec![&one, &other], 10.0), (vec![&one], 100.0)] {
        let mut sample = Sample::default();
        hosts.iter().enumerate().for_each(|(number, host)| sample.add(number, host, 8_000, 10.0, 0.05));
        sample.add(2, &element, 8_000, depth, 0.05);
        let overlaps = find(&sample.sequences);
        let element = component(&sample, &overlaps, 2);
        assert_eq!(overlaps.probable_genome(element), element, "{depth}");
        let of_hosts = (0..hosts.len()).map(|host| overlaps.probable_genome(component(&sample, &overlaps, host)));
        assert!(of_hosts.collect::<HashSet<_>>().len() == hosts.len(), "{depth}");
    }
}
