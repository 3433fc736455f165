//! Root: whether this is root, and how a program that needs it starts itself again.

use std::env;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{IsTerminal, Write, stderr, stdin};
use std::os::unix::fs::{MetadataExt, lchown};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};

/// Whether this process is root on this machine.
pub fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// How this program is, or becomes, root.
pub enum Root {
    /// It is root.
    Is,
    /// sudo makes it root.
    BySudo,
    /// Nobody does, for this reason.
    Cannot(String),
}

impl Root {
    /// Finds out. sudo is asked only if it does not wait for a password that nobody is there to type: an editor's or
    /// a CI's `cargo test` must never hang. `WORKSHOP_SUDO=no` keeps it from being asked at all.
    pub fn here() -> Root {
        if is_root() {
            return Root::Is;
        }
        if env::var_os("WORKSHOP_SUDO").is_some_and(|value| value == "no") {
            return Root::Cannot("WORKSHOP_SUDO=no".into());
        }
        let mut ask = Command::new("sudo");
        ask.args(["-n", "true"]).env("LC_ALL", "C").stdin(Stdio::null());
        let said = match ask.output() {
            Ok(done) if done.status.success() => return Root::BySudo,
            Ok(done) => String::from_utf8_lossy(&done.stderr).into_owned(),
            Err(_) => return Root::Cannot("you are not root, and there is no sudo here".into()),
        };
        let somebody = stdin().is_terminal() && stderr().is_terminal();
        if somebody {
            // Without a password it says why it does not work, and with one nothing is asked twice.
            _ = writeln!(stderr(), "+ sudo -v");
            if Command::new("sudo").arg("-v").status().is_ok_and(|status| status.success()) {
                return Root::BySudo;
            }
        }
        Root::Cannot(
            said.lines().next().unwrap_or("sudo does not work").trim_end_matches('.').into(),
        )
    }
}

/// Variables of the environment, and their values.
pub type Variables = Vec<(&'static str, OsString)>;

/// Those of these variables that are set.
pub fn variables(names: &[&'static str]) -> Variables {
    names.iter().filter_map(|name| Some((*name, env::var_os(name)?))).collect()
}

/// `sudo env NAME=VALUE… PROGRAM ARGS`: this program, as root. (sudo drops the environment, and may not be allowed to
/// keep more of it.)
pub fn sudo<S: AsRef<OsStr>>(variables: &Variables, args: impl IntoIterator<Item = S>) -> Command {
    let mut sudo = Command::new("sudo");
    sudo.arg("env");
    for (name, value) in variables {
        let mut word = OsString::from(format!("{name}="));
        word.push(value);
        sudo.arg(word);
    }
    sudo.arg(env::current_exe().unwrap_or_default()).args(args);
    sudo
}

/// A command as a person would type it.
pub fn typed(command: &Command) -> String {
    let words = [command.get_program()].into_iter().chain(command.get_args());
    words.map(|word| quoted(&word.to_string_lossy())).collect::<Vec<_>>().join(" ")
}

/// A word for a shell.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=%+:,@".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_string();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Starts this program again as root, in its own place, with these arguments and variables; the line is shown.
/// Comes back if it is root already, or if it cannot be.
///
/// # Errors
/// Why it cannot be, and the line that would do it.
pub fn become_root(
    variables: &Variables,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(), String> {
    let mut sudo = sudo(variables, args);
    let line = typed(&sudo);
    let cannot = |why: String| Err(format!("{why}. By hand: {line}"));
    match Root::here() {
        Root::Is => Ok(()),
        Root::Cannot(why) => cannot(why),
        Root::BySudo => {
            _ = writeln!(stderr(), "+ {line}");
            cannot(format!("sudo cannot be run: {}", sudo.exec()))
        }
    }
}

/// What root has written in a folder, because sudo had started it, becomes its owner's.
pub fn give_back(folder: &Path) {
    let Ok(owner) = fs::metadata(folder).map(|data| (data.uid(), data.gid())) else { return };
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(data) = entry.metadata() else { continue };
        // Never what a link leads to, nor a file that also lies elsewhere.
        if data.uid() == 0 && (data.is_dir() || data.nlink() == 1) {
            _ = lchown(entry.path(), Some(owner.0), Some(owner.1));
        }
        if data.is_dir() {
            give_back(&entry.path());
        }
    }
}
