//! `cargo workshop check` on shell scripts, as it looks at what a program does, and not at what it is made of. It
//! always ends, and says what was wrong.

use std::fs;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use classroom::trial::Trial;
use classroom::{Result, Setup, trials};

use crate::repo::{Repo, Said};

pub fn trials() -> Vec<Trial> {
    trials![
        another_language_passes,
        without_a_number_it_shows_all_ten_and_what_comes_next,
        a_failure_says_what_was_done_expected_got_and_why,
        what_passed_before_was_broken_by_what_came_since,
        what_passed_before_the_program_was_taken_back_is_not_called_passed,
        comments_begin_no_step,
        a_program_that_starts_itself_for_ever_is_stopped,
        hints_come_one_by_one_and_the_last_shows_the_step,
        watching_sees_every_change_whatever_its_time,
        what_was_put_back_from_a_copy_is_built_again,
        what_does_not_compile_is_not_checked,
        without_cargo_or_a_root_filesystem_the_message_says_so,
        what_the_machine_lacks_is_not_the_learner_s_mistake,
    ]
}

/// All of step 01, but for the subcommand.
const STEP_01: &str = r#"
case $1 in run) shift ;; *) echo "unknown subcommand" >&2; exit 2 ;; esac
[ $# -gt 0 ] || { echo "usage: run COMMAND" >&2; exit 2; }
"$@"
status=$?
[ $status = 126 ] && [ -f "$1" ] && status=125 # there was no room for it
exit $status
"#;

/// The same, with all exit statuses swallowed.
const SWALLOWS: &str = r#"
case $1 in run) shift ;; *) echo "unknown subcommand" >&2; exit 2 ;; esac
[ $# -gt 0 ] || { echo "usage: run COMMAND" >&2; exit 2; }
"$@"
exit 0
"#;

/// A repository with this program, if this machine can make a classroom host for it.
fn repo(program: &str) -> Result<Repo> {
    drop(Setup::new(env!("CARGO_BIN_EXE_workshop").as_ref()).without_rootfs().start()?);
    Ok(Repo::with_program(program))
}

/// Checks against step 01, which fails; the report has these words in it, and fits on a screen.
#[track_caller]
fn reports(repo: &Repo, words: &[&str]) {
    let said = repo.run(&["check", "1"]);
    assert_eq!(said.status, Some(1), "{said:?}");
    let flat = said.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(flat.contains(word), "no {word:?} in:\n{}", said.stdout);
    }
    assert!(said.stdout.lines().count() <= 24, "more than a screen:\n{}", said.stdout);
}

fn another_language_passes() -> Result<()> {
    let said = repo(STEP_01)?.run(&["check", "1"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stdout.contains("✓ 01 idea 1\n"), "{said:?}");
    assert!(said.stdout.contains("Next: cargo workshop diff 2"), "{said:?}");
    Ok(())
}

fn without_a_number_it_shows_all_ten_and_what_comes_next() -> Result<()> {
    let repo = repo(STEP_01)?;
    let said = repo.run(&["check"]);
    let text = &said.stdout;
    assert_eq!(said.status, Some(1), "{text}");
    assert!(text.contains("✓ 01 idea 1\n· 02 idea 2\n· 03 idea 3\n"), "{text}");
    assert!(text.contains("· 10 idea 10\n"), "{text}");
    assert!(text.contains("All 9 checks of step 01 pass."), "{text}");
    assert!(text.contains("Step 02: idea 2"), "{text}");
    assert!(text.contains("unshare(2)"), "{text}");
    assert!(!text.contains("✗"), "after a success it looks like a failure: {text}");
    assert!(!text.contains('\x1b'), "colours in a pipe: {text}");
    assert!(!said.stderr.contains('\r'), "a progress line in a pipe: {said:?}");
    let list = repo.run(&[]);
    assert!(list.stdout.contains("1 of 10; next is step 02"), "{list:?}");
    Ok(())
}

fn a_failure_says_what_was_done_expected_got_and_why() -> Result<()> {
    let words = [
        "did cargo run -qp my-container -- run",
        "expected exit status 7",
        "got exit status 0",
        "cause",
    ];
    let repo = repo(SWALLOWS)?;
    reports(&repo, &words);
    reports(&repo, &["exit status is swallowed", "read waitpid(2)", "guide workshop.md"]);
    Ok(())
}

/// Whoever breaks in step 07 what step 01 did is not sent to look in step 01.
fn what_passed_before_was_broken_by_what_came_since() -> Result<()> {
    let repo = repo(SWALLOWS)?;
    let said = |args: &[&str]| {
        repo.write("target/workshop/progress", "6\n");
        repo.run(args).stdout.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for args in [&["check"][..], &["check", "7"]] {
        let text = said(args);
        assert!(text.contains("Your program passed this before"), "{text}");
        assert!(text.contains("cargo workshop compare 7"), "{text}");
        assert_eq!(text.matches('✗').count(), 1, "one failure looks like two: {text}");
        assert!(!text.contains('✓'), "this was not tried, or has failed: {text}");
    }
    let text = said(&["check", "1"]);
    assert!(!text.contains("passed this before"), "{text}");
    Ok(())
}

/// Step 04 was reached; then the program of step 03 was put back, and looked at.
fn what_passed_before_the_program_was_taken_back_is_not_called_passed() -> Result<()> {
    let repo = repo(STEP_01)?;
    for file in ["begun", "best", "progress"] {
        repo.write(&format!("target/workshop/{file}"), "4\n");
    }
    repo.write("my-container/src/main.rs", &repo.read("steps/step03_reexec/src/main.rs"));
    assert_eq!(repo.run(&["check", "1"]).status, Some(0));
    let text = repo.run(&["check"]).stdout;
    assert!(text.contains("✓ 01 idea 1\n· 02 idea 2\n· 03 idea 3\n· 04 idea 4\n"), "{text}");
    assert!(!text.contains('✗'), "{text}");
    Ok(())
}

/// Step 03 has a line of step 01 without its comment; the learner types none, and then writes a note.
fn comments_begin_no_step() -> Result<()> {
    let repo = repo(STEP_01)?;
    repo.write("steps/step01_exec/src/main.rs", "say(\"Running\"); // it may panic\n");
    repo.write("steps/step02_uts/src/main.rs", "say(\"Running\"); // it may panic\nunshare();\n");
    let third = "say(\"Running\"); // it may panic\nunshare();\nsay(\"Running\");\n";
    repo.write("steps/step03_reexec/src/main.rs", third);
    for mine in ["say(\"Running\");\n", "// Mine.\nsay(\"Running\"); // a note to myself\n\n"] {
        repo.write("my-container/src/main.rs", mine);
        let text = repo.run(&["check"]).stdout;
        assert!(!text.contains('✗') && text.contains("Step 02: "), "{text}");
    }
    Ok(())
}

/// Each process starts one more: no bomb, but without end.
fn a_program_that_starts_itself_for_ever_is_stopped() -> Result<()> {
    let words = ["and ever more (they have been stopped)", "starts itself again and again"];
    reports(&repo("\"$0\" \"$@\"; exit 1")?, &words);
    Ok(())
}

fn hints_come_one_by_one_and_the_last_shows_the_step() -> Result<()> {
    let repo = repo(SWALLOWS)?;
    let hint = || repo.run(&["check", "1", "--hint"]).stdout;
    let first = hint();
    assert!(
        first.contains("hint 1") && !first.contains("hint 2") && first.contains("(1 of 3"),
        "{first}"
    );
    let second = hint();
    assert!(second.contains("hint 2") && !second.contains("hint 3"), "{second}");
    for _ in 0..2 {
        let last = hint();
        assert!(
            last.contains("hint 3") && last.contains("steps/step01_exec/src/main.rs"),
            "{last}"
        );
        assert!(last.contains("         4  status.code()"), "{last}");
    }
    assert!(!repo.run(&["check", "1"]).stdout.contains("hint 1"), "a hint that nobody asked for");
    Ok(())
}

/// A clock that is ahead, and a copy that kept its time.
fn watching_sees_every_change_whatever_its_time() -> Result<()> {
    let repo = Repo::with_program("");
    repo.script("cargo", "exit 101");
    let file = repo.path("my-container/src/main.rs");
    let save = |text: &str, time: SystemTime| {
        // As editors and cp -p do it: beside it, and then in its place.
        repo.write("new", text);
        File::options().write(true).open(repo.path("new")).unwrap().set_modified(time).unwrap();
        fs::rename(repo.path("new"), &file).unwrap();
    };
    let future = SystemTime::now() + Duration::from_secs(86_400);
    save("// 0", future);
    let check = repo.command(&["check", "--watch"]);
    let mut watch = Command::new("timeout"); // what it does not see, nobody is to wait for
    watch.arg("60").arg(check.get_program()).args(check.get_args());
    watch.current_dir(repo.dir.path()).env("CARGO", repo.path("cargo"));
    let mut watch = watch.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stderr.take().unwrap()).lines();
    for (text, time) in [("// 1", future), ("// 2", SystemTime::now()), ("// 3", UNIX_EPOCH)] {
        assert!(lines.any(|line| line.unwrap().starts_with("Save a file")), "before {text}");
        save(text, time);
    }
    assert!(lines.any(|line| line.unwrap().starts_with("Save a file")));
    repo.write("my-container/src/main.rs", "// 4"); // in its place
    assert!(lines.any(|line| line.unwrap().starts_with("Save a file")));
    // Not killed: it has to pass that on.
    assert!(Command::new("kill").arg(watch.id().to_string()).status().unwrap().success());
    watch.wait().unwrap();
    Ok(())
}

/// cargo takes a file for unchanged that was modified before it has built; `cp -p`, `mv` and tar keep that time.
fn what_was_put_back_from_a_copy_is_built_again() -> Result<()> {
    let repo = Repo::with_program("");
    repo.script("cargo", "echo \"cargo $*\" >&2; exit 101");
    let built = || repo.run(&["check", "1"]).stderr;
    let program = File::options().write(true).open(repo.path("target/debug/my-container")).unwrap();
    program.set_modified(SystemTime::now() + Duration::from_secs(60)).unwrap();
    assert!(!built().contains("clean"), "nothing has changed");

    program.set_modified(SystemTime::now() - Duration::from_secs(60)).unwrap();
    repo.write("copy", "// yesterday's\n");
    let copy = File::options().write(true).open(repo.path("copy")).unwrap();
    copy.set_modified(SystemTime::now() - Duration::from_secs(86_400)).unwrap();
    fs::rename(repo.path("copy"), repo.path("my-container/src/main.rs")).unwrap();
    let said = built();
    assert!(said.contains("cargo clean --quiet --package my-container\ncargo build"), "{said}");
    Ok(())
}

fn what_does_not_compile_is_not_checked() -> Result<()> {
    let repo = Repo::with_program("");
    repo.script("cargo", "echo 'error: expected `;`' >&2; exit 101");
    let Said { status, stdout, stderr } = repo.run(&["check"]);
    assert_eq!((status, stdout.as_str()), (Some(1), ""));
    assert!(
        stderr.starts_with("error: expected `;`\nmy-container does not compile yet"),
        "{stderr}"
    );
    Ok(())
}

fn without_cargo_or_a_root_filesystem_the_message_says_so() -> Result<()> {
    let repo = Repo::with_program("");
    Said::by(repo.command(&["check"]).env("CARGO", "/nonexistent/cargo"))
        .fails_with("cannot run cargo");
    fs::remove_dir(repo.path("rootfs")).unwrap();
    repo.script("rootfs-fetch.sh", "echo 'no mirror' >&2; exit 1");
    let said = Said::by(repo.command(&["check"]).env_remove("ROOTFS"));
    said.fails_with("no mirror");
    said.fails_with("there is no root filesystem");
    Ok(())
}

/// Nothing is built or run: whatever it would say, it would be about the program.
fn what_the_machine_lacks_is_not_the_learner_s_mistake() -> Result<()> {
    let repo = Repo::with_program("");
    let path = repo.path("path");
    fs::create_dir(&path).unwrap();
    for folder in ["/usr/sbin", "/usr/bin"] {
        for entry in fs::read_dir(folder).unwrap().flatten() {
            _ = symlink(entry.path(), path.join(entry.file_name()));
        }
    }
    fs::remove_file(path.join("hostname")).unwrap();
    // Also /usr/sbin is looked into: not where hostname is.
    let said = Said::by(repo.command(&["check", "2"]).env("PATH", &path));
    said.fails_with("There is no hostname on this machine");
    said.fails_with("sudo apt install hostname");
    assert!(!said.stderr.contains("cargo build"), "{said:?}");

    let said = Said::by(repo.command(&["check", "2"]).env("TMPDIR", "/nowhere"));
    said.fails_with("Nothing can be written in /nowhere");
    assert!(!said.stderr.contains("needs root"), "{said:?}");
    Ok(())
}
