//! Whether the learner's files have changed. When they were last modified does not tell: what is put back from a copy
//! is old, and clocks of shared folders are ahead.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::repo::Repo;

/// Everything in the learner's crate, as it was at one moment.
#[derive(PartialEq)]
pub struct Files(BTreeMap<PathBuf, Version>);

/// What differs as soon as a file is another one, or has another content. The change time (inode(7)) nobody can set.
#[derive(PartialEq)]
struct Version {
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Files {
    /// Those that there are now.
    pub fn now(repo: &Repo) -> Files {
        let mut files = Files(BTreeMap::new());
        files.add(&repo.mine());
        files
    }

    fn add(&mut self, folder: &Path) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(data) = fs::metadata(entry.path()) else { continue };
            if !data.is_dir() {
                let version = Version {
                    inode: data.ino(),
                    size: data.len(),
                    modified: (data.mtime(), data.mtime_nsec()),
                    changed: (data.ctime(), data.ctime_nsec()),
                };
                self.0.insert(entry.path(), version);
            } else if entry.file_name() != "saved" && entry.file_name() != "target" {
                self.add(&entry.path());
            }
        }
    }

    /// Has cargo forget what it has built of them, if that is older than one of them, and cargo would not see it: it
    /// only asks when they were modified.
    pub fn forget_what_is_stale(&self, program: &Path, cargo: &mut Command) -> io::Result<()> {
        let Ok(built) = fs::metadata(program) else { return Ok(()) };
        let built = (built.mtime(), built.mtime_nsec());
        if self.0.values().any(|file| file.changed >= built && file.modified <= built) {
            cargo.args(["clean", "--quiet", "--package", "my-container"]).status()?;
        }
        Ok(())
    }
}
