//! Embeddings in Parquet: schema, writer, reader and SQL.
//!
//! ```text
//! EMB = one file, name.parquet            or a directory
//!                                         part-00000.parquet   65,536 rows, whole or absent
//!                                         part-00001.parquet   the last part lists those before it: the end marker
//!                                         or, of tasks that write it together, each as such a directory of its own,
//!                                         part-0001-of-0016-00000.parquet ...   whole when all shards are
//!
//! columns         id | source | key | the domain's own ... | embedding FixedSizeList(f32, D)
//! file metadata   invar.kind, invar.schema_version, invar.recipe, invar.model_sha256, invar.seed, ...
//! ```
//!
//! A part is written under a temporary name and renamed, so a killed run keeps every finished part;
//! [`EmbeddingWriter::resume`] continues after the last. A single file is collected in the same way in hidden parts
//! next to it, and appears when complete.
//!
//! ```
//! use invar_dataset::{Column, ColumnData};
//! use invar_embeddings::{EmbeddingWriter, Embeddings, Provenance, Query};
//!
//! let dir = tempfile::tempdir()?;
//! let path = dir.path().join("reads.parquet");
//! let ids = Column { name: "id".into(), data: ColumnData::Str(vec![Some("r1".into()), Some("r2".into())]) };
//! let mut writer = EmbeddingWriter::create(&path, Provenance::new("0.1.0", 2))?;
//! writer.write(&[ids], &[1.0, 0.0, 0.6, 0.8])?;
//! writer.finish(&Default::default())?;
//!
//! let embeddings = Embeddings::read(&path)?;
//! assert_eq!((embeddings.dim, embeddings.ids.len()), (2, 2));
//! let table = Query::new(&path)?.run("SELECT COUNT(*) AS n FROM reads")?;
//! assert_eq!(table.to_csv(), "n\n2\n");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod answers;
mod arrow;
mod bank;
mod clusters;
mod error;
mod facts;
mod frame;
mod half;
mod info;
mod layout;
mod names;
mod parquet;
mod provenance;
mod query;
mod reader;
mod scan;
mod shard;
mod sink;
mod table;
mod writer;

pub use answers::{Answers, Facts, part_files};
pub use arrow::{ArrowArrayStream, stream};
pub use bank::Bank;
pub use clusters::ClusterTable;
pub use error::EmbeddingsError;
pub use facts::write_facts;
pub use info::{ColumnInfo, Info, Kind, dimension, info};
pub use layout::has_parts;
pub use names::names;
pub use provenance::{InputChecksum, Precision, Provenance, SCHEMA_VERSION};
pub use query::{Query, rows_where, table_name};
pub use reader::{Embeddings, Vectors, column};
pub use shard::Shard;
pub use table::{Form, Table};
pub use writer::{EmbeddingWriter, Summary};

/// Name of the column that holds the embedding.
pub const EMBEDDING: &str = "embedding";

/// Name of the column that identifies rows, used to join tables: see [`invar_dataset::keys`].
pub const KEY: &str = "key";
