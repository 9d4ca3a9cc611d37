//! The shared library that apps load, and the Swift and Kotlin sources that uniffi generates from it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::folder;
use crate::api::Program;
use crate::command;
use crate::stamp::Stamp;
use crate::workspace::{root, target_dir, without_paths};

pub(super) const PACKAGE: &str = "scale-bindings";
/// What the library is called, without what the platform puts around it.
pub(super) const NAME: &str = "scale_fl_sdk";
/// Unwinds, so that a panic becomes an error of the app's language; optimized; not stripped.
pub(super) const PROFILE: &str = "mobile";

/// The generator's package and program.
const GENERATOR: (&str, &str) = ("scale-bindgen", "uniffi-bindgen");
/// Names a generator that is there already, in place of the one that is built.
pub(super) const GENERATOR_VARIABLE: &str = "SCALE_BINDGEN";

/// The generator's settings, from the repository's root.
const SETTINGS: &str = "bindings/uniffi.toml";
/// Where those for Kotlin begin, and what is added to them for Android: garbage is collected in another way there than on the
/// JVM.
const KOTLIN: &str = "[bindings.kotlin]\n";
const FOR_ANDROID: &str = "android = true\n";

/// Which build of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// What apps get.
    Published,
    /// With what the tests of the languages need: faults on purpose, and a trainer whose update is known.
    Testing,
}

impl Variant {
    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Published => &[],
            Self::Testing => &["--features", "testing"],
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Published => "release",
            Self::Testing => "testing",
        }
    }
}

/// One build of the library, with what was generated from it.
pub(crate) struct Library {
    /// Not stripped: the generator reads its symbols.
    pub(crate) shared: PathBuf,
    /// `ScaleFL.swift`, and the header and module map of `ScaleFLFFI`.
    pub(crate) swift: PathBuf,
    /// The sources for the JVM, in folders as their package.
    pub(crate) kotlin: PathBuf,
    /// The same for Android.
    pub(crate) kotlin_android: PathBuf,
}

impl Library {
    /// Builds it, and generates what is not up to date.
    ///
    /// # Errors
    /// If it does not build, or the generator leaves a file out.
    pub(crate) fn build(variant: Variant, generator: &Path) -> Result<Self> {
        let into = folder().join("library").join(variant.name());
        let file = file_name();
        command::run(cargo("cdylib").args(variant.features()))?;
        let shared = into.join(&file);
        // Both variants are built at the same place; their dependencies are built once.
        copy_if_other(&target_dir().join(PROFILE).join(&file), &shared)?;
        let at = |name: &str| into.join(name);
        let library = Self {
            swift: at("swift"),
            kotlin: at("kotlin"),
            kotlin_android: at("kotlin-android"),
            shared: shared.clone(),
        };
        let for_android = at("android.toml");
        let settings = fs::read_to_string(root().join(SETTINGS)).with_context(|| format!("cannot read {SETTINGS}"))?;
        fs::write(&for_android, with_android(&settings)?)
            .with_context(|| format!("cannot write {}", for_android.display()))?;
        let kotlin = "io/scalefl/sdk/scale_fl.kt";
        let swift = ["ScaleFL.swift", "ScaleFLFFI.h", "ScaleFLFFI.modulemap"];
        let inputs = [shared, generator.to_owned(), root().join(SETTINGS), for_android.clone()];
        for (language, into, expected, more) in [
            ("swift", &library.swift, &swift[..], None),
            ("kotlin", &library.kotlin, &[kotlin], None),
            ("kotlin", &library.kotlin_android, &[kotlin], Some(&for_android)),
        ] {
            let stamp = Stamp::of(into.with_extension("stamp"), &[language], &inputs)?;
            let results: Vec<PathBuf> = expected.iter().map(|name| into.join(name)).collect();
            if stamp.is_fresh(&results) {
                continue;
            }
            generate(generator, &library.shared, language, into, more)?;
            // From a library that it cannot read, the generator writes nothing and says nothing.
            for result in &results {
                ensure!(
                    result.is_file(),
                    "the generator wrote no {}: is {} stripped, or of another version of uniffi?",
                    result.display(),
                    library.shared.display()
                );
            }
            stamp.write()?;
        }
        Ok(library)
    }
}

/// What the shared library's file is called on this machine.
pub(super) fn file_name() -> String {
    format!("{}{NAME}{}", std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX)
}

/// A cargo command that builds the library as an app links or loads it.
pub(super) fn cargo(crate_type: &str) -> Command {
    let mut cargo = command::cargo();
    cargo.args(["rustc", "--locked", "--package", PACKAGE, "--profile", PROFILE, "--lib", "--crate-type", crate_type]);
    cargo.args(["--config", &format!("build.rustflags = {:?}", flags())]);
    // Would replace the flags above.
    cargo.env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// The flags of everything that the library is made of. The same for two trees that share a target folder, or each would
/// compile the dependencies for itself: so they name that folder's place, in which generated code lies, and not the tree's.
pub(super) fn flags() -> [String; 2] {
    let target = target_dir();
    without_paths(target.parent().unwrap_or(&target))
}

/// The generator's path; builds it (minutes when it is the first time).
///
/// # Errors
/// If it does not build.
pub(super) fn generator(program: Program) -> Result<PathBuf> {
    if let Some(path) = std::env::var_os(GENERATOR_VARIABLE).filter(|path| !path.is_empty()) {
        println!("  using {} as {GENERATOR_VARIABLE} says", Path::new(&path).display());
        return Ok(path.into());
    }
    let (package, binary) = GENERATOR;
    if program.is_of_tests() {
        program.build()?;
    } else {
        command::run(command::cargo().args(["build", "--locked", "--package", package, "--bin", binary]))?;
    }
    let path = target_dir().join("debug").join(format!("{binary}{}", std::env::consts::EXE_SUFFIX));
    ensure!(path.is_file(), "{} was not built", path.display());
    Ok(path)
}

fn generate(generator: &Path, library: &Path, language: &str, into: &Path, config: Option<&PathBuf>) -> Result<()> {
    if into.exists() {
        fs::remove_dir_all(into).with_context(|| format!("cannot empty {}", into.display()))?;
    }
    fs::create_dir_all(into).with_context(|| format!("cannot make {}", into.display()))?;
    let mut generate = command::command(generator);
    generate.arg("generate").arg(library).args(["--language", language, "--no-format", "--out-dir"]).arg(into);
    if let Some(config) = config {
        generate.arg("--config").arg(config);
    }
    command::run(&mut generate)
}

/// The settings for Android. The generator takes a file named to it in place of the crate's, not in addition.
fn with_android(settings: &str) -> Result<String> {
    let (before, after) =
        settings.split_once(KOTLIN).with_context(|| format!("{SETTINGS} has no {}", KOTLIN.trim()))?;
    Ok(format!("{before}{KOTLIN}{FOR_ANDROID}{after}"))
}

/// A file that stays the same keeps its time, so that nothing is made from it again.
fn copy_if_other(from: &Path, to: &Path) -> Result<()> {
    let bytes = fs::read(from).with_context(|| format!("cannot read {}", from.display()))?;
    if fs::read(to).is_ok_and(|there| there == bytes) {
        return Ok(());
    }
    let folder = to.parent().context("a file lies in a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    fs::write(to, bytes).with_context(|| format!("cannot write {}", to.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_variants_are_built_alike_but_for_the_feature() {
        let words = |variant: Variant| command::shown(cargo("cdylib").args(variant.features()));
        let published = words(Variant::Published);
        assert!(
            published.contains("rustc --locked --package scale-bindings --profile mobile --lib --crate-type cdylib")
        );
        assert!(published.contains("--remap-path-prefix="), "{published}");
        assert_eq!(words(Variant::Testing), format!("{published} --features testing"));
        assert_ne!(Variant::Published.name(), Variant::Testing.name());
    }

    #[test]
    fn settings_for_android_are_those_of_kotlin_and_one_more() {
        let settings = "[bindings.swift]\na = 1\n[bindings.kotlin]\nb = 2\n[bindings.kotlin.rename]\n";
        let expected = "[bindings.swift]\na = 1\n[bindings.kotlin]\nandroid = true\nb = 2\n[bindings.kotlin.rename]\n";
        assert_eq!(with_android(settings).unwrap(), expected);
        assert!(with_android("[bindings.swift]\n").unwrap_err().to_string().contains("[bindings.kotlin]"));
        assert!(with_android(&fs::read_to_string(root().join(SETTINGS)).unwrap()).is_ok());
    }

    #[test]
    fn a_file_that_is_the_same_is_left_alone() {
        let folder = crate::services::Folder::new(None).unwrap();
        let (from, to) = (folder.path.join("from"), folder.path.join("below/to"));
        let written = || fs::metadata(&to).unwrap().modified().unwrap();
        fs::write(&from, "one").unwrap();
        copy_if_other(&from, &to).unwrap();
        let first = written();
        copy_if_other(&from, &to).unwrap();
        assert_eq!(written(), first);
        fs::write(&from, "two").unwrap();
        copy_if_other(&from, &to).unwrap();
        assert_eq!(fs::read_to_string(&to).unwrap(), "two");
    }
}
