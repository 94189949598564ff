//! The vocabulary of Invar.
//!
//! ```text
//! Dataset  ->  PairSource (views)  ->  Encoder  ->  Loss  ->  Trainer  ->  EmbeddingWriter  ->  analysis
//! ```
//!
//! A *domain* (reads, micrographs, ...) turns instrument files into a [`Dataset`] of samples and draws [`Pair`]s of
//! [`View`]s from it: two looks at one sample that the encoder must learn to recognise as the same. The domain ends at
//! [`PairSource`] (training) and [`ViewSource`] (embedding); nothing behind them knows what a read or a grain is.
//!
//! Everything random is a pure function of `(index, seed)`: see [`seed`] and [`order`].
//!
//! ```
//! use invar_dataset::order::BatchOrder;
//! // 10 samples, batches of 4: each epoch is 2 whole batches in an order of its own.
//! let order = BatchOrder::new(10, 4, 42).unwrap();
//! assert_eq!(order.batch(0).len(), 4);
//! assert_eq!(order.batch(0), order.batch(0));
//! assert_ne!(order.batch(0), order.batch(1));
//! ```

pub mod atomic;
pub mod ingest;
pub mod input;
pub mod keys;
pub mod lock;
pub mod manifest;
pub mod neighborhood;
pub mod object;
pub mod order;
pub mod path;
pub mod run_dir;
pub mod sections;
pub mod seed;
pub mod sheet;
pub mod split;

mod chosen;
mod classified;
mod dataset;
mod error;
mod fault;
mod figures;
mod guard;
mod host;
mod labelled;
mod many_views;
mod moved;
mod pair;
mod progress;
mod replacement;
mod sample;
mod table;
mod view;

pub use chosen::Chosen;
pub use classified::Classified;
pub use dataset::{Dataset, ViewSource};
pub use error::DatasetError;
pub use fault::{Fault, FaultClass};
pub use figures::{FigureRule, GroupFigure, GroupFigures};
pub use guard::guarded;
pub use host::{check_memory, forget_peak_memory, host_memory, peak_memory, process_cpu_s, process_memory};
pub use labelled::Labelled;
pub use many_views::ManyViews;
pub use moved::{Moved, drawn_symmetry};
pub use pair::{Link, Pair, PairSource, Related};
pub use progress::{NoProgress, Progress};
pub use replacement::Replacement;
pub use run_dir::RunDir;
pub use sample::{GroupId, SampleId, SampleName};
pub use table::{Column, ColumnData, SampleTable, Shortcuts};
pub use view::{NodeFeatures, Surroundings, View, ViewShape};
