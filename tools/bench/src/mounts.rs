//! Growth: every mount namespace begins as a copy of the host's, mount by mount.

use std::env;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::Context;
use classroom::root::is_root;
use nix::mount::{MsFlags, mount};

use crate::starts::{in_turn, start};
use crate::stats::{Sample, digits};
use crate::subjects::{Kind, Subject};
use crate::{Cli, conditions, output, progress};

/// The hosts that are compared, in mounts. A machine that has more than the first number already is measured as it is.
const HOSTS: [usize; 2] = [20, 1000];

/// Runs this program again for each host, in a mount namespace that is gone afterwards.
pub fn measure(cli: &Cli, subjects: &[Subject]) -> anyhow::Result<String> {
    let conditions = conditions();
    if !is_root() {
        return Ok("## Mounts on the host\n\nNot measured: needs root.\n".into());
    }
    let rounds = if cli.smoke { 2 } else { cli.rounds };
    let mut hosts = Vec::new();
    for mounts in HOSTS {
        progress(&format!("a host with {mounts} mounts"));
        let mut this = Command::new(env::current_exe()?);
        this.args(["--built", "--among-mounts", &mounts.to_string()]);
        this.args(["--rounds", &rounds.to_string()]).args(cli.smoke.then_some("--smoke"));
        let text = output(this.stderr(std::process::Stdio::null()))?;
        let host: Vec<(String, String, f64)> = text
            .lines()
            .filter_map(|line| {
                let mut fields = line.split('\t').map(str::to_string);
                Some((fields.next()?, fields.next()?, fields.next()?.parse().ok()?))
            })
            .collect();
        let count = text.lines().find_map(|line| line.strip_prefix("mounts ")).unwrap_or("?");
        hosts.push((count.to_string(), host));
    }
    let mut text = format!(
        "## Mounts on the host\n\n{conditions}. Milliseconds, back to back: median (quartiles).\n\n|"
    );
    for (count, _) in &hosts {
        _ = write!(text, " | {count} mounts");
    }
    text += " | × |\n|---|---|---|---|\n";
    for subject in subjects {
        let figures = hosts
            .iter()
            .filter_map(|(_, host)| host.iter().find(|(name, ..)| *name == subject.name));
        let figures: Vec<_> = figures.collect();
        if let [(_, few, few_median), (_, many, many_median)] = &figures[..] {
            let ratio = digits(many_median / few_median);
            _ = writeln!(text, "| {} | {few} | {many} | {ratio} |", subject.name);
        }
    }
    Ok(text)
}

/// The other half, in a mount namespace of its own (`host()` has made it): adds mounts, and measures.
pub fn among(subjects: &[Subject], wanted: usize, rounds: usize) -> anyhow::Result<()> {
    let count = || -> anyhow::Result<usize> {
        Ok(fs::read_to_string("/proc/self/mountinfo")
            .context("cannot count mounts")?
            .lines()
            .count())
    };
    // In memory and unseen from outside; one mount on top of the other would be found faster than they are on a host.
    let none: Option<&str> = None;
    let place = Path::new("/mnt");
    if count()? < wanted {
        mount(Some("tmpfs"), place, Some("tmpfs"), MsFlags::empty(), none)
            .with_context(|| format!("cannot mount on {place:?}"))?;
    }
    for number in 0..wanted.saturating_sub(count()?) {
        let dir = place.join(number.to_string());
        fs::create_dir(&dir).with_context(|| format!("cannot make {dir:?}"))?;
        mount(Some("tmpfs"), &dir, Some("tmpfs"), MsFlags::empty(), none)
            .with_context(|| format!("cannot mount on {dir:?}"))?;
    }
    println!("mounts {}", count()?);
    let compared =
        |subject: &&Subject| subject.kind != Kind::Step || subject.name > "step07".into();
    let mut rows: Vec<_> =
        subjects.iter().filter(compared).map(|subject| (subject, Sample::default())).collect();
    in_turn(&mut rows, rounds, |(subject, sample)| sample.time(start(subject)));
    for (subject, sample) in rows {
        println!("{}\t{}\t{}", subject.name, sample.show(), sample.median());
    }
    Ok(())
}
