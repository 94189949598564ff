//! `invar federate`: rounds of several sites, apart and in one process, and what is refused.
#![cfg(feature = "torch")]

mod support;

use std::{fs, path::Path};

use serde_json::Value;
use support::{Bench, fastq, tree_digest};

const RECIPE: &str = "reads/federated";
/// A small network, few steps.
const SMALL: &[&str] = &[
    "--set",
    "train.batch_size=8",
    "--set",
    "encoder.hidden=[16]",
    "--set",
    "encoder.dim=8",
    "--set",
    "source.view.ks=[3]",
    "--set",
    "federation.rounds=3",
    "--set",
    "federation.local_steps=2",
    "--set",
    "federation.keys=5",
    "--set",
    "federation.keys_per_site=8",
];

/// Reads of three sites, `a`, `b` and `c`, and those of all together in `d`.
fn bench() -> Bench {
    let bench = Bench::new();
    let all = fastq(4, 15, 2500);
    let reads: Vec<String> = all.lines().collect::<Vec<_>>().chunks(4).map(|read| read.join("\n") + "\n").collect();
    for (site, part) in ["a", "b", "c"].iter().zip(reads.chunks(20)) {
        bench.write(&format!("{site}.fastq"), part.concat());
        bench.ok(&["ingest", "reads", &format!("{site}.fastq"), "--out", site]);
    }
    bench
}

fn with(words: &[&str], more: &[&str]) -> Vec<String> {
    [words, SMALL, more].concat().into_iter().map(str::to_owned).collect()
}

fn run(bench: &Bench, words: &[&str], more: &[&str]) -> Value {
    let all = with(words, more);
    bench.json(&[&all.iter().map(String::as_str).collect::<Vec<_>>()[..], &["--json", "-q"]].concat())
}

fn fails(bench: &Bench, code: i32, words: &[&str], more: &[&str]) -> String {
    bench.fails(code, &with(words, more).iter().map(String::as_str).collect::<Vec<_>>())
}

fn init(bench: &Bench, out: &str) -> Value {
    run(bench, &["federate", "init", RECIPE, "--data", "a", "--out", out], &[])
}

fn step(bench: &Bench, site: &str, global: &str, out: &str, more: &[&str]) -> Value {
    run(bench, &["federate", "step", RECIPE, "--data", site, "--global", global, "--site", site, "--out", out], more)
}

fn facts(bench: &Bench, path: &str) -> Value {
    serde_json::from_slice(&fs::read(bench.path(path)).unwrap()).unwrap()
}

/// The bytes of the tensors of a safetensors file, by name.
fn tensors(path: &Path) -> Vec<(String, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let named = header.as_object().unwrap().iter().filter(|(name, _)| *name != "__metadata__");
    let place = |of: &Value, end: usize| 8 + length + of["data_offsets"][end].as_u64().unwrap() as usize;
    named.map(|(name, of)| (name.clone(), bytes[place(of, 0)..place(of, 1)].to_vec())).collect()
}

#[test]
fn one_site_is_plain_training_bit_for_bit() {
    let bench = bench();
    run(&bench, &["federate", "simulate", RECIPE, "--data", "a", "--out", "one"], &[]);
    run(&bench, &["train", RECIPE, "--data", "a", "--out", "plain", "--set", "train.steps=6"], &[]);
    let of = |run: &str| tensors(&bench.path(run).join("model.safetensors"));
    assert!(!of("plain").is_empty());
    assert_eq!(of("one"), of("plain"));
    // By hand, in separate processes, it is the same too.
    init(&bench, "0");
    for round in 1..=3 {
        let (from, to, update) = ((round - 1).to_string(), round.to_string(), format!("update-{round}"));
        step(&bench, "a", &from, &update, &["--state", "state"]);
        bench.ok(&["federate", "merge", &update, "--global", &from, "--out", &to]);
    }
    assert_eq!(of("3"), of("plain"));
    // What other trainings take is a model like others.
    bench.ok(&["embed", "--model", "3", "--data", "a", "--out", "emb"]);
    bench.ok(&["embed", "--model", "one", "--data", "a", "--out", "emb-one"]);
    let info = bench.json(&["info", "3", "--json"]);
    assert_eq!((&info["kind"], &info["round"]), (&"global".into(), &3.into()));
}

#[test]
fn sites_apart_are_sites_in_one_process() {
    let bench = bench();
    let sites = ["--data", "a", "--data", "b", "--data", "c"];
    let words = [&["federate", "simulate", RECIPE, "--out", "run"], &sites[..]].concat();
    let simulated = run(&bench, &words, &["--threads", "2"]);
    assert_eq!(simulated["round"], 3);
    init(&bench, "0");
    for round in 1..=3 {
        let (from, to) = ((round - 1).to_string(), round.to_string());
        let updates: Vec<String> = ["a", "b", "c"].iter().map(|site| format!("update-{round}-{site}")).collect();
        for ((data, update), number) in ["a", "b", "c"].iter().zip(&updates).zip(1..) {
            let (name, state) = (format!("site-{number}"), format!("state-{number}"));
            let words =
                ["federate", "step", RECIPE, "--data", data, "--global", &from, "--site", &name, "--out", update];
            run(&bench, &words, &["--state", &state, "--threads", "1"]);
        }
        // Their order changes nothing.
        bench.ok(&["federate", "merge", &updates[2], &updates[0], &updates[1], "--global", &from, "--out", &to]);
    }
    for file in ["model.safetensors", "bank.parquet", "global.json", "recipe.toml"] {
        assert_eq!(
            fs::read(bench.path("run").join(file)).unwrap(),
            fs::read(bench.path("3").join(file)).unwrap(),
            "{file}"
        );
    }
    // Keys of all sites, the newest of each, and nothing that names a sample.
    let bank = bench.ok(&[
        "query",
        "3/bank.parquet",
        "SELECT site, COUNT(*) AS n, MIN(round) AS first FROM bank GROUP BY site ORDER BY site",
        "--format",
        "csv",
    ]);
    assert_eq!(bank, "site,n,first\nsite-1,8,2\nsite-2,8,2\nsite-3,8,2\n");
    let columns = bench.ok(&["query", "3/bank.parquet", "SELECT * FROM bank LIMIT 1", "--format", "csv"]);
    assert_eq!(columns.lines().next().unwrap(), "key_id,site,round,key");
    let log = fs::read_to_string(bench.path("run/rounds.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((lines.len(), &lines[0]["bank_keys"], &lines[2]["bank_keys"]), (3, &0.into(), &24.into()));
    assert_eq!(lines[1]["bank_age"], 1.0);
    // A simulation that is done is left alone; another one is refused.
    let before = tree_digest(&bench.path("run"));
    assert_eq!(run(&bench, &words, &[])["done_before"], true);
    assert_eq!(tree_digest(&bench.path("run")), before);
    let error = fails(&bench, 2, &words, &["--stale", "2"]);
    assert!(error.contains("holds another simulation"), "{error}");
    // With --force it goes when the other one is whole; what somebody else wrote stays.
    bench.write("run/states/site-1/notes.txt", "mine");
    run(&bench, &words, &["--stale", "2", "--force"]);
    let after = tree_digest(&bench.path("run"));
    assert_ne!(after[Path::new("model.safetensors")], before[Path::new("model.safetensors")]);
    assert_eq!(after[Path::new("states/site-1/notes.txt")], b"mine");
    assert!(after.keys().all(|file| !file.starts_with(".invar-next")));
    // Damaged settings are no others' file.
    bench.write("run/simulation.json", "{");
    let error = fails(&bench, 3, &words, &[]);
    assert!(error.contains("run/simulation.json: "), "{error}");
}

#[test]
fn a_simulation_that_is_killed_goes_on_after_the_last_whole_round() {
    let bench = bench();
    let words =
        ["federate", "simulate", RECIPE, "--data", "a", "--data", "b", "--lost", "0.5", "--stale", "2", "--out"];
    let rounds = ["--set", "federation.rounds=12"];
    run(&bench, &[&words[..], &["whole"]].concat(), &rounds);
    let cut = with(&[&words[..], &["cut"]].concat(), &rounds);
    let mut child = bench.command(&cut.iter().map(String::as_str).collect::<Vec<_>>()).arg("-q").spawn().unwrap();
    while !bench.path("cut/rounds/00003").exists() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    // A round that it had begun to write.
    fs::create_dir_all(bench.path("cut/rounds/.partial")).unwrap();
    fs::write(bench.path("cut/rounds/.partial/model.safetensors"), "half").unwrap();
    run(&bench, &[&words[..], &["cut"]].concat(), &rounds);
    let read = |run: &str, file: &str| fs::read(bench.path(run).join(file)).unwrap();
    for file in ["model.safetensors", "bank.parquet", "global.json", "rounds.jsonl"] {
        assert!(read("whole", file) == read("cut", file), "{file}");
    }
    // In every other round one of the two sites was lost.
    let log = String::from_utf8(read("whole", "rounds.jsonl")).unwrap();
    let lost: Vec<usize> = log
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["lost"].as_array().unwrap().len())
        .collect();
    assert_eq!(lost, [0, 1].repeat(6));
}

#[test]
fn the_bank_changes_training_and_a_step_is_made_once() {
    let bench = bench();
    init(&bench, "0");
    step(&bench, "a", "0", "a1", &[]);
    step(&bench, "b", "0", "b1", &[]);
    bench.ok(&["federate", "merge", "a1", "b1", "--global", "0", "--out", "1"]);
    let update = step(&bench, "a", "1", "a2", &[]);
    assert_eq!((&update["update"]["round"], &update["update"]["keys"]), (&2.into(), &5.into()));
    let before = tree_digest(&bench.path("a2"));
    assert_eq!(step(&bench, "a", "1", "a2", &[])["done_before"], true);
    assert_eq!(tree_digest(&bench.path("a2")), before);
    // Without the keys of b, other weights. The own keys are none of a's negatives.
    step(&bench, "a", "1", "alone", &["--bank", "a1/keys.parquet"]);
    step(&bench, "a", "1", "with-b", &["--bank", "b1/keys.parquet"]);
    let of = |update: &str| tensors(&bench.path(update).join("weights.safetensors"));
    assert_ne!(of("a2"), of("alone"));
    assert_eq!(of("a2"), of("with-b"));
    // FedProx keeps the weights where they were, the more the stronger.
    let norm = |out: &str, weight: &str| {
        let (from, set) = (format!("{out}-0"), format!("federation.proximal={weight}"));
        let more = ["--set", &set, "--set", "federation.local_steps=6"];
        run(&bench, &["federate", "init", RECIPE, "--data", "a", "--out", &from], &more);
        let words = ["federate", "step", RECIPE, "--data", "a", "--global", &from, "--out", out];
        run(&bench, &words, &more)["update"]["norm"].as_f64().unwrap()
    };
    let [free, held] = [norm("free", "0"), norm("held", "1000")];
    assert!(free > 1.05 * held, "{free} {held}");
}

#[test]
fn what_a_site_sends_is_explained() {
    let bench = bench();
    init(&bench, "0");
    let words = with(
        &[
            "federate",
            "step",
            RECIPE,
            "--data",
            "a",
            "--global",
            "0",
            "--site",
            "lab-1",
            "--out",
            "u",
            "--explain-update",
        ],
        &[],
    );
    let text = bench.ok(&words.iter().map(String::as_str).collect::<Vec<_>>());
    for part in ["site = \"lab-1\"", "trunk.", "5 keys", "8 numbers of 32 bits", "No name of a sample or file"] {
        assert!(text.contains(part), "{part}: {text}");
    }
    // Nor is there: neither in the JSON nor in the tables.
    for (file, bytes) in tree_digest(&bench.path("u")) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("r00") && !text.contains("fastq") && !text.contains("hidden is"), "{}", file.display());
    }
}

#[test]
fn noise_is_counted_over_the_updates_of_a_site() {
    let bench = bench();
    let noise = [
        "--set",
        "federation.privacy.clip=0.5",
        "--set",
        "federation.privacy.noise_multiplier=2",
        "--set",
        "federation.keys=0",
    ];
    run(&bench, &["federate", "init", RECIPE, "--data", "a", "--out", "0"], &noise);
    let words = |out| ["federate", "step", RECIPE, "--data", "a", "--global", "0", "--out", out];
    let error = fails(&bench, 2, &words("u"), &noise);
    assert!(error.contains("give --state"), "{error}");
    let kept = [&noise[..], &["--state", "s"]].concat();
    let first = run(&bench, &words("u"), &kept);
    let privacy = &first["update"]["privacy"];
    // dp-accounting 0.6: 1.993091.
    assert!((privacy["epsilon"].as_f64().unwrap() - 1.993).abs() < 0.01, "{privacy}");
    // Made again, it has other noise, and that counts.
    let again = run(&bench, &words("v"), &kept);
    assert!((again["update"]["privacy"]["epsilon"].as_f64().unwrap() - 2.95).abs() < 0.1, "{again}");
    let of = |update: &str| tensors(&bench.path(update).join("weights.safetensors"));
    assert_ne!(of("u"), of("v"));
    // A site that adds none is refused.
    let mut quiet = facts(&bench, "u/update.json");
    quiet.as_object_mut().unwrap().remove("privacy");
    bench.write("u/update.json", serde_json::to_vec(&quiet).unwrap());
    let error = bench.fails(3, &["federate", "merge", "u", "--global", "0", "--out", "1"]);
    assert!(error.contains("states no noise") && error.contains("noise multiplier 2"), "{error}");
}

#[test]
fn updates_that_cannot_be_are_refused_by_site() {
    let bench = bench();
    init(&bench, "0");
    for site in ["a", "b"] {
        step(&bench, site, "0", site.to_uppercase().as_str(), &[]);
    }
    let merge = |updates: &[&str], global: &str| {
        bench.fails(3, &[&["federate", "merge"], updates, &["--global", global, "--out", "bad"]].concat())
    };
    let copy = |from: &str, to: &str| {
        fs::create_dir_all(bench.path(to)).unwrap();
        for entry in fs::read_dir(bench.path(from)).unwrap() {
            let path = entry.unwrap().path();
            fs::copy(&path, bench.path(to).join(path.file_name().unwrap())).unwrap();
        }
    };
    // Sent twice; replayed in a later round.
    copy("A", "A-again");
    let error = merge(&["A", "A-again", "B"], "0");
    assert!(error.contains("site a") && error.contains("has sent A already"), "{error}");
    bench.ok(&["federate", "merge", "A", "B", "--global", "0", "--out", "1"]);
    let error = merge(&["A"], "1");
    assert!(error.contains("site a") && error.contains("of round 1, expected round 2"), "{error}");
    // Weights that are not those that were written; then of a site that says so, but holds NaN.
    copy("A", "C");
    let path = bench.path("C/weights.safetensors");
    let mut bytes = fs::read(&path).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    let error = merge(&["C"], "0");
    assert!(error.contains("C/weights.safetensors: SHA-256: expected "), "{error}");
    let mut of_c = facts(&bench, "C/update.json");
    of_c["weights_sha256"] = sha256(&bytes).into();
    of_c["site"] = "c".into();
    bench.write("C/update.json", serde_json::to_vec(&of_c).unwrap());
    let error = merge(&["A", "C"], "0");
    assert!(error.contains("site c") && error.contains("NaN in "), "{error}");
    bytes[end - 4..].copy_from_slice(&1e9f32.to_le_bytes());
    fs::write(&path, &bytes).unwrap();
    of_c["weights_sha256"] = sha256(&bytes).into();
    bench.write("C/update.json", serde_json::to_vec(&of_c).unwrap());
    let error = merge(&["A", "C"], "0");
    assert!(error.contains("site c") && error.contains("expected at most 10 times"), "{error}");
    // The others can go on without it, and the next model says so.
    let words =
        bench.words(&["federate", "merge", "A", "C", "B", "--global", "0", "--out", "without", "--skip-refused"]);
    assert!(words.contains("left out: C: update of site c"), "{words}");
    assert_eq!(
        fs::read(bench.path("without/model.safetensors")).unwrap(),
        fs::read(bench.path("1/model.safetensors")).unwrap()
    );
    assert_eq!(facts(&bench, "without/global.json")["refused"][0]["site"], "c");
    // A file cut short, in each part.
    for file in ["weights.safetensors", "keys.parquet", "update.json"] {
        copy("A", "short");
        let path = bench.path("short").join(file);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
        assert!(merge(&["short"], "0").contains(file));
    }
    assert!(!bench.path("bad").exists());
}

/// By the program that everybody has.
fn sha256(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    fs::write(&path, bytes).unwrap();
    let output = std::process::Command::new("sha256sum").arg(&path).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

#[test]
fn recipes_and_data_that_do_not_fit_are_refused() {
    let bench = bench();
    init(&bench, "0");
    let words = ["federate", "step", RECIPE, "--data", "a", "--global", "0", "--out", "u"];
    let own = facts(&bench, "0/global.json")["recipe"].as_str().unwrap().to_owned();
    let error = fails(&bench, 3, &words, &["--set", "loss.temperature=0.3"]);
    assert!(error.contains("another recipe") && error.contains(&own), "{error}");
    // How many threads a site has is its own matter.
    run(&bench, &words, &["--set", "train.threads=1"]);
    let error =
        fails(&bench, 2, &["federate", "init", RECIPE, "--data", "a", "--out", "x"], &["--set", "train.ema_decay=0.9"]);
    assert!(error.contains("train.ema_decay must be 0"), "{error}");
    let sigmoid = ["--set", "loss={type=\"sigmoid\"}"];
    let error = fails(&bench, 2, &["federate", "init", RECIPE, "--data", "a", "--out", "x"], &sigmoid);
    assert!(error.contains("federation.keys must be 0") && error.contains("sigmoid"), "{error}");
    for (setting, reason) in [
        ("federation.rounds=0", "federation.rounds must be at least 1, got 0"),
        ("federation.server_momentum=1", "federation.server_momentum must be in [0, 1), got 1"),
        ("federation.keys=9", "federation.keys_per_site must be at least the keys of a round, 9, got 8"),
        ("federation.max_age=0", "federation.max_age must be at least 1"),
    ] {
        let error = fails(&bench, 2, &["federate", "init", RECIPE, "--data", "a", "--out", "x"], &["--set", setting]);
        assert!(error.contains(reason), "{setting}: {error}");
    }
    // A bank of another width; a state of another site; a name that is no file's.
    let wide = ["--set", "encoder.dim=9"];
    run(&bench, &["federate", "init", RECIPE, "--data", "b", "--out", "wide-0"], &wide);
    run(&bench, &["federate", "step", RECIPE, "--data", "b", "--global", "wide-0", "--out", "wide"], &wide);
    let bank =
        ["federate", "step", RECIPE, "--data", "a", "--global", "0", "--out", "v", "--bank", "wide/keys.parquet"];
    let error = fails(&bench, 3, &bank, &[]);
    assert!(error.contains("the bank must be keys of 8 numbers, got Float [5, 9]"), "{error}");
    let error = fails(
        &bench,
        2,
        &["federate", "step", RECIPE, "--data", "a", "--global", "0", "--site", "../x", "--out", "v"],
        &[],
    );
    assert!(error.contains("--site must be"), "{error}");
    step(&bench, "a", "0", "w", &["--state", "s"]);
    let error = fails(
        &bench,
        2,
        &["federate", "step", RECIPE, "--data", "a", "--global", "0", "--site", "b", "--state", "s", "--out", "v"],
        &[],
    );
    assert!(error.contains("is the state of site a, not of b"), "{error}");
    // Fewer reads than a batch: said, and trained on.
    bench.write("few.fastq", fastq(1, 3, 2500));
    bench.ok(&["ingest", "reads", "few.fastq", "--out", "few"]);
    let words: Vec<String> = with(
        &["federate", "step", RECIPE, "--data", "few", "--global", "0", "--site", "few", "--out", "few-update"],
        &[],
    );
    let said = bench.words(&words.iter().map(String::as_str).collect::<Vec<_>>());
    assert!(said.contains("train.batch_size is 8, but there are 3 training samples"), "{said}");
}

#[test]
fn who_was_trained_on_can_be_asked() {
    let bench = bench();
    init(&bench, "0");
    step(&bench, "a", "0", "u", &[]);
    let words = ["federate", "membership", RECIPE, "--update", "u", "--global", "0", "--members", "a", "--others", "b"];
    let found = run(&bench, &words, &["--samples", "20"]);
    for figure in ["auc_update", "auc_bank"] {
        let auc = found[figure].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auc), "{found}");
    }
    assert_eq!((&found["members"], &found["others"]), (&20.into(), &20.into()));
    bench.ok(&["federate", "merge", "u", "--global", "0", "--out", "1"]);
    let other = ["federate", "membership", RECIPE, "--update", "u", "--global", "1", "--members", "a", "--others", "b"];
    assert!(fails(&bench, 3, &other, &[]).contains("began with model"));
}

#[test]
fn batch_norms_are_refused_or_stay_at_their_site() {
    let bench = Bench::new();
    let images = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../test-data/micrographs/polycrystals/images");
    bench.ok(&["ingest", "micrographs", images.to_str().unwrap(), "--tiles", "64", "--out", "tiles"]);
    let of = |norm: &'static str, kept: &'static str| {
        let few = ["--set", "train.batch_size=8", "--set", "federation.local_steps=1", "--set", "federation.keys=4"];
        [&["--set", norm, "--set", kept], &few[..]].concat()
    };
    let init = ["federate", "init", "micrographs/federated", "--data", "tiles", "--out"];
    let refused = [&init[..], &["x"], &of("encoder.norm=\"batch\"", "federation.batch_norms=\"refuse\"")].concat();
    let error = bench.fails(2, &refused);
    assert!(error.contains("norm and ") && error.contains("encoder.norm = \"group\""), "{error}");
    bench.ok(&[&init[..], &["group"], &of("encoder.norm=\"group\"", "federation.batch_norms=\"refuse\"")].concat());
    let local = of("encoder.norm=\"batch\"", "federation.batch_norms=\"local\"");
    bench.ok(&[&init[..], &["0"], &local].concat());
    let step =
        ["federate", "step", "micrographs/federated", "--data", "tiles", "--global", "0", "--state", "s", "--out", "u"];
    bench.ok(&[&step[..], &local].concat());
    let is_norm = |(name, _): &(String, Vec<u8>)| name.contains(".norm.");
    let parts = |file: &str| -> (Vec<_>, Vec<_>) { tensors(&bench.path(file)).into_iter().partition(is_norm) };
    let ((before, others_before), (sent, others_sent)) = (parts("0/model.safetensors"), parts("u/weights.safetensors"));
    assert!(!before.is_empty() && before == sent && others_before != others_sent);
    let (kept, _) = parts("s/round-00001.safetensors");
    let kept: Vec<_> = kept.into_iter().filter(|(name, _)| name.starts_with("trunk.")).collect();
    assert!(kept.len() == sent.len() && kept != sent);
}
