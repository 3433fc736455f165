//! Your own container. Type it here, step by step, along workshop.md; `cargo workshop check` says how far it is.
//!
//!     cargo run -p my-container -- run sh

fn main() {
    eprintln!("my-container: nothing is here yet; step 01 of workshop.md tells what to type first");
}
