//! Many at a time: how many containers a second the machine starts and ends, with so many slots always full.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::starts::{in_turn, start};
use crate::stats::{Sample, digits};
use crate::subjects::{Kind, Subject};
use crate::{conditions, progress};

pub fn measure(subjects: &[Subject], smoke: bool) -> String {
    let conditions = conditions();
    let (slots, rounds, starts): (&[usize], _, _) =
        if smoke { (&[1, 10], 1, 10) } else { (&[1, 10, 50, 200], 5, 200) };
    // Step 01 to 08 are on the way: what counts is what one ends up with, and what one could use instead.
    let last = |name: &str| name.starts_with("step09") || name.starts_with("step10");
    let mut rows: Vec<_> = subjects
        .iter()
        .filter(|subject| subject.kind != Kind::Step || last(&subject.name))
        .map(|subject| (subject, vec![Sample::default(); slots.len()]))
        .collect();
    for (column, &slots) in slots.iter().enumerate() {
        progress(&format!("{slots} at a time"));
        in_turn(&mut rows, rounds, |(subject, samples)| {
            samples[column].number(rate(subject, slots, starts.max(slots)));
        });
    }
    let mut text = format!(
        "## Containers a second\n\n{conditions}. Median of {rounds} rounds (quartiles), × floor.\n\n|"
    );
    for slots in slots {
        _ = write!(text, " | {slots} at a time | × floor");
    }
    _ = writeln!(text, " |\n|---{}|", "|---|---".repeat(slots.len()));
    let floor = rows.iter().find(|(subject, _)| subject.name == "the floor");
    let floor = floor.map(|(_, samples)| samples.clone());
    for (subject, samples) in &rows {
        _ = write!(text, "| {}", subject.name);
        for (column, sample) in samples.iter().enumerate() {
            let floor = floor.as_ref().map_or(f64::NAN, |floor| floor[column].median());
            _ = write!(text, " | {} | {}", sample.show(), digits(sample.median() / floor));
        }
        text += " |\n";
    }
    text
}

/// `slots` threads that start one after the other, until there have been `starts` starts.
fn rate(subject: &Subject, slots: usize, starts: usize) -> f64 {
    let (next, started) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..slots {
            scope.spawn(|| {
                while next.fetch_add(1, Ordering::Relaxed) < starts {
                    started.fetch_add(start(subject).iter().count(), Ordering::Relaxed);
                }
            });
        }
    });
    started.into_inner() as f64 / begin.elapsed().as_secs_f64()
}
