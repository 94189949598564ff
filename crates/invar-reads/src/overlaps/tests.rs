use std::ops::Range;

use super::*;
use crate::{
    MemoryReads, PackedSequence, Read,
    error_model::{ErrorModel, ErrorModelConfig},
    packed::reverse_complement_codes,
};
use invar_dataset::seed;
use proptest::prelude::*;

mod cuts;
mod strains;

pub(in crate::overlaps) fn codes(len: usize, seed: u64) -> Vec<u8> {
    let mut rng = seed::rng(seed, 3);
    (0..len).map(|_| rng.random_range(0..4u8)).collect()
}

pub(in crate::overlaps) fn reads(sequences: &[Vec<u8>]) -> MemoryReads {
    let read = |(i, codes): (usize, &Vec<u8>)| Read {
        name: format!("r{i}"),
        sequence: PackedSequence::from_codes(codes).unwrap(),
        ..Read::default()
    };
    MemoryReads::new(sequences.iter().enumerate().map(read).collect())
}

fn find(sequences: &[Vec<u8>]) -> Overlaps {
    Overlaps::find(&reads(sequences), &OverlapsConfig::default()).unwrap()
}

/// What a sequencer reads of genomes, and where each read comes from.
#[derive(Clone, Default)]
struct Sample {
    sequences: Vec<Vec<u8>>,
    places: Vec<(usize, Range<usize>)>,
}

impl Sample {
    /// Adds reads of `genome`, called `number`, from both strands and anywhere in it, to depth `depth`, with errors.
    fn add(&mut self, number: usize, genome: &[u8], len: usize, depth: f64, errors: f64) {
        let third = errors / 3.0;
        let config = ErrorModelConfig::Custom { substitution: third, insertion: third, deletion: third };
        let model = ErrorModel::new(&config).unwrap();
        let mut rng = seed::rng(number as u64, 77);
        let num_reads = (genome.len() as f64 * depth / len as f64) as usize;
        for _ in 0..num_reads {
            let start = rng.random_range(0..=genome.len() - len);
            let mut truth = genome[start..start + len].to_vec();
            if seed::coin(&mut rng) {
                reverse_complement_codes(&mut truth);
            }
            let mut read = Vec::new();
            model.apply(&truth, &mut rng, &mut read);
            self.sequences.push(read);
            self.places.push((number, start..start + len));
        }
    }

    /// Adds one read that is assigned to no genome.
    fn push(&mut self, sequence: Vec<u8>) {
        self.places.push((usize::MAX, 0..sequence.len()));
        self.sequences.push(sequence);
    }

    fn of(genomes: &[&[u8]], len: usize, depth: f64, errors: f64) -> Self {
        let mut sample = Self::default();
        genomes.iter().enumerate().for_each(|(number, genome)| sample.add(number, genome, len, depth, errors));
        sample
    }

    /// The genomes of each component, and the size of the largest component of each genome.
    fn joined(&self, overlaps: &Overlaps, num_genomes: usize) -> (Vec<Vec<usize>>, Vec<usize>) {
        let mut largest = vec![0; num_genomes];
        let genomes_of = |component: u32| {
            let mut genomes: Vec<usize> =
                overlaps.members(component).iter().map(|&read| self.places[read as usize].0).collect();
            genomes.sort_unstable();
            genomes.dedup();
            genomes
        };
        let genomes: Vec<Vec<usize>> = (0..overlaps.num_components() as u32).map(genomes_of).collect();
        for (component, genomes) in genomes.iter().enumerate() {
            for &genome in genomes.iter().filter(|&&genome| genome < num_genomes) {
                largest[genome] = largest[genome].max(overlaps.members(component as u32).len());
            }
        }
        (genomes, largest)
    }

    /// Asserts that no component mixes two genomes, and that each genome has one that holds nearly all of its reads.
    fn assert_pure_and_whole(&self, overlaps: &Overlaps, num_genomes: usize) {
        let (genomes, largest) = self.joined(overlaps, num_genomes);
        assert!(genomes.iter().all(|genomes| genomes.len() == 1), "{genomes:?}");
        for (genome, &largest) in largest.iter().enumerate() {
            let total = self.places.iter().filter(|place| place.0 == genome).count();
            assert!(largest * 100 >= total * 97, "genome {genome}: {largest} of {total}");
        }
    }
}

// Reads too short for links: random genomes all have the same composition.
#[test]
fn a_genome_is_one_component_at_any_error_rate() {
    let genomes = [codes(120_000, 1), codes(80_000, 2)];
    let genomes = genomes.each_ref().map(Vec::as_slice);
    for errors in [0.0, 0.01, 0.05, 0.12] {
        let sample = Sample::of(&genomes, 4_900, 15.0, errors);
        let overlaps = find(&sample.sequences);
        sample.assert_pure_and_whole(&overlaps, 2);
        let found = overlaps.error_rate().unwrap();
        assert!((found - errors).abs() < 0.01 + 0.1 * errors, "{errors}: {found}");
        for read in 0..sample.sequences.len() {
            for &other in overlaps.neighbours(read) {
                let (a, b) = (&sample.places[read], &sample.places[other as usize]);
                assert!(a.0 == b.0 && a.1.start < b.1.end && b.1.start < a.1.end, "{a:?} and {b:?}");
            }
        }
    }
}

#[test]
fn species_that_differ_by_a_few_per_cent_stay_apart() {
    let genome = codes(100_000, 3);
    let changed = ErrorModelConfig::Custom { substitution: 0.06, insertion: 0.0, deletion: 0.0 };
    let mut sister = Vec::new();
    ErrorModel::new(&changed).unwrap().apply(&genome, &mut seed::rng(5, 5), &mut sister);
    for errors in [0.01, 0.05, 0.11] {
        let sample = Sample::of(&[&genome, &sister], 5_000, 12.0, errors);
        sample.assert_pure_and_whole(&find(&sample.sequences), 2);
    }
}

#[test]
fn short_reads_in_long_ones_are_of_their_component() {
    let genome = codes(60_000, 6);
    let mut sample = Sample::of(&[&genome], 6_000, 8.0, 0.03);
    sample.add(0, &genome, 1_500, 4.0, 0.03);
    sample.assert_pure_and_whole(&find(&sample.sequences), 1);
}

#[test]
fn overlapping_short_reads_are_joined() {
    let genome = codes(20_000, 7);
    let sample = Sample::of(&[&genome], 150, 20.0, 0.005);
    sample.assert_pure_and_whole(&find(&sample.sequences), 1);
}

#[test]
fn a_chimera_joins_nothing() {
    let genomes = [codes(80_000, 10), codes(80_000, 11)];
    let mut sample = Sample::of(&[&genomes[0], &genomes[1]], 4_000, 12.0, 0.05);
    for i in 1..8 {
        let at = i * 9_000;
        sample.push([&genomes[0][at..at + 2_000], &genomes[1][at..at + 2_000]].concat());
    }
    let overlaps = find(&sample.sequences);
    // Those that happen to have no overlap for one half may be with the other half's genome.
    let (genomes, largest) = sample.joined(&overlaps, 2);
    assert!(!genomes.iter().any(|genomes| genomes.contains(&0) && genomes.contains(&1)), "{genomes:?}");
    assert!(largest.iter().all(|&largest| largest > 210), "{largest:?}");
    let chimeras = (0..sample.places.len()).filter(|&read| sample.places[read].0 > 1);
    let joined = chimeras.filter(|&read| overlaps.component(read).is_some()).count();
    assert!(joined <= 2, "{joined}");
}

#[test]
fn a_repeat_that_two_genomes_share_does_not_join_them() {
    let repeat = codes(1_500, 20);
    let with_repeat = |seed| [codes(30_000, seed), repeat.clone(), codes(30_000, seed + 1)].concat();
    let genomes = [with_repeat(21), with_repeat(31)];
    let sample = Sample::of(&[&genomes[0], &genomes[1]], 4_000, 15.0, 0.03);
    sample.assert_pure_and_whole(&find(&sample.sequences), 2);
}

#[test]
fn an_adapter_on_every_read_does_not_join_them() {
    let genomes = [codes(60_000, 40), codes(60_000, 41)];
    let mut sample = Sample::of(&[&genomes[0], &genomes[1]], 4_000, 15.0, 0.03);
    let adapter = codes(60, 42);
    sample.sequences.iter_mut().for_each(|read| *read = [&adapter, read.as_slice()].concat());
    sample.assert_pure_and_whole(&find(&sample.sequences), 2);
}

#[test]
fn copies_of_a_plasmid_are_one_component_beside_the_chromosome() {
    let (genome, plasmid) = (codes(60_000, 50), codes(4_000, 51));
    let mut sample = Sample::of(&[&genome], 4_000, 15.0, 0.03);
    // A circle: reads begin anywhere and wrap around.
    sample.add(1, &[plasmid.clone(), plasmid].concat(), 4_000, 200.0, 0.03);
    sample.assert_pure_and_whole(&find(&sample.sequences), 2);
}

#[test]
fn identical_reads_are_one_component() {
    let overlaps = find(&vec![codes(3_000, 60); 400]);
    assert_eq!((overlaps.num_components(), overlaps.num_joined()), (1, 400));
    assert!((0..400).all(|read| (overlaps.depth(read) - 400.0).abs() < 1.0), "{:?}", overlaps.depths);
}

#[test]
fn low_complexity_joins_nothing() {
    let unit = |len: usize, read: usize| [codes(len, 70), codes(500, 71 + read as u64)];
    let repeated = |read: usize| {
        let [unit, own] = unit(1 + read % 7, read);
        [own, unit.iter().copied().cycle().take(2_000).collect()].concat()
    };
    let overlaps = find(&(0..300).map(repeated).collect::<Vec<_>>());
    assert_eq!(overlaps.num_joined(), 0);
}

#[test]
fn a_deep_genome_stays_whole_and_its_depth_is_right() {
    let genome = codes(30_000, 80);
    for (depth, errors) in
        [(8.0, 0.04), (20.0, 0.04), (60.0, 0.04), (300.0, 0.04), (20.0, 0.12), (60.0, 0.12), (300.0, 0.12)]
    {
        let sample = Sample::of(&[&genome], 3_000, depth, errors);
        let overlaps = find(&sample.sequences);
        sample.assert_pure_and_whole(&overlaps, 1);
        // Reads away from the ends of the genome, where the coverage is as stated everywhere.
        let is_inside = |range: &Range<usize>| range.start > 6_000 && range.end < 24_000;
        let inside: Vec<f32> = (0..sample.places.len())
            .filter(|&read| is_inside(&sample.places[read].1))
            .map(|read| overlaps.depth(read))
            .collect();
        let mean = inside.iter().sum::<f32>() / inside.len() as f32;
        let expected = sample.sequences.len() as f32 * 3_000.0 / 27_000.0;
        assert!((mean / expected - 1.0).abs() < 0.2, "{mean} instead of {expected}, {errors}");
        assert!((0..sample.places.len()).all(|read| overlaps.neighbours(read).len() <= MAX_NEIGHBOURS));
    }
}

#[test]
fn mates_are_of_one_component() {
    let genome = codes(30_000, 90);
    let sample = Sample::of(&[&genome], 1_000, 10.0, 0.01);
    let mate = |name: &str, mate: u8, sequence: &[u8]| Read {
        name: name.into(),
        mate: Some(mate),
        sequence: PackedSequence::from_codes(sequence).unwrap(),
        ..Read::default()
    };
    // A fragment one mate of which lies in the genome, and one that nothing overlaps.
    let mut pairs = vec![mate("half", 1, &genome[5_000..6_000]), mate("half", 2, &codes(1_000, 91))];
    pairs.extend([mate("lone", 1, &codes(1_000, 92)), mate("lone", 2, &codes(1_000, 93))]);
    let single = sample.sequences.iter().map(|sequence| Read {
        name: "single".into(),
        sequence: PackedSequence::from_codes(sequence).unwrap(),
        ..Read::default()
    });
    let overlaps =
        Overlaps::find(&MemoryReads::new(pairs.into_iter().chain(single).collect()), &OverlapsConfig::default())
            .unwrap();
    assert_eq!([0, 1, 2, 3].map(|read| overlaps.component(read)), [Some(0), Some(0), None, None]);
    assert!(overlaps.neighbours(1).is_empty());
}

#[test]
fn reads_without_overlaps_are_alone() {
    for sequences in [vec![], vec![vec![]], vec![vec![4; 500]; 9], vec![codes(10, 1); 9], vec![codes(3_000, 1)]] {
        let overlaps = find(&sequences);
        assert_eq!((overlaps.num_reads(), overlaps.num_components()), (sequences.len(), 0));
        let alone = |read| overlaps.component(read).is_none() && overlaps.depth(read) == 1.0;
        assert!((0..sequences.len()).all(alone));
        assert_eq!(overlaps.error_rate(), None);
    }
    let unrelated: Vec<Vec<u8>> = (0..200).map(|i| codes(2_000, 100 + i)).collect();
    assert_eq!(find(&unrelated).num_joined(), 0);
}

#[test]
fn components_are_numbered_by_size_and_then_by_their_first_read() {
    let genomes = [codes(10_000, 120), codes(10_000, 121), codes(20_000, 122)];
    let sample = Sample::of(&[&genomes[0], &genomes[1], &genomes[2]], 2_000, 20.0, 0.01);
    let overlaps = find(&sample.sequences);
    let members: Vec<&[u32]> = (0..overlaps.num_components() as u32).map(|c| overlaps.members(c)).collect();
    assert!(members.is_sorted_by(|a, b| (b.len(), a[0]) < (a.len(), b[0])));
    assert!(members.iter().all(|members| members.is_sorted() && members.len() > 1));
    for (component, members) in members.iter().enumerate() {
        assert!(members.iter().all(|&read| overlaps.component(read as usize) == Some(component as u32)));
    }
}

#[test]
fn the_same_at_any_thread_count() {
    let genome = codes(100_000, 130);
    let sample = Sample::of(&[&genome], 3_000, 12.0, 0.05);
    let reads = reads(&sample.sequences);
    let found = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let overlaps = pool.install(|| Overlaps::find(&reads, &OverlapsConfig::default()).unwrap());
        format!("{overlaps:?}")
    };
    assert_eq!(found(1), found(3));
}

#[test]
fn of_too_many_kmers_fewer_are_looked_at() {
    let config = |max_kmers| OverlapsConfig { max_kmers };
    let sampling = |max_kmers| {
        let found = sampling(1_000, 10_000_000, 16, MAX_EVERY, &config(max_kmers));
        (found.every, found.every_read)
    };
    assert_eq!(sampling(1 << 20), (16, 1));
    assert_eq!(sampling(300_000), (34, 1));
    assert_eq!(sampling(50_000), (64, 4));
    // Bounded by the number of k-mers, whatever the reads.
    let most = Overlaps::memory_bytes(1_000, 10_000_000_000, &config(1 << 20));
    let bound =
        (1 << 20) * TIMES_OF_FEW as u64 * BYTES_OF_KMER + homology::MAX_BYTES + 1_000 * 4 * MAX_NEIGHBOURS as u64;
    assert!(most <= bound, "{most} and not {bound}");

    let genome = codes(40_000, 140);
    let sample = Sample::of(&[&genome], 4_000, 30.0, 0.0);
    let overlaps = Overlaps::find(&reads(&sample.sequences), &config(10_000)).unwrap();
    let joined = (0..300).filter(|&read| overlaps.component(read).is_some()).collect::<Vec<_>>();
    assert_eq!(joined, (0..300).step_by(2).collect::<Vec<_>>());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    // The oracle is where the reads were taken from.
    #[test]
    fn without_errors_overlaps_are_those_of_the_places(seed: u64, len in 400usize..3_000, num_reads in 2usize..40) {
        let genome = codes(12_000, seed);
        let depth = (num_reads * len) as f64 / genome.len() as f64;
        let sample = Sample::of(&[&genome], len, depth, 0.0);
        let overlaps = find(&sample.sequences);
        let places = &sample.places;
        for a in 0..places.len() {
            for b in 0..a {
                let shared = places[a].1.end.min(places[b].1.end) as i64 - places[a].1.start.max(places[b].1.start) as i64;
                let found = overlaps.neighbours(a).contains(&(b as u32));
                if shared <= 0 {
                    prop_assert!(!found, "{:?} and {:?}", places[a], places[b]);
                }
                // Half of a read holds enough k-mers.
                if 2 * shared >= len as i64 && overlaps.neighbours(a).len() < MAX_NEIGHBOURS {
                    prop_assert!(found, "{:?} and {:?}", places[a], places[b]);
                }
                prop_assert_eq!(found, overlaps.neighbours(b).contains(&(a as u32)));
            }
        }
    }
}

/// The genome with this share of its bases replaced by others.
fn diverged(genome: &[u8], share: f64, seed: u64) -> Vec<u8> {
    let mut rng = seed::rng(seed, 9);
    genome
        .iter()
        .map(|&base| if rng.random_bool(share) { (base + rng.random_range(1..4u8)) % 4 } else { base })
        .collect()
}

/// A genome with its own composition, which varies along it as it does from gene to gene.
fn structured(len: usize, seed: u64) -> Vec<u8> {
    const GENE: usize = 1_000;
    let mut rng = seed::rng(seed, 5);
    let own: Vec<f64> = (0..16).map(|_| rng.random_range(-0.4..0.4)).collect();
    let mut genome = vec![0u8];
    let mut here = own.clone();
    while genome.len() < len {
        if genome.len().is_multiple_of(GENE) {
            here = own.iter().map(|bias| bias + rng.random_range(-0.5..0.5)).collect();
        }
        let last = usize::from(genome[genome.len() - 1]);
        let weights: Vec<f64> = here[4 * last..4 * last + 4].iter().map(|bias| bias.exp()).collect();
        let mut at = rng.random_range(0.0..weights.iter().sum());
        let next = weights.iter().position(|&weight| {
            at -= weight;
            at < 0.0
        });
        genome.push(next.unwrap_or(3) as u8);
    }
    genome
}

/// Reads of pieces of genomes with no reads between the pieces.
fn in_pieces(genomes: &[&[u8]], num_pieces: usize) -> (Sample, Vec<(usize, usize)>) {
    const GAP: usize = 500;
    let (mut sample, mut pieces) = (Sample::default(), Vec::new());
    for (number, genome) in genomes.iter().enumerate() {
        for (piece, codes) in genome.chunks(genome.len().div_ceil(num_pieces)).enumerate() {
            sample.add(pieces.len(), &codes[..codes.len() - GAP], 8_000, 8.0, 0.05);
            pieces.push((number, piece));
        }
    }
    (sample, pieces)
}

#[test]
fn pieces_of_one_genome_are_one_component_and_those_of_a_sister_species_another() {
    let (one, other) = (structured(400_000, 50), structured(300_000, 51));
    let sister = diverged(&one, 0.12, 52);
    let (sample, pieces) = in_pieces(&[&one, &other, &sister], 3);
    let overlaps = find(&sample.sequences);
    // For each large component, the genomes that its pieces come from, and their number.
    let large = (0..overlaps.num_components() as u32).take_while(|&c| overlaps.members(c).len() >= 50);
    let mut found: Vec<(Vec<usize>, usize)> = large
        .map(|component| {
            let mut own: Vec<usize> =
                overlaps.members(component).iter().map(|&read| sample.places[read as usize].0).collect();
            own.sort_unstable();
            own.dedup();
            let mut genomes: Vec<usize> = own.iter().map(|&piece| pieces[piece].0).collect();
            genomes.dedup();
            (genomes, own.len())
        })
        .collect();
    found.sort_unstable();
    assert_eq!(found, [(vec![0], 3), (vec![1], 3), (vec![2], 3)]);
    let component = |genome: usize| {
        let read = sample.places.iter().position(|&(piece, _)| pieces[piece].0 == genome).unwrap();
        (read..).find_map(|read| overlaps.component(read)).unwrap()
    };
    assert_eq!(overlaps.homologs(component(0)), [component(2)]);
    assert!(overlaps.homologs(component(1)).is_empty());
}

#[test]
fn pieces_of_random_sequences_stay_apart() {
    let (one, other) = (codes(300_000, 60), codes(300_000, 61));
    let (sample, _) = in_pieces(&[&one, &other], 2);
    let overlaps = find(&sample.sequences);
    let (genomes, _) = sample.joined(&overlaps, 4);
    assert!(genomes.iter().all(|pieces| pieces.len() == 1), "{genomes:?}");
}

#[test]
fn sister_species_are_homologous_and_replicons_that_share_a_repeat_are_not() {
    let repeat = codes(600, 40);
    let with_repeat = |seed, at: usize| {
        let mut replicon = codes(80_000, seed);
        replicon[at..at + repeat.len()].copy_from_slice(&repeat);
        replicon
    };
    let (one, other) = (with_repeat(41, 10_000), with_repeat(42, 60_000));
    let sister = diverged(&one, 0.15, 43);
    for (errors, read_bp) in [(0.01, 4_000), (0.05, 4_000), (0.11, 8_000)] {
        let sample = Sample::of(&[&one, &other, &sister], read_bp, 15.0, errors);
        let overlaps = find(&sample.sequences);
        let genome = |component: u32| sample.places[overlaps.members(component)[0] as usize].0;
        let mut found = vec![];
        for component in (0..overlaps.num_components() as u32).filter(|&c| overlaps.members(c).len() >= 50) {
            for &homolog in overlaps.homologs(component) {
                assert!(overlaps.homologs(homolog).contains(&component));
                found.push((genome(component), genome(homolog)));
            }
        }
        found.sort_unstable();
        assert_eq!(found, [(0, 2), (2, 0)], "{errors}");
    }
}
