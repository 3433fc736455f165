//! Cgroups that a classroom host has for itself.
//!
//! There is no namespace that makes new cgroups: they are folders of the machine, and need root. A
//! host gets a folder of its own in every tree that the steps use, in the place of the tree's root.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::host::Host;
use crate::need::{Missing, root};
use crate::session::until;

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
    /// If the tests are not run as root, or the machine has no cgroup trees for pids, memory and cpu, or
    /// nobody may make a folder in them (in a container they are often read-only).
    ///
    /// # Panics
    /// If the folders are there and cannot be mounted.
    #[track_caller]
    pub fn on(host: &Host) -> Result<Cgroups, Missing> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        root()?;
        let top = Path::new("/sys/fs/cgroup");
        let v2 = top.join("cgroup.controllers").exists();
        let trees: &[&str] = if v2 { &[""] } else { &["pids", "memory", "cpu"] };
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("classroom-{}-{count}", std::process::id());
        let mut cgroups = Cgroups { v2, folders: Vec::new() };
        let mut script = String::from("set -e\n");
        let missing = |why| Missing { why, by_nature: false };
        for tree in trees {
            let tree = top.join(tree);
            if !tree.join("cgroup.procs").exists() {
                return Err(missing(format!(
                    "there is no cgroup tree {tree:?} here (see cgroups(7))"
                )));
            }
            let folder = tree.join(&name);
            let made = fs::create_dir(&folder);
            made.map_err(|err| missing(format!("cannot make the cgroup {folder:?}: {err}")))?;
            script += &format!("mount --bind {} {}\n", folder.display(), tree.display());
            cgroups.folders.push(folder);
        }
        if v2 {
            for folder in [top, &cgroups.folders[0]] {
                let file = folder.join("cgroup.subtree_control");
                let written = fs::write(&file, "+cpu +memory +pids");
                written.map_err(|err| missing(format!("cannot write to {file:?}: {err}")))?;
            }
        }
        let mounted = host.run(&script);
        assert_eq!(mounted.status, 0, "cannot mount the host's cgroups: {}", mounted.stderr);
        Ok(cgroups)
    }

    /// The names of the cgroups on the host, in all trees.
    pub fn list(&self) -> Vec<String> {
        let entries = self.folders.iter().filter_map(|folder| fs::read_dir(folder).ok()).flatten();
        let folders = entries.flatten().filter(|entry| entry.path().is_dir());
        folders.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    /// The value of a file of the only cgroup on the host: `v2_file` such as `memory.max`, or where
    /// this is version 1 `v1_file` such as `memory/memory.limit_in_bytes`, which is tree and name.
    ///
    /// # Panics
    /// If there is no such file, or there is more than one cgroup.
    #[track_caller]
    pub fn read(&self, v2_file: &str, v1_file: &str) -> String {
        let (folder, file) = if self.v2 {
            (&self.folders[0], v2_file)
        } else {
            let (tree, file) = v1_file.split_once('/').expect("a tree and a file");
            let at = ["pids", "memory", "cpu"].iter().position(|name| *name == tree);
            (&self.folders[at.expect("a tree that there is")], file)
        };
        let entries = fs::read_dir(folder).unwrap_or_else(|err| panic!("{folder:?}: {err}"));
        let mut cgroups = entries.flatten().map(|entry| entry.path()).filter(|path| path.is_dir());
        let cgroup = cgroups.next().unwrap_or_else(|| panic!("there is no cgroup in {folder:?}"));
        assert!(cgroups.next().is_none(), "there is more than one cgroup in {folder:?}");
        let file = cgroup.join(file);
        let text = fs::read_to_string(&file).unwrap_or_else(|err| panic!("{file:?}: {err}"));
        text.trim_end().to_string()
    }

    /// Removes the empty cgroups on the host: what a runner leaves behind that was killed.
    ///
    /// # Panics
    /// If there are processes in one.
    pub fn clean(&self) {
        until("the cgroups can be removed", || {
            self.folders.iter().all(|folder| {
                let entries = fs::read_dir(folder).into_iter().flatten().flatten();
                let mut paths = entries.map(|entry| entry.path()).filter(|path| path.is_dir());
                paths.all(|path| fs::remove_dir(path).is_ok())
            })
        });
    }
}

impl Drop for Cgroups {
    fn drop(&mut self) {
        // Where a test has failed its processes may be dying yet. That they take too long is said
        // by a panic, but a second one would hide the first.
        for _ in 0..1000 {
            self.folders.iter().for_each(remove);
            if !self.folders.iter().any(|folder| folder.exists()) {
                return;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        assert!(std::thread::panicking(), "cannot remove the cgroups {:?}", self.folders);
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
