//! The checks as tests of `my-container`, for those who would rather use cargo than `cargo workshop check`:
//!
//!     cargo test -p my-container --test checks step_05

use checks::assert_step;

const PROGRAM: &str = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));

#[test]
fn step_01() {
    assert_step(1, PROGRAM.as_ref());
}

#[test]
fn step_02() {
    assert_step(2, PROGRAM.as_ref());
}

#[test]
fn step_03() {
    assert_step(3, PROGRAM.as_ref());
}

#[test]
fn step_04() {
    assert_step(4, PROGRAM.as_ref());
}

#[test]
fn step_05() {
    assert_step(5, PROGRAM.as_ref());
}

#[test]
fn step_06() {
    assert_step(6, PROGRAM.as_ref());
}

#[test]
fn step_07() {
    assert_step(7, PROGRAM.as_ref());
}

#[test]
fn step_08() {
    assert_step(8, PROGRAM.as_ref());
}

#[test]
fn step_09() {
    assert_step(9, PROGRAM.as_ref());
}

#[test]
fn step_10() {
    assert_step(10, PROGRAM.as_ref());
}
