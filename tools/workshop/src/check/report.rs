//! What the person in front of the screen reads.

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;

use anyhow::bail;
use checks::{Check, Failure, Verdict, guide, holding_at};

use super::standing::{Standing, write_state};
use super::{Args, Outcome};
use crate::repo::{Repo, STEPS, Step};
use crate::say;
use crate::say::{BOLD, DIM, GREEN, RED, RESET, wrap};

/// Prints it. The exit status says whether all is well.
pub fn report(repo: &Repo, args: &Args, outcome: &Outcome) -> anyhow::Result<ExitCode> {
    let standing = Standing::of(repo, args, outcome);
    let mut text = list(repo, args, outcome, &standing);
    let Some((check, verdict)) = &outcome.stopped else {
        text += &all_is_well(args.step);
        say::print(&text);
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
    if let Some(done) = standing.done {
        text += &next(repo, done, check);
    } else {
        text += &explain(repo, args, check, failure, &standing)?;
    }
    say::print(&text);
    Ok(ExitCode::FAILURE)
}

/// The steps, each with a mark.
fn list(repo: &Repo, args: &Args, outcome: &Outcome, standing: &Standing) -> String {
    let mut text = String::new();
    for step in Step::all().filter(|step| args.step.is_none_or(|asked| *step == asked)) {
        let passed = match args.step {
            Some(_) => outcome.stopped.is_none(),
            // What is broken at a later step is not done, although it was.
            None => step.number() <= outcome.reached.min(standing.at.number() - 1),
        };
        let (colour, mark) = if passed || outcome.stopped.is_none() {
            (GREEN, "✓")
        } else if step == standing.at && standing.done.is_none() {
            (RED, "✗")
        } else {
            (DIM, "·")
        };
        text += &format!("{colour}{mark} {step}{RESET} {}\n", repo.idea(step));
    }
    text
}

/// How many checks there are up to a step, in words.
fn checks_up_to(step: Step) -> String {
    let count = holding_at(step).count();
    match step.number() {
        1 => format!("All {count} checks of step 01 pass."),
        _ => format!("All {count} checks of steps 01 to {step} pass."),
    }
}

fn all_is_well(asked: Option<Step>) -> String {
    let next = match asked {
        Some(step) if step.number() < STEPS => {
            let next = Step::new(step.number() + 1);
            format!(" Next: cargo workshop diff {}   ({})", next.number(), guide(next))
        }
        _ => " This is a container. What next? workshop.md has exercises.".into(),
    };
    format!("\n{GREEN}{}{RESET}{next}\n", checks_up_to(asked.unwrap_or(Step::new(STEPS))))
}

/// The next step has not been begun: nothing is wrong.
fn next(repo: &Repo, done: Step, check: &Check) -> String {
    let next = check.from;
    let mut text = format!("\n{GREEN}{}{RESET}\n\n", checks_up_to(done));
    text += &block("next", &format!("Step {next}: {}", repo.idea(next)), BOLD);
    text += &block("change", &format!("cargo workshop diff {}", next.number()), "");
    text += &block("guide", &guide(next), "");
    text + &block("aim", &format!("It {} ({})", check.title, check.man), "")
}

/// The report of one failed check.
fn explain(
    repo: &Repo,
    args: &Args,
    check: &'static Check,
    failure: &Failure,
    standing: &Standing,
) -> anyhow::Result<String> {
    let at = standing.at;
    let about = failure.about(check, at);
    let earlier = if check.from < at { format!(" (since step {})", check.from) } else { "".into() };
    let mut text = format!("\n{RED}It {}?{RESET} {BOLD}Not yet.{RESET}{earlier}\n\n", check.title);
    for (word, part) in failure.parts(about, at) {
        match word {
            // In one line, however long: it can be copied.
            "did" => text += &format!("{DIM}{word:>10}{RESET}  {part}\n"),
            "cause" => text += &block(word, &part, BOLD),
            _ => text += &block(word, &part, ""),
        }
    }
    if standing.broken {
        let news = format!(
            "Your program passed this before: it is what you changed since, on the way to step {at}."
        );
        text += &block("but", &news, BOLD);
    }
    match &standing.differs[..] {
        [] if check.from < at && standing.moved.is_empty() => {
            let compare = format!("cargo workshop compare {}", at.number());
            text += &block("compare", &compare, "");
        }
        [] => {}
        lines => {
            for (row, line) in lines.iter().enumerate() {
                let word = if row == 0 { "differs" } else { "" };
                text += &format!("{DIM}{word:>10}{RESET}  {line}\n");
            }
            let legend = format!("(- in yours, + in step {at}: it may be just this)");
            text += &block("", &legend, DIM);
        }
    }
    text += &moved(standing);
    text += &hints(repo, args, about)?;
    let all = format!("{} {} {}", failure.expected, failure.got, failure.cause.text);
    if all.contains("host") || failure.did.contains("another root") {
        const HOST: &str = "\"The host\" is a throw-away copy of this machine, made of namespaces: the check harms \
                            nothing here.";
        text += &block("", HOST, DIM);
    }
    Ok(text)
}

/// What is right, and stands in the wrong place.
fn moved(standing: &Standing) -> String {
    let mut text = String::new();
    let mut rest = &standing.moved[..];
    while let Some((_, behind)) = rest.first() {
        // What follows upon each other is told of once.
        let many = 1 + rest.windows(2).take_while(|two| two[1].1 == two[0].0).count();
        for (row, (line, _)) in rest[..many].iter().enumerate() {
            let word = if row == 0 && text.is_empty() { "differs" } else { "" };
            text += &format!("{DIM}{word:>10}{RESET}  {line}\n");
        }
        let (lines, stand) =
            if many == 1 { ("line", "it stands") } else { ("lines", "they stand") };
        let place = if behind.is_empty() { "first" } else { &format!("behind `{behind}`") };
        let step = standing.at;
        let legend =
            format!("(the same {lines}, in another place: in step {step} {stand} {place})");
        text += &block("", &legend, DIM);
        rest = &rest[many..];
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
