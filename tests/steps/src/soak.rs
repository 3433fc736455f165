//! Many runs, one after the other and at once, on one root file system: every status is right, and nothing is left.
//! (The long form: cargo run -p hold -- --soak 10000)

use classroom::Result;

use crate::*;

tests! { TESTS: soak }

fn soak(host: &Lab) -> Result<()> {
    let before = traces(host)?;
    let step = "./step run --pids-limit 20 --memory 50M --cpus 0.5";
    let sequential = format!(
        "i=0; while [ $i -lt 50 ]; do
            {step} sh -c \"exit $i\" 2>/dev/null; [ $? = $i ] || echo $i
            i=$((i + 1))
        done"
    );
    let at_once = format!(
        "pids=; for i in $(seq 20); do
            {step} sh -c \"exit $i\" 2>/dev/null & pids=\"$pids $!\"
        done
        i=0; for pid in $pids; do
            i=$((i + 1)); wait $pid; [ $? = $i ] || echo $i
        done"
    );
    for script in [sequential, at_once] {
        assert_eq!(host.run(&script)?.stdout, "", "runs with a wrong status");
    }
    assert_eq!(before, traces(host)?);
    Ok(())
}
