//! The checks as tests of `my-container`, for those who would rather use cargo than `cargo workshop check`:
//!
//!     cargo test -p my-container step_05

fn main() -> std::process::ExitCode {
    checks::mine::main(env!(concat!("CARGO_BIN_EXE_", env!("CARGO_PKG_NAME"))).as_ref())
}
