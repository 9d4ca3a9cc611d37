//! Architectures, and published models.

use super::owned;
use crate::answer::{ModelManifest, ModelRequest};
use crate::check::{self, present};
use crate::error::Invalid;
use crate::ids::{Digest, ModelVersion, TaskId};
use crate::model::{Family, ModelSpec};
use crate::{PROTOCOL, check_protocol, limits, wire};

impl TryFrom<wire::ModelSpec> for ModelSpec {
    type Error = Invalid;
    /// See [`ModelSpec::check`].
    fn try_from(spec: wire::ModelSpec) -> Result<Self, Invalid> {
        let family = spec.family.ok_or_else(|| Invalid::new("family", "missing; one of text_bag, mlp, cnn"))?;
        let spec = Self { labels: spec.labels, family: family.into() };
        spec.check()?;
        Ok(spec)
    }
}

impl From<wire::model_spec::Family> for Family {
    fn from(family: wire::model_spec::Family) -> Self {
        use wire::model_spec::Family as Wire;
        match family {
            Wire::TextBag(wire::TextBag { buckets, dim, ngram_min, ngram_max }) => {
                Self::TextBag { buckets, dim, ngram_min, ngram_max }
            }
            Wire::Mlp(wire::Mlp { inputs, hidden }) => Self::Mlp { inputs, hidden },
            Wire::Cnn(wire::Cnn { height, width, channels, conv1, conv2, hidden }) => {
                Self::Cnn { height, width, channels, conv1, conv2, hidden }
            }
        }
    }
}

impl From<&Family> for wire::model_spec::Family {
    fn from(family: &Family) -> Self {
        match *family {
            Family::TextBag { buckets, dim, ngram_min, ngram_max } => {
                Self::TextBag(wire::TextBag { buckets, dim, ngram_min, ngram_max })
            }
            Family::Mlp { inputs, ref hidden } => Self::Mlp(wire::Mlp { inputs, hidden: hidden.clone() }),
            Family::Cnn { height, width, channels, conv1, conv2, hidden } => {
                Self::Cnn(wire::Cnn { height, width, channels, conv1, conv2, hidden })
            }
        }
    }
}

impl From<&ModelSpec> for wire::ModelSpec {
    fn from(spec: &ModelSpec) -> Self {
        Self { labels: spec.labels.clone(), family: Some((&spec.family).into()) }
    }
}

impl TryFrom<wire::ModelManifest> for ModelManifest {
    type Error = Invalid;
    fn try_from(manifest: wire::ModelManifest) -> Result<Self, Invalid> {
        let model = ModelSpec::try_from(present("model", manifest.model)?)?;
        let fingerprint = Digest::try_from(manifest.fingerprint.as_ref()).map_err(check::rename("fingerprint"))?;
        let expected = model.fingerprint();
        if fingerprint != expected {
            let problem = format!("{fingerprint}; this model flattens to {expected}");
            return Err(Invalid::new("fingerprint", problem));
        }
        check::within("version", manifest.version, 1..=u64::MAX)?;
        check::model_bytes("bytes", manifest.bytes)?;
        check::text("url", &manifest.url, limits::URL_BYTES)?;
        Ok(Self {
            task: TaskId::try_from(manifest.task)?,
            version: ModelVersion(manifest.version),
            digest: Digest::try_from(manifest.digest.as_ref())?,
            bytes: manifest.bytes,
            url: manifest.url,
            model,
            fingerprint,
        })
    }
}

impl From<&ModelManifest> for wire::ModelManifest {
    fn from(manifest: &ModelManifest) -> Self {
        Self {
            task: manifest.task.to_string(),
            version: manifest.version.0,
            digest: manifest.digest.to_bytes(),
            bytes: manifest.bytes,
            url: manifest.url.clone(),
            model: Some((&manifest.model).into()),
            fingerprint: manifest.fingerprint.to_bytes(),
        }
    }
}

impl TryFrom<wire::GetModelRequest> for ModelRequest {
    type Error = Invalid;
    fn try_from(request: wire::GetModelRequest) -> Result<Self, Invalid> {
        check_protocol(request.protocol)?;
        let version = (request.version > 0).then_some(ModelVersion(request.version));
        Ok(Self { task: TaskId::try_from(request.task)?, version })
    }
}

impl From<&ModelRequest> for wire::GetModelRequest {
    fn from(request: &ModelRequest) -> Self {
        let version = request.version.map_or(0, |version| version.0);
        Self { protocol: PROTOCOL, task: request.task.to_string(), version }
    }
}

owned! {
    ModelSpec => wire::ModelSpec,
    ModelManifest => wire::ModelManifest,
    ModelRequest => wire::GetModelRequest,
}
