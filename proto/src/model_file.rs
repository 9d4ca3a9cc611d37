//! Model files: safetensors with one F32 tensor per parameter, in flattening order, and what the model is, in the
//! metadata: `format`, `task`, `version`, `fingerprint` (hexadecimal) and `spec` ([`ModelSpec`] as JSON).
//!
//! Written by hand, because the bytes are hashed and must not depend on the order of a hash map: eight bytes of header
//! length, the header as JSON padded with spaces to a multiple of eight, then the tensors. Read with the reference crate.

use std::collections::BTreeMap;

use rand_chacha::ChaCha20Rng;
use rand_core::{Rng, SeedableRng};
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;

use crate::ids::{Digest, ModelVersion, TaskId};
use crate::limits;
use crate::model::{Init, ModelSpec};

/// Value of the metadata entry `format`.
pub const FORMAT: &str = "scale-fl/1";

/// Why bytes are not this architecture's model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ModelFileError {
    /// Not safetensors, or not these tensors.
    #[error("not a model file of this task: {0}")]
    Bad(String),
    /// Made for another architecture, or for other classes.
    #[error("the model file belongs to another architecture: its fingerprint is {found}, this task's is {expected}")]
    Fingerprint {
        /// In the file.
        found: String,
        /// Of the task's model.
        expected: String,
    },
    /// A weight is NaN or infinite.
    #[error("entry {entry} of tensor {tensor} is not finite")]
    NotFinite {
        /// The parameter.
        tensor: String,
        /// Position in it.
        entry: usize,
    },
}

impl ModelFileError {
    /// One stable word.
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Bad(_) => "bad_model_file",
            Self::Fingerprint { .. } => "fingerprint_mismatch",
            Self::NotFinite { .. } => "not_finite",
        }
    }
}

#[derive(Serialize)]
struct TensorHeader {
    dtype: &'static str,
    shape: Vec<u32>,
    data_offsets: [u64; 2],
}

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<&'static str, &'a str>,
    #[serde(flatten)]
    tensors: BTreeMap<String, TensorHeader>,
}

/// A model file. The same arguments always give the same bytes. `weights`: flat, `spec.flat_len()` entries.
///
/// # Errors
/// [`ModelFileError::Bad`] for another number of weights, [`ModelFileError::NotFinite`].
pub fn encode(
    task: &TaskId,
    version: ModelVersion,
    spec: &ModelSpec,
    weights: &[f32],
) -> Result<Vec<u8>, ModelFileError> {
    if weights.len() as u64 != spec.flat_len() {
        let problem = format!("{} weights for a model of {}", weights.len(), spec.flat_len());
        return Err(ModelFileError::Bad(problem));
    }
    let mut tensors = BTreeMap::new();
    let mut at = 0;
    for tensor in spec.tensors() {
        let len = tensor.len();
        let part = &weights[at as usize..(at + len) as usize];
        finite(&tensor.name, part)?;
        let header = TensorHeader { dtype: "F32", shape: tensor.shape, data_offsets: [4 * at, 4 * (at + len)] };
        tensors.insert(tensor.name, header);
        at += len;
    }
    let json = |error: serde_json::Error| ModelFileError::Bad(error.to_string());
    let (version, fingerprint) = (version.0.to_string(), spec.fingerprint().hex());
    let spec_json = serde_json::to_string(spec).map_err(json)?;
    let metadata = BTreeMap::from([
        ("format", FORMAT),
        ("task", task.as_str()),
        ("version", &version),
        ("fingerprint", &fingerprint),
        ("spec", &spec_json),
    ]);
    let mut header = serde_json::to_vec(&Header { metadata, tensors }).map_err(json)?;
    header.resize(header.len().next_multiple_of(8), b' ');
    let mut out = Vec::with_capacity(8 + header.len() + 4 * weights.len());
    out.extend_from_slice(&(header.len() as u64).to_le_bytes());
    out.extend_from_slice(&header);
    weights.iter().for_each(|weight| out.extend_from_slice(&weight.to_le_bytes()));
    Ok(out)
}

/// The flat weights of a model file. A file without our metadata is taken when its tensors fit: names, shapes, F32.
///
/// # Errors
/// [`ModelFileError`].
pub fn decode(spec: &ModelSpec, file: &[u8]) -> Result<Vec<f32>, ModelFileError> {
    if file.len() as u64 > limits::MODEL_BYTES {
        return Err(ModelFileError::Bad(format!("{} bytes; at most {} are read", file.len(), limits::MODEL_BYTES)));
    }
    let unreadable = |error: safetensors::SafeTensorError| ModelFileError::Bad(error.to_string());
    let (_, metadata) = SafeTensors::read_metadata(file).map_err(unreadable)?;
    let expected = spec.fingerprint().hex();
    if let Some(found) = metadata.metadata().as_ref().and_then(|metadata| metadata.get("fingerprint"))
        && *found != expected
    {
        return Err(ModelFileError::Fingerprint { found: found.clone(), expected });
    }
    let found = SafeTensors::deserialize(file).map_err(unreadable)?;
    let tensors = spec.tensors();
    if found.len() != tensors.len() {
        let problem = format!("{} tensors; this model has {}", found.len(), tensors.len());
        return Err(ModelFileError::Bad(problem));
    }
    let mut weights = Vec::with_capacity(usize::try_from(spec.flat_len()).unwrap_or_default());
    for tensor in tensors {
        let view = found.tensor(&tensor.name).map_err(unreadable)?;
        let fits = view.shape().iter().map(|&side| side as u64).eq(tensor.shape.iter().map(|&side| u64::from(side)));
        if view.dtype() != Dtype::F32 || !fits {
            let problem = format!(
                "tensor {} is {:?} {:?}; this model has F32 {:?}",
                tensor.name,
                view.dtype(),
                view.shape(),
                tensor.shape
            );
            return Err(ModelFileError::Bad(problem));
        }
        let start = weights.len();
        weights.extend(view.data().as_chunks::<4>().0.iter().map(|weight| f32::from_le_bytes(*weight)));
        finite(&tensor.name, &weights[start..])?;
    }
    Ok(weights)
}

/// What a model file says about itself. Believe none of it before [`decode`] has compared names and shapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// The task that it was published for.
    pub task: Option<String>,
    /// Hexadecimal fingerprint of its architecture.
    pub fingerprint: Option<String>,
    /// Its architecture.
    pub spec: Option<ModelSpec>,
}

/// Reads the metadata of a model file.
///
/// # Errors
/// [`ModelFileError::Bad`] if it is no safetensors file, or its spec makes no model.
pub fn describe(file: &[u8]) -> Result<Description, ModelFileError> {
    let bad = |error: String| ModelFileError::Bad(error);
    let (_, header) = SafeTensors::read_metadata(file).map_err(|error| bad(error.to_string()))?;
    let entry = |key: &str| header.metadata().as_ref().and_then(|metadata| metadata.get(key)).cloned();
    let spec = match entry("spec") {
        None => None,
        Some(json) => {
            let spec: ModelSpec = serde_json::from_str(&json).map_err(|error| bad(format!("its spec: {error}")))?;
            spec.check().map_err(|error| bad(format!("its spec: {error}")))?;
            Some(spec)
        }
    };
    Ok(Description { task: entry("task"), fingerprint: entry("fingerprint"), spec })
}

/// Initial weights of a task: the same for the same task and architecture, on every machine.
pub fn initial(task: &TaskId, spec: &ModelSpec) -> Vec<f32> {
    let seed = Digest::of(&[b"FLSA1/init".as_slice(), task.as_str().as_bytes(), &spec.fingerprint().0].concat());
    initial_from(spec, seed.0)
}

/// Initial weights as [`Init`] says, from a seed.
pub fn initial_from(spec: &ModelSpec, seed: [u8; 32]) -> Vec<f32> {
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut weights = Vec::new();
    for tensor in spec.tensors() {
        let bound = match tensor.init {
            Init::Zero => 0.0,
            Init::Uniform { fan_in } => (6.0 / f64::from(fan_in.max(1))).sqrt(),
            Init::Embedding { dim } => 1.0 / f64::from(dim.max(1)).sqrt(),
        };
        // 24 random bits fill a float's fraction: equally spaced values from -bound to just under bound.
        let mut draw = || (f64::from(rng.next_u32() >> 8) / f64::from(1 << 23) - 1.0) * bound;
        weights.extend((0..tensor.len()).map(|_| if bound == 0.0 { 0.0 } else { draw() as f32 }));
    }
    weights
}

fn finite(tensor: &str, values: &[f32]) -> Result<(), ModelFileError> {
    match values.iter().position(|value| !value.is_finite()) {
        Some(entry) => Err(ModelFileError::NotFinite { tensor: tensor.to_owned(), entry }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use crate::model::Family;

    use super::*;

    fn spec(hidden: u32) -> ModelSpec {
        ModelSpec { labels: vec!["a".into(), "b".into()], family: Family::Mlp { inputs: 3, hidden: vec![hidden] } }
    }

    fn task() -> TaskId {
        "demo".parse().expect("a valid name")
    }

    #[test]
    fn files_hold_what_went_in() {
        for family in [
            Family::Mlp { inputs: 3, hidden: vec![4, 5] },
            Family::TextBag { buckets: 16, dim: 4, ngram_min: 2, ngram_max: 3 },
            Family::Cnn { height: 4, width: 4, channels: 1, conv1: 2, conv2: 3, hidden: 5 },
        ] {
            let spec = ModelSpec { labels: vec!["a".into(), "b".into(), "c".into()], family };
            let weights = initial(&task(), &spec);
            assert_eq!(weights.len() as u64, spec.flat_len());
            let file = encode(&task(), ModelVersion(3), &spec, &weights).expect("it fits");
            assert_eq!(file, encode(&task(), ModelVersion(3), &spec, &weights).expect("it fits"), "same bytes");
            assert_eq!(decode(&spec, &file).expect("own file"), weights);
            let (_, metadata) = SafeTensors::read_metadata(&file).expect("the reference crate reads it");
            let metadata = metadata.metadata().clone().expect("it has metadata");
            assert_eq!(metadata["version"], "3");
            assert_eq!(serde_json::from_str::<ModelSpec>(&metadata["spec"]).expect("JSON"), spec);
        }
    }

    #[test]
    fn initial_weights_are_spread_and_known() {
        let weights = initial(&task(), &spec(200));
        let hidden = &weights[..600];
        let bound = 2f32.sqrt();
        assert!(hidden.iter().all(|weight| weight.abs() <= bound));
        let mean = hidden.iter().sum::<f32>() / 600.0;
        assert!(mean.abs() < 0.15, "mean {mean}");
        assert!(weights[600..800].iter().all(|&bias| bias == 0.0));
        assert_eq!(weights, initial(&task(), &spec(200)));
        assert_ne!(weights, initial(&"other".parse().expect("a valid name"), &spec(200)));
    }

    #[test]
    fn wrong_files_are_refused() {
        let good = encode(&task(), ModelVersion(1), &spec(4), &initial(&task(), &spec(4))).expect("it fits");
        let read = |spec: &ModelSpec, file: &[u8]| decode(spec, file).map(drop).map_err(|error| error.code());
        assert_eq!(read(&spec(4), &good), Ok(()));
        assert_eq!(read(&spec(5), &good), Err("fingerprint_mismatch"));
        assert_eq!(read(&spec(4), &good[..good.len() - 1]), Err("bad_model_file"), "cut short");
        assert_eq!(read(&spec(4), b"\x08\0\0\0\0\0\0\0not json"), Err("bad_model_file"));
        assert_eq!(read(&spec(4), &[]), Err("bad_model_file"));
        let mut broken = good.clone();
        let last = broken.len() - 4;
        broken[last..].copy_from_slice(&f32::INFINITY.to_le_bytes());
        assert_eq!(read(&spec(4), &broken), Err("not_finite"));
        // Without metadata only names and shapes speak.
        let anonymous = |shape: Vec<usize>| {
            let data = vec![0; 4 * shape.iter().product::<usize>()];
            let view = safetensors::tensor::TensorView::new(Dtype::F32, shape, &data).expect("a valid view");
            safetensors::serialize([("output.weight", view)], None).expect("plain tensors")
        };
        assert_eq!(read(&spec(4), &anonymous(vec![4, 2])), Err("bad_model_file"), "tensors are missing");
        let one = ModelSpec { labels: vec!["a".into()], family: Family::Mlp { inputs: 1, hidden: vec![] } };
        assert_eq!(read(&one, &anonymous(vec![1, 1])), Err("bad_model_file"), "the bias is missing");
        let weights = initial(&task(), &spec(4));
        assert_eq!(
            encode(&task(), ModelVersion(1), &spec(4), &weights[1..]).map_err(|e| e.code()),
            Err("bad_model_file")
        );
    }
}
