//! Signals to the runner, to the command, and the state that the command starts with.

use classroom::error::Attempt;
use classroom::root::quoted;
use classroom::{Session, until};

use crate::lab::{Lab, Options, around};
use crate::{Case, Failure, Outcome, Result, hold, same};

const GROUP: &str = "signals";

pub const CASES: &[Case] = &[
    case!(4, sigterm, "SIGTERM to the runner ends the command: 143" => |lab| ends(lab, "TERM", 143)),
    case!(4, sigterm_trapped, "SIGTERM to the runner reaches a handler; its status is passed on"
        => |lab| trapped(lab, "TERM")),
    case!(4, sigint, "SIGINT to the runner, no terminal: 130" => |lab| ends(lab, "INT", 130)),
    case!(4, sigint_trapped, "SIGINT to the runner, no terminal, reaches a handler" => |lab| trapped(lab, "INT")),
    case!(4, sighup, "SIGHUP to the runner: 129" => |lab| ends(lab, "HUP", 129)),
    case!(4, sigquit, "SIGQUIT to the runner: 131" => |lab| ends(lab, "QUIT", 131)),
    case!(4, sigusr1, "SIGUSR1 to the runner ends the command: 138" => |lab| ends(lab, "USR1", 138)),
    case!(
        4,
        every_signal,
        "SIGUSR1, SIGUSR2, SIGALRM, SIGXCPU and the like to the runner reach a handler"
    ),
    case!(4, sigcont, "SIGCONT and SIGWINCH, from a process, reach a handler"),
    case!(
        4,
        real_time_signal,
        "a real-time signal to the runner ends all of it (168), or nothing: nothing is left"
    ),
    case!(4, sigterm_ignored, "a command that ignores SIGTERM goes on, and so does the runner"),
    case!(4, many_sigterms, "200 SIGTERMs in a row do no harm"),
    case!(4, ctrl_c, "Ctrl-C on a terminal ends the command: 130"),
    case!(4, ctrl_c_once, "Ctrl-C reaches a handler in the command, once"),
    case!(4, ctrl_c_redirected, "the same where stdin is not the terminal"),
    case!(4, ctrl_c_without, "Ctrl-C where no stream is the terminal: 130"),
    case!(
        4,
        sigint_at_a_terminal,
        "SIGINT to the runner, from a process, at a terminal reaches a handler, once"
    ),
    case!(4, ctrl_backslash, "Ctrl-\\ on a terminal ends the command: 131"),
    case!(4, ctrl_z, "Ctrl-Z stops runner and command, fg continues both"),
    case!(
        4,
        terminal_back,
        "a script can read from its terminal again when a shell inside has ended",
        "guide: the terminal"
    ),
    case!(4, sigwinch, "a new size of the terminal is seen inside, with SIGWINCH"),
    case!(4, runner_killed, "SIGKILL of the runner: nothing survives"),
    case!(4, runner_killed_early, "SIGKILL 0-5 ms after the start, 500 times: nothing survives"),
    case!(4, runner_termed_early, "SIGTERM 0-5 ms after the start, 500 times: 143 or ended by it"),
    case!(4, init_killed, "SIGKILL of PID 1 from the host: the runner says 137"),
    case!(4, init_unkillable, "SIGKILL of PID 1 from inside does nothing"),
    case!(4, kill_all_inside, "`kill -TERM -1` inside harms nobody outside"),
    case!(4, sigchld_ignored, "the caller ignores SIGCHLD: the status is still passed on"),
    case!(6, clean_ignored, "the caller ignores SIGCHLD, SIGPIPE, SIGTERM: the command does not"),
    case!(6, clean_blocked, "the caller blocks signals: the command starts with none blocked"),
    case!(4, blocked_sigterm, "the caller blocks SIGTERM: the runner still passes it on"),
    case!(5, sigpipe, "a writer inside is ended by SIGPIPE"),
];

/// Waits for a signal, by default.
const WAITS: &str = "echo ready; exec sleep 7777";

/// Has a handler, and waits. (Not `sleep &` and `wait`: that needs /dev/null.)
fn traps(signal: &str) -> String {
    format!("trap 'echo caught; exit 42' {signal}; echo ready; while :; do sleep 0.05; done")
}

fn ends(lab: &Lab, signal: &str, want: i32) -> Outcome {
    let running = lab.start(WAITS)?;
    running.signal(signal)?;
    same("status", running.finish()?.status, want)
}

fn trapped(lab: &Lab, signal: &str) -> Outcome {
    let running = lab.start(&traps(signal))?;
    running.signal(signal)?;
    let out = running.finish()?;
    same("outcome", (out.stdout.as_str(), out.status), ("ready\ncaught\n", 42))
}

/// Sends signals, one after the other, each when the handler has said that the one before has come.
fn all_trapped(lab: &Lab, signals: &[u8]) -> Outcome {
    let list: Vec<String> = signals.iter().map(u8::to_string).collect();
    let script = format!(
        "for n in {}; do trap \"echo caught $n\" $n; done; trap 'exit 42' TERM; echo ready; \
         while :; do sleep 0.05; done",
        list.join(" ")
    );
    let mut running = lab.start(&script)?;
    for number in list {
        running.signal(&number)?;
        running.session.wait_for(&format!("caught {number}\n"))?;
    }
    running.signal("TERM")?;
    same("status", running.finish()?.status, 42)
}

/// By their numbers on amd64 and arm64: USR1, USR2, ALRM, STKFLT, URG, XCPU, XFSZ, VTALRM, PROF, IO, PWR.
fn every_signal(lab: &Lab) -> Outcome {
    all_trapped(lab, &[10, 12, 14, 16, 23, 24, 25, 26, 27, 29, 30])
}

fn sigcont(lab: &Lab) -> Outcome {
    all_trapped(lab, &[18, 28])
}

fn real_time_signal(lab: &Lab) -> Outcome {
    for signal in [34, 40, 64] {
        let mut running = lab.start("echo ready; read x; exit 5")?;
        running.signal(&signal.to_string())?;
        _ = running.session.send("go on\n"); // there may be nobody any more
        let status = running.finish()?.status;
        if status != 5 {
            same("status", status, 128 + signal)?;
        }
        lab.nothing_is_left()?;
    }
    Ok(())
}

fn sigterm_ignored(lab: &Lab) -> Outcome {
    let mut running = lab.start("trap '' TERM; echo ready; read x; echo still here; exit 5")?;
    running.signal("TERM")?;
    running.session.send("go on\n")?;
    let out = running.finish()?;
    same("outcome", (out.stdout.as_str(), out.status), ("ready\nstill here\n", 5))
}

fn many_sigterms(lab: &Lab) -> Outcome {
    let mut running = lab.start("trap '' TERM; echo ready; read x; exit 5")?;
    let script =
        format!("i=0; while [ $i -lt 200 ]; do kill -TERM {}; i=$((i+1)); done", running.pid);
    same("signals", lab.host.run(&script)?.status, 0)?;
    running.session.send("go on\n")?;
    same("status", running.finish()?.status, 5)
}

fn on_terminal(lab: &Lab, script: &str) -> Result<Session> {
    let mut session = lab.on_terminal(Options::default(), &["sh", "-c", script])?;
    session.wait_for("ready\r\n")?;
    until_all_wait(lab, script)?;
    Ok(session)
}

/// The command runs, but whoever has started it may not be that far: what comes before it waits for signals, it takes
/// for something that came before the command.
fn until_all_wait(lab: &Lab, script: &str) -> Outcome {
    Ok(until("runner and command wait", || {
        let all = lab.host.processes();
        all.iter().filter(|(_, args)| args.ends_with(script)).all(|(pid, _)| {
            let status = lab.host.read(&format!("/proc/{pid}/status")).unwrap_or_default();
            status.contains("State:\tS")
        })
    })?)
}

fn ctrl_c(lab: &Lab) -> Outcome {
    let mut session = on_terminal(lab, WAITS)?;
    // The key is for sleep: the shell that is about to become it does what it likes with it.
    until("sleep runs", || !lab.pids_of("sleep 7777").is_empty())?;
    session.send("\x03")?;
    same("status", session.finish()?.status, 130)
}

fn ctrl_c_once(lab: &Lab) -> Outcome {
    let script = "n=0; trap 'n=$((n+1)); echo caught $n' INT; echo ready; read x; read x; exit 5";
    let mut session = on_terminal(lab, script)?;
    session.send("\x03")?;
    session.wait_for("caught 1")?;
    // Were there a second one, it would be here before the answer to this line.
    session.send("\n\n\n")?;
    let out = session.finish()?;
    hold(!out.stdout.contains("caught 2"), || format!("twice: {}", out.stdout))?;
    same("status", out.status, 5)
}

/// Counts SIGINTs until SIGUSR1 comes. That goes the way through the runner: a second SIGINT that went this way,
/// too, would be here first.
const COUNTS: &str = "n=0; trap 'n=$((n+1)); echo caught $n' INT; trap 'exit 5' USR1; echo ready; \
    while :; do sleep 0.05; done";

/// [`COUNTS`], on a terminal, by a shell that does something with the streams first; the runner's number.
fn counting(lab: &Lab, streams: &str) -> Result<(Session, String)> {
    let options = Options { terminal: true, ..Options::default() };
    let script = format!("echo $$ >pid; exec \"$@\" {streams}");
    let argv = around(&script, lab.with(&options, &["sh", "-c", COUNTS])?);
    let mut session = Session::on_terminal(&mut lab.host.terminal(argv))?;
    session.wait_for("ready\r\n")?;
    until_all_wait(lab, COUNTS)?;
    Ok((session, lab.host.read("/workshop/pid")?.trim().to_string()))
}

fn once(lab: &Lab, mut session: Session, pid: &str) -> Outcome {
    session.wait_for("caught 1")?;
    lab.host.run(&format!("kill -USR1 {pid}"))?;
    let out = session.finish()?;
    hold(!out.stdout.contains("caught 2"), || format!("twice: {}", out.stdout))?;
    same("status", out.status, 5)
}

fn ctrl_c_redirected(lab: &Lab) -> Outcome {
    let (mut session, pid) = counting(lab, "</dev/null")?;
    session.send("\x03")?;
    once(lab, session, &pid)
}

fn sigint_at_a_terminal(lab: &Lab) -> Outcome {
    let (session, pid) = counting(lab, "")?;
    lab.host.run(&format!("kill -INT {pid}"))?;
    once(lab, session, &pid)
}

fn ctrl_c_without(lab: &Lab) -> Outcome {
    let argv = around("exec \"$@\" </dev/null >out 2>&1", lab.argv(&["sleep", "7777"]));
    let mut session = Session::on_terminal(&mut lab.host.terminal(argv))?;
    until("sleep runs", || !lab.pids_of("sleep 7777").is_empty())?;
    session.send("\x03")?;
    same("status", session.finish()?.status, 130)
}

fn ctrl_backslash(lab: &Lab) -> Outcome {
    let mut session = on_terminal(lab, &format!("ulimit -c 0; {WAITS}"))?;
    until("sleep runs", || !lab.pids_of("sleep 7777").is_empty())?;
    session.send("\x1c")?;
    same("status", session.finish()?.status, 131)
}

/// An interactive shell makes its own process group the terminal's.
fn terminal_back(lab: &Lab) -> Outcome {
    let options = Options { terminal: true, ..Options::default() };
    let script = "\"$@\"; echo ended; read x && echo got $x";
    let argv = around(script, lab.with(&options, &["sh", "-i"])?);
    let mut session = Session::on_terminal(&mut lab.host.terminal(argv))?;
    session.wait_for("# ")?;
    session.send("exit\n")?;
    session.wait_for("ended\r\n")?;
    // Nobody takes it where reading has failed already.
    _ = session.send("a line\n");
    let out = session.outcome()?.stdout;
    hold(out.contains("got a line"), || format!("nothing could be read: {out:?}"))
}

fn ctrl_z(lab: &Lab) -> Outcome {
    lab.not_locks("a terminal of its own: Ctrl-Z is for the shell inside, as with ssh")?;
    let file = "/workshop/start";
    let options = Options { terminal: true, ..Options::default() };
    let script = "echo ready; read x; echo got $x; exit 5";
    let command = ["sh", "-c", script];
    let line = around("\"$@\"", lab.with(&options, &command)?);
    let words: Vec<String> = line.iter().map(|arg| quoted(&arg.to_string_lossy())).collect();
    let text = format!("exec {}\n", words.join(" "));
    std::fs::write(lab.host.path(file), text).attempt("write a script")?;
    let mut shell = Session::on_terminal(&mut lab.host.terminal(["sh", "-i"]))?;
    shell.send(format!("sh {file}\n"))?;
    shell.wait_for("ready\r\n")?;
    shell.send("\x1a")?;
    shell.wait_for("Stopped")?;
    shell.wait_for("# ")?;
    // The shell has waited for the runner only: the command may be about to stop, and take what is typed until then.
    until("the command is stopped", || {
        let pids = lab.pids_of(&command.join(" "));
        let state = |pid: &u32| lab.host.read(&format!("/proc/{pid}/stat")).unwrap_or_default();
        !pids.is_empty() && pids.iter().all(|pid| state(pid).contains(") T "))
    })?;
    shell.send("fg\n")?;
    shell.wait_for("fg\r\n")?;
    // What is typed from now on is for the runner: the shell names it, and does not read any more.
    shell.wait_for("start\r\n")?;
    shell.send("a line\n")?;
    shell.wait_for("got a line")?;
    shell.send("echo status=$?\n")?;
    shell.wait_for("status=5")?;
    shell.send("exit\n")?;
    shell.finish()?;
    Ok(())
}

fn sigwinch(lab: &Lab) -> Outcome {
    let script = "trap 'stty size' WINCH; echo ready; while :; do sleep 0.05; done";
    let mut session = on_terminal(lab, script)?;
    session.resize(33, 111)?;
    session.wait_for("33 111")?;
    session.send("\x03")?;
    session.finish()?;
    Ok(())
}

fn runner_killed(lab: &Lab) -> Outcome {
    lab.cgroups_may_stay(true);
    let running = lab.start("(sleep 7777) & (setsid sleep 8888) & echo ready; sleep 9999")?;
    until("all run", || !lab.pids_of("sleep 8888").is_empty())?;
    running.signal("KILL")?;
    running.finish()?;
    lab.nothing_is_left()
}

/// In parts, each of which has the deadline of a test to itself.
fn early(lab: &Lab, signal: &str) -> Result<String> {
    let script = format!("exec {} {signal} 100 5000 1 \"$@\"", lab.helper()?);
    (0..5).map(|_| Ok(lab.around(&script, &["sleep", "7777"])?.stdout)).collect()
}

fn runner_killed_early(lab: &Lab) -> Outcome {
    lab.cgroups_may_stay(true);
    same("outcomes", early(lab, "SIGKILL")?, "signal 9: 100\n".repeat(5))
}

fn runner_termed_early(lab: &Lab) -> Outcome {
    let outcomes = early(lab, "SIGTERM")?;
    let odd = |line: &&str| !line.starts_with("exit 143: ") && !line.starts_with("signal 15: ");
    let odd: Vec<&str> = outcomes.lines().filter(odd).collect();
    hold(odd.is_empty() && !outcomes.is_empty(), || format!("{odd:?}"))
}

fn init_killed(lab: &Lab) -> Outcome {
    let running = lab.start(WAITS)?;
    // On the host it has that number, and in its namespace the number 1. The runner's own host has a PID 1 as well.
    let is_init = |pid: &u32| {
        let status = lab.host.read(&format!("/proc/{pid}/status")).unwrap_or_default();
        let numbers = status.lines().find_map(|line| line.strip_prefix("NSpid:"));
        *pid != 1 && numbers.is_some_and(|numbers| numbers.ends_with("\t1"))
    };
    let init = lab.host.processes().into_iter().map(|(pid, _)| pid).find(is_init);
    let init = init.ok_or_else(|| Failure::NotHeld("there is no PID 1".into()))?;
    lab.host.run(&format!("kill -KILL {init}"))?;
    same("status", running.finish()?.status, 137)
}

fn init_unkillable(lab: &Lab) -> Outcome {
    let out = lab.run("kill -KILL 1; kill -STOP 1; echo alive; exit 7")?;
    same("outcome", (out.stdout.as_str(), out.status), ("alive\n", 7))
}

fn kill_all_inside(lab: &Lab) -> Outcome {
    let mut victim = Session::start(&mut lab.host.command(["cat"]))?;
    lab.run("kill -TERM -1; exit 3")?;
    victim.send("alive\n")?;
    victim.wait_for("alive\n")?;
    same("the host's process", victim.finish()?.status, 0)
}

fn sigchld_ignored(lab: &Lab) -> Outcome {
    let script = "env --ignore-signal=CHLD \"$@\"";
    same("status", lab.around(script, &["sh", "-c", "exit 7"])?.status, 7)
}

/// Only what the caller ignores on purpose: whoever runs the tests may ignore more.
fn clean_ignored(lab: &Lab) -> Outcome {
    let script = "exec env --ignore-signal=CHLD,PIPE,TERM,INT,HUP,QUIT \"$@\"";
    let out = lab.around(script, &["grep", "SigIgn", "/proc/self/status"])?;
    let mask = out.stdout.split_whitespace().nth(1).and_then(|s| u64::from_str_radix(s, 16).ok());
    let ours = [1, 2, 3, 13, 15, 17].map(|signal: u64| 1 << (signal - 1)).iter().sum::<u64>();
    hold(mask.is_some_and(|mask| mask & ours == 0), || out.stdout)
}

fn clean_blocked(lab: &Lab) -> Outcome {
    let script = "exec env --block-signal \"$@\"";
    let out = lab.around(script, &["grep", "SigBlk", "/proc/self/status"])?;
    same("blocked", out.stdout.as_str(), "SigBlk:\t0000000000000000\n")
}

fn blocked_sigterm(lab: &Lab) -> Outcome {
    let script = "echo $$ >pid; exec env --block-signal \"$@\"";
    let argv = around(script, lab.argv(&["sh", "-c", WAITS]));
    let mut session = Session::start(&mut lab.host.command(argv))?;
    session.wait_for("ready\n")?;
    lab.host.run(&format!("kill -TERM {}", lab.host.read("/workshop/pid")?.trim()))?;
    // One that holds it for ever must not cost a minute.
    let pid = lab.host.read("/workshop/pid")?;
    lab.host
        .run(&format!("timeout 10 tail --pid={0} -f /dev/null || kill -KILL {0}", pid.trim()))?;
    same("status", session.finish()?.status, 143)
}

fn sigpipe(lab: &Lab) -> Outcome {
    let out = lab.run("{ yes; echo $? >&2; } | head -n 1")?;
    hold(out.stderr.ends_with("141\n"), || out.stderr)
}
