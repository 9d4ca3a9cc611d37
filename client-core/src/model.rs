//! Reads published models on the device: [`scale_proto::model_file`], with all of its metadata required.

use scale_proto::ids::{Digest, ModelVersion, TaskId};
use scale_proto::model::ModelSpec;
use scale_proto::model_file::{self, ModelFileError};

use crate::error::ModelError;

/// A verified model, ready to predict with.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    /// The task that it belongs to.
    pub task: TaskId,
    /// Version of the model within its task.
    pub version: ModelVersion,
    /// SHA-256 of the model file.
    pub digest: Digest,
    /// Architecture and labels.
    pub spec: ModelSpec,
    /// All parameters as one flat vector, in the order of [`ModelSpec::tensors`].
    pub weights: Vec<f32>,
}

/// Reads the weights of a model file, in the order of [`ModelSpec::tensors`].
///
/// `bytes`: the whole file, whose digest the caller has verified. Needs memory for one extra copy of the weights.
///
/// # Errors
/// [`ModelError::BadFile`] if it is not a safetensors file or has other tensors, types or shapes;
/// [`ModelError::FingerprintMismatch`] if its metadata names another architecture; [`ModelError::NotFinite`].
pub fn weights(bytes: &[u8], task: &TaskId, spec: &ModelSpec) -> Result<Vec<f32>, ModelError> {
    let bad = |problem: &str| ModelError::BadFile(problem.to_owned());
    let described = model_file::describe(bytes)?;
    // Metadata is optional for an import at the coordinator, but every published file has it.
    if described.fingerprint.is_none() {
        return Err(bad("its metadata lacks `fingerprint`"));
    }
    let weights = model_file::decode(spec, bytes)?;
    match described.task {
        Some(named) if named == task.as_str() => Ok(weights),
        Some(_) => Err(bad("it belongs to another task")),
        None => Err(bad("its metadata lacks `task`")),
    }
}

impl From<ModelFileError> for ModelError {
    fn from(error: ModelFileError) -> Self {
        match error {
            ModelFileError::Fingerprint { .. } => Self::FingerprintMismatch,
            ModelFileError::NotFinite { .. } => Self::NotFinite,
            other => Self::BadFile(other.to_string()),
        }
    }
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
