//! Holds the architecture: who may depend on whom, what the pure parts may not import, which packages are banned.
//!
//! [`packages`] looks at `cargo metadata`, `cargo tree` and `Cargo.lock`; [`source`] at what the code says. The rules
//! are tables at the head of each file: a change to the architecture is a change to a table.

mod packages;
mod source;
mod tokens;

use std::fmt;

use anyhow::{Result, bail};

use crate::command;
use crate::lockfile::Lockfile;
use crate::workspace::{self, Metadata};

/// One broken rule: where, and what to do about it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Violation {
    place: String,
    what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.what)
    }
}

/// Runs every check and prints what each looked at.
///
/// # Errors
/// If a rule is broken, or a rule looks at a folder that is not there (such a rule would hold nothing).
pub(crate) fn run() -> Result<()> {
    let root = workspace::root();
    let metadata = Metadata::read()?;
    let mut violations = Vec::new();

    let mut check = |what: String, found: Vec<Violation>| {
        println!("  {} {what}", if found.is_empty() { "ok    " } else { "BROKEN" });
        violations.extend(found);
    };
    check(
        format!("{} packages depend only on the layers below them", metadata.packages.len()),
        packages::directions(&metadata),
    );
    for tree in packages::TREES {
        let listed = command::output(command::cargo().args(tree.arguments()))?;
        let count = packages::names(&listed).len();
        check(format!("{count} packages in the tree of {}: {}", tree.package, tree.why), tree.check(&listed));
    }
    check("Cargo.lock: banned packages, packages with one version".into(), packages::locked(&Lockfile::read(root)?));
    for rule in source::RULES {
        let files = source::files(root, rule.folders)?;
        let what = format!("{}: {} files import only what they may", rule.folders.join(", "), files.len());
        check(what, source::imports(root, rule, &files)?);
    }
    let files = source::package_files(root, &metadata)?;
    check(
        format!("{} files: unsafe code only in {}", files.len(), source::UNSAFE_ALLOWED),
        source::unsafe_code(root, &files)?,
    );

    for warning in source::long_files(root, &files)? {
        println!("  warning: {warning}");
    }
    if violations.is_empty() {
        return Ok(());
    }
    violations.sort();
    for violation in &violations {
        eprintln!("  {violation}");
    }
    bail!("{} violation(s); the rules and their reasons stand in xtask/src/layers", violations.len());
}
