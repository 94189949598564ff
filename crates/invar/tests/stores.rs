//! Inputs and outputs by URL, from and to a server of the test's own, which also fails as servers and networks do. What a
//! real server of S3 makes of it: `s3.rs`.
#![cfg(feature = "torch")]

#[path = "support/server.rs"]
mod server;
mod support;

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::Output,
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use server::{Fate, Request, Server, etag};
use support::{Bench, TRAINED, fastq, tree_digest};

const SECRET: &str = "s3cr3tValue";

/// A bench with a server that holds bucket `b`, and the environment that leads to it.
struct Stores {
    bench: Bench,
    server: Server,
    environment: Vec<(&'static str, String)>,
}

impl Stores {
    fn new() -> Self {
        let server = Server::start();
        let endpoint = server.url("");
        let environment = [
            ("AWS_ENDPOINT_URL", endpoint.as_str()),
            ("AWS_ACCESS_KEY_ID", "someone"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("AWS_REGION", "us-east-1"),
            ("INVAR_STORE_RETRIES", "3"),
            ("INVAR_STORE_TIMEOUT_S", "2"),
        ];
        let environment = environment.map(|(name, value)| (name, value.to_owned())).to_vec();
        let stores = Self { bench: Bench::new(), server, environment };
        let scratch = stores.bench.path("tmp");
        fs::create_dir(&scratch).unwrap();
        stores.with(&[("TMPDIR", scratch.to_str().unwrap())])
    }

    /// With other values; an empty one unsets.
    fn with(mut self, variables: &[(&'static str, &str)]) -> Self {
        for (name, value) in variables {
            self.environment.retain(|(other, _)| other != name);
            if !value.is_empty() {
                self.environment.push((name, (*value).to_owned()));
            }
        }
        self
    }

    fn output(&self, args: &[&str]) -> Output {
        let output = self.bench.command(args).envs(self.environment.iter().cloned()).output().unwrap();
        for text in [&output.stdout, &output.stderr] {
            assert!(!String::from_utf8_lossy(text).contains(SECRET), "{}", String::from_utf8_lossy(text));
        }
        output
    }

    fn ok(&self, args: &[&str]) -> String {
        let output = self.output(args);
        assert!(output.status.success(), "invar {args:?}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn fails(&self, code: i32, args: &[&str]) -> String {
        let output = self.output(args);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "invar {args:?}\n{error}");
        error
    }

    /// Stores bytes in the bucket and in a local file, both of this name.
    fn both(&self, name: &str, bytes: &[u8]) {
        self.server.put(&format!("/b/{name}"), bytes);
        let path = self.bench.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }

    /// Nothing lies about in the directory for temporary files.
    fn left_over(&self) -> Vec<PathBuf> {
        fs::read_dir(self.bench.path("tmp")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(vec![], Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The files of a dataset except those that name its inputs.
fn shards(dataset: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree_digest(dataset);
    files.retain(|path, _| path.extension().is_none_or(|extension| extension != "json" && extension != "parquet"));
    assert!(!files.is_empty());
    files
}

/// The label maps and pictures of a dataset of micrographs, whose shards name their images.
fn labels(dataset: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = shards(dataset);
    files.retain(|path, _| path.extension().is_none_or(|extension| extension != "shard"));
    assert!(!files.is_empty());
    files
}

fn test_data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data").join(name)
}

/// What becomes of a request.
type Judge = fn(&Request) -> Fate;

/// Requests for the content of an object, not for a look at it.
fn is_read(request: &Request) -> bool {
    request.method == "GET" && request.headers.get("range").is_some_and(|range| range != "bytes=0-0")
}

#[test]
fn reads_by_url_are_those_of_the_disk() {
    let stores = Stores::new();
    stores.both("a.fastq", fastq(3, 20, 2500).as_bytes());
    stores.both("a.fastq.gz", &gzip(fastq(2, 700, 5000).as_bytes()));
    for name in ["ex1.cram", "ex1.fa", "human-chr17.bam", "hiseq-pairs_1.fastq.gz", "hiseq-pairs_2.fastq.gz"] {
        stores.both(name, &fs::read(test_data("reads/real").join(name)).unwrap());
    }
    let web = |name: &str| stores.server.url(&format!("/b/{name}"));
    let s3 = |name: &str| format!("s3://b/{name}");
    let disk = |name: &str| name.to_owned();
    let cases: [&[&str]; 4] = [
        &["a.fastq", "a.fastq.gz"],
        &["human-chr17.bam"],
        &["ex1.cram", "--reference", "ex1.fa"],
        &["--mates", "hiseq-pairs_1.fastq.gz", "hiseq-pairs_2.fastq.gz"],
    ];
    for (number, case) in cases.iter().enumerate() {
        let ingest = |out: &str, of: &dyn Fn(&str) -> String| {
            let inputs = case.iter().map(|word| if word.starts_with("--") { (*word).to_owned() } else { of(word) });
            let args: Vec<String> = ["ingest", "reads"].map(str::to_owned).into_iter().chain(inputs).collect();
            let args: Vec<&str> = args.iter().map(String::as_str).chain(["--out", out]).collect();
            stores.ok(&args)
        };
        let outs = ["disk", "web", "s3"].map(|name| format!("{name}{number}"));
        ingest(&outs[0], &disk);
        ingest(&outs[1], &web);
        ingest(&outs[2], &s3);
        let of = |out: &String| shards(&stores.bench.path(out));
        assert!(of(&outs[0]) == of(&outs[1]) && of(&outs[0]) == of(&outs[2]), "{case:?}");
        // The entity tag tells that nothing has changed: not a byte of the content is asked for.
        stores.server.judge(|_| Fate::Answered);
        assert!(ingest(&outs[2], &s3).contains("nothing was written"));
        assert!(!stores.server.requests().iter().any(is_read));
    }
    let manifest: Value = serde_json::from_slice(&fs::read(stores.bench.path("s30/manifest.json")).unwrap()).unwrap();
    let input = &manifest["inputs"][0];
    let bytes = stores.server.object("/b/a.fastq").unwrap();
    assert_eq!(input["path"], "s3://b/a.fastq");
    assert_eq!(input["identity"]["etag"], etag(&bytes).as_str());
    assert_eq!(input["identity"]["size_bytes"], bytes.len());
    stores.ok(&["info", "s30", "--verify"]);
    // An object with the same bytes under another tag is the same; with others it is not.
    stores.server.put("/b/a.fastq", fastq(3, 20, 2501));
    let error = stores.fails(2, &["ingest", "reads", "s3://b/a.fastq", "s3://b/a.fastq.gz", "--out", "s30"]);
    assert!(error.contains("s3://b/a.fastq has changed since"), "{error}");
}

#[test]
fn micrographs_by_url_are_those_of_the_disk() {
    let stores = Stores::new();
    let images = test_data("micrographs/polycrystals/images");
    let mut names: Vec<_> = fs::read_dir(images).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in &names[..4] {
        stores.both(&format!("images/{}", path.file_name().unwrap().to_str().unwrap()), &fs::read(path).unwrap());
    }
    stores.server.put("/b/images/notes.txt", "no image");
    stores.ok(&["ingest", "micrographs", "images", "--out", "disk"]);
    stores.ok(&["ingest", "micrographs", "s3://b/images/", "--out", "s3"]);
    assert!(labels(&stores.bench.path("disk")) == labels(&stores.bench.path("s3")));
    let grains = |out: &str| {
        let sql = "SELECT * EXCLUDE (source) FROM self";
        stores.ok(&["query", &format!("{out}/grains.parquet"), sql, "--format", "csv"])
    };
    assert_eq!(grains("disk"), grains("s3"));
    // A sheet there, with names relative to it, and one here, with URLs.
    let name = names[0].file_name().unwrap().to_str().unwrap();
    stores.server.put("/b/sheet.csv", format!("image,pixel_size_nm\nimages/{name},10\n"));
    stores
        .bench
        .write("sheet.csv", format!("image,pixel_size_nm\n{}\n", stores.server.url(&format!("/b/images/{name},10"))));
    stores.ok(&["ingest", "micrographs", "--sample-sheet", "s3://b/sheet.csv", "--out", "there"]);
    stores.ok(&["ingest", "micrographs", "--sample-sheet", "sheet.csv", "--out", "here"]);
    assert!(labels(&stores.bench.path("there")) == labels(&stores.bench.path("here")));
    let error = stores.fails(2, &["ingest", "micrographs", "s3://b/none/", "--out", "none"]);
    assert!(error.contains("s3://b/none/: there is no such object"), "{error}");
    let url = stores.server.url("/b/images/");
    let error = stores.fails(1, &["ingest", "micrographs", &url, "--out", "none"]);
    assert!(error.contains("a web server does not list its files"), "{error}");
}

#[test]
fn what_is_not_there_or_not_allowed_is_said() {
    let stores = Stores::new();
    stores.both("a.fastq", fastq(3, 20, 500).as_bytes());
    let cases = [
        ("s3://b/none.fastq", "s3://b/none.fastq: there is no such object"),
        ("s3://none/a.fastq", "s3://none/a.fastq: there is no bucket of this name"),
        ("ftp://h/a.fastq", "ftp://h/a.fastq: expected a path or a URL of s3://"),
        ("https://me:s3cr3tValue@h/a.fastq", "https://h/a.fastq: a name or password in a URL is not taken"),
    ];
    for (url, expected) in cases {
        let error = stores.fails(2, &["ingest", "reads", url, "--out", "data", "--log", "log.jsonl"]);
        assert!(error.contains(expected), "{error}");
        assert!(!stores.bench.path("data").exists());
    }
    let error = stores.fails(2, &["ingest", "reads", "s3://b/a.fastq", "s3://b/a.fastq", "--out", "data"]);
    assert!(error.contains("one file twice: s3://b/a.fastq and s3://b/a.fastq"), "{error}");
    // What a sheet names and is not there is bad input; all rows are told at once.
    let rows = "x,s3://b/a.fastq\ny,s3://b/none.fastq\nz,s3://none/a.fastq\nw,https://me:s3cr3tValue@h/a\n";
    stores.bench.write("sheet.csv", format!("sample,fastq_1\n{rows}"));
    let error = stores.fails(3, &["ingest", "reads", "--sample-sheet", "sheet.csv", "--out", "data"]);
    for expected in [
        "row 3: expected a file, found s3://b/none.fastq, which is not there (there is no such object)",
        "row 4: expected a file, found s3://none/a.fastq, which is not there (there is no bucket of this name)",
        "row 5: expected a file, found https://h/a, which is not taken",
    ] {
        assert!(error.contains(expected), "{error}");
    }
    // Denied and expired credentials, with what the server says of them, and which sample it is.
    stores.bench.write("one.csv", "sample,fastq_1\ngut3,s3://b/a.fastq\n");
    let denied = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message><Sig>s3cr3tValue</Sig></Error>";
    let expired = "<Error><Code>ExpiredToken</Code><Message>The token has expired.</Message><Token-0>s3cr3tValue</Token-0></Error>";
    for (status, body, expected) in
        [(403, denied, "AccessDenied: Access Denied"), (400, expired, "ExpiredToken: The token has expired.")]
    {
        stores.server.judge(move |_| Fate::Refused(status, body));
        let error = stores.fails(1, &["ingest", "reads", "s3://b/a.fastq", "--out", "data"]);
        assert!(error.contains(&format!("s3://b/a.fastq: access denied: {expected}")), "{error}");
        assert_eq!(stores.server.requests().len(), 1, "asking again would not help");
        let error = stores.fails(1, &["ingest", "reads", "--sample-sheet", "one.csv", "--out", "data"]);
        assert!(error.contains("s3://b/a.fastq: access denied"), "{error}");
    }
    // Credentials that expire while a sample is read.
    stores.server.judge(move |request| if is_read(request) { Fate::Refused(400, expired) } else { Fate::Answered });
    let error = stores.fails(1, &["ingest", "reads", "--sample-sheet", "one.csv", "--out", "data"]);
    assert!(error.contains("sample gut3") && error.contains("s3://b/a.fastq: access denied: ExpiredToken"), "{error}");
    stores.server.judge(|_| Fate::Answered);
    let stores = stores.with(&[("AWS_ACCESS_KEY_ID", "")]);
    let error = stores.fails(1, &["ingest", "reads", "s3://b/a.fastq", "--out", "data"]);
    assert!(error.contains("no credentials in the environment: set AWS_ACCESS_KEY_ID"), "{error}");
    assert!(stores.server.requests().is_empty());
    for (url, variable) in
        [("gs://b/a.fastq", "GOOGLE_APPLICATION_CREDENTIALS"), ("az://b/a.fastq", "AZURE_STORAGE_ACCOUNT")]
    {
        let error = stores.fails(1, &["ingest", "reads", url, "--out", "data"]);
        assert!(error.contains(url) && error.contains(variable), "{error}");
    }
    // A bucket that is open to all needs none.
    let stores = stores.with(&[("AWS_SKIP_SIGNATURE", "true"), ("AWS_SECRET_ACCESS_KEY", "")]);
    stores.ok(&["ingest", "reads", "s3://b/a.fastq", "--out", "data"]);
    assert!(stores.server.requests().iter().all(|request| !request.headers.contains_key("authorization")));
}

#[test]
fn google_and_azure_are_read_too() {
    let stores = Stores::new();
    let text = fastq(3, 20, 500);
    stores.both("a.fastq", text.as_bytes());
    stores.server.put("/account/b/a.fastq", text);
    let endpoint = stores.server.url("");
    let azure = format!("{endpoint}/account");
    let stores = stores.with(&[
        ("GOOGLE_BASE_URL", &endpoint),
        ("GOOGLE_SKIP_SIGNATURE", "true"),
        ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
        ("AZURE_STORAGE_ACCOUNT_KEY", "czNjcjN0VmFsdWU="),
        ("AZURE_STORAGE_ENDPOINT", &azure),
    ]);
    stores.ok(&["ingest", "reads", "a.fastq", "--out", "disk"]);
    for scheme in ["gs", "az"] {
        stores.ok(&["ingest", "reads", &format!("{scheme}://b/a.fastq"), "--out", scheme]);
        assert!(shards(&stores.bench.path("disk")) == shards(&stores.bench.path(scheme)), "{scheme}");
    }
}

#[test]
fn a_reading_goes_on_where_the_connection_ended() {
    let stores = Stores::new();
    // Several parts of 4 MiB.
    stores.both("a.fastq", fastq(2, 500, 6000).as_bytes());
    stores.ok(&["ingest", "reads", "a.fastq", "--out", "disk"]);
    let same = |out: &str| shards(&stores.bench.path("disk")) == shards(&stores.bench.path(out));
    let fates: [(&str, Judge); 5] = [
        // Each part at its first request, and again after a quarter of the rest.
        (
            "cut",
            |request| if is_read(request) && request.before == 0 { Fate::CutAfter(1 << 20) } else { Fate::Answered },
        ),
        ("always cut", |request| if is_read(request) { Fate::CutAfter(300_000) } else { Fate::Answered }),
        ("500 twice", |request| if request.before < 2 { Fate::Refused(500, "") } else { Fate::Answered }),
        ("429 once", |request| if request.before == 0 { Fate::Refused(429, "") } else { Fate::Answered }),
        ("silent once", |request| {
            if is_read(request) && request.before == 0 { Fate::Silent(Duration::from_secs(4)) } else { Fate::Answered }
        }),
    ];
    for (name, fate) in fates {
        // `before` counts requests of the same target and range.
        let mut seen = BTreeMap::<String, usize>::new();
        stores.server.judge(move |request| {
            let range = format!("{} {:?}", request.method, request.headers.get("range"));
            let before = *seen.entry(range.clone()).and_modify(|number| *number += 1).or_insert(0);
            fate(&Request { before, ..request.clone() })
        });
        stores.ok(&["ingest", "reads", "s3://b/a.fastq", "--out", name]);
        assert!(same(name), "{name}");
    }
    // Bytes that were there are not asked for again.
    let ranges = stores.server.requests();
    assert!(ranges.iter().filter(|request| is_read(request)).all(|request| request.headers.contains_key("if-match")));
    // A server that is slow all the time, but never silent for two seconds.
    stores.both("small.fastq", fastq(2, 10, 500).as_bytes());
    stores.server.judge(|_| Fate::Slow(Duration::from_millis(100)));
    stores.ok(&["ingest", "reads", "s3://b/small.fastq", "--out", "slow"]);
    stores.ok(&["ingest", "reads", "small.fastq", "--out", "small"]);
    assert!(shards(&stores.bench.path("small")) == shards(&stores.bench.path("slow")));
}

#[test]
fn a_store_that_gives_up_leaves_what_is_finished() {
    let stores = Stores::new();
    let reads: Vec<String> = (0..2).map(|number| fastq(2, 500, 6000 + number)).collect();
    stores.both("a.fastq", reads[0].as_bytes());
    stores.both("b.fastq", reads[1].as_bytes());
    let ingest = |out: &'static str| ["ingest", "reads", "s3://b/a.fastq", "s3://b/b.fastq", "--out", out];
    stores.ok(&["ingest", "reads", "a.fastq", "b.fastq", "--out", "disk"]);
    let of_b = |request: &Request| is_read(request) && request.target.contains("b.fastq");
    stores.server.judge(move |request| if of_b(request) { Fate::Refused(503, "") } else { Fate::Answered });
    let error = stores.fails(1, &ingest("data"));
    assert!(error.contains("s3://b/b.fastq: status 503 (4 requests)"), "{error}");
    stores
        .server
        .judge(move |request| if of_b(request) { Fate::Silent(Duration::from_secs(3)) } else { Fate::Answered });
    let error = stores.fails(1, &ingest("data"));
    assert!(error.contains("s3://b/b.fastq: no answer within 2 s (4 requests)"), "{error}");
    stores.server.judge(|_| Fate::Answered);
    stores.ok(&ingest("data"));
    assert!(shards(&stores.bench.path("disk")) == shards(&stores.bench.path("data")));
    // A server that is not there at all.
    let stores = stores.with(&[("AWS_ENDPOINT_URL", "http://127.0.0.1:9"), ("INVAR_STORE_RETRIES", "1")]);
    let error = stores.fails(1, &ingest("none"));
    assert!(error.contains("s3://b/a.fastq: ") && error.contains("(2 requests)"), "{error}");
    let stores = stores.with(&[("INVAR_STORE_RETRIES", "many")]);
    let error = stores.fails(1, &ingest("none"));
    assert!(error.contains("INVAR_STORE_RETRIES: expected a whole number, found \"many\""), "{error}");
}

#[test]
fn an_object_that_changes_while_it_is_read_is_refused() {
    let stores = Stores::new();
    stores.both("a.fastq", fastq(2, 500, 6000).as_bytes());
    let size = stores.server.object("/b/a.fastq").unwrap().len();
    let is_second =
        |request: &Request| request.headers.get("range").is_some_and(|range| range.starts_with("bytes=4194304-"));
    stores.server.judge(move |request| if is_second(request) { Fate::Changed } else { Fate::Answered });
    for (name, url) in [("s3", "s3://b/a.fastq".to_owned()), ("web", stores.server.url("/b/a.fastq"))] {
        let error = stores.fails(1, &["ingest", "reads", &url, "--out", name]);
        let then = stores.server.object("/b/a.fastq").unwrap().len() - 1;
        assert!(error.contains(&format!("{url}: it changed while it was read: {then} bytes with ETag")), "{error}");
        assert!(error.contains(&format!("before, {} bytes with ETag", then + 1)), "{error}");
        assert!(then >= size && !stores.bench.path(name).join("manifest.json").exists());
    }
}

#[test]
fn signatures_in_urls_are_told_nowhere() {
    let stores = Stores::new();
    stores.both("a.fastq", fastq(3, 20, 2500).as_bytes());
    let url = stores.server.url(&format!("/b/a.fastq?X-Amz-Signature={SECRET}"));
    let shown = stores.server.url("/b/a.fastq");
    let ingest = ["ingest", "reads", &url, "--out", "data", "--log", "log.jsonl", "--json", "-v"];
    assert!(stores.ok(&ingest).contains("num_rows"));
    assert!(
        stores.server.requests().iter().all(|request| request.target.ends_with(SECRET)),
        "it is what opens the door"
    );
    stores.bench.write("sheet.csv", format!("sample,fastq_1\nx,{url}\n"));
    stores.ok(&["ingest", "reads", "--sample-sheet", "sheet.csv", "--out", "sheet", "--log", "log.jsonl"]);
    stores.ok(&["ingest", "reads", &url, "--out", "data"]);
    // A recipe is stored with its result.
    stores.both("sheet2.csv", format!("sample,fastq_1\nx,{url}\n").as_bytes());
    let sheet = stores.server.url(&format!("/b/sheet2.csv?X-Amz-Signature={SECRET}"));
    let sheet = format!("source.sample_sheet=\"{sheet}\"");
    stores.ok(&[&["train", "reads/quickstart", "--set", &sheet, "--data", "data", "--out", "run"], TRAINED].concat());
    stores.server.judge(|request| if is_read(request) { Fate::Refused(500, "") } else { Fate::Answered });
    let error = stores.fails(1, &["ingest", "reads", &url, "--out", "broken", "--log", "log.jsonl", "-v"]);
    assert!(error.contains(&format!("{shown}: status 500 (4 requests)")), "{error}");
    stores.server.judge(|_| Fate::CutAfter(0));
    stores.fails(1, &["ingest", "reads", &url, "--out", "broken", "--log", "log.jsonl"]);
    let files = tree_digest(&stores.bench.path(""));
    let telling = files.iter().filter(|(path, bytes)| {
        !path.ends_with("sheet.csv")
            && !path.ends_with("sheet2.csv")
            && bytes.windows(SECRET.len()).any(|window| window == SECRET.as_bytes())
    });
    assert_eq!(telling.map(|(path, _)| path).collect::<Vec<_>>(), Vec::<&PathBuf>::new());
    let manifest = String::from_utf8(files[Path::new("data/manifest.json")].clone()).unwrap();
    assert!(manifest.contains(&format!("\"{shown}\"")), "{manifest}");
}

#[test]
fn tables_go_to_a_store_and_come_from_there() {
    let stores = Stores::new();
    stores.both("reads.fastq", fastq(3, 20, 2500).as_bytes());
    stores.ok(&["ingest", "reads", "s3://b/reads.fastq", "--out", "data"]);
    stores.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
    let embed = |out: &str| stores.ok(&["embed", "--model", "run", "--data", "data", "--out", out]);
    embed("emb.parquet");
    assert!(embed("s3://b/out/emb.parquet").contains("s3://b/out/emb.parquet: 60 embeddings"));
    let same = |name: &str| {
        fs::read(stores.bench.path(name)).unwrap() == stores.server.object(&format!("/b/out/{name}")).unwrap()
    };
    assert!(same("emb.parquet"));
    stores.ok(&["cluster", "emb.parquet", "--k", "3", "--out", "clusters.parquet"]);
    let clustered = ["cluster", "s3://b/out/emb.parquet", "--k", "3", "--out", "s3://b/out/clusters.parquet", "--json"];
    let told: Value = serde_json::from_str(&stores.ok(&clustered)).unwrap();
    assert_eq!(told["out"], "s3://b/out/clusters.parquet");
    assert_eq!(told["groups"], "s3://b/out/clusters.tsv");
    assert!(same("clusters.tsv"));
    let labels = |file: &str| {
        let sql = "SELECT * FROM self";
        stores.ok(&["query", file, sql, "--format", "csv"])
    };
    assert_eq!(labels("clusters.parquet"), labels("s3://b/out/clusters.parquet"));
    for name in ["near.parquet", "s3://b/out/near.parquet"] {
        let emb = if name.contains("://") { "s3://b/out/emb.parquet" } else { "emb.parquet" };
        stores.ok(&["search", emb, "--like", "r0001", "--out", name]);
    }
    assert_eq!(
        stores.ok(&["query", "near.parquet", "SELECT * FROM self", "--format", "csv"]),
        stores.ok(&["query", "near=s3://b/out/near.parquet", "SELECT * FROM near", "--format", "csv"])
    );
    stores.ok(&["query", "s3://b/out/emb.parquet", "SELECT id, gc FROM emb", "--out", "s3://b/out/gc.csv"]);
    assert!(stores.server.object("/b/out/gc.csv").unwrap().starts_with(b"id,gc\nr0000,"));
    // The originals are read again where they are.
    stores.ok(&["extract", "s3://b/out/clusters.parquet", "--data", "data", "--out", "groups"]);
    assert!(stores.bench.path("groups/group_000.fastq.gz").is_file());
    assert_eq!(stores.left_over(), Vec::<PathBuf>::new());
    // As files are: not replaced unless asked for, and no directories.
    let error = stores.fails(2, &clustered);
    assert!(error.contains("s3://b/out/clusters.tsv: exists already (--force replaces it)"), "{error}");
    stores.ok(&[&clustered[..], &["--force"]].concat());
    let error = stores.fails(2, &["ingest", "reads", "reads.fastq", "--out", "s3://b/data"]);
    assert!(error.contains("s3://b/data: a directory of many files is made on a disk"), "{error}");
    let url = stores.server.url("/b/gc.csv");
    let error = stores.fails(1, &["query", "emb.parquet", "SELECT id FROM emb", "--out", &url]);
    assert!(error.contains("a web server is only read from"), "{error}");
    assert!(!stores.bench.path("s3:").exists() && !stores.bench.path("http:").exists());
}

#[test]
fn tasks_write_embeddings_in_parts_into_one_store() {
    let stores = Stores::new();
    stores.bench.write("reads.fastq", fastq(3, 20, 2500));
    stores.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    stores.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
    let embed = |out: &str, shard: Option<&str>| {
        let args = ["embed", "--model", "run", "--data", "data", "--out", out];
        stores.output(&[&args[..], &shard.map_or(vec![], |shard| vec!["--shard", shard])].concat())
    };
    let done = |output: Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    done(embed("emb", None));
    for shard in ["1/2", "2/2"] {
        done(embed("emb2", Some(shard)));
    }
    // The second task first, and one whose connection fails at its last part: what it made is kept and sent by the next try.
    assert!(done(embed("s3://b/emb2/", Some("2/2"))).contains("s3://b/emb2/: shard 2/2"));
    stores.server.judge(|request| if request.method == "PUT" { Fate::CutIn(1000) } else { Fate::Answered });
    let error = String::from_utf8(embed("s3://b/emb2", Some("1/2")).stderr).unwrap();
    assert!(error.contains("s3://b/emb2/: not stored; the finished file is kept as"), "{error}");
    let error = stores.fails(3, &["info", "s3://b/emb2/"]);
    assert!(error.contains("1 of 2 shards are whole, not 1"), "{error}");
    stores.server.judge(|_| Fate::Answered);
    assert!(done(embed("s3://b/emb2", Some("1/2"))).contains("done before"));
    done(embed("s3://b/emb/", None));
    for name in
        ["emb/part-00000.parquet", "emb2/part-0001-of-0002-00000.parquet", "emb2/part-0002-of-0002-00000.parquet"]
    {
        assert!(
            fs::read(stores.bench.path(name)).unwrap() == stores.server.object(&format!("/b/{name}")).unwrap(),
            "{name}"
        );
    }
    assert_eq!(stores.left_over(), Vec::<PathBuf>::new());
    let ids = |emb: &str| stores.ok(&["query", emb, "SELECT id FROM self", "--format", "csv"]);
    assert_eq!(ids("s3://b/emb2/"), ids("emb"));
    // What is there stays, and is not mixed with another division.
    let refused = |out: &str, shard: Option<&str>, more: &[&str], reason: &str| {
        let args = ["embed", "--model", "run", "--data", "data", "--out", out];
        let shard = shard.map_or(vec![], |shard| vec!["--shard", shard]);
        let error = stores.fails(2, &[&args[..], &shard, more].concat());
        assert!(error.contains(reason), "{error}");
    };
    refused("s3://b/emb2", Some("2/2"), &[], "s3://b/emb2/: exists already");
    refused("s3://b/emb", None, &["--force"], "several objects cannot be replaced at once");
    refused("s3://b/emb2", Some("1/3"), &[], "part-0001-of-0002-00000.parquet");
    refused("s3://b/emb3.parquet", Some("1/3"), &[], "this is the name of a file");
}

#[test]
fn an_output_is_whole_or_absent_and_what_was_made_is_kept() {
    let stores = Stores::new();
    // 20 MB as text: three parts.
    stores.bench.write("reads.fastq", fastq(3, 20, 2500));
    stores.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    stores.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat());
    stores.server.put("/b/there", "");
    let embed = ["embed", "--model", "run", "--data", "data", "--out", "s3://b/emb.parquet", "--log", "log.jsonl"];
    // Cut in the middle of what is sent, twice, then well.
    stores.server.judge(
        |request| if request.method == "PUT" && request.before < 2 { Fate::CutIn(1000) } else { Fate::Answered },
    );
    stores.ok(&embed);
    let whole = stores.server.object("/b/emb.parquet").unwrap();
    assert_eq!(stores.left_over(), Vec::<PathBuf>::new());
    // Cut every time: nothing is there, and what was embedded is kept and only sent by the next try.
    stores.server.judge(|request| if request.method == "PUT" { Fate::CutIn(1000) } else { Fate::Answered });
    let forced = [&embed[..], &["--force"]].concat();
    let other: Vec<&str> =
        embed.iter().map(|word| if word.contains("://") { "s3://b/other.parquet" } else { word }).collect();
    let error = stores.fails(1, &other);
    assert!(error.contains("s3://b/other.parquet: not stored; the finished file is kept as"), "{error}");
    assert!(stores.server.object("/b/other.parquet").is_none());
    let kept = stores.left_over();
    assert!(fs::read(kept[0].join("other.parquet")).unwrap() == whole);
    stores.fails(1, &forced);
    assert!(stores.server.object("/b/emb.parquet").unwrap() == whole, "the old one stays");
    stores.server.judge(|_| Fate::Answered);
    assert!(stores.ok(&other).contains("s3://b/other.parquet: 60 embeddings, done before"));
    assert!(stores.server.object("/b/other.parquet").unwrap() == whole);
    // Large files go in parts, which are put together last.
    let sql = "SELECT a.id, b.embedding, a.embedding AS e2, c.id AS id3 FROM emb AS a, emb AS b, emb AS c";
    let query = |out: &str| stores.output(&["query", "emb=s3://b/emb.parquet", sql, "--out", out]);
    let completes = |request: &Request| request.method == "POST" && request.target.contains("uploadId");
    stores.server.judge(move |request| if completes(request) { Fate::Refused(403, "") } else { Fate::Answered });
    let failed = query("s3://b/big.csv");
    assert_eq!(failed.status.code(), Some(1), "{}", String::from_utf8_lossy(&failed.stderr));
    assert!(stores.server.object("/b/big.csv").is_none());
    assert_eq!(stores.server.uploads(), (0, 1), "aborted");
    let is_part = |request: &Request| request.target.contains("partNumber");
    stores.server.judge(
        move |request| if is_part(request) && request.before == 0 { Fate::CutIn(5 << 20) } else { Fate::Answered },
    );
    assert!(query("s3://b/big.csv").status.success());
    assert!(query("big.csv").status.success());
    assert!(fs::read(stores.bench.path("big.csv")).unwrap() == stores.server.object("/b/big.csv").unwrap());
    assert_eq!(stores.server.uploads(), (0, 1));
    let parts = stores.server.requests().iter().filter(|request| is_part(request)).count();
    assert!(parts > 2, "{parts}");
}
