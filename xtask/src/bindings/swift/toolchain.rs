//! A Swift compiler: the one on the PATH, or Debian's in a folder of its own.
//!
//! Debian's packages are of a newer suite than the machine's, so nothing is installed: apt works out which packages there
//! must be, on an empty system, and they are unpacked into one folder, which is the root of a mount namespace when Swift runs.
//! The mirror is the one that apt on this machine uses, read when it is needed; apt checks signatures as always.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::report::clock;
use crate::{command, tools, workspace};

/// Debian 13, the first suite with Swift.
const SUITE: &str = "trixie";

/// The compiler, what its linker needs, and a system to run them in.
const WANTED: &[&str] = &["?essential", "swiftlang", "libstdc++-14-dev", "libc6-dev"];

/// The oldest compiler that knows the tools version of the packages.
const OLDEST: u32 = 6;

/// Debian's archive keys, where the package debian-archive-keyring puts them.
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

const BY_HAND: &str =
    "no Swift 6: please install it from https://www.swift.org/install, so that `swift` is on the PATH";

/// Where Debian puts the compiler, in the unpacked system.
const PATH: &str = "/usr/libexec/swift/bin:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin";

/// What the programs inside see of the machine's system: the certificates are for programs that look for them, though they
/// only call this machine.
const SYSTEM: [&str; 3] = ["/proc", "/dev", "/etc/ssl/certs"];

/// Mounts what follows at its own path below a root, up to `--`, and runs the rest in there.
const ENTER: &str = r#"
set -e
root=$1 home=$2 folder=$3
shift 3
mkdir -p "$home"
while [ "$1" != -- ]; do
    mkdir -p "$root$1"
    mount --rbind "$1" "$root$1"
    shift
done
shift
exec chroot "$root" /usr/bin/env -C "$folder" "PATH=$SCALE_SWIFT_PATH" "HOME=$home" "$@"
"#;

/// How to call the compiler.
pub(crate) struct Swift {
    /// The unpacked system, if it is not the machine's own.
    root: Option<PathBuf>,
}

impl Swift {
    /// A program of the toolchain, or any other that runs beside it, in `folder`. It sees the repository, the tools, what
    /// cargo builds and the folder for temporary files under their own paths.
    pub(crate) fn command(&self, program: &str, folder: &Path) -> Command {
        let mut command = match &self.root {
            None => {
                let mut command = command::command(program);
                command.current_dir(folder);
                command
            }
            Some(root) => inside(root, program, folder),
        };
        // A test that crashes on purpose would spend minutes on a backtrace.
        command.env("SWIFT_BACKTRACE", "enable=no");
        command
    }
}

/// Finds Swift, or unpacks it (some 540 MB to load).
///
/// # Errors
/// If there is none and none can be had; the message says what to install.
pub(crate) fn toolchain() -> Result<Swift> {
    if tools::on_path("swift") {
        let found = Swift { root: None };
        let version = version(&found)?;
        if version.0 >= OLDEST {
            println!("  {}", version.1);
            return Ok(found);
        }
        println!("  the Swift on the PATH is too old: {}", version.1);
    }
    let swift = Swift { root: Some(unpacked().context(BY_HAND)?) };
    println!("  {}", version(&swift)?.1);
    Ok(swift)
}

/// The root of Debian's Swift, unpacked if it is not there.
fn unpacked() -> Result<PathBuf> {
    let folder = workspace::tools_dir().join(format!("swift-{SUITE}"));
    if folder.is_dir() {
        return Ok(folder.join("root"));
    }
    for program in ["apt-get", "dpkg-deb", "unshare", "chroot"] {
        ensure!(tools::on_path(program), "{program} is not here: this way is for Debian only");
    }
    ensure!(command::succeeds(&mut namespace("true")), "this user may not make a mount namespace: try it as root");
    let started = Instant::now();
    println!("  unpacking Debian {SUITE}'s Swift into {} (it compiles and tests the Swift package)", folder.display());
    let partial = folder.with_extension("partial");
    if partial.exists() {
        // Left by a run that was interrupted.
        fs::remove_dir_all(&partial)?;
    }
    unpack(&partial)?;
    let swift = Swift { root: Some(partial.join("root")) };
    version(&swift).context("the unpacked Swift does not run")?;
    fs::rename(&partial, &folder)?;
    println!("  unpacked in {}", clock(started.elapsed()));
    Ok(folder.join("root"))
}

/// Loads and unpacks the packages, then drops everything that only apt needed.
fn unpack(folder: &Path) -> Result<()> {
    let (root, archives) = (folder.join("root"), folder.join("archives"));
    for part in ["lists/partial", "archives/partial", "root"] {
        fs::create_dir_all(folder.join(part))?;
    }
    fs::write(folder.join("status"), "")?;
    let signed_by = if Path::new(KEYRING).is_file() { format!("[signed-by={KEYRING}] ") } else { String::new() };
    fs::write(folder.join("sources.list"), format!("deb {signed_by}{} {SUITE} main\n", mirror()?))?;
    command::run_within(Duration::from_secs(300), apt(folder).args(["-qq", "update"]))
        .with_context(|| format!("this machine's Debian mirror does not offer {SUITE}"))?;
    let mut download = apt(folder);
    download.args(["-qq", "--yes", "--download-only", "--no-install-recommends", "install"]).args(WANTED);
    command::run_within(Duration::from_secs(1_800), download.stdout(Stdio::null()))?;
    let mut packages = fs::read_dir(&archives)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    packages.retain(|package| package.extension().is_some_and(|extension| extension == "deb"));
    // It has the links from /bin and /lib into /usr: other packages must find them.
    packages.sort_by_key(|package| (!file_name(package).starts_with("base-files_"), package.clone()));
    println!("  unpacking {} packages", packages.len());
    for package in packages {
        let unpacked = command::command("dpkg-deb").arg("--extract").arg(&package).arg(&root).status()?;
        ensure!(unpacked.success(), "dpkg-deb could not unpack {}", package.display());
    }
    command::run(&mut inside(&root, "ldconfig", Path::new("/")))?;
    for part in [&archives, &folder.join("lists")] {
        fs::remove_dir_all(part)?;
    }
    fs::remove_file(folder.join("sources.list"))?;
    Ok(())
}

/// apt with a package list of its own, for a system without any package: the machine's own stays as it is.
fn apt(folder: &Path) -> Command {
    let mut apt = command::command("apt-get");
    let places = [
        ("Dir::Etc::sourcelist", folder.join("sources.list")),
        ("Dir::Etc::sourceparts", PathBuf::from("/dev/null")),
        ("Dir::State::Lists", folder.join("lists")),
        ("Dir::State::status", folder.join("status")),
        ("Dir::State::extended_states", folder.join("extended_states")),
        ("Dir::Cache::archives", folder.join("archives")),
    ];
    apt.args(places.map(|(key, place)| format!("-o{key}={}", place.display())));
    apt.args(["-oDir::Cache::pkgcache=", "-oDir::Cache::srcpkgcache=", "-oAcquire::Languages=none"]);
    apt.args(["-oAcquire::IndexTargets::deb::DEP-11::DefaultEnabled=false", "-oAPT::Keep-Downloaded-Packages=true"]);
    // As root, apt would hand the download to a user who may not write here.
    apt.args(["-oAPT::Sandbox::User=root"]);
    apt
}

/// Where this machine's apt gets Debian's main component.
fn mirror() -> Result<String> {
    let format = ["indextargets", "--format", "$(COMPONENT) $(REPO_URI)", "Created-By: Packages"];
    let targets = command::output(command::command("apt-get").args(format))?;
    let main = targets.lines().filter_map(|line| line.strip_prefix("main ")).map(str::trim);
    let debian = main.into_iter().find(|uri| uri.trim_end_matches('/').ends_with("/debian"));
    Ok(debian.context("apt on this machine has no Debian mirror")?.to_owned())
}

/// `program` inside an unpacked system.
fn inside(root: &Path, program: &str, folder: &Path) -> Command {
    let mut command = namespace("sh");
    // In a variable: the command line is shown.
    command.env("SCALE_SWIFT_PATH", PATH).env("SCALE_SWIFT_ENTER", ENTER);
    command.args(["-c", "eval \"$SCALE_SWIFT_ENTER\"", "sh"]);
    // The compiler keeps a cache there, with paths in it: clones of the repository may share the tools, but not this.
    let home = crate::bindings::folder().join("swift-home");
    command.arg(root).arg(home).arg(folder).args(visible()).args(["--", program]);
    command
}

/// `program` in a mount namespace of its own, as root in there.
fn namespace(program: &str) -> Command {
    let mut command = command::command("unshare");
    if !tools::is_root() {
        command.arg("--map-root-user");
    }
    command.args(["--mount", "--propagation", "private", "--", program]);
    command
}

/// What the programs inside see of the machine.
fn visible() -> Vec<PathBuf> {
    let places = [workspace::root().to_owned(), workspace::tools_dir(), workspace::target_dir(), std::env::temp_dir()];
    let places = places.into_iter().filter_map(|place| place.canonicalize().ok());
    outermost(SYSTEM.map(PathBuf::from).into_iter().filter(|place| place.is_dir()).chain(places))
}

/// Those that lie in no other one.
fn outermost(places: impl IntoIterator<Item = PathBuf>) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = Vec::new();
    let mut places: Vec<_> = places.into_iter().collect();
    places.sort();
    for place in places {
        if !found.iter().any(|outer| place.starts_with(outer)) {
            found.push(place);
        }
    }
    found
}

/// The major version, and what the compiler says about itself.
fn version(swift: &Swift) -> Result<(u32, String)> {
    let said = command::output(swift.command("swift", workspace::root()).arg("--version"))?;
    match major(&said) {
        Some(major) => Ok((major, said.lines().next().unwrap_or_default().to_owned())),
        None => bail!("`swift --version` says {said:?}"),
    }
}

/// Reads `Swift version 6.0.3 (swift-6.0.3-RELEASE)`, also after other words.
fn major(said: &str) -> Option<u32> {
    said.split_once("Swift version ")?.1.split('.').next()?.parse().ok()
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_makers_are_read() {
        assert_eq!(major("Swift version 6.0.3 (swift-6.0.3-RELEASE)\nTarget: x86_64-pc-linux-gnu\n"), Some(6));
        assert_eq!(major("swift-driver version: 1.87 Apple Swift version 5.9.2 (swiftlang-5.9.2.2.56)"), Some(5));
        assert_eq!(major("OpenStack Swift"), None);
    }

    #[test]
    fn a_place_within_another_is_not_mounted_twice() {
        let places = ["/src/repo/target", "/tmp", "/src/repo", "/src/repository"].map(PathBuf::from);
        assert_eq!(outermost(places), ["/src/repo", "/src/repository", "/tmp"].map(PathBuf::from));
    }
}
