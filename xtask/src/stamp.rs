//! Tells whether files still belong to what they were made from.

use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// What a step was made from, in a file beside its results.
pub(crate) struct Stamp {
    file: PathBuf,
    /// Of the inputs' contents and the step's own settings.
    digest: String,
}

impl Stamp {
    /// `settings`: what changes the result apart from the files, such as a tool's version and arguments.
    ///
    /// # Errors
    /// If an input cannot be read.
    pub(crate) fn of(file: PathBuf, settings: &[&str], inputs: &[PathBuf]) -> Result<Self> {
        let mut hasher = DefaultHasher::new();
        settings.hash(&mut hasher);
        for path in inputs {
            path.hash(&mut hasher);
            fs::read(path).with_context(|| format!("cannot read {}", path.display()))?.hash(&mut hasher);
        }
        Ok(Self { file, digest: format!("{:016x}\n", hasher.finish()) })
    }

    /// True if the results are all there and were made from the same.
    pub(crate) fn is_fresh(&self, results: &[PathBuf]) -> bool {
        fs::read_to_string(&self.file).is_ok_and(|made_from| made_from == self.digest)
            && results.iter().all(|result| result.is_file())
    }

    /// To be called last, when the results are there.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub(crate) fn write(&self) -> Result<()> {
        fs::write(&self.file, &self.digest).with_context(|| format!("cannot write {}", self.file.display()))
    }
}

/// Every file under `folder`, in a fixed order, but nothing below folders of these names.
///
/// # Errors
/// If a folder cannot be read.
pub(crate) fn files(folder: &Path, without: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if !entry.file_type()?.is_dir() {
            found.push(path);
        } else if !without.iter().any(|name| entry.file_name() == *name) {
            found.extend(files(&path, without)?);
        }
    }
    found.sort();
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::services::Folder;

    #[test]
    fn a_result_is_fresh_until_an_input_or_a_setting_changes() {
        let folder = Folder::new(None).unwrap();
        let at = |name: &str| folder.path.join(name);
        fs::create_dir(at("src")).unwrap();
        fs::create_dir(at("src/dist")).unwrap();
        fs::write(at("src/input"), "one").unwrap();
        fs::write(at("src/dist/left-out"), "").unwrap();
        let inputs = files(&at("src"), &["dist"]).unwrap();
        assert_eq!(inputs, [at("src/input")]);
        let stamp = |setting: &str| Stamp::of(at("stamp"), &[setting], &inputs).unwrap();
        let results = [at("result")];
        assert!(!stamp("a").is_fresh(&results), "nothing was made yet");
        stamp("a").write().unwrap();
        assert!(!stamp("a").is_fresh(&results), "the result is missing");
        fs::write(&results[0], "").unwrap();
        assert!(stamp("a").is_fresh(&results));
        assert!(!stamp("b").is_fresh(&results), "another setting");
        fs::write(at("src/input"), "two").unwrap();
        assert!(!stamp("a").is_fresh(&results), "another input");
    }
}
