//! A whole run from a real server of S3, moto's, and back to it.
//!
//! Needs Python with it: `make test` installs it and runs this.
#![cfg(feature = "torch")]

mod support;

use std::{
    collections::BTreeMap,
    ffi::OsString,
    fs,
    io::{Read, Write},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    thread,
    time::Duration,
};

use support::{Bench, TRAINED, fastq, tree_digest};

/// The server, stopped when the test ends.
struct Moto {
    process: Child,
    port: u16,
}

impl Moto {
    /// With an own rule for who may do what after so many requests, if given.
    fn start(open_requests: Option<&str>) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(python());
        command.args(["-m", "moto.server", "-H", "127.0.0.1", "-p", &port.to_string()]);
        command.stdout(Stdio::null()).stderr(Stdio::null());
        command.envs(open_requests.map(|number| ("INITIAL_NO_AUTH_ACTION_COUNT", number)));
        let mut process = command.spawn().unwrap();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(process.try_wait().unwrap().is_none(), "moto's server ended: is `moto[server,s3]` installed?");
            thread::sleep(Duration::from_millis(50));
        }
        Self { process, port }
    }

    /// Stores bytes, or makes a bucket, without a signature, which moto allows at first.
    fn put(&self, path: &str, body: &[u8]) {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let head = format!(
            "PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(body).unwrap();
        let mut answer = vec![];
        stream.read_to_end(&mut answer).unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    }

    /// An object of the bucket as Amazon's own client gets it.
    fn get(&self, key: &str) -> Vec<u8> {
        let script = format!(
            "import boto3, sys\ns3 = boto3.client('s3', endpoint_url='http://127.0.0.1:{}', region_name='us-east-1', \
             aws_access_key_id='someone', aws_secret_access_key='secret')\n\
             sys.stdout.buffer.write(s3.get_object(Bucket='bucket', Key='{key}')['Body'].read())",
            self.port
        );
        let output = Command::new(python()).args(["-c", &script]).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        output.stdout
    }

    fn invar(&self, bench: &Bench, args: &[&str]) -> Output {
        let mut command = bench.command(args);
        command.env("AWS_ENDPOINT_URL", format!("http://127.0.0.1:{}", self.port));
        command.envs([("AWS_ACCESS_KEY_ID", "someone"), ("AWS_SECRET_ACCESS_KEY", "secret")]);
        command.envs([("AWS_REGION", "us-east-1"), ("TMPDIR", bench.path(".").to_str().unwrap())]);
        command.output().unwrap()
    }

    fn ok(&self, bench: &Bench, args: &[&str]) -> String {
        let output = self.invar(bench, args);
        assert!(output.status.success(), "invar {args:?}\n{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }
}

fn python() -> OsString {
    std::env::var_os("INVAR_TEST_PYTHON").unwrap_or_else(|| "python3".into())
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The files of a dataset except those that name its inputs, as shards of micrographs do.
fn made(dataset: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = tree_digest(dataset);
    let is_plain = |name: &str| name.starts_with("reads-") || name.ends_with(".tif") || name.ends_with(".png");
    files.retain(|path, _| path.file_name().is_some_and(|name| is_plain(&name.to_string_lossy())));
    assert!(!files.is_empty());
    files
}

#[test]
#[ignore = "needs moto's server: `make test` runs it"]
fn a_run_from_a_bucket_is_that_from_the_disk() {
    let (moto, bench) = (Moto::start(None), Bench::new());
    moto.put("/bucket", b"");
    let text = fastq(3, 80, 2500);
    bench.write("reads.fastq", &text);
    moto.put("/bucket/lane%201/reads.fastq", text.as_bytes());
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs/polycrystals/images");
    fs::create_dir(bench.path("images")).unwrap();
    let mut names: Vec<_> = fs::read_dir(images).unwrap().map(|entry| entry.unwrap().path()).collect();
    names.sort();
    for path in &names[..6] {
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(path).unwrap();
        moto.put(&format!("/bucket/images/{name}"), &bytes);
        bench.write(&format!("images/{name}"), bytes);
    }
    bench.write("sheet.csv", "sample,fastq_1\ngut,s3://bucket/lane 1/reads.fastq\n");
    bench.write("disk.csv", "sample,fastq_1\ngut,reads.fastq\n");
    let small: &[&str] = &["--set", "train.steps=2", "--set", "train.batch_size=8", "--set", "cluster.method=kmeans"];
    let runs: [(&[&str], &[&str], &[&str]); 2] = [
        (&["run", "reads/quickstart", "--sample-sheet", "sheet.csv"], &["--sample-sheet", "disk.csv"], TRAINED),
        (&["run", "micrographs/quickstart", "--input", "s3://bucket/images/"], &["--input", "images"], small),
    ];
    for (number, (from_bucket, from_disk, settings)) in runs.into_iter().enumerate() {
        let outs = [format!("bucket{number}"), format!("disk{number}")];
        moto.ok(&bench, &[from_bucket, &["--out", &outs[0]], settings].concat());
        bench.ok(&[&from_bucket[..2], from_disk, &["--out", &outs[1]], settings].concat());
        let of = |out: &String| {
            let model = fs::read(bench.path(out).join("run/model.safetensors")).unwrap();
            let sql = "SELECT e.id, e.key, e.embedding, c.cluster, c.x, c.y FROM e JOIN c USING (key) ORDER BY e.key";
            let (e, c) = (format!("e={out}/embeddings"), format!("c={out}/clusters.parquet"));
            (made(&bench.path(out).join("data")), model, bench.ok(&["query", &e, &c, sql, "--format", "csv"]))
        };
        assert!(of(&outs[0]) == of(&outs[1]), "{}", outs[0]);
    }
    // And tables to the bucket, as large as several parts.
    let embed = |out: &str| {
        moto.ok(&bench, &["embed", "--model", "bucket0/run", "--data", "bucket0/data", "--out", out]);
    };
    embed("emb.parquet");
    embed("s3://bucket/results/emb.parquet");
    assert!(moto.get("results/emb.parquet") == fs::read(bench.path("emb.parquet")).unwrap());
    let sql = "SELECT a.id, b.embedding, b.embedding AS again FROM emb AS a, emb AS b";
    for out in ["big.csv", "s3://bucket/results/big.csv"] {
        moto.ok(&bench, &["query", "s3://bucket/results/emb.parquet", sql, "--out", out]);
    }
    let big = fs::read(bench.path("big.csv")).unwrap();
    assert!(big.len() > 16 << 20, "{}", big.len());
    assert!(moto.get("results/big.csv") == big);
    // A directory is what it is on a disk: of one name in a folder below it nothing is taken.
    for entry in fs::read_dir(bench.path("bucket0/embeddings")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        moto.put(&format!("/bucket/emb/{name}"), &fs::read(&path).unwrap());
        moto.put(&format!("/bucket/emb/old/{name}"), b"another");
    }
    let rows = |e: &str| moto.ok(&bench, &["query", e, "SELECT * FROM e", "--format", "csv"]);
    assert_eq!(rows("e=s3://bucket/emb/"), rows("e=bucket0/embeddings"));
    for (url, words) in
        [("s3://bucket/none.fq", "there is no such object"), ("s3://none/none.fq", "there is no bucket of this name")]
    {
        let failed = moto.invar(&bench, &["ingest", "reads", url, "--out", "none"]);
        let error = String::from_utf8(failed.stderr).unwrap();
        assert!(failed.status.code() == Some(2) && error.contains(&format!("{url}: {words}")), "{error}");
    }
}

#[test]
#[ignore = "needs moto's server: `make test` runs it"]
fn credentials_that_a_server_does_not_know_are_denied() {
    let (moto, bench) = (Moto::start(Some("2")), Bench::new());
    moto.put("/bucket", b"");
    moto.put("/bucket/reads.fastq", b"@r\nACGT\n+\nIIII\n");
    let failed = moto.invar(&bench, &["ingest", "reads", "s3://bucket/reads.fastq", "--out", "data", "--log", "log"]);
    let error = String::from_utf8(failed.stderr).unwrap();
    assert_eq!(failed.status.code(), Some(1), "{error}");
    assert!(error.contains("s3://bucket/reads.fastq: access denied: InvalidAccessKeyId"), "{error}");
    assert!(!error.contains("secret") && !fs::read_to_string(bench.path("log")).unwrap().contains("secret"));
}
