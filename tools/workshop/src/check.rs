//! `cargo workshop check`: builds my-container, and looks at what it does.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::io::IsTerminal;
use std::io::Write;
use std::io::stderr;
use std::path::Path;
use std::path::PathBuf;
use std::process::Command;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::Context;
use anyhow::bail;
use checks::Bench;
use checks::Check;
use checks::Failure;
use checks::Verdict;
use checks::holding_at;
use classroom::root::Root;
use classroom::root::give_back;
use classroom::root::is_root;
use classroom::root::sudo;
use classroom::root::typed;
use classroom::root::variables;

use crate::changes::Files;
use crate::owner;
use crate::repo::Repo;
use crate::repo::STEPS;
use crate::repo::Step;
use crate::say;
use crate::say::BOLD;
use crate::say::DIM;
use crate::say::GREEN;
use crate::say::RED;
use crate::say::RESET;
use crate::say::wrap;

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
        if std::io::stdout().is_terminal() && say::can_overwrite() {
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
    report(repo, args, &outcome)
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
    /// Up to which step was looked.
    asked: Step,
    /// How many checks have passed.
    passed: usize,
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
    let mut outcome = Outcome { reached: 0, asked, passed: 0, stopped: None };
    for check in holding_at(asked) {
        outcome.reached = check.from.number() - 1;
        progress(&format!("{} {}", check.from, check.title));
        match bench.run_unless_outgrown(check) {
            None => {}
            Some(Verdict::Passed) => outcome.passed += 1,
            Some(verdict) => {
                outcome.stopped = Some((check, verdict));
                break;
            }
        }
    }
    if outcome.stopped.is_none() {
        outcome.reached = asked.number();
    } else if step.is_none() {
        // Where no step was asked for, the last one that is reached may have checks that hold for it alone.
        for check in checks::all().filter(|check| check.until.number() == outcome.reached) {
            let verdict = bench.run(check);
            if !matches!(verdict, Verdict::Passed) {
                outcome.reached -= 1;
                outcome.stopped = Some((check, verdict));
                break;
            }
        }
    }
    progress("");
    outcome
}

/// Shows what is being looked at, on a terminal, in a line that the next one overwrites.
fn progress(what: &str) {
    if say::can_overwrite() {
        let what: String = what.chars().take(70).collect();
        let dots = if what.is_empty() { "" } else { " …" };
        _ = write!(stderr(), "\r\x1b[K{what}{dots}");
        _ = stderr().flush();
    }
}

fn report(repo: &Repo, args: &Args, outcome: &Outcome) -> anyhow::Result<ExitCode> {
    let mut text = String::new();
    for step in Step::all().filter(|step| args.step.is_none_or(|asked| *step == asked)) {
        let number = step.number();
        let idea = repo.idea(step);
        let (colour, mark) =
            if number <= outcome.reached && (args.step.is_none() || outcome.stopped.is_none()) {
                (GREEN, "✓")
            } else if number == outcome.reached + 1 || args.step.is_some() {
                (RED, "✗")
            } else {
                (DIM, "·")
            };
        text += &format!("{colour}{mark} {step}{RESET} {idea}\n");
    }
    let before = progress_before(repo);
    remember(repo, outcome);
    let Some((check, verdict)) = &outcome.stopped else {
        let what = match args.step {
            Some(step) => format!("All {} checks of steps 01 to {step} pass.", outcome.passed),
            None => format!(
                "All {} checks pass: this is a container. What next? workshop.md has exercises.",
                outcome.passed
            ),
        };
        let next = args
            .step
            .filter(|step| step.number() < STEPS)
            .map(|step| format!(" Next: cargo workshop diff {}", step.number() + 1));
        say::print(&format!("{text}\n{GREEN}{what}{RESET}{}\n", next.unwrap_or_default()));
        return Ok(ExitCode::SUCCESS);
    };
    let failure = match verdict {
        Verdict::Failed(failure) | Verdict::NeedsRoot(failure) => failure,
        Verdict::Impossible(why) => {
            say::print(&format!("{text}\n"));
            bail!(
                "this machine cannot make the check \"{}\": {} (see cargo workshop doctor)",
                check.title,
                why.trim()
            );
        }
        Verdict::Passed => return Ok(ExitCode::SUCCESS),
    };
    if outcome.asked == check.from && args.step.is_some() && outcome.passed > 0 {
        text += &format!("{DIM}{} checks pass; the first that does not:{RESET}\n", outcome.passed);
    }
    text += &explain(check, failure);
    // Who types step 07 and breaks what step 01 did must not look for the mistake there.
    let now = args.step.map_or(before.saturating_add(1).min(STEPS), Step::number);
    if check.from.number() <= before && check.from.number() < now {
        let news = format!(
            "Your program passed this before: it is what you changed since. Where does it differ from step {now:02}? \
             cargo workshop compare {now}"
        );
        text += &block("but", &news, BOLD);
    }
    text += &hints(repo, args, check)?;
    say::print(&text);
    Ok(ExitCode::FAILURE)
}

/// The report of one failed check.
fn explain(check: &Check, failure: &Failure) -> String {
    let mut text =
        format!("\n{RED}✗ {} It {}?{RESET} {BOLD}Not yet.{RESET}\n\n", check.from, check.title);
    for (word, part) in failure.parts(check) {
        let strong = if word == "cause" { BOLD } else { "" };
        text += &block(word, &part, strong);
    }
    text
}

/// A word in the margin, and a text beside it.
fn block(word: &str, part: &str, style: &str) -> String {
    let mut text = String::new();
    for (row, line) in part.lines().flat_map(|line| wrap(line.trim_start())).enumerate() {
        let word = if row == 0 { word } else { "" };
        text += &format!("{DIM}{word:>10}{RESET}  {style}{line}{RESET}\n");
    }
    text
}

/// The hints that were asked for: one more each time, for as long as it is the same check that fails.
fn hints(repo: &Repo, args: &Args, check: &Check) -> anyhow::Result<String> {
    let total = check.hints.len() + 1;
    let file = repo.state()?.join("hints");
    let again = format!(
        "cargo workshop check{} --hint",
        args.step.map_or(String::new(), |step| format!(" {}", step.number()))
    );
    if !args.hint {
        return Ok(block("hint", &again, ""));
    }
    let mut shown: BTreeMap<String, usize> = BTreeMap::new();
    for line in fs::read_to_string(&file).unwrap_or_default().lines() {
        if let Some((name, count)) = line.split_once(' ') {
            shown.insert(name.to_string(), count.parse().unwrap_or(0));
        }
    }
    let count = shown.get(check.name).map_or(1, |count| (count + 1).min(total));
    shown.insert(check.name.to_string(), count);
    let lines: String = shown.iter().map(|(name, count)| format!("{name} {count}\n")).collect();
    // What cannot be counted would begin anew each time: then all of them.
    let count = if write_state(&file, &lines) { count } else { total };

    let mut text = String::new();
    for (number, hint) in (1..=count).zip(check.hints) {
        text += &block(&format!("hint {number}"), hint, "");
    }
    if count == total {
        let path = repo.steps.main(check.from)?;
        text += &block(&format!("hint {total}"), &format!("The lines of {}:", path.display()), "");
        text += &excerpt(&repo.steps.source(check.from)?, check.lines);
    } else {
        text += &block("", &format!("({count} of {total}; for the next one: {again})"), DIM);
    }
    Ok(text)
}

/// The lines that a check is about, with their neighbours and numbers.
fn excerpt(source: &str, patterns: &[&str]) -> String {
    const AROUND: usize = 2;
    let lines: Vec<&str> = source.lines().collect();
    let is_near = |place: usize| {
        let near = &lines[place.saturating_sub(AROUND)..lines.len().min(place + AROUND + 1)];
        near.iter().any(|line| patterns.iter().any(|pattern| line.contains(pattern)))
    };
    let mut text = String::new();
    let mut last = None;
    for (place, line) in lines.iter().enumerate().filter(|(place, _)| is_near(*place)) {
        if last.is_some_and(|last| last + 1 < place) {
            text += &format!("{DIM}{:>10}{RESET}\n", "…");
        }
        text += &format!("{DIM}{:>10}{RESET}  {line}\n", place + 1);
        last = Some(place);
    }
    text
}

/// How far the learner was at the last check.
fn progress_before(repo: &Repo) -> u8 {
    let text = repo.state().and_then(|state| Ok(fs::read_to_string(state.join("progress"))?));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// Remembers how far the learner is, for plain `cargo workshop`.
fn remember(repo: &Repo, outcome: &Outcome) {
    let Ok(state) = repo.state() else { return };
    let file = state.join("progress");
    let mut reached = outcome.reached;
    if outcome.stopped.is_none() {
        // A look at an early step says nothing of the later ones.
        reached = reached.max(progress_before(repo));
    }
    write_state(&file, &format!("{reached}\n"));
}

/// Writes a file that is only a convenience, or says why not. Under sudo it is to stay the learner's own.
fn write_state(file: &Path, text: &str) -> bool {
    if let Err(err) = fs::write(file, text) {
        say::error(&format!("cannot write {}: {}", file.display(), owner::why(file, &err)));
        return false;
    }
    if is_root() {
        file.parent().into_iter().for_each(give_back);
    }
    true
}
