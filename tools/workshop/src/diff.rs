//! `cargo workshop diff` and `compare`: git shows the differences, in its colours and through a pager.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::IsTerminal;
use std::io::stdout;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::process::Stdio;

use anyhow::Context;
use anyhow::bail;

use crate::repo::Repo;
use crate::repo::Step;
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

/// Lets git show the difference of two paths, relative to the repository: as it is, whatever the learner's git is
/// told to make of differences.
fn show(repo: &Repo, old: &Path, new: &Path) -> anyhow::Result<()> {
    let mut git = steps::diff();
    git.current_dir(repo.root());
    // What is only to be displayed keeps the learner's language and letters.
    match env::var_os("LC_ALL") {
        Some(language) => git.env("LC_ALL", language),
        None => git.env_remove("LC_ALL"),
    };
    // A pager that cannot be started would take the output with it.
    match pager() {
        Some(pager) => git.env("GIT_PAGER", pager),
        None => git.env("GIT_PAGER", "cat"),
    };
    // git knows nothing of https://no-color.org.
    if env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()) {
        git.arg("--no-color");
    }
    git.arg("--").arg(old).arg(new);
    let no_git = "cannot run git (install it: apt install git)";
    let status = if stdout().is_terminal() {
        git.status().context(no_git)?
    } else {
        // git does not tell if its output is lost.
        let output = git.stderr(Stdio::inherit()).output().context(no_git)?;
        say::print(&String::from_utf8_lossy(&output.stdout));
        output.status
    };
    match status.code() {
        // 1 says that they differ. A signal is the pager's reader who has seen enough.
        Some(0 | 1) | None => Ok(()),
        Some(code) => bail!("git diff failed with exit status {code}, see above"),
    }
}

/// The caller's pager, or less; if there is such a program.
fn pager() -> Option<OsString> {
    let path = env::var_os("PATH")?;
    let is_there = |line: &OsString| {
        let program = line.to_string_lossy().split(' ').next().unwrap_or_default().to_string();
        env::split_paths(&path).any(|folder| folder.join(&program).is_file())
    };
    [env::var_os("PAGER"), Some("less".into())].into_iter().flatten().find(is_there)
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
