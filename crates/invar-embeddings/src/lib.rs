//! Embeddings in Parquet: schema, writer, reader and SQL.
