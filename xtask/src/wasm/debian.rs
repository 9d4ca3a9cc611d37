//! A compiler for wasm32 out of Debian's own packages, for machines that reach a Debian mirror but not rustup's server; with
//! the sources of its standard library, which other targets are checked with.
//!
//! The packages come from a newer suite than the machine's, so nothing is installed: they are unpacked into one folder
//! and rustc runs through the loader and C library in there. The mirror is the one that apt on this machine uses, read
//! when it is needed; apt checks signatures as always. Needs no root.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::TARGET;
use crate::report::clock;
use crate::tools::rust::has_std;
use crate::{command, tools, workspace};

/// Debian 14, the first suite whose compiler is new enough for the dependencies and has a library for wasm32.
const SUITE: &str = "forky";

const WANTED: &[&str] = &["rustc", "libstd-rust-dev-wasm32"];

/// Dependencies of rustc for linking programs of that suite; this machine's own linker is used instead.
const NOT_WANTED: &[&str] = &["gcc", "binutils", "libc6-dev", "libc-gconv-modules-extra"];

/// Debian's archive keys, where the package debian-archive-keyring puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// The sources of the standard library, which every target can be built from.
const SOURCE: &str = "rust-src";

/// Like [`ensure()`], with the sources of the standard library beside the compiler (some 45 MB more to load).
///
/// # Errors
/// If apt is not there, its mirror lacks the suite, or the unpacked compiler does not run.
pub(crate) fn ensure_with_source() -> Result<PathBuf> {
    let wrapper = ensure()?;
    if has_source(&wrapper)? {
        return Ok(wrapper);
    }
    load_source()?;
    if has_source(&wrapper)? {
        return Ok(wrapper);
    }
    println!("  Debian {SUITE} has a newer compiler than the unpacked one: unpacking both again");
    fs::remove_dir_all(folder())?;
    let wrapper = ensure()?;
    load_source()?;
    ensure!(has_source(&wrapper)?, "the sources of Debian {SUITE} are not those of its own compiler: try again later");
    Ok(wrapper)
}

/// True if neither the compiler nor the sources have to be loaded.
pub(crate) fn is_unpacked_with_source() -> bool {
    has_source(&wrapper()).unwrap_or(false)
}

/// True if the sources are there, and of the compiler's own version: their folder's name ends with it.
fn has_source(wrapper: &Path) -> Result<bool> {
    let version = command::output(command::command(wrapper).arg("--version"))?;
    let version = version.split_whitespace().nth(1).context("the compiler does not say its version")?;
    // The packages themselves go when everything is unpacked.
    let is_complete = !folder().join("archives").exists();
    Ok(is_complete && folder().join(format!("root/usr/src/rustc-{version}/library/std/Cargo.toml")).is_file())
}

fn load_source() -> Result<()> {
    println!("  loading the standard library's sources of Debian {SUITE}");
    let folder = folder();
    Apt::prepare(&folder)?.unpack(&BTreeSet::from([SOURCE.to_owned()]), &folder.join("root"))
}

/// Path of a script that runs the unpacked compiler; unpacks it first if it is not there (some 180 MB to load).
///
/// # Errors
/// If apt is not there, its mirror lacks the suite, or the unpacked compiler does not run.
pub(super) fn ensure() -> Result<PathBuf> {
    let (folder, wrapper) = (folder(), wrapper());
    if works(&wrapper, &folder.join("root")) {
        println!("  using {}", wrapper.display());
        return Ok(wrapper);
    }
    for program in ["apt-get", "apt-cache", "dpkg"] {
        ensure!(tools::on_path(program), "{program} is not here: this way is for Debian only");
    }
    let started = Instant::now();
    if folder.exists() {
        // Left by a run that was interrupted.
        fs::remove_dir_all(&folder)?;
    }
    let apt = Apt::prepare(&folder)?;
    let packages = apt.closure()?;
    println!("  loading {} packages of Debian {SUITE}", packages.len());
    let root = folder.join("root");
    apt.unpack(&packages, &root)?;
    write_wrapper(&wrapper, &root)?;
    ensure!(works(&wrapper, &root), "the unpacked compiler does not run: try `{} -vV`", wrapper.display());
    println!("  unpacked in {}", clock(started.elapsed()));
    Ok(wrapper)
}

fn folder() -> PathBuf {
    workspace::tools_dir().join(format!("rust-{SUITE}"))
}

/// The script that stands in for rustc.
fn wrapper() -> PathBuf {
    folder().join("rustc")
}

/// True if the compiler starts, uses the unpacked library, and that library has wasm32.
fn works(wrapper: &Path, root: &Path) -> bool {
    if !wrapper.is_file() {
        return false;
    }
    let sysroot = command::output(command::command(wrapper).args(["--print", "sysroot"]));
    sysroot.is_ok_and(|sysroot| Path::new(sysroot.trim()) == root.join("usr")) && has_std(&root.join("usr"), TARGET)
}

/// apt with a package list of its own: the machine's lists and packages stay as they are.
struct Apt {
    folder: PathBuf,
}

impl Apt {
    fn prepare(folder: &Path) -> Result<Self> {
        let apt = Self { folder: folder.to_owned() };
        fs::create_dir_all(apt.folder.join("lists/partial"))?;
        let signed_by = if Path::new(KEYRING).is_file() { format!("[signed-by={KEYRING}] ") } else { String::new() };
        let source = format!("deb {signed_by}{} {SUITE} main\n", mirror()?);
        fs::write(apt.sources(), source)?;
        command::run_within(Duration::from_secs(300), apt.command("apt-get").args(["-qq", "update"]))
            .with_context(|| format!("this machine's Debian mirror does not offer {SUITE}"))?;
        Ok(apt)
    }

    fn sources(&self) -> PathBuf {
        self.folder.join("sources.list")
    }

    fn command(&self, program: &str) -> Command {
        let option = |key: &str, value: &Path| format!("-o{key}={}", value.display());
        let mut command = command::command(program);
        command.arg(option("Dir::Etc::sourcelist", &self.sources()));
        command.arg(option("Dir::Etc::sourceparts", Path::new("/dev/null")));
        command.arg(option("Dir::State::Lists", &self.folder.join("lists")));
        // No cache files of this list in the machine's cache; no translations or icons.
        command.args(["-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=", "-oAcquire::Languages=none"]);
        command.args(["-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false"]);
        command
    }

    /// The wanted packages and what they depend on. Names carry versions, so they are asked for, not written down.
    fn closure(&self) -> Result<BTreeSet<String>> {
        let mut found = BTreeSet::new();
        let mut open: Vec<String> = WANTED.iter().map(|&name| name.to_owned()).collect();
        while !open.is_empty() {
            let mut depends = self.command("apt-cache");
            depends.args(["depends", "--important"]).args(&open);
            found.extend(open);
            let new: BTreeSet<_> = dependencies(&command::output(&mut depends)?).map(str::to_owned).collect();
            open = new.difference(&found).cloned().collect();
        }
        Ok(found)
    }

    /// Loads and unpacks `packages` into `root`, then drops everything that only apt needed.
    fn unpack(&self, packages: &BTreeSet<String>, root: &Path) -> Result<()> {
        let archives = self.folder.join("archives");
        fs::create_dir_all(&archives)?;
        fs::create_dir_all(root)?;
        let mut download = self.command("apt-get");
        // As root, apt would hand the download to a user who may not write here.
        download.current_dir(&archives).args(["-qq", "-oAPT::Sandbox::User=root", "download"]).args(packages);
        command::run_within(Duration::from_secs(1_200), &mut download)?;
        for entry in fs::read_dir(&archives)? {
            let unpacked = command::command("dpkg").arg("-x").arg(entry?.path()).arg(root).status()?;
            ensure!(unpacked.success(), "dpkg could not unpack a package into {}", root.display());
        }
        fs::remove_dir_all(&archives)?;
        fs::remove_dir_all(self.folder.join("lists"))?;
        fs::remove_file(self.sources())?;
        Ok(())
    }
}

/// Where this machine's apt gets Debian's main component.
fn mirror() -> Result<String> {
    let format = ["indextargets", "--format", "$(COMPONENT) $(REPO_URI)", "Created-By: Packages"];
    let targets = command::output(command::command("apt-get").args(format))?;
    match main_archive(&targets) {
        Some(mirror) => Ok(mirror.to_owned()),
        None => bail!("apt on this machine has no Debian mirror"),
    }
}

/// The first archive with a main component that is not the security archive, which has no suite of its own for this.
fn main_archive(targets: &str) -> Option<&str> {
    let main = targets.lines().filter_map(|line| line.strip_prefix("main "));
    main.map(str::trim).find(|uri| uri.trim_end_matches('/').ends_with("/debian"))
}

/// Reads real packages from `apt-cache depends`; `<name>` is a virtual one.
fn dependencies(output: &str) -> impl Iterator<Item = &str> {
    let names = output.lines().filter_map(|line| line.trim().split_once("Depends: ").map(|(_, name)| name.trim()));
    names.filter(|name| !name.starts_with('<') && !NOT_WANTED.contains(name))
}

/// Writes the script that stands in for rustc. Paths with a single quote are refused rather than escaped.
fn write_wrapper(wrapper: &Path, root: &Path) -> Result<()> {
    let shown = root.to_str().filter(|path| !path.contains('\''));
    let shown = shown.context("the tools folder's path must be plain text without a quote: set SCALE_TOOLS_DIR")?;
    let libraries = format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let loader = fs::read_dir(root.join(&libraries))?.flatten().map(|entry| entry.file_name());
    let loader = loader.filter_map(|name| name.into_string().ok()).find(|name| name.starts_with("ld-linux"));
    let loader = loader.context("the unpacked C library has no loader")?;
    let script = format!(
        "#!/bin/sh\n\
         # Debian {SUITE}'s rustc with the C library it was built for.\n\
         root='{shown}'\n\
         exec \"$root/{libraries}/{loader}\" --library-path \"$root/{libraries}\" \"$root/usr/bin/rustc\" --sysroot \"$root/usr\" \"$@\"\n"
    );
    fs::write(wrapper, script)?;
    #[cfg(unix)]
    fs::set_permissions(wrapper, std::os::unix::fs::PermissionsExt::from_mode(0o755))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_main_archive_is_told_from_security_and_other_vendors() {
        let targets = "main http://vendor.example/node_20.x/\nmain http://mirror.example/debian-security/\n\
                       contrib http://mirror.example/debian/\nmain http://mirror.example/debian/\n";
        assert_eq!(main_archive(targets), Some("http://mirror.example/debian/"));
        assert_eq!(main_archive("main http://mirror.example/ubuntu/\n"), None);
        assert_eq!(main_archive(""), None);
    }

    #[test]
    fn dependencies_leave_out_virtual_packages_and_the_linker() {
        let output = "rustc\n  Depends: libc6\n  Depends: gcc\n  Depends: <libc-dev>\n    libc6-dev\n |Depends: libz3-4\n\
                      libllvm22\n  PreDepends: libedit2\n";
        assert_eq!(dependencies(output).collect::<Vec<_>>(), ["libc6", "libz3-4", "libedit2"]);
    }
}
