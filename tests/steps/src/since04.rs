//! What holds from step 04 on: PID 1 is an init, and the runner takes the container along.

use classroom::Result;
use classroom::Session;
use classroom::normal;
use classroom::output;
use classroom::until;

use crate::*;

tests! { TESTS:
    the_child_is_process_1, a_signal_to_the_runner_ends_the_container, the_command_may_handle_sigterm,
    an_early_sigterm_ends_the_container, when_the_runner_is_killed_the_container_dies,
    when_the_runner_is_killed_early_the_container_dies, orphans_are_reaped,
    the_status_is_the_commands_and_not_an_orphans, the_container_ends_with_its_command,
    the_runner_survives_ctrl_c, a_process_has_two_numbers, a_caller_that_ignores_sigchld_makes_nothing_hang,
    a_strange_caller_changes_nothing,
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

/// SIGTERM and SIGHUP to the runner end the container; so do SIGINT and SIGQUIT where there is no
/// terminal that would have sent them to everybody. (The command is no shell: dash goes on after a
/// SIGINT that its child has not got.)
fn a_signal_to_the_runner_ends_the_container(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    for (signal, status) in [("TERM", 143), ("HUP", 129), ("INT", 130), ("QUIT", 131)] {
        let mut session = start_cat(host, &[])?;
        host.run(&format!("kill -{signal} {}", runner(&mut session)?))?;
        assert_eq!(session.outcome()?.status, status, "after {signal}");
        assert_eq!(before, traces(host)?, "after {signal}");
    }
    Ok(())
}

fn the_command_may_handle_sigterm(host: &Lab) -> Result<()> {
    let script = "trap 'echo bye; exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let mut session = start(host, &["sh", "-c", script])?;
    session.wait_for("up\n")?;
    host.run(&format!("kill -TERM {}", runner(&mut session)?))?;
    let end = session.outcome()?;
    assert_eq!((end.stdout.as_str(), end.status), ("up\nbye\n", 7));
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
    session.ask("for i in 1 2 3 4 5; do sh -c 'true & true & sh -c \"true & true\" & :'; done")?;
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

/// A command that handles Ctrl-C goes on, and so does the runner; its own status counts.
fn the_runner_survives_ctrl_c(host: &Lab) -> Result<()> {
    let script = "trap 'echo caught' INT; echo up; while ! read -r line; do :; done; exit 5";
    let mut terminal = Session::on_terminal(&mut host.terminal(argv(&["sh", "-c", script])))?;
    terminal.wait_for("up\r\n")?;
    for _ in 0..2 {
        terminal.send("\x03")?;
        terminal.wait_for("caught")?;
    }
    terminal.send("go\n")?;
    assert_eq!(terminal.finish()?.status, 5);
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

fn a_caller_that_ignores_sigchld_makes_nothing_hang(host: &Lab) -> Result<()> {
    let env = ["env", "--ignore-signal=CHLD"];
    let ran = output(&mut host.command([&env[..], &argv(&["sh", "-c", "exit 3"])].concat()))?;
    assert_eq!((ran.status, host.errors(&ran).as_str()), (3, ""));
    let ran = output(&mut host.command([&env[..], &argv(&["no-such-command"])].concat()))?;
    assert_eq!(ran.status, 127);
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
        let argv = [&["env", option][..], &crate::argv(&["sh", "-c", "exit 3"])].concat();
        assert_eq!(output(&mut host.command(argv))?.status, 3, "{option}");
    }
    Ok(())
}
