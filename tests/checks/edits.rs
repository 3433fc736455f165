//! Programs that are small changes to one of the ten steps, as a text file lists them.
//!
//! ```text
//! [NAME] step NN                  the step that is changed
//! WORD: TEXT                      what else is to be known of it
//! -LINES, +LINES                  what stands in the step's main.rs without comments, exactly once, and what instead
//! of it ~                               between two of those without a line in between ```

use std::collections::BTreeMap;
use std::path::PathBuf;

use classroom::{Error, Result};
use steps::{Change, Step, Steps, Variant, repository};

/// A changed step.
pub struct Edited {
    /// Its name.
    pub name: &'static str,
    /// The step.
    pub step: Step,
    words: Vec<(&'static str, &'static str)>,
    edits: Vec<(String, String)>,
}

impl Edited {
    /// All that a file lists.
    ///
    /// # Panics
    /// If one of them cannot be read.
    pub fn all(text: &'static str) -> Vec<Edited> {
        let entries = text.split("\n\n").filter(|entry| entry.starts_with('['));
        let read = |entry| Edited::read(entry).unwrap_or_else(|| panic!("what is this?\n{entry}"));
        entries.map(read).collect()
    }

    fn read(text: &'static str) -> Option<Edited> {
        let (head, body) = text.split_once('\n')?;
        let (name, step) = head.strip_prefix('[')?.split_once("] step ")?;
        let mut edited =
            Edited { name, step: step.parse().ok()?, words: Vec::new(), edits: Vec::new() };
        // The lines of an edit, before and after.
        let (mut from, mut to): (Vec<&str>, Vec<&str>) = Default::default();
        for line in body.lines().chain(["~"]) {
            let begins = line == "~" || line.starts_with('-') && !to.is_empty();
            if begins && !from.is_empty() {
                edited.edits.push((from.join("\n"), to.join("\n")));
                (from, to) = Default::default();
            }
            match (line.strip_prefix('-'), line.strip_prefix('+'), line.split_once(": ")) {
                (Some(line), ..) => from.push(line),
                (_, Some(line), _) => to.push(line),
                (.., Some(word)) => edited.words.push(word),
                _ if line == "~" => {}
                _ => return None,
            }
        }
        Some(edited)
    }

    /// What stands behind a word, each time it comes.
    pub fn words(&self, word: &str) -> Vec<&'static str> {
        let of_this = self.words.iter().filter(|(name, _)| *name == word);
        of_this.map(|(_, text)| *text).collect()
    }

    /// The source; or which line of the reference step is not there any more.
    fn source(&self, steps: &Steps) -> Result<String> {
        let source = steps.source(self.step).map_err(|err| Error::Failed(format!("{err:#}")))?;
        let mut text = without_comments(&source);
        for (from, to) in &self.edits {
            if text.matches(from).count() != 1 {
                let why = format!("step {} has not exactly one {from:?}", self.step);
                return Err(Error::Failed(why));
            }
            text = text.replacen(from, to, 1);
        }
        Ok(text)
    }
}

/// A step's lines without its comments, which may change at any time. (Its doc comments are its help texts.)
fn without_comments(source: &str) -> String {
    let lines = source.lines().filter(|line| !line.trim_start().starts_with("// "));
    lines.map(|line| line.split(" // ").next().unwrap_or(line).to_string() + "\n").collect()
}

/// The programs of a list, by their names, built if they are not yet; or why one cannot be.
///
/// # Panics
/// If one does not compile.
pub fn build(
    list: &'static str,
    all: &'static [Edited],
) -> BTreeMap<&'static str, Result<PathBuf>> {
    let steps = Steps::find(repository()).unwrap_or_else(|err| panic!("{err:#}"));
    let (mut programs, mut names, mut variants) = (BTreeMap::new(), Vec::new(), Vec::new());
    for edited in all {
        match edited.source(&steps) {
            Ok(main) => {
                let (package, change) = (edited.name.to_string(), Change::Main(main));
                variants.push(Variant { package, step: edited.step, change });
                names.push(edited.name);
            }
            Err(stale) => _ = programs.insert(edited.name, Err(stale)),
        }
    }
    let built = steps.variants(list, &variants).unwrap_or_else(|err| panic!("{list}: {err:#}"));
    programs.extend(names.into_iter().zip(built.programs.into_iter().map(Ok)));
    programs
}
