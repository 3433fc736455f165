//! Where everything is: the steps, the learner's crate, what is remembered.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail};

use crate::owner;
use steps::Steps;
pub use steps::{STEPS, Step};

/// The workshop's repository on the learner's disk.
pub struct Repo {
    /// Its steps.
    pub steps: Steps,
}

impl Repo {
    /// Finds the repository that the current directory belongs to.
    pub fn find() -> anyhow::Result<Repo> {
        let here = env::current_dir().context("cannot tell the current directory")?;
        Ok(Repo { steps: Steps::around(&here)? })
    }

    /// The repository's folder.
    pub fn root(&self) -> &Path {
        self.steps.root()
    }

    /// The idea of a step: "a root directory of its own".
    pub fn idea(&self, step: Step) -> String {
        self.steps.idea(step)
    }

    /// The learner's crate.
    pub fn mine(&self) -> PathBuf {
        self.root().join("my-container")
    }

    /// cargo, in the repository. It builds where it has built this program: what it was told of that counts from
    /// where the caller is.
    pub fn cargo(&self) -> Command {
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.current_dir(self.root());
        for name in ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET_DIR"] {
            if let Some(target) = env::var_os(name) {
                cargo.env(name, env::current_dir().unwrap_or_default().join(target));
            }
        }
        cargo
    }

    /// The root filesystem of the containers. (A relative ROOTFS counts from the working directory, as it does for the
    /// steps and in a shell.)
    pub fn rootfs(&self) -> PathBuf {
        match env::var_os("ROOTFS") {
            Some(rootfs) => env::current_dir().unwrap_or_default().join(rootfs),
            None => self.root().join("rootfs"),
        }
    }

    /// A folder for what is worth remembering until `cargo clean`: how far the learner is, which hints were shown.
    pub fn state(&self) -> anyhow::Result<PathBuf> {
        let state = self.root().join("target/workshop");
        if let Err(err) = fs::create_dir_all(&state) {
            bail!("cannot create {}: {}", state.display(), owner::why(&state, &err));
        }
        Ok(state)
    }

    /// The learner's main.rs, if it is there.
    pub fn my_main(&self) -> anyhow::Result<PathBuf> {
        let main = self.mine().join("src/main.rs");
        if !main.is_file() {
            bail!(
                "there is no my-container/src/main.rs (to get the empty one back: git checkout \
                 my-container/src/main.rs; to start from a step: cargo workshop catch-up 1)"
            );
        }
        Ok(main)
    }
}
