//! Each subcommand with wrong input, or where something is missing: a clear message, nothing lost, a sensible status.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use classroom::trial::Trial;
use classroom::{Result, Session, trials};
use steps::Steps;
use tempfile::TempDir;

use crate::repo::{Repo, Said, workshop};

pub fn trials() -> Vec<Trial> {
    trials![
        a_step_that_does_not_exist_is_wrong_usage,
        outside_the_repository_the_message_says_so,
        diff_goes_from_the_earlier_step_to_the_later_one,
        a_step_against_itself_is_wrong_usage,
        without_git_the_message_names_it,
        diff_is_the_same_whatever_one_s_git_settings,
        on_a_terminal_diff_is_the_same_whatever_one_s_pager,
        compare_shows_both_sides_or_says_that_there_is_no_difference,
        compare_without_a_step_takes_the_closest,
        a_missing_program_of_the_learner_is_named_with_the_cure,
        catch_up_saves_everything_each_time,
        catch_up_saves_nothing_that_is_a_step_as_it_stands,
        catch_up_changes_nothing_if_it_cannot_save,
        catch_up_does_not_write_through_a_link,
        the_list_of_commands_is_plain_in_a_pipe,
        a_closed_pipe_is_no_panic,
        a_full_disk_is_an_error,
        cargo_builds_where_the_caller_has_said,
        an_unknown_subcommand_is_wrong_usage,
    ]
}

const TYPED: &str = "fn main() {} // typed by hand\n";

/// What catch-up has saved.
fn saved(repo: &Repo) -> Vec<String> {
    let Ok(entries) = fs::read_dir(repo.path("my-container/saved")) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn main_of(repo: &Repo, step: &str) -> String {
    repo.read(&format!("steps/{step}/src/main.rs"))
}

fn a_step_that_does_not_exist_is_wrong_usage() -> Result<()> {
    let repo = Repo::new();
    for command in ["check", "diff", "compare", "catch-up"] {
        for step in ["0", "11", "abc", "", "1.5"] {
            repo.run(&[command, step]).fails_with("the steps are numbered 1 to 10");
        }
    }
    assert_eq!(repo.read("my-container/src/main.rs"), TYPED);
    assert!(saved(&repo).is_empty());
    Ok(())
}

fn outside_the_repository_the_message_says_so() -> Result<()> {
    let elsewhere = TempDir::new().unwrap();
    for args in [&[][..], &["diff", "2"], &["compare"], &["catch-up", "2"]] {
        workshop(elsewhere.path(), args).fails_with("is not inside the workshop's repository");
    }
    Ok(())
}

fn diff_goes_from_the_earlier_step_to_the_later_one() -> Result<()> {
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
        let said = repo.run(args);
        assert_eq!(said.status, Some(0), "{args:?}: {said:?}");
        assert!(said.stdout.contains(&format!("--- {old}\n+++ {new}\n")), "{args:?}: {said:?}");
        assert!(!said.stdout.contains('\x1b'), "colours in a pipe");
    }
    Ok(())
}

fn a_step_against_itself_is_wrong_usage() -> Result<()> {
    Repo::new().run(&["diff", "3", "3"]).fails_with("step 03 does not differ from itself");
    Ok(())
}

fn without_git_the_message_names_it() -> Result<()> {
    let repo = Repo::new();
    for args in [&["diff", "2"][..], &["compare", "2"]] {
        Said::by(repo.command(args).env("PATH", "/nonexistent"))
            .fails_with("cannot run git (install it");
    }
    Ok(())
}

/// Settings that turn git's output into something else, or stop it: a file with them, or a variable.
fn diff_is_the_same_whatever_one_s_git_settings() -> Result<()> {
    let repo = Repo::new();
    let plain = repo.run(&["diff", "2"]);
    assert!(plain.stdout.contains("+/// step02_uts\n"), "{plain:?}");
    let [home, attributes] = ["home/.gitconfig", "home/.config/git/attributes"];
    for (file, text) in [
        (home, "[diff]\nexternal = echo EXTERNAL\n"),
        (home, "[diff]\nnoprefix = true\ncontext = 0\nsrcPrefix = x/\n"),
        (home, "[color]\nui = always\n"),
        (home, "[diff] no such setting ["),
        (attributes, "*.rs -diff\n"),
        (".gitattributes", "*.rs binary\n"),
        (".git", "gitdir: /gone\n"),
        (".git/config", "[diff]\nexternal = echo EXTERNAL\n"),
    ] {
        _ = fs::remove_file(repo.path(".git"));
        if file == ".git/config" {
            let init = Command::new("git").args(["init", "-q"]).arg(repo.dir.path()).status();
            assert!(init.unwrap().success());
        }
        repo.write(file, text);
        let mut diff = repo.command(&["diff", "2"]);
        diff.env("HOME", repo.path("home")).env_remove("GIT_CONFIG_GLOBAL");
        let said = Said::by(diff.env_remove("XDG_CONFIG_HOME"));
        assert_eq!((said.status, &said.stdout), (plain.status, &plain.stdout), "{file}: {text}");
        assert_eq!(said.stderr, "", "{file}: {text}");
        fs::remove_file(repo.path(file)).unwrap();
    }
    for (name, value) in [
        ("GIT_EXTERNAL_DIFF", "echo EXTERNAL"),
        ("GIT_DIFF_OPTS", "-u0"),
        ("GIT_TRACE", "1"),
        ("GIT_CONFIG_PARAMETERS", "'diff.noprefix=true'"),
        ("GIT_DIR", "/gone"),
    ] {
        let said = Said::by(repo.command(&["diff", "2"]).env(name, value));
        assert_eq!((said.stdout, said.stderr.as_str()), (plain.stdout.clone(), ""), "{name}");
    }
    Ok(())
}

/// What a person sees of it, without the colours. (`less` ends each line with a code of its own.)
fn on_a_terminal_diff_is_the_same_whatever_one_s_pager() -> Result<()> {
    let repo = Repo::new();
    let shown = |variables: &[(&str, &str)]| {
        let mut diff = repo.command(&["diff", "2"]);
        diff.env("TERM", "linux").env("NO_COLOR", "1").envs(variables.iter().copied());
        let said = Session::on_terminal(&mut diff)?.finish()?;
        Ok((said.status, said.stdout.replace("\x1b[m", "").replace("\x1b[K", "").replace('\r', "")))
    };
    let plain: Result<_> = shown(&[("PAGER", "cat")]);
    let plain = plain?;
    assert!(plain.1.contains("+/// step02_uts\n"), "{plain:?}");
    let only_git = repo.path("bin");
    fs::create_dir(&only_git).unwrap();
    symlink(Path::new("/usr/bin/git"), only_git.join("git")).unwrap();
    for variables in [
        &[][..],
        &[("GIT_PAGER", "sort -r")],
        &[("PAGER", "/nonexistent/pager")],
        &[("LESS", "-N"), ("PAGER", "less -S")],
        &[("LESSOPEN", "|-echo OPENED")],
        &[("TERM", "dumb")],
        &[("PATH", only_git.to_str().unwrap())],
    ] {
        assert_eq!(shown(variables)?, plain, "{variables:?}");
    }
    Ok(())
}

fn compare_shows_both_sides_or_says_that_there_is_no_difference() -> Result<()> {
    let repo = Repo::new();
    let said = repo.run(&["compare", "2"]);
    assert_eq!(said.status, Some(0));
    let names = "--- a/my-container/src/main.rs\n+++ b/steps/step02_uts/src/main.rs\n";
    assert!(said.stdout.contains(names), "{said:?}");

    repo.write("my-container/src/main.rs", &main_of(&repo, "step02_uts"));
    for args in [&["compare", "2"][..], &["compare"]] {
        let said = repo.run(args);
        assert_eq!(said.status, Some(0));
        assert!(said.stderr.contains("Your program is step 02, to the letter."), "{said:?}");
    }
    Ok(())
}

fn compare_without_a_step_takes_the_closest() -> Result<()> {
    let repo = Repo::new();
    let steps = Steps::find(repo.dir.path()).unwrap();
    for step in steps.all().map(|step| steps.name(step).unwrap()) {
        let text = main_of(&repo, step).replacen("fn main()", "/// Mine.\nfn main()", 1);
        repo.write("my-container/src/main.rs", &text);
        let said = repo.run(&["compare"]);
        assert!(said.stdout.contains(&format!("+++ b/steps/{step}/")), "{step}: {said:?}");
    }
    Ok(())
}

fn a_missing_program_of_the_learner_is_named_with_the_cure() -> Result<()> {
    let repo = Repo::new();
    fs::remove_dir_all(repo.path("my-container")).unwrap();
    let said = repo.run(&["compare", "2"]);
    said.fails_with("there is no my-container/src/main.rs");
    said.fails_with("catch-up 1");
    repo.run(&["check", "1"]).fails_with("git checkout my-container");

    let said = repo.run(&["catch-up", "1"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stderr.contains("nothing of yours to save"), "{said:?}");
    assert_eq!(repo.read("my-container/src/main.rs"), main_of(&repo, "step01_exec"));
    Ok(())
}

fn catch_up_saves_everything_each_time() -> Result<()> {
    let repo = Repo::new();
    repo.write("my-container/src/notes.rs", "// notes\n");
    let said = repo.run(&["catch-up", "5"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert!(said.stderr.contains("saved in my-container/saved/1-before-step-05"), "{said:?}");
    assert_eq!(repo.read("my-container/src/main.rs"), main_of(&repo, "step05_chroot"));
    let first = |file: &str| repo.read(&format!("my-container/saved/1-before-step-05/{file}"));
    assert_eq!(first("src/main.rs"), TYPED);
    assert_eq!(first("src/notes.rs"), "// notes\n");
    assert_eq!(first("Cargo.toml"), "# typed by hand\n");
    assert_eq!(repo.read("my-container/src/notes.rs"), "// notes\n");

    repo.write("my-container/src/main.rs", "fn main() {} // typed again\n");
    repo.run(&["catch-up", "5"]);
    repo.run(&["catch-up", "5"]);
    assert_eq!(saved(&repo), ["1-before-step-05", "2-before-step-05", "3-before-step-05"]);
    assert_eq!(first("src/main.rs"), TYPED);
    let second = repo.read("my-container/saved/2-before-step-05/src/main.rs");
    assert_eq!(second, "fn main() {} // typed again\n");
    Ok(())
}

/// Who only goes from step to step is not to collect copies of the steps.
fn catch_up_saves_nothing_that_is_a_step_as_it_stands() -> Result<()> {
    let repo = Repo::new();
    repo.run(&["catch-up", "5"]);
    let said = repo.run(&["catch-up", "6"]);
    assert!(said.stderr.contains("was step 05 as it stands"), "{said:?}");
    assert_eq!(saved(&repo), ["1-before-step-05"]);
    for (file, text) in [("src/main.rs", "// mine\n"), ("Cargo.toml", "# mine\n"), ("notes", "")] {
        repo.run(&["catch-up", "6"]);
        let before = saved(&repo).len();
        repo.write(&format!("my-container/{file}"), text);
        repo.run(&["catch-up", "7"]);
        assert_eq!(saved(&repo).len(), before + 1, "{file} is the learner's");
    }
    Ok(())
}

fn catch_up_changes_nothing_if_it_cannot_save() -> Result<()> {
    let repo = Repo::new();
    repo.write("my-container/saved", "not a folder");
    repo.run(&["catch-up", "5"]).fails_with("my-container/saved");
    assert_eq!(repo.read("my-container/src/main.rs"), TYPED);

    fs::remove_file(repo.path("my-container/saved")).unwrap();
    Said::by(repo.command(&["catch-up", "5"]).env("PATH", "/nonexistent"))
        .fails_with("nothing was changed");
    assert_eq!(repo.read("my-container/src/main.rs"), TYPED);
    Ok(())
}

fn catch_up_does_not_write_through_a_link() -> Result<()> {
    let repo = Repo::new();
    let elsewhere = repo.path("elsewhere");
    fs::rename(repo.path("my-container/src"), &elsewhere).unwrap();
    symlink(&elsewhere, repo.path("my-container/src")).unwrap();
    let said = repo.run(&["catch-up", "5"]);
    assert_eq!(said.status, Some(0), "{said:?}");
    assert_eq!(repo.read("elsewhere/main.rs"), TYPED);
    assert_eq!(repo.read("my-container/src/main.rs"), main_of(&repo, "step05_chroot"));
    Ok(())
}

fn the_list_of_commands_is_plain_in_a_pipe() -> Result<()> {
    let said = Repo::new().run(&[]);
    assert_eq!(said.status, Some(0));
    assert!(said.stdout.contains("cargo workshop catch-up 5"), "{said:?}");
    assert!(!said.stdout.contains('\x1b'));
    Ok(())
}

/// A reader that is gone (`cargo workshop | head -1`) is no reason for a panic.
fn a_closed_pipe_is_no_panic() -> Result<()> {
    let (reader, writer) = nix::unistd::pipe().unwrap();
    drop(reader);
    let said = Said::by(Repo::new().command(&[]).stdout(writer));
    assert_eq!((said.status, said.stderr.as_str()), (Some(0), ""));
    Ok(())
}

fn a_full_disk_is_an_error() -> Result<()> {
    let repo = Repo::new();
    for args in [&[][..], &["diff", "2"], &["catch-up", "2"]] {
        let full = fs::File::create("/dev/full").unwrap();
        Said::by(repo.command(args).stdout(full)).fails_with("cannot write to stdout: No space");
    }
    Ok(())
}

fn cargo_builds_where_the_caller_has_said() -> Result<()> {
    let repo = Repo::with_program("");
    repo.script("cargo", "echo \"$CARGO_TARGET_DIR\" >&2; exit 101");
    let mut check = repo.command(&["check", "1"]);
    check.env("CARGO_TARGET_DIR", "elsewhere").current_dir(repo.path("my-container"));
    let (said, there) = (Said::by(&mut check), repo.path("my-container/elsewhere"));
    assert!(said.stderr.contains(&there.display().to_string()), "{said:?}");
    Ok(())
}

fn an_unknown_subcommand_is_wrong_usage() -> Result<()> {
    Repo::new().run(&["chekc"]).fails_with("chekc");
    Ok(())
}
