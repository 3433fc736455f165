//! `cargo workshop check`: builds my-container, and looks at what it does.

mod report;
mod standing;

use std::env;
use std::io::{IsTerminal, Write, stderr};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail};
use checks::{Bench, Check, Verdict, holding_at};
use classroom::root::{Root, is_root, sudo, typed, variables};

use crate::changes::Files;
use crate::repo::{Repo, STEPS, Step};
use crate::say;

pub use standing::start_from;

/// What `cargo workshop check` was asked for.
#[derive(clap::Args)]
pub struct Args {
    /// The step; without it, all ten, up to the first that is not there yet
    #[arg(value_name = "N")]
    step: Option<Step>,
    /// Show a hint for the first check that fails; each time one more
    #[arg(long)]
    hint: bool,
    /// Check again whenever a file of my-container is saved
    #[arg(long, conflicts_with = "built")]
    watch: bool,
    /// The program is built already
    #[arg(long, hide = true)]
    built: bool,
}

impl Args {
    /// Whether this is the part of a check for which it has become root.
    pub fn is_for_root(&self) -> bool {
        self.built
    }
}

/// Checks once, or for ever.
pub fn check(repo: &Repo, args: &Args) -> anyhow::Result<ExitCode> {
    if !args.watch {
        return once(repo, args);
    }
    loop {
        let files = Files::now(repo);
        if std::io::stdout().is_terminal() && say::may_overwrite() {
            say::print("\x1b[2J\x1b[H");
        }
        if let Err(err) = once(repo, args) {
            say::error(&format!("{err:#}"));
        }
        say::note("Save a file to check again; Ctrl-C ends this.");
        // Looking at the files, a few times a second: in a VM no event tells of what was saved outside, on a shared
        // folder.
        while Files::now(repo) == files {
            thread::sleep(Duration::from_millis(300));
        }
    }
}

fn once(repo: &Repo, args: &Args) -> anyhow::Result<ExitCode> {
    repo.my_main()?;
    let program = beside("my-container")?;
    if !args.built {
        if !build(repo)? {
            say::note(
                "my-container does not compile yet. The first error above is the one to begin with.",
            );
            return Ok(ExitCode::FAILURE);
        }
        fetch(repo)?;
    }
    let outcome = look(&program, args.step);
    if !args.built && !is_root() && outcome.root_could_tell() {
        repo.state()?; // now, or it would be root's
        let mut sudo = as_root(args);
        match Root::here() {
            Root::BySudo => {
                say::note(&format!("This needs root:\n+ {}", typed(&sudo)));
                let status = sudo.status().context("cannot run sudo; check as root instead")?;
                return Ok(ExitCode::from(status.code().unwrap_or(2) as u8));
            }
            Root::Cannot(why) if outcome.needs_root() => {
                bail!("only root can see how far this is, and {why}. By hand: {}", typed(&sudo));
            }
            _ => {}
        }
    }
    report::report(repo, args, &outcome)
}

/// The path of another program that cargo has built, beside this one.
fn beside(name: &str) -> anyhow::Result<PathBuf> {
    let me = env::current_exe().context("cannot tell where this program lies")?;
    Ok(me.with_file_name(name))
}

/// Has cargo build my-container; its errors go to the screen as they are.
fn build(repo: &Repo) -> anyhow::Result<bool> {
    let no_cargo = "cannot run cargo (is it installed, and in PATH?)";
    let program = beside("my-container")?;
    Files::now(repo).forget_what_is_stale(&program, &mut repo.cargo()).context(no_cargo)?;
    let mut build = repo.cargo();
    build.args(["build", "--package", "my-container", "--bin", "my-container"]);
    Ok(build.status().context(no_cargo)?.success())
}

/// Gets a root filesystem if there is none yet.
fn fetch(repo: &Repo) -> anyhow::Result<()> {
    if repo.rootfs().is_dir() {
        return Ok(());
    }
    say::note("+ ./rootfs-fetch.sh");
    let mut script = Command::new(repo.root().join("rootfs-fetch.sh"));
    let status = script.env("ROOTFS", repo.rootfs()).status();
    if !status.context("cannot run ./rootfs-fetch.sh")?.success() {
        bail!("there is no root filesystem, and ./rootfs-fetch.sh could not make one");
    }
    Ok(())
}

/// The same check once more, with sudo: a cgroup can only be made by root.
fn as_root(args: &Args) -> Command {
    let words = ["check", "--built"].map(String::from).into_iter();
    let words = words
        .chain(args.step.map(|step| step.to_string()))
        .chain(args.hint.then(|| "--hint".into()));
    sudo(&variables(&["ROOTFS", "NO_COLOR"]), words)
}

/// How far a program has got.
struct Outcome {
    /// Up to which step all is well.
    reached: u8,
    /// The first check that did not pass.
    stopped: Option<(&'static Check, Verdict)>,
}

impl Outcome {
    /// Whether it is known that only root can see more.
    fn needs_root(&self) -> bool {
        matches!(self.stopped, Some((_, Verdict::NeedsRoot(_))))
    }

    /// Whether root could see more.
    fn root_could_tell(&self) -> bool {
        matches!(self.stopped, Some((_, Verdict::NeedsRoot(_) | Verdict::Impossible(_))))
    }
}

/// Runs the checks, in order, up to the first that fails.
fn look(program: &Path, step: Option<Step>) -> Outcome {
    let mut bench = Bench::new(program);
    let asked = step.unwrap_or(Step::new(STEPS));
    let mut stop = |check: &'static Check| match bench.run_unless_outgrown(check) {
        None | Some(Verdict::Passed) => None,
        Some(verdict) => Some((check, verdict)),
    };
    let mut reached = 0;
    let mut stopped = holding_at(asked).find_map(|check| {
        reached = check.from.number() - 1;
        progress(&format!("{} {}", check.from, check.title));
        stop(check)
    });
    if stopped.is_none() {
        reached = asked.number();
    } else if step.is_none() {
        // Where no step was asked for, the last one that is reached may have checks that hold for it alone.
        let mut its_own = checks::all().filter(|check| check.until.number() == reached);
        if let Some(earlier) = its_own.find_map(stop) {
            (reached, stopped) = (reached - 1, Some(earlier));
        }
    }
    progress("");
    Outcome { reached, stopped }
}

/// Shows what is being looked at, on a terminal, in a line that the next one overwrites.
fn progress(what: &str) {
    if say::may_overwrite() {
        let what: String = what.chars().take(70).collect();
        let dots = if what.is_empty() { "" } else { " …" };
        _ = write!(stderr(), "\r\x1b[K{what}{dots}");
        _ = stderr().flush();
    }
}
