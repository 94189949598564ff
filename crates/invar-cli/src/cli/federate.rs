use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};

/// `invar federate`
#[derive(Subcommand, Debug)]
#[command(after_help = "One round, at three sites and a server:
  invar federate init reads/federated --data any --out rounds/0
  invar federate step reads/federated --data A --global rounds/0 --site A --state state-A --out updates/A
  invar federate step reads/federated --data B --global rounds/0 --site B --state state-B --out updates/B
  invar federate merge updates/A updates/B --global rounds/0 --out rounds/1
  invar embed --model rounds/1 --data A --out embeddings
What is sent, and what it gives away: docs/federation.md.")]
pub enum Federate {
    /// Make the model that all sites begin with
    Init(FederateInit),
    /// Train at a site for some steps, from the global model: what an engine or a cron job calls
    Step(FederateStep),
    /// Average the updates of a round, and collect their keys
    Merge(FederateMerge),
    /// Train at several sites in one process, for papers and tests
    Simulate(FederateSimulate),
    /// Join a Flower SuperLink as a node, and do the steps that it asks for
    Client(FederateClient),
    /// Measure how well samples that were trained on can be told from others by what a site sends
    Membership(FederateMembership),
}

impl Federate {
    /// The directory that it writes.
    pub fn out(&self) -> Option<&Path> {
        match self {
            Self::Init(args) => Some(&args.out),
            Self::Step(args) => Some(&args.out),
            Self::Merge(args) => Some(&args.out),
            Self::Simulate(args) => Some(&args.out),
            Self::Client(args) => Some(&args.state),
            Self::Membership(_) => None,
        }
    }

    /// What it reads.
    pub fn inputs(&self) -> Vec<PathBuf> {
        match self {
            Self::Init(args) => args.data.clone(),
            Self::Step(args) => args.own.data.iter().chain([&args.global]).cloned().collect(),
            Self::Merge(args) => args.updates.iter().chain([&args.global]).cloned().collect(),
            Self::Simulate(args) => args.data.clone(),
            Self::Client(args) => args.own.data.clone(),
            Self::Membership(args) => args.members.iter().chain(&args.others).cloned().collect(),
        }
    }
}

/// The recipe that all sites train.
#[derive(Args, Debug)]
pub struct FederateRecipe {
    /// A recipe file, or the name of a built-in one: the same at all sites
    pub recipe: String,
    /// Override a key of the recipe
    #[arg(long, value_name = "KEY=VALUE")]
    pub set: Vec<String>,
}

/// A site, and what it trains on.
#[derive(Args, Debug)]
pub struct FederateSite {
    /// The recipe.
    #[command(flatten)]
    pub recipe: FederateRecipe,
    /// Dataset directory; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// Name of the site, unlike that of any other [default: site- and the first digits of a digest of the data]
    #[arg(long, value_name = "NAME")]
    pub site: Option<String>,
    /// List what an update holds, byte by byte
    #[arg(long)]
    pub explain_update: bool,
}

/// `invar federate init`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar federate init reads/federated --data data --out rounds/0
  invar federate init mine.toml --data data --out rounds/0 --set federation.rounds=50
The weights are drawn from the recipe's seed. Of the data only the shape of a view is used: those of any site will do.")]
pub struct FederateInit {
    /// The recipe.
    #[command(flatten)]
    pub recipe: FederateRecipe,
    /// Dataset directory; several are combined into one
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The directory of the global model to create
    #[arg(long, value_name = "GLOBAL")]
    pub out: PathBuf,
}

/// `invar federate step`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar federate step reads/federated --data data --global rounds/3 --site lab-1 --state state --out update
  invar federate step reads/federated --data data --global rounds/3 --site lab-1 --state state --out update --explain-update
The state is what a site keeps for itself from round to round: its optimizer, its batch norms where federation.batch_norms is
local, and how often it has sent an update with noise. Without it the optimizer begins anew in each round.")]
pub struct FederateStep {
    /// What the site trains, and on what.
    #[command(flatten)]
    pub own: FederateSite,
    /// The global model of the round before
    #[arg(long, value_name = "GLOBAL")]
    pub global: PathBuf,
    /// Keys of all sites [default: those of GLOBAL]
    #[arg(long, value_name = "BANK")]
    pub bank: Option<PathBuf>,
    /// Directory of what the site keeps from round to round
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// The directory of the update to create
    #[arg(long, value_name = "UPDATE")]
    pub out: PathBuf,
}

/// `invar federate merge`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar federate merge updates/A updates/B updates/C --global rounds/0 --out rounds/1
  invar federate merge updates/* --global rounds/1 --out rounds/2 --skip-refused
Weights are averaged by the sites' number of samples (FedAvg), with federation.server_momentum of the recipe. The order of the
updates changes nothing.")]
pub struct FederateMerge {
    /// Updates of the round, as written by `invar federate step`
    #[arg(required = true, value_name = "UPDATE")]
    pub updates: Vec<PathBuf>,
    /// The global model that they began with
    #[arg(long, value_name = "GLOBAL")]
    pub global: PathBuf,
    /// The directory of the next global model to create
    #[arg(long, value_name = "GLOBAL2")]
    pub out: PathBuf,
    /// Go on without updates that cannot be merged, and name them, instead of stopping there
    #[arg(long)]
    pub skip_refused: bool,
}

/// `invar federate simulate`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar federate simulate reads/federated --data A --data B --data C --out run
  invar federate simulate reads/federated --data A --data B --data C --out no-bank --set federation.keys=0
  invar federate simulate reads/federated --data A --data B --data C --out stale --stale 10
  invar federate simulate reads/federated --data A --data B --data C --out lossy --lost 0.25
Each --data is a site. RUN is the global model after the last round, with rounds.jsonl, a line for each round; it is a model like
others: `invar embed --model` takes it. A run that was interrupted goes on after the last round that was done.")]
pub struct FederateSimulate {
    /// The recipe.
    #[command(flatten)]
    pub recipe: FederateRecipe,
    /// Dataset directory of a site
    #[arg(long, required = true, value_name = "DATA")]
    pub data: Vec<PathBuf>,
    /// The directory to create or continue
    #[arg(long, value_name = "RUN")]
    pub out: PathBuf,
    /// The bank that a site is given is so many rounds old; 1 is that of the round before
    #[arg(long, default_value_t = 1, value_name = "ROUNDS", value_parser = clap::value_parser!(u32).range(1..))]
    pub stale: u32,
    /// Share of the sites, at least one of them, that is lost in every other round
    #[arg(long, default_value_t = 0.0, value_name = "SHARE")]
    pub lost: f64,
    /// Each site has this share of the samples that the one before it uses
    #[arg(long, default_value_t = 1.0, value_name = "SHARE")]
    pub uneven: f64,
}

/// `invar federate client`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  ssh-keygen -t ecdsa -b 384 -N '' -f lab-1
  invar federate client reads/federated --data data --site lab-1 --state state --key lab-1 \\
      --superlink https://server.example:8000 --root-certificates ca.pem
Connections go out only. The public key, lab-1.pub, is what the server's people register (`flwr supernode register`). What waits for
an answer survives a restart: of this program, if it is there again within a minute, and of the SuperLink. The server app is in
workflows/flower.")]
pub struct FederateClient {
    /// What the site trains, and on what.
    #[command(flatten)]
    pub own: FederateSite,
    /// Address of the SuperLink
    #[arg(long, value_name = "URL")]
    pub superlink: String,
    /// PEM file of the authorities whose certificates are trusted, and no others [default: those of the system]
    #[arg(long, value_name = "PEM")]
    pub root_certificates: Option<PathBuf>,
    /// File of the node's private key, on the curve P-384, as `ssh-keygen` or openssl make it
    #[arg(long, value_name = "KEY")]
    pub key: PathBuf,
    /// Directory of what the site keeps from round to round
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Take an address without TLS: anybody on the way can read and change everything
    #[arg(long)]
    pub insecure: bool,
}

/// `invar federate membership`
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  invar federate membership reads/federated --update update --global rounds/3 --members data --others held-out
The members are samples that the site trained on, the others are samples like them that it did not. For both it is asked: how
much lower is the loss of the sample's own pair under the update's weights than under the global ones, and how near is the
sample to the nearest of the update's keys? The area under the ROC curve of each says how well the two kinds are told apart: 0.5
is not at all, 1 is perfectly.")]
pub struct FederateMembership {
    /// The recipe that the update was made with.
    #[command(flatten)]
    pub recipe: FederateRecipe,
    /// What a site sent
    #[arg(long, value_name = "UPDATE")]
    pub update: PathBuf,
    /// The global model that it began with
    #[arg(long, value_name = "GLOBAL")]
    pub global: PathBuf,
    /// Samples that the site trained on
    #[arg(long, required = true, value_name = "DATA")]
    pub members: Vec<PathBuf>,
    /// Samples that it did not train on
    #[arg(long, required = true, value_name = "DATA")]
    pub others: Vec<PathBuf>,
    /// Number of samples of each kind
    #[arg(long, default_value_t = 1000, value_name = "N")]
    pub samples: usize,
}
