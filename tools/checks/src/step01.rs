//! Step 01: a container is a process.

use std::ffi::OsStr;
use std::iter::successors;
use std::os::unix::ffi::OsStrExt;

use crate::lab::{Held, Lab, excerpt, shortened};
use crate::step04::APART;
use crate::{Cause, Check, Result};

pub const CHECKS: &[Check] = &[
    check! { 1, runs, "runs a command, with its output",
        read: "fork(2), execve(2)",
        hints: [
            "Everything behind `run` is a command and its arguments. Which type of the standard library starts one?",
            "std::process::Command: `new` takes the program, `args` the rest, `spawn` starts it. Leave its stdin, \
             stdout and stderr as they are: they are inherited.",
        ],
        lines: ["Command::new(&args.command[0])", ".spawn()"],
    },
    check! { 1, arguments, "passes the arguments on as they are",
        read: "execve(2)",
        hints: [
            "An argument is a row of bytes. Nothing may split, join or interpret it: no shell, and not your own option \
             parser.",
            "clap: `#[arg(required = true, trailing_var_arg = true)]` on a `Vec<OsString>`. Behind the first word \
             everything belongs to the command, also what begins with `-`.",
        ],
        lines: ["trailing_var_arg", "command: Vec<", ".args(&args.command[1..])"],
    },
    check! { 1, stdin, "leaves stdin to the command",
        read: "execve(2)",
        hints: [
            "The command reads the same stdin as your program, unless you take it away.",
            "No `Stdio::null()`, no `output()`: `spawn()` or `status()` inherit all three streams.",
        ],
        lines: [".spawn()"],
    },
    check! { 1, waits, "waits for the command",
        read: "waitpid(2)",
        hints: [
            "spawn() returns at once. Who waits for the end?",
            "Child::wait() returns when the command has ended.",
        ],
        lines: ["process.wait()"],
    },
    check! { 1, status, "passes the exit status on",
        read: "waitpid(2), exit(3)",
        hints: [
            "`run sh -c 'exit 7'; echo $?` should print 7. What does wait() return, and what does main() return?",
            "ExitStatus::code() is the number. main() may return an ExitCode.",
        ],
        lines: ["status.code()", "ExitCode::from(code"],
    },
    check! { 1, signal, "says 128 + n when signal n ended the command",
        read: "waitpid(2), signal(7)",
        hints: [
            "A command that a signal ended has no exit status: code() is None. What does a shell make of it?",
            "std::os::unix::process::ExitStatusExt::signal() is the number; shells add 128.",
        ],
        lines: ["128 + signal"],
    },
    check! { 1, not_found, "says 127 where there is no such command, 126 where it cannot be executed, 125 without room",
        read: "execve(2), env(1)",
        hints: [
            "spawn() returns an error. Which of its kinds is it?",
            "ErrorKind::NotFound is 127, WouldBlock and OutOfMemory are 125 (too many processes, no memory), \
             everything else that execve(2) says is 126. One line on stderr names the command.",
        ],
        lines: ["ErrorKind::NotFound", "ErrorKind::WouldBlock"],
    },
    check! { 1, usage, "says 2 for wrong usage",
        read: "exit(3)",
        hints: [
            "`run` without a command, or an unknown subcommand: a message, and exit status 2. No panic.",
            "clap does it by itself, if the command is `required = true`.",
        ],
        lines: ["required = true"],
    },
    check! { 1, terminal, "leaves the terminal to the command",
        read: "isatty(3), credentials(7)",
        hints: [
            "An interactive shell wants a terminal as its stdin, stdout and stderr.",
            "No pipes (`Stdio::piped()`), no setsid(2): spawn() inherits the terminal.",
        ],
        lines: [".spawn()"],
    },
];

fn runs(lab: &Lab) -> Result<()> {
    let done = lab.run(&["echo", "hello"])?;
    if done.stdout != "hello\n" || done.status != Some(0) {
        let silent = done.stdout.is_empty()
            && done.status == Some(0)
            && !done.stderr.contains("nothing is here yet");
        let cause: Cause = if done.stdout == "echo hello\n" {
            "the command gets its own name as the first argument: what Command::new has got is not for Command::args \
             as well (`&args.command[1..]`)"
                .into()
        } else if done.stdout == "hello\nhello\n" {
            Cause::about(
                "named",
                "the command is started more than once. There is one place for it: in `run`, as long as there is no \
                 `child`, and from step 03 on in `child` alone; `run` starts only `child`, and waits for it",
            )
        } else if done.stdout.contains("hello\n") && done.stdout != "hello\n" {
            "your program writes to stdout itself: that belongs to the command alone. Use eprintln! (stderr) for your \
             own messages"
                .into()
        } else if done.stdout == "\n" {
            "the arguments behind the command do not reach it: pass all of them with Command::args"
                .into()
        } else if silent && lab.run(&["sh", "-c", "echo it runs >&2"])?.stderr.contains("it runs\n")
        {
            "stdout of the command is lost: do not redirect it (Stdio::piped, Stdio::null, output()); spawn() inherits \
             it"
            .into()
        } else {
            done.why_not_run()
        };
        return Err(done.wrong("\"hello\", exit status 0", done.summary(), cause));
    }
    let done = lab.run(&["cat", "/no-such-file"])?;
    if done.stdout.is_empty() && excerpt(&done.stderr).contains("/no-such-file") {
        return Ok(());
    }
    let lost = "stderr of the command is lost: do not redirect it; spawn() inherits it";
    let cause = done.why().unwrap_or_else(|| lost.into());
    Err(done.wrong("on stderr, cat's complaint about /no-such-file", done.summary(), cause))
}

fn arguments(lab: &Lab) -> Result<()> {
    const JOINED: &str = "the arguments were joined to one text and split at spaces again (by a shell, or by \
        split_whitespace): pass them on one by one with Command::args";
    let words = [
        "sh",
        "-c",
        "printf '%s|' \"$@\"",
        "sh",
        "-x",
        "--help",
        "a  b",
        "$HOME",
        "",
        "--",
        "*",
        "run",
        "child",
    ];
    let bytes = OsStr::from_bytes(b"\xff");
    let done = lab.run(&words.into_iter().map(OsStr::new).chain([bytes]).collect::<Vec<_>>())?;
    if done.bytes == b"-x|--help|a  b|$HOME||--|*|run|child|\xff|" {
        return Ok(());
    }
    let text = &done.stdout;
    let cause: Cause = if text.is_empty() {
        if excerpt(&done.stderr).contains("UTF-8") {
            "an argument need not be UTF-8: collect them as OsString, not String".into()
        } else if lab.run(&["echo", "a  b"])?.stdout == "a b\n" {
            JOINED.into()
        } else {
            done.why_not_run()
        }
    } else if text.contains("|a|b|") {
        JOINED.into()
    } else if !text.contains("$HOME") {
        "a shell has read the arguments once more and replaced $HOME and *: pass them on one by one with Command::args"
            .into()
    } else if done.bytes.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes()) {
        "an argument need not be UTF-8; yours was made text with to_string_lossy() or the like: keep it as OsString"
            .into()
    } else if !text.contains("|run|child|") {
        "the command's own words were taken for yours: only the first argument of your program is a subcommand, `run` \
         or `child`. Hand on all that stand behind it, whatever they are (std::env::args_os().skip(2), not a filter)"
            .into()
    } else if !text.contains("--|") || !text.contains("--help") {
        "your program's own parser has swallowed what begins with `-`: behind the first word everything belongs to the \
         command (`trailing_var_arg = true`; the re-exec needs no `--`)"
            .into()
    } else {
        "the arguments have to reach execve(2) unchanged, one by one".into()
    };
    let expected = "each argument as it was: \"-x|--help|a  b|$HOME||--|*|run|child|\\xff|\"";
    Err(done.wrong(expected, done.summary(), cause))
}

fn stdin(lab: &Lab) -> Result<()> {
    let mut running = lab.start(&["cat"])?;
    running.say("hello");
    let done = running.end()?;
    if done.stdout == "hello\n" {
        return Ok(());
    }
    let cause = if done.status == Some(0) {
        "stdin of the command is not that of your program: do not redirect it (Stdio::null, Stdio::piped, output()); \
         spawn() inherits it"
            .into()
    } else {
        done.why_not_run()
    };
    Err(done.wrong("what comes from stdin, here \"hello\", comes out again", done.summary(), cause))
}

fn waits(lab: &Lab) -> Result<()> {
    let held = lab.hold(&[], "")?;
    // `run` may wait for a `child` that is about to end.
    lab.wait_until(|| all_wait(lab, &held) || !lab.lives(held.runner));
    if !lab.lives(held.runner) {
        let cause = "your program does not wait for the command: spawn() returns at once; wait(2) for the child, for \
                     example with Child::wait(), before you return from main (and from `run`, which waits for `child`)";
        return Err(held.wrong(
            "your program ends after the command",
            "it ended, and the command still runs",
            cause,
        ));
    }
    let done = held.release()?;
    if done.status != Some(0) || done.stderr.contains("nothing is here yet") {
        return Err(done.wrong("exit status 0", done.summary(), done.why_not_run()));
    }
    Ok(())
}

/// Whether everybody waits, from the command up to the runner.
fn all_wait(lab: &Lab, held: &Held) -> bool {
    let parents = lab.family();
    let line = successors(Some(held.command), |pid| parents.get(pid).copied());
    let line: Vec<u32> = line.collect();
    let runner = line.iter().position(|pid| *pid == held.runner);
    runner.is_some_and(|end| line[..=end].iter().all(|pid| lab.is_waiting(*pid)))
}

fn status(lab: &Lab) -> Result<()> {
    for wanted in [7, 255] {
        let done = lab.run(&["sh", "-c", &format!("exit {wanted}")])?;
        if done.status == Some(wanted) {
            continue;
        }
        let cause = match done.status {
            Some(0) if is_raw(lab)? => {
                "what wait(2) returns was taken for the exit status as it is. It is a status of its own kind: the exit \
                 status is in the upper byte, the signal in the lower one. ExitStatus::code() and signal() (rustix: \
                 exit_status(), terminating_signal()) take it apart"
                    .into()
            }
            Some(0) => {
                "the exit status is swallowed: your program returns success whatever the command returned. Return the \
                 number that ExitStatus::code() gives, also through both halves once there are two"
                    .into()
            }
            _ if done.why().is_some() => done.why_not_run(),
            Some(1 | 125) if !excerpt(&done.stderr).is_empty() => {
                "a command that fails is no error of yours: do not make an Err of it, but return its number \
                 (ExitStatus::code())"
                    .into()
            }
            _ => "the number that wait(2) returns is not passed on as it is (ExitStatus::success() only says whether \
                  it is 0): ExitStatus::code(), then ExitCode::from"
                .into(),
        };
        return Err(done.wrong(format!("exit status {wanted}"), done.ending(), cause));
    }
    Ok(())
}

/// Whether the raw status of wait(2) is returned: that of a command that a signal has ended is just the signal.
fn is_raw(lab: &Lab) -> Result<bool> {
    const TERM: &str = "kill -TERM $$";
    let done = lab.run(&["sh", "-c", TERM])?;
    // The second half's own status is the first one's 15, of which 15 times 256 comes, and so 0.
    let by_child = || done.trace().named("exit_group").any(|call| call.arg(0) == "15");
    Ok(done.status == Some(15) || by_child())
}

fn signal(lab: &Lab) -> Result<()> {
    let held = lab.hold(&[], "")?;
    let held_itself = held.command == held.runner;
    held.running.signalled.set(true);
    lab.host.run(&format!("kill -9 {}", held.command))?;
    let done = held.running.end()?;
    // A program that has become the command, by exec(), leaves it to the shell to say 137.
    if done.status == Some(137) || done.signal == Some(9) && held_itself {
        return Ok(());
    }
    let cause = "a command that a signal has ended has no exit status: ExitStatus::code() is None then. Shells say \
                 128 + the number of the signal (ExitStatusExt::signal())";
    Err(done.wrong(
        "the command is killed with SIGKILL: exit status 137 (128 + 9)",
        done.ending(),
        cause,
    ))
}

fn not_found(lab: &Lab) -> Result<()> {
    // Not /bin/true: where /bin is a link, strace(1) has something to say on that.
    const ENV: &str = "/usr/bin/env";
    let room = "too many processes, or no memory (ErrorKind::WouldBlock, ErrorKind::OutOfMemory): \
                that is not the command's fault, and so 125";
    for (command, wanted, why) in [
        ("no-such-command", 127, "not found is 127 (ErrorKind::NotFound)"),
        ("/bin", 126, "found, but not executable is 126 (here it is a folder)"),
        (ENV, 125, room),
    ] {
        let done = match command {
            ENV if !lab.has_strace() => continue,
            ENV => lab.run_without_room(ENV)?,
            _ => lab.run(&[command])?,
        };
        let right = done.status == Some(wanted);
        let said = excerpt(&done.stderr);
        if right && said.contains(command) && !said.contains("panicked") {
            continue;
        }
        let cause = if right {
            format!(
                "the message on stderr does not name the command ({command}) that could not be started"
            )
        } else {
            format!("the error of spawn() was not translated to env(1)'s exit statuses: {why}")
        };
        let expected = format!("exit status {wanted}, and a line on stderr that names {command}");
        let got = match command {
            ENV => format!("{}, although execve({ENV:?}) = EAGAIN", done.ending()),
            _ => done.ending(),
        };
        return Err(done.wrong(expected, got, cause));
    }
    Ok(())
}

fn usage(lab: &Lab) -> Result<()> {
    for word in ["run", "no-such-subcommand"] {
        let done = lab.start_as(None, &[&*lab.program(), word])?.end()?;
        if done.status == Some(2) && !done.stderr.is_empty() {
            continue;
        }
        let cause = "wrong usage has to be an error: the command is required (`required = true`), and no other \
                     subcommand than yours is known. clap's parse() then says so and exits with 2";
        return Err(done.wrong(
            "a message about the usage, and exit status 2",
            done.summary(),
            cause,
        ));
    }
    Ok(())
}

fn terminal(lab: &Lab) -> Result<()> {
    let inner = "test -t 0 && test -t 1 && test -t 2 && echo it is; read line";
    let line = format!("{} run sh -c '{inner}'", lab.program());
    let shown = format!("{}   # on a terminal", lab.typed(&["run", "sh", "-c", inner]));
    let mut running = lab.start_as(Some(&shown), &["script", "-qec", &line, "/dev/null"])?;
    let command =
        || lab.processes().into_iter().find(|it| it.args == ["sh", "-c", inner]).map(|it| it.pid);
    lab.wait_until(|| command().is_some_and(|pid| lab.is_waiting(pid) || lab.is_stopped(pid)));
    if command().is_some_and(|pid| !lab.is_foreground(pid)) {
        let expected = "the command is in the foreground of the terminal, and may read from it";
        return Err(running.wrong(expected, "it is in the background", APART));
    }
    running.say("go on");
    let done = running.end()?;
    if done.stdout.contains("it is") {
        return Ok(());
    }
    let cause = if done.status == Some(1) {
        "one of stdin, stdout and stderr is not the terminal any more: do not put pipes in between"
            .into()
    } else {
        done.why_not_run()
    };
    let expected = "stdin, stdout and stderr of the command are the terminal";
    Err(done.wrong(expected, shortened(done.stdout.trim()), cause))
}
