//! `cargo workshop diff` and `compare`: git shows the differences, in its colours and page by page.

use std::env;
use std::fs;
use std::io::{IsTerminal, stdout};
use std::path::{Path, PathBuf};
use std::process::{ExitCode, Stdio};

use anyhow::{Context, bail};
use steps::git;

use crate::repo::{Repo, Step};
use crate::say;

/// Shows what a step adds to the one before, or to another one.
pub fn steps(repo: &Repo, step: Step, other: Option<Step>, all: bool) -> anyhow::Result<ExitCode> {
    if other == Some(step) {
        bail!("step {step} does not differ from itself: name two different steps");
    }
    // Whichever is named first: people want to see what the later step adds.
    let (old, new) = match other {
        Some(other) => (Some(step.min(other)), step.max(other)),
        None => (step.before(), step),
    };
    let part = |step| if all { repo.steps.folder(step) } else { repo.steps.main(step) };
    let old = match old {
        Some(old) => part(old)?,
        None if all => empty_folder(repo)?,
        None => PathBuf::from("/dev/null"),
    };
    show(repo, &old, &part(new)?)?;
    Ok(ExitCode::SUCCESS)
}

/// git compares a folder only with a folder: step 01 is compared with this one.
fn empty_folder(repo: &Repo) -> anyhow::Result<PathBuf> {
    let empty = repo.state()?.join("nothing");
    fs::create_dir_all(&empty).with_context(|| format!("cannot create {}", empty.display()))?;
    Ok(empty)
}

/// Shows where the learner's program differs from a step.
pub fn compare(repo: &Repo, step: Option<Step>) -> anyhow::Result<ExitCode> {
    let mine = repo.my_main()?;
    let step = match step {
        Some(step) => step,
        None => closest(repo, &mine)?,
    };
    let theirs = repo.steps.main(step)?;
    if fs::read(&mine).ok() == fs::read(repo.root().join(&theirs)).ok() {
        say::note(&format!("Your program is step {step}, to the letter."));
        return Ok(ExitCode::SUCCESS);
    }
    say::note(&format!("- only in yours   + only in step {step}"));
    let mine = mine.strip_prefix(repo.root()).unwrap_or(&mine);
    show(repo, mine, &theirs)?;
    Ok(ExitCode::SUCCESS)
}

/// The step that differs from this file in the fewest lines.
fn closest(repo: &Repo, mine: &Path) -> anyhow::Result<Step> {
    let mine = fs::read(mine).with_context(|| format!("cannot read {}", mine.display()))?;
    let mine = String::from_utf8_lossy(&mine);
    let mut best = None;
    for step in repo.steps.all() {
        let distance = distance(&mine, &repo.steps.source(step)?);
        if best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, step));
        }
    }
    let (_, step) = best.context("there are no steps")?;
    Ok(step)
}

/// How many lines of two texts have no counterpart in the other one, wherever it stands.
fn distance(one: &str, other: &str) -> usize {
    let mut left: Vec<&str> = lines(other).collect();
    let mut extra = 0;
    for line in lines(one) {
        match left.iter().position(|candidate| *candidate == line) {
            Some(place) => {
                left.swap_remove(place);
            }
            None => extra += 1,
        }
    }
    extra + left.len()
}

/// The lines that say something, without their indentation.
fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty())
}

/// Lets git show the difference of two paths, relative to the repository: the same one to everybody, whatever their
/// settings.
fn show(repo: &Repo, old: &Path, new: &Path) -> anyhow::Result<()> {
    let mut git = git();
    git.current_dir(repo.root()).args(["diff", "--no-index"]);
    // git knows nothing of https://no-color.org.
    if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        git.arg("--no-color");
    }
    // A pager of one's own may sort, number or hide lines, and `less` with options of one's own show colours as
    // ESC[32m.
    for name in ["LESSOPEN", "LESSKEY", "LESSKEYIN", "LESSKEY_CONTENT"] {
        git.env_remove(name);
    }
    git.env("LESS", "FRX").env("GIT_PAGER", if may_page() { "less" } else { "cat" });
    git.arg("--").arg(old).arg(new).stderr(Stdio::inherit());
    let cannot = "cannot run git (install it: apt install git)";
    let status = if stdout().is_terminal() {
        git.status().context(cannot)?
    } else {
        // git does not notice a full disk where there is a difference to report.
        let output = git.output().context(cannot)?;
        say::print(&String::from_utf8_lossy(&output.stdout));
        output.status
    };
    match status.code() {
        // 1 says that they differ. A signal is the pager's reader who has seen enough.
        Some(0 | 1) | None => Ok(()),
        Some(code) => bail!("git diff failed with exit status {code}"),
    }
}

/// Whether there is a pager, and nobody has said that they want none.
fn may_page() -> bool {
    let pager = env::var_os("GIT_PAGER").or(env::var_os("PAGER"));
    let unwanted = pager.is_some_and(|pager| pager == "cat" || pager.is_empty());
    let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
    let path = env::var_os("PATH").unwrap_or_default();
    !unwanted && !dumb && env::split_paths(&path).any(|folder| folder.join("less").is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_counts_lines_without_counterpart() {
        assert_eq!(distance("a\nb\n", "  b\n\na"), 0);
        assert_eq!(distance("a\na\nb", "a\nc"), 3);
    }
}
