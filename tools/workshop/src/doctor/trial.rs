//! Starting the steps for real: what no file tells.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::process::{Command, Output, Stdio};

use nix::unistd::geteuid;

use super::Verdict;
use crate::repo::{Repo, Step};
use crate::say;

/// What a container is asked to do, and its answer.
const QUESTION: [&str; 4] = ["run", "sh", "-c", "echo it runs"];
const ANSWER: &[u8] = b"it runs\n";
/// Seconds after which a step is told to stop.
const PATIENCE: &str = "30";

/// What came of starting the steps: how each runs, or what it said.
pub struct Trial {
    outcomes: BTreeMap<u8, Result<Verdict, String>>,
    /// Why there are fewer than ten.
    untried: Option<String>,
}

impl Trial {
    /// What came of one step, if it was tried.
    pub fn of(&self, step: Step) -> Option<&Result<Verdict, String>> {
        self.outcomes.get(&step.number())
    }

    /// What the failing steps said: each message once, with the steps that said it.
    pub fn failures(&self) -> BTreeMap<&str, Vec<Step>> {
        let mut said: BTreeMap<&str, Vec<Step>> = BTreeMap::new();
        for step in Step::all() {
            if let Some(Err(message)) = self.of(step) {
                said.entry(message).or_default().push(step);
            }
        }
        said
    }

    /// One sentence on what was tried.
    pub fn summary(&self) -> String {
        match &self.untried {
            None => "Each step was started just now, here, the way you will start it.".into(),
            Some(why) => format!("Not every step could be tried: {why}."),
        }
    }
}

/// Starts all ten steps, as `cargo run` would.
pub fn start(repo: &Repo) -> Trial {
    let mut trial = Trial { outcomes: BTreeMap::new(), untried: None };
    if let Err(why) = build(repo) {
        trial.untried = Some(why);
        return trial;
    }
    let root = may_be_root().and_then(root_may_look);
    for step in Step::all() {
        let takes_root = !geteuid().is_root() && !matches!(step.number(), 1 | 9);
        match &root {
            Err(Refused::Broken(why)) if takes_root => {
                trial.outcomes.insert(step.number(), Err(why.clone()));
                continue;
            }
            Err(Refused::Asks) if takes_root => {
                let why = "sudo wants a password, and there is no terminal to type it in";
                trial.untried = Some(why.into());
                continue;
            }
            _ => {}
        }
        let outcome =
            run(repo, step).map(|()| if takes_root { Verdict::WithSudo } else { Verdict::Ready });
        trial.outcomes.insert(step.number(), outcome);
    }
    trial
}

/// Has cargo build the steps; says what it says if that fails.
fn build(repo: &Repo) -> Result<(), String> {
    let mut build = repo.cargo();
    build.args(["build", "--quiet", "--bins"]);
    for step in Step::all() {
        build.args(["--package", repo.steps.name(step).map_err(|err| format!("{err:#}"))?]);
    }
    say::note("Building the ten steps, to try them …");
    let status = build.status().map_err(|err| format!("cargo cannot be run: {err}"))?;
    if !status.success() {
        return Err(
            "they do not build, see above (without a network: cargo fetch, before class)".into()
        );
    }
    Ok(())
}

/// Why nothing can be started as root.
enum Refused {
    /// It could be, if somebody typed a password.
    Asks,
    /// It cannot be; why.
    Broken(String),
}

/// Whether steps can be started as root: by trying it, as a program that is there may not work. At a terminal sudo may
/// ask for the password.
fn may_be_root() -> Result<Option<&'static str>, Refused> {
    if geteuid().is_root() {
        return Ok(None);
    }
    let (by, tried) = match quietly("sudo", ["true"]) {
        Ok(tried) => ("sudo", tried),
        Err(_) => match quietly("doas", ["true"]) {
            Ok(tried) => ("doas", tried),
            Err(_) => {
                let why =
                    "it needs root, and there is no sudo: become root (su -), or install sudo";
                return Err(Refused::Broken(why.into()));
            }
        },
    };
    if tried.status.success() {
        return Ok(Some(by));
    }
    let said = telling(&tried.stderr).first().map_or_else(String::new, |line| line.to_string());
    let asks = ["password", "Authentication"].iter().any(|word| said.contains(word));
    if !asks {
        let said = said.trim_end_matches('.');
        let cure = "Become root another way (su -), or ask who looks after this machine; step 09 needs no root";
        return Err(Refused::Broken(format!("{said}. {cure}.")));
    }
    if !std::io::stdin().is_terminal() || !std::io::stderr().is_terminal() {
        return Err(Refused::Asks);
    }
    say::note(&format!("The steps that need root are tried with {by}:\n+ {by} true"));
    match Command::new(by).arg("true").status() {
        Ok(status) if status.success() => Ok(Some(by)),
        _ => Err(Refused::Broken(format!("{by} does not let you (its words are above)"))),
    }
}

/// Runs a command by sudo or doas, if they do not ask. What they say is in English.
fn quietly<S: AsRef<OsStr>>(by: &str, command: impl IntoIterator<Item = S>) -> io::Result<Output> {
    Command::new(by).arg("-n").args(command).env("LC_ALL", "C").stdin(Stdio::null()).output()
}

/// Whether root can read what it is to start: on a network's disk, or in an encrypted home, it may be nobody.
fn root_may_look(by: Option<&str>) -> Result<(), Refused> {
    let (Some(by), Ok(me)) = (by, env::current_exe()) else { return Ok(()) };
    let looked = quietly(by, [OsStr::new("test"), OsStr::new("-r"), me.as_os_str()]);
    // test(1) says nothing; who does is sudo, which would have to ask for the password once more.
    if looked.is_ok_and(|looked| looked.status.success() || !telling(&looked.stderr).is_empty()) {
        return Ok(());
    }
    Err(Refused::Broken(format!(
        "root may not read {} (a home on FUSE, or on NFS with root squash). Build and unpack on a disk of this \
         machine: export CARGO_TARGET_DIR=/var/tmp/target ROOTFS=/var/tmp/rootfs",
        me.display()
    )))
}

/// Starts one step, and returns what it said if the command did not run.
fn run(repo: &Repo, step: Step) -> Result<(), String> {
    let name = repo.steps.name(step).map_err(|err| format!("{err:#}"))?;
    let me =
        env::current_exe().map_err(|err| format!("cannot tell where this program lies: {err}"))?;
    let mut timeout = Command::new("timeout");
    timeout.args(["--kill-after=5", PATIENCE]);
    timeout
        .arg(repo.root().join("scripts/run-step.sh"))
        .arg(me.with_file_name(name))
        .args(QUESTION);
    // A relative ROOTFS counts from where the caller is.
    timeout.current_dir(repo.root()).env("ROOTFS", repo.rootfs()).stdin(Stdio::null());
    match timeout.output() {
        Ok(Output { status, stdout, .. }) if status.success() && stdout == ANSWER => Ok(()),
        Ok(Output { status, stderr, .. }) => match telling(&stderr).last() {
            Some(said) => Err(said.trim_start_matches(&format!("{name}: ")).to_string()),
            None => Err(format!("nothing, and ends with {status}")),
        },
        Err(err) => Err(format!("it cannot be started: {err}")),
    }
}

/// The lines of an error stream that say what is wrong.
fn telling(stderr: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(stderr);
    // sudo goes on without the address of this host.
    let besides = ["Running ", "+ ", "sudo: unable to resolve host "];
    let lines = text.lines().filter(|line| !besides.iter().any(|words| line.starts_with(words)));
    lines.map(|line| line.trim().to_string()).filter(|line| !line.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_without_an_address_is_not_what_is_wrong() {
        let said = b"sudo: unable to resolve host box: Name or service not known\nsudo: a password is required\n";
        assert_eq!(telling(said), ["sudo: a password is required"]);
    }
}
