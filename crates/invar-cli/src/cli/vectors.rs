//! Which column of a Parquet file holds the vectors: options of every command that reads some.

use clap::Args;

/// Which column of a Parquet file holds the vectors.
#[derive(Args, Clone, Debug, Default)]
pub struct Vectors {
    /// The column of the vectors in a Parquet file from another program: lists of numbers, all of one length [default:
    /// embedding]
    #[arg(long, value_name = "NAME")]
    pub column: Option<String>,
    /// Leave out rows whose vector is missing, or has a missing, NaN or infinite value, instead of rejecting the file
    #[arg(long)]
    pub drop_bad_rows: bool,
}

impl Vectors {
    /// Name of the column of the vectors.
    pub fn column(&self) -> &str {
        self.column.as_deref().unwrap_or(invar_embeddings::EMBEDDING)
    }

    /// The reader's form of it.
    pub fn to_reader(&self) -> invar_embeddings::Vectors {
        invar_embeddings::Vectors { column: self.column.clone(), drop_bad_rows: self.drop_bad_rows }
    }
}
