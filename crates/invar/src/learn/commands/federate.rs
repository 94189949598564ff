//! `invar federate`: one model, trained at several sites.

mod client;
mod membership;
mod simulate;
mod site;
mod state;

use std::rc::Rc;

use anyhow::Result;
use invar_cli::{
    cli::{Common, Federate, FederateInit, FederateRecipe, FederateStep},
    commands::{
        federate::{GLOBALS, described, described_update},
        listed::Listed,
    },
    exit::Usage,
    ui::{DONE_BEFORE, Summary, Ui},
};
use invar_embeddings::Bank;
use invar_federation::{Global, Update, UpdateFacts};
use invar_torch::ProcessGroup;
use invar_train::Place;

use self::{site::Site, state::State};
use super::train;
use crate::recipe::Recipe;

/// Directories of updates.
const UPDATES: Listed = Listed { command: "invar federate step", list: "files.json" };

/// `invar federate`
pub fn run(command: &Federate, common: &Common, ui: &Ui) -> Result<Summary> {
    match command {
        Federate::Init(args) => init(args, common, ui),
        Federate::Step(args) => step(args, common, ui),
        Federate::Client(args) => client::run(args, common, ui),
        Federate::Simulate(args) => simulate::run(args, common, ui),
        Federate::Membership(args) => membership::run(args, common, ui),
        Federate::Merge(_) => unreachable!("it needs no networks"),
    }
}

/// The recipe that a command names.
fn recipe_of(args: &FederateRecipe, common: &Common) -> Result<Recipe> {
    Recipe::load(&args.recipe, &args.set, common.seed)
}

/// `invar federate init`
fn init(args: &FederateInit, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = recipe_of(&args.recipe, common)?;
    let out = GLOBALS.hold(&args.out, common)?;
    let site = Site::open(&recipe, &args.data, None, 1.0, ui)?;
    let mut global = site.begin(&place(common, ui)?, ui)?;
    out.write(|directory| Ok(global.write(directory)?))?;
    Ok(described(&args.out, &global))
}

/// `invar federate step`
fn step(args: &FederateStep, common: &Common, ui: &Ui) -> Result<Summary> {
    let recipe = recipe_of(&args.own.recipe, common)?;
    let global = Global::read(&args.global)?;
    let site = Site::named(&recipe, &args.own.data, args.own.site.as_deref())?;
    site.check(&global)?;
    if let Some(done) = done_before(args, &site, &global)? {
        return Ok(done);
    }
    let out = UPDATES.hold(&args.out, common)?;
    let bank = args.bank.as_deref().map(Bank::read).transpose()?;
    let state = args.state.as_deref().map(|directory| State::hold(directory, &site)).transpose()?;
    let site = site.with_data(&args.own.data, 1.0, ui)?;
    let bank = bank.as_ref().unwrap_or(&global.bank);
    let mut update = site.step(&global, bank, state.as_ref(), &place(common, ui)?, ui)?;
    out.write(|directory| Ok(update.write(directory)?))?;
    if let Some(state) = &state {
        state.tidy(update.facts.round)?;
    }
    described_update(&args.out, &update, args.own.explain_update)
}

/// The summary of an update that was made already.
fn done_before(args: &FederateStep, site: &Site, global: &Global) -> Result<Option<Summary>> {
    let Ok(facts) = Update::read_facts(&args.out) else { return Ok(None) };
    let UpdateFacts { site: name, round, global: from, recipe, .. } = &facts;
    let same = *name == site.name && *from == global.facts.model_sha256 && *recipe == global.facts.recipe;
    if !same || *round != global.facts.round + 1 {
        return Ok(None);
    }
    let mut summary = described_update(&args.out, &Update::read(&args.out)?, args.own.explain_update)?;
    summary.text += &format!(", {DONE_BEFORE}");
    summary.json["done_before"] = true.into();
    Ok(Some(summary))
}

/// The one process and the device that sites train on.
fn place(common: &Common, ui: &Ui) -> Result<Place> {
    if train::processes::launched()?.is_some() {
        return Err(
            Usage("federated training of a site takes one process: it was started as one of several".into()).into()
        );
    }
    Ok(Place { device: train::device(common, ui)?, group: Rc::new(ProcessGroup::solo()) })
}
