//! Reads joined by overlaps, directly or through others.

/// Sets of numbers that can be merged (Tarjan 1975, *Efficiency of a good but not linear set union algorithm*). Each
/// set is represented by its smallest number.
#[derive(Debug)]
pub(super) struct Sets {
    parents: Vec<u32>,
}

impl Sets {
    /// Every number is a set of its own.
    pub fn new(len: usize) -> Self {
        Self { parents: (0..len as u32).collect() }
    }

    pub fn join(&mut self, a: u32, b: u32) {
        let (a, b) = (self.find(a), self.find(b));
        self.parents[a.max(b) as usize] = a.min(b);
    }

    pub fn find(&mut self, mut number: u32) -> u32 {
        while self.parents[number as usize] != number {
            let grandparent = self.parents[self.parents[number as usize] as usize];
            self.parents[number as usize] = grandparent;
            number = grandparent;
        }
        number
    }

    /// The sets of at least two numbers, by descending size, then by their smallest number; each ascending.
    pub fn groups(mut self) -> Vec<Vec<u32>> {
        let mut members = vec![Vec::new(); self.parents.len()];
        for number in 0..self.parents.len() as u32 {
            members[self.find(number) as usize].push(number);
        }
        members.retain(|set| set.len() > 1);
        members.sort_by_key(|set| std::cmp::Reverse(set.len()));
        members
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        // Second implementation: labels that spread along the edges until none changes.
        #[test]
        fn sets_are_what_the_edges_connect(edges in prop::collection::vec((0u32..40, 0u32..40), 0..50)) {
            let mut sets = Sets::new(40);
            edges.iter().for_each(|&(a, b)| sets.join(a, b));
            let mut labels: Vec<u32> = (0..40).collect();
            for _ in 0..40 {
                for &(a, b) in &edges {
                    let least = labels[a as usize].min(labels[b as usize]);
                    labels[a as usize] = least;
                    labels[b as usize] = least;
                }
            }
            let groups = sets.groups();
            prop_assert!(groups.is_sorted_by(|a, b| (b.len(), a[0]) <= (a.len(), b[0])));
            let mut expected: Vec<Vec<u32>> =
                (0..40).map(|label| (0..40).filter(|&i| labels[i as usize] == label).collect()).collect();
            expected.retain(|set| set.len() > 1);
            expected.sort_by_key(|set| std::cmp::Reverse(set.len()));
            prop_assert_eq!(groups, expected);
        }
    }
}
