//! `cargo workshop guide`: see the library.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use steps::Steps;

/// Writes what the guide quotes (diffs, code, terminal sessions, tables) anew, and checks its links and man pages.
///
/// Exit status: 0 if all is well, 1 if something is wrong in the guide, 2 for wrong usage or where the command could
/// not do its work.
#[derive(Parser)]
#[command(name = "guide", bin_name = "cargo workshop guide")]
struct Cli {
    /// Write nothing, and fail if something is not what it should be
    #[arg(long)]
    check: bool,
    /// Only the blocks whose marker has these words, such as 'session 10 cgroups'
    #[arg(long, value_name = "WORDS")]
    block: Option<String>,
    /// Only build the solution of this exercise, such as 10-exec, and print where the program is
    #[arg(long, value_name = "NN-NAME")]
    solution: Option<String>,
    /// Make a book of HTML pages of it, in this folder (needs mdBook, node and Chromium)
    #[arg(long, value_name = "DIR", conflicts_with_all = ["check", "block", "solution"])]
    book: Option<PathBuf>,
    /// The guide, relative to the repository
    #[arg(default_value = "workshop.md")]
    file: PathBuf,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    run(cli).unwrap_or_else(|err| {
        eprintln!("guide: {err:#}");
        ExitCode::from(2)
    })
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let steps = Steps::around(&std::env::current_dir()?)?;
    if let Some(exercise) = cli.solution {
        println!("{}", guide::solution(&steps, &exercise)?.display());
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(folder) = cli.book {
        let made = guide::book::build(&steps, &cli.file, &folder)?;
        let folder = folder.display();
        eprintln!(
            "{folder}: {} pages, {} pictures; open {folder}/index.html",
            made.pages, made.pictures
        );
        return Ok(ExitCode::SUCCESS);
    }
    let task = guide::Task {
        steps,
        file: cli.file,
        check: cli.check,
        block: cli.block,
        patience: guide::PATIENCE,
    };
    let report = guide::run(&task)?;
    let file = task.file.display();
    for name in &report.written {
        eprintln!("{file}: wrote {name}");
    }
    let strict = std::env::var_os("CI").is_some_and(|ci| ci == "true");
    for skipped in &report.skipped {
        eprintln!("SKIPPED {file}: {skipped}");
    }
    for problem in &report.problems {
        eprintln!("{file}: {problem}");
    }
    let (problems, skipped) = (report.problems.len(), report.skipped.len());
    eprintln!("{file}: {} blocks, {problems} problems, {skipped} skipped", report.blocks);
    Ok(ExitCode::from(u8::from(
        problems > 0 || (strict && report.skipped.iter().any(|one| one.grave)),
    )))
}
