//! Each lock of the exercise **locks** is one that holds: take out the lines that call it, and the session of its
//! section in the guide fails, and no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::LazyLock;

use classroom::error::Attempt;
use classroom::trial::Trial;
use classroom::{Error, Result, trial};
use guide::Text;
use guide::document::{Document, Kind};
use guide::session::Stage;
use steps::{Change, Step, Steps, Variant, repository};

const STEP: Step = Step::new(10);
const NAME: &str = "locks";

/// Locks that hold only together with another: who has CAP_SYS_PTRACE may look at everybody.
const LEAN_ON: [(&str, &str); 1] = [("stay_out_of_reach", "drop_capabilities")];

fn main() -> ExitCode {
    let text = fs::read_to_string(repository().join("workshop.md")).expect("there is a guide");
    let sections = sections(&Document::parse(&text, &mut Vec::new()));
    let mut trials = vec![trial::trial("there_are_ten", {
        let (locks, plays) = (sections.len(), sections.iter().all(|one| !one.plays.is_empty()));
        move || {
            assert!(
                locks == 10 && plays,
                "{locks} sections of the guide show a lock and a session"
            );
            Ok(())
        }
    })];
    for at in 0..sections.len() {
        let (name, sections) = (sections[at].functions[0].clone(), sections.clone());
        trials.push(trial(&name, move || without(at, &sections)));
    }
    trial::run(trials)
}

fn trial(name: &str, test: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    trial::trial(format!("without_{name}"), test)
}

/// What the guide says of one lock.
#[derive(Clone)]
struct Section {
    /// The words of its marker: first of all its function.
    functions: Vec<String>,
    /// Its sessions: the words of the marker, and what stands there.
    plays: Vec<(Vec<String>, Vec<String>)>,
}

/// Those of the guide: a marker `solution 10 locks WORD...`, and the sessions until the next.
fn sections(guide: &Document) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for (_, block) in guide.blocks() {
        match &block.kind {
            Kind::Solution { step: STEP, name, words } if name == NAME && !words.is_empty() => {
                sections.push(Section { functions: words.clone(), plays: Vec::new() });
            }
            Kind::Session { step: STEP, words } if words.iter().any(|word| word == NAME) => {
                let body = guide.lines[block.body.clone()].to_vec();
                if let Some(section) = sections.last_mut() {
                    section.plays.push((words.clone(), body));
                }
            }
            _ => {}
        }
    }
    sections
}

/// The statements of `run` and `child` that call one of these functions.
fn calls(patch: &str, functions: &[String]) -> Vec<String> {
    let added = patch.lines().filter_map(|line| line.strip_prefix('+'));
    let statement = |line: &&str| {
        line.starts_with("    ") && !line[4..].starts_with(' ') && line.ends_with(';')
    };
    let calls_one = |line: &&str| {
        let call = line.trim_start().trim_start_matches("let _terminal = ");
        call.split_once('(').is_some_and(|(name, _)| functions.iter().any(|one| one == name))
    };
    added.filter(statement).filter(calls_one).map(str::to_string).collect()
}

/// A folder with the programs that sessions are played with, one for each lock that is missing: all are built at once.
static PROGRAMS: LazyLock<Result<Vec<PathBuf>>> = LazyLock::new(|| {
    let steps = Steps::find(repository()).attempt("find the steps")?;
    let text = fs::read_to_string(repository().join("workshop.md")).attempt("read the guide")?;
    let file = repository().join(steps.solution(STEP, NAME));
    let patch = fs::read_to_string(&file).attempt("read the patch")?;
    let mut variants = Vec::new();
    for section in sections(&Document::parse(&text, &mut Vec::new())) {
        let calls = calls(&patch, &section.functions);
        assert!(!calls.is_empty(), "nobody calls {:?}", section.functions);
        let package = format!("without-{}", section.functions[0]);
        variants.push(Variant { package, step: STEP, change: Change::Without(&file, calls) });
    }
    let built = steps.variants("without-locks", &variants).attempt("build without the locks")?;
    let plain = steps.program(STEP).attempt("build the step")?;
    let mut folders = Vec::new();
    for program in built.programs {
        let folder = program.with_extension("played");
        _ = fs::remove_dir_all(&folder);
        let step = plain.file_name().unwrap_or_default();
        fs::create_dir(&folder)
            .and_then(|()| fs::hard_link(&program, folder.join(format!("{STEP}-{NAME}"))))
            .and_then(|()| fs::hard_link(&plain, folder.join(step)))
            .attempt("put the programs in a folder")?;
        folders.push(folder);
    }
    Ok(folders)
});

/// Plays all sessions without one lock.
fn without(at: usize, sections: &[Section]) -> Result<()> {
    let folders = PROGRAMS.as_ref().map_err(Error::clone)?;
    let steps = Steps::find(repository()).attempt("find the steps")?.built_in(&folders[at]);
    let stage = Stage { steps: &steps, patience: guide::PATIENCE };
    let missing = sections[at].functions[0].as_str();
    let leaning = LEAN_ON.iter().filter(|(_, on)| *on == missing).map(|(lock, _)| *lock);
    let expected = BTreeSet::from_iter(leaning.chain([missing]));
    let mut failed = BTreeSet::new();
    for section in sections {
        for (words, body) in &section.plays {
            let as_ever = match stage.play(STEP, words, body) {
                Ok(Text::Lines(lines)) => lines == *body,
                Ok(Text::Keep { why, .. }) => return Err(Error::Missing(why)),
                Err(_) if expected.contains(&*section.functions[0]) => false,
                Err(err) => return Err(err).attempt("play a session that does not need it"),
            };
            if !as_ever {
                failed.insert(section.functions[0].as_str());
            }
        }
    }
    assert_eq!(failed, expected, "the locks whose sessions fail without {missing}");
    Ok(())
}
