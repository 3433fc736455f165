//! `cargo workshop guide --book DIR`: the guide as a folder of HTML pages, one for each chapter.
//!
//! mdBook makes the pages (list, search, themes, keys), from chapters that this writes; Mermaid draws the pictures, in
//! Chromium, as it does on a code host. Both are programs of whoever builds the book, as are node and Chromium; whoever
//! reads it needs a browser. What mdBook has not, `book/` adds: `guide.css`, `guide.js` and the teacher's window.
//!
//! Nothing in `workshop.md` is there for the book: a chapter is a page, a section called "Predict …" has something to
//! ask for, the details called "Instructor's notes" are the teacher's, `unshare(2)` is a link.

pub mod html;
mod prose;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, bail, ensure};
use serde_json::json;
use steps::Steps;

use crate::document::{Block, Chapter, Document, Kind, Part, PartKind};
use crate::quote::{Minutes, duration, minutes, minutes_of};

/// What is in the book beside the guide: Markdown files that it leads to.
const MORE: &[&str] = &["teaching.md", "tools/bench/figures.md"];

/// The version of mdBook whose pages the styles and the script know. (CI installs this one; all of 0.5 will do.)
const MDBOOK: &str = "0.5.4";

/// What the book brings along, beside what mdBook has.
const ASSETS: &[(&str, &str)] = &[
    ("guide.css", include_str!("../book/guide.css")),
    ("guide.js", include_str!("../book/guide.js")),
    ("src/notes.html", include_str!("../book/notes.html")),
    ("theme/head.hbs", include_str!("../book/head.hbs")),
];

/// How mdBook makes it. Nothing may change the text, and nothing may ask the Rust playground.
const CONFIGURATION: &str = r#"
[book]
title = "Containers in ten steps"
language = "en"

[output.html]
default-theme = "light"
preferred-dark-theme = "navy"
additional-css = ["guide.css"]
additional-js = ["guide.js"]
no-section-label = true
input-404 = ""
smart-punctuation = false
definition-lists = false
admonitions = false

[output.html.playground]
runnable = false

[output.html.search]
limit-results = 20
use-boolean-and = true
boost-title = 3
"#;

/// What was made of what.
pub struct Made {
    /// How many pages there are.
    pub pages: usize,
    /// How many pictures were drawn.
    pub pictures: usize,
}

/// Makes the book, and puts it in the place of what is in the folder `to`, if that is a book.
///
/// # Errors
/// If a program is missing (then with what to type), `to` is something else, or the guide is not fit for it.
pub fn build(steps: &Steps, file: &Path, to: &Path) -> anyhow::Result<Made> {
    let mdbook = programs(steps.root())?;
    ensure!(
        may_be_replaced(to),
        "{} is not empty, and is not a book: name another folder, or remove it yourself",
        to.display()
    );
    let to = std::path::absolute(to)?;
    let parent = to.parent().context("the book cannot be the root directory")?;
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let scratch = tempfile::Builder::new().prefix(".book.").tempdir_in(parent);
    let scratch = scratch.with_context(|| format!("cannot write to {}", parent.display()))?;
    let (source, made) = (scratch.path().join("source"), scratch.path().join("book"));

    let mut book = Book::read(steps, file)?;
    book.write(&source)?;
    let mut mdbook = Command::new(mdbook);
    let output = mdbook.arg("build").arg(&source).arg("--dest-dir").arg(&made).output();
    let output = output.context("cannot run mdbook")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success() && !said.contains("WARN"), "mdbook failed:\n{}", said.trim());
    let pictures = draw(steps.root(), &made, &book.pictures)?;
    insert(&made, "picture", &pictures)?;
    insert(&made, "unsearched", &book.unsearched)?;

    if to.exists() {
        fs::remove_dir_all(&to).with_context(|| format!("cannot remove {}", to.display()))?;
    }
    fs::rename(&made, &to).with_context(|| format!("cannot write {}", to.display()))?;
    Ok(Made { pages: book.pages.len(), pictures: pictures.len() })
}

/// Whether nothing is lost if this folder is written anew.
fn may_be_replaced(folder: &Path) -> bool {
    let index = fs::read_to_string(folder.join("index.html")).unwrap_or_default();
    let empty = || fs::read_dir(folder).is_ok_and(|mut list| list.next().is_none());
    !folder.exists() || empty() || index.contains("Book generated using mdBook")
}

/// Looks for the programs that it takes, and returns which one mdBook is.
fn programs(root: &Path) -> anyhow::Result<PathBuf> {
    let version = |program: &Path| -> Option<String> {
        let output = Command::new(program).arg("--version").output().ok()?;
        Some(String::from_utf8_lossy(&output.stdout).trim().to_string())
    };
    let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(".cargo/bin/mdbook"));
    let mdbook =
        ["mdbook".into()].into_iter().chain(own).find(|program| version(program).is_some());
    let mut missing = Vec::new();
    let is = mdbook.as_deref().and_then(version);
    if !is.as_deref().is_some_and(|is| is.starts_with("mdbook v0.5.")) {
        let here = is.map_or(String::new(), |is| format!(" (here is {is})"));
        missing.push(format!(
            "mdBook:    cargo install mdbook --locked --version {MDBOOK}   # takes Rust 1.88 or newer{here}"
        ));
    }
    if version(Path::new("node")).is_none() {
        missing.push("node, npm: sudo apt install nodejs npm".to_string());
    }
    let folder = root.join(BROWSER);
    if !folder.join("node_modules/@mermaid-js/tiny").exists() {
        missing.push(format!("Mermaid:   npm ci --prefix {BROWSER}"));
    }
    match mdbook {
        Some(mdbook) if missing.is_empty() => Ok(mdbook),
        _ => bail!("to make the book, this is missing here:\n  {}", missing.join("\n  ")),
    }
}

/// Where the part is that runs in a browser.
const BROWSER: &str = "tools/guide/browser";

/// Draws Mermaid's pictures, with the fonts of a finished book.
fn draw(root: &Path, book: &Path, pictures: &[String]) -> anyhow::Result<Vec<String>> {
    let mut node = Command::new("node");
    node.arg(root.join(BROWSER).join("draw.mjs")).arg("--svg").arg(book);
    let mut node = node.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let input = node.stdin.take().context("node has no input")?;
    serde_json::to_writer(input, pictures)?; // closes it
    let output = node.wait_with_output().context("cannot run node")?;
    ensure!(output.status.success(), "the pictures could not be drawn");
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// Puts what mdBook has not seen into the pages.
fn insert(book: &Path, name: &str, pieces: &[String]) -> anyhow::Result<()> {
    for entry in fs::read_dir(book)? {
        let path = entry?.path();
        if path.extension().is_none_or(|ext| ext != "html") {
            continue;
        }
        let mut page = fs::read_to_string(&path)?;
        for (number, piece) in pieces.iter().enumerate() {
            page = page.replace(&gap(name, number), piece);
        }
        fs::write(&path, page)?;
    }
    Ok(())
}

/// What stands where such a piece will be.
fn gap(name: &str, number: usize) -> String {
    format!("<!-- {name} {number} -->")
}

/// A page.
struct Page {
    /// Its name, without an ending: `step-05`.
    name: String,
    /// Its title in the list.
    title: String,
    /// Its Markdown.
    text: String,
}

/// The book, before mdBook has it.
struct Book<'a> {
    steps: &'a Steps,
    /// The guide, relative to the repository.
    file: &'a Path,
    /// The page on which a place of the guide is.
    places: BTreeMap<String, String>,
    pages: Vec<Page>,
    pictures: Vec<String>,
    /// HTML that a search does not find: the teacher's notes, and whole files, which would be found for everything.
    unsearched: Vec<String>,
    /// Files of the repository that a page leads to.
    files: BTreeSet<PathBuf>,
}

impl Book<'_> {
    fn read<'a>(steps: &'a Steps, file: &'a Path) -> anyhow::Result<Book<'a>> {
        let guide = read(steps, file)?;
        let mut book = Book {
            steps,
            file,
            places: BTreeMap::new(),
            pages: Vec::new(),
            pictures: Vec::new(),
            unsearched: Vec::new(),
            files: BTreeSet::new(),
        };
        let names: Vec<String> = guide.chapters.iter().map(page_name).collect();
        let starts: Vec<usize> = guide.chapters.iter().map(first_line).collect();
        for heading in &guide.headings {
            let chapter = starts.partition_point(|start| *start <= heading.line).max(1) - 1;
            book.places.insert(heading.anchor.clone(), names[chapter].clone());
        }
        let plan = Plan::read(&guide)?;
        for (at, chapter) in guide.chapters.iter().enumerate() {
            let mut text = book.chapter(&guide, chapter, file, 1)?;
            text += &plan.html(at);
            let title = if at == 0 { "Start".to_string() } else { chapter.title.clone() };
            book.pages.push(Page { name: names[at].clone(), title, text });
        }
        for file in MORE.iter().map(Path::new).filter(|file| steps.root().join(file).exists()) {
            let more = read(steps, file)?;
            let mut text = String::new();
            for chapter in &more.chapters {
                text += &book.chapter(&more, chapter, file, 0)?;
            }
            let title = more.headings.first().map_or("", |heading| &heading.text).to_string();
            book.pages.push(Page { name: stem(file), title, text });
        }
        Ok(book)
    }

    /// Writes what mdBook reads.
    fn write(&mut self, folder: &Path) -> anyhow::Result<()> {
        let write = |name: &Path, bytes: &[u8]| -> anyhow::Result<()> {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().context("no folder")?)?;
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))
        };
        let mut summary = "# Summary\n\n".to_string();
        for page in &self.pages {
            summary += &format!("- [{}]({}.md)\n", page.title, page.name);
            write(Path::new(&format!("src/{}.md", page.name)), page.text.as_bytes())?;
        }
        write(Path::new("src/SUMMARY.md"), summary.as_bytes())?;
        write(Path::new("book.toml"), CONFIGURATION.as_bytes())?;
        for (name, text) in ASSETS {
            write(Path::new(name), text.as_bytes())?;
        }
        for file in &self.files {
            let bytes = fs::read(self.steps.root().join(file));
            let bytes = bytes.with_context(|| format!("cannot read {}", file.display()))?;
            write(&Path::new("src").join(copy(file)), &bytes)?;
        }
        Ok(())
    }

    /// A chapter as a page, its headings so many levels higher.
    fn chapter(
        &mut self,
        document: &Document,
        chapter: &Chapter,
        file: &Path,
        higher: usize,
    ) -> anyhow::Result<String> {
        let last = last_differences(chapter);
        let mut page = String::new();
        // What follows a session of "Predict …" gives it away, up to the next one.
        let mut answer = false;
        let mut notes = String::new();
        let close = |page: &mut String, answer: &mut bool| {
            if std::mem::take(answer) {
                *page += "</div>\n\n";
            }
        };
        for (at, part) in chapter.parts.iter().enumerate() {
            let predict = part.section.starts_with("Predict");
            let session =
                matches!(part.kind, PartKind::Generated(Block { kind: Kind::Session { .. }, .. }));
            let heading = matches!(part.kind, PartKind::Heading);
            if !predict || session || heading {
                close(&mut page, &mut answer);
            }
            let text = self.part(document, part, file, higher)? + "\n\n";
            if part.details.as_deref() == Some("Instructor's notes") {
                notes += &text;
                if text.contains("</details>") {
                    page += &self.unsearched(notes_html(&std::mem::take(&mut notes)));
                }
                continue;
            }
            page += &text;
            if predict && session {
                page += "<div class=\"answer\">\n\n";
                answer = true;
            }
            if let Some(step) = last.get(&at) {
                page += &self.unsearched(html::whole(*step, &self.steps.whole(*step)?));
            }
        }
        close(&mut page, &mut answer);
        Ok(page)
    }

    fn unsearched(&mut self, html: String) -> String {
        self.unsearched.push(html);
        gap("unsearched", self.unsearched.len() - 1) + "\n\n"
    }

    fn part(
        &mut self,
        document: &Document,
        part: &Part,
        file: &Path,
        higher: usize,
    ) -> anyhow::Result<String> {
        let lines = &document.lines[part.lines.clone()];
        let text = lines.join("\n");
        Ok(match &part.kind {
            PartKind::Heading => {
                let heading = document.headings.iter().find(|one| one.line == part.lines.start);
                let anchor = heading.map_or("", |heading| &heading.anchor);
                let level = text.bytes().take_while(|byte| *byte == b'#').count();
                format!("{} {{#{anchor}}}", &text[higher.min(level - 1)..])
            }
            PartKind::Prose => match minutes(&text)? {
                Some(minutes) => minutes_html(&minutes),
                None => self.prose(&text, file),
            },
            PartKind::Code(language) if language == "mermaid" => {
                let inner = &lines[1..lines.len() - 1];
                self.pictures.push(inner.join("\n"));
                format!(
                    "<figure class=\"picture\">{}</figure>",
                    gap("picture", self.pictures.len() - 1)
                )
            }
            PartKind::Code(_) | PartKind::Html => text,
            PartKind::Generated(block) => {
                let body = &document.lines[block.body.clone()];
                let inner = || body.get(1..body.len().max(2) - 1).unwrap_or_default();
                match &block.kind {
                    Kind::Diff { step, .. } => html::diff(inner(), Some(*step)),
                    Kind::Solution { .. } => html::diff(inner(), None),
                    Kind::Code { step, item: None } => {
                        html::code(inner(), Some(&html::place(*step)))
                    }
                    Kind::Code { .. } => html::code(inner(), None),
                    Kind::Session { .. } => {
                        html::session(inner(), part.section.starts_with("Predict"))
                    }
                    Kind::Table | Kind::Schedule => self.prose(&body.join("\n"), file),
                }
            }
        })
    }

    fn prose(&mut self, text: &str, file: &Path) -> String {
        let folder = file.parent().unwrap_or(Path::new("")).to_path_buf();
        let mut files = BTreeSet::new();
        let text = prose::page(text, |target| {
            let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
            if target.contains("://") || target.starts_with("mailto:") {
                return None;
            }
            let path = if path.is_empty() { file.to_path_buf() } else { tidy(&folder.join(path)) };
            if path == self.file {
                let page = self.places.get(anchor).map_or("index", |page| page);
                let anchor = if anchor.is_empty() { "" } else { &format!("#{anchor}") };
                return Some(format!("{page}.md{anchor}"));
            }
            if MORE.iter().any(|more| path == Path::new(more)) {
                let page = if path == file { String::new() } else { stem(&path) + ".md" };
                let anchor = if anchor.is_empty() { "" } else { &format!("#{anchor}") };
                return Some(page + anchor);
            }
            let is_main =
                |step: &steps::Step| self.steps.main(*step).is_ok_and(|main| main == path);
            if let Some(step) = self.steps.all().find(is_main) {
                return Some(format!("step-{step}.md#{}", html::place(step)));
            }
            let copied = copy(&path);
            files.insert(path);
            Some(copied)
        });
        self.files.extend(files);
        text
    }
}

fn read(steps: &Steps, file: &Path) -> anyhow::Result<Document> {
    let mut problems = Vec::new();
    let document = Document::parse(&steps.read(file)?, &mut problems);
    if let Some(problem) = problems.first() {
        bail!("{}: {problem}", file.display());
    }
    Ok(document)
}

/// Where in each chapter the last difference of a step is.
fn last_differences(chapter: &Chapter) -> BTreeMap<usize, steps::Step> {
    let mut last = BTreeMap::new();
    for (at, part) in chapter.parts.iter().enumerate() {
        if let PartKind::Generated(Block { kind: Kind::Diff { step, .. }, .. }) = part.kind {
            last.insert(step, at);
        }
    }
    last.into_iter().map(|(step, at)| (at, step)).collect()
}

/// The name of a chapter's page: its title, up to the colon.
fn page_name(chapter: &Chapter) -> String {
    if chapter.title.is_empty() {
        return "index".to_string();
    }
    let title = chapter.title.split(':').next().unwrap_or_default().to_lowercase();
    let words = title.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join("-")
}

fn first_line(chapter: &Chapter) -> usize {
    chapter.parts.first().map_or(0, |part| part.lines.start)
}

fn stem(file: &Path) -> String {
    file.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// The same path, without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => _ = tidy.pop(),
            other => tidy.push(other),
        }
    }
    tidy
}

/// Where a file of the repository is in the book. A browser shows text if it is called that.
fn copy(file: &Path) -> String {
    let shown = file.extension().is_some_and(|ext| ext == "svg" || ext == "png");
    format!("files/{}{}", file.display(), if shown { "" } else { ".txt" })
}

/// The schedules, for the teacher's window.
struct Plan {
    /// Of each chapter, if it has a line of minutes.
    chapters: Vec<Minutes>,
}

impl Plan {
    fn read(guide: &Document) -> anyhow::Result<Plan> {
        let minutes = |chapter| Ok(minutes_of(guide, chapter)?.unwrap_or_default());
        let chapters: anyhow::Result<_> = guide.chapters.iter().map(minutes).collect();
        Ok(Plan { chapters: chapters? })
    }

    /// The minutes of a chapter, of all before it, and of the whole, in each of the schedules.
    fn html(&self, at: usize) -> String {
        let sum = |list: &[Minutes]| {
            let mut sum = [0; 3];
            for minutes in list {
                sum.iter_mut().zip(minutes).for_each(|(sum, one)| *sum += one.unwrap_or_default());
            }
            sum
        };
        let plan = json!({
            "minutes": sum(&self.chapters[at..=at]),
            "before": sum(&self.chapters[..at]),
            "whole": sum(&self.chapters),
        });
        format!(
            "<div hidden class=\"plan\" data-plan=\"{}\"></div>\n",
            html::escape(&plan.to_string())
        )
    }
}

/// The teacher's notes, which mdBook does not see.
fn notes_html(markdown: &str) -> String {
    let mut html = String::new();
    pulldown_cmark::html::push_html(&mut html, pulldown_cmark::Parser::new(markdown));
    let html = html.replacen("<details>", "<details class=\"notes\">", 1);
    regex!(r#"href="([\w-]+)\.md"#).replace_all(&html, "href=\"$1.html").into_owned()
}

/// A chapter's line of minutes, in words.
fn minutes_html(minutes: &Minutes) -> String {
    if let [Some(first), second, third] = minutes {
        if *second == Some(*first) && *third == Some(*first) {
            return format!("<p class=\"minutes\">{}</p>", duration(*first));
        }
    }
    let schedules = ["in a class of 90 minutes", "in half a day", "alone"];
    let words = schedules.iter().zip(minutes).map(|(schedule, minutes)| match minutes {
        Some(minutes) => format!("<span><b>{}</b> {schedule}</span>", duration(*minutes)),
        None => format!("<span><b>left out</b> {schedule}</span>"),
    });
    format!("<p class=\"minutes\">{}</p>", words.collect::<Vec<_>>().join(" "))
}
