//! A repository in which each step has one line more than the one before, and a learner's crate.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use steps::{Steps, repository};
use tempfile::TempDir;

pub struct Repo {
    pub dir: TempDir,
    /// What `cargo workshop` is.
    workshop: PathBuf,
}

impl Repo {
    pub fn new() -> Repo {
        let repo =
            Repo { dir: TempDir::new().unwrap(), workshop: env!("CARGO_BIN_EXE_workshop").into() };
        let mut lines =
            String::from("line();\ncommand.spawn();\nstatus.code()\nline();\nfn main() {}\n");
        let steps = Steps::find(repository()).unwrap();
        for step in steps.all() {
            let name = steps.name(step).unwrap();
            lines += &format!("/// {name}\n");
            let source = format!("//! Step {step}: idea {}. More.\n{lines}", step.number());
            repo.write(&format!("steps/{name}/src/main.rs"), &source);
            let manifest = format!("[package]\nname = \"{name}\"\n");
            repo.write(&format!("steps/{name}/Cargo.toml"), &manifest);
        }
        repo.write("Cargo.toml", "");
        repo.write("my-container/Cargo.toml", "# typed by hand\n");
        repo.write("my-container/src/main.rs", "fn main() {} // typed by hand\n");
        repo
    }

    /// With a cargo that builds nothing, and a program of the learner: a shell script.
    pub fn with_program(program: &str) -> Repo {
        let mut repo = Repo::new();
        fs::create_dir(repo.path("rootfs")).unwrap();
        repo.script("target/debug/my-container", program);
        repo.script("cargo", "echo \"cargo $*\" >&2");
        // cp(1), not fs::copy: see classroom::executable.
        let installed = repo.path("target/debug/workshop");
        assert!(Command::new("cp").arg(&repo.workshop).arg(&installed).status().unwrap().success());
        repo.workshop = installed;
        repo
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        let file = self.path(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    pub fn script(&self, name: &str, text: &str) {
        classroom::executable(&self.path(name), &format!("#!/bin/sh\n{text}\n")).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    /// `cargo workshop ARGS`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.workshop);
        command.args(args).current_dir(self.dir.path()).stdin(Stdio::null());
        command.env_remove("NO_COLOR").env_remove("CLICOLOR_FORCE");
        command.env("CARGO", self.path("cargo"));
        // Nobody's own git settings change what the tests see.
        command.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
        command
    }

    pub fn run(&self, args: &[&str]) -> Said {
        Said::by(&mut self.command(args))
    }
}

/// What a command has said, and its exit status.
#[derive(Debug)]
pub struct Said {
    pub status: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Said {
    pub fn by(command: &mut Command) -> Said {
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { status: status.code(), stdout: text(stdout), stderr: text(stderr) }
    }

    /// Wrong usage, or it could not do its work; and why.
    #[track_caller]
    pub fn fails_with(&self, why: &str) {
        assert_eq!(self.status, Some(2), "{self:?}");
        assert!(self.stderr.contains(why), "no {why:?} in {self:?}");
        assert!(!self.stderr.contains("panicked"), "{self:?}");
    }
}

/// `cargo workshop ARGS` in any folder.
pub fn workshop(folder: &Path, args: &[impl AsRef<OsStr>]) -> Said {
    Said::by(Command::new(env!("CARGO_BIN_EXE_workshop")).args(args).current_dir(folder))
}
