//! What is checked beyond the blocks: that every hunk is shown, links, man pages.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use steps::Steps;
use steps::git;

use crate::Problem;
use crate::Report;
use crate::Task;
use crate::document::Document;
use crate::document::Kind;

/// Makes all checks.
///
/// # Errors
/// If git cannot be run.
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
        for block in &document.blocks {
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
        let mut wrong =
            |what| problems.push(Problem { line: 0, chapter: String::new(), what, grave: false });
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

/// The anchors that GitHub makes for headings, by the heading's line: small letters, blanks as hyphens, no punctuation,
/// and a number where another heading has the same.
pub fn anchors(document: &Document) -> BTreeMap<usize, String> {
    let mut count: BTreeMap<String, usize> = BTreeMap::new();
    let mut anchors = BTreeMap::new();
    // What is shown of a link is its text.
    let link = regex!(r"!?\[([^\]]*)\]\([^)]*\)");
    for heading in &document.headings {
        let shown = link.replace_all(&heading.text, "$1").to_lowercase();
        let kept = shown.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_' | ' '));
        let anchor: String = kept.map(|c| if c == ' ' { '-' } else { c }).collect();
        let times = count.entry(anchor.clone()).or_default();
        anchors
            .insert(heading.line, if *times == 0 { anchor } else { format!("{anchor}-{times}") });
        *times += 1;
    }
    anchors
}

/// The anchors of a Markdown file, written ones included.
fn all_anchors(document: &Document) -> BTreeSet<String> {
    let mut all: BTreeSet<String> = anchors(document).into_values().collect();
    let written = regex!(r#"<[^>]* (?:id|name)="([^"]+)""#);
    for (_, line) in document.prose() {
        all.extend(written.captures_iter(line).map(|found| found[1].to_string()));
    }
    all
}

/// A line without what stands between backticks.
fn without_code(line: &str) -> String {
    let code = regex!("``.*?``|`[^`]*`");
    code.replace_all(line, "``").into_owned()
}

/// Links lead to something: an anchor here, or a file of the repository. What is elsewhere is not asked.
fn links(task: &Task, document: &Document, problems: &mut Vec<Problem>) {
    let link = regex!(
        r#"\]\(<?([^)\s>]+)>?(?:\s+"[^"]*")?\)|(?:href|src)="([^"]+)"|^\[[^\]]+\]:\s*(\S+)"#
    );
    let anchors = all_anchors(document);
    let mut wrong = |line: usize, what| {
        problems.push(Problem {
            line: line + 1,
            chapter: document.chapter(line),
            what,
            grave: false,
        });
    };
    for (at, line) in document.prose() {
        for found in link.captures_iter(&without_code(line)) {
            let target = found.iter().skip(1).flatten().next().map_or("", |target| target.as_str());
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            let (file, anchor) = target
                .split_once('#')
                .map_or((target, None), |(file, anchor)| (file, Some(anchor)));
            if file.is_empty() {
                if !anchors.contains(anchor.unwrap_or_default()) {
                    wrong(
                        at,
                        format!(
                            "the link to #{} leads nowhere{}",
                            anchor.unwrap_or_default(),
                            like(anchor, &anchors)
                        ),
                    );
                }
                continue;
            }
            let folder = task.file.parent().unwrap_or(Path::new(""));
            let path = task.steps.root().join(folder).join(file);
            if !path.exists() {
                wrong(at, format!("the link to {file} leads nowhere: there is no such file"));
            } else if let (Some(anchor), Ok(text)) = (anchor, fs::read_to_string(&path)) {
                let other = all_anchors(&Document::parse(&text, &mut Vec::new()));
                if file.ends_with(".md") && !other.contains(anchor) {
                    wrong(
                        at,
                        format!("the link to {target} leads nowhere{}", like(Some(anchor), &other)),
                    );
                }
            }
        }
    }
    for (file, anchor) in links_from_elsewhere(task) {
        if !anchors.contains(&anchor) {
            let what = format!(
                "{file} sends its reader to #{anchor}, which leads nowhere{}",
                like(Some(&anchor), &anchors)
            );
            problems.push(Problem { line: 0, chapter: String::new(), what, grave: false });
        }
    }
}

/// The anchor that was probably meant.
fn like(anchor: Option<&str>, anchors: &BTreeSet<String>) -> String {
    let wanted = anchor.unwrap_or_default();
    let ratio =
        |other: &&String| (similar::TextDiff::from_chars(wanted, other).ratio() * 1000.0) as u32;
    let best = anchors.iter().max_by_key(ratio).filter(|best| ratio(best) > 500);
    best.map_or_else(String::new, |best| format!(" (#{best}?)"))
}

/// Where other files of the repository send their readers: `workshop.md#anchor`.
fn links_from_elsewhere(task: &Task) -> Vec<(String, String)> {
    let name = task.file.file_name().unwrap_or_default().to_string_lossy();
    let mut grep = git();
    grep.current_dir(task.steps.root());
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

/// Man pages that are named exist, on this machine: `unshare(2)`.
fn man_pages(document: &Document, report: &mut Report) {
    let page = regex!(r"\b([A-Za-z_][A-Za-z0-9_.+-]*)\(([1-9][a-z]{0,3})\)");
    let mut pages: BTreeMap<(String, String), usize> = BTreeMap::new();
    // In code, exit(1) may be a call: only what stands alone between backticks is a page.
    let alone = regex!(r"`([A-Za-z_][A-Za-z0-9_.+-]*\([1-9][a-z]{0,3}\))`");
    for (at, line) in document.prose() {
        let line = without_code(&alone.replace_all(line, "$1"));
        for found in page.captures_iter(&line) {
            pages.entry((found[1].to_string(), found[2].to_string())).or_insert(at);
        }
    }
    let exists = |name: &str, section: &str| {
        let man = Command::new("man").env("LC_ALL", "C").args(["-w", section, name]).output();
        man.is_ok_and(|output| output.status.success())
    };
    if !pages.is_empty() && !exists("unshare", "2") {
        let what = format!(
            "{} man pages are not looked up: this machine has no man, or no pages (apt install man-db manpages manpages-dev; \
             a minimal system leaves pages out: /etc/dpkg/dpkg.cfg.d)",
            pages.len()
        );
        report.skipped.push(Problem { line: 0, chapter: String::new(), what, grave: true });
        return;
    }
    for ((name, section), at) in pages {
        if !exists(&name, &section) {
            let what = format!(
                "there is no man page {name}({section}) here (man -w {section} {name}): is it the right section, and is its package installed?"
            );
            report.problems.push(Problem {
                line: at + 1,
                chapter: document.chapter(at),
                what,
                grave: false,
            });
        }
    }
}
