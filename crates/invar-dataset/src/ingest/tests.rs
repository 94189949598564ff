//! The life of an output directory, in a domain with one file per piece.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use super::*;
use crate::{
    lock::Lock,
    manifest::{self, Input, SCHEMA_VERSION, Shard},
};

/// A shard with a label beside it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Toy {
    shard: Shard,
    label: OtherFile,
}

impl Checkpoint for Toy {
    const DOMAIN: &'static str = "toys";
    const NAMES: &'static [&'static str] = &["labels"];

    fn shard(&self) -> Option<&Shard> {
        Some(&self.shard)
    }

    fn files(&self) -> Vec<OtherFile> {
        vec![self.label.clone()]
    }

    fn is_made_again(file: &str) -> bool {
        file == "table"
    }

    fn kept(finished: Vec<Self>, is_whole: &dyn Fn(&Self) -> bool) -> Vec<Self> {
        finished.into_iter().take_while(is_whole).collect()
    }

    fn unlisted_files(manifest: &Manifest) -> Vec<String> {
        manifest.shards.iter().map(|shard| format!("labels/{}.txt", shard.file)).collect()
    }
}

struct Bench {
    directory: tempfile::TempDir,
    parameters: serde_json::Value,
    force: bool,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap(), parameters: 1.into(), force: false };
        fs::write(bench.path("input"), "one").unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn out(&self) -> PathBuf {
        self.path("out")
    }

    fn prepare(&self) -> Result<State<Toy>, DatasetError> {
        let inputs = vec![InputIdentity::of(&self.path("input"))?];
        let key = Key { tool_version: "1".into(), parameters: self.parameters.clone(), inputs };
        Output::prepare(&self.out(), key, self.force)
    }

    fn open(&self) -> Output<Toy> {
        match self.prepare().unwrap() {
            State::Open(output) => *output,
            State::Done(_) => panic!("done before"),
        }
    }

    fn is_done(&self) -> bool {
        matches!(self.prepare().unwrap(), State::Done(_))
    }

    fn refusal(&self) -> String {
        let error = self.prepare().map(|_| ()).unwrap_err();
        assert!(matches!(error, DatasetError::Exists { .. }), "{error}");
        error.to_string().replace(&format!("{}/", self.directory.path().display()), "")
    }

    /// The files of a piece hold what the input holds.
    fn piece(&self, output: &Output<Toy>, number: usize) {
        let (file, label) = (format!("toys-{number}"), format!("labels/toys-{number}.txt"));
        output.announce([file.clone(), label.clone()]).unwrap();
        let path = output.directory().join(&file);
        fs::create_dir_all(output.directory().join("labels")).unwrap();
        fs::write(output.directory().join(&label), "label").unwrap();
        fs::write(&path, fs::read(self.path("input")).unwrap()).unwrap();
        let (size_bytes, sha256) = manifest::file_digest(&path).unwrap();
        let label = OtherFile::of(output.directory(), label).unwrap();
        output.push(&Toy { shard: Shard { file, num_rows: 1, size_bytes, sha256 }, label }).unwrap();
    }

    fn manifest(&self, output: &Output<Toy>) -> Manifest {
        let found = journal::read::<Toy>(output.directory()).unwrap().unwrap();
        let (size_bytes, sha256) = manifest::file_digest(&self.path("input")).unwrap();
        Manifest {
            schema_version: SCHEMA_VERSION,
            tool_version: "1".into(),
            domain: Toy::DOMAIN.into(),
            parameters: output.key().parameters.clone(),
            inputs: vec![Input::new(&self.path("input"), size_bytes, sha256)],
            files: found.pieces.iter().map(|piece| piece.label.clone()).collect(),
            shards: found.pieces.into_iter().map(|piece| piece.shard).collect(),
            counts: BTreeMap::new(),
            skipped: Vec::new(),
            facts: BTreeMap::new(),
        }
    }

    fn finish(&self, output: Output<Toy>) -> Manifest {
        let manifest = self.manifest(&output);
        output.write(manifest).unwrap().publish().unwrap()
    }

    /// A dataset of this many pieces.
    fn make(&self, num_pieces: usize) {
        let output = self.open();
        (0..num_pieces).for_each(|number| self.piece(&output, number));
        self.finish(output);
    }

    /// Everything in the directory of the bench except the input, with its bytes.
    fn tree(&self) -> BTreeMap<String, String> {
        let (mut files, mut open) = (BTreeMap::new(), vec![self.directory.path().to_path_buf()]);
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(self.directory.path()).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() {
                    files.insert(name, "directory".into());
                    open.push(path);
                } else if !name.starts_with("input") {
                    files.insert(name, fs::read_to_string(path).unwrap());
                }
            }
        }
        files
    }

    fn names(&self) -> Vec<String> {
        self.tree().into_keys().collect()
    }

    fn is_whole(&self) -> bool {
        Manifest::read(&self.out()).and_then(|manifest| manifest.verify(&self.out())).is_ok()
    }
}

const WHOLE: [&str; 5] = ["out", "out/labels", "out/labels/toys-0.txt", "out/manifest.json", "out/toys-0"];

#[test]
fn what_was_made_from_the_same_is_done_and_not_touched() {
    let bench = Bench::new();
    bench.make(1);
    assert_eq!(bench.names(), WHOLE);
    let before = fs::metadata(bench.out()).unwrap().modified().unwrap();
    assert!(bench.is_done());
    assert_eq!(fs::metadata(bench.out()).unwrap().modified().unwrap(), before);
    let identity = Manifest::read(&bench.out()).unwrap().inputs[0].identity.clone();
    assert!(identity.is_some() && InputIdentity::of(&bench.path("input")).unwrap().file == identity);
}

#[test]
fn a_dataset_of_which_a_file_is_lost_is_not_done() {
    let bench = Bench::new();
    bench.make(2);
    fs::write(bench.path("out/labels/toys-1.txt"), "other label").unwrap();
    let refusal = bench.refusal();
    assert!(refusal.contains("labels/toys-1.txt has 11 bytes instead of 5"), "{refusal}");
    fs::remove_file(bench.path("out/labels/toys-1.txt")).unwrap();
    assert!(bench.refusal().contains("labels/toys-1.txt is missing"));
}

#[test]
fn files_made_of_the_whole_get_their_digest_when_they_are_written() {
    let bench = Bench::new();
    let output = bench.open();
    bench.piece(&output, 0);
    output.announce(["table".into()]).unwrap();
    let mut manifest = bench.manifest(&output);
    manifest.files.push(OtherFile::to_be_written("table".into()));
    let mut written = output.write(manifest).unwrap();
    let write =
        |text: &'static str| move |out: &Path| fs::write(out.join("table"), text).map_err(DatasetError::io(out));
    written.complete(write("rows")).unwrap();
    let mut manifest = written.publish().unwrap();
    assert_eq!(manifest.file("table"), Some(&OtherFile::of(&bench.out(), "table".into()).unwrap()));
    assert!(bench.is_whole());
    // Lost, and made again, by another version of the program.
    fs::remove_file(bench.path("out/table")).unwrap();
    assert!(bench.is_done() && !bench.is_whole());
    complete(&bench.out(), &mut manifest, write("other rows")).unwrap();
    assert!(bench.is_done() && bench.is_whole());
    // What was there is not taken for good, though it be damaged.
    fs::write(bench.path("out/table"), "mother row").unwrap();
    complete(&bench.out(), &mut manifest, |_| Ok::<_, DatasetError>(())).unwrap();
    assert!(!bench.is_whole());
}

#[test]
fn a_piece_whose_other_file_is_damaged_is_made_again() {
    let bench = Bench::new();
    let output = bench.open();
    (0..2).for_each(|number| bench.piece(&output, number));
    drop(output);
    fs::write(bench.path("out/labels/toys-1.txt"), "lapel").unwrap();
    assert_eq!(bench.open().checkpoints().len(), 1);
}

#[test]
fn another_input_behind_the_same_path_is_seen_and_the_same_one_elsewhere_too() {
    let bench = Bench::new();
    bench.make(1);
    let changed = format!("out holds another dataset: {} has changed since", bench.path("input").display());
    let changed = changed.replace(&format!("{}/", bench.directory.path().display()), "").replacen("out ", "out: ", 1)
        + " (use --force to replace it)";
    // Another file of the same size takes its place, older than the dataset.
    let replace = |text: &str| {
        fs::write(bench.path("input.new"), text).unwrap();
        let old = fs::File::options().write(true).open(bench.path("input.new")).unwrap();
        old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        fs::rename(bench.path("input.new"), bench.path("input")).unwrap();
    };
    replace("two");
    assert_eq!(bench.refusal(), changed);
    // A copy of the dataset knows as much as the original.
    let copy = Bench { directory: tempfile::tempdir().unwrap(), ..Bench::new() };
    fs::create_dir_all(copy.out()).unwrap();
    fs::copy(bench.out().join("manifest.json"), copy.out().join("manifest.json")).unwrap();
    let manifest = Manifest::read(&copy.out()).unwrap();
    let key = |bench: &Bench| Key {
        tool_version: "1".into(),
        parameters: 1.into(),
        inputs: vec![InputIdentity::of(&bench.path("input")).unwrap()],
    };
    let said = difference::<Toy>(&bench.out(), &manifest, &key(&bench)).unwrap().unwrap();
    assert!(said.ends_with("input has changed since"), "{said}");
    // The same bytes in a new file.
    replace("one");
    assert!(bench.is_done());
    // For a manifest without identities the bytes are compared.
    let mut old = Manifest::read(&bench.out()).unwrap();
    old.inputs[0].identity = None;
    old.write(&bench.out()).unwrap();
    assert!(bench.is_done());
    replace("two");
    assert_eq!(bench.refusal(), changed);
}

#[test]
fn the_old_dataset_is_whole_until_the_new_one_takes_its_place() {
    let mut bench = Bench::new();
    bench.make(3);
    let mine = ["out/notes.txt", "out/labels/mine.txt", "out/more/deep/file"];
    fs::create_dir_all(bench.path("out/more/deep")).unwrap();
    mine.iter().for_each(|name| fs::write(bench.path(name), "precious").unwrap());
    fs::write(bench.path("input"), "two").unwrap();
    bench.force = true;
    let before = bench.tree();
    let output = bench.open();
    bench.piece(&output, 0);
    assert!(bench.is_whole() && output.directory() == fs::canonicalize(bench.path(".out.partial")).unwrap());
    // A failure leaves it as it was.
    output.give_up(false);
    assert_eq!(bench.tree(), before);
    bench.make(1);
    bench.force = false;
    assert!(bench.is_done());
    let kept = ["out/more", "out/more/deep"].iter().chain(&mine).chain(&WHOLE);
    let mut expected: Vec<&str> = kept.copied().collect();
    expected.sort_unstable();
    assert_eq!(bench.names(), expected);
    assert_eq!(fs::read_to_string(bench.path("out/toys-0")).unwrap(), "two");
    assert!(mine.iter().all(|name| fs::read_to_string(bench.path(name)).unwrap() == "precious"));
}

#[test]
fn a_replacement_that_was_interrupted_goes_on() {
    let mut bench = Bench::new();
    bench.make(1);
    bench.force = true;
    bench.parameters = 2.into();
    let output = bench.open();
    bench.piece(&output, 0);
    bench.piece(&output, 1);
    output.give_up(true);
    let output = bench.open();
    assert_eq!(output.checkpoints().len(), 2);
    // Killed when it was complete, but not yet in its place.
    let manifest = bench.manifest(&output);
    drop(output.write(manifest).unwrap());
    let output = bench.open();
    assert_eq!(output.checkpoints().len(), 2);
    bench.finish(output);
    bench.force = false;
    assert!(bench.is_done() && bench.is_whole());
    assert_eq!(bench.names().iter().filter(|name| !name.starts_with("out")).count(), 0);
}

#[test]
fn a_replacement_that_was_given_up_is_removed_by_the_next_command() {
    let mut bench = Bench::new();
    bench.make(1);
    (bench.force, bench.parameters) = (true, 2.into());
    let output = bench.open();
    bench.piece(&output, 0);
    // Not while another process is working on it.
    (bench.force, bench.parameters) = (false, 1.into());
    assert!(bench.is_done() && bench.path(".out.partial/toys-0").exists());
    output.give_up(true);
    assert!(bench.path(".out.partial/toys-0").exists());
    assert!(bench.is_done());
    assert_eq!(bench.names(), WHOLE);
}

/// A finished dataset, and next to it one with other parameters that was about to replace it.
fn about_to_be_replaced() -> Bench {
    let mut bench = Bench::new();
    bench.make(2);
    fs::write(bench.path("out/mine"), "precious").unwrap();
    (bench.force, bench.parameters) = (true, 2.into());
    let output = bench.open();
    bench.piece(&output, 0);
    let manifest = bench.manifest(&output);
    drop(output.write(manifest).unwrap());
    bench.force = false;
    bench
}

#[test]
fn a_kill_between_the_steps_of_a_replacement_loses_nothing() {
    let exchanged = [("out", "x"), (".out.partial", "out"), ("x", ".out.partial")];
    let moving = [(".out.partial", ".out.moving"), ("out/manifest.json", "x")];
    let moved = [(".out.moving/toys-0", "out/toys-0"), (".out.moving/labels", "out/labels")];
    let done = [(".out.moving/manifest.json", "out/manifest.json")];
    let steps = [
        exchanged.to_vec(),
        // What does not belong to the old dataset was already moved.
        [&exchanged[..], &[(".out.partial/mine", "out/mine")]].concat(),
        moving[..1].to_vec(),
        moving.to_vec(),
        [&moving[..], &moved[..1]].concat(),
        [&moving[..], &moved].concat(),
        [&moving[..], &moved, &done].concat(),
        // Inside it, where it cannot be next to it.
        vec![(".out.partial", "out/.ingest.moving")],
    ];
    for renames in steps {
        let bench = about_to_be_replaced();
        if renames.contains(&moving[1]) {
            // The old dataset is removed before the new one arrives.
            ["toys-0", "toys-1"].iter().for_each(|file| fs::remove_file(bench.out().join(file)).unwrap());
            fs::remove_dir_all(bench.path("out/labels")).unwrap();
        }
        renames.iter().for_each(|(from, to)| fs::rename(bench.path(from), bench.path(to)).unwrap());
        let _ = fs::remove_file(bench.path("x"));
        assert!(bench.is_done(), "{renames:?}");
        let mut expected: Vec<&str> = WHOLE.iter().copied().chain(["out/mine"]).collect();
        expected.sort_unstable();
        assert_eq!(bench.names(), expected, "{renames:?}");
        assert!(bench.is_whole());
    }
    // Before the first step the old one is still there.
    let mut bench = about_to_be_replaced();
    assert!(bench.refusal().contains("its parameters are 1 instead of 2"));
    bench.parameters = 1.into();
    assert!(bench.is_done());
    assert!(bench.is_whole() && !bench.path(".out.partial").exists());
}

#[test]
fn a_dataset_that_nothing_can_be_put_beside_is_replaced_from_within() {
    let mut bench = Bench::new();
    bench.make(2);
    fs::write(bench.path("out/mine"), "precious").unwrap();
    // Something in the way, such as a mount point or a directory of someone else.
    fs::write(bench.path(".out.partial"), "").unwrap();
    (bench.force, bench.parameters) = (true, 2.into());
    let before = bench.tree();
    let output = bench.open();
    bench.piece(&output, 0);
    assert!(output.directory().ends_with("out/.ingest.partial") && bench.is_whole());
    output.give_up(true);
    let output = bench.open();
    assert_eq!(output.checkpoints().len(), 1);
    output.give_up(false);
    assert_eq!(bench.tree(), before);
    bench.make(1);
    bench.force = false;
    assert!(bench.is_done() && bench.is_whole());
    let mut expected: Vec<&str> = WHOLE.iter().copied().chain([".out.partial", "out/mine"]).collect();
    expected.sort_unstable();
    assert_eq!(bench.names(), expected);
}

#[test]
fn a_failed_ingest_leaves_nothing_that_blocks_another() {
    let mut bench = Bench::new();
    // Bad input; and stopped before anything was finished.
    for resumable in [false, true] {
        let output = bench.open();
        output.announce(["toys-0".into()]).unwrap();
        fs::write(output.directory().join("toys-0"), "half").unwrap();
        output.give_up(resumable);
        assert_eq!(bench.names(), [""; 0]);
    }
    let output = bench.open();
    bench.piece(&output, 0);
    output.give_up(false);
    assert_eq!(bench.names(), [""; 0]);
    // Killed before anything was finished.
    let output = bench.open();
    output.announce(["toys-0".into()]).unwrap();
    fs::write(output.directory().join(".toys-0.partial"), "half").unwrap();
    drop(output);
    bench.parameters = 2.into();
    bench.make(1);
    assert_eq!(bench.names(), WHOLE);
}

#[test]
fn a_directory_that_the_user_made_stays() {
    let bench = Bench::new();
    fs::create_dir(bench.out()).unwrap();
    bench.open().give_up(false);
    assert_eq!(bench.names(), ["out"]);
}

#[test]
fn finished_pieces_are_replaced_only_on_request_and_after_success() {
    let mut bench = Bench::new();
    let output = bench.open();
    bench.piece(&output, 0);
    drop(output);
    assert_eq!(bench.open().checkpoints().len(), 1);
    bench.parameters = 2.into();
    let refusal = bench.refusal();
    assert!(
        refusal.starts_with("out: holds an unfinished ingest of other inputs or parameters: its parameters"),
        "{refusal}"
    );
    bench.force = true;
    bench.open().give_up(false);
    assert!(bench.path("out/toys-0").exists());
    bench.make(1);
    assert_eq!(bench.names(), WHOLE);
}

#[test]
fn what_no_ingest_wrote_is_neither_overwritten_nor_taken() {
    let mut bench = Bench::new();
    fs::create_dir(bench.out()).unwrap();
    fs::write(bench.path("out/toys-1"), "precious").unwrap();
    for force in [false, true] {
        bench.force = force;
        let output = bench.open();
        bench.piece(&output, 0);
        let error = output.announce(["toys-1".into()]).unwrap_err();
        assert!(
            error.to_string().ends_with("holds toys-1, which no ingest wrote: choose another directory"),
            "{error}"
        );
        output.give_up(false);
        assert_eq!(bench.names(), ["out", "out/toys-1"]);
    }
    fs::create_dir(bench.path("out/labels")).unwrap();
    assert_eq!(bench.refusal(), "out: holds labels, which no ingest wrote: choose another directory");
    // The same next to a dataset: the new one is not moved in, the old one stays.
    fs::remove_dir(bench.path("out/labels")).unwrap();
    bench.force = false;
    bench.make(1);
    bench.force = true;
    let before = bench.tree();
    let output = bench.open();
    (0..2).for_each(|number| bench.piece(&output, number));
    let manifest = bench.manifest(&output);
    let error = output.write(manifest).unwrap().publish().unwrap_err();
    assert!(error.to_string().contains("holds toys-1, which no ingest wrote"), "{error}");
    assert_eq!(bench.tree(), before);
}

#[test]
fn lists_that_name_files_elsewhere_delete_none() {
    let mut bench = Bench::new();
    bench.make(1);
    fs::write(bench.path("other"), "precious").unwrap();
    let mut manifest = Manifest::read(&bench.out()).unwrap();
    let elsewhere = ["../other".into(), bench.path("other").to_str().unwrap().into(), String::new()];
    manifest.files.extend(elsewhere.map(OtherFile::to_be_written));
    manifest.write(&bench.out()).unwrap();
    bench.force = true;
    bench.make(1);
    assert_eq!(fs::read_to_string(bench.path("other")).unwrap(), "precious");
}

#[test]
fn files_that_old_manifests_do_not_list_are_known_by_the_domain() {
    let mut bench = Bench::new();
    bench.make(2);
    let mut manifest = Manifest::read(&bench.out()).unwrap();
    manifest.files.clear();
    for shard in ["toys-0", "toys-1"] {
        let old = format!("out/labels/{shard}.txt");
        assert!(bench.path(&old).exists());
    }
    manifest.write(&bench.out()).unwrap();
    bench.force = true;
    bench.make(1);
    assert_eq!(bench.names(), WHOLE);
}

#[test]
fn a_second_command_waits_for_the_first_and_finds_its_result() {
    let bench = Bench::new();
    let output = bench.open();
    bench.piece(&output, 0);
    std::thread::scope(|scope| {
        let second = scope.spawn(|| bench.is_done());
        while Lock::if_free(&bench.out()).is_some() {}
        bench.finish(output);
        assert!(second.join().unwrap());
    });
}

#[test]
fn an_input_that_changes_while_it_is_read_is_not_taken_for_known() {
    let bench = Bench::new();
    let output = bench.open();
    bench.piece(&output, 0);
    fs::write(bench.path("input"), "longer").unwrap();
    assert_eq!(bench.finish(output).inputs[0].identity, None);
    assert!(Path::new(&bench.out()).exists());
}

#[test]
fn inputs_that_differ_are_named_and_hundreds_of_them_are_not() {
    let paths = |range: std::ops::Range<usize>| range.map(|i| format!("{i}.png").into()).collect::<Vec<_>>();
    assert_eq!(difference_of_inputs(&paths(0..300), &paths(0..300)), None);
    let few = difference_of_inputs(&paths(0..2), &paths(1..2)).unwrap();
    assert_eq!(few, "its inputs are 0.png 1.png instead of 1.png");
    let many = difference_of_inputs(&paths(0..300), &paths(0..299)).unwrap();
    assert_eq!(many, "its inputs are 300 files instead of 299; number 300 is 299.png instead of nothing");
}
