//! Reads names and versions from `Cargo.lock`.

use std::path::Path;

use anyhow::{Context, Result, ensure};

/// Every locked package, as (name, version).
pub(crate) struct Lockfile(Vec<(String, String)>);

impl Lockfile {
    /// # Errors
    /// If the file cannot be read or names no package.
    pub(crate) fn read(root: &Path) -> Result<Self> {
        let path = root.join("Cargo.lock");
        let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let lock = Self::parse(&text);
        ensure!(!lock.0.is_empty(), "{} names no package", path.display());
        Ok(lock)
    }

    /// The format is generated and regular: a `name` line, then a `version` line, per package.
    pub(crate) fn parse(text: &str) -> Self {
        let value = |line: &str, key: &str| {
            let rest = line.strip_prefix(key)?.strip_prefix(" = \"")?;
            Some(rest.strip_suffix('"')?.to_owned())
        };
        let mut packages = Vec::new();
        let mut name = None;
        for line in text.lines() {
            if let Some(found) = value(line, "name") {
                name = Some(found);
            } else if let (Some(version), Some(name)) =
                (value(line, "version"), name.take_if(|_| line.starts_with("version")))
            {
                packages.push((name, version));
            }
        }
        Self(packages)
    }

    /// All locked versions of one package.
    pub(crate) fn versions(&self, name: &str) -> Vec<&str> {
        let found = self.0.iter().filter(|(package, _)| package == name);
        found.map(|(_, version)| version.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_and_versions() {
        let lock = Lockfile::parse(
            "version = 4\n\n[[package]]\nname = \"ring\"\nversion = \"0.17.14\"\ndependencies = [\n \"cc\",\n]\n\n\
             [[package]]\nname = \"getrandom\"\nversion = \"0.2.17\"\n\n[[package]]\nname = \"getrandom\"\nversion = \"0.4.3\"\n",
        );
        assert_eq!(lock.versions("ring"), ["0.17.14"]);
        assert_eq!(lock.versions("getrandom"), ["0.2.17", "0.4.3"]);
        assert!(lock.versions("cc").is_empty());
    }
}
