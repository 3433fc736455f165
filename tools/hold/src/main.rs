//! `cargo run -p hold`: what holds, and what does not, for step 10 and other runners side by side.

use std::io::Write;
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use clap::Parser;
use classroom::root::{become_root, is_root};
use hold::{Case, Decision, Failure, Outcome, Runner};

/// Tries every case on every runner, and prints the outcomes side by side
#[derive(Parser)]
#[command(name = "hold", version)]
struct Cli {
    /// A step by number or name, or locks, bwrap, crun, runc; may be repeated
    #[arg(long, value_name = "NAME", default_values = ["10", "locks", "bwrap", "crun", "runc"])]
    runner: Vec<String>,
    /// Also try a step on what only a later one is to hold
    #[arg(long)]
    anyway: bool,
    /// Faults: let every single call fail, not only some of those that are made very often
    #[arg(long)]
    whole: bool,
    /// Only the cases whose group or name contains one of these
    #[arg(value_name = "CASE")]
    cases: Vec<String>,
    /// Instead: run step 10, without locks and with all, this often and more, also at once and with kills; compare the
    /// host before and after
    #[arg(long, value_name = "TIMES")]
    soak: Option<u64>,
}

fn main() -> ExitCode {
    if hold::helper::called() {
        return ExitCode::SUCCESS;
    }
    run(&Cli::parse()).unwrap_or_else(|err| {
        eprintln!("hold: {err}");
        ExitCode::FAILURE
    })
}

fn run(cli: &Cli) -> classroom::Result<ExitCode> {
    let mut runners = Vec::new();
    for name in &cli.runner {
        match Runner::find(name) {
            Ok(runner) => runners.push(runner),
            Err(why) => eprintln!("SKIPPED {name}: {why}"),
        }
    }
    if !is_root() && (cli.soak.is_some() || runners.iter().any(Runner::needs_root)) {
        if let Err(why) = become_root(&hold::lab::prepare()?, std::env::args_os().skip(1)) {
            eprintln!("Skipped is what needs root, and {why}");
            runners.retain(|runner| !runner.needs_root());
        }
    }
    if cli.whole {
        hold::faults::whole();
    }
    if let Some(times) = cli.soak {
        let failed = |runner: &&Runner| hold::soak::run(runner, times) != ExitCode::SUCCESS;
        let ours = runners.iter().filter(|runner| runner.step() == Some(10));
        return Ok(ExitCode::from(u8::from(ours.filter(failed).count() > 0)));
    }
    let wanted = |case: &&Case| {
        let is =
            |part: &String| case.group.contains(part.as_str()) || case.name.contains(part.as_str());
        cli.cases.is_empty() || cli.cases.iter().any(is)
    };
    let cases: Vec<&Case> = hold::CASES.iter().copied().flatten().filter(wanted).collect();
    let start = Instant::now();
    let outcomes = try_all(&cases, &runners, cli.anyway);
    let text = table(&cases, &runners, &outcomes);
    _ = std::io::stdout().write_all(text.as_bytes());
    eprintln!("{} s", start.elapsed().as_secs());
    let fits = |case: &Case, row: &[Outcome]| {
        let mut own = runners.iter().zip(row).filter(|(runner, _)| runner.step() == Some(10));
        own.all(|(runner, outcome)| case.decision(runner).fits(outcome))
    };
    let as_decided = cases.iter().zip(&outcomes).all(|(case, row)| fits(case, row));
    Ok(if as_decided { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// All outcomes: a row for each case, a column for each runner. As many at once as there are CPUs.
fn try_all(cases: &[&Case], runners: &[Runner], anyway: bool) -> Vec<Vec<Outcome>> {
    let all = cases.len() * runners.len();
    let outcomes: Vec<Mutex<Outcome>> = (0..all).map(|_| Mutex::new(Ok(()))).collect();
    let next = AtomicUsize::new(0);
    let work = || loop {
        let at = next.fetch_add(1, Ordering::Relaxed);
        let Some(place) = outcomes.get(at) else { return };
        let (case, runner) = (cases[at / runners.len()], &runners[at % runners.len()]);
        let start = Instant::now();
        let outcome = if anyway { case.try_anyway(runner) } else { case.try_on(runner) };
        let (time, mark) = (start.elapsed().as_secs_f64(), mark(&outcome));
        eprintln!(
            "{}/{all} {}: {} on {}: {mark} ({time:.1} s)",
            at + 1,
            case.group,
            case.name,
            runner.name
        );
        if let Ok(mut place) = place.lock() {
            *place = outcome;
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    let mut flat = outcomes.into_iter().map(|place| place.into_inner().unwrap_or(Ok(())));
    cases.iter().map(|_| flat.by_ref().take(runners.len()).collect()).collect()
}

fn mark(outcome: &Outcome) -> &'static str {
    match outcome {
        Ok(()) => "held",
        Err(Failure::NotHeld(_)) => "NOT HELD",
        Err(Failure::NotApplicable(_)) => "n.a.",
        Err(Failure::Missing(_)) => "skipped",
    }
}

fn table(cases: &[&Case], runners: &[Runner], outcomes: &[Vec<Outcome>]) -> String {
    let width = cases.iter().map(|case| case.name.len()).max().unwrap_or(0);
    let mut text = String::new();
    let mut group = "";
    for (case, row) in cases.iter().zip(outcomes) {
        if case.group != group {
            group = case.group;
            text += &format!("\n{group:width$}");
            for runner in runners {
                text += &format!("  {:8}", runner.name.split('_').next().unwrap_or_default());
            }
            text += "\n";
        }
        text += &format!("{:width$}", case.name);
        for outcome in row {
            text += &format!("  {:8}", mark(outcome));
        }
        text += &format!("  {}\n", case.says);
    }
    text += &format!("\n{:width$}", "held / not held / n.a.");
    for column in 0..runners.len() {
        let count = |what: &str| outcomes.iter().filter(|row| mark(&row[column]) == what).count();
        let counts = format!("{}/{}/{}", count("held"), count("NOT HELD"), count("n.a."));
        text += &format!("  {counts:8}");
    }
    text += "\n\nWhat is not held, or does not apply:\n";
    for (case, row) in cases.iter().zip(outcomes) {
        for (runner, outcome) in runners.iter().zip(row) {
            let Err(why) = outcome else { continue };
            let why = why.to_string();
            let why: String = why.lines().map(str::trim).collect::<Vec<_>>().join(" ");
            let why: String = why.chars().take(160).collect();
            text += &format!("- {}, {}: {}: {why}", case.name, runner.name, mark(outcome));
            match case.decision(runner) {
                Decision::Open(place) if runner.step() == Some(10) => {
                    text += &format!(" ({place})\n")
                }
                _ => text += "\n",
            }
        }
    }
    text
}
