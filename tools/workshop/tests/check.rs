//! `cargo workshop check` on programs that a test writes: shell scripts, as it looks at what a program does, and not at what it
//! is made of. It always ends, and says what was wrong.

use std::fs;
use std::io::BufRead;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use tempfile::TempDir;

/// All of step 01, but for the subcommand.
const STEP_01: &str = r#"
case $1 in run) shift ;; *) echo "unknown subcommand" >&2; exit 2 ;; esac
[ $# -gt 0 ] || { echo "usage: run COMMAND" >&2; exit 2; }
"$@"
"#;

/// A repository with a cargo that builds nothing, and a program of the learner.
struct Repo {
    dir: TempDir,
}

impl Repo {
    fn new(program: &str) -> Repo {
        let repo = Repo { dir: TempDir::new().unwrap() };
        for number in 1..=10 {
            let source = format!(
                "//! Step {number:02}: idea {number}. More.\nline();\ncommand.spawn();\nstatus.code()\nline();\n"
            );
            repo.write(&format!("steps/step{number:02}_name/src/main.rs"), &source);
        }
        fs::create_dir_all(repo.path("tools/workshop")).unwrap();
        fs::create_dir(repo.path("rootfs")).unwrap();
        repo.write("Cargo.toml", "");
        repo.write("my-container/src/main.rs", "");
        let program = format!("#!/bin/sh\n{program}");
        classroom::executable(&repo.path("target/debug/my-container"), &program);
        classroom::executable(&repo.path("cargo"), "#!/bin/sh\necho \"cargo $*\" >&2\n");
        // cp(1), for the reason that `executable` has.
        let mut cp = Command::new("cp");
        cp.arg(env!("CARGO_BIN_EXE_workshop")).arg(repo.path("target/debug/workshop"));
        assert!(cp.status().unwrap().success());
        repo
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, text).unwrap();
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.path("target/debug/workshop"));
        command.arg("check").args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env("CARGO", self.path("cargo")).env_remove("NO_COLOR");
        command
    }

    fn check(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Checks against step 01; gives what was printed.
    #[track_caller]
    fn fails_with(&self, words: &[&str]) -> String {
        let output = self.check(&["1"]);
        let text = stdout(&output);
        assert_eq!(output.status.code(), Some(1), "{text}{}", stderr(&output));
        let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
        for word in words {
            assert!(flat.contains(word), "no {word:?} in:\n{text}");
        }
        assert!(text.lines().count() <= 24, "more than a screen:\n{text}");
        text
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The checks need namespaces; where there are none, the steps' tests say so.
macro_rules! needs_a_classroom {
    () => {
        let host =
            classroom::Setup::new(env!("CARGO_BIN_EXE_workshop").as_ref()).without_rootfs().start();
        drop(classroom::require!(host));
    };
}

#[test]
fn another_language_passes() {
    needs_a_classroom!();
    let repo = Repo::new(STEP_01);
    let output = repo.check(&["1"]);
    assert_eq!(output.status.code(), Some(0), "{}{}", stdout(&output), stderr(&output));
    assert!(stdout(&output).contains("✓ 01 idea 1\n"), "{}", stdout(&output));
    assert!(stdout(&output).contains("Next: cargo workshop diff 2"), "{}", stdout(&output));
}

#[test]
fn without_a_number_it_shows_all_ten_and_the_first_that_is_missing() {
    needs_a_classroom!();
    let repo = Repo::new(STEP_01);
    let output = repo.check(&[]);
    let text = stdout(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("✓ 01 idea 1\n✗ 02 idea 2\n· 03 idea 3\n"), "{text}");
    assert!(text.contains("· 10 idea 10\n"), "{text}");
    assert!(text.contains("unshare(2)"), "{text}");
    assert!(!text.contains('\x1b'), "colours in a pipe: {text}");
    assert!(!stderr(&output).contains('\r'), "a progress line in a pipe: {}", stderr(&output));

    let list = Command::new(repo.path("target/debug/workshop"))
        .current_dir(repo.dir.path())
        .output()
        .unwrap();
    assert!(stdout(&list).contains("1 of 10; next is step 02"), "{}", stdout(&list));
}

#[test]
fn a_failure_says_what_was_done_expected_got_and_why() {
    needs_a_classroom!();
    let text = Repo::new(&format!("{STEP_01}exit 0\n")).fails_with(&["exit status is swallowed"]);
    for word in [
        "did  my-container run",
        "expected  exit status 7",
        "got  exit status 0",
        "cause",
        "read  waitpid(2)",
        "guide  workshop.md",
    ] {
        assert!(text.contains(word), "no {word:?} in:\n{text}");
    }
}

/// Whoever breaks in step 07 what step 01 did is not sent to look in step 01.
#[test]
fn what_passed_before_was_broken_by_what_came_since() {
    needs_a_classroom!();
    let repo = Repo::new(&format!("{STEP_01}exit 0\n"));
    let said = |args: &[&str]| {
        repo.write("target/workshop/progress", "6\n");
        stdout(&repo.check(args)).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    for args in [&[][..], &["7"]] {
        let text = said(args);
        assert!(text.contains("Your program passed this before"), "{text}");
        assert!(text.contains("cargo workshop compare 7"), "{text}");
    }
    let text = said(&["1"]);
    assert!(!text.contains("passed this before"), "{text}");
}

#[test]
fn a_program_that_hangs_is_stopped() {
    needs_a_classroom!();
    Repo::new("while :; do sleep 1; done")
        .fails_with(&["it still runs after", "seconds (it has been stopped)"]);
}

/// Each process starts one more: no bomb, but without end.
#[test]
fn a_program_that_starts_itself_for_ever_is_stopped() {
    needs_a_classroom!();
    Repo::new("\"$0\" \"$@\"; exit 1")
        .fails_with(&["and ever more (they have been stopped)", "starts itself again and again"]);
}

#[test]
fn a_program_that_prints_for_ever_is_stopped() {
    needs_a_classroom!();
    Repo::new("yes")
        .fails_with(&["it prints without end (it has been stopped)", "a loop that has no end"]);
}

#[test]
fn hints_come_one_by_one_and_the_last_shows_the_step() {
    needs_a_classroom!();
    let repo = Repo::new(&format!("{STEP_01}exit 0\n"));
    let hint = || stdout(&repo.check(&["1", "--hint"]));
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
            last.contains("hint 3") && last.contains("steps/step01_name/src/main.rs"),
            "{last}"
        );
        assert!(last.contains("         4  status.code()"), "{last}");
    }
    assert!(!stdout(&repo.check(&["1"])).contains("hint 1"), "a hint that nobody asked for");
}

#[test]
fn watching_checks_again_when_a_file_is_saved() {
    let repo = Repo::new("");
    classroom::executable(&repo.path("cargo"), "#!/bin/sh\nexit 101\n");
    let mut watch =
        repo.command(&["--watch"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(watch.stderr.take().unwrap()).lines();
    for round in 0..3 {
        let waiting = lines.find(|line| line.as_ref().unwrap().starts_with("Save a file"));
        assert!(waiting.is_some(), "it ended in round {round}");
        repo.write("my-container/src/main.rs", &format!("// round {round}\n"));
    }
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn what_does_not_compile_is_not_checked() {
    let repo = Repo::new("");
    classroom::executable(
        &repo.path("cargo"),
        "#!/bin/sh\necho 'error: expected `;`' >&2\nexit 101\n",
    );
    let output = repo.check(&[]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stdout(&output), "");
    assert!(
        stderr(&output).starts_with("error: expected `;`\nmy-container does not compile yet"),
        "{}",
        stderr(&output)
    );
}

#[test]
fn without_cargo_or_a_root_filesystem_the_message_says_so() {
    let repo = Repo::new("");
    let output = repo.command(&[]).env("CARGO", "/nonexistent/cargo").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("cannot run cargo"), "{}", stderr(&output));

    fs::remove_dir(repo.path("rootfs")).unwrap();
    let fetch = repo.path("rootfs-fetch.sh");
    classroom::executable(&fetch, "#!/bin/sh\necho 'no mirror' >&2\nexit 1\n");
    let output = repo.command(&[]).env_remove("ROOTFS").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("no mirror"), "{}", stderr(&output));
    assert!(stderr(&output).contains("there is no root filesystem"), "{}", stderr(&output));
}

#[test]
fn without_a_program_to_build_the_message_names_the_cure() {
    let repo = Repo::new("");
    fs::remove_dir_all(repo.path("my-container")).unwrap();
    let output = repo.check(&["1"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("git checkout my-container"), "{}", stderr(&output));
}

#[test]
fn a_step_that_does_not_exist_is_wrong_usage() {
    let repo = Repo::new("");
    for step in ["0", "11", "abc"] {
        let output = repo.check(&[step]);
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("the steps are numbered 1 to 10"), "{}", stderr(&output));
    }
}
