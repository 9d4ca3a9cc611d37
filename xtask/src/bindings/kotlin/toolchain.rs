//! What compiles and runs Kotlin: a JDK, the compiler from npm, JNA and JUnit from Debian.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::command;
use crate::node::NodePackages;
use crate::stamp::{Stamp, files};
use crate::tools::{apt_install, on_path};

/// Exact version and digest are in the lock file there.
const COMPILER: NodePackages<'_> =
    NodePackages { name: "kotlin", folder: "bindings/kotlin/tools", purpose: "the Kotlin compiler" };

/// Java's class files of this version are what the library is compiled to.
const JAVA: u32 = 17;

/// Where Debian's packages put their jars.
const DEBIAN: &str = "/usr/share/java";

/// What compiles and runs Kotlin.
pub(crate) struct Kotlin {
    /// The folder `lib` of the compiler: it has the standard library and the coroutines, too.
    lib: PathBuf,
    jna: PathBuf,
    junit: PathBuf,
}

/// Finds the tools; installs what is missing.
///
/// # Errors
/// If something is missing and cannot be installed.
pub(crate) fn toolchain() -> Result<Kotlin> {
    if !on_path("javac") {
        apt_install(&["openjdk-17-jdk-headless"], "there is no JDK, which Kotlin is compiled for")?;
    }
    let said = command::output(command::command("javac").arg("-version"))?;
    let version = java_version(&said).with_context(|| format!("`javac -version` says: {}", said.trim()))?;
    ensure!(version >= JAVA, "JDK {JAVA} or newer is needed; `javac` on the PATH is {version}");
    let jna = debian("jna.jar", &["libjna-java", "libjna-jni"], "there is no JNA, by which Kotlin calls the library")?;
    let junit =
        debian("junit-platform-console-standalone.jar", &["junit5"], "there is no JUnit 5 for the Kotlin tests")?;
    let lib = COMPILER.ensure()?.join("node_modules/kotlin-compiler/lib");
    Ok(Kotlin { lib, jna, junit })
}

/// A jar of these Debian packages.
fn debian(jar: &str, packages: &[&str], missing: &str) -> Result<PathBuf> {
    let path = Path::new(DEBIAN).join(jar);
    if !path.is_file() {
        apt_install(packages, missing)?;
    }
    ensure!(path.is_file(), "{} is not there, although {} is installed", path.display(), packages.join(" and "));
    Ok(path)
}

/// What one call of the compiler makes.
pub(crate) struct Compilation<'a> {
    /// For the person who waits.
    pub(crate) what: &'a str,
    /// Files and folders with Kotlin; Java among them is only looked at.
    pub(crate) sources: &'a [PathBuf],
    /// Apart from Kotlin's own.
    pub(crate) classpath: &'a [PathBuf],
    /// A jar, whose internal declarations this sees, as tests do.
    pub(crate) friend: Option<&'a Path>,
    /// A jar.
    pub(crate) into: &'a Path,
}

impl Kotlin {
    /// What everything that uses the library needs to run, apart from the library.
    pub(crate) fn runtime(&self) -> Vec<PathBuf> {
        let own = ["kotlin-stdlib.jar", "kotlinx-coroutines-core-jvm.jar", "annotations-13.0.jar"];
        own.iter().map(|name| self.lib.join(name)).chain([self.jna.clone()]).collect()
    }

    /// JUnit with its launcher: one jar.
    pub(crate) fn junit(&self) -> &Path {
        &self.junit
    }

    /// Compiles, unless that was done from the same before. In a heap that leaves room for whatever else runs.
    ///
    /// # Errors
    /// If the sources do not compile.
    pub(crate) fn compile(&self, compilation: &Compilation<'_>) -> Result<()> {
        let Compilation { what, sources, classpath, friend, into } = compilation;
        let mut inputs = vec![self.lib.join("../package.json")];
        for source in *sources {
            inputs.extend(if source.is_dir() { files(source, &[])? } else { vec![source.clone()] });
        }
        inputs.extend(classpath.iter().cloned());
        let stamp = Stamp::of(into.with_extension("stamp"), &[what], &inputs)?;
        if stamp.is_fresh(&[into.to_path_buf()]) {
            return Ok(());
        }
        println!("  compiling {what}");
        let compiler = ["compiler", "stdlib", "reflect", "script-runtime"];
        let mut compiler: Vec<PathBuf> =
            compiler.iter().map(|name| self.lib.join(format!("kotlin-{name}.jar"))).collect();
        compiler.extend(["kotlinx-coroutines-core-jvm.jar", "annotations-13.0.jar"].map(|name| self.lib.join(name)));
        let mut java = java("1g");
        java.arg("-cp").arg(joined(&compiler)?).arg("org.jetbrains.kotlin.cli.jvm.K2JVMCompiler");
        java.args(["-no-stdlib", "-no-reflect", "-nowarn", "-jvm-target", &JAVA.to_string()]);
        if let Some(friend) = friend {
            java.arg(format!("-Xfriend-paths={}", friend.display()));
        }
        let all: Vec<PathBuf> = self.runtime().into_iter().chain(classpath.iter().cloned()).collect();
        java.arg("-cp").arg(joined(&all)?).arg("-d").arg(into).args(*sources);
        let output = java.output().context("cannot start `java`")?;
        ensure!(
            output.status.success(),
            "{what} does not compile ({}):\n{}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        stamp.write()
    }
}

/// A JVM for a short program: with a heap of this size, little else, and no time spent on optimizing.
pub(crate) fn java(heap: &str) -> Command {
    let mut java = command::command("java");
    java.arg(format!("-Xmx{heap}")).args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]);
    java
}

/// A class path.
///
/// # Errors
/// If a path has a character in it that separates paths.
pub(crate) fn joined(paths: &[PathBuf]) -> Result<OsString> {
    std::env::join_paths(paths).context("a path cannot be in a class path")
}

/// Reads `javac 17.0.15`.
fn java_version(said: &str) -> Option<u32> {
    said.trim().strip_prefix("javac ")?.split(['.', '-', '+']).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_java_are_read() {
        for (said, version) in
            [("javac 17.0.15\n", Some(17)), ("javac 25", Some(25)), ("javac 1.8.0_402", Some(1)), ("nothing", None)]
        {
            assert_eq!(java_version(said), version, "{said}");
        }
    }
}
