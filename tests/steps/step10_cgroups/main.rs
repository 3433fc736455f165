//! The tests of step10_cgroups.

#[path = "../common/mod.rs"]
mod common;
mod limits;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;
#[path = "../common/since04.rs"]
mod since04;
#[path = "../common/since05.rs"]
mod since05;
#[path = "../common/since06.rs"]
mod since06;
#[path = "../common/since07.rs"]
mod since07;
mod soak;

const STEP: &str = "step10_cgroups";
