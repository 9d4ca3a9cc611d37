//! Named architectures with sizes. A spec fixes the parameters' names, shapes and order, and so the flat vector that
//! is trained, masked and summed; the coordinator needs no more than this, and no training library.

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::check;
use crate::error::Invalid;
use crate::ids::Digest;
use crate::limits;

/// A model that every device can build.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelSpec {
    /// Names of the classes, in the order of the output.
    pub labels: Vec<String>,
    /// The architecture.
    pub family: Family,
}

/// The architectures of version 1.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Family {
    /// Hashed character n-grams, an embedding bag (sum, weights of Euclidean length 1) and a linear layer.
    TextBag {
        /// Rows of the embedding; an n-gram's row is its hash modulo this.
        buckets: u32,
        /// Columns of the embedding.
        dim: u32,
        /// Shortest n-gram, in characters.
        ngram_min: u32,
        /// Longest n-gram, in characters.
        ngram_max: u32,
    },
    /// Fully connected layers with ReLU between them.
    Mlp {
        /// Entries of one example.
        inputs: u32,
        /// Widths of the hidden layers.
        hidden: Vec<u32>,
    },
    /// Two 5x5 convolutions (padding 2) with ReLU and 2x2 max pooling, then two linear layers.
    Cnn {
        /// Rows of one image; a multiple of 4.
        height: u32,
        /// Columns of one image; a multiple of 4.
        width: u32,
        /// Channels of one image.
        channels: u32,
        /// Channels after the first convolution.
        conv1: u32,
        /// Channels after the second convolution.
        conv2: u32,
        /// Width of the hidden linear layer.
        hidden: u32,
    },
}

impl Family {
    /// The name that devices announce at check-in.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::TextBag { .. } => "text_bag",
            Self::Mlp { .. } => "mlp",
            Self::Cnn { .. } => "cnn",
        }
    }
}

/// One parameter: its name, its shape, and how a fresh model fills it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorSpec {
    /// Path of the parameter, such as `hidden.0.weight`.
    pub name: String,
    /// Shape; linear weights are `[in, out]`, convolutions `[out, in, rows, columns]`.
    pub shape: Vec<u32>,
    /// Initial values.
    pub init: Init,
}

/// How a fresh model fills a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Init {
    /// All zero.
    Zero,
    /// Uniform in ±sqrt(6 / fan_in) (He et al. 2015, for layers before a ReLU) of this fan-in.
    Uniform {
        /// Inputs of one output.
        fan_in: u32,
    },
    /// Uniform in ±1/sqrt(dim): rows of an embedding.
    Embedding {
        /// Columns of the embedding.
        dim: u32,
    },
}

impl TensorSpec {
    /// Number of entries.
    pub fn len(&self) -> u64 {
        self.shape.iter().map(|&side| u64::from(side)).product()
    }

    /// Whether the parameter has no entries at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl ModelSpec {
    /// Whether devices can build this model. Values that came over the wire are checked already.
    ///
    /// # Errors
    /// [`Invalid`] names the first field that is out of its range: labels (1 to [`limits::CLASSES`], distinct, each 1 to
    /// [`limits::TEXT_BYTES`] bytes), sizes (at least 1), n-grams (1 to 8 characters, shortest not above longest), image
    /// sides (multiples of 4), and the whole (at most [`limits::MODEL_ENTRIES`] entries).
    pub fn check(&self) -> Result<(), Invalid> {
        self.check_labels()?;
        match &self.family {
            Family::TextBag { buckets, dim, ngram_min, ngram_max } => {
                check::at_least_one("text_bag.buckets", *buckets)?;
                check::at_least_one("text_bag.dim", *dim)?;
                check::within("text_bag.ngram_min", *ngram_min, 1..=8)?;
                check::within("text_bag.ngram_max", *ngram_max, *ngram_min..=8)?;
            }
            Family::Mlp { inputs, hidden } => {
                check::at_least_one("mlp.inputs", *inputs)?;
                check::within("mlp.hidden", hidden.len(), 0..=limits::HIDDEN_LAYERS)?;
                hidden.iter().try_for_each(|&width| check::at_least_one("mlp.hidden", width))?;
            }
            Family::Cnn { height, width, channels, conv1, conv2, hidden } => {
                for (field, side) in [("cnn.height", *height), ("cnn.width", *width)] {
                    if side == 0 || side % 4 != 0 {
                        return Err(Invalid::new(field, format!("{side}; it is a multiple of 4, at least 4")));
                    }
                }
                check::at_least_one("cnn.channels", *channels)?;
                check::at_least_one("cnn.conv1", *conv1)?;
                check::at_least_one("cnn.conv2", *conv2)?;
                check::at_least_one("cnn.hidden", *hidden)?;
            }
        }
        let entries = self.entries();
        if entries > u128::from(limits::MODEL_ENTRIES) {
            let most = limits::MODEL_ENTRIES;
            return Err(Invalid::new("model", format!("{entries} parameters; a model has at most {most}")));
        }
        Ok(())
    }

    fn check_labels(&self) -> Result<(), Invalid> {
        check::within("labels", self.labels.len(), 1..=limits::CLASSES)?;
        let mut seen = std::collections::HashSet::with_capacity(self.labels.len());
        for label in &self.labels {
            check::text("labels", label, limits::TEXT_BYTES)?;
            if !seen.insert(label) {
                return Err(Invalid::new(
                    "labels",
                    format!("{label:?} stands there twice; names of classes are distinct"),
                ));
            }
        }
        Ok(())
    }

    /// [`Self::flat_len`] for sizes that nobody has checked yet; saturates. [`Self::tensors`] may only be asked after
    /// this has been found small.
    fn entries(&self) -> u128 {
        let linear = |from: u128, to: u128| from.saturating_mul(to).saturating_add(to);
        let classes = self.labels.len() as u128;
        match &self.family {
            Family::TextBag { buckets, dim, .. } => {
                u128::from(*buckets) * u128::from(*dim) + linear(u128::from(*dim), classes)
            }
            Family::Mlp { inputs, hidden } => {
                let mut from = u128::from(*inputs);
                let mut sum = 0_u128;
                for to in hidden.iter().map(|&width| u128::from(width)).chain([classes]) {
                    sum = sum.saturating_add(linear(from, to));
                    from = to;
                }
                sum
            }
            Family::Cnn { height, width, channels, conv1, conv2, hidden } => {
                let [channels, conv1, conv2, hidden] = [channels, conv1, conv2, hidden].map(|&size| u128::from(size));
                let flat = conv2.saturating_mul(u128::from(height / 4) * u128::from(width / 4));
                linear(channels * 25, conv1)
                    .saturating_add(linear(conv1 * 25, conv2))
                    .saturating_add(linear(flat, hidden))
                    .saturating_add(linear(hidden, classes))
            }
        }
    }

    /// Number of classes.
    pub fn classes(&self) -> u32 {
        u32::try_from(self.labels.len()).unwrap_or(u32::MAX)
    }

    /// Every parameter in flattening order.
    pub fn tensors(&self) -> Vec<TensorSpec> {
        let mut out = Vec::new();
        let mut linear = |name: &str, from: u32, to: u32| {
            out.push(TensorSpec {
                name: format!("{name}.weight"),
                shape: vec![from, to],
                init: Init::Uniform { fan_in: from },
            });
            out.push(TensorSpec { name: format!("{name}.bias"), shape: vec![to], init: Init::Zero });
        };
        match &self.family {
            Family::TextBag { buckets, dim, .. } => {
                linear("output", *dim, self.classes());
                out.insert(
                    0,
                    TensorSpec {
                        name: "embedding.weight".into(),
                        shape: vec![*buckets, *dim],
                        // An n-gram that nobody's training has seen says nothing.
                        init: Init::Zero,
                    },
                );
            }
            Family::Mlp { inputs, hidden } => {
                let mut from = *inputs;
                for (layer, &to) in hidden.iter().enumerate() {
                    linear(&format!("hidden.{layer}"), from, to);
                    from = to;
                }
                linear("output", from, self.classes());
            }
            Family::Cnn { height, width, channels, conv1, conv2, hidden } => {
                linear("hidden", conv2 * (height / 4) * (width / 4), *hidden);
                linear("output", *hidden, self.classes());
                let conv = |name: &str, from: u32, to: u32| {
                    [
                        TensorSpec {
                            name: format!("{name}.weight"),
                            shape: vec![to, from, 5, 5],
                            init: Init::Uniform { fan_in: from * 25 },
                        },
                        TensorSpec { name: format!("{name}.bias"), shape: vec![to], init: Init::Zero },
                    ]
                };
                out.splice(0..0, conv("conv1", *channels, *conv1).into_iter().chain(conv("conv2", *conv1, *conv2)));
            }
        }
        out
    }

    /// Entries of the flat parameter vector.
    pub fn flat_len(&self) -> u64 {
        self.tensors().iter().map(TensorSpec::len).sum()
    }

    /// SHA-256 over the family's name and every parameter's name and shape in flattening order. Two builds that flatten
    /// differently have different fingerprints, and refuse each other's models.
    pub fn fingerprint(&self) -> Digest {
        let mut context = digest::Context::new(&digest::SHA256);
        let mut put = |bytes: &[u8]| {
            context.update(&(bytes.len() as u64).to_le_bytes());
            context.update(bytes);
        };
        put(b"FLSA1/model");
        put(self.family.name().as_bytes());
        if let Family::TextBag { ngram_min, ngram_max, .. } = self.family {
            put(&ngram_min.to_le_bytes());
            put(&ngram_max.to_le_bytes());
        }
        for label in &self.labels {
            put(label.as_bytes());
        }
        for tensor in self.tensors() {
            put(tensor.name.as_bytes());
            for side in tensor.shape {
                put(&side.to_le_bytes());
            }
        }
        let mut out = [0; 32];
        out.copy_from_slice(context.finish().as_ref());
        Digest(out)
    }
}
