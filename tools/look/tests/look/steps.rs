//! The ten pictures: what does a step share with the host?

use classroom::trial::{Trial, trial};
use classroom::{Result, trials};

use crate::lab::{Lab, printed, snapshot};

pub fn all() -> Vec<Trial> {
    let mut all = trials![narrow_and_wide, ascii];
    all.extend((1..=10).map(|step| trial(format!("step{step:02}"), move || picture(step))));
    all
}

/// What somebody sees who has typed `run sh` in the first terminal, and looks in the second.
fn picture(step: u8) -> Result<()> {
    let lab = Lab::new(step)?;
    let _terminal = lab.step("")?;
    snapshot(&format!("step{step:02}"), &lab.normal(&lab.look(100)?));
    Ok(())
}

/// On a projector, and on a wide screen; with all limits.
fn narrow_and_wide() -> Result<()> {
    let lab = Lab::new(10)?;
    let _terminal = lab.step("--pids-limit 20 --memory 50m --cpus 0.5")?;
    for columns in [80, 130] {
        let picture = lab.normal(&lab.look(columns)?);
        let widest = picture.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns as usize), "{picture}");
        snapshot(&format!("step10_{columns}"), &picture);
    }
    Ok(())
}

/// Without UTF-8 in the locale there is none in the picture, and it is as wide.
fn ascii() -> Result<()> {
    let lab = Lab::new(10)?;
    let _terminal = lab.step("")?;
    let look = ["env", "LANG=C", "COLUMNS=80", "./look", "--once"];
    let picture = lab.normal(&printed(&mut lab.command(look))?);
    assert!(picture.is_ascii(), "{picture}");
    snapshot("step10_ascii", &picture);
    Ok(())
}
