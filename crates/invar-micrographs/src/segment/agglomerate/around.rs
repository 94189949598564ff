//! The neighbours of a region.

use std::collections::BTreeMap;

/// From this many neighbours on, a tree is used instead of a list that is searched and shifted.
const MANY: usize = 64;

/// The neighbours of a region, each with the number of the boundary to it. Most regions have about six, and since there
/// are many small regions, a list for them takes half the memory of a tree. A background that touches everything has
/// many.
#[derive(Debug)]
pub(super) enum Around {
    /// In ascending order of regions.
    Few(Vec<(u32, u32)>),
    Many(BTreeMap<u32, u32>),
}

impl Default for Around {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Around {
    /// Empty, with room for `count`.
    pub fn with_capacity(count: usize) -> Self {
        if count > MANY { Self::Many(BTreeMap::new()) } else { Self::Few(Vec::with_capacity(count)) }
    }

    pub fn len(&self) -> usize {
        match self {
            Self::Few(pairs) => pairs.len(),
            Self::Many(pairs) => pairs.len(),
        }
    }

    /// The boundary to a region.
    pub fn get(&self, region: u32) -> Option<u32> {
        match self {
            Self::Few(pairs) => place(pairs, region).ok().map(|at| pairs[at].1),
            Self::Many(pairs) => pairs.get(&region).copied(),
        }
    }

    /// Adds a region, or changes the boundary to it.
    pub fn insert(&mut self, region: u32, boundary: u32) {
        match self {
            Self::Few(pairs) => match place(pairs, region) {
                Ok(at) => pairs[at].1 = boundary,
                Err(at) if pairs.len() < MANY => pairs.insert(at, (region, boundary)),
                Err(_) => {
                    let mut tree: BTreeMap<u32, u32> = std::mem::take(pairs).into_iter().collect();
                    tree.insert(region, boundary);
                    *self = Self::Many(tree);
                }
            },
            Self::Many(pairs) => {
                pairs.insert(region, boundary);
            }
        }
    }

    /// Removes a region, if it is there.
    pub fn remove(&mut self, region: u32) {
        match self {
            Self::Few(pairs) => {
                if let Ok(at) = place(pairs, region) {
                    pairs.remove(at);
                }
            }
            Self::Many(pairs) => {
                pairs.remove(&region);
            }
        }
    }

    /// Numbers of the boundaries.
    pub fn boundaries(&self) -> Box<dyn Iterator<Item = u32> + '_> {
        match self {
            Self::Few(pairs) => Box::new(pairs.iter().map(|&(_, boundary)| boundary)),
            Self::Many(pairs) => Box::new(pairs.values().copied()),
        }
    }

    /// Regions and boundaries, in ascending order of regions.
    pub fn into_pairs(self) -> Vec<(u32, u32)> {
        match self {
            Self::Few(pairs) => pairs,
            Self::Many(pairs) => pairs.into_iter().collect(),
        }
    }
}

fn place(pairs: &[(u32, u32)], region: u32) -> Result<usize, usize> {
    pairs.binary_search_by_key(&region, |&(region, _)| region)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_what_a_tree_is(
            room in 0usize..100, steps in prop::collection::vec((0u32..100, any::<u32>(), 0u8..3), 0..400),
        ) {
            let (mut around, mut tree) = (Around::with_capacity(room), BTreeMap::new());
            for (region, boundary, what) in steps {
                if what > 0 {
                    around.insert(region, boundary);
                    tree.insert(region, boundary);
                } else {
                    around.remove(region);
                    tree.remove(&region);
                }
                prop_assert_eq!(around.len(), tree.len());
                prop_assert_eq!(around.get(region), tree.get(&region).copied());
            }
            prop_assert!(around.boundaries().eq(tree.values().copied()));
            prop_assert_eq!(around.into_pairs(), tree.into_iter().collect::<Vec<_>>());
        }
    }
}
