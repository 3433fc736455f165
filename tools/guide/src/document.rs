//! The guide, taken apart: chapters, and in them prose, code, and blocks that are generated.
//!
//! pulldown-cmark reads the Markdown; here is what the guide means by it. A *marker* is an HTML comment alone on its
//! line,
//! `<!-- session 05 -->`; what stands between it and `<!-- end -->` is a generated block. A chapter begins with `## `,
//! a section of it with `### `; what lies in `<details>` is a solution or the instructor's notes.

use std::collections::BTreeMap;
use std::ops::Range;

use anyhow::{Context, anyhow, bail, ensure};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd, TextMergeWithOffset};
use steps::Step;

use crate::{Problem, session};

/// A guide, taken apart. Lines are counted from 0.
#[derive(Default)]
pub struct Document {
    /// Its lines, without their ends.
    pub lines: Vec<String>,
    /// Its chapters; the first one is what stands before the first heading of one.
    pub chapters: Vec<Chapter>,
    /// Its headings.
    pub headings: Vec<Heading>,
    /// What links and pictures lead to, each with its line.
    pub links: Vec<(usize, String)>,
    /// The places that HTML names: `<a id="…">`.
    pub ids: Vec<String>,
    /// The prose, in pieces, each with its line.
    pub words: Vec<(usize, Words)>,
}

/// A piece of prose.
pub enum Words {
    /// What is to be read.
    Text(String),
    /// What stands between backticks.
    Code(String),
}

/// A chapter.
#[derive(Default)]
pub struct Chapter {
    /// Its heading: `Step 05: a root directory of its own`.
    pub title: String,
    /// The anchor of that.
    pub anchor: String,
    /// Its parts, in order.
    pub parts: Vec<Part>,
}

impl Chapter {
    /// Its generated blocks.
    pub fn blocks(&self) -> impl Iterator<Item = &Block> {
        self.parts.iter().filter_map(|part| match &part.kind {
            PartKind::Generated(block) => Some(block),
            _ => None,
        })
    }
}

/// A part of a chapter: a paragraph, a list, a table, a block of code …
pub struct Part {
    /// What it is.
    pub kind: PartKind,
    /// The heading of its section: `Predict, then see it break`. Empty before the first.
    pub section: String,
    /// The summary of the `<details>` that it lies in: `Solution`, `Instructor's notes`.
    pub details: Option<String>,
    /// Its lines.
    pub lines: Range<usize>,
}

/// What a part is.
pub enum PartKind {
    /// A heading below that of the chapter.
    Heading,
    /// A paragraph, a list, a table.
    Prose,
    /// A fenced block that the author has written, in this language.
    Code(String),
    /// What is generated, with its marker and its end.
    Generated(Block),
    /// HTML that is no marker.
    Html,
}

/// A heading.
pub struct Heading {
    /// Its line.
    pub line: usize,
    /// Its text, as it is shown.
    pub text: String,
    /// The anchor that GitHub makes for it: small letters, blanks as hyphens, no punctuation, and a number where
    /// another heading has the same.
    pub anchor: String,
}

/// What stands between a marker and its end.
pub struct Block {
    /// What is to stand there.
    pub kind: Kind,
    /// The words of its marker.
    pub name: String,
    /// The lines between its marker and its end.
    pub body: Range<usize>,
}

impl Block {
    /// The file for its picture, relative to the repository, if it is to have one.
    pub fn picture(&self) -> Option<&str> {
        match &self.kind {
            Kind::Session { words, .. } => session::picture(words),
            _ => None,
        }
    }
}

/// What is to stand in a generated block.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Kind {
    /// The difference that a step makes, or some hunks of it, from 1.
    Diff {
        /// The later step.
        step: Step,
        /// All of them, if this is none.
        hunks: Option<Vec<usize>>,
    },
    /// A part of a step's source.
    Code {
        /// The step.
        step: Step,
        /// A function, struct …; all of it, if this is none.
        item: Option<String>,
    },
    /// The solution of an exercise.
    Solution {
        /// The step it starts from.
        step: Step,
        /// Its name.
        name: String,
        /// Only what it adds with these words: functions, their calls, imports.
        words: Vec<String>,
    },
    /// A session on the classroom host.
    Session {
        /// The step it is about.
        step: Step,
        /// The words after the step's number.
        words: Vec<String>,
    },
    /// The table of the steps.
    Table,
    /// The table of the minutes.
    Schedule,
}

impl Kind {
    /// Reads the words of a marker; none if they are not one.
    fn parse(words: &str) -> anyhow::Result<Option<Kind>> {
        let mut parts = words.split_whitespace();
        let kind = parts.next().unwrap_or_default();
        let rest: Vec<&str> = parts.collect();
        let step = || -> anyhow::Result<Step> {
            let word = *rest.first().context("the number of the step is missing")?;
            word.parse().map_err(|err| anyhow!("there is no step {word}: {err}"))
        };
        let kind = match kind {
            "diff" => {
                let step = step()?;
                let hunks = match rest[1..] {
                    [] => None,
                    ["hunk" | "hunks", list] => Some(numbers(list)?),
                    _ => bail!("expected `diff {step}` or, say, `diff {step} hunks 1-3,5`"),
                };
                Kind::Diff { step, hunks }
            }
            "code" => {
                ensure!(rest.len() <= 2, "expected `code NN` or `code NN NAME`");
                Kind::Code { step: step()?, item: rest.get(1).map(|name| name.to_string()) }
            }
            "solution" => {
                ensure!(
                    rest.len() >= 2,
                    "expected `solution NN NAME` or `solution NN NAME WORD...`"
                );
                let words = rest[2..].iter().map(|word| word.to_string()).collect();
                Kind::Solution { step: step()?, name: rest[1].to_string(), words }
            }
            "session" => {
                let words = rest.iter().skip(1).map(|word| word.to_string()).collect();
                Kind::Session { step: step()?, words }
            }
            "table" => {
                ensure!(rest == ["steps"], "there is one table: `table steps`");
                Kind::Table
            }
            "schedule" => {
                ensure!(rest.is_empty(), "`schedule` stands alone");
                Kind::Schedule
            }
            _ => return Ok(None),
        };
        Ok(Some(kind))
    }
}

/// Reads `1-3,5`.
fn numbers(list: &str) -> anyhow::Result<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in list.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = first
            .parse()
            .ok()
            .zip(last.parse().ok())
            .filter(|(first, last)| 1 <= *first && first <= last);
        let (first, last): (usize, usize) =
            range.with_context(|| format!("{list:?} is not a list of hunks such as 1-3,5"))?;
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

impl Document {
    /// Takes a guide apart. What is wrong with its markers goes to `problems`.
    pub fn parse(text: &str, problems: &mut Vec<Problem>) -> Document {
        let mut reader = Reader::new(text);
        let events = Parser::new_ext(text, Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH);
        for (event, range) in TextMergeWithOffset::new(events.into_offset_iter()) {
            reader.take(event, range);
        }
        reader.finish(problems)
    }

    /// Its generated blocks.
    pub fn blocks(&self) -> impl Iterator<Item = (&Chapter, &Block)> {
        self.chapters.iter().flat_map(|chapter| chapter.blocks().map(move |block| (chapter, block)))
    }

    /// Something that is wrong on a line.
    pub fn problem(&self, line: usize, what: String) -> Problem {
        let here =
            |chapter: &&Chapter| chapter.parts.first().is_some_and(|part| part.lines.start <= line);
        let chapter = self.chapters.iter().rev().find(here).map_or("", |chapter| &chapter.title);
        Problem { line: line + 1, chapter: chapter.to_string(), what, grave: false }
    }
}

/// What reads a guide.
#[derive(Default)]
struct Reader<'a> {
    text: &'a str,
    document: Document,
    /// Where the lines begin.
    starts: Vec<usize>,
    /// How deep we are in what can be nested: only at the top there are parts of a chapter.
    depth: usize,
    section: String,
    details: Option<String>,
    /// The generated block that we are in.
    open: Option<(Block, usize)>,
    /// The heading that we are in: its shown text so far.
    heading: Option<String>,
    in_code: bool,
    anchors: BTreeMap<String, usize>,
    wrong: Vec<(usize, String)>,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Reader<'a> {
        let starts =
            [0].into_iter().chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        let document = Document {
            lines: text.lines().map(str::to_string).collect(),
            chapters: vec![Chapter::default()],
            ..Document::default()
        };
        Reader { text, document, starts, ..Reader::default() }
    }

    /// The line that a place is on.
    fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|start| *start <= at) - 1
    }

    fn take(&mut self, event: Event, range: Range<usize>) {
        let line = self.line(range.start);
        match &event {
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                self.document.links.push((line, dest_url.to_string()));
            }
            Event::Start(Tag::Heading { .. }) => self.heading = Some(String::new()),
            Event::Start(Tag::CodeBlock(_)) => self.in_code = true,
            Event::End(TagEnd::CodeBlock) => self.in_code = false,
            Event::Text(text) | Event::Code(text) => {
                if let Some(heading) = &mut self.heading {
                    *heading += text;
                }
                let text = text.to_string();
                let words = if matches!(event, Event::Code(_)) {
                    Words::Code(text)
                } else {
                    Words::Text(text)
                };
                if !self.in_code {
                    self.document.words.push((line, words));
                }
            }
            Event::Html(html) | Event::InlineHtml(html) => self.html(line, html),
            _ => {}
        }
        match event {
            Event::Start(tag) => {
                if self.depth == 0 {
                    self.part(tag, range);
                }
                self.depth += 1;
            }
            Event::End(tag) => {
                self.depth -= 1;
                if let TagEnd::Heading(level) = tag {
                    self.end_of_heading(line, level as usize);
                }
            }
            _ => {}
        }
    }

    /// Links and places in HTML.
    fn html(&mut self, line: usize, html: &str) {
        for found in regex!(r#"(href|src|id|name)="([^"]+)""#).captures_iter(html) {
            match &found[1] {
                "href" | "src" => self.document.links.push((line, found[2].to_string())),
                _ => self.document.ids.push(found[2].to_string()),
            }
        }
    }

    /// Something at the top begins: a part of the chapter, or of the generated block that is open.
    fn part(&mut self, tag: Tag, range: Range<usize>) {
        let source = &self.text[range.clone()];
        let lines =
            self.line(range.start)..self.line(range.start + source.trim_end().len().max(1) - 1) + 1;
        let kind = match tag {
            Tag::HtmlBlock => return self.html_block(source, lines),
            Tag::Heading { level, .. } if level as usize == 2 && self.open.is_none() => {
                self.document.chapters.push(Chapter::default());
                self.section.clear();
                PartKind::Heading
            }
            Tag::Heading { .. } => PartKind::Heading,
            Tag::CodeBlock(CodeBlockKind::Fenced(language)) => {
                self.check_fence(&language, source, &lines);
                PartKind::Code(language.to_string())
            }
            _ => PartKind::Prose,
        };
        self.push(kind, lines);
    }

    fn push(&mut self, kind: PartKind, lines: Range<usize>) {
        if self.open.is_some() {
            return;
        }
        let (section, details) = (self.section.clone(), self.details.clone());
        if let Some(chapter) = self.document.chapters.last_mut() {
            chapter.parts.push(Part { kind, section, details, lines });
        }
    }

    fn end_of_heading(&mut self, line: usize, level: usize) {
        let text = self.heading.take().unwrap_or_default();
        if self.open.is_some() {
            return;
        }
        let kept = text.to_lowercase().replace(' ', "-");
        let kept: String =
            kept.chars().filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_')).collect();
        let times = self.anchors.entry(kept.clone()).or_default();
        let anchor = if *times == 0 { kept } else { format!("{kept}-{times}") };
        *times += 1;
        match level {
            2 => {
                if let Some(chapter) = self.document.chapters.last_mut() {
                    // As it is written, backticks and all.
                    chapter.title =
                        self.document.lines[line].trim_start_matches('#').trim().to_string();
                    chapter.anchor.clone_from(&anchor);
                }
            }
            3.. => self.section.clone_from(&text),
            _ => {}
        }
        self.document.headings.push(Heading { line, text, anchor });
    }

    fn check_fence(&mut self, language: &str, source: &str, lines: &Range<usize>) {
        let last = source.trim_end().rsplit('\n').next().unwrap_or_default().trim();
        let fence = source.trim_start().chars().next().unwrap_or('`');
        let closed = lines.len() > 1 && last.len() >= 3 && last.chars().all(|c| c == fence);
        match &self.open {
            Some((block, _)) if source.contains("\n<!-- end -->\n") => {
                let what =
                    format!("a fence (```) of `{}` is not closed before its end", block.name);
                self.wrong.push((lines.start, what));
            }
            _ if !closed => {
                self.wrong.push((lines.start, "this fence (```) is never closed".into()))
            }
            None if ["console", "diff", "rust"].contains(&language) => {
                let marker = match language {
                    "rust" => "code",
                    "diff" => "diff",
                    _ => "session",
                };
                self.wrong.push((
                    lines.start,
                    format!(
                        "a ```{language} block outside a marker: nobody would notice when it becomes stale. Generate \
                         it (<!-- {marker} NN -->, at the left margin), or call it ```sh or ```text"
                    ),
                ));
            }
            _ => {}
        }
    }

    /// A marker, the end of a block, the beginning or the end of details, or somebody's own.
    fn html_block(&mut self, source: &str, lines: Range<usize>) {
        let marker =
            source.strip_prefix("<!-- ").and_then(|rest| rest.trim_end().strip_suffix(" -->"));
        if let Some(words) = marker {
            return self.marker(words, lines);
        }
        if source.starts_with("<details") {
            let summary = regex!("<summary>(.*)</summary>").captures(source);
            self.details = Some(summary.map_or(String::new(), |found| found[1].to_string()));
        }
        self.push(PartKind::Html, lines);
        if source.contains("</details>") {
            self.details = None;
        }
    }

    fn marker(&mut self, words: &str, lines: Range<usize>) {
        let line = lines.start;
        match (words, Kind::parse(words), self.open.take()) {
            ("end", _, Some((mut block, start))) => {
                block.body.end = line;
                self.push(PartKind::Generated(block), start..line + 1);
            }
            ("end", _, None) => self.wrong.push((line, "an `end` without a beginning".into())),
            (_, Ok(None), open) => {
                self.open = open;
                self.push(PartKind::Html, lines); // somebody's comment
            }
            (_, _, Some((block, start))) => {
                let what = format!(
                    "`{words}` begins inside `{}` (line {}): close that with <!-- end --> first",
                    block.name, block.body.start
                );
                self.wrong.push((line, what));
                self.open = Some((block, start));
            }
            (_, Err(err), None) => self.wrong.push((line, format!("`{words}`: {err}"))),
            (_, Ok(Some(kind)), None) => {
                let block = Block { kind, name: words.to_string(), body: line + 1..line + 1 };
                self.open = Some((block, line));
            }
        }
    }

    fn finish(mut self, problems: &mut Vec<Problem>) -> Document {
        if let Some((block, line)) = &self.open {
            self.wrong
                .push((*line, format!("`{}` has no end: write <!-- end --> after it", block.name)));
        }
        self.wrong.sort();
        problems
            .extend(self.wrong.into_iter().map(|(line, what)| self.document.problem(line, what)));
        self.document
    }
}
