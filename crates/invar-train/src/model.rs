use std::{
    collections::HashMap,
    fs,
    path::{Path, PathBuf},
};

use invar_dataset::{RunDir, ViewShape};
use invar_nn::{Batch, Encoder, EncoderConfig, Features, Mode, Towers};
use serde::{Deserialize, Serialize};
use tch::{Device, Tensor, nn};

use crate::{
    Error, checkpoint,
    network::{TRUNK, hold_generator},
    optimizer::copy_named,
    step::host_rows,
};

/// A trained encoder, or several, of which one embeds. Heads are not included.
pub struct Model {
    towers: Towers,
    /// Which of them embeds.
    tower: usize,
    device: Device,
    header: Header,
    sha256: String,
}

/// The header of a model file.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Header {
    #[serde(flatten)]
    first: Tower,
    /// Models from before this key have one encoder.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    other_towers: Vec<Tower>,
    /// LibTorch's threads during training.
    threads: usize,
    trained_steps: u64,
    /// Models from before this key embed with the output of the last layer.
    #[serde(default)]
    features: Features,
}

/// An encoder and what it reads.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Tower {
    encoder: EncoderConfig,
    views: StoredShape,
}

/// [`ViewShape`], as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredShape {
    Dense(Vec<usize>),
    Tokens { vocabulary: usize },
    Graph { num_features: usize },
    Node { num_features: usize, hops: usize },
}

impl Model {
    /// Writes a model file, atomically, and returns its SHA-256 in hexadecimal. Only the `tensors` named `trunk.*` are
    /// kept.
    ///
    /// # Errors
    /// If writing fails.
    pub fn save(
        path: &Path,
        encoders: &[EncoderConfig],
        features: Features,
        views: &[ViewShape],
        threads: usize,
        trained_steps: u64,
        tensors: &[(String, Tensor)],
    ) -> Result<String, Error> {
        let tower =
            |(encoder, views): (&EncoderConfig, &ViewShape)| Tower { encoder: encoder.clone(), views: views.into() };
        let mut towers = encoders.iter().zip(views).map(tower);
        let first = towers.next().ok_or(invar_nn::Error::Towers { encoders: encoders.len(), shapes: views.len() })?;
        let header = Header { first, other_towers: towers.collect(), threads, trained_steps, features };
        let is_trunk = |name: &str| name.strip_prefix(TRUNK).is_some_and(|rest| rest.starts_with('.'));
        let trunk: Vec<(String, Tensor)> =
            tensors.iter().filter(|(name, _)| is_trunk(name)).map(|(n, t)| (n.clone(), t.shallow_clone())).collect();
        let bytes = checkpoint::write(path, &trunk, &header)?;
        Ok(checkpoint::digest(&bytes))
    }

    /// The model file of a run directory; any other path is taken to be a model file.
    pub fn path_of(path: &Path) -> PathBuf {
        if path.is_dir() { RunDir::new(path).model() } else { path.into() }
    }

    /// Reads a model file and puts the model on a device.
    ///
    /// # Errors
    /// If the file is damaged, its tensors do not match its encoder, or LibTorch fails.
    pub fn load(path: &Path, device: Device) -> Result<Self, Error> {
        invar_torch::caught(|| Self::read(path, device))?
    }

    fn read(path: &Path, device: Device) -> Result<Self, Error> {
        let bytes = fs::read(path).map_err(Error::io(path))?;
        let (tensors, header): (HashMap<String, Tensor>, Header) = checkpoint::parse(path, &bytes)?;
        let guard = hold_generator();
        let mut store = nn::VarStore::new(Device::Cpu);
        let (encoders, shapes): (Vec<EncoderConfig>, Vec<ViewShape>) =
            header.towers().map(|tower| (tower.encoder.clone(), tower.views.clone().into())).unzip();
        let towers = Towers::new(&(store.root() / TRUNK), &encoders, &shapes)?;
        drop(guard);
        for (name, own) in store.variables() {
            copy_named(&tensors, &name, &own).map_err(|found| Error::Corrupt {
                path: path.into(),
                what: "weights".into(),
                expected: format!(
                    "those of encoder {}",
                    encoders.iter().map(EncoderConfig::name).collect::<Vec<_>>().join(" and ")
                ),
                found,
            })?;
        }
        store.set_device(device);
        store.freeze();
        Ok(Self { towers, tower: 0, device, header, sha256: checkpoint::digest(&bytes) })
    }

    /// The same model, embedding views with another of its towers, 0-based; a newly read model uses the first.
    ///
    /// # Errors
    /// If it does not have that many towers.
    pub fn with_tower(mut self, tower: usize) -> Result<Self, Error> {
        let num_towers = self.header.towers().count();
        if tower >= num_towers {
            let expected = format!("below the model's number of encoders, {num_towers}");
            return Err(Error::Config { key: "tower", expected, found: tower.to_string() });
        }
        self.tower = tower;
        Ok(self)
    }

    /// The shape of the views it reads.
    pub fn view_shape(&self) -> ViewShape {
        let mut towers = self.header.towers();
        towers.nth(self.tower).unwrap_or_else(|| unreachable!("a tower that is there")).views.clone().into()
    }

    fn encoder(&self) -> &dyn Encoder {
        self.towers.get(self.tower).unwrap_or_else(|| unreachable!("a tower that is there"))
    }

    /// Which features of the encoder it embeds with.
    pub fn features(&self) -> Features {
        self.header.features
    }

    /// The same model, embedding with other features of its encoder.
    #[must_use]
    pub fn with_features(mut self, features: Features) -> Self {
        self.header.features = features;
        self
    }

    /// Dimension of its embeddings, `D`.
    pub fn dim(&self) -> usize {
        self.header.features.dim(self.encoder())
    }

    /// The device it computes on.
    pub fn device(&self) -> Device {
        self.device
    }

    /// SHA-256 of the model file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Embeds a batch: unit vectors `[B, D]`, row-major.
    ///
    /// # Errors
    /// If the batch does not have the model's shape, or LibTorch fails.
    pub fn encode(&self, batch: &Batch) -> Result<Vec<f32>, Error> {
        invar_torch::caught(|| {
            let _no_grad = tch::no_grad_guard();
            let encoded = self.encoder().encode(&batch.to_device(self.device), Mode::EMBED)?;
            host_rows(&self.header.features.of(&encoded))
        })?
    }
}

impl Header {
    fn towers(&self) -> impl Iterator<Item = &Tower> {
        [&self.first].into_iter().chain(&self.other_towers)
    }
}

impl From<&ViewShape> for StoredShape {
    fn from(shape: &ViewShape) -> Self {
        match shape {
            ViewShape::Dense(extents) => Self::Dense(extents.clone()),
            ViewShape::Tokens { vocabulary } => Self::Tokens { vocabulary: *vocabulary },
            ViewShape::Graph { num_features } => Self::Graph { num_features: *num_features },
            ViewShape::Node { num_features, hops } => Self::Node { num_features: *num_features, hops: *hops },
        }
    }
}

impl From<StoredShape> for ViewShape {
    fn from(shape: StoredShape) -> Self {
        match shape {
            StoredShape::Dense(extents) => Self::Dense(extents),
            StoredShape::Tokens { vocabulary } => Self::Tokens { vocabulary },
            StoredShape::Graph { num_features } => Self::Graph { num_features },
            StoredShape::Node { num_features, hops } => Self::Node { num_features, hops },
        }
    }
}
