//! Whose files there are, when sudo has started the tool.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::Path;
use std::process::Command;

use classroom::root::is_root;
use classroom::trial::Trial;
use classroom::{Error, Result, trials};

use crate::repo::{Repo, Said};

pub fn trials() -> Vec<Trial> {
    trials![
        with_sudo_nothing_becomes_root_s,
        in_root_s_own_folder_sudo_changes_nothing,
        what_is_root_s_already_is_named_with_the_cure,
        doctor_finds_one_file_of_root_s,
        hints_that_cannot_be_counted_all_come,
    ]
}

/// Everybody knows this one.
const NOBODY: (u32, u32) = (65534, 65534);

/// A repository of somebody's who is not root.
fn somebody_s() -> Result<Repo> {
    if !is_root() {
        return Err(Error::NeedsRoot("it stands in for a learner, and for sudo".into()));
    }
    let repo = Repo::with_program("exit 1");
    walk(repo.dir.path(), &mut |path| chown(path, Some(NOBODY.0), Some(NOBODY.1)).unwrap());
    Ok(repo)
}

fn walk(path: &Path, then: &mut impl FnMut(&Path)) {
    then(path);
    if path.is_dir() {
        fs::read_dir(path).unwrap().for_each(|entry| walk(&entry.unwrap().path(), then));
    }
}

/// What is root's there.
fn of_root(repo: &Repo) -> Vec<String> {
    let mut found = Vec::new();
    walk(repo.dir.path(), &mut |path| {
        if fs::symlink_metadata(path).unwrap().uid() == 0 {
            found.push(path.display().to_string());
        }
    });
    found
}

/// The command, as it comes from sudo.
fn by_sudo(repo: &Repo, args: &[&str]) -> Command {
    let mut command = repo.command(args);
    command.env("SUDO_UID", NOBODY.0.to_string()).env("SUDO_GID", NOBODY.1.to_string());
    command
}

/// The same without sudo.
fn by_somebody(repo: &Repo, args: &[&str]) -> Said {
    let command = repo.command(args);
    let mut setpriv = Command::new("setpriv");
    setpriv.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(command.get_program());
    setpriv.args(args).current_dir(repo.dir.path());
    setpriv.env("CARGO", repo.path("cargo"));
    Said::by(&mut setpriv)
}

fn with_sudo_nothing_becomes_root_s() -> Result<()> {
    let repo = somebody_s()?;
    for args in [&["catch-up", "5"][..], &["diff", "1", "--all"], &["check", "1", "--hint"], &[]] {
        let said = Said::by(&mut by_sudo(&repo, args));
        assert!(said.stderr.contains("This folder is nobody's"), "{said:?}");
        assert_eq!(of_root(&repo), [""; 0], "after {args:?}: {said:?}");
    }
    Ok(())
}

fn in_root_s_own_folder_sudo_changes_nothing() -> Result<()> {
    drop(somebody_s()?);
    let repo = Repo::new();
    let said = Said::by(&mut by_sudo(&repo, &["catch-up", "5"]));
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(!said.stderr.contains("without sudo"), "{said:?}");
    Ok(())
}

fn what_is_root_s_already_is_named_with_the_cure() -> Result<()> {
    let repo = somebody_s()?;
    let folder = repo.path("my-container/src");
    chown(&folder, Some(0), Some(0)).unwrap();
    let said = by_somebody(&repo, &["catch-up", "5"]);
    said.fails_with("my-container/src is not yours: sudo chown -R --from=root");
    assert_eq!(repo.read("my-container/src/main.rs"), "fn main() {} // typed by hand\n");
    let cure = said.stderr.trim().rsplit("yours: sudo ").next().unwrap().to_string();
    let cure = cure.replace("$(id -u):$(id -g)", "65534:65534");
    assert!(Command::new("sh").args(["-c", &cure]).status().unwrap().success());
    assert_eq!(by_somebody(&repo, &["catch-up", "5"]).status, Some(0));
    Ok(())
}

fn doctor_finds_one_file_of_root_s() -> Result<()> {
    let repo = somebody_s()?;
    repo.script("cargo", "exit 101");
    let words = "belongs to somebody else";
    assert!(!by_somebody(&repo, &["doctor"]).stdout.contains(words));
    repo.write("target/debug/deps/x", "");
    chown(repo.path("target/debug/deps"), Some(NOBODY.0), None).unwrap();
    let said = by_somebody(&repo, &["doctor"]);
    assert!(said.stdout.contains(words), "{said:?}");
    assert!(said.stdout.contains("sudo chown -R --from=root"), "{said:?}");
    Ok(())
}

/// Also by root, whom no permission keeps from writing.
fn hints_that_cannot_be_counted_all_come() -> Result<()> {
    let repo = Repo::with_program("exit 1");
    fs::create_dir_all(repo.path("target/workshop/hints")).unwrap();
    let said = repo.run(&["check", "1", "--hint"]);
    assert!(said.stderr.contains("target/workshop/hints: Is a directory"), "{said:?}");
    assert!(said.stdout.contains("hint 1") && said.stdout.contains("hint 3"), "{said:?}");
    Ok(())
}
