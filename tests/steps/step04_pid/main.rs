//! The tests of step04_pid.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/scenes.rs"]
mod scenes;
#[path = "../common/since01.rs"]
mod since01;
#[path = "../common/since04.rs"]
mod since04;

const STEP: &str = "step04_pid";
