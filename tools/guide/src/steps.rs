//! The steps: where they are, and what they are called.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use anyhow::Context;

/// The steps of the workshop, by number.
pub struct Steps(BTreeMap<u32, PathBuf>);

impl Steps {
    /// Finds them in `steps/` of the repository.
    ///
    /// # Errors
    /// If there is no such folder.
    pub fn find(root: &Path) -> anyhow::Result<Steps> {
        let folder = root.join("steps");
        let failed = || format!("cannot list {}", folder.display());
        let mut steps = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let path = entry.with_context(failed)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let number = name.strip_prefix("step").and_then(|rest| rest.split_once('_'));
            if let Some(number) = number.and_then(|(number, _)| number.parse().ok()) {
                steps.insert(number, path);
            }
        }
        Ok(Steps(steps))
    }

    /// Their numbers, in order.
    pub fn numbers(&self) -> impl Iterator<Item = u32> {
        self.0.keys().copied()
    }

    /// The folder of a step.
    ///
    /// # Errors
    /// If there is no such step.
    pub fn folder(&self, step: u32) -> anyhow::Result<&Path> {
        let last = self.numbers().last().unwrap_or_default();
        let folder = self.0.get(&step).with_context(|| {
            format!("there is no step {step:02}: the steps are numbered 01 to {last:02}")
        })?;
        Ok(folder)
    }

    /// The name of a step: `step05_chroot`.
    ///
    /// # Errors
    /// If there is no such step.
    pub fn name(&self, step: u32) -> anyhow::Result<String> {
        Ok(self.folder(step)?.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// The source of a step.
    ///
    /// # Errors
    /// If there is no such step.
    pub fn main(&self, step: u32) -> anyhow::Result<PathBuf> {
        Ok(self.folder(step)?.join("src/main.rs"))
    }

    /// The text of the source of a step.
    ///
    /// # Errors
    /// If there is no such step, or its source cannot be read.
    pub fn text(&self, step: u32) -> anyhow::Result<String> {
        let main = self.main(step)?;
        fs::read_to_string(&main).with_context(|| format!("cannot read {}", main.display()))
    }
}
