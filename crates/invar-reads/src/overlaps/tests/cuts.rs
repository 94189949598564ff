//! Components that hold several genomes.

use super::*;

/// The overlaps of a sample as they are before components are cut, and after it.
fn before_and_after(sample: &Sample) -> [Overlaps; 2] {
    let reads = reads(&sample.sequences);
    let num_bases = sample.sequences.iter().map(|read| read.len() as u64).sum();
    let config = OverlapsConfig::default();
    let found =
        || Found::new(&reads, sampling(sample.sequences.len(), num_bases, MAX_K, MAX_EVERY, &config), 1.0).unwrap();
    [found(), found().cut(&reads).unwrap()].map(|found| found.overlaps(&reads))
}

/// A genome and a sister of it, both circular and with the same stretch, longer than a read.
fn sisters_with_a_stretch(differ: f64) -> [Vec<u8>; 2] {
    let (before, stretch, behind) = (codes(150_000, 140), codes(9_000, 141), codes(150_000, 142));
    let sister = [before.as_slice(), &behind].map(|part| diverged(part, differ, 143));
    let circular = |genome: Vec<u8>| [&genome, &genome[..3_000]].concat();
    [[before, stretch.clone(), behind].concat(), [sister[0].as_slice(), &stretch, &sister[1]].concat()].map(circular)
}

#[test]
fn sister_species_joined_by_a_stretch_that_both_have_are_cut_apart() {
    let genomes = sisters_with_a_stretch(0.12);
    let sample = Sample::of(&[&genomes[0], &genomes[1]], 3_000, 15.0, 0.03);
    let [before, after] = before_and_after(&sample);
    let (mixed, _) = sample.joined(&before, 2);
    assert_eq!(mixed[0], [0, 1], "nothing to cut");
    // Reads within the stretch may be of either, and so may a piece at its end.
    for component in 0..after.num_components() as u32 {
        let own = |number: usize| {
            let reads = after.members(component).iter().map(|&read| &sample.places[read as usize]);
            reads.filter(|place| place.0 == number && (place.1.end < 150_000 || place.1.start > 159_000)).count()
        };
        assert!(own(0).min(own(1)) * 10 <= own(0) + own(1), "{component}: {} and {}", own(0), own(1));
    }
    let (_, largest) = sample.joined(&after, 2);
    assert!(largest.iter().all(|&largest| largest > 1_350), "{largest:?}");
    assert!(after.num_components() <= 4);
}

#[test]
fn strains_and_genomes_with_repeats_are_not_cut() {
    let strains = sisters_with_a_stretch(0.04);
    let repeat = codes(6_000, 150);
    let with_repeats: Vec<u8> = (0..6).flat_map(|part| [codes(50_000, 151 + part), repeat.clone()].concat()).collect();
    for genomes in [strains.to_vec(), vec![with_repeats]] {
        let genomes: Vec<&[u8]> = genomes.iter().map(Vec::as_slice).collect();
        let sample = Sample::of(&genomes, 3_000, 15.0, 0.03);
        let [before, after] = before_and_after(&sample).map(|overlaps| format!("{:?}", overlaps.component_of));
        assert!(before == after);
    }
}

#[test]
fn a_deep_phage_is_cut_off_the_chromosome_that_has_a_copy_of_it() {
    let phage = codes(20_000, 160);
    let chromosome = [codes(140_000, 161), phage.clone(), codes(140_000, 162)].concat();
    let mut sample = Sample::of(&[&chromosome], 3_000, 12.0, 0.03);
    sample.add(1, &phage, 3_000, 400.0, 0.03);
    let [before, after] = before_and_after(&sample);
    assert_eq!(sample.joined(&before, 2).0[0], [0, 1], "nothing to cut");
    let is_outside = |read: &&u32| {
        let place = &sample.places[**read as usize];
        place.0 == 0 && (place.1.end < 140_000 || place.1.start > 160_000)
    };
    let outside = |component: u32| after.members(component).iter().filter(is_outside).count();
    let (_, largest) = sample.joined(&after, 2);
    assert!(largest[1] > 2_600, "{largest:?}");
    // One piece of the chromosome may stay with the phage.
    assert!(outside(0) < 300, "{}", outside(0));
}

// Where many reads overlap few others, as copies of one sequence do, there may be a single piece.
#[test]
fn copies_of_one_sequence_stay_together() {
    let (read, plasmid) = (codes(2_000, 170), codes(4_000, 171));
    let identical = Sample { sequences: vec![read; 1_200], places: vec![(0, 0..2_000); 1_200] };
    let mut copies = Sample::default();
    copies.add(0, &plasmid, 3_900, 1_500.0, 0.02);
    for sample in [identical, copies] {
        sample.assert_pure_and_whole(&find(&sample.sequences), 1);
    }
}
