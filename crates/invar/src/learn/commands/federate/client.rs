//! `invar federate client`: a site as a node of Flower.

use std::{collections::BTreeMap, fs, path::PathBuf};

use anyhow::{Context, Result};
use invar_cli::{
    cli::{Common, FederateClient},
    commands::federate::described_update,
    exit::{BadInput, Interrupted},
    ui::{Bar, Summary, Ui, Unit, counted},
};
use invar_dataset::Progress;
use invar_federation::{Global, Update};
use invar_flower::{Array, Metric, Node, Options, Records, Task};
use invar_train::Place;
use serde_json::json;

use super::{
    site::{Site, Source},
    state::State,
};

/// The records of a task and of its answer, as in workflows/flower.
const GLOBAL: &str = "global";
const UPDATE: &str = "update";
const FIGURES: &str = "figures";
/// In the directory of the state, what the node keeps of messages.
const MESSAGES: &str = "flower";

/// `invar federate client`
pub fn run(args: &FederateClient, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = super::recipe_of(&args.own.recipe, common)?;
    let site = Site::named(&recipe, &args.own.data, args.own.site.as_deref())?;
    let state = State::hold(&args.state, &site)?;
    let client = Client {
        site: site.with_data(&args.own.data, 1.0, ui)?,
        state,
        place: super::place(common, ui)?,
        explain: args.own.explain_update,
        ui,
    };
    let words = Words { ui, bar: ui.bar("wait", Unit::Items) };
    let options = Options {
        root_certificates: args.root_certificates.clone(),
        insecure: args.insecure,
        state: Some(args.state.join(MESSAGES)),
        ..Options::new(&args.superlink, &args.key)
    };
    let mut node = Node::connect(options, &words)?;
    ui.note(&format!("node {} of {}, site {}", node.id(), args.superlink, client.site.name));
    let mut answered = 0;
    while let Some(task) = node.next(&words)? {
        let answer = client.answer(&task);
        if words.is_cancelled() {
            return Err(Interrupted.into());
        }
        // The server is told why, and the node waits for another task.
        let answer = answer.map_err(|error| {
            let reason = format!("{error:#}");
            ui.warn(&reason);
            reason
        });
        answered += u64::from(answer.is_ok());
        node.reply(&task, answer, &words)?;
    }
    node.close();
    let text = format!("site {}: {} answered", client.site.name, counted(answered, "task"));
    Ok(Summary { text, json: json!({"site": client.site.name, "answered": answered}) })
}

struct Client<'a> {
    site: Site<Source>,
    state: State,
    place: Place,
    explain: bool,
    ui: &'a Ui,
}

impl Client<'_> {
    /// The update that a task asks for.
    fn answer(&self, task: &Task) -> Result<Records> {
        let scratch = tempfile::tempdir()?;
        let files = task.content.arrays.get(GLOBAL).ok_or_else(|| {
            let found: Vec<&str> = task.content.arrays.keys().map(String::as_str).collect();
            BadInput(format!("the task has arrays {found:?}, expected {GLOBAL:?}: is the server app Invar's?"))
        })?;
        let from = scratch.path().join(GLOBAL);
        fs::create_dir(&from)?;
        for name in Global::files() {
            if let Some(file) = files.get(&*name.to_string_lossy()) {
                let path = from.join(&name);
                fs::write(&path, file.bytes()?).with_context(|| path.display().to_string())?;
            }
        }
        let global = Global::read(&from)?;
        self.ui.note(&format!("round {}: begun", global.facts.round + 1));
        let mut update = self.site.step(&global, &global.bank, Some(&self.state), &self.place, self.ui)?;
        let out = scratch.path().join(UPDATE);
        fs::create_dir(&out)?;
        update.write(&out)?;
        self.state.tidy(update.facts.round)?;
        let summary = described_update(&out, &update, self.explain)?.text;
        self.ui.note(summary.split_once(": ").map_or(&*summary, |(_, rest)| rest));
        records(&update, |name| {
            let path = out.join(name);
            fs::read(&path).with_context(|| path.display().to_string())
        })
    }
}

/// An update as Flower's records: its files, and the two figures that its strategies look at.
fn records(update: &Update, read: impl Fn(&PathBuf) -> Result<Vec<u8>>) -> Result<Records> {
    let file = |name: PathBuf| Ok((name.to_string_lossy().into_owned(), Array::of_bytes(read(&name)?)));
    let files = update.files().into_iter().map(file).collect::<Result<BTreeMap<_, _>>>()?;
    let figures = [
        ("num-examples".to_owned(), Metric::I64(update.facts.rows as i64)),
        ("loss".to_owned(), Metric::F64(update.facts.loss)),
    ];
    let mut records = Records::default();
    records.arrays.insert(UPDATE.into(), files);
    records.metrics.insert(FIGURES.into(), figures.into());
    Ok(records)
}

/// What the node has to say, and whether the user wants to stop.
struct Words<'a> {
    ui: &'a Ui,
    bar: Bar,
}

impl Progress for Words<'_> {
    fn set_total(&self, _: u64) {}

    fn advance(&self, _: u64) {}

    fn message(&self, text: &str) {
        self.bar.suspend(|| self.ui.note(text));
    }

    fn is_cancelled(&self) -> bool {
        self.bar.is_cancelled()
    }
}
