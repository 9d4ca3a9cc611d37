//! What the code itself may import.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};

use super::Violation;
use super::tokens::{self, Path as Import};
use crate::workspace::Metadata;

/// Folders and what nothing in them may import, outside of test code.
pub(super) struct Rule {
    pub(super) folders: &'static [&'static str],
    /// Folders that the rule leaves out.
    except: &'static [&'static str],
    /// Leaves out files and folders whose name begins with `native`.
    except_native: bool,
    forbidden: &'static [Forbidden],
    why: &'static str,
}

enum Forbidden {
    /// A path that begins so: a whole crate, or a module such as `std::fs`.
    Under(&'static str),
    /// This name anywhere in a path.
    Name(&'static str),
}

use Forbidden::{Name, Under};

pub(super) const RULES: &[Rule] = &[
    Rule {
        folders: &["coordinator/src/round", "coordinator/src/aggregate"],
        except: &[],
        except_native: false,
        forbidden: &[
            Under("tokio"),
            Under("tonic"),
            Under("axum"),
            Under("sqlx"),
            Name("SystemTime"),
            Name("Instant"),
            Name("now_utc"),
        ],
        why: "rounds are decided and models averaged without I/O, a runtime or a clock; time enters as `now`",
    },
    Rule {
        folders: &["secagg/src", "privacy/src"],
        except: &[],
        except_native: false,
        forbidden: &[
            Under("tokio"),
            Under("std::fs"),
            Under("std::net"),
            Name("SystemTime"),
            Name("Instant"),
            Name("thread_rng"),
            Name("getrandom"),
            Name("SystemRandom"),
        ],
        why: "protocol and noise are pure; time and randomness are handed in",
    },
    Rule {
        folders: &["client-core/src"],
        except: &[],
        except_native: true,
        // Of tokio, only its locks: they need no runtime, and work on one thread.
        forbidden: &[
            Under("tokio::fs"),
            Under("tokio::io"),
            Under("tokio::net"),
            Under("tokio::runtime"),
            Under("tokio::select"),
            Under("tokio::spawn"),
            Under("tokio::task"),
            Under("tokio::time"),
            Under("tonic"),
            Under("std::fs"),
            Name("SystemTime"),
            Name("Instant"),
        ],
        why: "this code also runs in a browser; what a platform brings goes through the host traits",
    },
    Rule {
        folders: &[
            "privacy/src/gaussian",
            "privacy/src/ledger/spend",
            "secagg/src/client/mask",
            "secagg/src/pack",
            "secagg/src/prg",
            "client-core/src/device/payload",
        ],
        except: &[],
        except_native: false,
        forbidden: &[Name("f32"), Name("f64"), Under("rand_distr"), Under("statrs"), Name("to_f64")],
        why: "between the rounding of an update and its upload everything is an integer: float noise tells values apart",
    },
    Rule {
        folders: &["client-core/src"],
        except: &["client-core/src/device/payload.rs"],
        except_native: false,
        forbidden: &[Name("Cleared"), Name("mask"), Name("Noised")],
        why: "a device masks in device/payload.rs alone, and nothing but what the privacy ledger let be noised",
    },
    // The only folders of what runs on phones that may open files.
    Rule {
        folders: &["client-core/src/host", "client-core/src/transport", "bindings/src"],
        except: &["client-core/src/host/native/lock/elsewhere.rs"],
        except_native: false,
        forbidden: &[
            Name("try_lock"),
            Name("try_lock_shared"),
            Name("try_lock_exclusive"),
            Name("lock_exclusive"),
            Name("lock_shared"),
            Name("TryLockError"),
        ],
        why: "before Rust 1.98 the standard library's file lock fails on every Android phone: use host/native/lock.rs",
    },
];

/// The one module that may use SIMD intrinsics, as a file `prg.rs` or a folder `prg/`.
pub(super) const UNSAFE_ALLOWED: &str = "secagg/src/prg";

/// Longer files get a warning: somewhere in them is a seam.
const MANY_LINES: usize = 800;

/// All Rust files of `folders`, relative to `root`, in order.
///
/// # Errors
/// If a folder (or the file of that module) does not exist or holds no code: a rule about nothing would hold nothing.
pub(super) fn files(root: &Path, folders: &[&str]) -> Result<Vec<PathBuf>> {
    let mut all = Vec::new();
    for folder in folders {
        let mut found = Vec::new();
        walk(root, Path::new(folder), &mut found)?;
        let as_file = PathBuf::from(format!("{folder}.rs"));
        if root.join(&as_file).is_file() {
            found.push(as_file);
        }
        ensure!(!found.is_empty(), "{folder} holds no Rust file: correct the rule in xtask/src/layers/source.rs");
        all.append(&mut found);
    }
    all.sort();
    Ok(all)
}

/// All Rust files of all members of the workspace.
///
/// # Errors
/// If a folder cannot be read.
pub(super) fn package_files(root: &Path, metadata: &Metadata) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for package in &metadata.packages {
        let folder = package.manifest_path.parent().and_then(|folder| folder.strip_prefix(root).ok());
        let folder = folder.with_context(|| format!("{} lies outside of the repository", package.name))?;
        walk(root, folder, &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !root.join(folder).is_dir() {
        return Ok(());
    }
    let entries = fs::read_dir(root.join(folder)).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        let kind = entry.file_type()?;
        if kind.is_dir() && !is_build_output(&path) {
            walk(root, &path, files)?;
        } else if kind.is_file() && path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    Ok(())
}

fn is_build_output(folder: &Path) -> bool {
    folder.file_name().is_some_and(|name| name == "target" || name == "node_modules" || name == "pkg")
}

/// Checks one rule.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn imports(root: &Path, rule: &Rule, files: &[PathBuf]) -> Result<Vec<Violation>> {
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| rule.covers(file)) {
        violations.extend(rule.check(file, &read(root, file)?));
    }
    Ok(violations)
}

/// Finds the keyword `unsafe` outside of [`UNSAFE_ALLOWED`], tests included.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn unsafe_code(root: &Path, files: &[PathBuf]) -> Result<Vec<Violation>> {
    let allowed =
        |file: &Path| file.starts_with(UNSAFE_ALLOWED) || file.with_extension("") == Path::new(UNSAFE_ALLOWED);
    let mut violations = Vec::new();
    for file in files.iter().filter(|file| !allowed(file)) {
        violations.extend(unsafe_lines(file, &read(root, file)?));
    }
    Ok(violations)
}

fn unsafe_lines(file: &Path, text: &str) -> Vec<Violation> {
    let lines = tokens::lines_with(&tokens::tokens(text), "unsafe");
    let violation = |line| Violation {
        place: format!("{}:{line}", file.display()),
        what: format!("unsafe code belongs in {UNSAFE_ALLOWED} only"),
    };
    lines.into_iter().map(violation).collect()
}

/// Names the files below a `src` folder that have grown too long.
///
/// # Errors
/// If a file cannot be read.
pub(super) fn long_files(root: &Path, files: &[PathBuf]) -> Result<Vec<Violation>> {
    let mut long = Vec::new();
    for file in files.iter().filter(|file| file.components().any(|part| part.as_os_str() == "src")) {
        let lines = read(root, file)?.lines().count();
        if lines > MANY_LINES {
            long.push(Violation {
                place: file.display().to_string(),
                what: format!("{lines} lines; past {MANY_LINES}, look for the seam"),
            });
        }
    }
    Ok(long)
}

fn read(root: &Path, file: &Path) -> Result<String> {
    fs::read_to_string(root.join(file)).with_context(|| format!("cannot read {}", file.display()))
}

impl Rule {
    fn covers(&self, file: &Path) -> bool {
        let is_test = file.iter().any(|part| part == "tests" || part == "tests.rs");
        let is_native = file.iter().any(|part| part.to_string_lossy().starts_with("native"));
        let excepted = self.except.iter().any(|except| file.starts_with(except)) || (self.except_native && is_native);
        !is_test && !excepted
    }

    fn check(&self, file: &Path, text: &str) -> Vec<Violation> {
        let paths = tokens::paths(&tokens::without_tests(&tokens::tokens(text)));
        let broken = paths.iter().filter(|path| self.forbidden.iter().any(|forbidden| forbidden.matches(path)));
        let violation = |path: &Import| Violation {
            place: format!("{}:{}", file.display(), path.line),
            what: format!("`{}` is forbidden here: {}", path.segments.join("::"), self.why),
        };
        broken.map(violation).collect()
    }
}

impl Forbidden {
    fn matches(&self, path: &Import) -> bool {
        match self {
            Name(name) => path.segments.iter().any(|segment| segment == name),
            Under(prefix) => {
                let mut wanted = prefix.split("::");
                let mut written = path.segments.iter();
                // A single word in an expression is a variable or a field, not a crate.
                let names_item = path.import || path.segments.len() > 1;
                names_item
                    && wanted.all(|wanted| written.next().is_some_and(|segment| segment == wanted || segment == "*"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUND: &Rule = &RULES[0];
    const PURE: &Rule = &RULES[1];
    const DEVICE: &Rule = &RULES[2];
    const EXACT: &Rule = &RULES[3];
    const MASKING: &Rule = &RULES[4];
    const LOCKS: &Rule = &RULES[5];

    fn broken(rule: &Rule, text: &str) -> usize {
        rule.check(Path::new("x.rs"), text).len()
    }

    #[test]
    fn finds_planted_imports() {
        for (name, rule, text) in [
            ("plain", ROUND, "use tokio::sync::Mutex;"),
            ("whole crate", ROUND, "use sqlx;"),
            ("extern crate", ROUND, "extern crate tonic;"),
            ("renamed", ROUND, "use axum as web;"),
            ("written out", ROUND, "fn f() { ::tokio::spawn(async {}); }"),
            ("macro", ROUND, "async fn f() { tokio::select! {} }"),
            ("attribute", ROUND, "#[tonic::async_trait] impl A for B {}"),
            ("clock in a tree", ROUND, "use std::{time::{Duration, Instant}, sync::Arc};"),
            ("clock written out", ROUND, "let now = std::time::SystemTime::now();"),
            ("file system in a tree", PURE, "use std::{fmt, fs::File};"),
            ("glob of std", PURE, "use std::*;"),
            ("net in a type", PURE, "fn f(a: std::net::IpAddr) {}"),
            ("global randomness", PURE, "let r = rand::thread_rng();"),
            ("system randomness", PURE, "getrandom::fill(&mut seed).unwrap();"),
            ("float noise", EXACT, "use rand_distr::Normal;"),
            ("a float in passing", EXACT, "fn f(x: u32) -> u32 { (x as f64 * 0.5) as u32 }"),
            ("a float from an integer", EXACT, "let x = f64::from(entry);"),
            ("a mask elsewhere", MASKING, "fn f(c: client::Cleared) { c.mask(vectors) }"),
            ("noise elsewhere", MASKING, "use scale_privacy::ledger::{Ledger, Noised};"),
            ("a file lock", LOCKS, "let taken = file.try_lock();"),
            ("a file lock's error", LOCKS, "use std::fs::{File, TryLockError};"),
            ("after a test", DEVICE, "#[cfg(test)] mod tests {} use std::fs;"),
            ("after a char", DEVICE, "let quote = '\"'; std::fs::read(\"a\");"),
        ] {
            assert!(broken(rule, text) > 0, "{name}: {text}");
        }
    }

    #[test]
    fn allows_what_is_allowed() {
        for (name, rule, text) in [
            ("words in comments", ROUND, "/// Not tokio::spawn, no Instant.\nfn f() {}"),
            ("words in strings", ROUND, "let sentence = \"use tokio::spawn\";"),
            ("a field's name", ROUND, "let tokio = self.tokio;"),
            ("a longer name", ROUND, "use tokio_like::x; struct InstantNoodles;"),
            ("floats in tests", EXACT, "#[cfg(test)] mod tests { fn f(x: f64) {} }"),
            ("other masks", MASKING, "fn f(m: client::Masked, mask_key: u8) {}"),
            ("other locks", LOCKS, "let turn = self.turn.lock_owned().await; let map = map.lock();"),
            ("tests", PURE, "#[cfg(test)] mod tests { use std::time::Instant; }"),
            ("other parts of std", PURE, "use std::{collections::BTreeMap, fmt};"),
            ("own module", PURE, "use crate::fs::x; use self::net;"),
        ] {
            assert_eq!(broken(rule, text), 0, "{name}: {text}");
        }
    }

    #[test]
    fn exceptions_are_by_path() {
        for (file, covered) in [
            ("client-core/src/device/mod.rs", true),
            ("client-core/src/alternative.rs", true),
            ("client-core/src/transport/grpc.rs", true),
            ("client-core/src/transport/native.rs", false),
            ("client-core/src/host/native.rs", false),
            ("client-core/src/native/store.rs", false),
            ("client-core/src/device/tests.rs", false),
        ] {
            assert_eq!(DEVICE.covers(Path::new(file)), covered, "{file}");
        }
        assert!(PURE.covers(Path::new("secagg/src/native.rs")));
        assert!(MASKING.covers(Path::new("client-core/src/device/state.rs")));
        assert!(!MASKING.covers(Path::new("client-core/src/device/payload.rs")));
        assert!(LOCKS.covers(Path::new("client-core/src/host/native/ledger.rs")));
        assert!(LOCKS.covers(Path::new("bindings/src/phones/client.rs")));
        assert!(!LOCKS.covers(Path::new("client-core/src/host/native/lock/elsewhere.rs")));
    }

    #[test]
    fn finds_planted_unsafe_code() {
        let text = "#![forbid(unsafe_code)]\n// unsafe\nfn f() {\n    unsafe { g() }\n}\n";
        let found = unsafe_lines(Path::new("x.rs"), text);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].place, "x.rs:4");
    }

    #[test]
    fn a_rule_about_nothing_is_an_error() {
        let error = files(crate::workspace::root(), &["secagg/src/no_such_folder"]).unwrap_err();
        assert!(error.to_string().contains("no_such_folder"));
    }
}
