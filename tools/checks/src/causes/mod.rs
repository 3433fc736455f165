//! Why an observation is not as it should be.
//!
//! A check says what it has seen. What that comes of shows in further observations: what became of the host, what the
//! program says, and most of all its system calls, where there is strace(1). Each cause that is known is a [`Row`] of a
//! table: how it is recognised, and what to say. Their order does not matter: of those whose signs are there, the one
//! with the best evidence counts, and that two are equally good is a mistake in the table, which the tests find.

mod command_line;
mod files;
mod limits;
mod namespaces;
mod users;
mod wild;

use std::cell::OnceCell;

use crate::Cause;
use crate::lab::{Call, Done, Lab, Trace, excerpt};

pub use files::{PROC_ON_HOST, SHARED};
pub use namespaces::together;
pub use users::NOT_ROOT_INSIDE;
pub use wild::{hang, lost, many};

/// How good the evidence for a cause is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Evidence {
    /// None: nothing better is known.
    Otherwise,
    /// The observation itself.
    Observed,
    /// What the program says.
    Said,
    /// What it does: its system calls, what becomes of the host.
    Seen,
    /// The kernel has counted it.
    Counted,
}

/// What a cause can explain.
#[derive(Clone, Copy)]
pub enum Explains {
    /// Whatever went wrong.
    All,
    /// That the command did not run.
    NotRun,
    /// That these checks fail, also where the command runs.
    Checks(&'static [&'static str]),
}

/// A cause that is known.
pub struct Row {
    evidence: Evidence,
    explains: Explains,
    /// The check that is about it: its hints, pages, and section help.
    about: &'static str,
    /// Whether it shows.
    sign: fn(&Case) -> bool,
    /// What to say. `{call}` is the system call that failed, and so on: see [`Case::fill`].
    text: &'static str,
}

impl Row {
    /// The same for what else it explains than that the command did not run.
    const fn of(self, explains: Explains) -> Row {
        Row { explains, ..self }
    }
}

/// What a text may leave open, and what to put there.
type Value = (&'static str, fn(&Case) -> String);

/// A failure, and what is known of it.
pub struct Case<'a> {
    /// The run.
    pub done: &'a Done<'a>,
    /// Whether the command has not run.
    not_run: bool,
    /// What the program says on stderr.
    said: String,
    trace: OnceCell<Trace>,
}

/// All that are known.
fn table() -> impl Iterator<Item = &'static Row> {
    [command_line::ROWS, files::ROWS, limits::ROWS, namespaces::ROWS, users::ROWS, wild::ROWS]
        .into_iter()
        .flatten()
}

/// Why the command did not run, or not as it should.
pub fn why_not_run(done: &Done) -> Cause {
    let it = Case::new(done, true);
    it.best(Evidence::Otherwise).unwrap_or_else(|| "".into())
}

/// Why the command did not run, if that is known.
pub fn why(done: &Done) -> Option<Cause> {
    Case::new(done, true).best(Evidence::Said)
}

/// A better cause than the one that an observation suggests, if there is one.
pub fn better(done: &Done, suggested: &Cause) -> Option<Cause> {
    // What comes from the table has been compared with all the rest already.
    if suggested.evidence != Evidence::Observed {
        return None;
    }
    Case::new(done, false).best(Evidence::Said)
}

impl<'a> Case<'a> {
    fn new(done: &'a Done<'a>, not_run: bool) -> Case<'a> {
        Case { done, not_run, said: excerpt(&done.stderr), trace: OnceCell::new() }
    }

    /// The cause with the best evidence.
    fn best(&self, least: Evidence) -> Option<Cause> {
        let concerned = |row: &&Row, evidence: Evidence| {
            row.evidence == evidence
                && match row.explains {
                    Explains::All => true,
                    // The first check tries just that.
                    Explains::NotRun => self.not_run || self.lab().check() == "runs",
                    Explains::Checks(names) => names.contains(&self.lab().check()),
                }
        };
        // Whoever has filled the memory is not run once more for the sake of what could be seen then.
        let found = |evidence| {
            let rows = table().filter(|row| concerned(row, evidence));
            rows.filter(|row| (row.sign)(self)).collect::<Vec<&Row>>()
        };
        let levels = [Evidence::Counted, Evidence::Seen, Evidence::Said, Evidence::Otherwise];
        let levels = levels.into_iter().filter(|level| *level >= least);
        let found = levels.map(found).find(|found| !found.is_empty())?;
        let (best, rivals) = found.split_first()?;
        let rivals = rivals.iter().map(|row| row.text.to_string()).collect();
        let needs_root = best.text.contains(NEEDS_ROOT);
        let text = self.fill(&best.text.replace(NEEDS_ROOT, ""));
        let about = Some(best.about).filter(|about| !about.is_empty());
        Some(Cause { text, about, needs_root, evidence: best.evidence, rivals })
    }

    /// Where it ran.
    pub fn lab(&self) -> &Lab {
        self.done.lab
    }

    /// Whether the program says this on stderr.
    pub fn says(&self, text: &str) -> bool {
        self.said.contains(text)
    }

    /// Whether it says one of these.
    pub fn says_one_of(&self, texts: &[&str]) -> bool {
        texts.iter().any(|text| self.says(text))
    }

    /// Whether it says that the kernel has forbidden something.
    pub fn is_denied(&self) -> bool {
        self.says_one_of(&["Operation not permitted", "EPERM", "Permission denied", "EACCES"])
    }

    /// Its system calls. There are none where there is no strace(1).
    pub fn trace(&self) -> &Trace {
        self.trace.get_or_init(|| self.done.trace())
    }

    /// The system call that stopped it.
    pub fn call(&self) -> Option<&Call> {
        self.trace().last_failure()
    }

    /// Whether what stopped it is this system call, with one of these errors.
    pub fn failed(&self, name: &str, errors: &[&str]) -> bool {
        self.call().is_some_and(|call| {
            call.name == name && call.error.as_deref().is_some_and(|error| errors.contains(&error))
        })
    }

    /// Puts what is known into a text.
    fn fill(&self, text: &str) -> String {
        let mut text = text.to_string();
        let values: [Value; 18] = [
            ("{others}", namespaces::others),
            ("{bind}", files::bound),
            ("{lost}", |it| files::lost_error(it).map_or("".into(), Call::shown)),
            ("{made}", limits::made_elsewhere),
            ("{put_old}", |it| files::put_old(it).unwrap_or_default()),
            ("{zero}", |it| limits::nothing_at_all(it).map_or("".into(), Call::shown)),
            ("{source}", |it| it.call().map_or("".into(), |call| call.arg(0).into())),
            ("{joined}", limits::joined),
            ("{memory}", limits::memory),
            ("{tried}", command_line::tried),
            ("{target}", |it| it.call().map_or("".into(), |call| format!("{:?}", call.arg(1)))),
            ("{call}", |it| it.call().map_or("".into(), Call::shown)),
            ("{before}", |it| it.calls_before()),
            ("{late}", |it| files::too_early(it).map_or("".into(), Call::shown)),
            ("{map}", users::map),
            ("{panic}", command_line::panic),
            ("{usage}", command_line::usage),
            ("{handed}", command_line::handed),
        ];
        for (name, value) in values {
            if text.contains(name) {
                text = text.replace(name, &value(self));
            }
        }
        text
    }

    /// What came before the system call that stopped it, by the same process.
    fn calls_before(&self) -> String {
        let Some(last) = self.call() else { return String::new() };
        let quiet = ["write", "execve", "wait4", "waitid", "prctl", "open", "clone", "clone3"];
        let before = self.trace().own().filter(|call| {
            call.pid == last.pid && call.at < last.at && !quiet.contains(&call.name.as_str())
        });
        let before: Vec<String> = before.map(Call::shown).collect();
        before[before.len().saturating_sub(3)..].join(", ")
    }
}

/// Marks a text that tells of no mistake: started by root, the program might pass.
const NEEDS_ROOT: &str = "{root}";

/// Why a command is not to be found among the host's processes.
pub const UNSEEN: &str = "the command runs inside another process, or under another name: it has to be started with \
    execve(2), with exactly the arguments that stand behind `run`";

/// A row whose evidence is what the program does. It explains that the command did not run, if it is not [`Row::of`]
/// something else.
const fn seen(about: &'static str, sign: fn(&Case) -> bool, text: &'static str) -> Row {
    Row { evidence: Evidence::Seen, explains: Explains::NotRun, about, sign, text }
}

/// The same for what the program says.
const fn said(about: &'static str, sign: fn(&Case) -> bool, text: &'static str) -> Row {
    Row { evidence: Evidence::Said, explains: Explains::NotRun, about, sign, text }
}

/// The same for what the kernel has counted, or cannot be overlooked.
const fn counted(about: &'static str, sign: fn(&Case) -> bool, text: &'static str) -> Row {
    Row { evidence: Evidence::Counted, explains: Explains::NotRun, about, sign, text }
}

/// A row without any.
const fn otherwise(sign: fn(&Case) -> bool, text: &'static str) -> Row {
    Row { evidence: Evidence::Otherwise, explains: Explains::NotRun, about: "", sign, text }
}
