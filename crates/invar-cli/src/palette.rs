//! The colours of clusters, the same in every picture.

/// A colour, `[red, green, blue]`.
pub type Rgb = [u8; 3];

/// Colour of what belongs to no cluster.
pub const NOISE: Rgb = [150, 150, 150];

/// Okabe and Ito, *Color Universal Design* (2008): distinguishable with colour blindness, too. Black is left out.
const HUES: [Rgb; 7] =
    [[230, 159, 0], [86, 180, 233], [0, 158, 115], [240, 228, 66], [0, 114, 178], [213, 94, 0], [204, 121, 167]];

/// The colour of a cluster, with -1 (noise) in grey: seven hues, then these darker, then lighter. After 21 they repeat.
pub fn colour(cluster: i32) -> Rgb {
    let Ok(cluster) = usize::try_from(cluster) else { return NOISE };
    let hue = HUES[cluster % HUES.len()];
    match cluster / HUES.len() % 3 {
        0 => hue,
        1 => mixed(hue, [0, 0, 0], 0.45),
        _ => mixed(hue, [255, 255, 255], 0.55),
    }
}

/// Mixes a fraction `share` of `other` into `colour`.
pub fn mixed(colour: Rgb, other: Rgb, share: f32) -> Rgb {
    let mix = |a: u8, b: u8| (f32::from(a) * (1.0 - share) + f32::from(b) * share).round() as u8;
    [mix(colour[0], other[0]), mix(colour[1], other[1]), mix(colour[2], other[2])]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn twenty_one_clusters_and_noise_have_colours_of_their_own() {
        let mut colours: Vec<Rgb> = (-1..21).map(colour).collect();
        colours.sort_unstable();
        colours.dedup();
        assert_eq!(colours.len(), 22);
        assert_eq!(colour(21), colour(0));
    }
}
