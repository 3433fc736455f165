//! The tests of step02_uts.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;

const STEP: &str = "step02_uts";
