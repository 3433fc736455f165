//! Building: the steps as they are, and with something changed.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, bail, ensure};

use crate::{Step, Steps, git};

/// A step with something changed.
pub struct Variant<'a> {
    /// The name of the package, and of the program.
    pub package: String,
    /// The step.
    pub step: Step,
    /// What is changed.
    pub change: Change<'a>,
}

/// What is changed in a step.
pub enum Change<'a> {
    /// What this patch changes in its main.rs and its Cargo.toml.
    Patch(&'a Path),
    /// The same, without these lines of main.rs.
    Without(&'a Path, Vec<String>),
    /// All of its main.rs.
    Main(String),
}

/// Variants that are built.
pub struct Variants {
    /// The programs, in the order in which they were asked for.
    pub programs: Vec<PathBuf>,
    /// What the compiler has to say, if it has warnings.
    pub warnings: String,
}

impl Steps {
    /// The programs of some steps, built with cargo where that has not been done.
    pub fn programs(&self, steps: impl IntoIterator<Item = Step>) -> anyhow::Result<Vec<PathBuf>> {
        let names: anyhow::Result<Vec<&str>> =
            steps.into_iter().map(|step| self.name(step)).collect();
        self.packages(&names?)
    }

    /// The program of another package of the workspace, `look`, built with cargo where that has not been done.
    pub fn package(&self, name: &str) -> anyhow::Result<PathBuf> {
        Ok(self.packages(&[name])?.remove(0))
    }

    fn packages(&self, names: &[&str]) -> anyhow::Result<Vec<PathBuf>> {
        if let Some(folder) = &self.built {
            return Ok(names.iter().map(|name| folder.join(name)).collect());
        }
        let mut known = self.programs.lock().ok().context("another build has failed")?;
        if !names.iter().all(|name| known.contains_key(*name)) {
            let packages = names.iter().flat_map(|name| ["--package", name]);
            let built =
                build(cargo().current_dir(&self.root).arg("build").args(SAY).args(packages))?;
            known.extend(built.0);
        }
        names.iter().map(|name| known.get(*name).cloned().with_context(|| unnamed(name))).collect()
    }

    /// The program of a step, built with cargo where that has not been done.
    pub fn program(&self, step: Step) -> anyhow::Result<PathBuf> {
        Ok(self.programs([step])?.remove(0))
    }

    /// The program of a step with the solution of an exercise applied.
    pub fn solved(&self, step: Step, name: &str) -> anyhow::Result<PathBuf> {
        let key = format!("{step}-{name}");
        if let Some(folder) = &self.built {
            return Ok(folder.join(key));
        }
        let mut known = self.programs.lock().ok().context("another build has failed")?;
        if let Some(program) = known.get(&key) {
            return Ok(program.clone());
        }
        let patch = self.root.join(self.solution(step, name));
        let change = Change::Patch(&patch);
        let variant = Variant { package: self.name(step)?.to_string(), step, change };
        let program = self.variants(&key, &[variant])?.programs.remove(0);
        known.insert(key, program.clone());
        Ok(program)
    }

    /// The program of a step, or of the solution of an exercise, linked statically: for tools that would stumble over
    /// what the dynamic linker does in front of it.
    pub fn linked_statically(&self, step: Step, solution: Option<&str>) -> anyhow::Result<PathBuf> {
        let key = match solution {
            Some(name) => format!("{step}-{name}-static"),
            None => format!("{step}-static"),
        };
        if let Some(folder) = &self.built {
            return Ok(folder.join(key));
        }
        let mut known = self.programs.lock().ok().context("another build has failed")?;
        if let Some(program) = known.get(&key) {
            return Ok(program.clone());
        }
        let patch = solution.map(|name| self.root.join(self.solution(step, name)));
        let change = match &patch {
            Some(patch) => Change::Patch(patch),
            None => Change::Main(self.source(step)?),
        };
        let package = self.name(step)?;
        let variant = Variant { package: package.to_string(), step, change };
        // (Only this crate: how the program is linked is its business alone.)
        let args = ["rustc", "--package", package, "--", "-Ctarget-feature=+crt-static"];
        let program = self.build_variants(&key, &[variant], &args)?.programs.remove(0);
        known.insert(key, program.clone());
        Ok(program)
    }

    /// Builds variants in a workspace of their own, `target/variants/NAME`, with the dependencies of this one. What has
    /// not changed since the last time is not built again.
    pub fn variants(&self, name: &str, variants: &[Variant]) -> anyhow::Result<Variants> {
        self.build_variants(name, variants, &["build", "--workspace"])
    }

    fn build_variants(
        &self,
        name: &str,
        variants: &[Variant],
        args: &[&str],
    ) -> anyhow::Result<Variants> {
        let all = self.root.join("target/variants");
        // To cargo a package of the same name, at the same path of its workspace, is the same: hence the names of
        // folders.
        let member = |variant: &Variant| format!("{name}-{}", variant.package);
        let members: Vec<String> =
            variants.iter().map(|variant| format!("{:?}", member(variant))).collect();
        let place = all.join(name);
        let shared = self.read(Path::new("Cargo.toml"))?;
        let shared = without_tables(&shared, &["workspace"]);
        let lines = shared.lines().filter(|line| !line.contains("path = \""));
        let manifest =
            format!("[workspace]\nresolver = \"3\"\nmembers = [{}]\n\n", members.join(", "))
                + &lines.map(|line| format!("{line}\n")).collect::<String>();
        write(&place.join("Cargo.toml"), &manifest)?;
        write(&place.join("Cargo.lock"), &self.read(Path::new("Cargo.lock"))?)?;
        for variant in variants {
            let (manifest, main) = self.varied(&place, variant)?;
            let manifest = without_tables(&manifest, &["bin", "dev-dependencies", "test"]);
            let (old, new) = (self.name(variant.step)?, &variant.package);
            let line = |name: &str| format!("name = \"{name}\"\n");
            write(
                &place.join(member(variant)).join("Cargo.toml"),
                &manifest.replacen(&line(old), &line(new), 1),
            )?;
            write(&place.join(member(variant)).join("src/main.rs"), &main)?;
        }
        let mut cargo = cargo();
        let (command, args) = args.split_first().context("no command for cargo")?;
        cargo.current_dir(&place).arg(command).args(SAY).args(args);
        cargo.env("CARGO_PROFILE_DEV_DEBUG", "0");
        let (programs, warnings) = build(cargo.env("CARGO_TARGET_DIR", all.join("built")))?;
        // Where cargo puts a program, another variant of the same name comes next.
        let keep = |variant: &Variant| {
            let built = programs.iter().find(|(name, _)| *name == variant.package);
            let (name, built) = built.with_context(|| unnamed(&variant.package))?;
            let kept = place.join("programs").join(name);
            _ = fs::remove_file(&kept);
            fs::create_dir_all(place.join("programs"))
                .and_then(|()| fs::hard_link(built, &kept))
                .with_context(|| format!("cannot write {}", kept.display()))?;
            Ok(kept)
        };
        let programs = variants.iter().map(keep).collect::<anyhow::Result<_>>()?;
        Ok(Variants { programs, warnings })
    }

    /// The manifest and the source of a variant.
    fn varied(&self, place: &Path, variant: &Variant) -> anyhow::Result<(String, String)> {
        let files = [self.folder(variant.step)?.join("Cargo.toml"), self.main(variant.step)?];
        let [manifest, main] = [self.read(&files[0])?, self.read(&files[1])?];
        let patch = match &variant.change {
            Change::Main(text) => return Ok((manifest, text.clone())),
            Change::Patch(patch) | Change::Without(patch, _) => {
                patch.canonicalize().with_context(|| format!("no {}", patch.display()))?
            }
        };
        let patched = place.join("patched");
        write(&patched.join(&files[0]), &manifest)?;
        write(&patched.join(&files[1]), &main)?;
        let mut git = git();
        git.current_dir(&patched).env("LC_ALL", "C");
        let applied = git.args(["apply", "--"]).arg(&patch).output().context("cannot run git")?;
        let name = patch.file_name().unwrap_or_default().to_string_lossy();
        ensure!(
            applied.status.success(),
            "exercises/{name} does not apply to {} any more (exercises/README.md says how to mend it): {}",
            self.name(variant.step)?,
            String::from_utf8_lossy(&applied.stderr).trim()
        );
        let read = |file: &Path| {
            fs::read_to_string(patched.join(file)).context("git apply has removed it")
        };
        let mut main = read(&files[1])?;
        if let Change::Without(_, without) = &variant.change {
            let lines = main.lines().filter(|line| !without.iter().any(|one| one == line));
            main = lines.map(|line| format!("{line}\n")).collect();
        }
        Ok((read(&files[0])?, main))
    }
}

fn unnamed(name: &str) -> String {
    format!("cargo has built {name}, and does not say where")
}

fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What cargo itself was started for is not what is built here.
    cargo.env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

/// What makes cargo say only that.
const SAY: [&str; 2] = ["--quiet", "--message-format=json-render-diagnostics"];

/// Builds, and returns the programs that come of it, by name, with what the compiler says.
fn build(cargo: &mut Command) -> anyhow::Result<(Vec<(String, PathBuf)>, String)> {
    let output = cargo.output().context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_string();
    if !output.status.success() {
        bail!("it does not compile:\n{said}");
    }
    let mut programs = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        if let Some((_, rest)) = line.split_once("\"executable\":\"") {
            let path = PathBuf::from(json_string(rest));
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            programs.push((name, path));
        }
    }
    Ok((programs, said))
}

/// The string of JSON that begins here, behind its first quotation mark.
fn json_string(text: &str) -> String {
    let mut string = String::new();
    let mut letters = text.chars();
    while let Some(letter) = letters.next().filter(|letter| *letter != '"') {
        // (`\u0007` and its like are in no path that cargo can build in.)
        string.extend(if letter == '\\' { letters.next() } else { Some(letter) });
    }
    string
}

/// A manifest without some of its tables.
fn without_tables(manifest: &str, tables: &[&str]) -> String {
    let mut keep = true;
    let mut kept = String::new();
    for line in manifest.lines() {
        if line.starts_with('[') {
            keep = !tables.contains(&line.trim_matches(['[', ']']));
        }
        if keep {
            kept += line;
            kept.push('\n');
        }
    }
    kept
}

/// Writes a file, and the folders that it is in, unless that is what stands there: cargo builds what is newer.
fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    let folder = path.parent().map_or(Ok(()), fs::create_dir_all);
    folder
        .and_then(|()| fs::write(path, text))
        .with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_backslash_is_read_as_it_is() {
        assert_eq!(json_string(r#"/a\\b/\"c\", d/x","fresh":true}"#), r#"/a\b/"c", d/x"#);
    }

    #[test]
    fn tables_of_a_manifest_can_be_left_out() {
        let manifest = "[package]\nname = \"x\"\n[dev-dependencies]\na = 1\n[[test]]\nname = \"x\"\n[lints]\ny = 1\n";
        let kept = "[package]\nname = \"x\"\n[lints]\ny = 1\n";
        assert_eq!(without_tables(manifest, &["dev-dependencies", "test"]), kept);
    }
}
