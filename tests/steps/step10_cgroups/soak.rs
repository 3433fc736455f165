//! Many runs, one after the other and at once, on one root file system: every status is right, and
//! nothing is left.
//!
//! The long form: `cargo test -p step10_cgroups -- --ignored soak`.

use classroom::require;

use crate::common::*;

fn soak(sequential: u32, concurrent: u32) {
    let host = require!(host());
    let before = traces(&host);
    let step = "./step run --pids-limit 20 --memory 50M --cpus 0.5";
    // In slices, so that none takes longer than a single wait may.
    for from in (0..sequential).step_by(100) {
        let to = (from + 100).min(sequential);
        let script = format!(
            "i={from}; while [ $i -lt {to} ]; do
                {step} sh -c \"exit $((i % 256))\" 2>/dev/null; [ $? = $((i % 256)) ] || echo $i
                i=$((i + 1))
            done"
        );
        assert_eq!(host.run(&script).stdout, "", "runs with a wrong status");
    }
    let script = format!(
        "pids=; for i in $(seq {concurrent}); do
            {step} sh -c \"exit $((i % 256))\" 2>/dev/null & pids=\"$pids $!\"
        done
        i=0; for pid in $pids; do
            i=$((i + 1)); wait $pid; [ $? = $((i % 256)) ] || echo $i
        done"
    );
    assert_eq!(host.run(&script).stdout, "", "runs with a wrong status");
    assert_eq!(before, traces(&host));
    assert_eq!(host.cgroups.as_ref().expect("step 10 has cgroups").list(), [""; 0]);
}

#[test]
fn soak_in_short() {
    soak(50, 20);
}

#[test]
#[ignore = "takes minutes: 10,000 runs, and 200 at once"]
fn soak_in_full() {
    soak(10_000, 200);
}
