//! The one place that knows the ten steps: where they are, what they say, what one of them adds to the one before, and
//! how they are built, as they stand or with something changed.
//!
//! - [`Step`]: the number of one, as people type it;
//! - [`Steps`]: those of a repository;
//! - [`Variant`]: one with something changed: a solution of an exercise, a typical mistake.

mod build;

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;
use std::sync::Mutex;

use anyhow::{Context, bail, ensure};

pub use build::{Change, Variant, Variants};

/// How many steps the workshop has.
pub const STEPS: u8 = 10;

/// The number of a step, 1 to 10. It shows as `05`.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Step(u8);

impl Step {
    /// All ten, in order.
    pub fn all() -> impl Iterator<Item = Step> {
        (1..=STEPS).map(Step)
    }

    /// The step with this number.
    ///
    /// # Panics
    /// If there is none: for numbers that stand in the code.
    pub const fn new(number: u8) -> Step {
        assert!(1 <= number && number <= STEPS, "the steps are numbered 1 to 10");
        Step(number)
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

/// The repository that this was built in: for tests, and for tools that are only run there.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("tools/steps is in it")
}

/// A git that knows nothing of who runs this: no settings, no attributes, no repository (whoever wants that removes
/// `GIT_DIR` again). Each of them can turn what it prints into something else, or be broken.
pub fn git() -> Command {
    // No folder, and never one: what is looked for in it is not there.
    const NOWHERE: &str = "/dev/null";
    let mut git = Command::new("git");
    let theirs = env::vars_os().map(|(name, _)| name);
    for name in theirs.filter(|name| name.as_encoded_bytes().starts_with(b"GIT_")) {
        // Where git's own programs are is no matter of taste.
        if name != "GIT_EXEC_PATH" {
            git.env_remove(name);
        }
    }
    // HOME, as there are gits without GIT_CONFIG_GLOBAL (before 2.32), and none with a variable for attributes.
    git.env("HOME", NOWHERE).env("XDG_CONFIG_HOME", NOWHERE).env("GIT_DIR", NOWHERE);
    git.env("GIT_CONFIG_NOSYSTEM", "1").env("GIT_ATTR_NOSYSTEM", "1");
    git
}

/// The lines by which two files differ, in hunks; each begins with its line `@@ … @@`.
pub fn hunks(old: &Path, new: &Path) -> anyhow::Result<Vec<Vec<String>>> {
    hunks_within(old, new, 3)
}

/// The same, with so many lines around each change.
fn hunks_within(old: &Path, new: &Path, lines: u32) -> anyhow::Result<Vec<Vec<String>>> {
    let mut git = git();
    git.args(["diff", "--no-index", "--no-color"]).arg(format!("--unified={lines}")).arg("--");
    let output = git.arg(old).arg(new).env("LC_ALL", "C").output().context("cannot run git")?;
    let error = String::from_utf8_lossy(&output.stderr);
    ensure!(matches!(output.status.code(), Some(0 | 1)), "git diff failed: {}", error.trim());
    let text = String::from_utf8(output.stdout).context("the difference is no text")?;
    let mut hunks: Vec<Vec<String>> = Vec::new();
    for line in text.lines() {
        if line.starts_with("@@") {
            hunks.push(Vec::new());
        }
        if let Some(hunk) = hunks.last_mut() {
            hunk.push(line.to_string());
        }
    }
    Ok(hunks)
}

/// The steps of a repository.
pub struct Steps {
    root: PathBuf,
    names: BTreeMap<Step, String>,
    /// Where everything is built already, if it is: then cargo is not called.
    built: Option<PathBuf>,
    programs: Mutex<BTreeMap<String, PathBuf>>,
}

impl Steps {
    /// Finds them in `steps/` of a repository. What else lies there is nobody's business here.
    ///
    /// If the variable `WORKSHOP_PROGRAMS` names a folder, their programs are taken from there, under their own names.
    pub fn find(root: &Path) -> anyhow::Result<Steps> {
        let folder = root.join("steps");
        let failed = || format!("cannot list {}", folder.display());
        let mut names = BTreeMap::new();
        for entry in fs::read_dir(&folder).with_context(failed)? {
            let name = entry.with_context(failed)?.file_name().to_string_lossy().into_owned();
            if let Some(step) = name.strip_prefix("step").and_then(|_| name.parse().ok()) {
                names.insert(step, name);
            }
        }
        let built = env::var_os("WORKSHOP_PROGRAMS").map(PathBuf::from);
        Ok(Steps { root: root.to_path_buf(), names, built, programs: Mutex::default() })
    }

    /// Those of the repository that a folder is in.
    pub fn around(folder: &Path) -> anyhow::Result<Steps> {
        let is_root = |dir: &&Path| dir.join("steps").is_dir() && dir.join("Cargo.toml").is_file();
        match folder.ancestors().find(is_root) {
            Some(root) => Steps::find(root),
            None => bail!(
                "{} is not inside the workshop's repository: cd to where you cloned it, and try again",
                folder.display()
            ),
        }
    }

    /// Takes the programs from this folder.
    pub fn built_in(mut self, folder: &Path) -> Steps {
        self.built = Some(folder.to_path_buf());
        self
    }

    /// The repository's folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Those that there are, in order.
    pub fn all(&self) -> impl Iterator<Item = Step> {
        self.names.keys().copied()
    }

    /// The name of a step: `step05_chroot`.
    pub fn name(&self, step: Step) -> anyhow::Result<&str> {
        let name = self.names.get(&step).with_context(|| {
            let steps = self.root.join("steps");
            format!(
                "step {step} is missing from {} (`git status` shows what else is)",
                steps.display()
            )
        });
        Ok(name?)
    }

    /// The folder of a step, relative to the repository: `steps/step05_chroot`.
    pub fn folder(&self, step: Step) -> anyhow::Result<PathBuf> {
        Ok(Path::new("steps").join(self.name(step)?))
    }

    /// Its source, relative to the repository: `steps/step05_chroot/src/main.rs`.
    pub fn main(&self, step: Step) -> anyhow::Result<PathBuf> {
        Ok(self.folder(step)?.join("src/main.rs"))
    }

    /// The text of its source.
    pub fn source(&self, step: Step) -> anyhow::Result<String> {
        self.read(&self.main(step)?)
    }

    /// What its source says of it in the first line: `//! Step 05: a root directory of its own. A root directory is
    /// just a directory.`, from the colon on.
    pub fn about(&self, step: Step) -> anyhow::Result<String> {
        let source = self.source(step)?;
        let line = source.lines().next().and_then(|line| line.strip_prefix("//! Step "));
        let about = line.and_then(|line| line.split_once(": ")).map(|(_, about)| about.to_string());
        about.with_context(|| {
            let name = &self.names[&step];
            format!("{name}: main.rs does not begin with `//! Step {step}: …`")
        })
    }

    /// Its one idea, the first sentence of that: "a root directory of its own". Empty if there is none.
    pub fn idea(&self, step: Step) -> String {
        let about = self.about(step).unwrap_or_default();
        about.split(". ").next().unwrap_or_default().trim_end_matches('.').to_string()
    }

    /// The hunks of the difference that it makes to `main.rs`; step 01 makes it to nothing.
    pub fn hunks(&self, step: Step) -> anyhow::Result<Vec<Vec<String>>> {
        self.difference(step, 3)
    }

    /// All of a step's `main.rs`, as one hunk: what has changed, and what has not.
    pub fn whole(&self, step: Step) -> anyhow::Result<Vec<String>> {
        Ok(self.difference(step, u32::MAX >> 1)?.concat())
    }

    fn difference(&self, step: Step, lines: u32) -> anyhow::Result<Vec<Vec<String>>> {
        let old = match step.before() {
            Some(before) => self.root.join(self.main(before)?),
            None => "/dev/null".into(),
        };
        hunks_within(&old, &self.root.join(self.main(step)?), lines)
    }

    /// The solution of an exercise, relative to the repository: `exercises/05-fds.patch`.
    pub fn solution(&self, step: Step, name: &str) -> PathBuf {
        PathBuf::from(format!("exercises/{step}-{name}.patch"))
    }

    /// Reads a file of the repository.
    pub fn read(&self, file: &Path) -> anyhow::Result<String> {
        let path = self.root.join(file);
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
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

    #[test]
    fn each_step_has_a_name_an_idea_and_a_difference() {
        let steps = Steps::find(repository()).unwrap();
        assert!(steps.all().eq(Step::all()));
        for step in Step::all() {
            assert!(!steps.idea(step).is_empty(), "{step}");
            assert!(steps.hunks(step).unwrap().iter().all(|hunk| hunk.len() > 1), "{step}");
        }
    }

    #[test]
    fn what_else_lies_beside_the_steps_does_not_matter() {
        let dir = tempfile::TempDir::new().unwrap();
        for folder in ["step02_two", "notes", "step", "step99_x", "stepping"] {
            fs::create_dir_all(dir.path().join("steps").join(folder)).unwrap();
        }
        let steps = Steps::find(dir.path()).unwrap();
        assert!(steps.all().eq([Step(2)]));
        let missing = steps.name(Step(3)).unwrap_err().to_string();
        assert!(missing.starts_with("step 03 is missing from"), "{missing}");
    }
}
