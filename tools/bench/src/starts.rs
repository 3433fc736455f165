//! One start after the other: lone ones, and back to back.

use std::fmt::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::stats::{Sample, ratio};
use crate::subjects::{Kind, Subject};
use crate::{conditions, progress};

/// The rest before a lone start.
const REST: Duration = Duration::from_millis(100);
/// How many starts back to back are one round.
const BLOCK: usize = 5;

pub struct Row {
    pub subject: Subject,
    pub lone: Sample,
    pub back_to_back: Sample,
}

pub struct Starts {
    pub rows: Vec<Row>,
    pub conditions: String,
}

/// How many starts have failed. A fast failure must not look like a fast runner, so they are in no figure.
pub static FAILURES: AtomicUsize = AtomicUsize::new(0);

/// Starts it once, and says how long that took, if it worked.
pub fn start(subject: &Subject) -> Option<Duration> {
    let mut command = subject.start();
    let begin = Instant::now();
    let status = command.status();
    let time = begin.elapsed();
    if status.as_ref().is_ok_and(|status| status.success()) {
        return Some(time);
    }
    FAILURES.fetch_add(1, Ordering::Relaxed);
    eprintln!("bench: {} failed: {status:?}", subject.name);
    None
}

/// Every subject `rounds` times, lone and back to back.
pub fn measure(subjects: &[Subject], rounds: usize) -> Starts {
    let conditions = conditions();
    let new = |subject: &Subject| Row {
        subject: subject.clone(),
        lone: Sample::default(),
        back_to_back: Sample::default(),
    };
    let mut rows: Vec<_> = subjects.iter().map(new).collect();
    progress(&format!("{} subjects, {rounds} lone starts each", subjects.len()));
    in_turn(&mut rows, rounds, |row| {
        sleep(REST);
        row.lone.time(start(&row.subject));
    });
    progress(&format!("{} subjects, {rounds} starts each, back to back", subjects.len()));
    in_turn(&mut rows, rounds.div_ceil(BLOCK), |row| {
        // The first one of a block still pays for the other subject before it.
        start(&row.subject);
        for _ in 0..BLOCK {
            row.back_to_back.time(start(&row.subject));
        }
    });
    Starts { rows, conditions }
}

/// Everybody's turn once a round, in an order that is new each time.
pub fn in_turn<T>(subjects: &mut [T], rounds: usize, mut turn: impl FnMut(&mut T)) {
    let mut order: Vec<_> = (0..subjects.len()).collect();
    for _ in 0..rounds {
        fastrand::shuffle(&mut order);
        for &index in &order {
            turn(&mut subjects[index]);
        }
    }
}

impl Starts {
    fn row(&self, name: &str) -> Option<&Row> {
        self.rows.iter().find(|row| row.subject.name == name)
    }

    pub fn report(&self) -> String {
        let mut text = format!(
            "## Starting `/bin/true`\n\n{}. Milliseconds: median (quartiles).\n\n\
             | | lone | × floor | back to back | × floor | |\n|---|---|---|---|---|---|\n",
            self.conditions
        );
        let floor = self.row("the floor");
        let times = |sample: &Sample, of: fn(&Row) -> &Sample| {
            floor.map_or("—".to_string(), |floor| ratio(sample, of(floor)))
        };
        for row in &self.rows {
            _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} |",
                row.subject.name,
                row.lone.show(),
                times(&row.lone, |row| &row.lone),
                row.back_to_back.show(),
                times(&row.back_to_back, |row| &row.back_to_back),
                row.subject.what,
            );
        }
        text += &self.against_peers();
        text
    }

    /// The last two steps against everything else that does the same.
    fn against_peers(&self) -> String {
        let ours: Vec<_> = ["step09_user", "step10_cgroups"]
            .iter()
            .flat_map(|step| [step.to_string(), format!("{step}, static")])
            .filter_map(|name| self.row(&name))
            .chain(self.rows.iter().filter(|row| row.subject.kind == Kind::Mine))
            .collect();
        let mut text = String::from("\nThe same as ratios, lone / back to back:\n\n|");
        for row in &ours {
            _ = write!(text, " | {}", row.subject.name);
        }
        _ = writeln!(text, " |\n|---{}|", "|---".repeat(ours.len()));
        for peer in &self.rows {
            if !matches!(peer.subject.kind, Kind::Floor | Kind::Peer) {
                continue;
            }
            _ = write!(text, "| to {}", peer.subject.name);
            for row in &ours {
                let lone = ratio(&row.lone, &peer.lone);
                let back_to_back = ratio(&row.back_to_back, &peer.back_to_back);
                _ = write!(text, " | {lone} / {back_to_back}");
            }
            text += " |\n";
        }
        text
    }
}
