//! What a container holds in memory while it runs, and how large the programs are.

use std::fmt::Write;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::process::Stdio;

use anyhow::{Context, ensure};

use crate::subjects::Subject;
use crate::{conditions, progress};

/// In kibibytes, of one process (proc_pid_status(5), proc_pid_smaps(5)).
#[derive(Clone, Copy, Default)]
struct Memory {
    /// What it has in memory, shared files included.
    resident: u64,
    /// What would be free if it went.
    private: u64,
}

pub fn measure(subjects: &[Subject]) -> String {
    progress("memory");
    let mut text = format!(
        "## Memory and size\n\n{}. KiB while `cat` waits in the container; private is what would be free without it; \
         the rest is the program file, which all containers share.\n\n\
         | | runner: resident | private | its PID 1: resident | private | program file |\n\
         |---|---|---|---|---|---|\n",
        conditions()
    );
    for subject in subjects {
        let size = subject.size().map_or("—".into(), |size| format!("{}", size / 1024));
        let memory = if subject.takes_a_command() { of(subject) } else { Ok((None, None)) };
        let (runner, init) = memory.unwrap_or_else(|err| {
            eprintln!("Not measured: memory of {}: {err:#}", subject.name);
            (None, None)
        });
        let figures = [show(runner), show(init)].concat().join(" | ");
        _ = writeln!(text, "| {} | {figures} | {size} |", subject.name);
    }
    text
}

fn show(memory: Option<Memory>) -> [String; 2] {
    let show =
        |part: fn(Memory) -> u64| memory.map_or("—".into(), |memory| part(memory).to_string());
    [show(|memory| memory.resident), show(|memory| memory.private)]
}

/// The runner, and the process between it and the command, if there is one.
fn of(subject: &Subject) -> anyhow::Result<(Option<Memory>, Option<Memory>)> {
    let mut command = subject.command(&["/bin/cat"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut runner = command.spawn()?;
    // When it answers, it runs.
    let mut stdin = runner.stdin.take().context("no stdin")?;
    let mut stdout = BufReader::new(runner.stdout.take().context("no stdout")?);
    writeln!(stdin, "there?")?;
    let mut answer = String::new();
    stdout.read_line(&mut answer)?;
    let of_runner = read(runner.id());
    let init = children(runner.id()).first().copied();
    // A process without children is the command itself.
    let init = init.filter(|&init| !children(init).is_empty()).map(read).transpose();
    drop(stdin);
    let status = runner.wait()?;
    ensure!(answer == "there?\n" && status.success(), "cat in the container: {status}");
    Ok((Some(of_runner?), init?))
}

fn children(pid: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    children.unwrap_or_default().split_whitespace().flat_map(str::parse).collect()
}

fn read(pid: u32) -> anyhow::Result<Memory> {
    let file = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&file).with_context(|| format!("cannot read {file}"))?;
    let mut memory = Memory::default();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (key, value) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        match key {
            "Rss:" => memory.resident = value.parse()?,
            "Private_Clean:" | "Private_Dirty:" => memory.private += value.parse::<u64>()?,
            _ => {}
        }
    }
    Ok(memory)
}
