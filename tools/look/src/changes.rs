//! What has just changed: from picture to picture.

use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::time::Duration;

use crate::cgroup::Controller;
use crate::details::{Details, Value};
use crate::machine::{Kind, Process, Snapshot};
use crate::model::{Cell, Letter, Picture};

/// How long a change is marked.
const MARKED: Duration = Duration::from_secs(3);

/// How long somebody who has ended stays in the picture.
const KEPT: Duration = Duration::from_secs(2);

/// As many as a container has that ends with all that is in it: two halves, a shell, a command.
const FEW: usize = 4;

/// The use of the CPU is that of the last second.
const MEASURED: Duration = Duration::from_secs(1);

/// What is said of a process.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mark {
    New,
    Changed,
}

/// A process for good: numbers are given away again.
type Name = (i32, u64);

/// Values, and when each of them was last another one.
struct Watch<K, V>(BTreeMap<K, (V, Option<Duration>)>);

impl<K: Ord, V: PartialEq> Watch<K, V> {
    /// Takes a value in, and says whether it has just changed. What is seen for the first time has not.
    fn see(&mut self, key: K, value: V, now: Duration) -> bool {
        let changed = match self.0.remove(&key) {
            None => None,
            Some((before, since)) if before == value => since,
            Some(_) => Some(now),
        };
        self.0.insert(key, (value, changed));
        changed.is_some_and(|since| now < since + MARKED)
    }

    fn keep(&mut self, there: impl Fn(&K) -> bool) {
        self.0.retain(|key, _| there(key));
    }
}

impl<K, V> Default for Watch<K, V> {
    fn default() -> Watch<K, V> {
        Watch(BTreeMap::new())
    }
}

/// What is known from earlier pictures.
#[derive(Default)]
pub struct Changes {
    looked: bool,
    /// Since when each process is known; those that were there at the first look have no time.
    known: BTreeMap<Name, Option<Duration>>,
    /// Those of the last picture.
    shown: BTreeMap<Name, Rc<Process>>,
    ended: Vec<(Duration, i32, Rc<Process>)>,
    cells: Watch<Name, [Cell; Kind::ALL.len()]>,
    values: Watch<(Option<Letter>, Kind), Value>,
    met: Watch<(Letter, Controller), u64>,
    ticks: BTreeMap<Letter, VecDeque<(Duration, u64)>>,
}

/// What is marked in one picture.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Marks {
    rows: BTreeMap<Name, Mark>,
    values: Vec<(Option<Letter>, Kind)>,
    limits: Vec<(Letter, Controller)>,
    cpu: BTreeMap<Letter, u64>,
}

impl Marks {
    pub fn row(&self, pid: i32, started: u64) -> Option<Mark> {
        self.rows.get(&(pid, started)).copied()
    }

    /// Whether what is in a namespace has just changed.
    pub fn value(&self, letter: Option<Letter>, kind: Kind) -> bool {
        self.values.contains(&(letter, kind))
    }

    /// Whether a limit has just been met.
    pub fn limit(&self, letter: Letter, controller: Controller) -> bool {
        self.limits.contains(&(letter, controller))
    }

    /// How much of a CPU a container uses, in thousandths. None if that was seen only once.
    pub fn cpu(&self, letter: Letter) -> Option<u64> {
        self.cpu.get(&letter).copied()
    }
}

impl Changes {
    /// Puts those who have just ended back into the snapshot, so that they are seen to end.
    pub fn keep_ended(&mut self, snapshot: &mut Snapshot, now: Duration) {
        for ((pid, started), process) in std::mem::take(&mut self.shown) {
            let there = snapshot.processes.get(&pid);
            if there.is_none_or(|one| one.stat.started != started) && !process.ended {
                let process = Process { ended: true, ..(*process).clone() };
                self.ended.push((now, pid, Rc::new(process)));
            }
        }
        self.ended
            .retain(|(since, pid, _)| now < *since + KEPT && !snapshot.processes.contains_key(pid));
        // Those of a fork bomb would only be in the way.
        if self.ended.len() > FEW {
            self.ended.clear();
        }
        for (_, pid, process) in &self.ended {
            snapshot.processes.insert(*pid, process.clone());
        }
    }

    /// Takes a picture in, and says what is to be marked in it.
    pub fn mark(
        &mut self,
        snapshot: &Snapshot,
        picture: &Picture,
        details: &Details,
        now: Duration,
    ) -> Marks {
        let mut marks = Marks::default();
        self.processes(snapshot, picture, now, &mut marks);
        let host = (None, &details.host);
        let others = details.containers.iter().map(|(letter, contents)| (Some(*letter), contents));
        for (letter, contents) in [host].into_iter().chain(others) {
            for kind in Kind::ALL {
                // On a host there is always somebody who comes or goes.
                let changed = self.values.see((letter, kind), contents[kind as usize].clone(), now);
                if changed && (letter, kind) != (None, Kind::Pid) {
                    marks.values.push((letter, kind));
                }
            }
        }
        for limits in &details.limits {
            for limit in limits.limits.iter().flatten() {
                let name = (limits.letter, limit.controller);
                if self.met.see(name, limit.met, now) {
                    marks.limits.push(name);
                }
            }
            if let Some(use_) = self.cpu(limits.letter, limits.ticks, now) {
                marks.cpu.insert(limits.letter, use_);
            }
        }
        let letters: Vec<Letter> = details.limits.iter().map(|limits| limits.letter).collect();
        let there = |letter: &Letter| letters.contains(letter);
        self.values.keep(|(letter, _)| letter.as_ref().is_none_or(there));
        self.met.keep(|(letter, _)| there(letter));
        self.ticks.retain(|letter, _| there(letter));
        self.looked = true;
        marks
    }

    fn processes(
        &mut self,
        snapshot: &Snapshot,
        picture: &Picture,
        now: Duration,
        marks: &mut Marks,
    ) {
        let known = snapshot.processes.iter().map(|(pid, process)| {
            let name = (*pid, process.stat.started);
            (name, self.known.get(&name).copied().unwrap_or(self.looked.then_some(now)))
        });
        self.known = known.collect();
        for row in &picture.rows {
            let Some(pid) = row.pid else { continue };
            let name = (pid, row.started);
            if self.cells.see(name, row.cells, now) {
                marks.rows.insert(name, Mark::Changed);
            }
            let since = self.known.get(&name).copied().flatten();
            if since.is_some_and(|since| now < since + MARKED) {
                marks.rows.insert(name, Mark::New);
            }
            if let Some(process) = snapshot.processes.get(&pid) {
                self.shown.insert(name, process.clone());
            }
        }
        let there = &self.shown;
        self.cells.keep(|name| there.contains_key(name));
    }

    /// The share of a CPU in the last second, in thousandths.
    fn cpu(&mut self, letter: Letter, ticks: u64, now: Duration) -> Option<u64> {
        let looks = self.ticks.entry(letter).or_default();
        looks.push_back((now, ticks));
        while looks.len() > 2 && looks[1].0 + MEASURED <= now {
            looks.pop_front();
        }
        let (since, before) = *looks.front()?;
        let time = (now - since).as_millis() as u64;
        (time > 0).then(|| ticks.saturating_sub(before) * 10 * 1000 / time)
    }
}
