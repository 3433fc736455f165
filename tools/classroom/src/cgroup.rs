//! Cgroups that a classroom host has for itself.
//!
//! There is no namespace that makes new cgroups: they are folders of the machine, and need root. A
//! host gets a folder of its own in every tree that the steps use, in the place of the tree's root.

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use crate::Error;
use crate::Host;
use crate::Result;
use crate::error::Attempt;
use crate::root::is_root;
use crate::until;

/// The controllers that the steps use: on version 1 each has a tree.
const TREES: [&str; 3] = ["pids", "memory", "cpu"];

/// The cgroup folders of one host. They are removed when this is dropped: hold it longer than what
/// runs in them.
pub struct Cgroups {
    /// Whether this is the unified hierarchy, version 2.
    pub v2: bool,
    folders: Vec<PathBuf>,
}

impl Cgroups {
    /// Gives `host` cgroups of its own: what is mounted on /sys/fs/cgroup there shows only these.
    ///
    /// # Errors
    /// [`Error::NeedsRoot`] if this is not root; [`Error::Missing`] if the machine has no cgroup trees for pids, memory
    /// and cpu, or nobody may make a folder in them (in a container they are often read-only).
    pub fn on(host: &Host) -> Result<Cgroups> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        if !is_root() {
            return Err(Error::NeedsRoot("only root can make a cgroup".into()));
        }
        let top = Path::new("/sys/fs/cgroup");
        let v2 = top.join("cgroup.controllers").exists();
        let trees: &[&str] = if v2 { &[""] } else { &TREES };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("classroom-{}-{count}", std::process::id());
        let mut cgroups = Cgroups { v2, folders: Vec::new() };
        let mut script = String::from("set -e\n");
        for tree in trees {
            let tree = top.join(tree);
            if !tree.join("cgroup.procs").exists() {
                let tree = tree.display();
                return Err(Error::Missing(format!(
                    "there is no cgroup tree {tree} here (see cgroups(7))"
                )));
            }
            let folder = tree.join(&name);
            let missing =
                |err| Error::Missing(format!("cannot make the cgroup {}: {err}", folder.display()));
            fs::create_dir(&folder).map_err(missing)?;
            script += &format!("mount --bind {} {}\n", folder.display(), tree.display());
            cgroups.folders.push(folder);
        }
        if v2 {
            for folder in [top, &cgroups.folders[0]] {
                let file = folder.join("cgroup.subtree_control");
                let missing =
                    |err| Error::Missing(format!("cannot write to {}: {err}", file.display()));
                fs::write(&file, "+cpu +memory +pids").map_err(missing)?;
            }
        }
        let mounted = host.run(&script)?;
        if mounted.status != 0 {
            return Err(Error::Failed(format!(
                "cannot mount the host's cgroups: {}",
                mounted.stderr
            )));
        }
        Ok(cgroups)
    }

    /// The cgroups on the host, in all trees.
    fn all(&self) -> impl Iterator<Item = PathBuf> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir())
    }

    /// Their names.
    pub fn list(&self) -> Vec<String> {
        self.all()
            .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect()
    }

    /// The value of a file of the only cgroup on the host: `v2_file` such as `memory.max`, or where this is version 1
    /// `v1_file` such as `memory/memory.limit_in_bytes`, which is tree and name.
    ///
    /// # Errors
    /// If there is no such file, or not one cgroup.
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

impl Drop for Cgroups {
    fn drop(&mut self) {
        // Where a test has failed its processes may be dying yet.
        for _ in 0..1000 {
            self.folders.iter().for_each(remove);
            if !self.folders.iter().any(|folder| folder.exists()) {
                return;
            }
            thread::sleep(Duration::from_millis(5));
        }
        eprintln!("cannot remove the cgroups {:?}: they are not empty", self.folders);
    }
}

/// Removes a cgroup folder and those below it, as far as they are empty.
fn remove(folder: &PathBuf) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    _ = fs::remove_dir(folder);
}
