//! Sequencing errors: substitutions, insertions and deletions, independent and uniform along the read.
//!
//! Every base of the input has at most one event: with probability `substitution` it becomes one of the three other
//! bases, with `insertion` a random base is inserted before it, with `deletion` it is left out. Each base drawn is
//! uniform. The distance to the next event is drawn (geometric), not the fate of every base: the cost depends on the
//! number of errors.
//!
//! ```
//! use invar_reads::error_model::{ErrorModel, ErrorModelConfig};
//! let model = ErrorModel::new(&ErrorModelConfig::Custom { substitution: 0.05, insertion: 0.0, deletion: 0.0 }).unwrap();
//! let (read, mut with_errors) = (vec![0; 10_000], Vec::new());
//! let errors = model.apply(&read, &mut invar_dataset::seed::rng(1, 0), &mut with_errors);
//! assert_eq!(errors.substitutions as usize, with_errors.iter().filter(|&&code| code != 0).count());
//! ```

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::{ConfigError, packed::CODE_N};

/// The errors a sequencer makes, per base of the molecule.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum ErrorModelConfig {
    /// No errors.
    None {},
    /// 0.11 % substitutions, 5e-6 insertions, 5e-6 deletions. Substitutions: the median NovaSeq 6000 run of Stoler and
    /// Nekrutenko 2021 (NAR Genom. Bioinform. 3:lqab019). Indels: the order of magnitude of Schirmer et al. 2016 (BMC
    /// Bioinformatics 17:125).
    Illumina {},
    /// 5 % in total, substitutions : insertions : deletions 39 : 24 : 36. Total: between R9.4 (6 %, Delahaye and
    /// Nicolas 2021, PLoS ONE 16:e0257521) and later chemistries. Ratio: PBSIM3 for ONT (Ono et al. 2022, NAR Genom.
    /// Bioinform. 4:lqac092).
    Ont {},
    /// 15 % in total, 10 : 60 : 30: PacBio continuous long reads, defaults of PBSIM (Ono et al. 2013, Bioinformatics
    /// 29:119).
    PacbioClr {},
    /// 0.2 % in total (Wenger et al. 2019, Nat. Biotechnol. 37:1155), 6 : 21 : 73 (PBSIM for circular consensus reads).
    Hifi {},
    /// Custom rates.
    Custom {
        /// Probability that a base is replaced by another one.
        #[serde(default)]
        substitution: f64,
        /// Probability that a base is inserted before a base.
        #[serde(default)]
        insertion: f64,
        /// Probability that a base is left out.
        #[serde(default)]
        deletion: f64,
    },
}

impl Default for ErrorModelConfig {
    fn default() -> Self {
        Self::None {}
    }
}

/// Probability per base of each kind of error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ErrorRates {
    /// A base is replaced by another one.
    pub substitution: f64,
    /// A base is inserted before a base.
    pub insertion: f64,
    /// A base is left out.
    pub deletion: f64,
}

impl ErrorRates {
    /// Probability of any event at a base.
    pub fn total(&self) -> f64 {
        self.substitution + self.insertion + self.deletion
    }
}

impl ErrorModelConfig {
    /// The rates of the named sequencer.
    pub fn rates(&self) -> ErrorRates {
        let split = |total: f64, [s, i, d]: [f64; 3]| {
            let unit = total / (s + i + d);
            ErrorRates { substitution: s * unit, insertion: i * unit, deletion: d * unit }
        };
        match *self {
            Self::None {} => split(0.0, [1.0; 3]),
            Self::Illumina {} => ErrorRates { substitution: 0.0011, insertion: 5e-6, deletion: 5e-6 },
            Self::Ont {} => split(0.05, [39.0, 24.0, 36.0]),
            Self::PacbioClr {} => split(0.15, [10.0, 60.0, 30.0]),
            Self::Hifi {} => split(0.002, [6.0, 21.0, 73.0]),
            Self::Custom { substitution, insertion, deletion } => ErrorRates { substitution, insertion, deletion },
        }
    }
}

/// Number of errors introduced into a sequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// Bases replaced by another one.
    pub substitutions: u32,
    /// Bases inserted.
    pub insertions: u32,
    /// Bases left out.
    pub deletions: u32,
}

/// Introduces errors into sequences.
#[derive(Clone, Debug)]
pub struct ErrorModel {
    /// `None` if there are no errors.
    gaps: Option<GapSampler>,
    /// An event is a substitution below the first limit, an insertion below the second, otherwise a deletion; out of
    /// 2^32.
    limits: [u64; 2],
}

impl ErrorModel {
    /// Prepares the tables.
    ///
    /// # Errors
    /// If a rate is negative or not a number, or they sum to more than 0.5.
    pub fn new(config: &ErrorModelConfig) -> Result<Self, ConfigError> {
        let rates = config.rates();
        let named =
            [("substitution", rates.substitution), ("insertion", rates.insertion), ("deletion", rates.deletion)];
        for (name, rate) in named {
            if !(0.0..=0.5).contains(&rate) {
                return Err(ConfigError::new(name, rate, "a rate per base is between 0 and 0.5"));
            }
        }
        let total = rates.total();
        if total > 0.5 {
            let reason = "the rates per base may sum to at most 0.5";
            return Err(ConfigError::new("substitution + insertion + deletion", total, reason));
        }
        let limit = |rate: f64| (rate / total * 2f64.powi(32)) as u64;
        let limits = [limit(rates.substitution), limit(rates.substitution + rates.insertion)];
        Ok(Self { gaps: (total > 0.0).then(|| GapSampler::new(total)), limits })
    }

    /// Whether it never changes or draws anything.
    pub fn is_none(&self) -> bool {
        self.gaps.is_none()
    }

    /// Writes `codes` (0 to 3, 4 for N) with errors to `output`, replacing its content. Substituting an N leaves it N.
    pub fn apply(&self, codes: &[u8], rng: &mut impl Rng, output: &mut Vec<u8>) -> ErrorCounts {
        output.clear();
        let mut counts = ErrorCounts::default();
        let Some(gaps) = &self.gaps else {
            output.extend_from_slice(codes);
            return counts;
        };
        output.reserve(codes.len() + codes.len() / 8 + 16);
        let mut rest = codes;
        loop {
            let gap = gaps.draw(rng, rest.len());
            let (untouched, from_event) = rest.split_at(gap);
            output.extend_from_slice(untouched);
            let Some((&code, after)) = from_event.split_first() else { return counts };
            rest = after;
            // The high half of the word chooses the kind of event, the low half the base.
            let word = rng.next_u64();
            let (kind, low) = (word >> 32, word & 0xffff_ffff);
            if kind < self.limits[0] {
                counts.substitutions += 1;
                let step = 1 + ((low * 3) >> 32) as u8;
                output.push(if code == CODE_N { CODE_N } else { (code + step) & 3 });
            } else if kind < self.limits[1] {
                counts.insertions += 1;
                output.extend([(low >> 30) as u8, code]);
            } else {
                counts.deletions += 1;
            }
        }
    }
}

const TABLE: usize = 256;

/// Draws how many bases precede the next event, if every base has one with probability `p`: geometric, `P(gap >= g) =
/// (1 - p)^g`, by inversion in a table. A draw beyond the table starts again from its end, since the geometric
/// distribution is memoryless. No logarithm, so the gaps are the same on every platform.
#[derive(Clone, Debug)]
struct GapSampler {
    /// `below[g]` of 2^64 draws give a gap of `g` or less.
    below: Box<[u64; TABLE]>,
    /// The smallest gap possible for a draw with this high byte.
    guide: Box<[u16; TABLE]>,
}

impl GapSampler {
    fn new(p: f64) -> Self {
        let mut below = Box::new([0; TABLE]);
        let mut longer = 1.0; // P(gap > g)
        for limit in below.iter_mut() {
            longer *= 1.0 - p;
            *limit = ((1.0 - longer) * 2f64.powi(64)) as u64;
        }
        let mut guide = Box::new([0; TABLE]);
        for (high, first) in guide.iter_mut().enumerate() {
            *first = below.partition_point(|&limit| limit <= (high as u64) << 56) as u16;
        }
        Self { below, guide }
    }

    /// A gap, or `most` if it would be at least that.
    #[inline]
    fn draw(&self, rng: &mut impl Rng, most: usize) -> usize {
        let mut gap = 0;
        while gap < most {
            let word = rng.next_u64();
            let first = usize::from(self.guide[(word >> 56) as usize]);
            if let Some(more) = self.below[first..].iter().position(|&limit| word < limit) {
                return (gap + first + more).min(most);
            }
            gap += TABLE;
        }
        most
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use invar_dataset::seed;
    use proptest::prelude::*;

    const PRESETS: [ErrorModelConfig; 5] = [
        ErrorModelConfig::None {},
        ErrorModelConfig::Illumina {},
        ErrorModelConfig::Ont {},
        ErrorModelConfig::PacbioClr {},
        ErrorModelConfig::Hifi {},
    ];

    /// The number of trials is within five standard deviations of its binomial mean: by chance outside once in 1.7
    /// million.
    fn assert_binomial(what: &str, hits: u32, trials: usize, p: f64) {
        let (mean, deviation) = (trials as f64 * p, (trials as f64 * p * (1.0 - p)).sqrt());
        assert!((f64::from(hits) - mean).abs() <= 5.0 * deviation, "{what}: {hits} hits, {mean} +- {deviation}");
    }

    #[test]
    fn rates_are_met() {
        let codes: Vec<u8> = (0..2_000_000).map(|i| (i % 4) as u8).collect();
        let custom = ErrorModelConfig::Custom { substitution: 0.2, insertion: 0.05, deletion: 0.1 };
        for config in PRESETS.into_iter().chain([custom]) {
            let (rates, mut output) = (config.rates(), Vec::new());
            let counts = ErrorModel::new(&config).unwrap().apply(&codes, &mut seed::rng(7, 0), &mut output);
            assert_binomial("substitutions", counts.substitutions, codes.len(), rates.substitution);
            assert_binomial("insertions", counts.insertions, codes.len(), rates.insertion);
            assert_binomial("deletions", counts.deletions, codes.len(), rates.deletion);
            assert_eq!(output.len(), codes.len() + counts.insertions as usize - counts.deletions as usize);
        }
    }

    #[test]
    fn substituted_and_inserted_bases_are_uniform() {
        let codes = vec![2; 1_000_000];
        let count = |config: ErrorModelConfig, code: u8| {
            let mut output = Vec::new();
            let counts = ErrorModel::new(&config).unwrap().apply(&codes, &mut seed::rng(3, 1), &mut output);
            (output.iter().filter(|&&other| other == code).count() as u32, counts)
        };
        for code in [0, 1, 3] {
            let config = ErrorModelConfig::Custom { substitution: 0.1, insertion: 0.0, deletion: 0.0 };
            let (hits, counts) = count(config, code);
            assert_binomial("substituted", hits, counts.substitutions as usize, 1.0 / 3.0);
            let config = ErrorModelConfig::Custom { substitution: 0.0, insertion: 0.1, deletion: 0.0 };
            let (hits, counts) = count(config, code);
            assert_binomial("inserted", hits, counts.insertions as usize, 0.25);
        }
    }

    // Closed form: gaps are geometric, P(gap = g) = p (1 - p)^g, even across the end of the table.
    #[test]
    fn gaps_are_geometric() {
        for p in [0.3, 0.02, 0.001] {
            let (sampler, mut rng) = (GapSampler::new(p), seed::rng(11, 0));
            let draws: Vec<usize> = (0..200_000).map(|_| sampler.draw(&mut rng, usize::MAX)).collect();
            for limit in [1, 2, 10, 255, 256, 257, 600, 1_500] {
                let hits = draws.iter().filter(|&&gap| gap >= limit).count() as u32;
                assert_binomial("gaps", hits, draws.len(), (1.0f64 - p).powi(limit as i32));
            }
        }
    }

    /// Drawing the fate of every base separately would need as many words as there are bases.
    #[test]
    fn cost_follows_the_number_of_errors() {
        struct Counted(seed::Rng, usize);
        impl rand::TryRng for Counted {
            type Error = std::convert::Infallible;
            fn try_next_u32(&mut self) -> Result<u32, Self::Error> {
                self.1 += 1;
                Ok(self.0.next_u32())
            }
            fn try_next_u64(&mut self) -> Result<u64, Self::Error> {
                self.1 += 1;
                Ok(self.0.next_u64())
            }
            fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Self::Error> {
                self.1 += bytes.len().div_ceil(8);
                self.0.fill_bytes(bytes);
                Ok(())
            }
        }
        let mut rng = Counted(seed::rng(1, 1), 0);
        let model = ErrorModel::new(&ErrorModelConfig::Ont {}).unwrap();
        let counts = model.apply(&vec![1; 1_000_000], &mut rng, &mut Vec::new());
        let events = (counts.substitutions + counts.insertions + counts.deletions) as usize;
        assert!(rng.1 <= 2 * events + 10, "{} words for {events} errors", rng.1);
    }

    proptest! {
        #[test]
        fn the_same_seed_gives_the_same_errors(
            codes in proptest::collection::vec(0u8..5, 0..400), seed: u64, preset in 0usize..5,
        ) {
            let model = ErrorModel::new(&PRESETS[preset]).unwrap();
            let run = |seed| {
                let mut output = vec![9; 3];
                let counts = model.apply(&codes, &mut seed::rng(seed, 0), &mut output);
                (output, counts)
            };
            let (output, counts) = run(seed);
            prop_assert_eq!(&run(seed), &(output.clone(), counts));
            prop_assert!(output.iter().all(|&code| code < 5));
            // Only deletions can remove an N.
            let num_n = |codes: &[u8]| codes.iter().filter(|&&code| code == CODE_N).count();
            prop_assert!(num_n(&output) <= num_n(&codes));
            prop_assert!(num_n(&output) + counts.deletions as usize >= num_n(&codes));
            if preset == 0 {
                prop_assert_eq!(output, codes);
            }
        }
    }

    #[test]
    fn impossible_rates_are_refused() {
        let error = |substitution, insertion, deletion| {
            let config = ErrorModelConfig::Custom { substitution, insertion, deletion };
            ErrorModel::new(&config).unwrap_err().to_string()
        };
        assert_eq!(error(-0.1, 0.0, 0.0), "substitution = -0.1: a rate per base is between 0 and 0.5");
        assert_eq!(error(0.0, f64::NAN, 0.0), "insertion = NaN: a rate per base is between 0 and 0.5");
        assert!(error(0.25, 0.25, 0.25).starts_with("substitution + insertion + deletion = 0.75: "));
    }

    #[test]
    fn recipe_syntax() {
        let parse = |text: &str| serde_json::from_str::<ErrorModelConfig>(text);
        assert_eq!(parse(r#"{"type": "pacbio-clr"}"#).unwrap(), ErrorModelConfig::PacbioClr {});
        let custom = ErrorModelConfig::Custom { substitution: 0.01, insertion: 0.0, deletion: 0.0 };
        assert_eq!(parse(r#"{"type": "custom", "substitution": 0.01}"#).unwrap(), custom);
        assert!(parse(r#"{"type": "ont", "substitution": 0.01}"#).unwrap_err().to_string().contains("substitution"));
        for preset in PRESETS {
            assert_eq!(parse(&serde_json::to_string(&preset).unwrap()).unwrap(), preset);
        }
    }
}
