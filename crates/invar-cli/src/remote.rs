//! Inputs and outputs by URL of commands that need files on a disk: a Parquet file is read here and there, and written with
//! its table of contents last.
//!
//! An input is read from a copy, which is removed when the command ends. An output is made in a directory of its own and
//! sent when it is whole; where that fails it stays there.

use std::{
    collections::BTreeMap,
    env, fs, io, mem,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, Result, anyhow};
use invar_dataset::{lock::Lock, manifest, object, path};
use invar_embeddings::{Shard, has_parts};
use serde_json::Value;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::{
    cli::{Cli, Command, Ingest},
    commands::cluster::groups,
    exit::Usage,
    ui::{Summary, Ui},
};

/// URLs by the paths of their copies.
static COPIES: Mutex<BTreeMap<PathBuf, PathBuf>> = Mutex::new(BTreeMap::new());

/// The URL of which this is a copy, as text.
pub fn origin(path: &Path) -> Option<String> {
    COPIES.lock().unwrap_or_else(PoisonError::into_inner).get(path).map(|url| path::text(url))
}

/// Copies of inputs, and outputs that are to be sent.
#[derive(Default)]
struct Remote {
    /// Removed when dropped.
    copies: Vec<TempDir>,
    /// In the order in which they are sent.
    outputs: Vec<Output>,
}

struct Output {
    /// A directory if it is a result of several files.
    file: PathBuf,
    url: PathBuf,
    /// Keeps other commands out of its directory.
    lock: Lock,
}

/// Runs a command on files in place of the URLs that it names.
///
/// # Errors
/// Those of the command; if an input cannot be fetched or an output not be sent.
pub fn run(mut cli: Cli, ui: &Ui, command: impl FnOnce(Cli, &Ui) -> Result<Summary>) -> Result<Summary> {
    let refuse = || object::first_refusal().map_or(Ok(()), |reason| Err(Usage(reason)));
    refuse()?;
    let mut remote = Remote::default();
    remote.take(&mut cli)?;
    refuse()?;
    let done = match command(cli, ui) {
        Ok(summary) => remote.send(summary),
        Err(error) => Err(remote.explain(error)),
    };
    drop(remote);
    COPIES.lock().unwrap_or_else(PoisonError::into_inner).retain(|copy, _| copy.exists());
    done
}

/// A copy in `directory` of what a URL names: of all objects below it, if it ends with a slash.
///
/// # Errors
/// If the URL cannot be taken, or an object cannot be fetched.
pub fn copied(url: &Path, directory: &Path) -> Result<PathBuf> {
    let url = object::named(url);
    object::first_refusal().map_or(Ok(()), |reason| Err(Usage(reason)))?;
    copy_into(directory, &url)
}

impl Drop for Remote {
    /// Directories of outputs that were not made, unless something is left there to be sent or gone on with.
    fn drop(&mut self) {
        for directory in self.outputs.iter().filter_map(|output| output.file.parent()) {
            let _ = fs::remove_dir(directory);
        }
    }
}

impl Remote {
    /// Replaces all URLs.
    fn take(&mut self, cli: &mut Cli) -> Result<()> {
        let force = cli.common.force;
        match &mut cli.command {
            Command::Ingest(Ingest::Reads(args)) => on_a_disk(&args.out)?,
            Command::Ingest(Ingest::Micrographs(args)) => on_a_disk(&args.out)?,
            Command::Ingest(Ingest::Contigs(args)) => on_a_disk(&args.out)?,
            Command::Ingest(Ingest::Graph(args)) => on_a_disk(&args.out)?,
            Command::Ingest(Ingest::GrainGraph(args)) => {
                on_a_disk(&args.out)?;
                self.inputs([args.embeddings.as_mut()])?;
            }
            Command::Edges(args) => {
                self.inputs([Some(&mut args.embeddings)])?;
                self.output(&mut args.out, force, false)?;
            }
            Command::Train(args) => args.out.as_deref().map_or(Ok(()), on_a_disk)?,
            Command::Run(args) => on_a_disk(&args.out)?,
            Command::Finetune(args) => on_a_disk(&args.out)?,
            Command::Federate(command) => command.out().map_or(Ok(()), on_a_disk)?,
            Command::Predict(args) => {
                self.inputs([args.labels.as_mut()])?;
                for out in [args.confusion.as_mut(), Some(&mut args.out)].into_iter().flatten() {
                    self.output(out, force, false)?;
                }
            }
            Command::Embed(args) => {
                if args.shard.is_none() && has_parquet_name(&args.out) {
                    self.output(&mut args.out, force, true)?;
                } else {
                    self.parts(&mut args.out, args.shard, force)?;
                }
            }
            Command::Cluster(args) => {
                self.inputs([Some(&mut args.embeddings), args.assign.as_mut(), args.of.as_mut()])?;
                if object::is_url(&args.out) && args.groups.is_none() {
                    args.groups = Some(groups::beside(&args.out)?);
                }
                for out in [args.plot.as_mut(), args.groups.as_mut(), Some(&mut args.out)].into_iter().flatten() {
                    self.output(out, force, false)?;
                }
            }
            Command::Evaluate(args) => {
                let others = [args.labels.as_mut(), args.clusters.as_mut(), args.against.as_mut()];
                self.inputs([Some(&mut args.embeddings)].into_iter().chain(others))?;
            }
            Command::Gallery(args) => {
                self.inputs([Some(&mut args.of.clusters)])?;
                self.output(&mut args.out, force, false)?;
            }
            Command::Paint(args) => {
                on_a_disk(&args.out)?;
                self.inputs([Some(&mut args.of.clusters)])?;
            }
            Command::Extract(args) => {
                on_a_disk(&args.out)?;
                self.inputs([Some(&mut args.of.clusters)])?;
            }
            Command::Bins(args) => {
                on_a_disk(&args.out)?;
                self.inputs([Some(&mut args.of.clusters)])?;
            }
            Command::Query(args) => {
                let num_files = args.files_and_sql.len().saturating_sub(1);
                for argument in &mut args.files_and_sql[..num_files] {
                    let text = argument.to_string_lossy().into_owned();
                    let (name, file) = match text.split_once('=').filter(|(name, _)| !name.contains("://")) {
                        Some((name, file)) => (format!("{name}="), file),
                        None => (String::new(), text.as_str()),
                    };
                    let mut path = object::named(Path::new(file));
                    if object::is_url(&path) {
                        self.input(&mut path)?;
                        *argument = format!("{name}{}", path.display()).into();
                    }
                }
                args.out.as_mut().map_or(Ok(()), |out| self.output(out, force, false))?;
            }
            Command::Search(args) => {
                self.inputs([&mut args.embeddings].into_iter().chain(&mut args.query).map(Some))?;
                args.out.as_mut().map_or(Ok(()), |out| self.output(out, force, false))?;
            }
            Command::Report(args) => self.output(&mut args.out, force, false)?,
            Command::Info(args) => self.inputs([Some(&mut args.path)])?,
            _ => {}
        }
        Ok(())
    }

    fn inputs<'a>(&mut self, paths: impl IntoIterator<Item = Option<&'a mut PathBuf>>) -> Result<()> {
        paths.into_iter().flatten().try_for_each(|path| self.input(path))
    }

    /// Replaces the URL of an input by a copy: of all objects below it, if it ends with a slash.
    fn input(&mut self, path: &mut PathBuf) -> Result<()> {
        if !object::is_url(path) {
            return Ok(());
        }
        let url = path.clone();
        let directory = tempfile::Builder::new().prefix("invar-copy-").tempdir();
        let directory = directory.with_context(|| url.display().to_string())?;
        let copy = copy_into(directory.path(), &url)?;
        COPIES.lock().unwrap_or_else(PoisonError::into_inner).insert(copy.clone(), url);
        self.copies.push(directory);
        *path = copy;
        Ok(())
    }

    /// Replaces the URL of an output by a file in a directory of its own, always the same for this URL: one that
    /// `resumes` goes on with what a killed command left there.
    fn output(&mut self, path: &mut PathBuf, force: bool, resumes: bool) -> Result<()> {
        if !object::is_url(path) {
            return Ok(());
        }
        let url = path.clone();
        let failed = || url.display().to_string();
        match object::look(&url) {
            Ok(_) if !force => {
                return Err(Usage(format!("{}: exists already (--force replaces it)", url.display())).into());
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error).with_context(failed),
        }
        self.made_here(path, url.as_os_str().as_encoded_bytes())?;
        if !resumes && path.exists() {
            fs::remove_file(&path).with_context(failed)?;
        }
        Ok(())
    }

    /// Replaces the URL of embeddings in parts by a directory: of all of them, or of a shard, which is sent without
    /// regard to the others.
    fn parts(&mut self, path: &mut PathBuf, shard: Option<Shard>, force: bool) -> Result<()> {
        if !object::is_url(path) {
            return Ok(());
        }
        let url = PathBuf::from(format!("{}/", path.display().to_string().trim_end_matches('/')));
        let failed = || url.display().to_string();
        if has_parquet_name(path) {
            let reason = "tasks write parts into a directory, and this is the name of a file";
            return Err(Usage(format!("--shard: {}: {reason}", path.display())).into());
        }
        let there = match object::list(&url) {
            Ok(there) => there,
            Err(error) if error.kind() == io::ErrorKind::NotFound => vec![],
            Err(error) => return Err(error).with_context(failed),
        };
        let names = there.iter().filter_map(|object| object.strip_prefix(&url).ok()?.to_str());
        if has_parts(&url, names, shard)? {
            let reason = if force {
                "exists already, and several objects cannot be replaced at once: remove them, or take another name"
            } else {
                "exists already"
            };
            return Err(Usage(format!("{}: {reason}", url.display())).into());
        }
        let of_shard = shard.map_or(String::new(), |shard| shard.to_string());
        *path = url;
        self.made_here(path, [path.as_os_str().as_encoded_bytes(), of_shard.as_bytes()].concat().as_slice())
    }

    /// Replaces the URL of an output by a path in a directory of its own, which depends on `what` alone.
    fn made_here(&mut self, path: &mut PathBuf, what: &[u8]) -> Result<()> {
        let failed = || path.display().to_string();
        let directory = own_directory(what).with_context(failed)?;
        let lock = Lock::directory(&directory).with_context(failed)?;
        let file = directory.join(path.file_name().unwrap_or_default());
        self.outputs.push(Output { url: mem::replace(path, file.clone()), file, lock });
        Ok(())
    }

    /// Sends the outputs, the one that was named last. The summary then names URLs.
    fn send(&mut self, mut summary: Summary) -> Result<Summary> {
        for output in &self.outputs {
            let kept = || {
                let (url, file) = (output.url.display(), output.file.display());
                format!("{url}: not stored; the finished file is kept as {file}")
            };
            output.send().with_context(kept)?;
        }
        for Output { file, url, lock } in self.outputs.drain(..) {
            replace(&mut summary, &file, &url);
            let directory = file.parent().map(PathBuf::from);
            let _ = directory.map(fs::remove_dir_all);
            drop(lock);
        }
        for (copy, url) in COPIES.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            replace(&mut summary, copy, url);
        }
        Ok(summary)
    }

    /// Says which URL is meant where an error is about a copy.
    fn explain(&self, error: anyhow::Error) -> anyhow::Error {
        let text = format!("{error:#}");
        let copies = COPIES.lock().unwrap_or_else(PoisonError::into_inner);
        let outputs = self.outputs.iter().map(|output| (&output.file, &output.url));
        let about = copies.iter().chain(outputs).find(|(file, _)| text.contains(&*file.to_string_lossy()));
        match about {
            Some((_, url)) => error.context(url.display().to_string()),
            None => error,
        }
    }
}

impl Output {
    /// Of several files the one that sorts last, which makes the others a whole, is sent last.
    fn send(&self) -> io::Result<()> {
        if !self.file.is_dir() {
            return object::upload(&self.file, &self.url);
        }
        let entries = fs::read_dir(&self.file)?.collect::<io::Result<Vec<_>>>()?;
        let mut files: Vec<PathBuf> =
            entries.into_iter().map(|entry| entry.path()).filter(|path| has_parquet_name(path)).collect();
        files.sort();
        files.iter().try_for_each(|file| {
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            object::upload(file, &object::join(&self.url, &name))
        })
    }
}

/// Copies an object, or all below a URL that ends with a slash, into a directory.
fn copy_into(directory: &Path, url: &Path) -> Result<PathBuf> {
    let failed = || url.display().to_string();
    let copy = directory.join(url.file_name().unwrap_or("input".as_ref()));
    if url.to_string_lossy().ends_with('/') {
        fs::create_dir(&copy).with_context(failed)?;
        for part in object::list(url).with_context(failed)? {
            let to = copy.join(part.strip_prefix(url).with_context(failed)?);
            to.parent().map_or(Ok(()), fs::create_dir_all).with_context(failed)?;
            fetch(&part, &to)?;
        }
    } else {
        fetch(url, &copy)?;
    }
    Ok(copy)
}

fn fetch(url: &Path, copy: &Path) -> Result<()> {
    let failed = || url.display().to_string();
    let mut from = object::open(url).with_context(failed)?;
    let mut to = fs::File::create(copy).with_context(failed)?;
    io::copy(&mut from, &mut to).with_context(failed)?;
    Ok(())
}

/// Refuses a URL for a directory whose files are mapped into memory, or changed one by one.
fn on_a_disk(out: &Path) -> Result<()> {
    if !object::is_url(out) {
        return Ok(());
    }
    let reason = "a directory of many files is made on a disk; single files may be objects";
    Err(Usage(format!("{}: {reason}", out.display())).into())
}

fn has_parquet_name(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"))
}

/// A directory for an output that nobody else can write, below that for temporary files.
fn own_directory(what: &[u8]) -> Result<PathBuf> {
    use std::os::unix::fs::{DirBuilderExt, MetadataExt};
    // SAFETY: it reads a number of the process and cannot fail.
    let user = unsafe { libc::geteuid() };
    let digest = manifest::hex(&Sha256::digest(what));
    let directory = env::temp_dir().join(format!("invar-out-{user}-{}", &digest[..16]));
    match fs::DirBuilder::new().mode(0o700).create(&directory) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let there = fs::symlink_metadata(&directory)?;
    if there.is_dir() && there.uid() == user {
        Ok(directory)
    } else {
        Err(anyhow!("{}: expected a directory of this user, found another's", directory.display()))
    }
}

/// Writes the URL for the path in everything that a summary says.
fn replace(summary: &mut Summary, path: &Path, url: &Path) {
    let (from, to) = (path.display().to_string(), url.display().to_string());
    summary.text = summary.text.replace(&from, &to);
    replace_in(&mut summary.json, &from, &to);
}

fn replace_in(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) => *text = text.replace(from, to),
        Value::Array(values) => values.iter_mut().for_each(|value| replace_in(value, from, to)),
        Value::Object(fields) => fields.values_mut().for_each(|value| replace_in(value, from, to)),
        _ => {}
    }
}
