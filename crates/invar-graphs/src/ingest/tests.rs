use std::{fs, io::Write as _};

use invar_dataset::{ColumnData, Dataset as _, Fault, FaultClass, NoProgress, SampleTable as _};

use super::*;
use crate::{Features, GraphDataset, Texts};

struct Tables(tempfile::TempDir);

impl Tables {
    fn new(nodes: &str, edges: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("nodes.tsv"), nodes).unwrap();
        fs::write(dir.path().join("edges.tsv"), edges).unwrap();
        Self(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn ingest(&self, config: &IngestConfig) -> Result<Summary, Error> {
        let inputs = Inputs { nodes: self.path("nodes.tsv"), edges: self.path("edges.tsv") };
        ingest(&inputs, &self.path("data"), config, &NoProgress)
    }
}

const NODES: &str = "id\tlabel\tfeatures\na\t1\t0 2\nb\t\t1\nc\t2\t2:3\nd\t2\t\n";

#[test]
fn a_graph_is_stored_with_what_was_left_out() {
    let tables = Tables::new(NODES, "source\ttarget\tw\na\tb\t1\nb\ta\t3\nb\tc\t1\nc\tc\t9\n");
    let summary = tables.ingest(&IngestConfig::default()).unwrap();
    assert!(!summary.already_done && summary.warnings().is_empty());
    let expected = [
        ("components", 2),
        ("edges", 2),
        ("features", 3),
        ("most_edges_of_a_node", 2),
        ("nodes", 4),
        ("nodes_without_edges", 1),
        ("repeated_edges_left_out", 1),
        ("self_loops_left_out", 1),
    ];
    assert!(summary.manifest.counts.iter().map(|(name, &count)| (name.as_str(), count)).eq(expected));
    let graph = GraphDataset::open(&[tables.path("data")]).unwrap();
    assert_eq!((graph.len(), graph.num_features()), (4, 3));
    assert_eq!(graph.neighbors(1).collect::<Vec<_>>(), [(0, 3.0), (2, 1.0)]);
    let columns = graph.columns(0..4).unwrap();
    let names: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["id", "source", "key", "degree", "component", "label"]);
    assert_eq!(columns[3].data, ColumnData::U32(vec![Some(1), Some(2), Some(1), Some(0)]));
    assert_eq!(columns[4].data, ColumnData::U32(vec![Some(0), Some(0), Some(0), Some(1)]));
    assert_eq!(columns[5].data, ColumnData::I64(vec![Some(1), None, Some(2), Some(2)]));
    // Keys count up from the number of the table of nodes, and the same command does nothing.
    assert_eq!(graph.key(3) - graph.key(0), 3);
    assert!(tables.ingest(&IngestConfig::default()).unwrap().already_done);
    let error = tables.ingest(&IngestConfig { scale: false, ..IngestConfig::default() }).unwrap_err();
    assert!(error.class() == FaultClass::Usage && error.to_string().contains("use --force"), "{error}");
    tables.ingest(&IngestConfig { scale: false, force: true, ..IngestConfig::default() }).unwrap();
}

#[test]
fn a_bad_table_leaves_nothing_behind() {
    for (nodes, edges, expected) in [
        (NODES, "a\tb\na\tx\n", "edges.tsv: line 2, column b: expected a node of "),
        ("id\tfeatures\na\t1\na\t2\n", "a\tb\n", "nodes.tsv: line 3, column id: expected each node once"),
    ] {
        let tables = Tables::new(nodes, edges);
        let error = tables.ingest(&IngestConfig::default()).unwrap_err();
        assert!(error.class() == FaultClass::BadInput && error.to_string().contains(expected), "{error}");
        assert!(!tables.path("data").exists());
    }
    let tables = Tables::new(NODES, "");
    fs::remove_file(tables.path("edges.tsv")).unwrap();
    assert_eq!(tables.ingest(&IngestConfig::default()).unwrap_err().class(), FaultClass::Usage);
}

#[test]
fn a_graph_without_edges_is_a_warning_and_one_without_nodes_is_empty() {
    let tables = Tables::new(NODES, "a\tb\n");
    let summary = tables.ingest(&IngestConfig::default()).unwrap();
    assert_eq!(summary.warnings(), ["no two nodes are joined: each is known by its own features alone"]);
    let tables = Tables::new("id\tfeatures\n", "a\tb\n");
    assert!(tables.ingest(&IngestConfig::default()).unwrap().warnings().is_empty());
    assert_eq!(GraphDataset::open(&[tables.path("data")]).unwrap().len(), 0);
}

#[test]
fn two_graphs_are_opened_together_if_their_features_are_the_same() {
    let [one, two, other] =
        [NODES, "id\tfeatures\nx\t0,1\ny\t2\n", "id\tfeatures\nx\t0,1\n"].map(|nodes| Tables::new(nodes, "a\tb\n"));
    for tables in [&one, &two, &other] {
        tables.ingest(&IngestConfig::default()).unwrap();
    }
    let both = GraphDataset::open(&[one.path("data"), two.path("data")]).unwrap();
    assert_eq!((both.len(), both.id(4)), (6, "x"));
    let error = GraphDataset::open(&[one.path("data"), other.path("data")]).err().unwrap().to_string();
    assert!(error.contains("expected 3 features in lists, found 2 features in lists"), "{error}");
}

#[test]
fn plain_and_compressed_tables_are_one_graph_to_the_byte() {
    let edges = "a\tb\na\tb\nb\tc\n";
    let plain = Tables::new(NODES, edges);
    let packed = Tables::new("", "");
    for (name, text) in [("nodes.tsv", NODES), ("edges.tsv", edges)] {
        let mut gzip = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
        gzip.write_all(text.as_bytes()).unwrap();
        fs::write(packed.path(name), gzip.finish().unwrap()).unwrap();
    }
    for tables in [&plain, &packed] {
        tables.ingest(&IngestConfig::default()).unwrap();
    }
    let shard = |tables: &Tables| fs::read(tables.path("data").join(SHARD)).unwrap();
    assert_eq!(shard(&plain), shard(&packed));
}

#[test]
fn nodes_of_other_data_keep_their_keys() {
    let tables = Tables::new("x", "y");
    let graph = Graph {
        nodes: Nodes {
            ids: Texts::from_iter(["g#1", "g#2", "h#1"]),
            features: Features::Dense { names: vec!["area_px".into()], values: vec![1.0, 2.0, 3.0] },
            columns: vec![],
        },
        edges: EdgeList { edges: vec![(0, 1, 4.0)], num_loops: 0 },
        keys: vec![100, 101, 500],
        sources: [("g.png", 100, 2), ("h.png", 500, 1)]
            .map(|(path, number, num_nodes)| Source { path: path.into(), number, num_nodes })
            .to_vec(),
        noun: "grains".into(),
    };
    let files = [tables.path("nodes.tsv")];
    ingest_graph(&files, json!({}), &tables.path("data"), false, &NoProgress, || Ok::<_, Error>(graph)).unwrap();
    let graph = GraphDataset::open(&[tables.path("data")]).unwrap();
    let name = graph.sample_name(2);
    assert_eq!((name.id.as_str(), name.source.as_str(), name.source_number, name.key), ("h#1", "h.png", 500, 500));
    assert_eq!((graph.key(1), graph.sample_id(1).0, graph.group_figures().noun.as_str()), (101, 101, "grains"));
    let blocks: Vec<_> = graph.edge_blocks(10, |a, b| Some((a + b) as f32)).collect();
    assert_eq!(blocks.len(), 1);
    assert_eq!(blocks[0][0].data, ColumnData::Str(vec![Some("g#1".into())]));
    assert_eq!(blocks[0][3].data, ColumnData::I64(vec![Some(101)]));
    assert_eq!(blocks[0][5].data, ColumnData::F32(vec![Some(1.0)]));
}
