//! What holds from step 01 on: the command is the caller's own.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

use classroom::{Result, Session, output, until};

use crate::*;

tests! { TESTS:
    arguments_and_output_pass_intact, the_exit_status_is_the_commands, a_signal_is_128_and_its_number,
    what_cannot_be_run_has_the_status_of_a_shell, wrong_usage_is_status_2, nobody_has_to_read_its_messages,
    nothing_is_left_behind, an_interactive_shell_has_job_control, ctrl_c_ends_the_command,
}

fn arguments_and_output_pass_intact(host: &Lab) -> Result<()> {
    let ran = run(host, &["printf", "%s|", "-n", "--help", "", "two  words", "--", "$HOME"])?;
    assert_eq!(ran.stdout, "-n|--help||two  words|--|$HOME|");
    assert_eq!(ran.status, 0);
    let bytes = OsStr::from_bytes(b"-\xff\xfe");
    let mut command = host.command(argv(&["sh", "-c", "printf %s \"$1\" | od -An -tx1", "sh"]));
    let ran = output(command.arg(bytes))?;
    assert_eq!(ran.stdout.split_whitespace().collect::<Vec<_>>(), ["2d", "ff", "fe"]);
    let ran = host.run("printf '1\\n2\\n' | ./step run cat | tail -n 1")?;
    assert_eq!(ran.stdout, "2\n");
    let ran = host.run("./step run sh -c 'echo out; echo err >&2' 2>/dev/null")?;
    assert_eq!(ran.stdout, "out\n");
    Ok(())
}

fn the_exit_status_is_the_commands(host: &Lab) -> Result<()> {
    let ran = host.run(
        "for status in 0 1 2 42 124 125 126 127 128 255; do
            ./step run sh -c \"exit $status\" 2>/dev/null; echo $status $?
        done",
    )?;
    for line in ran.stdout.lines() {
        let (expected, status) = line.split_once(' ').unwrap();
        assert_eq!(expected, status);
    }
    assert_eq!(ran.stdout.lines().count(), 10);
    Ok(())
}

fn a_signal_is_128_and_its_number(host: &Lab) -> Result<()> {
    let ran = host.run(
        "ulimit -c 0
        for signal in HUP INT ABRT KILL USR1 SEGV TERM; do
            ./step run sh -c \"kill -$signal \\$\\$\" 2>/dev/null; echo $signal $?
        done",
    )?;
    let expected = "HUP 129\nINT 130\nABRT 134\nKILL 137\nUSR1 138\nSEGV 139\nTERM 143\n";
    assert_eq!(ran.stdout, expected);
    Ok(())
}

fn what_cannot_be_run_has_the_status_of_a_shell(host: &Lab) -> Result<()> {
    for (command, status, reason) in [
        ("no-such-command", 127, "No such file or directory"),
        ("/no/such/command", 127, "No such file or directory"),
        ("/etc/passwd", 126, "Permission denied"),
        ("/etc", 126, "Permission denied"),
    ] {
        let ran = run(host, &[command])?;
        let errors = host.errors(&ran);
        assert_eq!(ran.status, status, "{command}: {errors}");
        assert_eq!(errors.lines().count(), 1, "{errors}");
        assert!(errors.starts_with("step: "), "{errors}");
        assert!(errors.contains(&format!("{command:?}")) && errors.contains(reason), "{errors}");
        assert_eq!(ran.stdout, "");
    }
    Ok(())
}

fn wrong_usage_is_status_2(host: &Lab) -> Result<()> {
    for args in ["", "run", "walk", "walk sh", "run --no-such-option sh", "--no-such-option"] {
        let ran = host.run(&format!("./step {args}"))?;
        assert_eq!(ran.status, 2, "{args}: {ran:?}");
        assert!(ran.stderr.contains("Usage: "), "{args}: {ran:?}");
        assert!(!ran.stderr.contains("panicked"), "{args}: {ran:?}");
    }
    for args in ["--help", "run --help", "--version"] {
        let ran = host.run(&format!("./step {args}"))?;
        assert_eq!((ran.status, ran.stderr.as_str()), (0, ""), "{args}");
        assert!(!ran.stdout.contains("child"), "the hidden subcommand shows: {}", ran.stdout);
    }
    Ok(())
}

fn nobody_has_to_read_its_messages(host: &Lab) -> Result<()> {
    for stderr in ["2>&-", "2>/dev/full"] {
        let ran = host.run(&format!("./step run sh -c 'echo out; exit 3' {stderr}"))?;
        assert_eq!((ran.stdout.as_str(), ran.status), ("out\n", 3), "{stderr}");
        let ran = host.run(&format!("./step run no-such-command {stderr}"))?;
        assert_eq!(ran.status, 127, "{stderr}");
    }
    Ok(())
}

/// Afterwards all is as before, whatever became of the command.
fn nothing_is_left_behind(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    for command in ["true", "false", "no-such-command", "/etc"] {
        run(host, &[command])?;
        assert_eq!(before, traces(host)?, "after {command}");
    }
    run(host, &["sh", "-c", "kill -KILL $$"])?;
    assert_eq!(before, traces(host)?, "after SIGKILL");
    Ok(())
}

/// A shell in the container has job control, and Ctrl-C and Ctrl-Z are for what runs in it.
fn an_interactive_shell_has_job_control(host: &Lab) -> Result<()> {
    let mut terminal = Session::on_terminal(&mut host.terminal(["sh", "-i"]))?;
    terminal.wait_for("# ")?;
    terminal.send("./step run sh\n")?;
    terminal.wait_for("Running")?;
    terminal.wait_for("# ")?;
    terminal.send("sh -c 'echo up; while read -r line; do echo got:$line; done'\n")?;
    terminal.wait_for("\nup")?;
    terminal.send("one\n")?;
    terminal.wait_for("got:one")?; // so it is running, and in the foreground
    until_it_reads(host)?;
    terminal.send("\x03")?;
    terminal.wait_for("# ")?;
    terminal.send("sh -c 'echo up; while read -r line; do echo got:$line; done'\n")?;
    terminal.wait_for("\nup")?;
    terminal.send("two\n")?;
    terminal.wait_for("got:two")?;
    terminal.send("\x1a")?;
    terminal.wait_for("# ")?;
    terminal.send("jobs\n")?;
    terminal.wait_for("Stopped")?;
    terminal.wait_for("# ")?;
    terminal.send("fg\n")?;
    terminal.wait_for("sh -c")?;
    terminal.send("three\n")?;
    terminal.wait_for("got:three")?;
    until_it_reads(host)?;
    terminal.send("\x03")?;
    terminal.wait_for("# ")?;
    terminal.send("exit 7\n")?;
    terminal.wait_for("# ")?;
    terminal.send("echo status $?; exit\n")?;
    terminal.wait_for("status ")?;
    let seen = terminal.finish()?.stdout;
    assert!(!seen.contains("job control") && !seen.contains("tty;"), "{seen}");
    // When it ends, dash gives the terminal back to the process group that it was started in. In a
    // new PID namespace that has no number: dash complains, and ends with status 2.
    let dash = host.step >= 4 && seen.contains("Cannot set tty process group");
    assert!(dash || seen.contains("status 7"), "{seen}");
    Ok(())
}

/// Ctrl-C ends a command that does not handle it; the runner says so.
fn ctrl_c_ends_the_command(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let mut terminal = Session::on_terminal(&mut host.terminal(["sh", "-i"]))?;
    terminal.wait_for("# ")?;
    terminal.send("./step run sh -c 'echo up; while read -r line; do echo got:$line; done'\n")?;
    terminal.wait_for("\nup")?;
    terminal.send("line\n")?;
    terminal.wait_for("got:line")?;
    until_it_reads(host)?;
    terminal.send("\x03")?;
    terminal.wait_for("# ")?;
    // In steps 01 and 02 Ctrl-C ends the runner as well, perhaps first: then the command still reads from the terminal.
    let reads = |(_, args): &(u32, String)| args.starts_with("sh -c echo up");
    until("the command has ended", || !host.processes().iter().any(reads))?;
    terminal.send("echo status $?; exit\n")?;
    terminal.wait_for("status 130")?;
    terminal.finish()?;
    assert_eq!(before, traces(host)?);
    Ok(())
}

/// A signal that comes just before a shell's read(2) is handled only after it.
fn until_it_reads(host: &Lab) -> Result<()> {
    until("the shell reads", || {
        host.processes().iter().any(|(pid, args)| {
            let status = host.read(&format!("/proc/{pid}/status")).unwrap_or_default();
            args.starts_with("sh -c echo up") && status.contains("State:\tS")
        })
    })
}
