//! What the SQL of polars answers over embeddings and clusters.

use std::path::Path;

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{ClusterTable, EmbeddingWriter, Embeddings, Provenance, Query, Table};

fn provenance() -> Provenance {
    Provenance::new("0.1.0", 2)
}

/// Six reads of two sources, in a directory of two parts, and their clusters.
fn specimen(dir: &Path) -> Query {
    let text = |values: &[&str]| ColumnData::Str(values.iter().map(|&value| Some(value.into())).collect());
    let columns = [
        Column { name: "id".into(), data: text(&["r1", "r2", "r3", "x1", "x2", "x,\"3"]) },
        Column { name: "source".into(), data: text(&["a.fq", "a.fq", "a.fq", "b.fq", "b.fq", "b.fq"]) },
        Column { name: "key".into(), data: ColumnData::I64((10..16).map(Some).collect()) },
        Column {
            name: "length_bp".into(),
            data: ColumnData::U32(vec![Some(100), Some(200), Some(600), Some(50), None, Some(70)]),
        },
    ];
    let embeddings = [1.0, 0.0, 0.6, 0.8, 0.0, 1.0, -1.0, 0.0, 0.0, -1.0, 0.8, -0.6];
    let mut writer = EmbeddingWriter::create(&dir.join("emb"), provenance()).unwrap().with_rows_per_part(4);
    writer.write(&columns, &embeddings).unwrap();
    writer.finish(&Default::default()).unwrap();
    let clusters = ClusterTable {
        ids: ["r1", "r2", "r3", "x1", "x2", "x,\"3"].map(String::from).into(),
        keys: Some((10..16).collect()),
        clusters: vec![0, 0, 1, -1, 1, 0],
        probability: vec![0.5; 6],
        distance: vec![0.25; 6],
        x: vec![0.0; 6],
        y: vec![0.0; 6],
        provenance: provenance(),
        embeddings: None,
        method: "kmeans".into(),
        parameters: serde_json::json!({"k": 2}),
        found: serde_json::json!({"candidates": []}),
    };
    clusters.write(&dir.join("clusters.parquet")).unwrap();
    Query::new(&dir.join("emb")).unwrap().with_table("clusters", &dir.join("clusters.parquet")).unwrap()
}

fn csv(sql: &str) -> String {
    run(sql).to_csv()
}

fn run(sql: &str) -> Table {
    let dir = tempfile::tempdir().unwrap();
    specimen(dir.path()).run(sql).unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn every_table_name_works() {
    for name in ["embeddings", "emb", "self", "clusters"] {
        assert_eq!(csv(&format!("SELECT COUNT(*) AS n FROM {name}")), "n\n6\n");
    }
}

#[test]
fn like_order_limit_and_null() {
    assert_eq!(csv("SELECT id FROM emb WHERE id LIKE 'r%' ORDER BY id DESC LIMIT 2"), "id\nr3\nr2\n");
    assert_eq!(csv("SELECT id, length_bp FROM emb WHERE length_bp IS NULL"), "id,length_bp\nx2,\n");
    assert_eq!(csv("SELECT id FROM emb WHERE id IN ('r2', 'x2') ORDER BY id"), "id\nr2\nx2\n");
    assert_eq!(csv("SELECT DISTINCT source FROM emb ORDER BY source"), "source\na.fq\nb.fq\n");
}

#[test]
fn group_by_and_aggregates() {
    let sql = "SELECT source, COUNT(*) AS n, AVG(length_bp) AS mean_bp, MAX(length_bp) AS max_bp, \
               SUM(length_bp) AS sum_bp FROM emb GROUP BY source ORDER BY source";
    assert_eq!(csv(sql), "source,n,mean_bp,max_bp,sum_bp\na.fq,3,300.0,600,900\nb.fq,3,60.0,70,120\n");
    let sql = "SELECT source FROM emb GROUP BY source HAVING COUNT(*) > 2 AND MIN(length_bp) < 60";
    assert_eq!(csv(sql), "source\nb.fq\n");
}

#[test]
fn join_with_clusters() {
    let sql = "SELECT c.cluster, COUNT(*) AS n, SUM(e.length_bp) AS bp FROM emb e JOIN clusters c ON e.key = c.key \
               GROUP BY c.cluster ORDER BY c.cluster";
    assert_eq!(csv(sql), "cluster,n,bp\n-1,1,50\n0,3,370\n1,2,600\n");
    assert_eq!(
        csv("SELECT cluster, emb.id, key FROM emb JOIN clusters USING (key) ORDER BY key LIMIT 1"),
        "cluster,id,key\n0,r1,10\n"
    );
    let sql = "WITH big AS (SELECT cluster FROM clusters WHERE cluster >= 0) SELECT COUNT(*) AS n FROM big";
    assert_eq!(csv(sql), "n\n5\n");
}

#[test]
fn functions_of_numbers_and_of_the_embedding() {
    assert_eq!(csv("SELECT ROUND(COS(0.0) + SQRT(4.0), 1) AS v FROM emb LIMIT 1"), "v\n3.0\n");
    assert_eq!(csv("SELECT id FROM emb WHERE embedding[1] > 0.9"), "id\nr1\n");
    assert_eq!(csv("SELECT ARRAY_LENGTH(embedding) AS d FROM emb LIMIT 1"), "d\n2\n");
    let sql = "SELECT id, ROUND(ARRAY_SUM(embedding), 2) AS s FROM emb WHERE length_bp > 100 ORDER BY s";
    assert_eq!(csv(sql), "id,s\nr3,1.0\nr2,1.4\n");
    assert_eq!(csv("SELECT ROUND(STDDEV(length_bp), 1) AS s, MEDIAN(length_bp) AS m FROM emb"), "s,m\n228.8,100.0\n");
}

#[test]
fn wrong_sql_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let mut query = specimen(dir.path());
    let mut refused = |sql: &str| {
        let error = query.run(sql).unwrap_err();
        assert!(!error.is_bad_input());
        error.to_string()
    };
    let error = refused("SELECT nothing FROM emb");
    assert!(error.contains("nothing") && error.ends_with("(in the query: SELECT nothing FROM emb)"), "{error}");
    let error = refused("SELEC id FROM emb");
    assert!(error.contains("SELEC"), "{error}");
    let error = refused("SELECT id FROM reads");
    assert!(error.contains("reads"), "{error}");
    let error = refused("SELECT RANK() OVER (ORDER BY id) FROM emb");
    assert!(error.starts_with("unsupported function 'rank'"), "{error}");
}

#[test]
fn forms_of_output() {
    let table = run("SELECT id, length_bp, embedding FROM emb WHERE source = 'b.fq'");
    assert_eq!((table.num_rows(), table.column_names().join(" ")), (3, "id length_bp embedding".into()));
    let csv = "id,length_bp,embedding\nx1,50,\"[-1.0,0.0]\"\nx2,,\"[0.0,-1.0]\"\n\"x,\"\"3\",70,\"[0.8,-0.6]\"\n";
    assert_eq!(table.to_csv(), csv);
    let ndjson = "{\"id\":\"x1\",\"length_bp\":50,\"embedding\":[-1.0,0.0]}\n\
                  {\"id\":\"x2\",\"length_bp\":null,\"embedding\":[0.0,-1.0]}\n\
                  {\"id\":\"x,\\\"3\",\"length_bp\":70,\"embedding\":[0.8,-0.6]}\n";
    assert_eq!(table.to_ndjson(), ndjson);
    let text = "id    length_bp  embedding\n\
                ----  ---------  -----------\n\
                x1           50  [-1, 0]\n\
                x2         null  [0, -1]\n\
                x,\"3         70  [0.8, -0.6]\n";
    assert_eq!(table.to_text(0), text);
}

#[test]
fn an_answer_can_be_queried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answer.parquet");
    run("SELECT id, embedding FROM emb WHERE id LIKE 'r%'").write_parquet(&path, &provenance()).unwrap();
    let mut query = Query::new(&path).unwrap();
    assert_eq!(query.run("SELECT COUNT(*) AS n FROM self").unwrap().to_csv(), "n\n3\n");
    // It is still an EMB.
    let read = Embeddings::read(&path).unwrap();
    assert_eq!((read.dim, read.values.as_slice()), (2, [1.0, 0.0, 0.6, 0.8, 0.0, 1.0].as_slice()));
}

#[test]
fn no_rows_are_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.parquet");
    EmbeddingWriter::create(&path, provenance()).unwrap().finish(&Default::default()).unwrap();
    let mut query = Query::new(&path).unwrap();
    assert_eq!(query.run("SELECT id FROM emb").unwrap().to_csv(), "id\n");
    assert_eq!(query.run("SELECT COUNT(*) AS n FROM emb").unwrap().to_text(80), "n\n-\n0\n");
}
