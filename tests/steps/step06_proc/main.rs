//! The tests of step06_proc.

#[path = "../common/mod.rs"]
mod common;
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

const STEP: &str = "step06_proc";
