//! Where the learner is: at which step, what was done before, and what stands in the way.
//!
//! A program that fails a check of step 01 may be one of step 07: then it is what step 07 brought that is wrong. What
//! is looked at is not only what the program does, but also which lines of the steps are in it. (What is wrong with it
//! is never told from that.)

use std::collections::BTreeSet;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use classroom::root::{give_back, is_root};

use super::{Args, Outcome};
use crate::repo::{Repo, STEPS, Step};
use crate::{owner, say};

/// Where the learner is.
pub struct Standing {
    /// The step that is being worked on.
    pub at: Step,
    /// The step that is done, if the next one has not been begun.
    pub done: Option<Step>,
    /// Whether what fails now has passed before.
    pub broken: bool,
    /// The lines in which the program differs from the step, if they are few.
    pub differs: Vec<String>,
    /// Its lines that the step has, too, in another place; and the line behind which they stand there.
    pub moved: Vec<(String, String)>,
}

/// More lines than these are no typing error.
const FEW: usize = 12;

impl Standing {
    /// Finds out, and remembers what has been reached.
    pub fn of(repo: &Repo, args: &Args, outcome: &Outcome) -> Standing {
        let mine =
            repo.my_main().and_then(|file| Ok(fs::read_to_string(file)?)).unwrap_or_default();
        let begun = begun(repo, &mine);
        let mut best = number(repo, "best").max(number(repo, "progress"));
        if begun.map_or(0, Step::number) < number(repo, "begun") {
            // The program was taken back to an earlier step: what was reached then is another one.
            best = best.min(begun.map_or(0, |step| step.number() - 1));
        }
        let failed = outcome.stopped.as_ref().map_or(Step::new(STEPS), |(check, _)| check.from);
        let at = args.step.unwrap_or_else(|| {
            let after = |reached: u8| Step::new((reached + 1).min(STEPS));
            let known = if failed.number() <= best { after(best) } else { failed };
            failed.max(known).max(begun.unwrap_or(failed))
        });
        let reached = Step::all().find(|step| step.number() == outcome.reached);
        let is_begun = begun >= Some(failed) || has_changed(repo, outcome.reached, &mine);
        let done = reached.filter(|_| args.step.is_none() && at == failed && !is_begun);
        let broken = failed < at && failed.number() <= best;
        let (differs, moved) = match begun == Some(at) {
            true => (differs(repo, at), moved(&mine, &repo.steps.source(at).unwrap_or_default())),
            false => Default::default(),
        };
        remember(repo, outcome, best, begun);
        Standing { at, done, broken, differs, moved }
    }
}

/// The last step of which there is a line in a program that the steps before do not have.
fn begun(repo: &Repo, mine: &str) -> Option<Step> {
    let lines: Vec<&str> = mine.lines().map(code).collect();
    let mut known = BTreeSet::new();
    let mut begun = None;
    for step in repo.steps.all() {
        let source = repo.steps.source(step).unwrap_or_default();
        let says = |line: &&str| line.len() > 12;
        let all: BTreeSet<String> =
            source.lines().map(code).filter(says).map(String::from).collect();
        if all.difference(&known).any(|line| lines.contains(&line.as_str())) {
            begun = Some(step);
        }
        known.extend(all);
    }
    begun
}

/// Whether the program is another one than when this was reached, but for its comments. (It is not, if it has just been
/// reached.)
fn has_changed(repo: &Repo, reached: u8, mine: &str) -> bool {
    let mut hasher = DefaultHasher::new();
    mine.lines().map(code).filter(|line| !line.is_empty()).for_each(|line| line.hash(&mut hasher));
    let now = format!("{reached} {:x}\n", hasher.finish());
    let Ok(state) = repo.state() else { return false };
    let file = state.join("reached");
    let before = fs::read_to_string(&file).unwrap_or_default();
    if before.split(' ').next() != now.split(' ').next() {
        write_state(&file, &now);
        return false;
    }
    before != now
}

/// The lines by which the program differs from a step, if they are few: without comments, and what only looks
/// otherwise.
fn differs(repo: &Repo, step: Step) -> Vec<String> {
    let hunks = repo.my_main().and_then(|mine| {
        let theirs = repo.root().join(repo.steps.main(step)?);
        steps::hunks(&mine, &theirs)
    });
    let lines = changes(&hunks.unwrap_or_default().concat());
    // Comments at the end of a line need not be typed.
    let is_in = |sign: char, wanted: &str| {
        lines.iter().any(|line| line.starts_with(sign) && code(&line[1..]) == wanted)
    };
    let differs =
        |line: &&String| !is_in(if line.starts_with('-') { '+' } else { '-' }, code(&line[1..]));
    let lines: Vec<String> = lines.iter().filter(differs).cloned().collect();
    if lines.len() <= FEW { lines } else { Vec::new() }
}

/// The changed lines of a difference, without comments, and without what only has its line breaks elsewhere.
fn changes(difference: &[String]) -> Vec<String> {
    let is_change = |line: &String| line.starts_with(['-', '+']);
    let text = |lines: &[String], sign: char| -> String {
        let side = lines.iter().filter(|line| line.starts_with(sign));
        // A comma comes and goes with the line break behind it. In quotation marks everything counts.
        let mut quoted = false;
        let counts = |letter: &char| {
            quoted ^= *letter == '"';
            quoted || !letter.is_whitespace() && *letter != ','
        };
        side.flat_map(|line| code(&line[1..]).chars()).filter(counts).collect()
    };
    let blocks = difference.chunk_by(|line, next| is_change(line) == is_change(next));
    let blocks =
        blocks.filter(|lines| is_change(&lines[0]) && text(lines, '-') != text(lines, '+'));
    let lines = blocks.flatten().filter(|line| !code(&line[1..]).is_empty());
    lines.cloned().collect()
}

/// The lines that two programs have in another order, and what they stand behind in the second one. None if they are
/// many: a program of another shape is not compared like this.
fn moved(mine: &str, theirs: &str) -> Vec<(String, String)> {
    let [mine, theirs] = [mine, theirs].map(|text| text.lines().map(code).collect::<Vec<&str>>());
    let [mine, theirs] = [mine, theirs]
        .map(|lines| lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>());
    let (removed, added) = apart(&mine, &theirs);
    let mut moved = Vec::new();
    for at in added {
        if removed.iter().any(|place| mine[*place] == theirs[at]) && theirs[at].len() > 3 {
            let behind = if at == 0 { "" } else { theirs[at - 1] };
            moved.push((theirs[at].to_string(), behind.to_string()));
        }
    }
    if moved.len() <= FEW { moved } else { Vec::new() }
}

/// The places of the lines that are only in the first, and of those that are only in the second, if as many as possible
/// are in both, in the same order (their longest common subsequence).
fn apart(one: &[&str], other: &[&str]) -> (Vec<usize>, Vec<usize>) {
    // length[i][j]: of what is common to one[i..] and other[j..].
    let mut length = vec![vec![0_usize; other.len() + 1]; one.len() + 1];
    for i in (0..one.len()).rev() {
        for j in (0..other.len()).rev() {
            length[i][j] = if one[i] == other[j] {
                length[i + 1][j + 1] + 1
            } else {
                length[i + 1][j].max(length[i][j + 1])
            };
        }
    }
    let (mut i, mut j) = (0, 0);
    let (mut removed, mut added) = (Vec::new(), Vec::new());
    while i < one.len() || j < other.len() {
        if i < one.len() && j < other.len() && one[i] == other[j] {
            (i, j) = (i + 1, j + 1);
        } else if j == other.len() || i < one.len() && length[i + 1][j] >= length[i][j + 1] {
            removed.push(i);
            i += 1;
        } else {
            added.push(j);
            j += 1;
        }
    }
    (removed, added)
}

/// A line without its comment.
fn code(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        ""
    } else {
        line.split(" // ").next().unwrap_or_default().trim()
    }
}

/// How far the learner was, in a file of the state.
fn number(repo: &Repo, file: &str) -> u8 {
    let text = repo.state().and_then(|state| Ok(fs::read_to_string(state.join(file))?));
    text.ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0).min(STEPS)
}

/// Remembers how far the learner is, for plain `cargo workshop`, and how far it was at best.
fn remember(repo: &Repo, outcome: &Outcome, best: u8, begun: Option<Step>) {
    let Ok(state) = repo.state() else { return };
    let mut reached = outcome.reached;
    if outcome.stopped.is_none() {
        // A look at an early step says nothing of the later ones, unless the program was taken back to it.
        let is_taken_back = begun.map_or(0, Step::number) < number(repo, "begun");
        reached = if is_taken_back { reached } else { reached.max(number(repo, "progress")) };
    }
    write_state(&state.join("progress"), &format!("{reached}\n"));
    write_state(&state.join("best"), &format!("{}\n", best.max(reached)));
    write_state(&state.join("begun"), &format!("{}\n", begun.map_or(0, Step::number)));
}

/// Begins anew at a step: what was reached before was another program.
pub fn start_from(repo: &Repo, step: Step) {
    let Ok(state) = repo.state() else { return };
    let before = step.number() - 1;
    write_state(&state.join("best"), &format!("{before}\n"));
    write_state(&state.join("progress"), &format!("{before}\n"));
}

/// Writes a file that is only a convenience, or says why not. Under sudo it is to stay the learner's own.
pub fn write_state(file: &Path, text: &str) -> bool {
    if let Err(err) = fs::write(file, text) {
        say::error(&format!("cannot write {}: {}", file.display(), owner::why(file, &err)));
        return false;
    }
    if is_root() {
        file.parent().into_iter().for_each(give_back);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_line_break_is_no_change() {
        let lines = |text: &str| text.lines().map(String::from).collect::<Vec<_>>();
        let same = "-    mount(\n-        \"proc\", // what\n-        flags,\n-    )?;\n+mount(\"proc\", flags)?;\n";
        assert_eq!(changes(&lines(same)), lines(""));
        let text = "-write(\"0 {uid}1\")\n+write(\"0 {uid} 1\")";
        assert_eq!(changes(&lines(text)), lines(text));
        let other = format!(
            "{same} fn main() {{\n-    mount(\"proc\", none)?;\n+    mount(\"proc\",\n+flags)?;"
        );
        let expected = "-    mount(\"proc\", none)?;\n+    mount(\"proc\",\n+flags)?;";
        assert_eq!(changes(&lines(&other)), lines(expected));
    }

    #[test]
    fn a_line_in_another_place_is_told_from_one_that_looks_otherwise() {
        let theirs =
            "fn child() {\n    chroot(rootfs)\n        .context()?;\n    chdir(\"/\")?;\n}\n";
        let mine =
            "fn child() {\n    chdir(\"/\")?;\n    chroot(rootfs)\n        .context()?;\n}\n";
        let behind = |line: &str, behind: &str| (line.to_string(), behind.to_string());
        assert_eq!(moved(mine, theirs), [behind("chdir(\"/\")?;", ".context()?;")]);
        let same =
            "fn child() {\n  chroot(rootfs)\n  .context()?; // the root\n\n  chdir(\"/\")?;\n}\n";
        assert_eq!(moved(same, theirs), []);
    }
}
