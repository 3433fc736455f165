//! The exit status, and what the command is given.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use classroom::error::Attempt;
use classroom::{output, until};

use crate::lab::{Lab, Options};
use crate::{Case, Failure, Outcome, hold, same};

const GROUP: &str = "status";

pub const CASES: &[Case] = &[
    case!(1, zero, "0 is passed on" => |lab| status(lab, "exit 0", 0)),
    case!(1, seven, "7 is passed on" => |lab| status(lab, "exit 7", 7)),
    case!(1, two_hundred_fifty_five, "255 is passed on" => |lab| status(lab, "exit 255", 255)),
    case!(1, killed_from_the_host, "the command, killed by SIGKILL from the host: 137"),
    case!(1, own_sigterm, "the command sends itself SIGTERM: 143" => |lab| status(lab, "kill -TERM $$; exit 9", 143)),
    case!(1, own_segfault, "the command sends itself SIGSEGV: 139"
        => |lab| status(lab, "ulimit -c 0; kill -SEGV $$; exit 9", 139)),
    case!(1, not_found, "a command that is not there: 127" => |lab| command(lab, "no-such-command", 127)),
    case!(1, not_found_by_path, "a path that is not there: 127" => |lab| command(lab, "/no/such/command", 127)),
    case!(1, empty_command, "the empty command: 127" => |lab| command(lab, "", 127)),
    case!(1, not_executable, "a file that is not executable: 126"),
    case!(1, directory, "a directory as command: 126" => |lab| command(lab, "/usr", 126)),
    case!(1, bad_format, "a file that is no program: 126"),
    case!(5, rootfs_missing, "no root file system: 125, and the cure" => |lab| rootfs(lab, "no-rootfs", 125)),
    case!(5, rootfs_is_a_file, "the root file system is a file: 125"),
    case!(7, rootfs_without_proc, "a root file system without /proc: 125, and nothing is left"),
    case!(5, rootfs_odd_name, "a root file system with blanks and bytes in its name"),
    case!(1, no_command, "no command: wrong usage, 2" => |lab| usage(lab, "run")),
    case!(1, unknown_option, "an unknown option: wrong usage, 2" => |lab| usage(lab, "run --no-such-option true")),
    case!(1, options_of_the_command, "what follows the command belongs to it, also --help"),
    case!(1, bytes, "arguments that are no UTF-8 arrive byte by byte"),
    case!(1, empty_arguments, "empty arguments arrive"),
    case!(1, long_argument, "an argument of 120 KiB"),
    case!(1, many_arguments, "1.9 MB of arguments in all"),
    case!(5, environment, "the caller's environment does not arrive, PATH and HOME do"),
    case!(5, working_directory, "the working directory is /"),
];

fn status(lab: &Lab, script: &str, want: i32) -> Outcome {
    same("status", lab.run(script)?.status, want)
}

fn killed_from_the_host(lab: &Lab) -> Outcome {
    let running = lab.start("echo ready; exec sleep 7777")?;
    until("sleep runs", || !lab.pids_of("sleep 7777").is_empty())?;
    lab.host.run(&format!("kill -KILL {}", lab.pids_of("sleep 7777")[0]))?;
    same("status", running.finish()?.status, 137)
}

fn command(lab: &Lab, command: &str, want: i32) -> Outcome {
    let out = output(&mut lab.host.command(lab.argv(&[command])))?;
    hold(!out.stderr.contains("panicked"), || out.stderr.clone())?;
    same("status", out.status, want)
}

/// A file in the root file system (or, without one, on the host) with this text and mode.
fn file(lab: &Lab, text: &str, mode: &str) -> Outcome {
    lab.set_up(&format!("printf '{text}' >f; chmod {mode} f; cp -p f rootfs/f; mv f /f"))
}

fn not_executable(lab: &Lab) -> Outcome {
    file(lab, "#!/bin/sh\\n", "644")?;
    command(lab, "/f", 126)
}

fn bad_format(lab: &Lab) -> Outcome {
    file(lab, "\\001\\002\\003\\004", "755")?;
    command(lab, "/f", 126)
}

fn rootfs(lab: &Lab, rootfs: &str, want: i32) -> Outcome {
    let out = lab.run_with(&Options::rootfs(rootfs), "echo started")?;
    hold(!out.stdout.contains("started"), || "the command was started".into())?;
    same("status", out.status, want)?;
    hold(out.stderr.contains(rootfs), || format!("no {rootfs:?} in {:?}", out.stderr))
}

fn rootfs_is_a_file(lab: &Lab) -> Outcome {
    lab.host.run("> a-file")?;
    rootfs(lab, "a-file", 125)
}

fn rootfs_without_proc(lab: &Lab) -> Outcome {
    lab.host.run("rmdir rootfs/proc")?;
    let out = lab.run("echo started")?;
    hold(!out.stdout.contains("started"), || "the command was started".into())?;
    same("status", out.status, 125)
}

fn rootfs_odd_name(lab: &Lab) -> Outcome {
    let name = OsString::from_vec(b"a root\t\xff \xc3\xa4".to_vec());
    let workshop = lab.host.path("/workshop");
    fs::rename(workshop.join("rootfs"), workshop.join(&name)).attempt("rename rootfs")?;
    same("status", lab.run_with(&Options::rootfs(&name), "exit 7")?.status, 7)
}

fn usage(lab: &Lab, args: &str) -> Outcome {
    lab.only_steps()?;
    let out = lab.host.run(&format!("{} {args}", lab.program()))?;
    hold(out.stderr.contains("Usage:"), || out.stderr.clone())?;
    same("status", out.status, 2)
}

fn options_of_the_command(lab: &Lab) -> Outcome {
    let script = "echo \"$@\"; exit 7";
    let argv = ["sh", "-c", script, "sh", "--help", "-x", "--", "--rootfs", "/"];
    let out = output(&mut lab.host.command(lab.argv(&argv)))?;
    same("output", out.stdout.as_str(), "--help -x -- --rootfs /\n")?;
    same("status", out.status, 7)
}

fn bytes(lab: &Lab) -> Outcome {
    let odd = OsString::from_vec(b"\xff\xfe \x01\n\xc3".to_vec());
    let script = OsString::from("printf %s \"$1\" | od -An -tx1 | tr -d ' \n'");
    let argv = lab.with(&Options::default(), &["sh".into(), "-c".into(), script, "sh".into(), odd]);
    let out = output(&mut lab.host.command(argv?))?;
    same("bytes", out.stdout.as_str(), "fffe20010ac3")
}

fn empty_arguments(lab: &Lab) -> Outcome {
    let script = "echo $# \"<$1>\" \"<$2>\" \"<$3>\"";
    let argv = ["sh", "-c", script, "sh", "", "x", ""];
    let out = output(&mut lab.host.command(lab.argv(&argv)))?;
    same("arguments", out.stdout.as_str(), "3 <> <x> <>\n")
}

fn long_argument(lab: &Lab) -> Outcome {
    let long = "x".repeat(120 * 1024);
    let argv = ["sh", "-c", "echo ${#1}", "sh", &long];
    let out = output(&mut lab.host.command(lab.argv(&argv)))?;
    same("length", out.stdout.as_str(), "122880\n")
}

/// The kernel allows a quarter of the stack's limit, pointers included: 2 MiB of 8.
fn many_arguments(lab: &Lab) -> Outcome {
    let long = "x".repeat(100_000);
    let mut argv = vec!["sh", "-c", "echo $# ${#19}", "sh"];
    argv.extend([long.as_str(); 19]);
    let argv = lab.with(&Options::default(), &argv)?;
    let mut command = lab.host.command(["prlimit", "--stack=8388608:", "--"]);
    let out = output(command.args(argv))?;
    same("arguments", out.stdout.as_str(), "19 100000\n")
}

fn environment(lab: &Lab) -> Outcome {
    let out = lab.around("export SECRET=s3cret; exec \"$@\"", &["sh", "-c", "env"])?;
    hold(!out.stdout.contains("s3cret"), || "SECRET arrived".into())?;
    hold(out.stdout.contains("PATH=/usr/local/sbin:"), || format!("no PATH: {}", out.stdout))
}

fn working_directory(lab: &Lab) -> Outcome {
    let out = lab.run("pwd; ls -d ../workshop 2>/dev/null; ls -di . /")?;
    let lines: Vec<&str> = out.stdout.lines().collect();
    let inode = |line: &str| line.split_whitespace().next().map(str::to_string);
    match lines[..] {
        ["/", here, root] if inode(here) == inode(root) => Ok(()),
        _ => Err(Failure::NotHeld(out.stdout)),
    }
}
