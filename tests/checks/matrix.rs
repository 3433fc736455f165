//! The checker is checked: all checks on all ten steps. A check fails on the steps before its own, and passes from there on,
//! as long as it holds. One that passes everywhere would prove nothing.
//!
//!     cargo test -p checks-tests --test matrix -- --nocapture     prints the table

use std::fmt::Write;
use std::path::Path;
use std::thread;

use checks::Bench;
use checks::CHECKS;
use checks::Verdict;
use classroom::Missing;
use steps::Step;
use steps::Steps;
use steps::repository;

/// What all checks say of one program: the letters of a column of the table.
fn column(program: &Path) -> Vec<Verdict> {
    let mut bench = Bench::new(program);
    CHECKS.into_iter().flatten().map(|check| bench.run(check)).collect()
}

#[test]
fn every_check_fails_before_its_step_and_passes_from_it_on() {
    let steps = Steps::find(repository()).unwrap();
    let programs = steps.programs(Step::all()).unwrap();
    let half = |odd: usize| {
        let programs = &programs;
        move || {
            programs.iter().skip(odd).step_by(2).map(|program| column(program)).collect::<Vec<_>>()
        }
    };
    // Two at a time: most of a check is waiting.
    let (even, odd) = thread::scope(|scope| {
        let odd = scope.spawn(half(1));
        (half(0)(), odd.join().expect("a column panicked"))
    });
    let columns: Vec<Vec<Verdict>> =
        even.into_iter().zip(odd).flat_map(|(one, other)| [one, other]).collect();

    let mut table = String::from("                     01 02 03 04 05 06 07 08 09 10\n");
    let mut wrong = String::new();
    let mut impossible = Vec::new();
    for (row, check) in CHECKS.into_iter().flatten().enumerate() {
        write!(table, "{:02} {:<17}", check.from, check.name).expect("a String");
        for (column, step) in columns.iter().zip(1..) {
            let expected = (check.from..=check.until).contains(&step);
            let (letter, passed) = match &column[row] {
                Verdict::Passed => ("+", Some(true)),
                Verdict::Failed(_) => (".", Some(false)),
                Verdict::Impossible(_) => ("?", None),
            };
            write!(table, "{letter:>3}").expect("a String");
            if let Verdict::Impossible(why) = &column[row] {
                impossible.push(format!("{} on step {step}: {why}", check.name));
            } else if passed != Some(expected) {
                writeln!(wrong, "{} on step {step}: {:#?}", check.name, column[row])
                    .expect("a String");
            }
        }
        table.push('\n');
    }
    println!("{table}  + passes   . fails   ? cannot be made here");
    assert!(wrong.is_empty(), "{table}{wrong}");
    if let Some(why) = impossible.first() {
        classroom::need::skip(&Missing { why: why.clone(), by_nature: false }, "checks::matrix");
    }
}
