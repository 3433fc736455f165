//! `cargo workshop guide`: writes what `workshop.md` quotes from the steps and from their sessions, and checks it.
//!
//! The guide's author writes prose, and between it *markers*: HTML comments alone on their line, each closed by
//! `<!-- end -->`. What stands between the two is generated, so it is what the steps are and do *now*:
//!
//! | marker | what stands there |
//! |---|---|
//! | `<!-- diff 04 -->` | what step 04 changes in `main.rs`; `<!-- diff 04 hunks 1-3,5 -->` tells a long one in parts |
//! | `<!-- code 04 execute -->` | a function, struct, enum, constant … of step 04 by its name; without a name all of
//! `main.rs` |
//! | `<!-- solution 05 hostname -->` | `exercises/05-hostname.patch`, which has to apply to step 05 and to compile |
//! | `<!-- solution 10 locks lock_root -->` | items that it adds to `main.rs`, by their names, and their calls |
//! | `<!-- session 05 -->` | commands that the author typed, and what they print; what else may stand there:
//! [`session`] |
//! | `<!-- table steps -->` | the steps, and how many lines each of them adds |
//! | `<!-- schedule -->` | the chapters' minutes and their sums, from the chapters' lines `*8 / 20 / 30 minutes*` |
//!
//! The minutes are those of the class of 90 minutes, of half a day, and of somebody who learns alone; a single number
//! serves for all three, and `–` leaves the chapter out.
//!
//! Beyond the blocks: every hunk of every step is shown exactly once, no `console`, `diff` or `rust` block stands
//! outside a marker, links and their anchors exist, and so do the man pages that are named (`unshare(2)`).

/// A regular expression that is made once.
macro_rules! regex {
    ($pattern:expr) => {{
        static REGEX: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
            regex::Regex::new($pattern).expect("the expression is well-formed")
        });
        &*REGEX
    }};
}

pub mod book;
pub mod check;
pub mod document;
pub mod normal;
pub mod picture;
pub mod quote;
pub mod session;

use std::fmt;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow, ensure};
use steps::Steps;
use tempfile::NamedTempFile;

use document::{Block, Chapter, Document, Kind};
use session::Stage;

/// What to do, with which guide.
pub struct Task {
    /// The repository's steps.
    pub steps: Steps,
    /// The guide, relative to the repository.
    pub file: PathBuf,
    /// Whether to compare only, and write nothing.
    pub check: bool,
    /// Only the blocks whose marker has these words in it, and nothing but blocks: neither hunks nor links nor man
    /// pages.
    pub block: Option<String>,
    /// How long a command of a session may take to come back to a prompt.
    pub patience: Duration,
}

/// More than a command of the guide takes on a slow machine, and less than an author wants to wait.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Something that is wrong, and where.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Problem {
    /// The line of the guide, from 1; 0 if it is about the guide as a whole.
    pub line: usize,
    /// The chapter's heading.
    pub chapter: String,
    /// What is wrong, and what to do.
    pub what: String,
    /// Of what is skipped: whether a machine can have all that it takes, so that CI has to.
    pub grave: bool,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match (self.line, self.chapter.as_str()) {
            (0, _) => write!(f, "{}", self.what),
            (line, "") => write!(f, "line {line}: {}", self.what),
            (line, chapter) => write!(f, "line {line}, chapter \"{chapter}\": {}", self.what),
        }
    }
}

/// What came of it.
#[derive(Debug, Default)]
pub struct Report {
    /// What is wrong. If there is anything, the guide is not fit to print.
    pub problems: Vec<Problem>,
    /// What could not be looked at on this machine.
    pub skipped: Vec<Problem>,
    /// The blocks that were looked at.
    pub blocks: usize,
    /// The blocks that were written anew.
    pub written: Vec<String>,
}

/// What is to stand in a block.
pub enum Text {
    /// These lines.
    Lines(Vec<String>),
    /// What stands there, because this machine cannot tell, for this reason.
    ///
    /// If it is grave, CI may not have this reason.
    Keep { why: String, grave: bool },
}

/// Regenerates or checks the guide.
///
/// # Errors
/// If the guide or the steps cannot be read, or the guide cannot be written. What is wrong *in* the guide is in the
/// report.
pub fn run(task: &Task) -> anyhow::Result<Report> {
    let path = task.steps.root().join(&task.file);
    let text =
        fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut report = Report::default();
    let document = Document::parse(&text, &mut report.problems);
    if !report.problems.is_empty() {
        return Ok(report); // where a block ends is not certain: nothing is to be written
    }
    let mut lines: Vec<String> = document.lines.clone();
    let wanted = |(_, block): &(&Chapter, &Block)| {
        task.block.as_ref().is_none_or(|words| block.name.contains(words))
    };
    let blocks: Vec<(&Chapter, &Block)> = document.blocks().filter(wanted).collect();
    report.blocks = blocks.len();
    ensure!(task.block.is_none() || !blocks.is_empty(), "no block's marker has these words");
    let texts = all(&blocks, |(_, block)| generate(task, &document, block));
    // From the end, so that the places of the others stay what they are.
    for ((chapter, block), text) in blocks.iter().zip(texts).rev() {
        let old = &document.lines[block.body.clone()];
        let problem = |what| document.problem(block.body.start - 1, what);
        if let Some(file) = block.picture() {
            let shown = match &text {
                Ok(Text::Lines(new)) => new,
                _ => old,
            };
            let (path, svg) = (task.steps.root().join(file), picture::draw(shown));
            let same = fs::read_to_string(&path).is_ok_and(|old| old == svg);
            if !same && task.check {
                let what = format!(
                    "{file} is no picture of `{}` as it is now. Run `cargo workshop guide`, and look at it",
                    block.name
                );
                report.problems.push(problem(what));
            } else if !same {
                fs::write(&path, svg)
                    .with_context(|| format!("cannot write {}", path.display()))?;
                report.written.push(file.to_string());
            }
        }
        match text {
            Ok(Text::Lines(new)) if new == old => {}
            Ok(Text::Lines(new)) if task.check => {
                report.problems.push(problem(stale(block, old, &new)?))
            }
            Ok(Text::Lines(new)) => {
                report.written.push(format!("{} ({})", block.name, chapter.title));
                lines.splice(block.body.clone(), new);
            }
            Ok(Text::Keep { why, grave }) => {
                let what = format!("`{}` is left as it is: {why}", block.name);
                report.skipped.push(Problem { grave, ..problem(what) });
            }
            Err(err) => report.problems.push(problem(format!("`{}`: {err:#}", block.name))),
        }
    }
    report.problems.reverse();
    report.skipped.reverse();
    report.written.reverse();
    if !report.written.is_empty() {
        write(&path, &lines)?;
    }
    if task.block.is_some() {
        return Ok(report);
    }
    let document = Document::parse(&lines.join("\n"), &mut report.problems);
    check::all(task, &document, &mut report)?;
    Ok(report)
}

/// Builds the solution of an exercise, `10-memory-high`, and returns the program.
pub fn solution(steps: &Steps, exercise: &str) -> anyhow::Result<PathBuf> {
    let (step, name) = exercise.split_once('-').context("an exercise is called NN-NAME")?;
    let step = step.parse().map_err(|err| anyhow!("an exercise is called NN-NAME: {err}"))?;
    steps.solved(step, name)
}

/// How many blocks are generated at the same time: sessions mostly wait.
const WORKERS: usize = 3;

/// Generates blocks, and returns their texts in the same order.
fn all<B: Sync>(
    blocks: &[B],
    generate: impl Fn(&B) -> anyhow::Result<Text> + Sync,
) -> Vec<anyhow::Result<Text>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut texts = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(block) = blocks.get(at) else { return texts };
            texts.push((at, generate(block)));
        }
    };
    let mut texts: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS).map(|_| scope.spawn(work)).collect();
        workers.into_iter().filter_map(|worker| worker.join().ok()).flatten().collect()
    });
    texts.sort_by_key(|(at, _)| *at);
    texts.into_iter().map(|(_, text)| text).collect()
}

fn generate(task: &Task, document: &Document, block: &Block) -> anyhow::Result<Text> {
    let steps = &task.steps;
    let lines = match &block.kind {
        Kind::Diff { step, hunks } => quote::diff(steps, *step, hunks.as_deref())?,
        Kind::Code { step, item } => quote::code(steps, *step, item.as_deref())?,
        Kind::Solution { step, name, words } if words.is_empty() => {
            quote::solution(steps, *step, name)?
        }
        Kind::Solution { step, name, words } => quote::part(steps, *step, name, words)?,
        Kind::Table => quote::table(steps)?,
        Kind::Schedule => quote::schedule(document)?,
        Kind::Session { step, words } => {
            let stage = Stage { steps, patience: task.patience };
            return stage.play(*step, words, &document.lines[block.body.clone()]);
        }
    };
    Ok(Text::Lines(lines))
}

/// Tells what is stale, and what to do about it.
fn stale(block: &Block, old: &[String], new: &[String]) -> anyhow::Result<String> {
    let file = |lines: &[String]| -> anyhow::Result<NamedTempFile> {
        let mut file = NamedTempFile::new()?;
        lines.iter().try_for_each(|line| writeln!(file, "{line}"))?;
        Ok(file)
    };
    // The test machine (scripts/vm) has no git: then all that stood there, and all that is to.
    let whole = |sign, lines: &[String]| lines.iter().map(|line| format!("{sign}{line}")).collect();
    let shown = steps::hunks(file(old)?.path(), file(new)?.path())
        .unwrap_or_else(|_| vec![whole("-", old), whole("+", new)])
        .concat()
        .join("\n");
    Ok(format!(
        "`{}` is not what it should be now. Run `cargo workshop guide`, look at what that changes (git diff), and mend \
         the text around it.\n--- in the guide\n+++ now\n{shown}",
        block.name
    ))
}

/// Puts the whole guide in its place at once: whoever stops this in the middle has the old one.
fn write(path: &Path, lines: &[String]) -> anyhow::Result<()> {
    let place = path.parent().context("the guide has no folder")?;
    let failed = || format!("cannot write {}", path.display());
    let mode = fs::metadata(path).with_context(failed)?.permissions();
    let mut new = NamedTempFile::new_in(place).with_context(failed)?;
    for line in lines {
        writeln!(new, "{line}").with_context(failed)?;
    }
    fs::set_permissions(new.path(), mode).with_context(failed)?;
    new.persist(path).with_context(failed)?;
    Ok(())
}
