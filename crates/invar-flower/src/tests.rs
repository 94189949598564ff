mod node;

use std::collections::BTreeMap;

use proptest::prelude::*;
use prost::Message as _;

use super::*;
use crate::{
    object::{Kind, Object, Objects, pull_all},
    proto::{Message, Metadata, ObjectTree},
};

/// Of `tests/golden/make.py`: the objects of two messages as Flower makes them.
const GOLDEN: &str = include_str!("../tests/golden/ids.txt");

fn golden_records() -> Records {
    let mut records = Records::default();
    let arrays = [
        ("bytes", Array::of_bytes(b"to be kept".to_vec())),
        ("caf\u{e9} \u{1f600}", Array::new(vec![2, 3], Elements::F32(vec![1.5, -2.0, 0.25, 3.0, 4.0, 1e-3]))),
        ("nothing", Array::of_bytes(vec![])),
        ("one", Array::new(vec![], Elements::F32(vec![7.0]))),
        ("zeros", Array::of_bytes(vec![0; 3 * (5 << 20)])),
    ];
    let metrics = [
        ("big", Metric::U64((1 << 63) + 1)),
        ("loss", Metric::F64(0.5)),
        ("losses", Metric::F64List(vec![0.5, 0.25])),
        ("n", Metric::I64(-3)),
        ("ns", Metric::I64List(vec![1, -2])),
    ];
    let configs = [
        ("bytes", ConfigValue::Bytes(vec![0, 1])),
        ("flag", ConfigValue::Bool(true)),
        ("flags", ConfigValue::BoolList(vec![true, false])),
        ("lr", ConfigValue::F64(0.1)),
        ("name", ConfigValue::Text("caf\u{e9}".into())),
        ("names", ConfigValue::TextList(vec!["a".into(), String::new()])),
        ("raw", ConfigValue::BytesList(vec![b"x".to_vec(), vec![]])),
        ("round", ConfigValue::I64(3)),
        ("rounds", ConfigValue::I64List(vec![1, 2])),
    ];
    records.arrays.insert("arrays".into(), arrays.map(|(name, array)| (name.into(), array)).into());
    records.metrics.insert("metrics".into(), metrics.map(|(name, metric)| (name.into(), metric)).into());
    records.configs.insert("settings".into(), configs.map(|(name, value)| (name.into(), value)).into());
    records
}

fn golden_metadata() -> Metadata {
    Metadata {
        run_id: (1 << 63) + 5,
        src_node_id: 1,
        dst_node_id: u64::MAX - 1,
        reply_to_message_id: "ab".repeat(32),
        group_id: "3".into(),
        created_at: 1.8e9,
        ttl: 3600.0,
        message_type: "train".into(),
        src_task_id: Some(4),
        ..Metadata::default()
    }
}

#[test]
fn the_objects_of_a_message_are_those_of_flower() {
    for (name, records, error) in [
        ("message", Some(golden_records()), None),
        ("failed", None, Some(proto::Error { code: 2, reason: "no data".into() })),
    ] {
        let mut objects = Objects::default();
        let children: Vec<ObjectId> = records.iter().map(|records| records.write(&mut objects)).collect();
        let body = Message { metadata: Some(golden_metadata()), content: None, error };
        let root = objects.add(Kind::Message, &children, &body.encode_to_vec());
        let mut expected = 0;
        for line in GOLDEN.lines().filter(|line| line.split(' ').next() == Some(name)) {
            let words: Vec<&str> = line.split(' ').collect();
            let bytes = objects.bytes(words[2].parse().unwrap()).unwrap_or_else(|_| panic!("no object for {line}"));
            assert_eq!(
                (format!("{:?}", Object::read(bytes).unwrap().kind), bytes.len()),
                (words[1].into(), words[3].parse().unwrap())
            );
            expected += 1;
        }
        assert_eq!(objects.len(), expected);
        let last = GOLDEN.lines().rfind(|line| line.starts_with(name)).unwrap();
        assert_eq!(last.split(' ').nth(2), Some(&root.to_string()[..]));
        let pulled = pull_all(root, &Limits::default(), |id| Ok(objects.bytes(id)?.to_vec())).unwrap();
        assert_eq!(pulled.len(), objects.len());
        if let (Some(records), [content]) = (records, &children[..]) {
            assert_eq!(Records::read(*content, &pulled).unwrap(), records);
        }
    }
}

fn array() -> impl Strategy<Value = Array> {
    let shape = prop::collection::vec(0usize..4, 0..4);
    (shape, any::<bool>(), any::<u32>()).prop_map(|(shape, is_f32, seed)| {
        let num = shape.iter().product::<usize>();
        let bytes = (0..num).map(|at| (seed as usize).wrapping_add(at * 7) as u8);
        let elements =
            if is_f32 { Elements::F32(bytes.map(f32::from).collect()) } else { Elements::U8(bytes.collect()) };
        Array::new(shape, elements)
    })
}

fn records() -> impl Strategy<Value = Records> {
    let name = "[a-z\"\\\\\u{e9}\u{1f600} ]{0,6}";
    let metric = prop_oneof![
        any::<i64>().prop_map(Metric::I64),
        any::<u64>().prop_map(Metric::U64),
        (-1e300..1e300).prop_map(Metric::F64),
        prop::collection::vec(any::<i64>(), 0..4).prop_map(Metric::I64List),
    ];
    let config = prop_oneof![
        any::<bool>().prop_map(ConfigValue::Bool),
        any::<String>().prop_map(ConfigValue::Text),
        any::<Vec<u8>>().prop_map(ConfigValue::Bytes),
        prop::collection::vec(any::<String>(), 0..4).prop_map(ConfigValue::TextList),
    ];
    let groups = (
        prop::collection::btree_map(name, array(), 0..4),
        prop::collection::btree_map(name, metric, 0..4),
        prop::collection::btree_map(name, config, 0..4),
    );
    (groups, 0usize..8).prop_map(|((arrays, metrics, configs), which)| Records {
        arrays: if which & 1 == 0 {
            BTreeMap::from([("a".into(), arrays.clone()), ("b".into(), arrays)])
        } else {
            BTreeMap::new()
        },
        metrics: if which & 2 == 0 { BTreeMap::from([("m".into(), metrics)]) } else { BTreeMap::new() },
        configs: if which & 4 == 0 { BTreeMap::from([("\u{e9}".into(), configs)]) } else { BTreeMap::new() },
    })
}

/// The objects of a message of these records.
fn message(records: &Records) -> (Objects, ObjectId) {
    let mut objects = Objects::default();
    let content = records.write(&mut objects);
    let root = objects.add(Kind::Message, &[content], b"");
    (objects, root)
}

fn below(tree: &ObjectTree) -> Vec<ObjectId> {
    let mut ids = vec![tree.object_id.parse().unwrap()];
    ids.extend(tree.children.iter().flat_map(below));
    ids
}

proptest! {
    #[test]
    fn records_come_back_as_they_went(records in records()) {
        let (objects, root) = message(&records);
        let pulled = pull_all(root, &Limits::default(), |id| Ok(objects.bytes(id)?.to_vec())).unwrap();
        let content = pulled.get(root, Kind::Message).unwrap().children[0];
        prop_assert_eq!(Records::read(content, &pulled).unwrap(), records);
        let mut ids = below(&objects.tree(root).unwrap());
        ids.sort_unstable();
        ids.dedup();
        prop_assert_eq!(ids.len(), objects.len());
    }

    #[test]
    fn one_byte_that_is_not_right_is_told_with_both_digests(records in records(), which in any::<prop::sample::Index>(), at in any::<prop::sample::Index>(), is_cut in any::<bool>()) {
        let (objects, root) = message(&records);
        let ids = below(&objects.tree(root).unwrap());
        let bad = ids[which.index(ids.len())];
        let mut bytes = objects.bytes(bad).unwrap().to_vec();
        let at = at.index(bytes.len());
        if is_cut { bytes.truncate(at) } else { bytes[at] ^= 1 }
        let pulled = pull_all(root, &Limits::default(), |id| Ok(if id == bad { bytes.clone() } else { objects.bytes(id)?.to_vec() }));
        let found = ObjectId::of(&bytes);
        let is_told = matches!(pulled, Err(Error::Digest { expected, found: f, .. }) if expected == bad && f == found);
        prop_assert!(is_told);
    }

    #[test]
    fn bytes_are_no_object_or_the_bytes_of_it(bytes in any::<Vec<u8>>(), head in "(Array|Message|x) (|[0-9a-f]{64}|,) [0-9]{1,2}\0") {
        for bytes in [bytes.clone(), [head.as_bytes(), &bytes].concat()] {
            if let Ok(object) = Object::read(&bytes) {
                prop_assert_eq!(object.write(), bytes);
            }
        }
    }

    #[test]
    fn heads_of_npy_files_are_read_or_refused(head in "(\\{|)'descr': '[|<]?[uf][14]', 'fortran_order': (False|True), 'shape': \\([0-9]{0,3},? ?[0-9]{0,30}\\), \\}", data in any::<Vec<u8>>()) {
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
        bytes.extend_from_slice(head.as_bytes());
        bytes.extend_from_slice(&data);
        let _ = Array::of_npy(&bytes);
    }
}

#[test]
fn what_belongs_elsewhere_is_refused() {
    let mut objects = Objects::default();
    let content = golden_records().write(&mut objects);
    let pull = |objects: &Objects, root| {
        pull_all(root, &Limits::default(), |id| Ok(objects.bytes(id)?.to_vec())).err().unwrap().to_string()
    };
    assert_eq!(pull(&objects, content), "kind of an object: expected Message, found RecordDict");
    let nested = objects.add(Kind::RecordDict, &[content], b"{}");
    let root = objects.add(Kind::Message, &[nested], b"");
    assert_eq!(
        pull(&objects, root),
        "kind of an object: expected ArrayRecord or MetricRecord or ConfigRecord, found RecordDict"
    );
    let leaf = objects.add(Kind::ArrayChunk, &[content], b"");
    let array = objects.add(Kind::Array, &[leaf], b"");
    let record = objects.add(Kind::ArrayRecord, &[array], b"");
    let nested = objects.add(Kind::RecordDict, &[record], b"");
    let root = objects.add(Kind::Message, &[nested], b"");
    assert_eq!(pull(&objects, root), "kind of an object: expected no object there, found RecordDict");
}

#[test]
fn too_much_is_told_with_both_figures() {
    let (objects, root) = message(&golden_records());
    let pull =
        |limits: Limits| pull_all(root, &limits, |id| Ok(objects.bytes(id)?.to_vec())).err().unwrap().to_string();
    let limits = Limits::default();
    let told = pull(Limits { num_objects: 3, ..limits });
    assert_eq!(told, "objects of a message: at most 3 are taken, 5 came");
    let told = pull(Limits { message_bytes: 1000, ..limits });
    assert!(told.starts_with("bytes of all objects of a message: at most 1000 are taken, 1"), "{told}");
    // An array of little that stands for much: one chunk, a thousand times.
    let mut objects = Objects::default();
    let chunk = objects.add(Kind::ArrayChunk, &[], &[0; 1 << 20]);
    let chunks = vec!["0"; 1000].join(", ");
    let body = format!(r#"{{"dtype": "uint8", "shape": [5], "stype": "numpy.ndarray", "arraychunk_ids": [{chunks}]}}"#);
    let array = objects.add(Kind::Array, &[chunk], body.as_bytes());
    let told = Array::read(array, &objects).err().unwrap().to_string();
    assert_eq!(
        told,
        format!("bytes of the chunks of an array: at most {} are taken, {} came", 5 + (64 << 10), 1000 << 20)
    );
}

#[test]
fn arrays_of_other_types_and_damaged_ones_are_refused() {
    let npy = |head: &str, data: &[u8]| {
        let mut bytes = b"\x93NUMPY\x01\0".to_vec();
        bytes.extend_from_slice(&(head.len() as u16).to_le_bytes());
        [&bytes, head.as_bytes(), data].concat()
    };
    let told = |bytes: &[u8]| Array::of_npy(bytes).err().unwrap().to_string();
    let whole = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }\n", &[0; 4]);
    assert_eq!(Array::of_npy(&whole).unwrap(), Array::new(vec![1], Elements::F32(vec![0.0])));
    for length in 0..whole.len() {
        assert!(Array::of_npy(&whole[..length]).is_err(), "{length}");
    }
    assert!(told(&npy("{'descr': '>f4', 'fortran_order': False, 'shape': (1,), }", &[0; 4])).contains("type \">f4\""));
    assert!(told(&npy("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), }", &[0; 8])).contains("type \"<f8\""));
    assert!(told(&npy("{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }", &[0])).contains("the head"));
    let much = npy("{'descr': '<f4', 'fortran_order': False, 'shape': (4294967296, 4294967296), }", &[0; 4]);
    assert!(told(&much).contains("4 bytes for <f4"), "{}", told(&much));
    assert_eq!(
        Array::new(vec![1, 1], Elements::U8(vec![1])).bytes().err().unwrap().to_string(),
        "array: expected uint8 of one axis, found uint8 of shape [1, 1]"
    );
}
