use super::*;
use crate::testing::vectors;

/// A key and what is known of it.
#[derive(Clone, Debug, PartialEq)]
struct Entry {
    key: Vec<f64>,
    sample: SampleId,
    query: SampleId,
    group: Option<GroupId>,
    origin: u64,
    step: u64,
}

/// What a bank holds, slot by slot.
fn slots(bank: &MemoryBank) -> Vec<Entry> {
    let keys = Vec::<Vec<f64>>::try_from(bank.keys().unwrap()).unwrap();
    let (samples, queries, groups) = (bank.samples().unwrap(), bank.queries().unwrap(), bank.groups().unwrap());
    let (origins, steps) = (bank.origins().unwrap(), bank.steps().unwrap());
    let entry = |(slot, key): (usize, Vec<f64>)| Entry {
        key,
        sample: samples[slot],
        query: queries[slot],
        group: groups[slot],
        origin: origins[slot],
        step: steps[slot],
    };
    keys.into_iter().enumerate().map(entry).collect()
}

/// The same, oldest first.
fn by_age(bank: &MemoryBank) -> Vec<Entry> {
    slots(&MemoryBank::import(&bank.export().unwrap()).unwrap())
}

/// A client: a bank, and the definition of one as a list, oldest first.
struct Client {
    bank: MemoryBank,
    list: Vec<Entry>,
    capacity: usize,
    step: u64,
}

impl Client {
    fn new(origin: u64, capacity: usize) -> Self {
        let mut bank = MemoryBank::new(capacity, 2, Device::Cpu);
        bank.set_origin(origin);
        let doubles = bank.keys.to_kind(Kind::Double);
        bank.keys.set_data(&doubles);
        Self { bank, list: vec![], capacity, step: 0 }
    }

    fn push(&mut self, num: usize) {
        self.step += 1;
        let (origin, step) = (self.bank.origin().unwrap(), self.step);
        let keys = vectors(num as i64, 2, 0.3 + step as f64 * 0.71 + origin as f64);
        let large = (1u64 << 63) + 5; // neither an f64 nor a positive i64
        let sample = |i: usize| SampleId(large + i as u64);
        let query = |i: usize| SampleId(i as u64 * 3);
        let group = |i: usize| (i % 3 == 1).then_some(GroupId(large ^ step));
        let rows = Vec::<Vec<f64>>::try_from(&keys).unwrap();
        let entry = |(i, key)| Entry { key, sample: sample(i), query: query(i), group: group(i), origin, step };
        self.list.extend(rows.into_iter().enumerate().map(entry));
        self.forget();
        let samples: Vec<_> = (0..num).map(sample).collect();
        let queries: Vec<_> = (0..num).map(query).collect();
        let groups: Vec<_> = (0..num).map(group).collect();
        self.bank.push(&Keys { keys: &keys, samples: &samples, queries: &queries, groups: &groups, step });
    }

    fn merge(&mut self, bank: &MemoryBank, list: &[Entry]) {
        let new: Vec<Entry> = list.iter().filter(|entry| !self.list.contains(entry)).cloned().collect();
        self.list.extend(new.iter().cloned());
        self.list.sort_by_key(|entry| (entry.step, entry.origin));
        self.forget();
        let kept = new.iter().filter(|entry| self.list.contains(entry)).count();
        assert_eq!(self.bank.merge(bank).unwrap(), kept);
    }

    fn forget(&mut self) {
        let surplus = self.list.len().saturating_sub(self.capacity);
        self.list.drain(..surplus);
    }

    fn check(&self) {
        assert_eq!(by_age(&self.bank), self.list);
        assert_eq!((self.bank.len().unwrap(), self.bank.capacity()), (self.list.len(), self.capacity));
    }
}

#[test]
fn clients_that_push_and_exchange_agree_with_lists() {
    for (first, second, num) in [(1, 1, 1), (4, 7, 3), (7, 4, 5), (40, 40, 6), (5, 30, 17)] {
        let mut clients = [Client::new(3, first), Client::new(u64::MAX, second)];
        for round in 0..6 {
            for client in &mut clients {
                client.push(num);
                client.push(round % 3);
                client.check();
            }
            let [one, two] = &mut clients;
            let (bank, list) = (MemoryBank::import(&one.bank.export().unwrap()).unwrap(), one.list.clone());
            one.merge(&two.bank, &two.list);
            two.merge(&bank, &list);
            one.check();
            two.check();
            if first == second {
                assert_eq!(one.list, two.list, "the order of merging shows");
            }
            // What was sent and comes back, together with its own: nothing new.
            let before = slots(&one.bank);
            one.merge(&MemoryBank::import(&one.bank.export().unwrap()).unwrap(), &one.list.clone());
            assert_eq!(slots(&one.bank).len(), before.len());
            one.check();
        }
    }
}

#[test]
fn a_bank_under_a_path_is_stored_with_its_store() {
    let store = nn::VarStore::new(Device::Cpu);
    let mut bank = MemoryBank::under(&(store.root() / "a"), 5, 3);
    let keys = Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
    let ids = [SampleId(1), SampleId(2)];
    bank.push(&Keys { keys: &keys, samples: &ids, queries: &ids, groups: &[], step: 4 });
    assert!(!bank.is_empty().unwrap());
    let mut names: Vec<String> = store.variables().into_keys().collect();
    names.sort();
    let expected = ["bank", "filled", "groups", "ids", "origin", "origins", "position", "query_ids", "steps"]
        .map(|n| format!("a.{n}"));
    assert_eq!(names, expected);
    assert_eq!(Vec::<i64>::try_from(&store.variables()["a.steps"]).unwrap(), [4, 4, 0, 0, 0]);
    assert!(store.trainable_variables().is_empty());
}

#[test]
fn what_is_no_bank_is_refused_by_name() {
    let mut client = Client::new(1, 4);
    client.push(3);
    let export = || client.bank.export().unwrap();
    let refused = |name: &str, tensor: Option<Tensor>| {
        let mut tensors = export();
        tensors.remove(name);
        tensors.extend(tensor.map(|tensor| (name.to_owned(), tensor)));
        MemoryBank::import(&tensors).unwrap_err().to_string()
    };
    assert_eq!(refused("steps", None), "memory bank: steps must be a tensor, got none");
    let floats = Tensor::zeros([3], (Kind::Float, Device::Cpu));
    assert_eq!(refused("ids", Some(floats)), "memory bank: ids must be Int64 [3], got Float [3]");
    let four = Tensor::zeros([4, 2], (Kind::Int64, Device::Cpu));
    assert_eq!(
        refused("groups", Some(four.shallow_clone())),
        "memory bank: groups must be Int64 [3, 2], got Int64 [4, 2]"
    );
    assert_eq!(refused("bank", Some(four)), "memory bank: bank must be floats [len, P], got Int64 [4, 2]");
    assert_eq!(refused("capacity", Some(Tensor::from(2i64))), "memory bank: capacity must be at least 3, got 2");
    let error = client.bank.merge(&MemoryBank::new(4, 3, Device::Cpu)).unwrap_err().to_string();
    assert_eq!(error, "memory bank: bank must be keys of 2 numbers, got keys of 3 numbers");
}
