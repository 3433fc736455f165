//! The tests of a step: `cargo test -p step05_chroot`. All ten packages have this as their test; what is in it, and for
//! which steps, the library beside it knows.

fn main() -> std::process::ExitCode {
    let program = env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME")));
    step_tests::main(env!("CARGO_PKG_NAME"), program.as_ref())
}
