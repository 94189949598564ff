//! What the SQL of polars answers about embeddings and clusters.

use std::path::Path;

use invar_dataset::{Column, ColumnData};
use invar_embeddings::{ClusterTable, EmbeddingWriter, Embeddings, Form, Provenance, Query, Table, table_name};

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
    for name in ["emb", "self", "clusters"] {
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
fn a_query_in_parentheses_stands_for_its_value() {
    let sql = "SELECT id FROM emb WHERE length_bp > (SELECT AVG(length_bp) FROM emb) ORDER BY id";
    assert_eq!(csv(sql), "id\nr3\n"); // the mean is 204
    // Nested, of other types, and with names defined by WITH.
    let sql = "WITH long AS (SELECT id, length_bp FROM emb WHERE length_bp > 99) \
               SELECT length_bp FROM emb WHERE id = (SELECT MIN(id) FROM long \
               WHERE length_bp = (SELECT MAX(length_bp) FROM long))";
    assert_eq!(csv(sql), "length_bp\n600\n");
}

#[test]
fn cosines_are_those_of_the_definition() {
    // Of unit vectors they are dot products: 0.6 * 0.8 - 0.8 * 0.6, and so on.
    let sql =
        "SELECT id, ROUND(cosine(embedding, (SELECT embedding FROM emb WHERE key = 11)), 5) AS c FROM emb ORDER BY key";
    assert_eq!(csv(sql), "id,c\nr1,0.6\nr2,1.0\nr3,0.8\nx1,-0.6\nx2,-0.8\n\"x,\"\"3\",0.0\n");
    // Lengths do not matter, nor does the case of the name; the column is named after the function.
    assert_eq!(csv("SELECT COSINE(embedding, [25, 0]) FROM emb WHERE key IN (10, 12)"), "cosine\n1.0\n0.0\n");
    assert_eq!(csv("SELECT cosine([1.5, -2], [-3, 4]) AS c FROM emb LIMIT 1"), "c\n-1.0\n");
    // As condition and as order, and between two columns.
    let near = "SELECT id FROM emb WHERE cosine(embedding, [1, 1]) > 0.7 ORDER BY cosine(embedding, [1, 0]), id";
    assert_eq!(csv(near), "id\nr3\nr2\nr1\n");
    let pairs = "SELECT a.id, b.id AS other, ROUND(cosine(a.embedding, b.embedding), 4) AS c FROM emb a \
                 JOIN emb b ON a.source = b.source WHERE a.key < b.key ORDER BY c DESC, a.id LIMIT 2";
    assert_eq!(csv(pairs), "id,other,c\nr2,r3,0.8\nr1,r2,0.6\n");
    // A vector without a direction has no angle.
    assert_eq!(csv("SELECT cosine(embedding, [0, 0]) AS c FROM emb LIMIT 1"), "c\n\n");
    let none = "SELECT cosine(embedding, (SELECT embedding FROM emb WHERE key = 11)) AS c FROM emb WHERE id = 'none'";
    assert_eq!(csv(none), "c\n");
}

#[test]
fn wrong_sql_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    let query = specimen(dir.path());
    let refused = |sql: &str| {
        let error = query.run(sql).unwrap_err();
        assert!(!error.is_bad_input());
        error.to_string()
    };
    for (sql, expected) in [
        (
            "SELECT lenght_bp FROM emb",
            "no column \"lenght_bp\"; the nearest is \"length_bp\"\n  SELECT lenght_bp FROM emb\n         ^^^^^^^^^",
        ),
        (
            "SELECT id\nFROM emb\nWHERE size > 3 AND id = 'size'",
            "no column \"size\"; columns: cluster, distance, embedding, id, key, length_bp, probability, source, x, y\n  WHERE size > 3 AND id = 'size'\n        ^^^^",
        ),
        (
            "SELECT c.clustr FROM emb JOIN clusters c USING (key)",
            "no column \"clustr\"; the nearest is \"cluster\"\n  SELECT c.clustr FROM emb JOIN clusters c USING (key)\n           ^^^^^^",
        ),
        (
            "SELECT id FROM reads",
            "no table \"reads\"; tables: emb, clusters, self\n  SELECT id FROM reads\n                 ^^^^^",
        ),
        (
            "SELECT id FROM cluster",
            "no table \"cluster\"; the nearest is \"clusters\"\n  SELECT id FROM cluster\n                 ^^^^^^^",
        ),
        (
            "SELECT RANK() OVER (ORDER BY id) FROM emb",
            "unsupported function 'rank'\n  SELECT RANK() OVER (ORDER BY id) FROM emb\n         ^^^^",
        ),
        ("SELEC id FROM emb", "expected: an SQL statement, found: SELEC\n  SELEC id FROM emb\n  ^^^^^"),
        (
            "SELECT id FRM emb WHERE",
            "expected: end of statement, found: emb\n  SELECT id FRM emb WHERE\n                ^^^",
        ),
        (
            "SELECT id FROM emb WHERE",
            "expected: an expression, found: EOF\n  SELECT id FROM emb WHERE\n                          ^",
        ),
        (
            "SELECT cosine(embedding, id) FROM emb",
            "cosine is of two lists of numbers, \"id\" is str\n  SELECT cosine(embedding, id) FROM emb\n                           ^^",
        ),
        ("SELECT 1; SELECT 2", "one statement at a time, here are 2 (in the query: SELECT 1; SELECT 2)"),
        (" ", "the query is empty (in the query:  )"),
    ] {
        assert_eq!(refused(sql), expected, "{sql}");
    }
    for (sql, expected) in [
        ("SELECT cosine(embedding) FROM emb", "cosine is of two lists of numbers, here are 1"),
        ("SELECT cosine(embedding, [1, 2, 3]) FROM emb", "cosine of lists of 2 and 3 numbers"),
        (
            "SELECT cosine(embedding, (SELECT embedding FROM emb WHERE id LIKE 'r%')) FROM emb",
            "(SELECT embedding FROM emb WHERE id LIKE 'r%') gives 3 rows of 1 column, one value is wanted",
        ),
        ("SELECT (SELECT id, key FROM emb LIMIT 1) FROM emb", "gives 1 row of 2 columns, one value is wanted"),
    ] {
        let error = refused(sql);
        assert!(error.contains(expected), "{sql}: {error}");
    }
    // Of a long line, only the surroundings of the word.
    let many = format!("SELECT {} lenght FROM emb", "id AS some_name, ".repeat(100));
    let error = refused(&many);
    let lines: Vec<&str> = error.lines().collect();
    assert!(lines[1].len() <= 102 && lines[1].contains(" lenght FROM emb"), "{error}");
    assert_eq!(lines[1][lines[2].find('^').unwrap()..][..6], *"lenght");
}

/// A query that makes polars panic is reported like any other mistake in a query, and the next one is answered.
#[test]
fn whatever_is_asked_is_answered_or_refused() {
    let dir = tempfile::tempdir().unwrap();
    let query = specimen(dir.path());
    for sql in [
        "SELECT * FROM emb ORDER BY 99",
        "SELECT * FROM emb LIMIT -1",
        "SELECT embedding[0] FROM emb",
        "SELECT SUM(embedding) FROM emb",
        "SELECT cosine(embedding, embedding, embedding) FROM emb",
        "SELECT cosine(*) FROM emb",
        "SELECT cosine(embedding, NULL) FROM emb",
        "SELECT cosine(embedding, []) FROM emb",
        "SELECT cosine(embedding, ['a', 'b']) FROM emb",
        "SELECT cosine(embedding, [1, NULL]) FROM emb",
        "SELECT CAST(id AS INT) FROM emb",
        "SELECT id || embedding FROM emb",
        "SELECT * FROM emb JOIN clusters ON emb.key > clusters.key AND emb.id < clusters.id",
        "SELECT * FROM emb, clusters",
        "SELECT * FROM emb NATURAL JOIN clusters",
        "SELECT ((((((((((1)))))))))) FROM emb",
        "INSERT INTO emb VALUES (1)",
        "DROP TABLE emb2",
        "SELECT \u{1F9EC} FROM emb",
        "SELECT '",
        "\"",
    ] {
        let _ = query.run(sql);
        assert_eq!(query.run("SELECT COUNT(*) AS n FROM emb").unwrap().to_csv(), "n\n6\n", "{sql}");
    }
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
    let json: serde_json::Value = serde_json::from_str(&written(&table, Form::Json)).unwrap();
    let lines: Vec<serde_json::Value> = ndjson.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(json, serde_json::Value::Array(lines));
    assert_eq!(written(&run("SELECT id FROM emb WHERE id = 'none'"), Form::Json), "[]\n");
}

fn written(table: &Table, form: Form) -> String {
    let mut bytes = vec![];
    table.write(form, &provenance(), &mut bytes).unwrap();
    String::from_utf8(bytes).unwrap()
}

#[test]
fn tables_are_named_after_files_and_directories() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("run.2 (old)")).unwrap();
    for (path, name) in [
        ("result/clusters.parquet", "clusters"),
        ("grains.of.monday.parquet", "grains_of_monday"),
        ("run.2 (old)", "run_2__old_"),
        ("2026-11.parquet", "_2026_11"),
        ("Körner", "Körner"),
        ("run.2 (old)/.", "run_2__old_"),
    ] {
        assert_eq!(table_name(&dir.path().join(path)), name, "{path}");
    }
}

#[test]
fn an_answer_can_be_queried_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("answer.parquet");
    run("SELECT id, embedding FROM emb WHERE id LIKE 'r%'").write_parquet(&path, &provenance()).unwrap();
    let query = Query::new(&path).unwrap();
    assert_eq!(query.run("SELECT COUNT(*) AS n FROM answer").unwrap().to_csv(), "n\n3\n");
    // It is still an EMB.
    let read = Embeddings::read(&path).unwrap();
    assert_eq!((read.dim, read.values.as_slice()), (2, [1.0, 0.0, 0.6, 0.8, 0.0, 1.0].as_slice()));
}

#[test]
fn no_rows_are_no_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("none.parquet");
    EmbeddingWriter::create(&path, provenance()).unwrap().finish(&Default::default()).unwrap();
    let query = Query::new(&path).unwrap();
    assert_eq!(query.run("SELECT id FROM none").unwrap().to_csv(), "id\n");
    assert_eq!(query.run("SELECT COUNT(*) AS n FROM none").unwrap().to_text(80), "n\n-\n0\n");
}
