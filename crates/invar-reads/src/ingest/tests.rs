use std::{
    collections::{BTreeMap, HashSet},
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use invar_dataset::{ColumnData, Dataset, DatasetError, NoProgress, Progress, SampleTable, manifest::file_digest};
use tempfile::TempDir;

use crate::{Error, ErrorKind, IngestConfig, Inputs, Pairing, ReadDataset, Reads, Summary, ingest};

mod alignments;
mod customs;
mod originals;

/// A directory with inputs, and the dataset made from them.
struct Bench {
    directory: TempDir,
    inputs: Inputs,
    config: IngestConfig,
}

impl Bench {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let write = |(name, bytes): &(&str, &[u8])| {
            let path = directory.path().join(name);
            fs::write(&path, bytes).unwrap();
            path
        };
        let inputs = Inputs::files(files.iter().map(write).collect::<Vec<PathBuf>>());
        Self { directory, inputs, config: IngestConfig::default() }
    }

    fn paired(mut self, pairing: Pairing) -> Self {
        self.inputs.pairing = pairing;
        self
    }

    fn out(&self) -> PathBuf {
        self.directory.path().join("out")
    }

    fn run(&self) -> Result<Summary, Error> {
        ingest(&self.inputs, &self.out(), &self.config, &NoProgress)
    }

    fn dataset(&self) -> (Summary, ReadDataset) {
        let summary = self.run().unwrap();
        summary.manifest.verify(&self.out()).unwrap();
        (summary, ReadDataset::open(&[self.out()]).unwrap())
    }

    /// Kind and message, without the directory's name.
    fn error(&self) -> (ErrorKind, String) {
        let error = self.run().unwrap_err();
        let prefix = format!("{}/", self.directory.path().display());
        (error.kind(), error.to_string().replace(&prefix, ""))
    }

    /// Name and bytes of every file of the output.
    fn bytes(&self) -> BTreeMap<String, Vec<u8>> {
        let read = |entry: fs::DirEntry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap());
        fs::read_dir(self.out()).unwrap().map(|entry| read(entry.unwrap())).collect()
    }
}

fn sequences(dataset: &ReadDataset) -> Vec<(String, String)> {
    let get = |index| dataset.get(index).unwrap();
    let text = |read: crate::Read| (read.name, String::from_utf8(read.sequence.as_slice().to_ascii()).unwrap());
    (0..Reads::len(dataset)).map(|index| text(get(index))).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(name, letters)| (name.to_string(), letters.to_string())).collect()
}

fn count(summary: &Summary, name: &str) -> u64 {
    summary.manifest.counts.get(name).copied().unwrap_or(0)
}

/// FASTQ of `num_reads` reads of increasing length.
fn fastq(num_reads: usize) -> Vec<u8> {
    let mut text = String::new();
    for number in 0..num_reads {
        let letters: String = "ACGTTGCAN".chars().cycle().skip(number % 9).take(30 + number % 200).collect();
        let quality: String = "I5~!".chars().cycle().skip(number % 4).take(letters.len()).collect();
        text += &format!("@read{number} number {number}\n{letters}\n+\n{quality}\n");
    }
    text.into_bytes()
}

#[test]
fn reads_are_stored_with_their_facts() {
    let text = b"@a/1 first one\tx\nACGTNACGT\n+\nIIIIIIIII\n@b\nacgu\n+\n!!!!\n@b\nRYGG\n+\n5555\n";
    let bench = Bench::new(&[("x.fasta", text)]);
    let (summary, dataset) = bench.dataset();
    assert_eq!(sequences(&dataset), pairs(&[("a/1", "ACGTNACGT"), ("b", "ACGT"), ("b", "NNGG")]));
    assert_eq!((count(&summary, "records"), count(&summary, "kept"), count(&summary, "kept_bp")), (3, 3, 17));
    let (size, sha256) = file_digest(&bench.inputs.files[0]).unwrap();
    let input = &summary.manifest.inputs[0];
    assert_eq!((input.size_bytes, &input.sha256), (size, &sha256));
    let columns: BTreeMap<_, _> =
        dataset.columns(0..3).unwrap().into_iter().map(|column| (column.name, column.data)).collect();
    let text = |values: [Option<&str>; 3]| ColumnData::Str(values.map(|v| v.map(str::to_string)).to_vec());
    assert_eq!(columns["description"], text([Some("first one\tx"), None, None]));
    assert_eq!(columns["length_bp"], ColumnData::U32(vec![Some(9), Some(4), Some(4)]));
    // I is Q40, ! is Q0, 5 is Q20.
    assert_eq!(columns["mean_quality"], ColumnData::F32(vec![Some(40.0), Some(0.0), Some(20.0)]));
    assert_eq!(columns["gc"], ColumnData::F32(vec![Some(0.5), Some(0.5), Some(1.0)]));
    assert_eq!(columns["reference"], text([None; 3]));
    assert_eq!(columns["is_reverse"], ColumnData::Bool(vec![None; 3]));
}

#[test]
fn fasta_of_many_lines() {
    let text = b"\n>a d\r\nACG\r\nT\r\n\r\n>b\n>c\nAC\nGT";
    let bench = Bench::new(&[("x.fastq", text)]);
    let (summary, dataset) = bench.dataset();
    assert_eq!(sequences(&dataset), pairs(&[("a", "ACGT"), ("c", "ACGT")]));
    assert_eq!(count(&summary, "empty"), 1);
    assert_eq!(dataset.get(0).unwrap().mean_quality, None);
}

#[test]
fn what_is_dropped_is_counted_by_reason() {
    let text =
        b"@short\nACG\n+\nIII\n@long\nACGTACGTACGT\n+\nIIIIIIIIIIII\n@low\nACGTA\n+\nIIII!\n@n\nNNNNN\n+\nIIIII\n\
        @empty\n\n+\n\n@good\nACGTA\n+\nIIIII\n";
    let mut bench = Bench::new(&[("x", text)]);
    bench.config = IngestConfig {
        min_length_bp: 4,
        max_length_bp: Some(10),
        // The mean of Q40 four times and Q0 once is -10 log10(0.2 + 0.00008) = 6.99.
        min_mean_quality: Some(7.0),
        ..IngestConfig::default()
    };
    let (summary, dataset) = bench.dataset();
    assert_eq!(sequences(&dataset), pairs(&[("good", "ACGTA")]));
    for reason in ["too_short", "too_long", "low_quality", "no_acgt", "empty", "kept"] {
        assert_eq!(count(&summary, reason), 1, "{reason}");
    }
    bench.config.min_length_bp = 11;
    assert_eq!(bench.error().0, ErrorKind::Config);
}

#[test]
fn nothing_left_is_a_dataset_without_rows() {
    let mut bench = Bench::new(&[("x", b">a\nACGT\n")]);
    bench.config.min_length_bp = 5;
    let (summary, dataset) = bench.dataset();
    assert!(Reads::is_empty(&dataset));
    assert_eq!((summary.manifest.shards.len(), count(&summary, "too_short")), (0, 1));
}

#[test]
fn bad_inputs_are_named_and_leave_nothing() {
    let cases: [(&[u8], ErrorKind, &str); 10] = [
        (b"", ErrorKind::Empty, "x: expected at least one read, found an empty file"),
        (b"\n\r\n", ErrorKind::Empty, "x: expected at least one read, found blank lines only"),
        (
            b"hello",
            ErrorKind::NotAReadFile,
            "x: expected FASTQ, FASTA, BAM or CRAM, found a file that begins with \"hello\"",
        ),
        (
            b"@a\nAC-T\n+\nIIII\n",
            ErrorKind::BadBase,
            "x: record 1 \"a\", line 2: expected a nucleotide (IUPAC letter) at base 3, found '-'",
        ),
        (
            b"@a\nACGT\n+\nII I\n",
            ErrorKind::BadQuality,
            "x: record 1 \"a\", line 4: expected a quality from '!' to '~' at base 3, found ' '",
        ),
        (b"@a\nACGT\n+\nII\nI\n", ErrorKind::LengthMismatch, "x: record 1 \"a\", line 1: 4 bases but 2 quality values"),
        (
            b">a\nACGT\n>b\nAC*\n",
            ErrorKind::BadBase,
            "x: record 2 \"b\", line 4: expected a nucleotide (IUPAC letter) at base 3, found '*'",
        ),
        (
            b">a\nACGT \nAC GT\n",
            ErrorKind::BadBase,
            "x: record 1 \"a\", line 3: expected a nucleotide (IUPAC letter) at base 7, found ' '",
        ),
        (
            b"@a\nACGT\nA-\n+\nIIII\nII\n",
            ErrorKind::BadMarker,
            "x: record 1 \"a\", line 3: expected a line that begins with '+', found \"A-\"",
        ),
        (
            b"@a\nACGT\nA.\n+\nIIII\nII\n",
            ErrorKind::BadBase,
            "x: record 1 \"a\", line 3: expected a nucleotide (IUPAC letter) at base 6, found '.'",
        ),
    ];
    for (text, kind, message) in cases {
        let bench = Bench::new(&[("x", text)]);
        assert_eq!(bench.error(), (kind, message.to_string()));
        assert!(!bench.out().exists(), "{message}");
    }
    let mut bench = Bench::new(&[]);
    assert_eq!(bench.error().0, ErrorKind::Config);
    bench.inputs = Inputs::files(["no/such/file"]);
    assert_eq!(bench.error().0, ErrorKind::Io);
}

#[test]
fn bad_records_are_skipped_and_listed() {
    let text = b"@a\nAC-T\n+\nIIII\n@b\nACGT\n+\nIII\n@c\nACGT\n+\nIIII\n";
    let mut bench = Bench::new(&[("x", text)]);
    bench.config.skip_bad_records = true;
    let (summary, dataset) = bench.dataset();
    assert_eq!(sequences(&dataset), pairs(&[("c", "ACGT")]));
    assert_eq!(count(&summary, "bad_record"), 2);
    assert!(summary.manifest.skipped[1].ends_with("record 2 \"b\", line 5: 4 bases but 3 quality values"));
}

#[test]
fn mates_in_two_files_become_neighbours() {
    let one = b"@a/1\nACGT\n+\nIIII\n@b 1:N:0:A\nACG\n+\nIII\n@c/1\nA\n+\nI\n";
    let two = b"@a/2\nTTTT\n+\nIIII\n@b 2:N:0:A\nTTT\n+\nIII\n@c/2\nTTTT\n+\nIIII\n";
    let mut bench = Bench::new(&[("1", one), ("2", two)]).paired(Pairing::Files);
    bench.config.min_length_bp = 3;
    let (summary, dataset) = bench.dataset();
    assert_eq!(sequences(&dataset), pairs(&[("a/1", "ACGT"), ("a/2", "TTTT"), ("b", "ACG"), ("b", "TTT")]));
    assert_eq!((0..4).map(|i| dataset.mate_of(i).unwrap()).collect::<Vec<_>>(), [1, 0, 3, 2]);
    assert_eq!(dataset.get(1).unwrap().mate, Some(2));
    assert_eq!(summary.manifest.inputs[0].counts["too_short"], 1);
    assert_eq!(summary.manifest.inputs[1].counts["mate_dropped"], 1);
    // The same, interleaved.
    let mut text = Vec::new();
    for (one, two) in one.split_inclusive(|&b| b == b'@').zip(two.split_inclusive(|&b| b == b'@')).skip(1) {
        text.extend(
            [&b"@"[..], one.strip_suffix(b"@").unwrap_or(one), b"@", two.strip_suffix(b"@").unwrap_or(two)].concat(),
        );
    }
    let mut interleaved = Bench::new(&[("i", &text)]).paired(Pairing::Interleaved);
    interleaved.config = bench.config;
    assert_eq!(sequences(&interleaved.dataset().1), sequences(&dataset));
}

#[test]
fn mates_that_do_not_match_are_named() {
    let (one, two) = (b"@a/1\nAC\n+\nII\n@b/1\nAC\n+\nII\n", b"@a/2\nAC\n+\nII\n@c/2\nAC\n+\nII\n");
    let message = "1: record 2 \"b/1\", line 5: its mate in 2 is named \"c/2\"".to_string();
    let files = |one, two| Bench::new(&[("1", one), ("2", two)]).paired(Pairing::Files);
    assert_eq!(files(one, two).error(), (ErrorKind::MateMismatch, message));
    let message = "1: 2 first mates, but 1 second mates in 2".to_string();
    assert_eq!(files(one, &two[..13]).error(), (ErrorKind::MateCountMismatch, message));
    let message = "1: 1 first mates, but 2 second mates in 2".to_string();
    assert_eq!(files(&one[..13], two).error(), (ErrorKind::MateCountMismatch, message));
    assert_eq!(Bench::new(&[("1", one)]).paired(Pairing::Files).error().0, ErrorKind::Config);
}

#[test]
fn the_bytes_do_not_depend_on_the_number_of_threads() {
    let run = |num_threads| {
        let mut bench = Bench::new(&[("x", &fastq(20_000)), ("y", &fastq(100))]);
        bench.config.shard_bp = 300_000;
        // The path is in the manifest.
        let pool = rayon::ThreadPoolBuilder::new().num_threads(num_threads).build().unwrap();
        pool.install(|| bench.run()).unwrap();
        let mut bytes = bench.bytes();
        let mut manifest: serde_json::Value = serde_json::from_slice(&bytes.remove("manifest.json").unwrap()).unwrap();
        for input in manifest["inputs"].as_array_mut().unwrap() {
            // The identity of the file on this disk.
            assert!(input.as_object_mut().unwrap().remove("identity").is_some());
        }
        (bytes, manifest.to_string().replace(&bench.directory.path().display().to_string(), ""))
    };
    let (one, three) = (run(1), run(3));
    assert!(one.0.len() > 5);
    assert!(one == three);
}

/// Stops the ingest once this many shards are on the disk.
struct StopAt<'a>(&'a Path, usize, AtomicBool);

impl Progress for StopAt<'_> {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn is_cancelled(&self) -> bool {
        let num_shards = fs::read_dir(self.0).unwrap().filter(|e| is_shard(&e.as_ref().unwrap().path())).count();
        self.2.fetch_or(num_shards >= self.1, Ordering::Relaxed) || num_shards >= self.1
    }
}

fn is_shard(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "shard")
}

#[test]
fn an_interrupted_ingest_goes_on_to_the_same_bytes() {
    let mut bench = Bench::new(&[("x", &fastq(9_000)), ("y", &fastq(9_001)), ("z", &fastq(30))]);
    bench.config.shard_bp = 50_000;
    bench.run().unwrap();
    let whole = bench.bytes();
    for stop_at in [1, 9, 20] {
        fs::remove_dir_all(bench.out()).unwrap();
        fs::create_dir(bench.out()).unwrap();
        let progress = StopAt(&bench.out(), stop_at, AtomicBool::new(false));
        let error = ingest(&bench.inputs, &bench.out(), &bench.config, &progress).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(ReadDataset::open(&[bench.out()]).is_err());
        // As after a kill in the middle of a line or of a shard.
        let journal = bench.out().join(".ingest.journal");
        let mut text = fs::read(&journal).unwrap();
        text.extend_from_slice(b"{\"shard\":");
        fs::write(&journal, text).unwrap();
        fs::write(bench.out().join(".reads-00000.shard.partial"), b"half").unwrap();
        let summary = bench.run().unwrap();
        assert!(summary.resumed_shards >= stop_at, "{} shards kept", summary.resumed_shards);
        assert!(bench.bytes() == whole, "stopped at {stop_at}");
    }
}

#[test]
fn a_damaged_shard_is_written_again() {
    let mut bench = Bench::new(&[("x", &fastq(9_000))]);
    bench.config.shard_bp = 50_000;
    bench.run().unwrap();
    let whole = bench.bytes();
    fs::remove_dir_all(bench.out()).unwrap();
    fs::create_dir(bench.out()).unwrap();
    let progress = StopAt(&bench.out(), 5, AtomicBool::new(false));
    ingest(&bench.inputs, &bench.out(), &bench.config, &progress).unwrap_err();
    let path = bench.out().join("reads-00002.shard");
    let mut shard = fs::read(&path).unwrap();
    shard[1_000] ^= 1;
    fs::write(&path, shard).unwrap();
    assert_eq!(bench.run().unwrap().resumed_shards, 2);
    assert!(bench.bytes() == whole);
}

#[test]
fn a_dataset_is_made_once_and_replaced_only_on_request() {
    let mut bench = Bench::new(&[("x", b">a\nACGT\n")]);
    assert!(!bench.run().unwrap().already_done);
    assert!(bench.run().unwrap().already_done);
    bench.config.min_length_bp = 2;
    let (kind, message) = bench.error();
    assert_eq!(kind, ErrorKind::OutputExists);
    assert!(message.contains("\"min_length_bp\":1") && message.contains("\"min_length_bp\":2"), "{message}");
    bench.config.force = true;
    assert!(!bench.run().unwrap().already_done);
    bench.config.force = false;
    // Another file of the same name and size.
    fs::write(&bench.inputs.files[0], b">a\nACGA\n").unwrap();
    assert!(bench.error().1.contains("x has changed since"));
    // A dataset that lost a shard is not complete.
    fs::write(&bench.inputs.files[0], b">a\nACGT\n").unwrap();
    fs::remove_file(bench.out().join("reads-00000.shard")).unwrap();
    assert!(bench.error().1.contains("reads-00000.shard is missing"));
    fs::remove_file(bench.out().join("manifest.json")).unwrap();
    assert!(!bench.run().unwrap().already_done);
}

#[test]
fn several_directories_are_one_dataset() {
    let one = Bench::new(&[("x", b">a\nACGT\n>b\nAC\n")]);
    let two = Bench::new(&[("y", b">c\nGGG\n")]);
    let (summary, _) = one.dataset();
    two.run().unwrap();
    let three = Bench::new(&[("x", b">a\nACGT\n>a\nCC\n")]);
    three.run().unwrap();
    let both = ReadDataset::open(&[one.out(), two.out(), three.out()]).unwrap();
    let expected = pairs(&[("a", "ACGT"), ("b", "AC"), ("c", "GGG"), ("a", "ACGT"), ("a", "CC")]);
    assert_eq!(sequences(&both), expected);
    // Names repeat, keys do not; and keys are the same in any order.
    let keys = |dataset: &ReadDataset| (0..Reads::len(dataset)).map(|i| dataset.key(i)).collect::<Vec<u64>>();
    let of_both = keys(&both);
    assert_eq!(of_both.iter().collect::<HashSet<_>>().len(), 5);
    assert_eq!(of_both[1], of_both[0] + 1);
    let turned = ReadDataset::open(&[three.out(), one.out()]).unwrap();
    assert_eq!(keys(&turned), [&of_both[3..], &of_both[..2]].concat());
    let ColumnData::I64(column) = both.columns(0..5).unwrap().swap_remove(2).data else { panic!("integers") };
    assert!(column.iter().zip(&of_both).all(|(found, key)| *found == Some(*key as i64)));
    assert_eq!(both.manifests().next().unwrap().1, &summary.manifest);
    let ColumnData::Str(sources) = both.columns(1..3).unwrap().swap_remove(1).data else { panic!("text") };
    assert!(sources[0].as_ref().unwrap().ends_with("/x") && sources[1].as_ref().unwrap().ends_with("/y"));
}

#[test]
fn one_file_in_two_directories_is_refused_and_so_is_one_directory_twice() {
    let one = Bench::new(&[("x", b">a\nACGT\n>b\nAC\n")]);
    let copy = Bench::new(&[("z", b">c\nGGG\n"), ("y", b">a\nACGT\n>b\nAC\n")]);
    one.run().unwrap();
    copy.run().unwrap();
    let refused = |directories: &[PathBuf]| ReadDataset::open(directories).err().unwrap();
    let error = refused(&[one.out(), copy.out()]);
    let text = error.to_string();
    assert!(matches!(error, DatasetError::SameInput { .. }) && error.is_bad_input(), "{text}");
    for place in [one.out(), copy.out(), one.inputs.files[0].clone(), copy.inputs.files[1].clone()] {
        assert!(text.contains(place.to_str().unwrap()), "{text}");
    }
    assert!(refused(&[one.out(), one.out()]).is_usage());
}

#[test]
fn copies_in_one_directory_are_the_same_samples_with_keys_of_their_own() {
    let bench = Bench::new(&[("x", b">a\nACGT\n>b\nAC\n"), ("y", b">c\nGGG\n"), ("z", b">a\nACGT\n>b\nAC\n")]);
    let (_, dataset) = bench.dataset();
    let keys: HashSet<u64> = (0..5).map(|i| dataset.key(i)).collect();
    assert_eq!(keys.len(), 5);
    let ids: Vec<_> = (0..5).map(|i| dataset.sample_id(i).unwrap()).collect();
    assert!(ids[0] == ids[3] && ids[1] == ids[4] && ids[0] != ids[1] && ids[2] != ids[0], "{ids:?}");
}

#[test]
fn mates_of_two_files_have_keys_of_their_own_and_are_one_sample() {
    let r1 = "@f\nACGT\n+\nIIII\n@g\nACG\n+\nIII\n";
    let r2 = "@f\nCCC\n+\nIII\n@g\nAA\n+\nII\n";
    let bench = Bench::new(&[("r1", r1.as_bytes()), ("r2", r2.as_bytes())]).paired(Pairing::Files);
    let (_, dataset) = bench.dataset();
    let keys: Vec<u64> = (0..4).map(|i| dataset.key(i)).collect();
    assert_eq!((keys[2], keys[3]), (keys[0] + 1, keys[1] + 1));
    assert_eq!(keys.iter().collect::<HashSet<_>>().len(), 4);
    let ids: Vec<_> = (0..4).map(|i| dataset.sample_id(i).unwrap()).collect();
    assert!(ids[0] == ids[1] && ids[2] == ids[3] && ids[0] != ids[2]);
    let name = dataset.sample_name(3).unwrap();
    assert!(name.id == "g" && name.source.ends_with("/r2") && name.key == keys[3], "{name:?}");
    assert!(dataset.are_one_molecule(0, 1) && !dataset.are_one_molecule(0, 3));
}

#[test]
fn reads_of_one_name_are_one_molecule_where_they_are_of_one_input() {
    let one = Bench::new(&[("x", b">a\nACGT\n>b\nAC\n>a\nGG\n")]);
    let other = Bench::new(&[("y", b">a\nTTT\n")]);
    one.run().unwrap();
    other.run().unwrap();
    let both = ReadDataset::open(&[one.out(), other.out()]).unwrap();
    assert!(both.are_one_molecule(0, 2) && !both.are_one_molecule(0, 1) && !both.are_one_molecule(0, 3));
    let ids: Vec<_> = (0..4).map(|i| both.sample_id(i).unwrap()).collect();
    assert!(ids[0] == ids[2] && ids[0] != ids[1] && ids[0] != ids[3], "{ids:?}");
}

#[test]
fn a_manifest_whose_counts_do_not_fit_is_refused() {
    let bench = Bench::new(&[("x", b">a\nACGT\n>b\nAC\n")]);
    let (summary, _) = bench.dataset();
    let mut manifest = summary.manifest;
    manifest.inputs[0].counts.insert("kept".into(), 3);
    manifest.write(&bench.out()).unwrap();
    let error = ReadDataset::open(&[bench.out()]).err().unwrap().to_string();
    assert!(error.ends_with("manifest.json: reads of all inputs: expected 2, found 3"), "{error}");
}

#[test]
fn a_long_read_is_one_row() {
    let letters = "ACGTN".repeat(300_000);
    let text = format!("@long\n{letters}\n+\n{}\n@b\nAC\n+\nII\n", "I".repeat(letters.len()));
    let (_, dataset) = Bench::new(&[("x", text.as_bytes())]).dataset();
    assert_eq!(Reads::len(&dataset), 2);
    assert_eq!(dataset.sequence(0).unwrap().to_ascii(), letters.as_bytes());
}
