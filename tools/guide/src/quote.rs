//! What is quoted from the steps: differences, items, solutions; and the two tables.

use anyhow::{Context, bail, ensure};
use regex::Regex;
use steps::{Step, Steps, git};

use crate::document::{Chapter, Document, PartKind};

/// `lines` as a fenced block, with a fence that none of them closes.
pub fn fence(language: &str, lines: &[String]) -> Vec<String> {
    let longest =
        |line: &String| line.trim_start().bytes().take_while(|byte| *byte == b'`').count();
    let ticks = "`".repeat(lines.iter().map(longest).max().unwrap_or_default().max(2) + 1);
    let mut block = vec![format!("{ticks}{language}")];
    block.extend_from_slice(lines);
    block.push(ticks);
    block
}

/// A `diff` block: some hunks, or all.
pub fn diff(steps: &Steps, step: Step, wanted: Option<&[usize]>) -> anyhow::Result<Vec<String>> {
    let hunks = steps.hunks(step)?;
    ensure!(!hunks.is_empty(), "step {step} changes nothing");
    let all: Vec<usize> = (1..=hunks.len()).collect();
    let mut lines = Vec::new();
    for &number in wanted.unwrap_or(&all) {
        let hunk = hunks.get(number - 1).with_context(|| {
            format!("step {step} has {} hunks, and no hunk {number}", hunks.len())
        })?;
        lines.extend_from_slice(hunk);
    }
    Ok(fence("diff", &lines))
}

/// A `code` block: an item of a step's `main.rs`, or all of it.
pub fn code(steps: &Steps, step: Step, item: Option<&str>) -> anyhow::Result<Vec<String>> {
    let text = steps.source(step)?;
    let lines: Vec<String> = text.lines().map(str::to_string).collect();
    let lines = match item {
        Some(item) => find_item(&lines, item)
            .with_context(|| format!("{} has no {item}", steps.name(step).unwrap_or_default()))?,
        None => &lines,
    };
    Ok(fence("rust", lines))
}

/// Finds an item by its name. rustfmt has put its beginning and its end at the left margin.
fn find_item<'a>(lines: &'a [String], name: &str) -> Option<&'a [String]> {
    let kinds = "fn|struct|enum|union|trait|const|static|type|mod|impl";
    let head = Regex::new(&format!(
        r"^(pub(\([^)]*\))? )?(async |const |unsafe )*({kinds}) {}\b",
        regex::escape(name)
    ));
    let head = head.expect("the expression is well-formed");
    let at = lines.iter().position(|line| head.is_match(line))?;
    let above = |line: &&String| line.starts_with("///") || line.starts_with("#[");
    let first = at - lines[..at].iter().rev().take_while(above).count();
    let ends = |line: &String| {
        line.starts_with(['}', ')', ']']) || line.ends_with(';') && !line.starts_with(' ')
    };
    let one_line = lines[at].ends_with(['}', ';']);
    let length = if one_line { 0 } else { lines[at + 1..].iter().position(ends)? + 1 };
    Some(&lines[first..=at + length])
}

/// A `solution` block: a patch without the lines that only tools read.
pub fn solution(steps: &Steps, step: Step, name: &str) -> anyhow::Result<Vec<String>> {
    let patch = steps.solution(step, name);
    let text = steps.read(&patch)?;
    let folder = format!("{}/", steps.folder(step)?.display());
    let mut files = Vec::new();
    for line in text.lines() {
        if let Some(file) = line.strip_prefix("+++ b/") {
            ensure!(
                file.starts_with(&folder),
                "exercises/{step}-{name}.patch changes {file}, and may change only what is in {folder}"
            );
            files.push(file.to_string());
        }
    }
    ensure!(
        !files.is_empty(),
        "exercises/{step}-{name}.patch changes no file (make it with git diff)"
    );
    let mut lines: Vec<String> = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if line.starts_with("diff --git ") {
            inside = false;
        } else if line.starts_with("@@") {
            inside = true;
        } else if let (Some(file), true) = (line.strip_prefix("+++ b/"), files.len() > 1) {
            lines.push(format!("# {}", file.trim_start_matches(&folder)));
        }
        if inside {
            lines.push(line.to_string());
        }
    }
    let mut git = git();
    let applies =
        git.current_dir(steps.root()).args(["apply", "--check", "--"]).arg(&patch).output();
    let applies = applies.context("cannot run git")?;
    if !applies.status.success() {
        bail!(
            "exercises/{step}-{name}.patch does not apply to {folder} any more: change the step by hand so that \
             it solves the exercise, write the patch anew with git diff, and undo the change.\n{}",
            String::from_utf8_lossy(&applies.stderr).trim()
        );
    }
    Ok(fence("diff", &lines))
}

/// A `solution` block with names in its marker: of what the patch adds to `main.rs`, the lines that have one of these
/// words (imports first), and then the items with these names.
pub fn part(
    steps: &Steps,
    step: Step,
    name: &str,
    words: &[String],
) -> anyhow::Result<Vec<String>> {
    let mut added = added(&steps.read(&steps.solution(step, name))?);
    let (mut uses, mut calls, mut items) = (Vec::new(), Vec::new(), Vec::new());
    for word in words {
        let whole = Regex::new(&format!(r"\b{}\b", regex::escape(word))).context("no word")?;
        let known = added.iter().any(|line| whole.is_match(line));
        ensure!(known, "exercises/{step}-{name}.patch adds nothing with the word {word}");
        if let Some(item) = find_item(&added, word).map(<[String]>::to_vec) {
            let at = added.windows(item.len()).position(|lines| lines == item).unwrap_or(0);
            added.drain(at..at + item.len());
            items.push(item);
        }
    }
    let all = words.iter().map(|word| regex::escape(word)).collect::<Vec<_>>().join("|");
    let any = Regex::new(&format!(r"\b({all})\b")).context("no words")?;
    // What an item of somebody else's says of one of them is no call.
    let mut inside_item = false;
    let indent = |line: &String| line.len() - line.trim_start().len();
    let mut shown = 0;
    for (at, line) in added.iter().enumerate() {
        let begins =
            ["fn ", "impl ", "struct ", "const "].iter().any(|kind| line.starts_with(kind));
        inside_item = (inside_item || begins) && !line.starts_with(['}', ']']);
        if at < shown || inside_item || !any.is_match(line) || line.starts_with("//") {
            continue;
        }
        let group = if line.starts_with("use ") { &mut uses } else { &mut calls };
        group.push(line.clone());
        // All of a block that it opens.
        if line.ends_with('{') {
            let inner = added[at + 1..].iter().take_while(|inner| indent(inner) > indent(line));
            shown = at + 1 + inner.clone().count();
            group.extend(inner.cloned());
            group.push(format!("{}}},", " ".repeat(indent(line))));
        }
    }
    uses.sort();
    let mut lines = Vec::new();
    for group in [uses, calls].into_iter().chain(items).filter(|group| !group.is_empty()) {
        if !lines.is_empty() {
            lines.push(String::new());
        }
        lines.extend(group);
    }
    Ok(fence("rust", &lines))
}

/// The lines that a patch adds to `main.rs`.
fn added(patch: &str) -> Vec<String> {
    let mut in_main = false;
    let mut added = Vec::new();
    for line in patch.lines() {
        if let Some(file) = line.strip_prefix("+++ b/") {
            in_main = file.ends_with("/src/main.rs");
        } else if let (Some(line), true) = (line.strip_prefix('+'), in_main) {
            added.push(line.to_string());
        }
    }
    added
}

/// The table of the steps.
pub fn table(steps: &Steps) -> anyhow::Result<Vec<String>> {
    let mut lines = vec![
        "| step | what it adds | lines of `main.rs` | change |".to_string(),
        "|---|---|--:|--:|".to_string(),
    ];
    for step in steps.all() {
        let name = steps.name(step)?;
        let (about, hunks) = (steps.about(step)?, steps.hunks(step)?);
        let count = |sign| hunks.iter().flatten().filter(|line| line.starts_with(sign)).count();
        lines.push(format!(
            "| [`{name}`](steps/{name}/src/main.rs) | {about} | {} | +{} −{} |",
            steps.source(step)?.lines().count(),
            count('+'),
            count('-')
        ));
    }
    Ok(lines)
}

/// The minutes of a chapter in each of the three schedules.
pub type Minutes = [Option<u32>; 3];

/// The most that the first schedule may take.
const CLASS: u32 = 90;

/// The table of the minutes.
///
/// # Errors
/// If a chapter's line of minutes cannot be read, or the class of 90 minutes takes longer.
pub fn schedule(document: &Document) -> anyhow::Result<Vec<String>> {
    let mut lines = vec![
        format!("| chapter | {CLASS} minutes | half a day | alone |"),
        "|---|--:|--:|--:|".to_string(),
    ];
    let mut sums = [0; 3];
    for chapter in &document.chapters {
        let Some(minutes) = minutes_of(document, chapter)? else { continue };
        let mut row = format!("| [{}](#{})", chapter.title, chapter.anchor);
        for (sum, minutes) in sums.iter_mut().zip(&minutes) {
            *sum += minutes.unwrap_or_default();
            row += &minutes.map_or_else(|| " | –".to_string(), |minutes| format!(" | {minutes}"));
        }
        lines.push(row + " |");
    }
    ensure!(lines.len() > 2, "no chapter has a line such as *20 minutes* or *8 / 20 / 30 minutes*");
    ensure!(
        sums[0] <= CLASS,
        "the class of {CLASS} minutes takes {} minutes: shorten chapters, or leave one out (–)",
        sums[0]
    );
    let [class, half_day, alone] = sums.map(duration);
    lines.push(format!("| **together** | **{class}** | **{half_day}** | **{alone}** |"));
    Ok(lines)
}

/// The minutes of a chapter, if it has a line of them.
pub fn minutes_of(document: &Document, chapter: &Chapter) -> anyhow::Result<Option<Minutes>> {
    let mut found = Vec::new();
    for part in chapter.parts.iter().filter(|part| matches!(part.kind, PartKind::Prose)) {
        for line in &document.lines[part.lines.clone()] {
            found.extend(minutes(line).with_context(|| format!("chapter \"{}\"", chapter.title))?);
        }
    }
    ensure!(found.len() <= 1, "chapter \"{}\" has two lines of minutes", chapter.title);
    Ok(found.pop())
}

/// `1 h 05 min`
pub fn duration(minutes: u32) -> String {
    match (minutes / 60, minutes % 60) {
        (0, minutes) => format!("{minutes} min"),
        (hours, minutes) => format!("{hours} h {minutes:02} min"),
    }
}

/// Reads `*20 minutes*` or `*8 / 20 / – minutes*`; none if the line is another.
pub fn minutes(line: &str) -> anyhow::Result<Option<Minutes>> {
    let inner = line.trim().strip_prefix('*').and_then(|rest| rest.strip_suffix("minutes*"));
    let Some(inner) = inner else { return Ok(None) };
    let mut list = Vec::new();
    for word in inner.split('/') {
        list.push(match word.trim() {
            "–" => None,
            word => Some(
                word.parse()
                    .with_context(|| format!("{line:?}: {word:?} is not a number of minutes"))?,
            ),
        });
    }
    match list[..] {
        [all] => Ok(Some([all; 3])),
        [class, half_day, alone] => Ok(Some([class, half_day, alone])),
        _ => bail!(
            "{line:?}: expected one number, or three: the 90-minute class / half a day / alone"
        ),
    }
}
