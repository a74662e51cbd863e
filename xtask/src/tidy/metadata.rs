//! What `cargo metadata` says of the packages and of who depends on whom.

use crate::cargo::cargo;
use anyhow::{Context as _, Result, bail};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A package, of the workspace or from a registry.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Package {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) version: String,
    #[serde(default)]
    pub(super) license: Option<String>,
}

/// The whole graph of packages.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    resolve: Resolve,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dependency>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Dependency {
    pkg: String,
    dep_kinds: Vec<DependencyKind>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct DependencyKind {
    /// Absent for a normal dependency, else `dev` or `build`.
    #[serde(default)]
    kind: Option<String>,
}

/// Which dependencies to follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// What the package itself is compiled with.
    Normal,
    /// What only its tests and benches are compiled with.
    Dev,
}

impl Metadata {
    /// Asks cargo.
    pub(super) fn load() -> Result<Self> {
        let output = cargo(&["metadata", "--format-version", "1", "--locked"])
            .output()
            .context("cannot start cargo metadata")?;
        if !output.status.success() {
            bail!("cargo metadata: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        serde_json::from_slice(&output.stdout).context("cargo metadata")
    }

    /// Every package, in no particular order.
    pub(super) fn packages(&self) -> &[Package] {
        &self.packages
    }

    /// The packages of the workspace.
    pub(super) fn members(&self) -> impl Iterator<Item = &Package> {
        self.packages.iter().filter(|package| self.workspace_members.contains(&package.id))
    }

    /// Whether the package belongs to the workspace.
    pub(super) fn is_member(&self, package: &Package) -> bool {
        self.workspace_members.contains(&package.id)
    }

    /// What `package` depends on directly in this way.
    pub(super) fn direct(&self, package: &Package, kind: Kind) -> Vec<&Package> {
        let node = self.resolve.nodes.iter().find(|node| node.id == package.id);
        let wanted = match kind {
            Kind::Normal => None,
            Kind::Dev => Some("dev"),
        };
        node.into_iter()
            .flat_map(|node| &node.deps)
            .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.as_deref() == wanted))
            .filter_map(|dep| self.packages.iter().find(|package| package.id == dep.pkg))
            .collect()
    }

    /// Everything `package` is compiled with, directly or not, by name, each with the way to it.
    pub(super) fn closure(&self, package: &Package) -> BTreeMap<String, String> {
        let mut ways = BTreeMap::new();
        let mut seen = BTreeSet::from([package.id.clone()]);
        let mut open = vec![(package, package.name.clone())];
        while let Some((at, way)) = open.pop() {
            for next in self.direct(at, Kind::Normal) {
                if seen.insert(next.id.clone()) {
                    let way = format!("{way} → {}", next.name);
                    ways.insert(next.name.clone(), way.clone());
                    open.push((next, way));
                }
            }
        }
        ways
    }

    /// The packages that depend on one of this name directly, other than by a dev-dependency.
    pub(super) fn dependents(&self, name: &str) -> Vec<&Package> {
        let depends = |package: &&Package| {
            self.direct(package, Kind::Normal).iter().any(|dependency| dependency.name == name)
        };
        self.packages.iter().filter(depends).collect()
    }
}

/// A graph in a few words, for tests: `a -> b c, a => d` (a dev-dependency), members first.
#[cfg(test)]
pub(super) fn graph(members: &[&str], arrows: &[(&str, &str, Kind)]) -> Metadata {
    let mut names: BTreeSet<&str> = members.iter().copied().collect();
    names.extend(arrows.iter().flat_map(|(from, to, _)| [*from, *to]));
    let package = |name: &&str| Package {
        id: (*name).to_owned(),
        name: (*name).to_owned(),
        version: "1.0.0".to_owned(),
        license: Some("MIT".to_owned()),
    };
    let node = |name: &&str| {
        let arrows = arrows.iter().filter(|(from, _, _)| from == name);
        let deps = arrows.map(|(_, to, kind)| Dependency {
            pkg: (*to).to_owned(),
            dep_kinds: vec![DependencyKind {
                kind: (*kind == Kind::Dev).then(|| "dev".to_owned()),
            }],
        });
        Node { id: (*name).to_owned(), deps: deps.collect() }
    };
    Metadata {
        packages: names.iter().map(package).collect(),
        workspace_members: members.iter().map(|name| (*name).to_owned()).collect(),
        resolve: Resolve { nodes: names.iter().map(node).collect() },
    }
}

#[cfg(test)]
impl Metadata {
    /// Changes one package in place.
    pub(super) fn with(mut self, name: &str, change: impl FnOnce(&mut Package)) -> Self {
        if let Some(package) = self.packages.iter_mut().find(|package| package.name == name) {
            change(package);
        }
        self
    }
}
