//! Dependency directions and banned packages.

use std::collections::BTreeSet;

use super::Violation;
use crate::lockfile::Lockfile;
use crate::workspace::{Dependency, Metadata, Package};

/// What each layer may look at; `dev` adds what only its tests may use, `testing` what may be there only with the feature
/// of that name: a test that runs in a browser is a function of the library.
struct Layer {
    package: &'static str,
    below: &'static [&'static str],
    dev: &'static [&'static str],
    testing: &'static [&'static str],
}

/// The feature of [`Layer::testing`].
const TESTING: &str = "testing";

const LAYERS: &[Layer] = &[
    Layer { package: "scale-privacy", below: &[], dev: &[], testing: &[] },
    Layer { package: "scale-secagg", below: &[], dev: &["scale-privacy"], testing: &[] },
    Layer { package: "scale-clock", below: &[], dev: &[], testing: &[] },
    // Its own tests need its faults.
    Layer { package: "scale-sql", below: &["scale-clock"], dev: &["scale-sql"], testing: &[] },
    Layer { package: "scale-proto", below: &["scale-secagg", "scale-clock"], dev: &[], testing: &[] },
    Layer { package: "scale-records", below: &["scale-sql", "scale-clock"], dev: &[], testing: &[] },
    Layer { package: "scale-rest", below: &["scale-records", "scale-sql", "scale-clock"], dev: &[], testing: &[] },
    Layer {
        package: "scale-coordinator",
        below: &["scale-sql", "scale-proto", "scale-clock", "scale-secagg", "scale-privacy"],
        // Its tests run whole rounds with the device that ships, not with one of their own.
        dev: &["scale-client-core"],
        testing: &[],
    },
    Layer {
        package: "scale-server",
        below: &[
            "scale-coordinator",
            "scale-rest",
            "scale-records",
            "scale-sql",
            "scale-proto",
            "scale-clock",
            "scale-secagg",
            "scale-privacy",
        ],
        dev: &[],
        testing: &[],
    },
    Layer {
        package: "scale-client-core",
        below: &["scale-proto", "scale-secagg", "scale-privacy"],
        dev: &[],
        testing: &[],
    },
    Layer { package: "scale-bindings", below: &["scale-client-core", "scale-proto"], dev: &[], testing: &[] },
    Layer {
        package: "scale-wasm",
        below: &["scale-bindings", "scale-client-core", "scale-proto"],
        dev: &[],
        // The speed of masking alone.
        testing: &["scale-secagg"],
    },
];

/// Look at every layer; no layer, and none of each other, looks at them.
const OUTSIDE: &[&str] = &["scale-bindgen", "scale-examples", "scale-tests", "scale-benches", "xtask"];

/// A package and what it does without, not even as a dependency of a dependency.
pub(super) struct Tree {
    pub(super) package: &'static str,
    /// Packages by name; one that ends with `-` stands for all that begin so.
    without: &'static [&'static str],
    pub(super) why: &'static str,
}

pub(super) const TREES: &[Tree] = &[
    Tree { package: "scale-server", without: &["burn", "burn-", "scale-client-core"], why: "a server never trains" },
    Tree {
        package: "scale-coordinator",
        without: &[
            "burn",
            "burn-",
            "scale-client-core",
            "scale-rest",
            "scale-records",
            "clap",
            "jsonwebtoken",
            "redis",
            "utoipa",
            "utoipa-axum",
        ],
        why: "rounds know neither people nor the process that serves them",
    },
];

impl Tree {
    /// Arguments of cargo that list it, for every target and feature.
    pub(super) fn arguments(&self) -> [&'static str; 8] {
        [
            "tree",
            "--locked",
            "--package",
            self.package,
            "--edges=normal",
            "--prefix=none",
            "--target=all",
            "--all-features",
        ]
    }

    /// Checks what [`Tree::arguments`] listed.
    pub(super) fn check(&self, listed: &str) -> Vec<Violation> {
        let names = names(listed);
        let mut violations = Vec::new();
        // A tree without its own root says nothing about the package.
        if !names.contains(self.package) {
            violations.push(Violation { place: self.package.into(), what: "is not in its own cargo tree".into() });
        }
        let banned = |name: &&str| {
            self.without.iter().any(|without| without == name || without.ends_with('-') && name.starts_with(without))
        };
        violations.extend(names.into_iter().filter(banned).map(|name| Violation {
            place: self.package.into(),
            what: format!(
                "has {name} in its dependency tree, but {}: `cargo tree -p {} -i {name}` shows the way",
                self.why, self.package
            ),
        }));
        violations
    }
}

/// Not in Cargo.lock at all: phones and browsers cannot build the first four, and rsa has an open timing leak
/// (RUSTSEC-2023-0071).
const BANNED: &[&str] = &["openssl-sys", "native-tls", "aws-lc-sys", "aws-lc-rs", "rsa"];

/// Two versions would mean two TLS stacks, two wire runtimes or two sets of curve arithmetic in one program.
const ONE_VERSION: &[&str] = &["tonic", "prost", "rustls", "curve25519-dalek", "ring"];

/// Checks every workspace member's own dependencies against [`LAYERS`].
pub(super) fn directions(metadata: &Metadata) -> Vec<Violation> {
    let members: BTreeSet<&str> = metadata.packages.iter().map(|package| package.name.as_str()).collect();
    let mut violations = Vec::new();
    for package in &metadata.packages {
        let layer = LAYERS.iter().find(|layer| layer.package == package.name);
        if layer.is_none() && !OUTSIDE.contains(&package.name.as_str()) {
            violations.push(Violation {
                place: package.name.clone(),
                what: "has no layer: add it to the table in xtask/src/layers/packages.rs".into(),
            });
            continue;
        }
        let ours = package.dependencies.iter().filter(|dependency| members.contains(dependency.name.as_str()));
        for dependency in ours {
            let allowed = match layer {
                Some(layer) => may_use(layer, package, dependency),
                None => !OUTSIDE.contains(&dependency.name.as_str()),
            };
            if !allowed {
                let kind = dependency.kind.as_deref().unwrap_or("normal");
                violations.push(Violation {
                    place: package.name.clone(),
                    what: format!("must not depend on {} ({kind} dependency)", dependency.name),
                });
            }
        }
    }
    violations
}

fn may_use(layer: &Layer, package: &Package, dependency: &Dependency) -> bool {
    let name = dependency.name.as_str();
    layer.below.contains(&name)
        || (dependency.kind.as_deref() == Some("dev") && layer.dev.contains(&name))
        || (dependency.optional && layer.testing.contains(&name) && only_for_testing(package, name))
}

/// Whether nothing but the feature `testing`, which no other feature turns on, turns on the optional dependency.
fn only_for_testing(package: &Package, dependency: &str) -> bool {
    let turns_on = |entry: &String| {
        entry == TESTING
            || entry
                .strip_prefix("dep:")
                .unwrap_or(entry)
                .split(['/', '?'])
                .next()
                .is_some_and(|name| name == dependency)
    };
    let others = package.features.iter().filter(|(feature, _)| *feature != TESTING);
    !others.flat_map(|(_, entries)| entries).any(turns_on)
}

/// The packages that `cargo tree --prefix none` lists.
pub(super) fn names(tree: &str) -> BTreeSet<&str> {
    tree.lines().filter_map(|line| line.split_whitespace().next()).collect()
}

/// Checks what `Cargo.lock` holds, for every target and feature.
pub(super) fn locked(lock: &Lockfile) -> Vec<Violation> {
    let violation = |what| Violation { place: "Cargo.lock".into(), what };
    let mut violations = Vec::new();
    for name in BANNED {
        if let [version, ..] = lock.versions(name)[..] {
            violations.push(violation(format!(
                "{name} {version} is banned: `cargo tree --target all -i {name}` shows who wants it"
            )));
        }
    }
    for name in ONE_VERSION {
        let versions = lock.versions(name);
        if versions.len() != 1 {
            let found = if versions.is_empty() { "none".to_owned() } else { versions.join(", ") };
            violations.push(violation(format!("{name} must be there in exactly one version, found {found}")));
        }
    }
    violations
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// Packages with their dependencies, `dev:` before the name of a dev-dependency.
    fn metadata(packages: &[(&str, &[&str])]) -> Metadata {
        let dependency = |name: &&str| match name.strip_prefix("dev:") {
            Some(name) => Dependency { name: name.into(), kind: Some("dev".into()), optional: false },
            None => Dependency { name: (*name).into(), kind: None, optional: false },
        };
        let package = |(name, dependencies): &(&str, &[&str])| Package {
            name: (*name).into(),
            manifest_path: format!("/src/{name}/Cargo.toml").into(),
            dependencies: dependencies.iter().map(dependency).collect(),
            features: BTreeMap::new(),
        };
        Metadata { packages: packages.iter().map(package).collect() }
    }

    #[test]
    fn accepts_the_directions_of_the_design() {
        let metadata = metadata(&[
            ("scale-privacy", &["rand_core"]),
            ("scale-secagg", &["ring", "dev:scale-privacy"]),
            ("scale-proto", &["scale-secagg"]),
            ("scale-coordinator", &["scale-proto", "scale-secagg", "dev:scale-client-core"]),
            ("scale-client-core", &["scale-proto", "scale-secagg", "scale-privacy", "burn"]),
            ("scale-server", &["scale-coordinator", "scale-rest", "scale-records"]),
            ("scale-tests", &["dev:scale-coordinator", "dev:scale-client-core"]),
        ]);
        assert_eq!(directions(&metadata), []);
    }

    #[test]
    fn finds_planted_directions() {
        for (name, package, dependency) in [
            ("upwards", "scale-secagg", "scale-proto"),
            ("upwards from the bottom", "scale-privacy", "scale-secagg"),
            ("a dev exception used in production", "scale-secagg", "scale-privacy"),
            ("server to device", "scale-coordinator", "scale-client-core"),
            ("device to server", "scale-client-core", "scale-coordinator"),
            ("rounds to people", "scale-coordinator", "scale-rest"),
            ("rounds to the process", "scale-coordinator", "scale-server"),
            ("people to rounds", "scale-rest", "scale-coordinator"),
            ("inside to outside", "scale-proto", "scale-examples"),
            ("outside to outside", "scale-tests", "dev:xtask"),
            ("an unknown member", "scale-utils", "ring"),
        ] {
            let target = dependency.trim_start_matches("dev:");
            let metadata = metadata(&[(package, &[dependency]), (target, &[])]);
            let found = directions(&metadata);
            assert!(found.iter().any(|violation| violation.place == package), "{name}: {found:?}");
        }
    }

    #[test]
    fn a_dependency_for_testing_is_there_only_for_testing() {
        let found = |optional: bool, features: &[(&str, &[&str])]| {
            let mut metadata = metadata(&[("scale-wasm", &["scale-secagg"]), ("scale-secagg", &[])]);
            let package = &mut metadata.packages[0];
            package.dependencies[0].optional = optional;
            let entries = |(name, entries): &(&str, &[&str])| {
                ((*name).to_owned(), entries.iter().map(|entry| (*entry).to_owned()).collect())
            };
            package.features = features.iter().map(entries).collect();
            directions(&metadata).len()
        };
        let testing = ("testing", &["scale-client-core/testing", "dep:scale-secagg"][..]);
        assert_eq!(found(true, &[testing]), 0);
        assert_eq!(found(true, &[testing, ("default", &["quick"]), ("quick", &[])]), 0);
        assert_eq!(found(false, &[testing]), 1, "always there");
        for (why, other) in [
            ("on by default", ("default", &["testing"][..])),
            ("another feature", ("quick", &["dep:scale-secagg"])),
            ("its feature from another one", ("quick", &["scale-secagg/chosen-parameters"])),
            ("the feature that cargo makes", ("scale-secagg", &["dep:scale-secagg"])),
        ] {
            assert_eq!(found(true, &[testing, other]), 1, "{why}");
        }
        let mut elsewhere = metadata(&[("scale-proto", &["scale-privacy"]), ("scale-privacy", &[])]);
        elsewhere.packages[0].dependencies[0].optional = true;
        assert_eq!(directions(&elsewhere).len(), 1, "scale-proto may not");
    }

    #[test]
    fn finds_what_a_tree_does_without() {
        for tree in TREES {
            let listed = format!("{} v0.1.0 (/src/it)\nring v0.17.14\nburning-ship v1.0.0\n", tree.package);
            assert_eq!(tree.check(&listed), []);
            assert_eq!(tree.check(&format!("{listed}burn-tensor v0.22.1\n")).len(), 1);
            assert_eq!(tree.check(&format!("{listed}burn v0.22.1 (*)\n")).len(), 1);
            assert_eq!(tree.check("").len(), 1, "an empty tree proves nothing");
            let people = tree.check(&format!("{listed}scale-rest v0.1.0 (/src/rest)\nutoipa v6.0.0\n"));
            assert_eq!(people.len(), if tree.package == "scale-coordinator" { 2 } else { 0 });
        }
    }

    #[test]
    fn finds_banned_packages_and_second_versions() {
        let lock = |packages: &[(&str, &str)]| {
            let entry = |(name, version): &(&str, &str)| format!("name = \"{name}\"\nversion = \"{version}\"\n");
            Lockfile::parse(&packages.iter().map(entry).collect::<String>())
        };
        let good = [("tonic", "0.14.9"), ("prost", "0.14.6"), ("rustls", "0.23.4"), ("curve25519-dalek", "5.0.0")];
        let with =
            |more: &[(&'static str, &'static str)]| locked(&lock(&[&good[..], &[("ring", "0.17.14")], more].concat()));
        assert_eq!(with(&[]), []);
        assert_eq!(with(&[("openssl-sys", "0.9.1")]).len(), 1);
        assert_eq!(with(&[("rsa", "0.9.6"), ("aws-lc-rs", "1.0.0")]).len(), 2);
        assert_eq!(with(&[("rustls", "0.24.0-dev.0")]).len(), 1);
        assert_eq!(locked(&lock(&good)).len(), 1, "ring is missing");
    }
}
