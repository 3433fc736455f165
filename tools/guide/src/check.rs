//! What is checked beyond the blocks: that every hunk is shown, links, man pages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use regex::Regex;
use steps::{Steps, git};

use crate::document::{Document, Kind, Words};
use crate::{Problem, Report, Task};

/// Makes all checks.
pub fn all(task: &Task, document: &Document, report: &mut Report) -> anyhow::Result<()> {
    every_hunk(&task.steps, document, &mut report.problems)?;
    links(task, document, &mut report.problems);
    man_pages(document, report);
    Ok(())
}

/// Every hunk of every step from 02 on is shown exactly once.
fn every_hunk(
    steps: &Steps,
    document: &Document,
    problems: &mut Vec<Problem>,
) -> anyhow::Result<()> {
    for step in steps.all().filter(|step| step.before().is_some()) {
        let count = steps.hunks(step)?.len();
        let mut shown = vec![0; count];
        for (_, block) in document.blocks() {
            match &block.kind {
                Kind::Diff { step: of, hunks: None } if *of == step => {
                    shown.iter_mut().for_each(|times| *times += 1);
                }
                Kind::Diff { step: of, hunks: Some(hunks) } if *of == step => {
                    hunks
                        .iter()
                        .for_each(|hunk| shown.get_mut(hunk - 1).into_iter().for_each(|n| *n += 1));
                }
                _ => {}
            }
        }
        let which = |wrong: fn(usize) -> bool| {
            let list = shown.iter().enumerate().filter(|(_, times)| wrong(**times));
            list.map(|(hunk, _)| (hunk + 1).to_string()).collect::<Vec<_>>().join(",")
        };
        let mut wrong = |what| problems.push(Problem { what, ..Problem::default() });
        let (missing, twice) = (which(|times| times == 0), which(|times| times > 1));
        if shown.iter().all(|times| *times == 0) {
            wrong(format!(
                "what step {step} changes is not shown: write <!-- diff {step} --> and <!-- end --> into its chapter"
            ));
        } else if !missing.is_empty() {
            wrong(format!(
                "a part of what step {step} changes is not shown: <!-- diff {step} hunks {missing} -->"
            ));
        }
        if !twice.is_empty() {
            wrong(format!("a part of what step {step} changes is shown twice: hunks {twice}"));
        }
    }
    Ok(())
}

/// The anchors of a Markdown file, written ones included.
fn anchors(document: &Document) -> BTreeSet<&str> {
    let made = document.headings.iter().map(|heading| heading.anchor.as_str());
    made.chain(document.ids.iter().map(String::as_str)).collect()
}

/// Links lead to something: an anchor here, or a file of the repository. What is elsewhere is not asked.
fn links(task: &Task, document: &Document, problems: &mut Vec<Problem>) {
    let here = anchors(document);
    let folder = task.steps.root().join(task.file.parent().unwrap_or(Path::new("")));
    for (line, target) in &document.links {
        if target.contains("://") || target.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
        let path = folder.join(file);
        let what = if file.is_empty() {
            nowhere(target, anchor, &here)
        } else if !path.exists() {
            Some(format!("the link to {file} leads nowhere: there is no such file"))
        } else if anchor.is_empty() || !file.ends_with(".md") {
            None
        } else {
            let text = fs::read_to_string(&path).unwrap_or_default();
            nowhere(target, anchor, &anchors(&Document::parse(&text, &mut Vec::new())))
        };
        problems.extend(what.map(|what| document.problem(*line, what)));
    }
    for (file, anchor) in links_from_elsewhere(task) {
        if let Some(what) = nowhere(&format!("#{anchor}"), &anchor, &here) {
            let what = format!("{file} sends its reader to the wrong place: {what}");
            problems.push(Problem { what, ..Problem::default() });
        }
    }
}

/// What is wrong with a link, if there is no such anchor; and which one was probably meant.
fn nowhere(target: &str, anchor: &str, anchors: &BTreeSet<&str>) -> Option<String> {
    if anchors.contains(anchor) {
        return None;
    }
    let common = |other: &&str| {
        let same = |(one, other): &(char, char)| one == other;
        let front = anchor.chars().zip(other.chars()).take_while(same).count();
        let back = anchor.chars().rev().zip(other.chars().rev()).take_while(same).count();
        front + back
    };
    let best =
        anchors.iter().copied().max_by_key(common).filter(|best| 2 * common(best) > best.len());
    let best = best.map_or_else(String::new, |best| format!(" (#{best}?)"));
    Some(format!("the link to {target} leads nowhere{best}"))
}

/// Where other files of the repository send their readers: `workshop.md#anchor`.
fn links_from_elsewhere(task: &Task) -> Vec<(String, String)> {
    let name = task.file.file_name().unwrap_or_default().to_string_lossy();
    let mut grep = git();
    grep.current_dir(task.steps.root()).env_remove("GIT_DIR");
    grep.args(["grep", "--untracked", "-IoE", "--full-name", "-e"]);
    let grep = grep.arg(format!("{}#[a-z0-9_-]+", regex::escape(&name)));
    let grep = grep.args(["--", ":!tools/guide"]).arg(format!(":!{name}"));
    let output = grep.output().map(|output| output.stdout).unwrap_or_default();
    let list: BTreeSet<(String, String)> = String::from_utf8_lossy(&output)
        .lines()
        .filter_map(|line| line.split_once('#'))
        .filter(|(_, anchor)| !anchor.ends_with('-')) // the rest is put together by a program
        .map(|(place, anchor)| {
            (place.split(':').next().unwrap_or_default().to_string(), anchor.to_string())
        })
        .collect();
    list.into_iter().collect()
}

/// What names a man page: `unshare(2)`.
pub fn man_page() -> &'static Regex {
    regex!(r"\b([A-Za-z_][A-Za-z0-9_.+-]*)\(([1-9][a-z]{0,3})\)")
}

/// Man pages that are named exist, on this machine: `unshare(2)`.
fn man_pages(document: &Document, report: &mut Report) {
    let page = man_page();
    let mut pages: BTreeMap<(String, String), usize> = BTreeMap::new();
    for (line, words) in &document.words {
        let text = match words {
            Words::Text(text) => text,
            // In code, exit(1) may be a call: only what stands alone between backticks is a page.
            Words::Code(code) if page.find(code).is_some_and(|found| found.len() == code.len()) => {
                code
            }
            Words::Code(_) => continue,
        };
        for found in page.captures_iter(text) {
            pages.entry((found[1].to_string(), found[2].to_string())).or_insert(*line);
        }
    }
    let exists = |name: &str, section: &str| {
        let man = Command::new("man").env("LC_ALL", "C").args(["-w", section, name]).output();
        man.is_ok_and(|output| output.status.success())
    };
    if !pages.is_empty() && !exists("unshare", "2") {
        let what = format!(
            "{} man pages are not looked up: this machine has no man, or no pages (apt install man-db manpages \
             manpages-dev; a minimal system leaves pages out: /etc/dpkg/dpkg.cfg.d)",
            pages.len()
        );
        report.skipped.push(Problem { what, grave: true, ..Problem::default() });
        return;
    }
    for ((name, section), line) in pages {
        if !exists(&name, &section) {
            let what = format!(
                "there is no man page {name}({section}) here (man -w {section} {name}): is it the right section, and \
                 is its package installed?"
            );
            report.problems.push(document.problem(line, what));
        }
    }
}
