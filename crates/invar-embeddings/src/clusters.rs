use std::path::Path;

use invar_dataset::{Column, ColumnData, atomic::AtomicFile};
use polars::prelude as pl;
use serde_json::Value;

use crate::{
    EmbeddingsError, KEY, Provenance, frame,
    parquet::{self, Footer, FrameWriter},
    reader::push_keys,
};

const KIND: &str = "clusters";
/// All but the key, which tables from older versions lack.
const COLUMNS: [&str; 6] = ["id", "cluster", "probability", "distance", "x", "y"];

/// CLUSTERS: a cluster and a place in the plane for every row of an EMB, in its order. Parquet columns `id`, `key`
/// (i64), `cluster` (i32, -1 = noise), `probability`, `distance`, `x`, `y` (f32).
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterTable {
    /// Name of each row.
    pub ids: Vec<String>,
    /// Key of each row, for joining with the embeddings; `None` if these have none.
    pub keys: Option<Vec<i64>>,
    /// Cluster of each row; -1 is noise.
    pub clusters: Vec<i32>,
    /// How confident the assignment is, by the method's own measure, `[0, 1]`.
    pub probability: Vec<f32>,
    /// Euclidean distance of the row to the mean of its cluster; for noise, to the nearest mean.
    pub distance: Vec<f32>,
    /// First coordinate of the projection.
    pub x: Vec<f32>,
    /// Second coordinate of the projection.
    pub y: Vec<f32>,
    /// The provenance of the embeddings that were clustered.
    pub provenance: Provenance,
    /// The EMB that was clustered, as a path relative to the directory of the table; `None` in tables from older
    /// versions.
    pub embeddings: Option<String>,
    /// Name of the method (`kmeans`).
    pub method: String,
    /// Every parameter of the method, including defaults.
    pub parameters: Value,
    /// What the method found besides the clusters: the candidates that it tried, how reproducible each cluster is. Null
    /// for methods that find nothing more, and in tables from older versions.
    pub found: Value,
}

impl ClusterTable {
    /// Writes it to `path`, atomically. Method and parameters go into the provenance as `extra.clustering`.
    ///
    /// # Errors
    /// If the columns differ in length, or the disk is full.
    pub fn write(&self, path: &Path) -> Result<u64, EmbeddingsError> {
        self.write_to(AtomicFile::create(path).map_err(EmbeddingsError::io(path))?)
    }

    /// The same, to a file that was already begun, so that nobody else writes it while the clusters are computed.
    ///
    /// # Errors
    /// As [`ClusterTable::write`].
    pub fn write_to(&self, file: AtomicFile) -> Result<u64, EmbeddingsError> {
        let lengths = [self.clusters.len(), self.probability.len(), self.distance.len(), self.x.len(), self.y.len()];
        let of_keys = self.keys.iter().map(|keys| (KEY, keys.len()));
        for (name, found) in COLUMNS[1..].iter().copied().zip(lengths).chain(of_keys) {
            if found != self.ids.len() {
                return Err(EmbeddingsError::Rows {
                    what: format!("length of column {name:?}"),
                    expected: self.ids.len().to_string(),
                    found: found.to_string(),
                });
            }
        }
        let float = |name: &str, values: &[f32]| -> pl::Column {
            <pl::Series as pl::NamedFrom<_, _>>::new(name.into(), values).into()
        };
        let ids =
            Column { name: "id".into(), data: ColumnData::Str(self.ids.iter().map(|id| Some(id.clone())).collect()) };
        let keys = self.keys.iter().map(|keys| {
            let data = ColumnData::I64(keys.iter().copied().map(Some).collect());
            frame::to_polars(&Column { name: KEY.into(), data })
        });
        let mut columns = vec![frame::to_polars(&ids)];
        columns.extend(keys);
        columns.extend([
            <pl::Series as pl::NamedFrom<_, _>>::new("cluster".into(), self.clusters.as_slice()).into(),
            float("probability", &self.probability),
            float("distance", &self.distance),
            float("x", &self.x),
            float("y", &self.y),
        ]);
        let mut provenance = self.provenance.clone();
        let clustering = serde_json::json!({
            "method": self.method, "parameters": self.parameters, "found": self.found, "embeddings": self.embeddings,
        });
        provenance.extra.insert("clustering".into(), clustering);
        let frame = pl::DataFrame::new(self.ids.len(), columns).map_err(EmbeddingsError::parquet(file.path()))?;
        let mut writer = FrameWriter::over(file, frame.schema(), KIND, &provenance)?;
        writer.write(&frame)?;
        writer.finish()
    }

    /// Reads it.
    ///
    /// # Errors
    /// If the file is damaged or not a table of clusters.
    pub fn read(path: &Path) -> Result<Self, EmbeddingsError> {
        let footer = Footer::read(path)?;
        let corrupt = |what: &str, expected: &str, found: String| EmbeddingsError::Corrupt {
            path: path.into(),
            what: what.into(),
            expected: expected.into(),
            found,
        };
        let (Some(KIND), Some(mut provenance)) = (footer.kind.as_deref(), footer.provenance.clone()) else {
            return Err(corrupt("kind of file", KIND, footer.kind.unwrap_or("none".into())));
        };
        let mut clustering = provenance.extra.remove("clustering").unwrap_or_default();
        let Some(method) = clustering["method"].as_str().map(str::to_owned) else {
            return Err(corrupt("method", "a name", clustering["method"].to_string()));
        };
        let has_keys = footer.column(KEY) == Some(&pl::DataType::Int64);
        let names: Vec<&str> = COLUMNS.into_iter().chain(has_keys.then_some(KEY)).collect();
        let frame = parquet::read(path, Some(&names))?;
        let column = |name: &str| frame.column(name).map_err(EmbeddingsError::parquet(path));
        let null = |name: &str| corrupt(&format!("column {name:?}"), "a value in every row", "null".into());
        let floats = |name: &str| -> Result<Vec<f32>, EmbeddingsError> {
            let values = column(name)?.f32().map_err(EmbeddingsError::parquet(path))?;
            values.iter().collect::<Option<_>>().ok_or_else(|| null(name))
        };
        let ids = column("id")?.str().map_err(EmbeddingsError::parquet(path))?;
        let mut keys = has_keys.then(Vec::new);
        if let Some(keys) = &mut keys {
            push_keys(column(KEY)?, path, keys)?;
        }
        let clusters = column("cluster")?.i32().map_err(EmbeddingsError::parquet(path))?;
        Ok(Self {
            ids: ids.iter().map(|id| id.map(str::to_owned)).collect::<Option<_>>().ok_or_else(|| null("id"))?,
            keys,
            clusters: clusters.iter().collect::<Option<_>>().ok_or_else(|| null("cluster"))?,
            probability: floats("probability")?,
            distance: floats("distance")?,
            x: floats("x")?,
            y: floats("y")?,
            provenance,
            embeddings: clustering["embeddings"].as_str().map(str::to_owned),
            method,
            parameters: clustering["parameters"].take(),
            found: clustering["found"].take(),
        })
    }
}
