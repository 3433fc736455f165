//! The guide as lines, chapters and blocks.

use std::ops::Range;

use anyhow::Context;
use anyhow::anyhow;
use anyhow::bail;
use anyhow::ensure;

use steps::Step;

use crate::Problem;

/// A guide, taken apart.
pub struct Document {
    /// Its lines, without their ends.
    pub lines: Vec<String>,
    /// For every line whether it is part of a fenced code block, the fences included.
    pub fenced: Vec<bool>,
    /// Its headings.
    pub headings: Vec<Heading>,
    /// Its generated blocks.
    pub blocks: Vec<Block>,
}

/// A heading: `## 5. A root directory`.
pub struct Heading {
    /// Its line, from 0.
    pub line: usize,
    /// How many `#` it has.
    pub level: usize,
    /// Its text.
    pub text: String,
}

/// What stands between a marker and its end.
pub struct Block {
    /// What is to stand there.
    pub kind: Kind,
    /// The words of its marker.
    pub name: String,
    /// Its chapter's heading; empty before the first.
    pub chapter: String,
    /// The chapter's number, if its heading has one.
    pub number: Option<u32>,
    /// The lines between its marker and its end, from 0.
    pub body: Range<usize>,
}

impl Block {
    /// Something that is wrong with it.
    pub fn problem(&self, what: &str) -> Problem {
        // body.start is the line after the marker, counted from 0: as a number from 1 it is the marker's.
        Problem {
            line: self.body.start,
            chapter: self.chapter.clone(),
            what: what.to_string(),
            grave: false,
        }
    }
}

/// What is to stand in a block.
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
                ensure!(rest.len() == 2, "expected `solution NN NAME`");
                Kind::Solution { step: step()?, name: rest[1].to_string() }
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
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else {
            bail!("{list:?} is not a list of hunks such as 1-3,5");
        };
        ensure!(1 <= first && first <= last, "{list:?} is not a list of hunks such as 1-3,5");
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

impl Document {
    /// Takes a guide apart. What is wrong with its markers goes to `problems`.
    pub fn parse(text: &str, problems: &mut Vec<Problem>) -> Document {
        let lines: Vec<String> = text.lines().map(str::to_string).collect();
        let mut document =
            Document { fenced: Vec::new(), headings: Vec::new(), blocks: Vec::new(), lines };
        // A fence, and whether it is in a block: (backticks, line).
        let mut fence: Option<(usize, usize)> = None;
        let mut open: Option<Block> = None;
        for (at, line) in document.lines.iter().enumerate() {
            let chapter = document.headings.iter().rev().find(|heading| heading.level == 2);
            let (chapter, number) =
                chapter.map_or_else(Default::default, |it| (it.text.clone(), number(&it.text)));
            let mut wrong = |what: String| {
                problems.push(Problem {
                    line: at + 1,
                    chapter: chapter.clone(),
                    what,
                    grave: false,
                });
            };
            let marker =
                line.strip_prefix("<!-- ").and_then(|rest| rest.trim_end().strip_suffix(" -->"));
            // In a session or a quote there may be anything, but not the end.
            if let (Some("end"), Some(block)) = (marker, open.as_mut()) {
                if fence.is_some() {
                    wrong(format!(
                        "a fence (```) of `{}` is not closed before its end",
                        block.name
                    ));
                    fence = None;
                }
                document.fenced.push(false);
                block.body.end = at;
                document.blocks.extend(open.take());
                continue;
            }
            let ticks = line.trim_start().bytes().take_while(|byte| *byte == b'`').count();
            document.fenced.push(fence.is_some() || ticks >= 3);
            match fence {
                Some((opening, _)) => {
                    if ticks >= opening && line.trim_start().len() == ticks {
                        fence = None;
                    }
                    continue;
                }
                None if ticks >= 3 => {
                    let language = line.trim_start()[ticks..].trim();
                    if open.is_none() && ["console", "diff", "rust"].contains(&language) {
                        wrong(format!(
                            "a ```{language} block outside a marker: nobody would notice when it becomes stale. \
                             Generate it (<!-- {} NN -->, at the left margin), or call it ```sh or ```text",
                            if language == "rust" {
                                "code"
                            } else if language == "diff" {
                                "diff"
                            } else {
                                "session"
                            }
                        ));
                    }
                    fence = Some((ticks, at));
                    continue;
                }
                None => {}
            }
            let hashes = line.bytes().take_while(|byte| *byte == b'#').count();
            if open.is_none() && (1..=6).contains(&hashes) && line[hashes..].starts_with(' ') {
                let text = line[hashes..].trim().to_string();
                document.headings.push(Heading { line: at, level: hashes, text });
            }
            let Some(words) = marker else { continue };
            match (words, Kind::parse(words), &open) {
                ("end", ..) => wrong("an `end` without a beginning".into()),
                (_, Ok(None), _) => {} // somebody's comment
                (_, _, Some(block)) => wrong(format!(
                    "`{words}` begins inside `{}` (line {}): close that with <!-- end --> first",
                    block.name, block.body.start
                )),
                (_, Err(err), _) => wrong(format!("`{words}`: {err}")),
                (_, Ok(Some(kind)), None) => {
                    let name = words.to_string();
                    open = Some(Block { kind, name, chapter, number, body: at + 1..at + 1 });
                }
            }
        }
        if let Some(block) = &open {
            let what = format!("`{}` has no end: write <!-- end --> after it", block.name);
            problems.push(block.problem(&what));
        } else if let Some((_, at)) = fence {
            let what = "this fence (```) is never closed".to_string();
            problems.push(Problem { line: at + 1, chapter: String::new(), what, grave: false });
        }
        document
    }

    /// The chapters: their headings, and the numbers of their lines, from 0.
    pub fn chapters(&self) -> impl Iterator<Item = (&Heading, Range<usize>)> {
        let heads: Vec<&Heading> =
            self.headings.iter().filter(|heading| heading.level == 2).collect();
        let ends: Vec<usize> =
            heads.iter().skip(1).map(|heading| heading.line).chain([self.lines.len()]).collect();
        heads.into_iter().zip(ends).map(|(heading, end)| (heading, heading.line + 1..end))
    }

    /// The lines that are prose, with their numbers from 0: what stands in no code block.
    pub fn prose(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().enumerate().filter(|(at, _)| !self.fenced[*at]);
        lines.map(|(at, line)| (at, line.as_str()))
    }

    /// The heading of the chapter that a line is in.
    pub fn chapter(&self, at: usize) -> String {
        let heads = self.headings.iter().rev();
        let mut heads = heads.filter(|heading| heading.level == 2 && heading.line <= at);
        heads.next().map_or_else(String::new, |heading| heading.text.clone())
    }
}

/// The first number in a heading.
fn number(heading: &str) -> Option<u32> {
    let digits = heading.split(|c: char| !c.is_ascii_digit()).find(|word| !word.is_empty());
    digits.and_then(|digits| digits.parse().ok())
}
