//! The cgroups of a classroom host.
//!
//! There is no namespace that makes new cgroups: they are folders of the machine, and need root. The host's
//! [fence](crate::fence) has a folder in every tree that the steps use, and on the host these are the roots of the
//! trees.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::Attempt;
use crate::fence::{LEAF, TREES, Wall};
use crate::{Error, Host, Result, until};

/// What was made in the trees of one host.
pub struct Cgroups {
    /// Whether this is the unified hierarchy, version 2.
    pub v2: bool,
    folders: Vec<PathBuf>,
}

impl Cgroups {
    /// Those of this host.
    ///
    /// # Errors
    /// [`Error::NeedsRoot`] if this is not root; [`Error::Missing`] if the machine has no cgroup trees for pids, memory
    /// and cpu, or nobody may make a folder in them (in a container they are often read-only).
    pub fn on(host: &Host) -> Result<Cgroups> {
        match &host.fence().wall {
            Wall::Cgroup(tree) => Ok(Cgroups { v2: tree.v2, folders: tree.roots() }),
            Wall::Limits => Err(Error::NeedsRoot("only root can make a cgroup".into())),
            Wall::Missing(why) => Err(why.clone()),
        }
    }

    /// The cgroups on the host, in all trees.
    fn all(&self) -> impl Iterator<Item = PathBuf> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let paths = entries.flatten().map(|entry| entry.path());
        paths.filter(|path| path.is_dir() && !(self.v2 && path.ends_with(LEAF)))
    }

    /// Their names.
    pub fn list(&self) -> Vec<String> {
        self.all()
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect()
    }

    /// Where they are, below /sys/fs/cgroup on the host: `pids/NAME` on version 1, `NAME` on version 2.
    pub fn places(&self) -> Vec<String> {
        let tree = |path: &PathBuf| {
            let at = self.folders.iter().position(|folder| path.parent() == Some(folder));
            at.filter(|_| !self.v2).map_or(String::new(), |at| format!("{}/", TREES[at]))
        };
        let name =
            |path: &PathBuf| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        self.all().map(|path| tree(&path) + &name(&path)).collect()
    }

    /// The value of a file of the only cgroup on the host: `v2_file` such as `memory.max`, or where this is version 1
    /// `v1_file` such as `memory/memory.limit_in_bytes`, which is tree and name.
    pub fn read(&self, v2_file: &str, v1_file: &str) -> Result<String> {
        let (tree, v1_file) = v1_file.split_once('/').unwrap_or_default();
        let file = if self.v2 { v2_file } else { v1_file };
        let in_tree = |path: &PathBuf| {
            self.v2 || path.parent().is_some_and(|top| self.folder(tree) == Some(top))
        };
        let cgroups: Vec<PathBuf> = self.all().filter(in_tree).collect();
        let [cgroup] = &cgroups[..] else {
            return Err(Error::Failed(format!(
                "there is not one cgroup for {file}, but {}",
                cgroups.len()
            )));
        };
        let file = cgroup.join(file);
        let text = fs::read_to_string(&file).attempt(&format!("read {}", file.display()))?;
        Ok(text.trim_end().to_string())
    }

    /// The host's folder in a tree of version 1.
    fn folder(&self, tree: &str) -> Option<&Path> {
        let at = TREES.iter().position(|name| *name == tree)?;
        self.folders.get(at).map(PathBuf::as_path)
    }

    /// Removes the empty cgroups on the host: what a runner leaves behind that was killed.
    ///
    /// # Errors
    /// If there are processes in one.
    pub fn clean(&self) -> Result<()> {
        until("the cgroups can be removed", || self.all().all(|path| fs::remove_dir(path).is_ok()))
    }
}
