//! Where everything is: the repository, the ten steps, the learner's crate.

use std::env;
use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Context;
use anyhow::bail;

/// How many steps the workshop has.
pub const STEPS: u8 = 10;

/// The number of a step, 1 to 10.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Step(u8);

impl Step {
    /// All ten, in order.
    pub fn all() -> impl Iterator<Item = Step> {
        (1..=STEPS).map(Step)
    }

    /// The number itself.
    pub fn number(self) -> u8 {
        self.0
    }

    /// The step before this one; step 1 has none.
    pub fn before(self) -> Option<Step> {
        (self.0 > 1).then(|| Step(self.0 - 1))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:02}", self.0)
    }
}

impl FromStr for Step {
    type Err = String;

    /// Understands `5`, `05`, and the name of a step: `step05`, `step05_chroot`.
    fn from_str(text: &str) -> Result<Step, String> {
        let digits = match text.strip_prefix("step") {
            Some(name) => name.split('_').next().unwrap_or_default(),
            None => text,
        };
        match digits.parse() {
            Ok(number) if (1..=STEPS).contains(&number) => Ok(Step(number)),
            _ => Err(format!("the steps are numbered 1 to {STEPS}")),
        }
    }
}

/// The workshop's repository on the learner's disk.
pub struct Repo {
    root: PathBuf,
}

impl Repo {
    /// Finds the repository that the current directory belongs to.
    pub fn find() -> anyhow::Result<Repo> {
        let here = env::current_dir().context("cannot tell the current directory")?;
        let root = here.ancestors().find(|dir| {
            dir.join("steps").is_dir()
                && dir.join("Cargo.toml").is_file()
                && dir.join("tools/workshop").is_dir()
        });
        match root {
            Some(root) => Ok(Repo { root: root.to_path_buf() }),
            None => bail!(
                "{} is not inside the workshop's repository: cd to where you cloned it, and try again",
                here.display()
            ),
        }
    }

    /// The repository's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a step, relative to the repository: `steps/step05_chroot`.
    pub fn step(&self, step: Step) -> anyhow::Result<PathBuf> {
        let steps = self.root.join("steps");
        let prefix = format!("step{step}_");
        let entries =
            fs::read_dir(&steps).with_context(|| format!("cannot list {}", steps.display()))?;
        for entry in entries {
            let name =
                entry.with_context(|| format!("cannot list {}", steps.display()))?.file_name();
            if name.to_string_lossy().starts_with(&prefix) {
                return Ok(Path::new("steps").join(name));
            }
        }
        bail!("step {step} is missing from {} (`git status` shows what else is)", steps.display())
    }

    /// The name of a step: `step05_chroot`.
    pub fn step_name(&self, step: Step) -> anyhow::Result<String> {
        let path = self.step(step)?;
        Ok(path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    /// The idea of a step, as the first line of its source has it: "a root directory of its own".
    pub fn idea(&self, step: Step) -> String {
        let source = self
            .step(step)
            .and_then(|path| Ok(fs::read_to_string(self.root.join(path).join("src/main.rs"))?));
        let source = source.unwrap_or_default();
        let sentence =
            source.lines().next().and_then(|line| line.split_once(": ")).map(|(_, rest)| rest);
        sentence
            .and_then(|rest| rest.split(". ").next())
            .unwrap_or_default()
            .trim_end_matches('.')
            .to_string()
    }

    /// The learner's crate.
    pub fn mine(&self) -> PathBuf {
        self.root.join("my-container")
    }

    /// The root filesystem of the containers.
    pub fn rootfs(&self) -> PathBuf {
        self.root.join(env::var_os("ROOTFS").unwrap_or_else(|| "rootfs".into()))
    }

    /// A folder for what is worth remembering until `cargo clean`: how far the learner is, which hints were shown.
    pub fn state(&self) -> anyhow::Result<PathBuf> {
        let state = self.root.join("target/workshop");
        fs::create_dir_all(&state).with_context(|| format!("cannot create {}", state.display()))?;
        Ok(state)
    }

    /// The learner's main.rs, if it is there.
    pub fn my_main(&self) -> anyhow::Result<PathBuf> {
        let main = self.mine().join("src/main.rs");
        if !main.is_file() {
            bail!(
                "there is no my-container/src/main.rs (to get the empty one back: git checkout my-container; \
                 to start from a step: cargo workshop catch-up 1)"
            );
        }
        Ok(main)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_a_number_from_1_to_10_or_a_name() {
        for (text, number) in [("1", 1), ("05", 5), ("10", 10), ("step07", 7), ("step05_chroot", 5)]
        {
            assert_eq!(text.parse(), Ok(Step(number)), "{text}");
        }
        for text in ["0", "00", "11", "abc", "", "-1", "1.5", "step", "256", "step_1"] {
            assert!(text.parse::<Step>().is_err(), "{text}");
        }
    }
}
