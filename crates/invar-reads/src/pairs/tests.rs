use std::collections::BTreeMap;

use invar_dataset::View;
use proptest::prelude::*;

use super::*;
use crate::{Alignment, MemoryReads, PackedSequence, Read, error_model::ErrorModelConfig, kmer::KmerConfig};

fn random_codes(len: usize, seed: u64) -> Vec<u8> {
    use rand::RngExt;
    let mut rng = seed::rng(seed, 77);
    (0..len).map(|_| rng.random_range(0..4u8)).collect()
}

/// FNV-1a, 64 bits (Fowler, Noll, Vo; draft-eastlake-fnv).
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01b3))
}

fn read(name: &str, len: usize) -> Read {
    let sequence = PackedSequence::from_codes(&random_codes(len, hash(name.as_bytes()))).unwrap();
    Read { name: name.into(), sequence, ..Read::default() }
}

fn mates(name: &str, lens: [usize; 2]) -> [Read; 2] {
    [1, 2].map(|mate| Read { mate: Some(mate), ..read(name, lens[usize::from(mate) - 1]) })
}

fn aligned(name: &str, len: usize, position: u32) -> Read {
    let alignment =
        Alignment { reference: 0, position, span_bp: len as u32, is_reverse: false, mapping_quality: Some(60) };
    Read { alignment: Some(alignment), ..read(name, len) }
}

fn strand(window_bp: u32) -> PairKindConfig {
    PairKindConfig::Strand(StrandConfig { window_bp: Some(WindowLength::fixed(window_bp)), ..StrandConfig::default() })
}

fn windows(window_bp: u32) -> PairKindConfig {
    PairKindConfig::Windows(WindowsConfig { window_bp: WindowLength::fixed(window_bp), ..WindowsConfig::default() })
}

fn overlap(min_overlap_bp: u32) -> PairKindConfig {
    PairKindConfig::Overlap(OverlapConfig { min_overlap_bp, ..OverlapConfig::default() })
}

fn every_mates() -> PairKindConfig {
    PairKindConfig::Mates(MatesConfig::default())
}

fn with_errors(reads: Vec<Read>, kinds: Vec<PairKindConfig>, error_model: ErrorModelConfig) -> ReadPairs {
    let config = ReadPairsConfig { error_model, kinds, ..ReadPairsConfig::default() };
    ReadPairs::new(Arc::new(MemoryReads::new(reads)), &config, &Representation::Tokens).unwrap()
}

fn pairs(reads: Vec<Read>, kinds: Vec<PairKindConfig>) -> ReadPairs {
    with_errors(reads, kinds, ErrorModelConfig::None {})
}

fn refusal(reads: Vec<Read>, kinds: Vec<PairKindConfig>) -> PairsError {
    let config = ReadPairsConfig { kinds, ..ReadPairsConfig::default() };
    let source = ReadPairs::new(Arc::new(MemoryReads::new(reads)), &config, &Representation::default());
    source.err().expect("the source is refused")
}

/// Reads of every kind: long, short, mates, aligned, one with N.
fn mixture() -> Vec<Read> {
    let mut reads = vec![read("long", 5_000), read("short", 40)];
    reads.extend(mates("fragment", [150, 140]));
    reads.extend([aligned("a", 300, 1_000), aligned("b", 300, 1_100), aligned("c", 300, 9_000)]);
    let mut codes = random_codes(900, 5);
    codes[100..130].fill(4);
    reads.push(Read { sequence: PackedSequence::from_codes(&codes).unwrap(), ..read("with_n", 0) });
    reads
}

fn mixed_kinds() -> Vec<PairKindConfig> {
    vec![strand(200), windows(100), every_mates(), overlap(150)]
}

proptest! {
    #[test]
    fn a_view_is_what_it_says(seed: u64, sample in 0usize..7) {
        let source = pairs(mixture(), mixed_kinds());
        prop_assert_eq!(source.len(), 7);
        let drawn = source.draw(sample, seed, Purpose::Show).unwrap();
        for view in &drawn.views {
            let mut expected = source.reads.sequence(view.read).unwrap().to_codes()[view.range.clone()].to_vec();
            if view.is_reverse {
                reverse_complement_codes(&mut expected);
            }
            prop_assert_eq!(&view.codes, &expected);
        }
        let [a, b] = &drawn.views;
        match drawn.kind {
            PairKind::Strand => prop_assert!(a.range == b.range && a.read == b.read && a.is_reverse != b.is_reverse),
            PairKind::Windows => {
                prop_assert!(a.read == b.read && a.range.len() == 100 && b.range.len() == 100);
                prop_assert!(a.range.end <= b.range.start || b.range.end <= a.range.start);
            }
            PairKind::Mates => prop_assert_eq!(source.reads.mate_of(a.read), Some(b.read)),
            PairKind::Overlap => prop_assert_eq!([a.read.min(b.read), a.read.max(b.read)], [4, 5]),
            PairKind::OverlapComponent | PairKind::OverlapWalk => prop_assert!(false, "not in the recipe"),
        }
        // The pair consists of the same views, and belongs to the sample it was asked for.
        let pair = source.pair(sample, seed).unwrap();
        let tokens = |view: &DrawnView| View::tokens(view.codes.iter().map(|&code| i32::from(code)).collect());
        prop_assert_eq!(pair.views().cloned().collect::<Vec<_>>(), drawn.views.iter().map(tokens).collect::<Vec<_>>());
        // Each view belongs to the fragment of its read; the first one's is the one that was asked for.
        let ids: Vec<SampleId> = pair.views.iter().map(|&(id, _)| id).collect();
        prop_assert_eq!(&ids, &drawn.views.iter().map(|view| source.reads.sample_id(view.read).unwrap()).collect::<Vec<_>>());
        prop_assert_eq!(ids[0], source.split_key(sample));
        prop_assert_eq!(ids[0] == ids[1], drawn.kind != PairKind::Overlap);
        prop_assert_eq!(pair.links, None);
    }

    #[test]
    fn profiles_of_a_strand_pair_are_equal_to_the_last_bit(seed: u64, len in 1usize..600, window in 1u32..700) {
        let config = ReadPairsConfig { kinds: vec![strand(window)], ..ReadPairsConfig::default() };
        let representation = Representation::Kmers(KmerConfig { ks: vec![4], ..KmerConfig::default() });
        let reads = Arc::new(MemoryReads::new(vec![read("r", len)]));
        let source = ReadPairs::new(reads, &config, &representation).unwrap();
        prop_assert_eq!(source.view_shapes(), vec![ViewShape::Dense(vec![136])]);
        let views = source.pair(0, seed).unwrap().views;
        prop_assert_eq!(&views[0].1, &views[1].1);
    }
}

#[test]
fn the_same_at_any_thread_count() {
    let draw_all = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let source = with_errors(mixture(), mixed_kinds(), ErrorModelConfig::Ont {});
            let draws: Vec<Pair> =
                (0..7 * 40).into_par_iter().map(|i| source.pair(i % 7, (i / 7) as u64).unwrap()).collect();
            (source.able(), draws)
        })
    };
    assert_eq!(draw_all(1), draw_all(2));
}

/// What a seed draws is part of the recipe: a change breaks resuming for every run. The number comes from this
/// implementation.
#[test]
fn a_seed_keeps_its_meaning() {
    let source = with_errors(mixture(), mixed_kinds(), ErrorModelConfig::Ont {});
    let mut codes = Vec::new();
    for sample in 0..source.len() {
        for seed in 0..20 {
            codes.extend(
                source.draw(sample, seed, Purpose::Show).unwrap().views.into_iter().flat_map(|view| view.codes),
            );
        }
    }
    assert_eq!(format!("{:016x}", hash(&codes)), "685f54bfa08c0645");
}

#[test]
fn seeds_and_strands_vary() {
    let source = pairs(vec![read("r", 5_000)], vec![windows(100)]);
    let draws: Vec<_> = (0..2_000).map(|seed| source.draw(0, seed, Purpose::Show).unwrap()).collect();
    let mut starts: Vec<_> = draws.iter().map(|pair| pair.views[0].range.start).collect();
    starts.sort_unstable();
    starts.dedup();
    assert!(starts.len() > 1_500, "{} different starts", starts.len());
    // Each view on either strand, both independent, the anchor on either side: a quarter or a half of 2,000, within
    // five standard deviations.
    // five standard deviations.
    let count = |what: fn(&DrawnPair) -> bool| draws.iter().filter(|pair| what(pair)).count() as f64;
    let half = 5.0 * (2_000.0f64 * 0.25).sqrt();
    assert!((count(|p| p.views[0].is_reverse) - 1_000.0).abs() < half);
    assert!((count(|p| p.views[1].is_reverse) - 1_000.0).abs() < half);
    assert!((count(|p| p.views[0].is_reverse == p.views[1].is_reverse) - 1_000.0).abs() < half);
    assert!((count(|p| p.views[0].range.start < p.views[1].range.start) - 1_000.0).abs() < half);
}

#[test]
fn kinds_are_mixed_by_weight() {
    let weighted = |kind, weight| match kind {
        PairKindConfig::Strand(config) => PairKindConfig::Strand(StrandConfig { weight, ..config }),
        PairKindConfig::Windows(config) => PairKindConfig::Windows(WindowsConfig { weight, ..config }),
        other => other,
    };
    let source = pairs(vec![read("r", 5_000)], vec![weighted(windows(100), 3.0), weighted(strand(100), 1.0)]);
    let strands =
        (0..4_000).filter(|&seed| source.draw(0, seed, Purpose::Show).unwrap().kind == PairKind::Strand).count();
    assert!((strands as f64 - 1_000.0).abs() < 5.0 * (4_000.0f64 * 0.25 * 0.75).sqrt(), "{strands} of 4000");
}

#[test]
fn samples_fall_back_along_the_documented_order() {
    use PairKind::{Mates, Overlap, Strand, Windows};
    let source = pairs(mixture(), mixed_kinds());
    let mut seen = BTreeMap::new();
    for sample in 0..source.len() {
        for seed in 0..200 {
            let pair = source.draw(sample, seed, Purpose::Show).unwrap();
            seen.entry((sample, pair.asked)).or_insert_with(Vec::new).push(pair.kind);
        }
    }
    let given = |sample: usize| {
        let mut row = Vec::new();
        for asked in [Overlap, Mates, Windows, Strand] {
            let mut kinds = seen[&(sample, asked)].clone();
            kinds.dedup();
            assert_eq!(kinds.len(), 1, "sample {sample} asked for {asked}");
            row.push(kinds[0]);
        }
        row
    };
    assert_eq!(given(0), [Windows, Windows, Windows, Strand]); // long: nothing aligned, no mate
    assert_eq!(given(1), [Strand, Strand, Strand, Strand]); // 40 bp: not even two windows of 100
    assert_eq!(given(2), [Mates, Mates, Strand, Strand]); // mates of 150 and 140
    assert_eq!(given(3), [Overlap, Windows, Windows, Strand]); // a, over b
    assert_eq!(given(5), [Windows, Windows, Windows, Strand]); // c, alone
    // Samples that are able to: all; long, a, b, c and with_n; the fragment; a and b.
    let able = [(Strand, 7), (Windows, 5), (Mates, 1), (Overlap, 2)];
    assert_eq!(source.able(), able);
}

#[test]
fn without_strand_in_the_recipe_the_drawn_kind_lends_its_window_and_errors() {
    let config = MatesConfig {
        window_bp: Some(WindowLength::fixed(60)),
        error_model: Some(ErrorModelConfig::Custom { substitution: 0.5, insertion: 0.0, deletion: 0.0 }),
        ..MatesConfig::default()
    };
    let mut reads = vec![read("alone", 100)];
    reads.extend(mates("fragment", [100, 100]));
    let source = pairs(reads, vec![PairKindConfig::Mates(config)]);
    let pair = source.draw(0, 1, Purpose::Show).unwrap();
    assert_eq!((pair.kind, pair.asked), (PairKind::Strand, PairKind::Mates));
    assert_eq!(pair.views[0].range.len(), 60);
    assert!(pair.views[0].errors.substitutions > 5);
}

#[test]
fn a_read_shorter_than_the_window_is_used_whole() {
    let source = pairs(vec![read("r", 50)], vec![strand(200)]);
    assert_eq!(source.draw(0, 0, Purpose::Show).unwrap().views[1].range, 0..50);
}

#[test]
fn a_view_is_never_empty() {
    let model = ErrorModelConfig::Custom { substitution: 0.0, insertion: 0.0, deletion: 0.5 };
    let source = with_errors(vec![read("r", 1)], vec![strand(10)], model);
    for seed in 0..50 {
        let pair = source.draw(0, seed, Purpose::Show).unwrap();
        assert!(pair.views.iter().all(|view| view.codes.len() == 1 && view.errors == ErrorCounts::default()));
    }
}

#[test]
fn mates_are_one_sample() {
    let mut reads = vec![read("alone", 100)];
    reads.extend(mates("x", [100, 90]));
    reads.extend(mates("y", [80, 70]));
    let source = pairs(reads, vec![every_mates()]);
    assert_eq!(source.len(), 3);
    assert_eq!(source.split_key(2), source.reads.sample_id(3).unwrap());
    let ids: Vec<SampleId> = (0..5).map(|read| source.reads.sample_id(read).unwrap()).collect();
    assert!(ids[1] == ids[2] && ids[3] == ids[4] && ids[0] != ids[1] && ids[1] != ids[3]);
    assert!(source.pair(2, 0).unwrap().views.iter().all(|&(id, _)| id == ids[3]));
    let views = source.draw(2, 0, Purpose::Show).unwrap().views;
    assert_eq!(views.map(|view| (view.read, view.range)), [(3, 0..80), (4, 0..70)]);
}

#[test]
fn a_kind_that_no_sample_can_give_is_refused() {
    let message = |reads, kind| refusal(reads, vec![strand(10), kind]).to_string();
    assert_eq!(
        message(vec![read("r", 1_999)], windows(1_000)),
        "no windows pair can be drawn from these 1 samples: two windows need a read of 2000 bp, the longest has 1999 bp"
    );
    assert_eq!(
        message(vec![read("r", 100), read("s", 100)], every_mates()),
        "no mates pair can be drawn from these 2 samples: no read has a mate"
    );
    assert_eq!(
        message(vec![aligned("a", 300, 1), aligned("b", 300, 202), aligned("c", 50, 1)], overlap(100)),
        "no overlap pair can be drawn from these 3 samples: no two reads overlap by 100 bp, and 2 reads are aligned \
         over as many"
    );
    assert_eq!(
        refusal(vec![read("r", 0)], vec![strand(10)]).to_string(),
        "no strand pair can be drawn from these 1 samples: no read has a base"
    );
    assert_eq!(
        refusal(vec![], vec![strand(10)]).to_string(),
        "drawing pairs needs at least 1 samples, the dataset has 0"
    );
    assert!(refusal(vec![], vec![strand(10)]).is_bad_input());
    let config = refusal(vec![read("r", 9)], vec![strand(0)]);
    assert_eq!(config.to_string(), "kinds[0].window_bp = 0: a window has at least 1 base");
    assert!(!config.is_bad_input());
}

fn overlap_walk(window_bp: u32) -> PairKindConfig {
    let window_bp = WindowLength::fixed(window_bp);
    PairKindConfig::OverlapWalk(OverlapWalkConfig { window_bp, ..OverlapWalkConfig::default() })
}

#[test]
fn an_overlap_walk_pair_is_of_two_reads() {
    let genome = random_codes(5_000, 9);
    let part = |name: &str, range: Range<usize>| Read {
        sequence: PackedSequence::from_codes(&genome[range]).unwrap(),
        ..read(name, 0)
    };
    let reads = vec![part("a", 0..2_000), part("b", 1_500..3_500), part("c", 3_000..5_000), read("alone", 2_000)];
    let source = pairs(reads, vec![overlap_walk(400), windows(300)]);
    assert_eq!(source.able(), [(PairKind::OverlapWalk, 3), (PairKind::Windows, 4)]);
    let mut partners = [0; 4];
    for seed in 0..200 {
        let pair = source.draw(0, seed, Purpose::Show).unwrap();
        if pair.kind == PairKind::OverlapWalk {
            assert_eq!((pair.views[0].read, pair.views[0].range.len()), (0, 400));
            partners[pair.views[1].read] += 1;
            // The second view has the id that its read has as an anchor.
            let ids: Vec<SampleId> = source.pair(0, seed).unwrap().views.iter().map(|&(id, _)| id).collect();
            assert_eq!(ids, [source.split_key(0), source.split_key(pair.views[1].read)]);
        }
        let alone = source.draw(3, seed, Purpose::Show).unwrap();
        assert_eq!(alone.kind, PairKind::Windows);
    }
    assert!(partners[0] == 0 && partners[1] > 20 && partners[2] > 20 && partners[3] == 0, "{partners:?}");
}

#[test]
fn an_overlap_component_pair_is_of_any_two_reads_of_it_and_carries_it() {
    let genome = random_codes(12_000, 9);
    let part = |(number, range): (usize, Range<usize>)| Read {
        sequence: PackedSequence::from_codes(&genome[range]).unwrap(),
        ..read(&format!("r{number}"), 0)
    };
    let mut reads: Vec<Read> = (0..6).map(|i| i * 1_800..i * 1_800 + 3_000).enumerate().map(part).collect();
    reads.push(read("alone", 3_000));
    let component = PairKindConfig::OverlapComponent(OverlapComponentConfig {
        window_bp: WindowLength::fixed(400),
        ..OverlapComponentConfig::default()
    });
    let source = pairs(reads.clone(), vec![component, windows(300)]);
    assert_eq!(source.able(), [(PairKind::OverlapComponent, 6), (PairKind::Windows, 7)]);
    assert_eq!(source.overlaps().unwrap().members(0), [0, 1, 2, 3, 4, 5]);
    let mut partners = [0; 7];
    for seed in 0..2_000 {
        let shown = source.draw(0, seed, Purpose::Show).unwrap();
        if shown.kind == PairKind::OverlapComponent {
            assert_eq!(shown.views.each_ref().map(|view| view.range.len()), [400, 400]);
            partners[shown.views[1].read] += 1;
        }
        // Of either kind: these reads belong to one genome.
        assert_eq!(source.pair(0, seed).unwrap().group, Some(GroupId(0)));
        assert_eq!(source.pair(6, seed).unwrap().group, None);
        assert_eq!(source.draw(6, seed, Purpose::Show).unwrap().kind, PairKind::Windows);
    }
    // About 1,000 draws among five, equally likely.
    assert!(
        partners[0] == 0 && partners[6] == 0 && partners[1..6].iter().all(|&n| (150..250).contains(&n)),
        "{partners:?}"
    );
    let text = source.describe(0, 1).unwrap();
    assert!(text.ends_with("  of component 0, 6 reads\n"), "{text}");

    // Without the kind in the recipe pairs carry no group.
    let source = pairs(reads, vec![overlap_walk(400), windows(300)]);
    assert!((0..50).all(|seed| source.pair(0, seed).unwrap().group.is_none()));
}

#[test]
fn without_overlaps_another_kind_of_the_recipe_does() {
    let alone = || vec![read("r", 3_000), read("s", 3_000)];
    let source = pairs(alone(), vec![overlap_walk(400), windows(300)]);
    assert_eq!(source.able(), [(PairKind::OverlapWalk, 0), (PairKind::Windows, 2)]);
    assert_eq!(
        refusal(alone(), vec![overlap_walk(400)]).to_string(),
        "no overlap-walk pair can be drawn from these 2 samples: no two reads of different molecules overlap, and the \
         longest has 3000 bp"
    );
}

#[test]
fn an_empty_read_among_others_is_an_error_of_its_own() {
    let source = pairs(vec![read("r", 10), read("empty", 0)], vec![strand(10)]);
    let message = source.pair(1, 0).unwrap_err().to_string();
    assert_eq!(message, "sample \"empty\": it has 0 bases, a view needs at least 1");
}

#[test]
fn a_pair_in_words() {
    let sequence = PackedSequence::from_ascii(b"AAAACCCCGG").unwrap();
    let place = Alignment { reference: 2, position: 11, span_bp: 10, is_reverse: true, mapping_quality: None };
    let reads = vec![Read { name: "r".into(), sequence, alignment: Some(place), ..Read::default() }];
    let text = pairs(reads, vec![strand(20)]).describe(0, 3).unwrap();
    let aligned = "aligned at reference 2:11-20 (-)";
    let numbers = "0 substitutions, 0 insertions, 0 deletions, 10 bases";
    let expected = [
        "sample 0 (r): strand pair".to_owned(),
        format!(
            "  view 1: read r, bases 1-10 of 10, forward strand, {aligned}\n          {numbers}\n          AAAACCCCGG"
        ),
        format!(
            "  view 2: read r, bases 1-10 of 10, reverse strand, {aligned}\n          {numbers}\n          CCGGGGTTTT"
        ),
        "  the same window\n".to_owned(),
    ];
    let swapped = [&expected[0], &expected[2], &expected[1], &expected[3]]
        .map(|line| line.replace("view 2", "view x").replace("view 1", "view 2").replace("view x", "view 1"));
    assert!([expected.join("\n"), swapped.join("\n")].contains(&text), "{text}");
    let mut reads = vec![read("alone", 4_000)];
    reads.extend(mates("fragment", [100, 100]));
    let text = pairs(reads, vec![every_mates(), windows(100)]).describe(0, 1).unwrap();
    assert!(text.starts_with("sample 0 (alone): windows pair"), "{text}");
    assert!(text.contains("bp apart") && text.contains("..."), "{text}");
}

#[test]
fn what_is_not_unpacked_is_the_same_view() {
    let reads = Arc::new(MemoryReads::new(vec![read("a", 3_000), read("b", 2_500)]));
    let windows =
        PairKindConfig::Windows(WindowsConfig { window_bp: WindowLength::fixed(700), ..WindowsConfig::default() });
    let config =
        ReadPairsConfig { error_model: ErrorModelConfig::None {}, kinds: vec![windows], ..ReadPairsConfig::default() };
    let source = ReadPairs::new(reads, &config, &Representation::Kmers(KmerConfig::default())).unwrap();
    for seed in 0..20 {
        let shown = source.draw(1, seed, Purpose::Show).unwrap().views.map(|view| source.maker.of_codes(&view.codes));
        assert!(source.pair(1, seed).unwrap().views().eq(&shown));
    }
}

/// More reads than can be numbered, none of which is ever read.
struct TooMany;

impl Reads for TooMany {
    fn len(&self) -> usize {
        1 << 32
    }
    fn name(&self, index: usize) -> Result<&str, DatasetError> {
        panic!("read {index} is looked at")
    }
    fn sequence(&self, index: usize) -> Result<crate::PackedSlice<'_>, DatasetError> {
        panic!("read {index} is looked at")
    }
    fn sample_id(&self, index: usize) -> Result<SampleId, DatasetError> {
        panic!("read {index} is looked at")
    }
    fn sample_name(&self, index: usize) -> Result<SampleName, DatasetError> {
        panic!("read {index} is looked at")
    }
    fn are_one_molecule(&self, a: usize, b: usize) -> bool {
        panic!("reads {a} and {b} are looked at")
    }
    fn mate_of(&self, index: usize) -> Option<usize> {
        panic!("read {index} is looked at")
    }
    fn alignment(&self, index: usize) -> Option<Alignment> {
        panic!("read {index} is looked at")
    }
}

#[test]
fn more_reads_than_numbers_are_an_error() {
    let config = ReadPairsConfig { kinds: vec![strand(100)], ..ReadPairsConfig::default() };
    let error = ReadPairs::new(Arc::new(TooMany), &config, &Representation::Tokens).map(|_| ()).unwrap_err();
    assert_eq!(error.to_string(), "drawing pairs takes at most 4294967295 samples, the dataset has 4294967296");
    assert!(error.is_bad_input());
}

#[test]
fn hidden_bases_are_targets_and_nothing_else_changes() {
    let reads: Arc<dyn Reads> = Arc::new(MemoryReads::new(vec![read("a", 3_000), read("b", 2_000)]));
    let of = |masked: f64, representation: &Representation| {
        let config = ReadPairsConfig { masked, kinds: vec![windows(400)], ..ReadPairsConfig::default() };
        ReadPairs::new(Arc::clone(&reads), &config, representation)
    };
    let (plain, hidden) = (of(0.0, &Representation::Tokens).unwrap(), of(0.2, &Representation::Tokens).unwrap());
    let mut shares = vec![];
    for seed in 0..20 {
        for index in 0..2 {
            let (a, b) = (plain.pair(index, seed).unwrap(), hidden.pair(index, seed).unwrap());
            assert_eq!(hidden.pair(index, seed).unwrap(), b);
            for ((_, a), (_, b)) in a.views.iter().zip(&b.views) {
                let View::Tokens { ids, targets: None } = a else { panic!("{a:?}") };
                let View::Tokens { ids: shown, targets: Some(targets) } = b else { panic!("{b:?}") };
                for ((&id, &shown), &target) in ids.iter().zip(shown).zip(targets) {
                    assert!(if target == -1 { shown == id } else { shown == 4 && target == id });
                }
                shares.push(targets.iter().filter(|&&target| target >= 0).count() as f64 / targets.len() as f64);
            }
        }
    }
    let mean = shares.iter().sum::<f64>() / shares.len() as f64;
    assert!((mean - 0.2).abs() < 0.02, "{mean}");
    let error = of(0.2, &Representation::default()).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("masked") && error.contains("no bases to hide"), "{error}");
    let error = of(1.0, &Representation::Tokens).map(|_| ()).unwrap_err().to_string();
    assert!(error.contains("a share is at least 0 and less than 1"), "{error}");
}
