//! `cargo workshop catch-up N`: step N becomes the learner's program. What was there is saved first, always.

use std::fs;
use std::fs::File;
use std::io;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, anyhow, bail};

use crate::repo::{Repo, Step};
use crate::{check, owner, say};

/// Puts step N into my-container.
pub fn catch_up(repo: &Repo, step: Step) -> anyhow::Result<ExitCode> {
    let source = repo.steps.source(step)?;
    let mine = repo.mine();

    if let Some(same) = untouched(repo) {
        say::note(&format!("What you had was step {same} as it stands: nothing of yours to save."));
    } else if let Some(place) = save(&mine, step)? {
        let place = place.strip_prefix(repo.root()).unwrap_or(&place);
        say::note(&format!("What you had is saved in {}", place.display()));
    } else {
        say::note("There was nothing of yours to save.");
    }
    write(&mine.join("Cargo.toml"), MANIFEST)?;
    write(&mine.join("src/main.rs"), &source)?;
    check::start_from(repo, step);
    let next = format!("cargo workshop check {}", step.number());
    say::print(&format!("my-container is now step {step}. Next: {next}\n"));
    Ok(ExitCode::SUCCESS)
}

/// The manifest of my-container: what the last step needs, and so what all need; and without the workspace's lints,
/// because a learner may well want to try `unsafe { clone(…) }`.
const MANIFEST: &str = include_str!("my-container.toml");

/// The step that my-container is, if it is just as catch-up made it. Whatever cannot be read is the learner's.
fn untouched(repo: &Repo) -> Option<Step> {
    let mine = repo.mine();
    let expected = |folder: &str, name: &str| {
        let entries = belongings(&mine.join(folder)).ok()?;
        entries.iter().any(|entry| entry.ends_with(name)).then_some(entries.len())
    };
    let nothing_else = expected("", "src")? == 2 && expected("src", "main.rs")? == 1;
    if !nothing_else || fs::read_to_string(mine.join("Cargo.toml")).ok()? != MANIFEST {
        return None;
    }
    let main = fs::read_to_string(mine.join("src/main.rs")).ok()?;
    repo.steps.all().find(|step| repo.steps.source(*step).is_ok_and(|source| source == main))
}

/// Copies everything in my-container to a new folder in my-container/saved. None if there is nothing.
fn save(mine: &Path, step: Step) -> anyhow::Result<Option<PathBuf>> {
    let entries = match belongings(mine) {
        Ok(entries) if entries.is_empty() => return Ok(None),
        Ok(entries) => entries,
        Err(err) if err.kind() == ErrorKind::NotFound => return Ok(None),
        Err(err) => return Err(err).with_context(|| format!("cannot list {}", mine.display())),
    };
    let saved = mine.join("saved");
    fs::create_dir_all(&saved).map_err(|err| cannot("create", &saved, &err))?;
    let place = new_folder(&saved, step)?;
    // cp -a keeps times, links and modes; a copy that is not complete must stop everything.
    let copy = Command::new("cp").arg("-a").arg("--").args(&entries).arg(&place).output();
    let copy = copy.context("cannot run cp, so nothing was changed")?;
    if !copy.status.success() {
        bail!(
            "cannot save what you have to {}, so nothing was changed: {}",
            place.display(),
            String::from_utf8_lossy(&copy.stderr).trim()
        );
    }
    Ok(Some(place))
}

/// What is in my-container, apart from what was saved or built.
fn belongings(mine: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(mine)? {
        let entry = entry?;
        if entry.file_name() != "saved" && entry.file_name() != "target" {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// A folder that nobody has yet: `1-before-step-05`, `2-before-step-06` …
fn new_folder(saved: &Path, step: Step) -> anyhow::Result<PathBuf> {
    let mut last = 0;
    for entry in fs::read_dir(saved).with_context(|| format!("cannot list {}", saved.display()))? {
        let name = entry.with_context(|| format!("cannot list {}", saved.display()))?.file_name();
        let name = name.to_string_lossy();
        let number = name.split('-').next().and_then(|number| number.parse::<u64>().ok());
        last = last.max(number.unwrap_or(0));
    }
    loop {
        last += 1;
        let place = saved.join(format!("{last}-before-step-{step}"));
        match fs::create_dir(&place) {
            Ok(()) => return Ok(place),
            Err(err) if err.kind() == ErrorKind::AlreadyExists => continue,
            Err(err) => return Err(cannot("create", &place, &err)),
        }
    }
}

/// Writes a file in one go: whoever interrupts this finds the old one or the new one, never half of it.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    // Of no name that the learner may have given to something.
    let fresh = path.with_extension(format!("catch-up-{}", std::process::id()));
    let attempt = || {
        if let Some(folder) = path.parent() {
            // Never write through a link, for example to the folder of a step.
            if folder.is_symlink() {
                fs::remove_file(folder)?;
            }
            fs::create_dir_all(folder)?;
        }
        let written = File::create_new(&fresh).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            fs::rename(&fresh, path)
        });
        written.inspect_err(|_| _ = fs::remove_file(&fresh))
    };
    attempt().map_err(|err| cannot("write", path, &err))
}

fn cannot(verb: &str, path: &Path, err: &io::Error) -> anyhow::Error {
    anyhow!("cannot {verb} {}: {}", path.display(), owner::why(path, err))
}
