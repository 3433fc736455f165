//! A classroom host on which somebody works at terminals, and looks.

use std::ops::Deref;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

use classroom::error::Attempt;
use classroom::{Cgroups, Error, Host, Output, Result, Session, Setup, output};
use steps::{Step, Steps};

static STEPS: LazyLock<anyhow::Result<Steps>> = LazyLock::new(|| Steps::find(steps::repository()));

/// A host with a step and `look` in /workshop.
pub struct Lab {
    host: Host, // before the cgroups: it is dropped first
    pub cgroups: Option<Cgroups>,
    /// How many mounts the host has before anybody does anything.
    mounts: usize,
}

impl Deref for Lab {
    type Target = Host;
    fn deref(&self) -> &Host {
        &self.host
    }
}

impl Lab {
    pub fn new(number: u8) -> Result<Lab> {
        if number == 10 {
            needs_root()?;
        }
        let steps = STEPS.as_ref().map_err(|err| Error::Failed(format!("{err:#}")))?;
        let program = steps.program(Step::new(number)).attempt("build the step")?;
        let setup = Setup::new(&program).processes(1000); // there are crowds among the tests
        let host = if number < 5 { setup.without_rootfs().start()? } else { setup.start()? };
        let cgroups = if number == 10 { Some(Cgroups::on(&host)?) } else { None };
        let mut install = Command::new("install");
        install.arg(env!("CARGO_BIN_EXE_look")).arg(host.path("/workshop/look"));
        assert_eq!(output(&mut install)?.status, 0, "cannot copy look");
        let mounts = host.read("/proc/1/mountinfo")?.lines().count();
        Ok(Lab { host, cgroups, mounts })
    }

    /// A terminal with a shell in which somebody has typed a command, and gets an answer from what runs there now.
    pub fn terminal(&self, command: &str) -> Result<Session> {
        typing(&mut self.host.terminal(["bash", "--norc"]), command)
    }

    /// The same of an ordinary user.
    pub fn learners_terminal(&self, command: &str) -> Result<Session> {
        let bash = ["setsid", "--ctty", "--wait", "bash", "--norc"];
        typing(&mut self.host.learner(bash), command)
    }

    /// A shell that starts the step at a terminal, `run OPTIONS sh`.
    pub fn step(&self, options: &str) -> Result<Session> {
        self.terminal(&format!("./{} run {options} sh", self.host.program()))
    }

    /// What `./look --once` prints in a pipe, so many columns wide.
    pub fn look(&self, columns: u32) -> Result<String> {
        let columns = format!("COLUMNS={columns}");
        printed(&mut self.host.command(["env", &columns, "./look", "--once"]))
    }

    /// The same for an ordinary user.
    pub fn learner_looks(&self, columns: u32) -> Result<String> {
        let columns = format!("COLUMNS={columns}");
        printed(&mut self.host.learner(["env", &columns, "./look", "--once"]))
    }

    /// How many of the host's processes have these arguments.
    pub fn count(&self, args: &str) -> usize {
        self.host.processes().iter().filter(|(_, found)| found == args).count()
    }

    /// The number of the process with these arguments.
    pub fn pid(&self, is: impl Fn(&str) -> bool) -> Result<u32> {
        let found = self.host.processes().into_iter().find(|(_, args)| is(args));
        found.map(|(pid, _)| pid).ok_or_else(|| Error::Failed("there is no such process".into()))
    }

    /// Without what differs from machine to machine: numbers of processes become 4711 and so on; the host has 31 mounts
    /// and all users; memory is 2 MB.
    pub fn normal(&self, text: &str) -> String {
        // Where nothing is to be seen there is no tree.
        let parts = text.split_once("\n\n").filter(|(tree, _)| tree.contains("\n PID "));
        let (tree, rest) = parts.unwrap_or(("", text));
        let mut pids: Vec<&str> = tree.lines().skip(2).filter_map(pid).collect();
        pids.sort_by_key(|pid| pid.parse().unwrap_or(0));
        let mut tree = tree.to_string();
        for (at, pid) in pids.iter().enumerate() {
            tree = replace(&tree, pid, &format!("<{}>", 4711 + at));
        }
        let tree = moment(&tree.replace(['<', '>'], ""));
        let mut users = None;
        let line = |line: &str| {
            let mut line = line.to_string();
            if line.trim_start().starts_with("hostname") {
                users = line.find("mounts").zip(line.find("outside=inside"));
            }
            if let (Some((mounts, users)), true) = (users, line.starts_with(" host ")) {
                let now = line[mounts..mounts + 6].trim().parse::<usize>().expect("no mounts");
                line.replace_range(mounts..mounts + 6, &format!("{:<6}", 31 + now - self.mounts));
                line.replace_range(users.., "all users");
            }
            if line.contains(" memory ") {
                // The bar is the same for 1 and 2 of 50 MB; the peak is chance.
                let (head, tail) = line.split_once(" of ").unwrap_or((&line, ""));
                let head = head.trim_end_matches(|c: char| c.is_ascii_digit());
                line = format!("{head}2 of {}", tail.split(" (").next().unwrap_or_default());
            }
            if line.contains(" cpu ") {
                line.truncate(line.find("  held back").unwrap_or(line.len())); // so is this
            }
            line + "\n"
        };
        let rest: String = rest.lines().map(line).collect();
        if tree.is_empty() { rest } else { format!("{tree}\n\n{rest}") }
    }
}

/// Has the shell at a terminal say something. (What is typed comes back first, and is not what it says.)
pub fn ask(terminal: &mut Session) -> Result<()> {
    terminal.send("echo an''swer\n")?;
    terminal.wait_for("answer")?;
    Ok(())
}

fn typing(shell: &mut Command, command: &str) -> Result<Session> {
    let mut terminal = Session::on_terminal(shell)?;
    ask(&mut terminal)?;
    terminal.send(format!("{command}\n"))?;
    ask(&mut terminal)?;
    Ok(terminal)
}

/// What a command prints that ends well, and complains of nothing.
pub fn printed(command: &mut Command) -> Result<String> {
    let Output { stdout, stderr, status } = output(command)?;
    assert_eq!((status, &*stderr), (0, ""), "{stdout}");
    Ok(stdout)
}

/// For what there is only where the tests are run by root.
pub fn needs_root() -> Result<()> {
    if classroom::root::is_root() {
        return Ok(());
    }
    Err(Error::NeedsRoot("only root can be root and an ordinary user, or make a cgroup".into()))
}

/// The name of a cgroup ends with the nanosecond in which it was made, as far as it is shown.
fn moment(text: &str) -> String {
    let mut parts = text.split("step10-4712-");
    let mut fixed = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let rest = part.trim_start_matches(|c: char| c.is_ascii_digit());
        let digits = part.len() - rest.len();
        fixed += "step10-4712-";
        fixed += &"1763892000214365879"[..digits];
        fixed += rest;
    }
    fixed
}

/// Replaces a number where it stands alone.
fn replace(text: &str, number: &str, by: &str) -> String {
    let mut replaced = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(number) {
        let (before, after) = (&rest[..at], &rest[at + number.len()..]);
        let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
        let alone = !digit(before.chars().last()) && !digit(after.chars().next());
        replaced += before;
        replaced += if alone { by } else { number };
        rest = after;
    }
    replaced + rest
}

/// The number at the beginning of a line of the tree.
fn pid(line: &str) -> Option<&str> {
    let text = line.get(1..)?.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    (digits > 0).then_some(&text[..digits])
}

/// Compares with `tools/look/tests/snapshots/NAME.snap`.
pub fn snapshot(name: &str, text: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots"));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, text));
}
