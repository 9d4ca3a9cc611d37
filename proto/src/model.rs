//! Named architectures with sizes. A spec fixes the parameters' names, shapes and order, and so the flat vector that
//! is trained, masked and summed; the coordinator needs no more than this, and no training library.

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::ids::Digest;

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
    /// Hashed character n-grams, an embedding bag (mean) and a linear layer.
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
                        init: Init::Embedding { dim: *dim },
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
