//! `invar federate simulate`: the rounds of several sites in one process, by the same steps and merges as apart.

use std::{
    collections::{BTreeMap, HashSet},
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use invar_cli::{
    cli::{Common, FederateSimulate},
    commands::federate::{described, size_of},
    exit::{BadInput, Interrupted, Usage},
    ui::{DONE_BEFORE, Summary, Ui, thousands},
};
use invar_dataset::{Progress, Replacement, atomic, lock::Lock, manifest::Manifest, order::Permutation, seed};
use invar_embeddings::Bank;
use invar_federation::{Global, Merge, Update, mean_age, merge};
use serde_json::{Value, json};

use super::{
    site::{Site, Source},
    state::State,
};

/// The directory of a simulation.
///
/// ```text
/// simulation.json    recipe, digests of the data, settings
/// rounds/00003/      GLOBAL after round 3
/// states/SITE/       what each site keeps
/// rounds.jsonl       a line for each round
/// recipe.toml ...    GLOBAL after the last round: the end marker, global.json, is written last
/// ```
struct Simulation {
    /// Where it works.
    out: PathBuf,
    /// The directory that it will be moved to, where another simulation is.
    replaces: Option<(Replacement, PathBuf)>,
    _lock: Lock,
}

const SETTINGS: &str = "simulation.json";
const ROUNDS: &str = "rounds";
const STATES: &str = "states";
const LOG: &str = "rounds.jsonl";
const UPDATE: &str = ".update";

/// `invar federate simulate`
pub fn run(args: &FederateSimulate, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = super::recipe_of(&args.recipe, common)?;
    for (name, value) in [("--lost", args.lost), ("--uneven", args.uneven)] {
        let is_right = if name == "--lost" { (0.0..1.0).contains(&value) } else { value > 0.0 && value <= 1.0 };
        if !is_right {
            let range = if name == "--lost" { "in [0, 1)" } else { "in (0, 1]" };
            return Err(Usage(format!("{name} must be {range}, got {value}")).into());
        }
    }
    let federation = recipe.federation.clone().unwrap_or_default();
    if federation.keys > 0 && args.stale > federation.max_age {
        let reason = format!(
            "--stale {} makes all keys older than federation.max_age, {}: none would be used",
            args.stale, federation.max_age
        );
        return Err(Usage(reason).into());
    }
    let names: Vec<String> = (0..args.data.len()).map(|number| format!("site-{}", number + 1)).collect();
    let named = |data: &PathBuf| Site::named(&recipe, std::slice::from_ref(data), Some("site"));
    args.data.iter().try_for_each(|data| named(data).map(|_| ()))?;
    let digests = |data: &PathBuf| -> Result<Vec<String>> {
        Ok(Manifest::read(data)?.shards.into_iter().map(|shard| shard.sha256).collect())
    };
    let settings = json!({
        "recipe": recipe.to_toml(), "data": args.data.iter().map(digests).collect::<Result<Vec<_>>>()?,
        "stale": args.stale, "lost": args.lost, "uneven": args.uneven,
    });
    let simulation = Simulation::hold(&args.out, &settings, common)?;
    if Global::is_at(&simulation.out) {
        simulation.finish()?;
        let mut summary = described(&args.out, &Global::read(&args.out)?);
        summary.text += &format!(", {DONE_BEFORE}");
        summary.json["done_before"] = true.into();
        return Ok(summary);
    }
    let sites: Vec<Site<Source>> = (0..)
        .zip(args.data.iter().zip(&names))
        .map(|(number, (data, name))| {
            let share = args.uneven.powi(number);
            Site::open(&recipe, std::slice::from_ref(data), Some(name), share, ui)
        })
        .collect::<Result<_>>()?;
    let place = super::place(common, ui)?;
    let states: Vec<State> = sites
        .iter()
        .map(|site| State::hold(&simulation.out.join(STATES).join(&site.name), site))
        .collect::<Result<_>>()?;
    let mut globals: BTreeMap<u32, Global> = simulation.rounds(args.stale)?;
    if globals.is_empty() {
        let mut global = sites[0].begin(&place, ui)?;
        simulation.keep(&mut global)?;
        globals.insert(0, global);
    }
    let bar = ui.bar("rounds", invar_cli::ui::Unit::Items);
    bar.set_total(u64::from(federation.rounds));
    let muted = ui.muted();
    while let Some((&done, global)) = globals.last_key_value().filter(|(done, _)| **done < federation.rounds) {
        if bar.is_cancelled() {
            return Err(Interrupted.into());
        }
        let round = done + 1;
        let lost = lost(recipe.seed, round, sites.len(), args.lost);
        let none = Bank::default();
        // The bank of the round before is one round old.
        let bank = round.checked_sub(args.stale).and_then(|of| globals.get(&of)).map_or(&none, |global| &global.bank);
        let (mut updates, mut bytes) = (vec![], vec![]);
        for (number, site) in sites.iter().enumerate().filter(|(number, _)| !lost.contains(number)) {
            let scratch = simulation.out.join(UPDATE);
            let mut update = site.step(global, bank, Some(&states[number]), &place, &muted)?;
            // Through files, as between machines.
            let clear = || fs::remove_dir_all(&scratch).or_else(gone);
            clear().and_then(|()| fs::create_dir_all(&scratch)).with_context(|| scratch.display().to_string())?;
            update.write(&scratch)?;
            bytes.push(size_of(&scratch, &update)?);
            updates.push((scratch.clone(), Update::read(&scratch)?));
            clear().with_context(|| scratch.display().to_string())?;
        }
        let Merge { global: mut next, refused } = merge(global, updates, &bytes, env!("CARGO_PKG_VERSION"))?;
        if let Some(refused) = refused.into_iter().next() {
            return Err(refused.into());
        }
        let line = line_of(&next, bank, &lost.iter().map(|&site| names[site].as_str()).collect::<Vec<_>>(), args.stale);
        // The round itself last: what is killed before it is there does the round again, line and all.
        simulation.log(round, &line)?;
        simulation.keep(&mut next)?;
        let mut present = states.iter().enumerate().filter(|(number, _)| !lost.contains(number));
        present.try_for_each(|(_, state)| state.tidy(round))?;
        bar.advance(1);
        bar.message(&in_words(&next));
        ui.detail(&format!("round {round}: {}", in_words(&next)));
        globals.insert(round, next);
        globals.retain(|of, _| of + args.stale > round);
        simulation.tidy(&globals)?;
    }
    drop(bar);
    let Some((_, mut last)) = globals.pop_last() else { bail!("no round was done") };
    last.write(&simulation.out)?;
    simulation.finish()?;
    let mut summary = described(&args.out, &last);
    let sent: u64 = last.facts.merged.iter().map(|site| site.bytes).sum();
    summary.text += &format!(
        "\n  {} bytes sent in the last round; each site was given {}; {} has a line for each round",
        thousands(sent),
        thousands(given_bytes(&args.out)),
        args.out.join(LOG).display()
    );
    Ok(summary)
}

/// What a site is given in a round: weights and bank.
fn given_bytes(global: &Path) -> u64 {
    [Global::MODEL, Global::BANK]
        .iter()
        .filter_map(|file| fs::metadata(global.join(file)).ok())
        .map(|file| file.len())
        .sum()
}

/// In every other round, a share of the sites, at least one of them, and never all.
fn lost(run_seed: u64, round: u32, num_sites: usize, share: f64) -> HashSet<usize> {
    if share == 0.0 || !round.is_multiple_of(2) || num_sites < 2 {
        return HashSet::new();
    }
    let number = ((share * num_sites as f64).round() as usize).clamp(1, num_sites - 1);
    let order = Permutation::new(num_sites as u64, seed::mix(run_seed, u64::from(round)));
    (0..number as u64).map(|place| order.get(place) as usize).collect()
}

/// The line of a round.
fn line_of(global: &Global, bank: &Bank, lost: &[&str], stale: u32) -> Value {
    let facts = &global.facts;
    json!({
        "round": facts.round, "sites": facts.merged, "lost": lost, "bank_keys": bank.len(), "stale": stale,
        "bank_age": mean_age(bank, facts.round), "model_sha256": facts.model_sha256,
    })
}

fn in_words(global: &Global) -> String {
    let sites = &global.facts.merged;
    let mean =
        |of: fn(&invar_federation::Contribution) -> f64| sites.iter().map(|site| site.weight * of(site)).sum::<f64>();
    format!("loss {:.3}, sites {:.3} from their average", mean(|site| site.loss), mean(|site| site.divergence))
}

/// The files of a simulation, by their paths inside its directory.
fn written(out: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files: Vec<PathBuf> = Global::files().into_iter().chain([LOG.into(), SETTINGS.into()]).collect();
    for (directory, is_ours) in [(ROUNDS, is_of_global as fn(&str) -> bool), (STATES, State::is_file)] {
        for inner in names(&out.join(directory))? {
            let inner = Path::new(directory).join(inner);
            files.extend(names(&out.join(&inner))?.iter().filter(|name| is_ours(name)).map(|name| inner.join(name)));
        }
    }
    files.retain(|file| out.join(file).is_file());
    Ok(files)
}

fn is_of_global(name: &str) -> bool {
    Global::files().iter().any(|file| file == Path::new(name))
}

/// Names in a directory; none if it is not there, or is a file.
fn names(directory: &Path) -> io::Result<Vec<String>> {
    match fs::read_dir(directory) {
        Ok(entries) => entries.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect(),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Ok(vec![]),
        Err(error) => gone(error).map(|()| vec![]),
    }
}

/// The settings of the simulation in a directory; `None` if there are none.
fn settings_at(directory: &Path) -> Result<Option<Value>> {
    let path = directory.join(SETTINGS);
    let at = || path.display().to_string();
    match fs::read(&path) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes).map_err(|error| BadInput(format!("{}: {error}", at())))?)),
        Err(error) => gone(error).with_context(at).map(|()| None),
    }
}

fn gone(error: io::Error) -> io::Result<()> {
    if error.kind() == io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

impl Simulation {
    /// Holds the directory: an empty one, or one of the same simulation. Another one stays as it is until this one is done.
    fn hold(out: &Path, settings: &Value, common: &Common) -> Result<Self> {
        let at = || out.display().to_string();
        let refuse = |reason: String| Err(Usage(format!("{}: {reason}", at())).into());
        if out.exists() && !out.is_dir() {
            return refuse("exists already and is no directory".into());
        }
        let lock = Lock::directory(out).with_context(at)?;
        let replacement = Replacement::of(out);
        replacement.recover(Path::new(Global::FACTS)).with_context(at)?;
        let replacement = match settings_at(out)? {
            Some(found) if found == *settings => None,
            Some(_) if common.force => Some(replacement),
            Some(_) => return refuse("holds another simulation (--force replaces it)".into()),
            None => match replacement.entries().with_context(at)?.first() {
                None => None,
                Some(other) => {
                    let name = other.file_name().unwrap_or_default().display();
                    return refuse(format!("holds {name}, which no simulation wrote: choose another"));
                }
            },
        };
        let at_work = replacement.as_ref().map_or(out, Replacement::path).to_owned();
        if settings_at(&at_work)?.as_ref() != Some(settings) {
            if let Some(replacement) = &replacement {
                replacement.begin().with_context(at)?;
            }
            atomic::write(at_work.join(SETTINGS), &serde_json::to_vec_pretty(settings)?).with_context(at)?;
        }
        Ok(Self { out: at_work, replaces: replacement.map(|replacement| (replacement, out.to_owned())), _lock: lock })
    }

    /// Puts the simulation in the place of the one that it replaces.
    fn finish(&self) -> Result<()> {
        let Some((replacement, out)) = &self.replaces else { return Ok(()) };
        let committed = written(out).and_then(|old| replacement.commit(&old, Path::new(Global::FACTS)));
        committed.with_context(|| out.display().to_string())
    }

    fn round(&self, round: u32) -> PathBuf {
        self.out.join(ROUNDS).join(format!("{round:05}"))
    }

    /// The newest rounds that are there.
    fn rounds(&self, number: u32) -> Result<BTreeMap<u32, Global>> {
        let entries = match fs::read_dir(self.out.join(ROUNDS)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
            Err(error) => return Err(error).with_context(|| self.out.join(ROUNDS).display().to_string()),
        };
        let mut rounds: Vec<u32> =
            entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
        rounds.sort_unstable_by(|a, b| b.cmp(a));
        rounds.truncate(number.max(1) as usize);
        rounds.into_iter().map(|round| Ok((round, Global::read(&self.round(round))?))).collect()
    }

    /// Writes a round: whole or not at all.
    fn keep(&self, global: &mut Global) -> Result<()> {
        let directory = self.round(global.facts.round);
        let partial = self.out.join(ROUNDS).join(".partial");
        let at = || directory.display().to_string();
        fs::remove_dir_all(&partial).or_else(gone).and_then(|()| fs::create_dir_all(&partial)).with_context(at)?;
        global.write(&partial)?;
        fs::rename(&partial, &directory).with_context(at)
    }

    /// Adds the line of a round; one that a killed run wrote of a round that is done again is replaced.
    fn log(&self, round: u32, line: &Value) -> Result<()> {
        let path = self.out.join(LOG);
        let at = || path.display().to_string();
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) => gone(error).map(|()| String::new()).with_context(at)?,
        };
        let is_before = |line: &&str| {
            serde_json::from_str::<Value>(line).is_ok_and(|line| line["round"].as_u64() < Some(u64::from(round)))
        };
        let mut lines: Vec<String> = text.lines().filter(is_before).map(str::to_owned).collect();
        lines.push(line.to_string());
        atomic::write(&path, (lines.join("\n") + "\n").as_bytes()).with_context(at)
    }

    /// Removes rounds that nothing goes on from.
    fn tidy(&self, needed: &BTreeMap<u32, Global>) -> Result<()> {
        let Some((&first, _)) = needed.first_key_value() else { return Ok(()) };
        for round in 0..first {
            let directory = self.round(round);
            fs::remove_dir_all(&directory).or_else(gone).with_context(|| directory.display().to_string())?;
        }
        Ok(())
    }
}
