//! Each subcommand with wrong input, or where something is missing: a clear message, nothing lost, a sensible status.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use std::process::Command;
use std::process::Output;
use std::process::Stdio;

use tempfile::TempDir;

const STEPS: [&str; 10] = [
    "step01_exec",
    "step02_uts",
    "step03_reexec",
    "step04_pid",
    "step05_chroot",
    "step06_proc",
    "step07_mount",
    "step08_ipc_net",
    "step09_user",
    "step10_cgroups",
];

/// A repository in which each step has one line more than the one before, and a learner's crate.
struct Repo {
    dir: TempDir,
}

impl Repo {
    fn new() -> Repo {
        let repo = Repo { dir: TempDir::new().unwrap() };
        let mut source = String::from("fn main() {}\n");
        for step in STEPS {
            source.push_str(&format!("/// {step}\n"));
            repo.write(&format!("steps/{step}/src/main.rs"), &source);
            repo.write(
                &format!("steps/{step}/Cargo.toml"),
                &format!("[package]\nname = \"{step}\"\n"),
            );
        }
        fs::create_dir_all(repo.path("tools/workshop")).unwrap();
        repo.write("Cargo.toml", "");
        repo.write("my-container/Cargo.toml", "# typed by hand\n");
        repo.write("my-container/src/main.rs", "fn main() {} // typed by hand\n");
        repo
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::create_dir_all(self.path(name).parent().unwrap()).unwrap();
        fs::write(self.path(name), text).unwrap();
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn workshop(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_workshop"));
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null()).env_remove("NO_COLOR");
        // Nobody's own git settings change what the tests see.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.workshop(args).output().unwrap()
    }
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

fn saved(repo: &Repo) -> Vec<String> {
    let Ok(entries) = fs::read_dir(repo.path("my-container/saved")) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_step_that_does_not_exist_is_wrong_usage() {
    let repo = Repo::new();
    for command in ["diff", "compare", "catch-up"] {
        for step in ["0", "11", "abc", "", "1.5"] {
            let output = repo.run(&[command, step]);
            assert_eq!(output.status.code(), Some(2), "{command} {step}");
            assert!(
                stderr(&output).contains("the steps are numbered 1 to 10"),
                "{}",
                stderr(&output)
            );
        }
    }
    assert_eq!(repo.read("my-container/src/main.rs"), "fn main() {} // typed by hand\n");
    assert!(saved(&repo).is_empty());
}

#[test]
fn outside_the_repository_the_message_says_so() {
    let elsewhere = TempDir::new().unwrap();
    for args in [&[][..], &["diff", "2"], &["compare"], &["catch-up", "2"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_workshop"))
            .args(args)
            .current_dir(&elsewhere)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(
            stderr(&output).contains("is not inside the workshop's repository"),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn it_works_in_a_sub_folder() {
    let repo = Repo::new();
    let output =
        repo.workshop(&["diff", "2"]).current_dir(repo.path("my-container/src")).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

#[test]
fn diff_goes_from_the_earlier_step_to_the_later_one() {
    let repo = Repo::new();
    for (args, old, new) in [
        (&["diff", "1"][..], "/dev/null", "b/steps/step01_exec/src/main.rs"),
        (&["diff", "5"], "a/steps/step04_pid/src/main.rs", "b/steps/step05_chroot/src/main.rs"),
        (
            &["diff", "5", "2"],
            "a/steps/step02_uts/src/main.rs",
            "b/steps/step05_chroot/src/main.rs",
        ),
        (
            &["diff", "2", "5"],
            "a/steps/step02_uts/src/main.rs",
            "b/steps/step05_chroot/src/main.rs",
        ),
        (
            &["diff", "5", "--all"],
            "a/steps/step04_pid/Cargo.toml",
            "b/steps/step05_chroot/Cargo.toml",
        ),
        (&["diff", "1", "--all"], "/dev/null", "b/steps/step01_exec/Cargo.toml"),
    ] {
        let output = repo.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {}", stderr(&output));
        let text = stdout(&output);
        assert!(text.contains(&format!("--- {old}\n+++ {new}\n")), "{args:?}:\n{text}");
        assert!(!text.contains('\x1b'), "colours in a pipe");
    }
}

#[test]
fn a_step_against_itself_is_wrong_usage() {
    let output = Repo::new().run(&["diff", "3", "3"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("step 03 does not differ from itself"), "{}", stderr(&output));
}

#[test]
fn without_git_the_message_names_it() {
    let repo = Repo::new();
    for args in [&["diff", "2"][..], &["compare", "2"]] {
        let output = repo.workshop(args).env("PATH", "/nonexistent").output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains("cannot run git (install it"), "{}", stderr(&output));
    }
}

#[test]
fn compare_shows_both_sides_or_says_that_there_is_no_difference() {
    let repo = Repo::new();
    let output = repo.run(&["compare", "2"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(
        stdout(&output)
            .contains("--- a/my-container/src/main.rs\n+++ b/steps/step02_uts/src/main.rs\n")
    );

    repo.write("my-container/src/main.rs", &repo.read("steps/step02_uts/src/main.rs"));
    for args in [&["compare", "2"][..], &["compare"]] {
        let output = repo.run(args);
        assert_eq!(output.status.code(), Some(0));
        assert!(
            stderr(&output).contains("Your program is step 02, to the letter."),
            "{}",
            stderr(&output)
        );
    }
}

#[test]
fn compare_without_a_step_takes_the_closest() {
    let repo = Repo::new();
    for step in STEPS {
        let text = repo.read(&format!("steps/{step}/src/main.rs"));
        repo.write(
            "my-container/src/main.rs",
            &text.replacen("fn main()", "/// Mine.\nfn main()", 1),
        );
        let output = repo.run(&["compare"]);
        assert!(
            stdout(&output).contains(&format!("+++ b/steps/{step}/")),
            "{step}: {}",
            stdout(&output)
        );
    }
}

#[test]
fn a_missing_program_of_the_learner_is_named_with_the_cure() {
    let repo = Repo::new();
    fs::remove_dir_all(repo.path("my-container")).unwrap();
    let output = repo.run(&["compare", "2"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        stderr(&output).contains("there is no my-container/src/main.rs"),
        "{}",
        stderr(&output)
    );
    assert!(stderr(&output).contains("catch-up 1"), "{}", stderr(&output));

    let output = repo.run(&["catch-up", "1"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stderr(&output).contains("nothing of yours to save"), "{}", stderr(&output));
    assert_eq!(repo.read("my-container/src/main.rs"), repo.read("steps/step01_exec/src/main.rs"));
}

#[test]
fn catch_up_saves_everything_each_time() {
    let repo = Repo::new();
    repo.write("my-container/src/notes.rs", "// notes\n");
    let output = repo.run(&["catch-up", "5"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(
        stderr(&output).contains("saved in my-container/saved/1-before-step-05"),
        "{}",
        stderr(&output)
    );
    assert_eq!(repo.read("my-container/src/main.rs"), repo.read("steps/step05_chroot/src/main.rs"));
    assert_eq!(
        repo.read("my-container/saved/1-before-step-05/src/main.rs"),
        "fn main() {} // typed by hand\n"
    );
    assert_eq!(repo.read("my-container/saved/1-before-step-05/src/notes.rs"), "// notes\n");
    assert_eq!(repo.read("my-container/saved/1-before-step-05/Cargo.toml"), "# typed by hand\n");
    assert_eq!(repo.read("my-container/src/notes.rs"), "// notes\n");

    repo.write("my-container/src/main.rs", "fn main() {} // typed again\n");
    repo.run(&["catch-up", "5"]);
    repo.run(&["catch-up", "5"]);
    assert_eq!(saved(&repo), ["1-before-step-05", "2-before-step-05", "3-before-step-05"]);
    assert_eq!(
        repo.read("my-container/saved/1-before-step-05/src/main.rs"),
        "fn main() {} // typed by hand\n"
    );
    assert_eq!(
        repo.read("my-container/saved/2-before-step-05/src/main.rs"),
        "fn main() {} // typed again\n"
    );
}

/// Who only goes from step to step is not to collect copies of the steps.
#[test]
fn catch_up_saves_nothing_that_is_a_step_as_it_stands() {
    let repo = Repo::new();
    repo.run(&["catch-up", "5"]);
    let output = repo.run(&["catch-up", "6"]);
    assert!(stderr(&output).contains("was step 05 as it stands"), "{}", stderr(&output));
    assert_eq!(saved(&repo), ["1-before-step-05"]);
    for (file, text) in [("src/main.rs", "// mine\n"), ("Cargo.toml", "# mine\n"), ("notes", "")] {
        repo.run(&["catch-up", "6"]);
        let before = saved(&repo).len();
        repo.write(&format!("my-container/{file}"), text);
        repo.run(&["catch-up", "7"]);
        assert_eq!(saved(&repo).len(), before + 1, "{file} is the learner's");
    }
}

#[test]
fn catch_up_changes_nothing_if_it_cannot_save() {
    let repo = Repo::new();
    repo.write("my-container/saved", "not a folder");
    let output = repo.run(&["catch-up", "5"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("my-container/saved"), "{}", stderr(&output));
    assert_eq!(repo.read("my-container/src/main.rs"), "fn main() {} // typed by hand\n");

    fs::remove_file(repo.path("my-container/saved")).unwrap();
    let output = repo.workshop(&["catch-up", "5"]).env("PATH", "/nonexistent").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("nothing was changed"), "{}", stderr(&output));
    assert_eq!(repo.read("my-container/src/main.rs"), "fn main() {} // typed by hand\n");
}

#[test]
fn catch_up_does_not_write_through_a_link() {
    let repo = Repo::new();
    let elsewhere = repo.path("elsewhere");
    fs::rename(repo.path("my-container/src"), &elsewhere).unwrap();
    symlink(&elsewhere, repo.path("my-container/src")).unwrap();
    let output = repo.run(&["catch-up", "5"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(repo.read("elsewhere/main.rs"), "fn main() {} // typed by hand\n");
    assert_eq!(repo.read("my-container/src/main.rs"), repo.read("steps/step05_chroot/src/main.rs"));
}

#[test]
fn the_list_of_commands_is_plain_in_a_pipe() {
    let output = Repo::new().run(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(stdout(&output).contains("cargo workshop catch-up 5"), "{}", stdout(&output));
    assert!(!stdout(&output).contains('\x1b'));
}

/// A reader that is gone (`cargo workshop | head -1`) is no reason for a panic.
#[test]
fn a_closed_pipe_is_no_panic() {
    let repo = Repo::new();
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let output = repo.workshop(&[]).stdout(writer).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(stderr(&output), "");
}

#[test]
fn an_unknown_subcommand_is_wrong_usage() {
    let output = Repo::new().run(&["chekc"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(!stderr(&output).contains("panicked"));
}
