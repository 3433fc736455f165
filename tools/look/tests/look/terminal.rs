//! Looking again and again, on a terminal, and leaving that as it was.

use std::env;
use std::process::{Command, ExitCode};

use classroom::trial::Trial;
use classroom::{Cgroups, Result, Session, trials, until};
use look::screen::Screen;

use crate::lab::{Lab, ask};

pub fn all() -> Vec<Trial> {
    trials![
        it_ends_and_leaves_the_terminal_as_it_was,
        ctrl_z_gives_the_terminal_back_for_a_while,
        it_ends_with_the_terminal,
        a_panic_gives_the_terminal_back,
        it_looks_once_where_it_cannot_look_again,
        a_larger_window_is_used,
        changes_are_marked,
        the_bar_fills_and_stops_at_the_limit,
        a_fork_bomb_leaves_a_trace,
    ]
}

/// A shell that runs `look` at its terminal, in plain text. What has to be the same afterwards is noted before.
fn looking(lab: &Lab) -> Result<Session> {
    let mut terminal = lab.terminal("stty -g >before")?;
    terminal.send("NO_COLOR=1 ./look; echo status $?; stty -g >after; echo an''swer\n")?;
    terminal.wait_for("hostname")?;
    Ok(terminal)
}

#[track_caller]
fn as_it_was(lab: &Lab, terminal: &mut Session, status: &str) -> Result<()> {
    terminal.wait_for(status)?;
    terminal.wait_for("answer")?;
    assert_eq!(lab.read("/workshop/before")?, lab.read("/workshop/after")?);
    let all = String::from_utf8_lossy(terminal.stdout()).into_owned();
    for (on, off) in
        [("\x1b[?1049h", "\x1b[?1049l"), ("\x1b[?25l", "\x1b[?25h"), ("\x1b[?7l", "\x1b[?7h")]
    {
        assert!(all.rfind(on) < all.rfind(off), "{on:?} is not taken back: {all:?}");
    }
    Ok(())
}

fn it_ends_and_leaves_the_terminal_as_it_was() -> Result<()> {
    let lab = Lab::new(1)?;
    for key in ["q", "\x03"] {
        let mut terminal = looking(&lab)?;
        terminal.send(key)?;
        as_it_was(&lab, &mut terminal, "status 0")?;
    }
    for (signal, status) in [("TERM", "status 143"), ("HUP", "status 129"), ("QUIT", "status 131")]
    {
        let mut terminal = looking(&lab)?;
        let look = lab.pid(|args| args == "./look")?;
        assert_eq!(lab.run(&format!("kill -{signal} {look}"))?.status, 0);
        as_it_was(&lab, &mut terminal, status)?;
    }
    Ok(())
}

fn ctrl_z_gives_the_terminal_back_for_a_while() -> Result<()> {
    let lab = Lab::new(1)?;
    let mut terminal = lab.terminal("stty -g >before")?;
    terminal.send("NO_COLOR=1 ./look\n")?;
    terminal.wait_for("hostname")?;
    terminal.send("\x1a")?;
    terminal.wait_for("Stopped")?;
    terminal.send("stty -g >after; echo status $?; echo an''swer\n")?;
    as_it_was(&lab, &mut terminal, "status 0")?;
    terminal.send("fg; echo status $?; stty -g >after; echo an''swer\n")?;
    terminal.wait_for("hostname")?;
    terminal.send("q")?;
    as_it_was(&lab, &mut terminal, "status 0")
}

fn it_ends_with_the_terminal() -> Result<()> {
    let lab = Lab::new(1)?;
    // script(1) holds the terminal's other side.
    let script = ["script", "-qc", "exec ./look", "/dev/null"];
    let mut script = Session::start(&mut lab.command(script))?;
    script.wait_for("hostname")?;
    let holder = lab.pid(|args| args.starts_with("script "))?;
    assert_eq!(lab.run(&format!("kill -KILL {holder}"))?.status, 0);
    until("look has ended", || lab.count("./look") == 0)
}

/// The argument with which this test program starts itself at a terminal, to panic there.
pub const PANIC: &str = "panic-on-the-screen";

pub fn panic_on_the_screen() -> ExitCode {
    let _screen = Screen::take().expect("no screen");
    panic!("on purpose");
}

fn a_panic_gives_the_terminal_back() -> Result<()> {
    let program = env::current_exe().expect("no path of this test");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("stty -g; \"$0\" {PANIC}; stty -g")]).arg(program);
    let output = Session::on_terminal(&mut shell)?.outcome()?;
    let (before, rest) = output.stdout.split_once("\x1b[?1049h").expect("no screen");
    let (_, said) = rest.split_once("\x1b[?1049l").expect("the screen is not given back");
    assert!(said.contains("on purpose"), "what the panic says is gone with the screen: {rest}");
    let (_, rest) = rest.rsplit_once("\x1b[?1049l").unwrap_or_default();
    // The first line, and the last one: what `stty -g` prints.
    let settings = |line: &&str| line.matches(':').count() > 20;
    let (before, after) = (before.lines().find(settings), rest.lines().rfind(settings));
    assert!(before.is_some() && before == after, "{before:?} {after:?}");
    Ok(())
}

fn it_looks_once_where_it_cannot_look_again() -> Result<()> {
    let lab = Lab::new(1)?;
    let mut terminal = lab.terminal("export LANG=C.UTF-8")?;
    for (command, colours) in [
        ("./look | cat", false),
        ("TERM=dumb ./look", true),
        ("TERM= ./look", true),
        ("./look --once", true),
        ("NO_COLOR=1 ./look --once", false),
    ] {
        terminal.send(format!("{command}; echo status $?\n"))?;
        let text = terminal.wait_for("status 0")?;
        assert!(text.contains("hostname"), "{command}: {text}");
        // bash itself says that it takes what is pasted for what is pasted.
        let text = text.replace("\x1b[?2004h", "").replace("\x1b[?2004l", "");
        assert_eq!(text.contains('\x1b'), colours, "{command}: {text:?}");
        assert!(!text.contains("\x1b[?"), "{command}: {text:?}");
    }
    Ok(())
}

fn a_larger_window_is_used() -> Result<()> {
    let lab = Lab::new(1)?;
    let mut terminal = looking(&lab)?;
    terminal.resize(40, 130)?;
    terminal.wait_for("queues")?;
    terminal.wait_for("\x1b[40;1H")?;
    terminal.resize(24, 80)?;
    terminal.wait_for("\x1b[24;1H")?;
    terminal.send("q")?;
    as_it_was(&lab, &mut terminal, "status 0")
}

/// Who comes, what changes, who goes.
fn changes_are_marked() -> Result<()> {
    let lab = Lab::new(3)?;
    let mut look = looking(&lab)?;
    let mut container = lab.step("")?;
    look.wait_for("\x1b[K+")?;
    // What is seen for the first time has not changed.
    look.wait_for("\"container\"")?;
    container.send("hostname renamed\n")?;
    look.wait_for("\"renamed\"*")?;
    container.send("sleep 1000 &\n")?;
    look.wait_for("sleep 1000")?;
    container.send("kill $!; wait\n")?;
    look.wait_for("sleep 1000 (ended)")?;
    container.send("exit\n")?;
    look.wait_for("sh (ended)")?;
    look.wait_for("There is no container here")?;
    look.send("q")?;
    as_it_was(&lab, &mut look, "status 0")
}

/// The host's cgroups; the only one in there has room for 20 processes: what comes now is fenced.
fn limited(lab: &Lab) -> Result<&Cgroups> {
    let cgroups = lab.cgroups.as_ref().expect("step 10 has cgroups");
    assert_eq!(cgroups.read("pids.max", "pids/pids.max")?, "20");
    Ok(cgroups)
}

/// The bar fills, and stops at the limit. (Those of a fork bomb die when they meet it, and others take their place:
/// whether somebody looks when all twenty are there is chance. These stay.)
fn the_bar_fills_and_stops_at_the_limit() -> Result<()> {
    let lab = Lab::new(10)?;
    let mut container = lab.step("")?;
    limited(&lab)?;
    let mut look = looking(&lab)?;
    look.wait_for("2 of 20")?;
    container.send("i=0; while [ $i -lt 40 ]; do sleep 1000 & i=$((i+1)); done\n")?;
    look.wait_for("20 of 20  limit met once")?;
    look.send("q")?;
    as_it_was(&lab, &mut look, "status 0")?;
    let seen = String::from_utf8_lossy(look.stdout()).into_owned();
    let numbers = seen.split(" of 20").filter_map(|text| text.rsplit(' ').next()?.parse().ok());
    assert_eq!(numbers.max(), Some(20));
    ask(&mut lab.terminal("true")?) // the host has room for more
}

/// Of a fork bomb that has burnt out before anybody looks, the peak is left.
fn a_fork_bomb_leaves_a_trace() -> Result<()> {
    let lab = Lab::new(10)?;
    let mut container = lab.step("")?;
    let cgroups = limited(&lab)?;
    container.send("(bomb() { bomb | bomb & }; bomb) 2>/dev/null\n")?;
    let read = |file: &str| cgroups.read(file, &format!("pids/{file}")).unwrap_or_default();
    until("it has met the limit", || read("pids.events") != "max 0")?;
    until("it has burnt out", || read("pids.current") == "2")?;
    let picture = lab.look(80)?;
    let line = picture.lines().find(|line| line.contains("   cgroup pids"));
    let line = line.unwrap_or_else(|| panic!("no limits:\n{picture}"));
    let said = "██▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒ 2 of 20 (peak 20)  limit met ";
    assert!(line.contains(said), "{line}");
    Ok(())
}
