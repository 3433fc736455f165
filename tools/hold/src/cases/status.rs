//! The exit status, and what the command is given.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;

use classroom::error::Attempt;
use classroom::{Output, output, until};

use crate::lab::{Lab, Options};
use crate::{Case, Failure, Outcome, Result, hold, not_applicable, only_root, same};

const GROUP: &str = "status";

const BESIDES: &str = "guide: and besides (what else is the caller's)";

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
    case!(1, no_interpreter, "a script whose interpreter is not there: 127"),
    case!(5, no_loader, "a program whose loader is not there (glibc's, in Alpine): 127"),
    case!(1, foreign, "a program for another machine: 126"),
    case!(1, foreign_interpreter, "a script whose interpreter is for another machine: 126"),
    case!(3, no_self, "no /proc/self/exe: 125, and the command is not started"),
    case!(
        9,
        masked_proc,
        "a /proc of which parts are covered, as in Docker: 125, and where to look"
    ),
    case!(5, rootfs_missing, "no root file system: 125, and the cure" => |lab| rootfs(lab, "no-rootfs", 125)),
    case!(5, rootfs_is_a_file, "the root file system is a file: 125"),
    case!(9, closed_home, "the root file system is in a home that is closed to others"),
    case!(
        5,
        cures,
        "an error says what was tried, on what, why, and a cure only where that is one"
    ),
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
    case!(1, umask, "the caller's umask does not arrive: 022", BESIDES),
    case!(1, oom_score, "the caller's oom_score_adj, -500, does not arrive", BESIDES),
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

fn no_interpreter(lab: &Lab) -> Outcome {
    file(lab, "#!/no/such/interpreter\\n", "755")?;
    command(lab, "/f", 127)
}

fn no_loader(lab: &Lab) -> Outcome {
    if lab.host.run("ls rootfs/lib64/ld-linux* rootfs/lib/ld-linux*")?.stdout.contains("ld-") {
        return not_applicable("this root file system has glibc's loader");
    }
    lab.set_up("cp /bin/true rootfs/f")?;
    command(lab, "/f", 127)
}

/// The head of an ELF file for a machine that does not exist.
fn foreign_program(lab: &Lab) -> Outcome {
    let zeros = |count| "\\000".repeat(count);
    let head = "\\177ELF\\002\\001\\001";
    file(lab, &format!("{head}{}\\002\\000\\255\\255\\001{}", zeros(9), zeros(43)), "755")
}

fn foreign(lab: &Lab) -> Outcome {
    foreign_program(lab)?;
    command(lab, "/f", 126)
}

fn foreign_interpreter(lab: &Lab) -> Outcome {
    foreign_program(lab)?;
    lab.set_up("printf '#!/f\\n' >g; chmod 755 g; cp -p g rootfs/g; mv g /g")?;
    command(lab, "/g", 126)
}

/// The container's command on a host whose /proc is not as it should be.
fn with_proc(lab: &Lab, change: &str) -> Result<Output> {
    let script = format!("exec unshare --mount sh -c '{change} && exec \"$@\"' sh \"$@\"");
    let out = lab.around(&script, &["echo", "started"])?;
    hold(!out.stdout.contains("started"), || "the command was started".into())?;
    same("status", out.status, 125)?;
    Ok(out)
}

fn no_self(lab: &Lab) -> Outcome {
    with_proc(lab, "mount -t tmpfs none /proc").map(drop)
}

fn masked_proc(lab: &Lab) -> Outcome {
    lab.only_steps()?;
    let out = with_proc(lab, "mount -t tmpfs none /proc/fs")?;
    hold(out.stderr.contains("cannot mount /proc: ") && out.stderr.contains("doctor"), || {
        out.stderr
    })
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

fn closed_home(lab: &Lab) -> Outcome {
    only_root("the home is another user's")?;
    lab.set_up("mkdir -m 700 home; mv rootfs home; chown -R 1000:1000 home")?;
    let out = lab.run_with(&Options::rootfs("home/rootfs"), "exit 7")?;
    hold(out.status == 7, || format!("status {}: {}", out.status, out.stderr))
}

fn cures(lab: &Lab) -> Outcome {
    lab.only_steps()?;
    lab.host.run("> a-file")?;
    let said = |rootfs: &str| -> Result<String> {
        let out = lab.run_with(&Options::rootfs(rootfs), "true")?;
        Ok(out.stderr.lines().last().unwrap_or_default().to_string())
    };
    let has = |text: &str, words: &[&str]| {
        hold(words.iter().all(|word| text.contains(word)), || format!("not {words:?}: {text}"))
    };
    let missing = said("no-rootfs")?;
    has(&missing, &["cannot enter", "\"no-rootfs\"", "No such file", "(run ./rootfs-fetch.sh"])?;
    let file = said("a-file")?;
    has(&file, &["cannot enter", "\"a-file\"", "Not a directory"])?;
    hold(!file.contains('('), || format!("a cure that is none: {file}"))?;
    let not_there = output(&mut lab.host.command(lab.argv(&["nope"])))?.stderr;
    has(&not_there, &["cannot run \"nope\"", "No such file"])?;
    hold(!not_there.contains("(run"), || format!("a cure that is none: {not_there}"))?;
    let by_a_user = output(&mut lab.host.learner(lab.argv(&["true"])))?.stderr;
    has(&by_a_user, &["cannot", "(use sudo"])
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

fn umask(lab: &Lab) -> Outcome {
    for mask in ["000", "077"] {
        let out = lab.around(&format!("umask {mask}; exec \"$@\""), &["sh", "-c", "umask"])?;
        same("umask", out.stdout.as_str(), "0022\n")?;
    }
    Ok(())
}

fn oom_score(lab: &Lab) -> Outcome {
    only_root("only root spares itself")?;
    if lab.host.run("echo -500 >/proc/self/oom_score_adj")?.status != 0 {
        return not_applicable("this machine's root may not spare itself (CAP_SYS_RESOURCE)");
    }
    let script = "echo -500 >/proc/self/oom_score_adj; exec \"$@\"";
    let out = lab.around(script, &["sh", "-c", "cat /proc/self/oom_score_adj 2>&1; exit 7"])?;
    hold(out.status == 7 && !out.stdout.contains("-500"), || out.stdout)
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
