//! What holds from step 04 on: PID 1 is an init, and the runner takes the container along.

use std::fs;

use classroom::{Result, Session, normal, output, until};

use crate::*;

tests! { TESTS:
    the_child_is_process_1, a_signal_to_the_runner_ends_the_container, the_command_may_handle_any_signal,
    a_real_time_signal_changes_nothing, ctrl_c_arrives_once, an_early_ctrl_c_is_for_the_command,
    the_container_goes_with_its_terminal, a_signal_from_a_process_is_passed_on_at_a_terminal,
    an_orphan_that_a_real_time_signal_ends_is_reaped, a_command_gets_no_signals_ignored_or_blocked,
    an_early_sigterm_ends_the_container, when_the_runner_is_killed_the_container_dies,
    when_the_runner_is_killed_early_the_container_dies, orphans_are_reaped,
    the_status_is_the_commands_and_not_an_orphans, the_container_ends_with_its_command,
    a_process_has_two_numbers, a_strange_caller_changes_nothing,
}

/// The container's command says `up` when it runs.
const WAITING: &str = "echo up; while :; do sleep 1000; done";

fn the_child_is_process_1(host: &Lab) -> Result<()> {
    let ran = run(host, &["sh", "-c", "echo $$ $PPID"])?;
    assert_eq!(ran.stdout, "2 1\n");
    let lines: Vec<_> = ran.stderr.lines().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(!lines[0].ends_with(" as 1") && lines[1].ends_with(" as 1"), "{lines:?}");
    Ok(())
}

/// The signals that end a process which does not handle them, and that are passed on: by number, as shells differ in
/// the names that they know. (1 is HUP, 2 INT, 3 QUIT, 6 ABRT, 10 USR1, 12 USR2, 14 ALRM, 15 TERM, 16 STKFLT, 24 XCPU,
/// 25 XFSZ, 26 VTALRM, 27 PROF, 29 IO, 30 PWR: signal(7).)
const DEADLY: [i32; 15] = [1, 2, 3, 6, 10, 12, 14, 15, 16, 24, 25, 26, 27, 29, 30];

/// (The command is no shell: dash goes on after a SIGINT that its child has not got.)
fn a_signal_to_the_runner_ends_the_container(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    for signal in DEADLY {
        let mut session = start_cat(host, &[])?;
        host.run(&format!("kill -{signal} {}", runner(&mut session)?))?;
        assert_eq!(session.outcome()?.status, 128 + signal, "after signal {signal}");
        assert_eq!(before, traces(host)?, "after signal {signal}");
    }
    Ok(())
}

/// Also those that would do nothing to it: 18 is CONT, 28 WINCH.
fn the_command_may_handle_any_signal(host: &Lab) -> Result<()> {
    for signal in DEADLY.into_iter().chain([18, 28]) {
        let script =
            format!("trap 'echo bye; exit 7' {signal}; echo up; while :; do sleep 0.01; done");
        let mut session = start(host, &["sh", "-c", &script])?;
        session.wait_for("up\n")?;
        host.run(&format!("kill -{signal} {}", runner(&mut session)?))?;
        let end = session.outcome()?;
        assert_eq!((end.stdout.as_str(), end.status), ("up\nbye\n", 7), "signal {signal}");
    }
    Ok(())
}

/// No safe function sends one, so it cannot be passed on. It does not end half of the container, either.
fn a_real_time_signal_changes_nothing(host: &Lab) -> Result<()> {
    for signal in [34, 40, 64] {
        let mut session = start_cat(host, &[])?;
        host.run(&format!("kill -{signal} {}", runner(&mut session)?))?;
        session.send("after it\n")?;
        session.wait_for("after it\n")?;
        session.close();
        assert_eq!(session.outcome()?.status, 0, "after signal {signal}");
    }
    Ok(())
}

/// The terminal sends it to everybody in the foreground, and nobody sends it once more. A command that has left the
/// foreground has not got it: it is passed on. That it reads from elsewhere than the terminal makes no difference. A
/// command that handles it goes on, and so does the runner; its own status counts.
fn ctrl_c_arrives_once(host: &Lab) -> Result<()> {
    let counting = "n=0; trap 'n=$((n+1)); echo caught:$n' INT; echo up
        while ! read -r line; do :; done; echo got:$n; exit 5";
    let rootfs = if host.step < 5 { "" } else { "/workshop/rootfs" };
    fs::write(host.path(&format!("{rootfs}/counting")), counting).expect("cannot write a script");
    host.run("mkfifo fifo")?;
    for leaves in ["", "setsid "] {
        let line = format!("exec ./step run {leaves}sh /counting <fifo");
        let mut terminal = Session::on_terminal(&mut host.terminal(["sh", "-c", &line]))?;
        let mut fifo = host.shell()?;
        fifo.ask("exec 3>fifo")?;
        terminal.wait_for("up\r\n")?;
        let all_wait = || {
            let halves =
                host.processes().into_iter().filter(|(_, args)| args.ends_with("/counting"));
            let waiting = halves.filter(|(pid, _)| {
                let status = host.read(&format!("/proc/{pid}/status")).unwrap_or_default();
                let blocked = status.lines().find(|line| line.starts_with("SigBlk:"));
                // Only real-time signals, the upper half, stay blocked.
                status.contains("State:\tS") && blocked.is_some_and(|set| set.ends_with("00000000"))
            });
            // The third is the command.
            waiting.count() == 3
        };
        for caught in 1..=2 {
            until("the runner and its child wait for signals", all_wait)?;
            terminal.send("\x03")?;
            terminal.wait_for(&format!("caught:{caught}"))?;
        }
        fifo.ask("echo go >&3")?;
        terminal.wait_for("got:2\r\n")?;
        assert_eq!(terminal.outcome()?.status, 5);
        fifo.finish()?;
    }
    Ok(())
}

/// The command that does not run yet cannot get it: whoever has it keeps it for the command.
fn an_early_ctrl_c_is_for_the_command(host: &Lab) -> Result<()> {
    for line in ["Running", "as 1"] {
        let mut terminal = Session::on_terminal(&mut host.terminal(argv(&["sleep", "1000"])))?;
        terminal.wait_for(line)?;
        terminal.send("\x03")?;
        assert_eq!(terminal.outcome()?.status, 130, "after {line:?}");
    }
    Ok(())
}

/// A terminal that goes away tells only the leader of its session: here that is the runner.
fn the_container_goes_with_its_terminal(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let line = "exec ./step run sleep 1000";
    let mut script = Session::start(&mut host.command(["script", "-qec", line, "/dev/null"]))?;
    pid(host, "sleep 1000")?;
    host.run(&format!("kill -KILL {}", pid(host, &format!("script -qec {line} /dev/null"))?))?;
    script.outcome()?;
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// … and where there is one, what a process sends is for the command.
fn a_signal_from_a_process_is_passed_on_at_a_terminal(host: &Lab) -> Result<()> {
    for (signal, status) in [("INT", 130), ("QUIT", 131)] {
        let command = argv(&["sh", "-c", "echo up; exec cat"]);
        let mut terminal = Session::on_terminal(&mut host.terminal(command))?;
        terminal.wait_for("up\r\n")?;
        let runner = pids(host, "./step run sh -c echo up; exec cat");
        host.run(&format!("kill -{signal} {}", runner[0]))?;
        assert_eq!(terminal.outcome()?.status, status, "SIG{signal}");
    }
    Ok(())
}

/// Signals of which nix knows no name end orphans as well.
fn an_orphan_that_a_real_time_signal_ends_is_reaped(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh"])?;
    session.ask("sh -c '(kill -40 $(exec sh -c \"echo \\$PPID\")) & :'; for i in 1 2 3; do sh -c 'true & :'; done")?;
    until("the orphans are reaped", || host.processes().len() == 4)?;
    session.send("exit 4\n")?;
    assert_eq!(session.finish()?.status, 4);
    Ok(())
}

/// Whatever the caller has ignored or blocked: the command is to be stopped as ever.
fn a_command_gets_no_signals_ignored_or_blocked(host: &Lab) -> Result<()> {
    let env = ["env", "--ignore-signal=INT", "--ignore-signal=USR1", "--block-signal=TERM"];
    let argv = [&env[..], &argv(&["sleep", "1000"])].concat();
    let mut session = Session::start(&mut host.command(argv))?;
    let status = host.read(&format!("/proc/{}/status", pid(host, "sleep 1000")?))?;
    for mask in ["SigBlk:", "SigIgn:"] {
        let line = status.lines().find(|line| line.starts_with(mask)).expect("a mask");
        let digits = line.rsplit('\t').next().unwrap_or_default();
        // 32 and 33 are the C library's own.
        let others = u64::from_str_radix(digits, 16).expect("a mask") & !(0b11 << 31);
        assert_eq!(others, 0, "{line}");
    }
    host.run(&format!("kill -TERM {}", runner(&mut session)?))?;
    assert_eq!(session.outcome()?.status, 143);
    Ok(())
}

/// However early it comes: before there is a child, a namespace, a handler.
fn an_early_sigterm_ends_the_container(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let script = format!(
        "for delay in 0 0.001 0.002 0.003 0.004 0.006 0.008 0.012; do
            ./step run sh -c '{WAITING}' >/dev/null 2>&1 & sleep $delay
            kill -TERM $!; wait $!; echo $?
        done"
    );
    let ended = host.run(&script)?;
    assert_eq!(ended.stdout, "143\n".repeat(8), "{}", ended.stderr);
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// Nobody can handle SIGKILL: the kernel ends PID 1 when the runner is gone, and all the others.
fn when_the_runner_is_killed_the_container_dies(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh", "-c", WAITING])?;
    session.wait_for("up\n")?;
    assert!(host.processes().len() > 3);
    host.run(&format!("kill -KILL {}", runner(&mut session)?))?;
    assert_eq!(session.outcome()?.status, 137);
    until("the container is gone", || host.processes().len() == 1)?;
    Ok(())
}

/// … also when it is killed before the child could ask for that.
fn when_the_runner_is_killed_early_the_container_dies(host: &Lab) -> Result<()> {
    for delay in ["0", "0.001", "0.002", "0.003", "0.004", "0.006"] {
        host.run(&format!(
            "./step run sh -c '{WAITING}' >/dev/null 2>&1 & sleep {delay}; kill -KILL $!; wait"
        ))?;
        until("the container is gone", || host.processes().len() == 1)?;
    }
    Ok(())
}

fn orphans_are_reaped(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh"])?;
    session.ask("for i in 1 2; do sh -c 'true & true & sh -c \"true & true\" & :'; done")?;
    // Only the runner, the child and the shell are left: the orphans are gone, not zombies.
    until("the orphans are reaped", || host.processes().len() == 4)?;
    assert_eq!(session.ask("echo alive")?, "alive\n");
    session.send("exit 4\n")?;
    assert_eq!(session.finish()?.status, 4);
    Ok(())
}

/// An orphan that ends at the same time as the command does not hide its status.
fn the_status_is_the_commands_and_not_an_orphans(host: &Lab) -> Result<()> {
    let loops = "for i in 1 2 3 4 5 6 7 8; do
        ./step run sh -c 'sh -c \"sh -c \\\"exit 9\\\" & exit 8\" & exit 3' 2>/dev/null; echo $?
    done";
    assert_eq!(host.run(loops)?.stdout, "3\n".repeat(8));
    Ok(())
}

/// With PID 1 all processes of its namespace end: what the command left in the background, too.
fn the_container_ends_with_its_command(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let ran = run(host, &["sh", "-c", "sleep 1000 & exit 3"])?; // it holds stdout and stderr open
    assert_eq!(ran.status, 3);
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// Until there is a /proc of its own, PID numbers inside and in /proc differ.
fn a_process_has_two_numbers(host: &Lab) -> Result<()> {
    let mut session = start(host, &["sh"])?;
    assert_eq!(session.ask("echo $$")?, "2\n");
    let shell = pid(host, "sh")?;
    assert!(shell > 2);
    let status = host.read(&format!("/proc/{shell}/status"))?;
    let numbers = status.lines().find(|line| line.starts_with("NSpid:")).expect("a line NSpid");
    assert_eq!(normal::columns(numbers), format!("NSpid: {shell} 2\n"));
    session.finish()?;
    Ok(())
}

/// A caller may have blocked or ignored what the container relies on.
fn a_strange_caller_changes_nothing(host: &Lab) -> Result<()> {
    for option in ["--block-signal=TERM", "--block-signal=CHLD", "--ignore-signal=CHLD"] {
        let argv = [&["env", option][..], &argv(&["sh", "-c", WAITING])].concat();
        let mut session = Session::start(&mut host.command(argv))?;
        session.wait_for("up\n")?;
        host.run(&format!("kill -TERM {}", runner(&mut session)?))?;
        assert_eq!(session.outcome()?.status, 143, "{option}");
        for (command, status) in [(&["sh", "-c", "exit 3"][..], 3), (&["no-such-command"], 127)] {
            let argv = [&["env", option][..], &crate::argv(command)].concat();
            let ran = output(&mut host.command(argv))?;
            assert_eq!(ran.status, status, "{option}");
            assert_eq!(host.errors(&ran).is_empty(), status == 3, "{option}: {ran:?}");
        }
    }
    Ok(())
}
