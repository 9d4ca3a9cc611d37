//! Model files: safetensors with one f32 tensor per parameter, and what they are, in the metadata.
//!
//! Metadata: `task`, `version`, `fingerprint` (hexadecimal), `spec` ([`ModelSpec`] as JSON).

use safetensors::{Dtype, SafeTensors};
use scale_proto::ids::{Digest, ModelVersion, TaskId};
use scale_proto::model::ModelSpec;

use crate::error::ModelError;

/// A verified model, ready to predict with.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The task that it belongs to.
    pub task: TaskId,
    /// Its version.
    pub version: ModelVersion,
    /// SHA-256 of its file.
    pub digest: Digest,
    /// The architecture and its classes.
    pub spec: ModelSpec,
    /// Every parameter, flat, in the order of [`ModelSpec::tensors`].
    pub weights: Vec<f32>,
}

/// Reads the weights of a model file, in the order of [`ModelSpec::tensors`].
///
/// `bytes`: the whole file; its digest has been compared. Holds one extra copy of the weights.
///
/// # Errors
/// [`ModelError::BadFile`] if it is no safetensors file or holds other tensors, types or shapes;
/// [`ModelError::FingerprintMismatch`] if it says that it belongs to another architecture; [`ModelError::NotFinite`].
pub fn weights(bytes: &[u8], task: &TaskId, spec: &ModelSpec) -> Result<Vec<f32>, ModelError> {
    let bad = |problem: String| ModelError::BadFile(problem);
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|error| bad(format!("not safetensors: {error}")))?;
    let metadata = header.metadata().as_ref();
    let entry = |key: &str| {
        let value = metadata.and_then(|metadata| metadata.get(key));
        value.ok_or_else(|| bad(format!("its metadata lacks `{key}`")))
    };
    if *entry("fingerprint")? != spec.fingerprint().hex() {
        return Err(ModelError::FingerprintMismatch);
    }
    if entry("task")? != task.as_str() {
        return Err(bad(format!("it belongs to another task than {task}")));
    }

    let file = SafeTensors::deserialize(bytes).map_err(|error| bad(format!("not safetensors: {error}")))?;
    let tensors = spec.tensors();
    if file.len() != tensors.len() {
        return Err(bad(format!("{} tensors; the model has {}", file.len(), tensors.len())));
    }
    let mut weights = Vec::with_capacity(usize::try_from(spec.flat_len()).unwrap_or_default());
    for wanted in &tensors {
        let tensor = file.tensor(&wanted.name).map_err(|_| bad(format!("tensor `{}` is missing", wanted.name)))?;
        if tensor.dtype() != Dtype::F32 {
            return Err(bad(format!("tensor `{}` is not f32", wanted.name)));
        }
        if !tensor.shape().iter().map(|&side| side as u64).eq(wanted.shape.iter().map(|&side| u64::from(side))) {
            return Err(bad(format!(
                "tensor `{}` has shape {:?}, not {:?}",
                wanted.name,
                tensor.shape(),
                wanted.shape
            )));
        }
        // Whole numbers of four bytes: the parser has compared the length with the shape.
        let (entries, _) = tensor.data().as_chunks::<4>();
        weights.extend(entries.iter().map(|entry| f32::from_le_bytes(*entry)));
    }
    if weights.iter().all(|weight| weight.is_finite()) { Ok(weights) } else { Err(ModelError::NotFinite) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::device::fixtures;

    #[test]
    fn reads_the_weights_in_flattening_order() {
        let spec = fixtures::spec();
        let given: Vec<f32> = (0..spec.flat_len()).map(|i| i as f32 / 8.0).collect();
        let file = fixtures::model_file(&spec, &given);
        assert_eq!(weights(&file, &fixtures::task(), &spec), Ok(given));
    }

    #[test]
    fn refuses_every_other_file() {
        let spec = fixtures::spec();
        let task = fixtures::task();
        let given = vec![0.5; spec.flat_len() as usize];
        let file = fixtures::model_file(&spec, &given);
        let code = |bytes: &[u8]| weights(bytes, &task, &spec).expect_err("refused").code();

        for end in [0, 7, 8, 50, file.len() - 1] {
            assert_eq!(code(&file[..end]), "bad_model_file", "cut at {end}");
        }
        let mut other = spec.clone();
        other.labels.swap(0, 1);
        assert_eq!(code(&fixtures::model_file(&other, &given)), "fingerprint_mismatch", "classes in another order");
        assert_eq!(
            weights(&file, &"other".parse().expect("a name"), &spec).expect_err("refused").code(),
            "bad_model_file"
        );
        for bad in [f32::NAN, f32::INFINITY] {
            let mut damaged = given.clone();
            damaged[5] = bad;
            assert_eq!(code(&fixtures::model_file(&spec, &damaged)), "not_finite");
        }

        // The metadata may lie: shapes and names are compared one by one.
        let renamed = fixtures::model_file_with(&spec, &given, |name| name.replace("hidden", "hidden2"));
        assert_eq!(code(&renamed), "bad_model_file");
    }
}
