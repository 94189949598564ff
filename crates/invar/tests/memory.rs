//! What does not fit into memory, and what would, run as commands.
#![cfg(feature = "torch")]

mod support;

use support::{Bench, TRAINED, fastq};

fn with_data() -> Bench {
    let bench = Bench::new();
    bench.write("reads.fastq", fastq(3, 20, 2500));
    bench.ok(&["ingest", "reads", "reads.fastq", "--out", "data"]);
    bench
}

#[test]
fn a_network_larger_than_any_memory_is_an_error_in_one_line_with_the_remedy() {
    let bench = with_data();
    // 10^14 biases alone are 400 TB: more than the address space of a process.
    let huge = ["--set", "encoder.hidden=[100000000000000]"];
    for (out, during) in [(&["--out", "run"][..], "building the network"), (&["--dry-run"], "dry run")] {
        let args = [&["train", "reads/quickstart", "--data", "data"], out, TRAINED, &huge].concat();
        let message = bench.fails(1, &args);
        let lines: Vec<&str> = message.lines().filter(|line| line.starts_with("error:")).collect();
        assert!(lines.len() == 1 && lines[0].contains(&format!("{during}: LibTorch: ")), "{message}");
        assert!(lines[0].contains("can't allocate memory") && lines[0].contains("bytes"), "{message}");
        assert!(lines[0].contains("train.batch_size (16), or make the encoder smaller"), "{message}");
        for word in ["panicked", "RUST_BACKTRACE", "Exception raised", "unwrap"] {
            assert!(!message.contains(word), "{message}");
        }
    }
    // The directory takes the corrected command.
    bench.ok(&[&["train", "reads/quickstart", "--data", "data", "--out", "run", "--force"], TRAINED].concat());
}

#[test]
fn a_dry_run_draws_batches_in_chunks() {
    let bench = with_data();
    for (set, chunk) in [("train.chunk_pairs=5", 10), ("train.threads=3", 16)] {
        let args = ["train", "reads/quickstart", "--data", "data", "--dry-run", "--json", "--set", set];
        let found = bench.json(&[&args[..], TRAINED].concat());
        assert_eq!((&found["batch_size"], &found["chunk_pairs"]), (&16.into(), &chunk.into()), "{set}");
        assert!(found["pairs_per_s"].as_f64().unwrap() > 0.0, "{found}");
    }
}
