//! The layers of ARCHITECTURE.md, checked against what cargo resolves.
//!
//! `codec <- core <- {store, auth, cluster} <- broker <- {integration, admin} <- cli`; `net` and
//! `link` stand beside them and import none of ours. `codec`, `core` and `link` reach no runtime
//! and no random source, not even through a third-party crate, and one cryptography provider serves
//! the whole tree.

use super::Finding;
use crate::failure::{Failure, Result};
use serde_json::Value;
use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::Command,
};

/// A crate under `crates/` and the others that it may use.
const LAYERS: &[(&str, &[&str])] = &[
    ("codec", &[]),
    ("core", &["codec"]),
    ("store", &["codec", "core"]),
    ("auth", &["codec", "core"]),
    ("cluster", &["codec", "core", "link"]),
    ("net", &[]),
    ("link", &[]),
    ("broker", &["codec", "core", "store", "auth", "cluster", "net", "link"]),
    ("integration", &["codec", "core", "broker", "net"]),
    ("admin", &["codec", "core", "broker", "net"]),
    (
        "cli",
        &["codec", "core", "store", "auth", "cluster", "net", "broker", "integration", "admin"],
    ),
];

/// Crates that a deterministic layer may not reach, at any distance.
const IMPURE_CRATES: &[&str] =
    &["tokio", "mio", "rand", "getrandom", "socket2", "smol", "async-std"];

/// Two of these in one process disagree at run time about which of them is the default.
const CRYPTO_PROVIDERS: &[&str] = &["ring", "aws-lc-rs"];

/// What cargo knows about the workspace, reduced to what the rules ask.
#[derive(Debug, Default)]
pub struct Workspace {
    /// The members.
    pub members: Vec<Member>,
    /// For each package id, the ids of the packages that it needs to run or to build, without those
    /// that only its tests need.
    pub needs: HashMap<String, Vec<String>>,
    /// For each id of the resolved graph, the name of the package.
    pub names: HashMap<String, String>,
}

/// A member of the workspace.
#[derive(Debug, Clone)]
pub struct Member {
    /// The id by which [`Workspace::needs`] knows it.
    pub id: String,
    /// The name that a dependency uses.
    pub name: String,
    /// Its directory, relative to the root of the repository, such as `crates/codec`.
    pub directory: String,
    /// Names of its direct dependencies of every kind, including those of its tests.
    pub dependencies: Vec<String>,
}

impl Workspace {
    /// Asks cargo, without the network if the packages are already here.
    ///
    /// # Errors
    /// Fails if cargo refuses the manifests, or if its answer is not understood.
    pub fn load(root: &Path) -> Result<Self> {
        let target = host_triple()?;
        let offline = cargo_metadata(root, &target, &["--offline"]);
        let text = offline.or_else(|_| cargo_metadata(root, &target, &[]))?;
        let metadata: Value = serde_json::from_str(&text)
            .map_err(|error| Failure::because("the answer of cargo metadata", error))?;
        let mut workspace = Self::from_metadata(&metadata, root);
        workspace.keep_built(&cargo_tree(root)?);
        Ok(workspace)
    }

    /// Forgets packages that are in the lock file only for other platforms or for features that
    /// nobody has chosen: cargo's metadata does not tell them apart.
    fn keep_built(&mut self, names: &HashSet<String>) {
        let Self { needs, names: names_by_id, .. } = self;
        needs.retain(|id, _| names_by_id.get(id).is_some_and(|name| names.contains(name)));
    }

    fn from_metadata(metadata: &Value, root: &Path) -> Self {
        let mut workspace = Self::default();
        let members: HashSet<&str> = strings(&metadata["workspace_members"]).collect();
        for package in array(&metadata["packages"]) {
            let (id, name) = (text(&package["id"]), text(&package["name"]));
            workspace.names.insert(id.to_owned(), name.to_owned());
            if members.contains(id) {
                let manifest = Path::new(text(&package["manifest_path"]));
                let directory = manifest.parent().and_then(|path| path.strip_prefix(root).ok());
                let dependencies = array(&package["dependencies"]).map(|d| text(&d["name"]));
                workspace.members.push(Member {
                    id: id.to_owned(),
                    name: name.to_owned(),
                    directory: directory.unwrap_or(manifest).to_string_lossy().into_owned(),
                    dependencies: dependencies.map(str::to_owned).collect(),
                });
            }
        }
        for node in array(&metadata["resolve"]["nodes"]) {
            let used = array(&node["deps"]).filter(|dependency| !is_for_tests_only(dependency));
            let used = used.map(|dependency| text(&dependency["pkg"]).to_owned()).collect();
            workspace.needs.insert(text(&node["id"]).to_owned(), used);
        }
        workspace
    }
}

/// Returns every breach of the layers.
#[must_use]
pub fn check(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for member in &workspace.members {
        if let Some(layer) = member.directory.strip_prefix("crates/") {
            findings.extend(upward_dependencies(workspace, member, layer));
            if matches!(layer, "codec" | "core" | "link") {
                findings.extend(impure_dependencies(workspace, member));
            }
        }
    }
    findings.extend(second_crypto_provider(workspace));
    findings
}

fn upward_dependencies(workspace: &Workspace, member: &Member, layer: &str) -> Vec<Finding> {
    let manifest = format!("{}/Cargo.toml", member.directory);
    let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == layer) else {
        let message = "a crate without a layer: name it in xtask/src/tidy/layers.rs and \
                       ARCHITECTURE.md, or put it into an existing one";
        return vec![Finding::new(&manifest, 1, "layers", message)];
    };
    let mut findings = Vec::new();
    for used in &workspace.members {
        let is_allowed = used
            .directory
            .strip_prefix("crates/")
            .is_some_and(|directory| allowed.contains(&directory) || directory == layer);
        if member.dependencies.contains(&used.name) && !is_allowed {
            let message = format!(
                "{layer} must not depend on {}: dependencies point down only; move what both \
                 need below both",
                used.name
            );
            findings.push(Finding::new(&manifest, 1, "layers", message));
        }
    }
    findings
}

fn impure_dependencies(workspace: &Workspace, member: &Member) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut seen, mut open) = (HashSet::new(), vec![vec![member.id.as_str()]]);
    while let Some(path) = open.pop() {
        let Some(id) = path.last().copied().filter(|id| seen.insert(*id)) else { continue };
        let name = workspace.names.get(id).map_or(id, String::as_str);
        if IMPURE_CRATES.contains(&name) {
            let names = path.iter().map(|id| workspace.names.get(*id).map_or(*id, String::as_str));
            let way = names.collect::<Vec<_>>().join(" -> ");
            let message = format!("a deterministic layer reaches {name} ({way}): cut that way");
            let manifest = format!("{}/Cargo.toml", member.directory);
            findings.push(Finding::new(&manifest, 1, "determinism", message));
        }
        for needed in workspace.needs.get(id).into_iter().flatten() {
            open.push(path.iter().copied().chain([needed.as_str()]).collect());
        }
    }
    findings
}

fn second_crypto_provider(workspace: &Workspace) -> Option<Finding> {
    let resolved: HashSet<&str> = workspace
        .needs
        .keys()
        .filter_map(|id| workspace.names.get(id))
        .map(String::as_str)
        .collect();
    let providers: Vec<_> =
        CRYPTO_PROVIDERS.iter().filter(|name| resolved.contains(**name)).collect();
    (providers.len() > 1).then(|| {
        let message = "ring and aws-lc-rs are both resolved: rustls would panic over which one is \
                       the default; choose by features (`cargo tree -i ring` shows who asks)";
        Finding::new("Cargo.lock", 1, "crypto-provider", message)
    })
}

fn cargo_metadata(root: &Path, target: &str, arguments: &[&str]) -> Result<String> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform", target])
        .args(arguments)
        .current_dir(root)
        .output()
        .map_err(|error| Failure::because("cargo metadata", error))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Failure::because("cargo metadata", String::from_utf8_lossy(&output.stderr)))
    }
}

/// Returns the names of all packages that are built on this platform, tests included.
fn cargo_tree(root: &Path) -> Result<HashSet<String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["tree", "--workspace", "--prefix", "none", "--format", "{p}"])
        .current_dir(root)
        .output()
        .map_err(|error| Failure::because("cargo tree", error))?;
    if !output.status.success() {
        return Err(Failure::because("cargo tree", String::from_utf8_lossy(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect())
}

/// Returns the triple that rustc compiles for by default.
///
/// # Errors
/// Fails if rustc does not answer.
pub fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| Failure::because("rustc -vV", error))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| Failure::because("rustc -vV", "names no host"))
}

/// Whether a package uses this dependency only for tests.
fn is_for_tests_only(dependency: &Value) -> bool {
    let mut kinds = array(&dependency["dep_kinds"]).peekable();
    kinds.peek().is_some() && kinds.all(|kind| kind["kind"] == "dev")
}

fn array(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    array(value).filter_map(Value::as_str)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{Member, Path, Workspace, check};
    use serde_json::json;

    /// Makes a workspace from lines `directory: dependency dependency`; the last part of a
    /// directory is the member's name.
    fn workspace(lines: &[&str]) -> Workspace {
        let mut workspace = Workspace::default();
        for line in lines {
            let (directory, dependencies) = line.split_once(':').expect("directory: dependencies");
            let name = directory.rsplit('/').next().expect("a name").to_owned();
            let dependencies: Vec<String> =
                dependencies.split_whitespace().map(str::to_owned).collect();
            for id in dependencies.iter().chain([&name]) {
                workspace.names.insert(id.clone(), id.clone());
                workspace.needs.entry(id.clone()).or_default();
            }
            workspace.needs.insert(name.clone(), dependencies.clone());
            if directory.contains('/') {
                let directory = directory.to_owned();
                workspace.members.push(Member { id: name.clone(), name, directory, dependencies });
            }
        }
        workspace
    }

    fn rules(lines: &[&str]) -> Vec<(String, &'static str)> {
        let findings = check(&workspace(lines)).into_iter();
        findings.map(|finding| (finding.path, finding.rule)).collect()
    }

    #[test]
    fn the_layers_as_drawn_pass() {
        let drawn = [
            "crates/codec:",
            "crates/core: codec smallvec",
            "crates/net: mio",
            "crates/broker: core codec net",
            "crates/cli: broker codec",
            "./conformance: broker codec",
        ];
        assert_eq!(rules(&drawn), []);
    }

    #[test]
    fn an_upward_dependency_is_found() {
        let found = rules(&["crates/codec: core", "crates/core:"]);
        assert_eq!(found, [("crates/codec/Cargo.toml".into(), "layers")]);
        let found = rules(&["crates/net: codec", "crates/codec:"]);
        assert_eq!(found, [("crates/net/Cargo.toml".into(), "layers")]);
        let found = rules(&["crates/broker: conformance", "./conformance:"]);
        assert_eq!(found, [("crates/broker/Cargo.toml".into(), "layers")]);
    }

    #[test]
    fn a_crate_without_a_layer_is_found() {
        let found = rules(&["crates/utilities:"]);
        assert_eq!(found, [("crates/utilities/Cargo.toml".into(), "layers")]);
    }

    #[test]
    fn a_runtime_behind_somebody_elses_crate_is_found() {
        let found = rules(&["crates/core: helper", "helper: tokio"]);
        assert_eq!(found, [("crates/core/Cargo.toml".into(), "determinism")]);
        assert_eq!(rules(&["crates/broker: helper", "helper: tokio"]), []);
    }

    #[test]
    fn a_second_crypto_provider_is_found() {
        let found = rules(&["crates/net: ring tls", "tls: aws-lc-rs"]);
        assert_eq!(found, [("Cargo.lock".into(), "crypto-provider")]);
        assert_eq!(rules(&["crates/net: ring", "tls: ring"]), []);
    }

    #[test]
    fn what_is_built_on_no_platform_of_ours_is_not_looked_at() {
        let mut workspace = workspace(&["crates/net: tls", "tls: aws-lc-rs ring"]);
        workspace.keep_built(&["net", "tls", "aws-lc-rs"].map(str::to_owned).into());
        assert_eq!(check(&workspace).len(), 0);
    }

    #[test]
    fn metadata_is_reduced_without_the_dependencies_of_tests() {
        let metadata = json!({
            "workspace_members": ["core-id"],
            "packages": [
                { "id": "core-id", "name": "midge-core",
                  "manifest_path": "/r/crates/core/Cargo.toml",
                  "dependencies": [{ "name": "slab" }, { "name": "proptest" }] },
                { "id": "slab-id", "name": "slab", "manifest_path": "/s/Cargo.toml",
                  "dependencies": [] },
            ],
            "resolve": { "nodes": [{ "id": "core-id", "deps": [
                { "pkg": "slab-id", "dep_kinds": [{ "kind": null }] },
                { "pkg": "proptest-id", "dep_kinds": [{ "kind": "dev" }] },
            ] }] },
        });
        let workspace = Workspace::from_metadata(&metadata, Path::new("/r"));
        assert_eq!(workspace.members.len(), 1);
        assert_eq!(workspace.members[0].directory, "crates/core");
        assert_eq!(workspace.members[0].dependencies, ["slab", "proptest"]);
        assert_eq!(workspace.needs["core-id"], ["slab-id"]);
    }
}
