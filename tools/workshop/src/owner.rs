//! Whose files these are. What root writes in the learner's folder, the learner can never write again.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use classroom::root::{is_root, quoted};
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};

use crate::repo::Repo;
use crate::say;

/// Whoever calls this with sudo in their own folder goes on as themselves: what needs root asks for it.
pub fn step_down(repo: &Repo) -> anyhow::Result<()> {
    let caller = env::var("SUDO_UID").ok().and_then(|uid| uid.parse::<u32>().ok());
    let owner = fs::metadata(repo.root()).map(|data| data.uid()).ok();
    if !is_root() || owner != caller || caller.is_none_or(|uid| uid == 0) {
        return Ok(());
    }
    let user = User::from_uid(caller.unwrap_or_default().into()).ok().flatten();
    let user = user.context("cannot find the user who has called sudo")?;
    say::note(&format!("This folder is {}'s: going on as {0}, without sudo.", user.name));
    let name = std::ffi::CString::new(user.name.as_str())?;
    initgroups(&name, user.gid)
        .and_then(|()| setgid(user.gid))
        .and_then(|()| setuid(user.uid))
        .with_context(|| format!("cannot become {}", user.name))?;
    // sudo has set these to its own, and rustup's cargo is in no path of the system.
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(OsString::from(":"));
    path.push(user.dir.join(".cargo/bin"));
    let mut again = Command::new(env::current_exe()?);
    again.args(env::args_os().skip(1)).env("PATH", path).env("HOME", &user.dir);
    again.env("USER", &user.name).env("LOGNAME", &user.name).env_remove("SUDO_UID");
    Err(again.exec()).context("cannot start again without sudo")
}

/// Why something could not be written, and what to do if it, or the folder that it is in, is somebody else's.
pub fn why(path: &Path, err: &io::Error) -> String {
    let denied = err.kind() == ErrorKind::PermissionDenied;
    let there = path.ancestors().filter_map(|path| Some((path, path.symlink_metadata().ok()?)));
    let mut owners = there.map(|(path, data)| (path, data.uid())).take(2);
    match owners.find(|(_, owner)| denied && *owner != geteuid().as_raw()) {
        Some((theirs, owner)) => {
            format!("{err}, as {} is not yours: {}", theirs.display(), cure(theirs, owner))
        }
        None => err.to_string(),
    }
}

/// The command that makes what is this owner's there the caller's again, and nothing else.
pub fn cure(path: &Path, owner: u32) -> String {
    let name =
        User::from_uid(owner.into()).ok().flatten().map_or(owner.to_string(), |user| user.name);
    format!(
        "sudo chown -R --from={name} \"$(id -u):$(id -g)\" {}",
        quoted(&path.display().to_string())
    )
}
