//! What the command reads and writes, and what else it has open.

use std::fs;

use classroom::error::Attempt;
use classroom::{Session, output};

use crate::lab::{Lab, Options, around};
use crate::{Case, Outcome, hold, same};

const GROUP: &str = "streams";

pub const CASES: &[Case] = &[
    case!(1, stdout_byte_exact, "stdout is the command's alone, byte by byte"),
    case!(1, stderr_apart, "stderr of the command is not mixed into stdout"),
    case!(1, ten_mebibytes, "10 MiB through stdin to stdout"),
    case!(1, all_closed, "stdin, stdout and stderr closed: the command runs"),
    case!(1, stderr_full, "stderr on a full disk: the command runs"),
    case!(1, stdout_full, "stdout on a full disk: the command is told"),
    case!(1, reader_gone, "`yes | head -1`: the reader goes, the container ends"),
    case!(7, terminal, "stdin is a terminal: it is one inside, and /dev/tty opens"),
    case!(6, own_descriptors, "no descriptor of the runner reaches the command"),
    case!(
        6,
        inherited_descriptors,
        "no descriptor that the caller left open reaches the command",
        "exercise 05-fds"
    ),
    case!(
        7,
        inherited_directory,
        "an inherited directory of the host is no way out (CVE-2024-21626)",
        "exercise 05-fds"
    ),
    case!(
        7,
        init_directory,
        "nor is one that PID 1 has inherited, /proc/1/fd",
        "exercise 10-locks"
    ),
    case!(
        7,
        terminal_mode,
        "what is set on the terminal inside is gone afterwards",
        "guide: the terminal"
    ),
    case!(7, terminal_after_kill, "SIGKILL of the runner: the terminal is left as it was"),
    case!(
        7,
        dev_tty,
        "with its streams redirected, the caller's terminal is not /dev/tty",
        "guide: the terminal"
    ),
];

fn stdout_byte_exact(lab: &Lab) -> Outcome {
    let octal: String = (0..=255).map(|byte| format!("\\{byte:03o}")).collect();
    let script = format!("printf '{octal}'");
    lab.around("\"$@\" >out", &["sh", "-c", &script])?;
    let got = fs::read(lab.host.path("/workshop/out")).attempt("read out")?;
    same("bytes", got, (0..=255).collect::<Vec<u8>>())
}

fn stderr_apart(lab: &Lab) -> Outcome {
    let out = lab.run("echo out; echo err >&2")?;
    same("stdout", out.stdout.as_str(), "out\n")?;
    hold(out.stderr.ends_with("err\n"), || out.stderr)
}

fn ten_mebibytes(lab: &Lab) -> Outcome {
    let sent: Vec<u8> =
        (0..10_485_760u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    fs::write(lab.host.path("/workshop/in"), &sent).attempt("write in")?;
    lab.around("cat in | \"$@\" | cat >out", &["cat"])?;
    let got = fs::read(lab.host.path("/workshop/out")).attempt("read out")?;
    hold(got == sent, || format!("{} bytes came of {}", got.len(), sent.len()))
}

fn all_closed(lab: &Lab) -> Outcome {
    let out = lab.around("\"$@\" <&- >&- 2>&-; echo $?", &["sh", "-c", "exit 7"])?;
    same("status", out.stdout.as_str(), "7\n")
}

fn stderr_full(lab: &Lab) -> Outcome {
    let out = lab.around("\"$@\" 2>/dev/full; echo $?", &["sh", "-c", "exit 7"])?;
    same("status", out.stdout.as_str(), "7\n")
}

fn stdout_full(lab: &Lab) -> Outcome {
    let out = lab.around("\"$@\" >/dev/full; echo $?", &["sh", "-c", "echo x || exit 7"])?;
    same("status", out.stdout.as_str(), "7\n")
}

fn reader_gone(lab: &Lab) -> Outcome {
    let out = lab.around("\"$@\" | head -n 1", &["yes"])?;
    same("stdout", out.stdout.as_str(), "y\n")
}

fn terminal(lab: &Lab) -> Outcome {
    let script = "test -t 0 && test -t 1 && echo 'on the terminal' >/dev/tty && echo ok";
    let out = lab.on_terminal(Options::default(), &["sh", "-c", script])?.finish()?;
    hold(out.stdout.contains("on the terminal") && out.stdout.contains("ok"), || out.stdout)
}

/// Whoever runs the tests may have left something open. That is the caller's, and the next case.
fn own_descriptors(lab: &Lab) -> Outcome {
    let list = ["ls", "/proc/self/fd"];
    let out = output(&mut lab.host.command(lab.argv(&list)))?;
    let callers = output(&mut lab.host.command(list))?.stdout;
    let more = out.stdout.lines().filter(|fd| !callers.lines().any(|own| own == *fd));
    same("status", out.status, 0)?;
    same("descriptors", more.collect::<Vec<_>>(), Vec::<&str>::new())
}

fn inherited_descriptors(lab: &Lab) -> Outcome {
    let out = lab.around("exec 7</etc/passwd 9</; exec \"$@\"", &["ls", "/proc/self/fd"])?;
    let open: Vec<&str> = out.stdout.lines().filter(|fd| ["7", "9"].contains(fd)).collect();
    same("status", out.status, 0)?;
    same("descriptors", open, Vec::<&str>::new())
}

fn inherited_directory(lab: &Lab) -> Outcome {
    let script = "ls /proc/self/fd/9/workshop /proc/self/fd/9/../workshop";
    let out = lab.around("exec 9</; exec \"$@\"", &["sh", "-c", script])?;
    hold(!out.stdout.contains("rootfs"), || "the host's /workshop is listed inside".into())
}

fn init_directory(lab: &Lab) -> Outcome {
    let script = "ls /proc/1/fd/9/workshop; exit 7";
    let out = lab.around("exec 9</; exec \"$@\"", &["sh", "-c", script])?;
    same("status", out.status, 7)?;
    hold(!out.stdout.contains("rootfs"), || "the host's /workshop is listed inside".into())
}

fn terminal_mode(lab: &Lab) -> Outcome {
    let options = Options { terminal: true, ..Options::default() };
    let argv = lab.with(&options, &["stty", "rows", "7", "-echo"])?;
    let script = "stty rows 24; \"$@\"; echo \"now $(stty size) $(stty -a | grep -ow -e -echo)\"";
    let out = Session::on_terminal(&mut lab.host.terminal(around(script, argv)))?.finish()?;
    let now = out.stdout.lines().find(|line| line.starts_with("now ")).unwrap_or_default();
    hold(now.starts_with("now 24 ") && !now.contains("-echo"), || out.stdout.clone())
}

fn dev_tty(lab: &Lab) -> Outcome {
    let argv = lab.argv(&["sh", "-c", "echo inside >/dev/tty; exit 7"]);
    let script = "\"$@\" </dev/null >out 2>&1; echo status $?";
    let out = Session::on_terminal(&mut lab.host.terminal(around(script, argv)))?.finish()?;
    hold(out.stdout.contains("status 7"), || out.stdout.clone())?;
    hold(!out.stdout.contains("inside"), || "it writes on the caller's terminal".into())
}

/// Whoever has made the caller's terminal raw has to be there afterwards, or another for them.
fn terminal_after_kill(lab: &Lab) -> Outcome {
    lab.cgroups_may_stay(true);
    let options = Options { terminal: true, ..Options::default() };
    let argv = lab.with(&options, &["sh", "-c", "echo ready; exec sleep 7777"])?;
    let script = "sh -c 'echo $$ >pid; exec \"$@\"' sh \"$@\"; i=0; \
        while stty -a | grep -qw -e -icanon && [ $i -lt 50 ]; do sleep 0.1; i=$((i+1)); done; \
        echo \"now $(stty -a | grep -ow -e -icanon)\"";
    let mut session = Session::on_terminal(&mut lab.host.terminal(around(script, argv)))?;
    session.wait_for("ready\r\n")?;
    lab.host.run(&format!("kill -KILL {}", lab.host.read("/workshop/pid")?.trim()))?;
    let said = session.wait_for("now ")? + &session.finish()?.stdout;
    hold(!said.contains("now -icanon"), || "it is raw".into())
}
