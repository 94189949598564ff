//! How the number of clusters was chosen, as a table.

use std::collections::BTreeMap;

use invar_cluster::Candidate;

/// Number of candidates that are listed; everything that was tried is in CLUSTERS.
const LISTED: usize = 8;

/// The best candidate for each number of clusters, best first, one line each; `num_clusters` is the number found for
/// all samples.
pub fn in_words(tried: &[Candidate], num_clusters: usize) -> String {
    let is_better = |a: &Candidate, b: &Candidate| (a.chosen, a.score) > (b.chosen, b.score);
    let mut of_numbers: BTreeMap<usize, &Candidate> = BTreeMap::new();
    for one in tried {
        let best = of_numbers.entry(one.num_clusters).or_insert(one);
        if is_better(one, best) {
            *best = one;
        }
    }
    let mut best: Vec<&Candidate> = of_numbers.into_values().collect();
    let score = |one: &Candidate| one.score.unwrap_or(f64::NEG_INFINITY);
    best.sort_by(|a, b| b.chosen.cmp(&a.chosen).then(score(b).total_cmp(&score(a))));
    let figure = |value: Option<f64>| value.map_or("-".into(), |value| format!("{value:.3}"));
    let mut text = String::from("\n  clusters  method  resolution  silhouette  found again   score");
    let taken = best.first().filter(|one| one.chosen);
    for (at, one) in best.iter().take(LISTED).enumerate() {
        let note = match (one.chosen, taken) {
            (true, _) => "  taken",
            (false, Some(_)) if at == 1 && one.score.is_some() => "  runner-up",
            _ => "",
        };
        text += &format!(
            "\n  {:>8}  {:<6}  {:>10}  {:>10}  {:>11.3}  {:>6}{note}",
            one.num_clusters,
            one.method.name(),
            one.resolution.map_or("-".into(), |resolution| resolution.to_string()),
            figure(one.silhouette),
            one.reproducibility,
            figure(one.score),
        );
    }
    match taken {
        None if tried.iter().any(|one| one.markers.is_some()) => {
            text += "\n  by their markers none has a cluster that is whole and pure: all samples are one cluster";
        }
        None => text += "\n  none lies apart and is found again: all samples are one cluster",
        Some(taken) if taken.num_clusters != num_clusters => {
            let sampled = taken.num_clusters;
            text +=
                &format!("\n  tried on a part of the samples, which made {sampled}; all of them make {num_clusters}");
        }
        Some(_) => {}
    }
    text
}

#[cfg(test)]
mod tests {
    use invar_cluster::Method;

    use super::*;

    fn one(method: Method, num_clusters: usize, score: Option<f64>, chosen: bool) -> Candidate {
        let resolution = (method == Method::Leiden).then_some(0.5);
        let (silhouette, markers) = (score, None);
        Candidate { method, resolution, num_clusters, silhouette, reproducibility: 1.0, markers, score, chosen }
    }

    #[test]
    fn each_number_once_and_the_next_best_is_named() {
        let tried = [
            one(Method::Leiden, 5, Some(0.4), false),
            one(Method::Leiden, 5, Some(0.5), true),
            one(Method::KMeans, 4, Some(0.3), false),
            one(Method::KMeans, 5, Some(0.5), false),
            one(Method::KMeans, 6, None, false),
        ];
        let text = in_words(&tried, 5);
        let lines: Vec<&str> = text.lines().skip(2).collect();
        assert_eq!(lines.len(), 3, "{text}");
        assert!(lines[0].contains("       5  leiden         0.5       0.500") && lines[0].ends_with("taken"), "{text}");
        assert!(lines[1].contains("       4  kmeans           -") && lines[1].ends_with("runner-up"), "{text}");
        assert!(lines[2].trim_end().ends_with('-'), "{text}");
        assert!(in_words(&tried, 7).ends_with("which made 5; all of them make 7"));
        assert!(in_words(&tried[4..], 1).ends_with("all samples are one cluster"));
    }
}
