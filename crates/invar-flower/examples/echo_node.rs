//! A node that answers each task with the files of a directory: `echo_node --superlink https://HOST:PORT --root-certificates CA.pem --key
//! KEY.pem --state DIR [--work-s S] [--heartbeat-s S] [--insecure] UPDATE`. For tests of a federation without any training.

use std::{
    collections::BTreeMap,
    env, fs, io,
    io::Write,
    path::PathBuf,
    process::ExitCode,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use invar_dataset::Progress;
use invar_flower::{Array, Metric, Node, Options, Records, Task};

/// Words to stderr; stops when stdin ends, as SIGTERM would stop the program at once.
struct Words;

static STOP: AtomicBool = AtomicBool::new(false);

impl Progress for Words {
    fn set_total(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, text: &str) {
        let _ = writeln!(io::stderr(), "{text}");
    }
    fn is_cancelled(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    let mut options = Options::new("", "");
    let (mut work, mut update) = (Duration::ZERO, PathBuf::new());
    let mut words = env::args().skip(1);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match &word[..] {
            "--superlink" => options.superlink = value()?,
            "--root-certificates" => options.root_certificates = Some(value()?.into()),
            "--key" => options.key = value()?.into(),
            "--state" => options.state = Some(value()?.into()),
            "--heartbeat-s" => options.heartbeat = Duration::from_secs(value()?.parse()?),
            "--work-s" => work = Duration::from_secs_f64(value()?.parse()?),
            "--insecure" => options.insecure = true,
            _ => update = word.into(),
        }
    }
    thread::spawn(|| {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        STOP.store(true, Ordering::Relaxed);
    });
    let mut node = Node::connect(options, &Words)?;
    Words.message(&format!("node {}", node.id()));
    while let Some(task) = node.next(&Words)? {
        Words.message(&format!("task {} {} of run {}", task.message_type, task.group, task.run));
        let start = Instant::now();
        while start.elapsed() < work && !Words.is_cancelled() {
            thread::sleep(Duration::from_millis(50));
        }
        node.reply(&task, answer(&task, &update).map_err(|error| error.to_string()), &Words)?;
        Words.message(&format!("answered {}", task.group));
    }
    Ok(())
}

fn answer(task: &Task, update: &PathBuf) -> Result<Records, Box<dyn std::error::Error>> {
    let global = task.content.arrays.get("global").ok_or("expected arrays named global, found none")?;
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(update)? {
        let entry = entry?;
        let name = entry.file_name().into_string().map_err(|name| format!("{name:?} is not UTF-8"))?;
        files.insert(name, Array::of_bytes(fs::read(entry.path())?));
    }
    let mut num_bytes = 0;
    for array in global.values() {
        num_bytes += array.bytes()?.len();
    }
    let figures =
        [("num-examples", Metric::I64(1)), ("loss", Metric::F64(0.5)), ("bytes", Metric::I64(num_bytes as i64))];
    let mut records = Records::default();
    records.arrays.insert("update".into(), files);
    records.metrics.insert("update-metrics".into(), figures.map(|(name, figure)| (name.into(), figure)).into());
    Ok(records)
}
