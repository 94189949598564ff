//! How commands end: exit codes, standard output that cannot be written, a full disk, signals.
#![cfg(all(feature = "torch", target_os = "linux"))]

mod support;

use std::{
    fs::{self, File, OpenOptions},
    os::fd::OwnedFd,
    process::{Child, Command, Stdio},
    time::Duration,
};

use support::{Bench, TRAINED, fastq};

/// Every command that prints to standard output, on a bench with [`Bench::trained`] and `c.parquet`.
const TALKING: &[&[&str]] = &[
    &["--help"],
    &["--version"],
    &["train", "--help"],
    &["ingest", "reads", "reads.fastq", "--out", "data"],
    &["info", "data"],
    &["info", "run"],
    &["info", "emb"],
    &["info", "reads.fastq"],
    &["embed", "--model", "run", "--data", "data", "--out", "emb"],
    &["cluster", "emb", "--out", "c.parquet", "--k", "3", "--force"],
    &["cluster", "emb", "--assign", "c.parquet", "--of", "emb", "--out", "a.parquet", "--force"],
    &["extract", "c.parquet", "--data", "data", "--out", "groups", "--force"],
    &["evaluate", "emb"],
    &["search", "emb", "--like", "r0000"],
    &["search", "emb", "--like", "r0000", "--format", "csv"],
    &["query", "emb", "SELECT * FROM emb"],
    &["query", "emb", "SELECT * FROM emb", "--format", "csv"],
    &["query", "emb", "SELECT * FROM emb", "--format", "json"],
    &["query", "emb", "SELECT * FROM emb", "--format", "ndjson"],
    &["query", "emb", "SELECT * FROM emb", "--format", "arrow"],
    &["query", "emb", "SELECT * FROM emb", "--format", "parquet"],
    &["query", "emb", "SELECT id FROM emb", "--out", "q.parquet", "--force"],
    &["views", "data", "--recipe", "reads/quickstart", "-n", "2"],
];

fn bench() -> Bench {
    let bench = Bench::trained();
    bench.ok(&["cluster", "emb", "--out", "c.parquet", "--k", "3"]);
    bench
}

#[test]
fn standard_output_that_cannot_be_written_is_a_failure_of_every_command() {
    let bench = bench();
    let trained = [&["train", "reads/quickstart", "--data", "data", "--out", "run"], TRAINED].concat();
    for args in TALKING.iter().copied().chain([&trained[..]]) {
        for json in [&[][..], &["--json"]] {
            let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
            let output = bench.command(&[args, json].concat()).stdout(full).output().unwrap();
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(1), "{args:?} {json:?}: {error}");
            assert!(error.contains("standard output") && error.contains("No space left"), "{args:?}: {error}");
        }
    }
}

#[test]
fn a_reader_that_leaves_and_a_person_that_cannot_be_told_are_no_failures() {
    let bench = bench();
    // A pipe without a reader.
    let mut gone = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
    let pipe = OwnedFd::from(gone.stdin.take().unwrap());
    gone.wait().unwrap();
    for format in ["table", "csv", "json", "ndjson", "arrow", "parquet"] {
        let args = ["query", "emb", "SELECT * FROM emb", "--format", format];
        let output = bench.command(&args).stdout(pipe.try_clone().unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{format}: {}", String::from_utf8_lossy(&output.stderr));
    }
    // Messages that cannot be written: `k` above the number of samples warns.
    let full = OpenOptions::new().write(true).open("/dev/full").unwrap();
    let args = ["cluster", "emb", "--out", "c.parquet", "--k", "100", "--force"];
    assert_eq!(bench.command(&args).stderr(full).output().unwrap().status.code(), Some(0));
}

/// A command under a limit of 4 kB per file, beyond which writing is refused: to a program this is a full disk.
fn limited(bench: &Bench, args: &[&str]) -> (Option<i32>, String) {
    let mut command = bench.command(args);
    let program = command.get_program().to_owned();
    command = Command::new("sh");
    command.args(["-c", "ulimit -f 8; trap '' XFSZ; exec \"$0\" \"$@\""]).arg(program).args(args);
    let output = command.current_dir(bench.path(".")).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_disk_that_takes_no_more_is_named_by_every_command_and_leaves_no_output() {
    let bench = bench();
    bench.write("many.fastq", fastq(3, 400, 250));
    let train = [&["train", "reads/quickstart", "--data", "data", "--out", "run2"], TRAINED].concat();
    for (args, out) in [
        (&["ingest", "reads", "many.fastq", "--out", "data2"][..], "data2/manifest.json"),
        (&train, "run2/model.safetensors"),
        (&["embed", "--model", "run", "--data", "data", "--out", "emb2", "--probe", "0"], "emb2/part-00000.parquet"),
        (&["embed", "--model", "run", "--data", "data", "--out", "emb2.parquet", "--probe", "0"], "emb2.parquet"),
        (&["cluster", "emb", "--out", "c2.parquet", "--k", "3"], "c2.parquet"),
        (&["cluster", "emb", "--out", "c3.parquet", "--k", "3", "--plot", "c3.svg"], "c3.svg"),
        (&["query", "emb", "SELECT * FROM emb", "--out", "q.parquet"], "q.parquet"),
        (&["query", "emb", "SELECT * FROM emb", "--out", "q.arrow"], "q.arrow"),
        (&["query", "emb", "SELECT * FROM emb", "--out", "q.csv"], "q.csv"),
        (&["views", "data", "--recipe", "reads/quickstart", "-n", "200", "--out", "v.txt"], "v.txt"),
    ] {
        let (code, error) = limited(&bench, args);
        assert_eq!(code, Some(1), "{args:?}: {error}");
        assert!(error.contains("File too large"), "{args:?}: {error}");
        assert!(!bench.path(out).exists(), "{args:?}");
    }
}

#[test]
fn what_is_asked_wrongly_is_a_usage_error() {
    let bench = bench();
    let cluster = ["cluster", "emb", "--out", "c2.parquet"];
    for (options, named) in [
        (&["--method", "hdbscan", "--min-cluster-size", "1"][..], "min_cluster_size = 1"),
        (&["--method", "hdbscan", "--min-samples", "0"], "min_samples = 0"),
        (&["--restarts", "0"], "restarts = 0"),
        (&["--k", "0"], "--k 0"),
        (&["--neighbors", "0"], "neighbors = 0"),
        (&["--neighbors", "5000"], "neighbors = 5000"),
        (&["--method", "hdbscan", "--k", "3"], "--k is an option of --method kmeans"),
        (&["--method", "hdbscan", "--restarts", "3"], "--restarts is an option of --method kmeans"),
        (&["--method", "auto", "--min-samples", "3"], "--min-samples is an option of --method hdbscan"),
        (&["--k", "2", "--min-cluster-size", "3"], "--min-cluster-size is an option of --method hdbscan"),
        (&["--k", "2", "--sample", "3"], "--sample is an option of --method auto and leiden, the method is kmeans"),
    ] {
        let error = bench.fails(2, &[&cluster[..], options].concat());
        assert!(error.contains(named), "{options:?}: {error}");
        assert!(!bench.path("c2.parquet").exists());
    }
    for (how, named) in [
        (&["--segment", "otsu"][..], "instead of --segment watershed or otsu"),
        (&["--tiles", "16"], "instead of --labels, --whole-image or --tiles"),
        (&["--whole-image"], "instead of --labels, --whole-image or --tiles"),
    ] {
        for option in [["--boundaries", "dark"], ["--sigma", "2"]] {
            let image = ["ingest", "micrographs", "image.png", "--out", "grains"];
            let error = bench.fails(2, &[&image[..], how, &option].concat());
            assert!(error.contains(named), "{how:?} {option:?}: {error}");
            assert!(!bench.path("grains").exists());
        }
    }
    let words = bench.words(&[&cluster[..], &["--k", "100"]].concat());
    assert!(words.contains("k = 100, but there are 60 samples"), "{words}");
}

#[test]
fn a_path_that_is_not_there_is_a_usage_error_of_every_command() {
    let bench = bench();
    for args in [
        &["ingest", "reads", "none", "--out", "d"][..],
        &["ingest", "micrographs", "none", "--out", "d"],
        &["ingest", "micrographs", "--sample-sheet", "none", "--out", "d"],
        &["info", "none"],
        &["train", "reads/quickstart", "--data", "none", "--out", "r"],
        &["train", "none.toml", "--data", "data", "--out", "r"],
        &["train", "reads/quickstart", "--data", "data", "--out", "r", "--labels", "none"],
        &["views", "none", "--recipe", "reads/quickstart"],
        &["embed", "--model", "none", "--data", "data", "--out", "e"],
        &["embed", "--model", "run", "--data", "none", "--out", "e"],
        &["cluster", "none", "--out", "c2.parquet"],
        &["evaluate", "none"],
        &["evaluate", "emb", "--labels", "none"],
        &["evaluate", "emb", "--against", "none"],
        &["query", "none", "SELECT 1"],
        &["query", "emb", "none", "SELECT 1"],
        &["gallery", "none", "--data", "data", "--out", "g.png"],
        &["gallery", "c.parquet", "--data", "none", "--out", "g.png"],
        &["paint", "none", "--data", "data", "--out", "p"],
        &["paint", "c.parquet", "--data", "none", "--out", "p"],
        &["run", "reads/quickstart", "--input", "none", "--out", "o"],
    ] {
        let error = bench.fails(2, args);
        assert!(error.contains("none"), "{args:?}: {error}");
    }
    // A directory that lacks what it should hold is damaged.
    fs::create_dir(bench.path("empty")).unwrap();
    bench.fails(3, &["train", "reads/quickstart", "--data", "empty", "--out", "r"]);
}

#[test]
fn nothing_kept_is_warned_of() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(1, 3, 500));
    let words = bench.words(&["ingest", "reads", "reads.fastq", "--out", "data", "--min-length", "1000"]);
    assert!(words.contains("warning: data: no read was kept"), "{words}");
}

#[test]
fn stages_that_were_done_before_are_told_in_words() {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    let args = [&["run", "reads/quickstart", "--input", "reads.fastq", "--out", "o"], TRAINED].concat();
    let first = bench.words(&args);
    assert!(!first.contains("done before"), "{first}");
    let second = bench.words(&args);
    for stage in ["o/data: ", "o/run: ", "o/embeddings: ", "o/clusters.parquet: "] {
        let line = second.lines().find(|line| line.starts_with(stage)).unwrap();
        assert!(line.contains("done before"), "{line}");
    }
}

/// A command that waits for the pipe of this name: for someone to open it, or to write into it. Also the end opened for
/// writing, where `is_opened`.
fn waiting(bench: &Bench, args: &[&str], fifo: &str, is_opened: bool) -> (Child, Option<File>) {
    let path = bench.path(fifo);
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let child = bench.command(args).stderr(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    if is_opened {
        // Opens once the command has opened its end.
        return (child, Some(OpenOptions::new().write(true).open(path).unwrap()));
    }
    until_it_takes_signals(&child);
    (child, None)
}

/// Waits until a command has taken over SIGTERM, the 15th signal.
fn until_it_takes_signals(child: &Child) {
    let takes_signals = || {
        let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() >> 14 & 1 == 1
    };
    while !takes_signals() {
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn one_signal_ends_commands_that_look_for_none() {
    let bench = bench();
    for (number, (args, is_opened)) in [
        (&["query", "FIFO", "SELECT 1"][..], false),
        (&["query", "emb", "FIFO", "SELECT 1"], false),
        (&["evaluate", "FIFO"], false),
        (&["evaluate", "emb", "--labels", "FIFO"], true),
        (&["cluster", "FIFO", "--out", "c2.parquet"], false),
        (&["gallery", "FIFO", "--data", "data", "--out", "g.png"], false),
        (&["paint", "FIFO", "--data", "data", "--out", "p"], false),
        (&["train", "reads/quickstart", "--data", "data", "--out", "r2", "--labels", "FIFO"], true),
    ]
    .into_iter()
    .enumerate()
    {
        let fifo = format!("fifo{number}");
        let args: Vec<&str> = args.iter().map(|&arg| if arg == "FIFO" { &fifo } else { arg }).collect();
        let (mut child, end) = waiting(&bench, &args, &fifo, is_opened);
        signal(&child, ["TERM", "INT"][number % 2]);
        // All it has to do is end; if the signal were lost, it would wait for ever.
        for _ in 0..6000 {
            if child.try_wait().unwrap().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = child.kill();
        let output = child.wait_with_output().unwrap();
        let error = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(130), "{args:?}: {error}");
        assert!(error.contains("interrupted"), "{args:?}: {error}");
        drop(end);
    }
}

fn signal(child: &Child, signals: &str) {
    let kill =
        signals.split(' ').map(|signal| format!("kill -{signal} {}", child.id())).collect::<Vec<_>>().join(" && ");
    assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn a_scheduler_that_asks_twice_gets_a_clean_end() {
    let bench = Bench::trained();
    let long = ["--set", "train.steps=1000000", "--set", "train.checkpoint_every=2", "--log", "log.jsonl"];
    let args = [&["train", "reads/quickstart", "--data", "data", "--out", "long"], TRAINED, &long].concat();
    let mut child = bench.command(&args).stderr(Stdio::null()).stdout(Stdio::null()).spawn().unwrap();
    while fs::read_dir(bench.path("long/checkpoints")).map_or(0, Iterator::count) == 0 {
        assert!(child.try_wait().unwrap().is_none(), "the training ended before a checkpoint was met");
        std::thread::sleep(Duration::from_millis(2));
    }
    // Both are there before the training can heed the first.
    signal(&child, "STOP TERM HUP CONT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let line: serde_json::Value = serde_json::from_str(&fs::read_to_string(bench.path("log.jsonl")).unwrap()).unwrap();
    assert_eq!((&line["status"], &line["exit_code"]), (&"failed".into(), &130.into()), "{line}");
}

#[test]
fn what_a_command_was_started_to_ignore_stays_ignored() {
    let bench = bench();
    let program = bench.command(&["evaluate", "fifo"]);
    let path = bench.path("fifo");
    assert!(Command::new("mkfifo").arg(&path).status().unwrap().success());
    let child = Command::new("sh")
        .args(["-c", "trap '' HUP; exec \"$@\"", "sh"])
        .arg(program.get_program())
        .args(program.get_args())
        .current_dir(bench.path("."))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    until_it_takes_signals(&child);
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    assert_eq!(u64::from_str_radix(ignored.trim(), 16).unwrap() & 1, 1, "{status}");
    signal(&child, "HUP TERM");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", String::from_utf8_lossy(&output.stderr));
}
