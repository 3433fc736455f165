//! From the processes of a moment to a picture: which of them are shown, and in which order, and what each of them
//! shares with the host.

use std::collections::{BTreeMap, BTreeSet};

use crate::machine::{Id, Kind, PROGRAM_ITSELF, Place, Process, Snapshot};
use crate::proc;

/// Names a container: 0 is A, 25 Z, 26 AA.
pub type Letter = usize;

/// The letters of a container.
pub fn letters(letter: Letter) -> String {
    let last = char::from(b'A' + (letter % 26) as u8);
    match letter / 26 {
        0 => last.to_string(),
        more => letters(more - 1) + &last.to_string(),
    }
}

/// What a process has, in one respect.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Cell {
    /// It shares the host's.
    Host,
    /// That of this container.
    Own(Letter),
    /// Not the host's; more may not be seen.
    Elsewhere,
    /// May not be seen.
    Closed,
    /// It has ended.
    None,
}

/// A line of the tree.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// None for a line that says how many are left out.
    pub pid: Option<i32>,
    /// When it was started: with the PID its name for good.
    pub started: u64,
    /// For each level, whether something follows on it: from left to right, the last one is the row's own.
    pub branches: Vec<bool>,
    /// Its numbers in its own PID namespace and those between that and ours; none if it is in ours.
    pub inside: Vec<i32>,
    /// Its user, as we see it.
    pub user: u32,
    /// Its user inside: none in our user namespace.
    pub user_inside: Option<u32>,
    pub cells: [Cell; Kind::ALL.len()],
    pub command: Vec<String>,
    /// How many processes this line stands for.
    pub count: usize,
    pub zombie: bool,
    pub ended: bool,
}

/// What a letter stands for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Container {
    pub letter: Letter,
    /// By kind: one process (that is alive) in each namespace that is called by this letter; or in one that is not the
    /// host's, if that is all that may be seen.
    pub spots: [Option<i32>; Kind::ALL.len()],
    /// By kind, where there is none: what its processes have instead.
    pub instead: [Cell; Kind::ALL.len()],
    /// How many processes see each other in its PID namespace.
    pub processes: usize,
    /// Its processes, in the order of the picture.
    pub members: Vec<i32>,
    /// Who has started the first of them.
    pub outside: Option<i32>,
}

/// What is shown.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Picture {
    pub rows: Vec<Row>,
    pub containers: Vec<Container>,
    /// How many containers are shown with all that is in them; there may be others inside of one.
    pub trees: usize,
    /// How many of them nobody at a terminal has started.
    pub foreign: usize,
    /// Whether anybody is shown who has anything of their own: else these are the terminals.
    pub contained: bool,
    /// What is not shown for want of room: the programs, and how often.
    pub folded: Vec<(String, usize)>,
    /// Services that the system has fenced in, in the same way.
    pub services: Vec<(String, usize)>,
    /// The processes that the host counts.
    pub processes: usize,
    /// How many processes are not for us to see.
    pub closed: usize,
    /// Whether /proc hides other people's processes.
    pub hidden: bool,
    /// In which respects PID 1 is not where `look` is.
    pub astray: Vec<Kind>,
    /// Those whose changes matter: who is shown, and everybody who is in a container that is shown.
    pub watched: Vec<i32>,
}

/// How much is to be shown.
#[derive(Clone, Copy, Debug)]
pub struct Room {
    /// Containers, at most.
    pub containers: usize,
    /// Lines of the tree, at most.
    pub rows: usize,
    /// Also services.
    pub all: bool,
}

/// As many identical neighbours become one line.
const CROWD: usize = 4;

/// Which namespace is called by which letter. It is kept from look to look, so that they keep their names.
#[derive(Default)]
pub struct Names(BTreeMap<(Kind, Id), Letter>);

impl Names {
    fn is_free(&self, letter: Letter, kind: Kind) -> bool {
        !self.0.iter().any(|((other, _), known)| *other == kind && *known == letter)
    }

    /// Names what a process has of its own, and returns the container that it belongs to: that of what it has beyond
    /// its parent, or its parent's.
    ///
    /// What is new belongs to the parent's container, which is still being set up, as long as that has none of the
    /// kind. A second one of a kind is another container's.
    fn name(&mut self, own: &[(Kind, Id)], above: &Above) -> Option<Letter> {
        let unnamed = own.iter().filter(|one| !self.0.contains_key(one));
        let new: Vec<(Kind, Id)> = unnamed.copied().collect();
        let fits = |letter: &Letter| new.iter().all(|(kind, _)| self.is_free(*letter, *kind));
        let letter = above.letter.filter(fits).unwrap_or_else(|| {
            let taken: BTreeSet<Letter> = self.0.values().copied().collect();
            (0..).find(|letter| !taken.contains(letter)).unwrap_or_default()
        });
        self.0.extend(new.into_iter().map(|one| (one, letter)));
        let mut count: BTreeMap<Letter, usize> = BTreeMap::new();
        for one in own.iter().filter(|one| !above.own.contains(one)) {
            *count.entry(self.0[one]).or_default() += 1;
        }
        // Whoever has joined several belongs to the one that it has the most of.
        let most = count.into_iter().max_by_key(|(letter, count)| (*count, *letter));
        most.map(|(letter, _)| letter).or(above.letter)
    }

    /// Forgets what nobody has any more.
    fn keep(&mut self, used: &BTreeSet<(Kind, Id)>) {
        self.0.retain(|one, _| used.contains(one));
    }
}

/// A process of the tree, and those below it.
struct Node {
    pid: i32,
    children: Vec<Node>,
    /// How many processes it stands for.
    count: usize,
}

/// A top process that is shown with all that is below it.
struct Tree {
    top: i32,
    /// The smaller, the more it concerns who looks.
    rank: u32,
    /// Whether somebody in it certainly has something of their own.
    known: bool,
    started: u64,
}

const UNKNOWN: u32 = 1;
const FOREIGN: u32 = 2;
const SERVICE: u32 = 4;

/// Makes the picture.
pub fn picture(snapshot: &Snapshot, names: &mut Names, room: Room) -> Picture {
    let viewer = Viewer::new(snapshot);
    let mut trees = viewer.trees();
    let contained = trees.iter().any(|tree| tree.known && (tree.rank < SERVICE || room.all));
    if !contained {
        // In those is also what may be a container, and is not for us to see.
        trees.retain(|tree| tree.rank == SERVICE);
        trees.extend(viewer.terminals());
    }
    trees.sort_by_key(|tree| (tree.rank, std::cmp::Reverse(tree.started)));
    let mut picture = Picture {
        contained,
        processes: snapshot.processes.values().filter(|one| !one.ended).count(),
        closed: snapshot.closed + snapshot.processes.values().filter(|one| one.closed()).count(),
        hidden: snapshot.hidden,
        astray: snapshot.astray.clone(),
        ..Picture::default()
    };
    if !room.all {
        picture.services = viewer.programs(trees.iter().filter(|tree| tree.rank == SERVICE));
        trees.retain(|tree| tree.rank < SERVICE);
    }
    let folded = trees.split_off(trees.len().min(room.containers));
    picture.folded = viewer.programs(folded.iter());
    picture.trees = trees.len();
    picture.foreign = trees.iter().filter(|tree| tree.rank >= FOREIGN).count();
    let containers = BTreeMap::new();
    let mut painter = Painter { viewer: &viewer, names, containers, used: BTreeSet::new() };
    let mut rows = Vec::new();
    for node in viewer.forest(&trees) {
        let mut tree = Vec::new();
        painter.node(&node, Above::default(), &mut Vec::new(), &mut tree);
        rows.push(tree);
    }
    picture.rows = shorten(rows, room.rows);
    let Painter { containers, used, .. } = painter;
    names.keep(&used);
    let named = |process: &Process| {
        Kind::ALL.into_iter().any(|kind| match process.place(kind) {
            Place::In(id) => names.0.contains_key(&(kind, id)),
            _ => false,
        })
    };
    let inside =
        snapshot.processes.iter().filter(|(_, process)| !process.at_home && named(process));
    let shown = picture.rows.iter().filter_map(|row| row.pid);
    picture.watched = inside.map(|(pid, _)| *pid).chain(shown).collect();
    picture.containers = containers.into_values().collect();
    for container in &mut picture.containers {
        if let Some(member) = container.spots[Kind::Pid as usize] {
            container.processes = population(snapshot, member);
        }
    }
    picture
}

/// The machine, as somebody looks at it.
struct Viewer<'a> {
    snapshot: &'a Snapshot,
    children: BTreeMap<i32, Vec<i32>>,
    /// `look` itself, and what it has started.
    own: BTreeSet<i32>,
    /// The sessions that `look` runs in: sudo makes one more.
    sessions: BTreeSet<i32>,
}

impl<'a> Viewer<'a> {
    fn new(snapshot: &'a Snapshot) -> Viewer<'a> {
        let children = snapshot.children();
        let mut own = BTreeSet::from([snapshot.me]);
        let mut left = vec![snapshot.me];
        while let Some(pid) = left.pop() {
            for child in children.get(&pid).into_iter().flatten() {
                if own.insert(*child) {
                    left.push(*child);
                }
            }
        }
        let line = snapshot.ancestors(snapshot.me).into_iter().chain([snapshot.me]);
        let session = |pid| snapshot.processes.get(&pid).map(|one| one.stat.session);
        let sessions = line.filter_map(session).filter(|session| *session != 0).collect();
        Viewer { snapshot, children, own, sessions }
    }

    fn process(&self, pid: i32) -> &'a Process {
        &self.snapshot.processes[&pid]
    }

    /// What may be a container, and is not for us to see: started from a terminal by somebody else in the name of
    /// who looks (sudo).
    fn suspicious(&self, pid: i32) -> bool {
        let process = self.process(pid);
        let mine = |ancestor: &i32| {
            let one = self.process(*ancestor);
            one.stat.terminal != 0 && one.user == self.snapshot.user && !one.closed()
        };
        process.closed()
            && process.stat.terminal != 0
            && !self.sessions.contains(&process.stat.session)
            && self.snapshot.ancestors(pid).iter().any(mine)
    }

    /// The outermost processes that have something of their own, or may have.
    fn trees(&self) -> Vec<Tree> {
        let mine = |pid: &&i32| !self.own.contains(pid);
        let pids: Vec<i32> = self.snapshot.processes.keys().filter(mine).copied().collect();
        let known = pids.iter().filter(|pid| !self.process(**pid).at_home).copied();
        let known: BTreeSet<i32> = known.collect();
        let mut all: BTreeSet<i32> = pids.into_iter().filter(|pid| self.suspicious(*pid)).collect();
        all.extend(&known);
        let top = |pid: i32| {
            let above = self.snapshot.ancestors(pid);
            above.into_iter().rfind(|ancestor| all.contains(ancestor)).unwrap_or(pid)
        };
        let known: BTreeSet<i32> = known.into_iter().map(top).collect();
        let tops: BTreeSet<i32> = all.iter().copied().map(top).collect();
        let tree = |top: i32| {
            let known = known.contains(&top);
            let rank = if known { self.rank(top) } else { UNKNOWN };
            Tree { top, rank, known, started: self.process(top).stat.started }
        };
        tops.into_iter().map(tree).collect()
    }

    fn rank(&self, top: i32) -> u32 {
        let process = self.process(top);
        let line: Vec<i32> = [top].into_iter().chain(self.snapshot.ancestors(top)).collect();
        let on_terminal = |pid: &&i32| self.process(**pid).stat.terminal != 0;
        if line.iter().any(|pid| on_terminal(&pid)) {
            let mine = |pid: &&i32| self.process(**pid).user == self.snapshot.user;
            return if line.iter().filter(on_terminal).any(|pid| mine(&pid)) { 0 } else { 1 };
        }
        let own = |kind: Kind| {
            let place = process.place(kind);
            place != Place::Closed && !self.snapshot.is_host(kind, place)
        };
        let deep = own(Kind::Pid) || own(Kind::Root);
        let by_system = self.snapshot.parent(top).is_none_or(|parent| parent == 1);
        match (deep, by_system) {
            (true, _) => 2,
            (false, false) => 3,
            (false, true) => SERVICE,
        }
    }

    /// What runs in other terminals: for who has no container yet.
    fn terminals(&self) -> Vec<Tree> {
        let mut trees = Vec::new();
        for (pid, process) in &self.snapshot.processes {
            let top =
                self.snapshot.parent(*pid).is_none_or(|one| self.process(one).stat.terminal == 0);
            if process.stat.terminal != 0
                && top
                && !self.sessions.contains(&process.stat.session)
                && (self.snapshot.user == 0 || process.user == self.snapshot.user)
                && self.children.contains_key(pid)
            {
                let started = process.stat.started;
                trees.push(Tree { top: *pid, rank: 0, known: false, started });
            }
        }
        trees
    }

    /// A tree, without those who are alike.
    fn node(&self, pid: i32) -> Node {
        let children = self.children.get(&pid).into_iter().flatten();
        let children = children.filter(|child| !self.own.contains(child));
        let mut children: Vec<Node> = children.map(|child| self.node(*child)).collect();
        // Those that are alike, with all that they have started: a fork bomb is one line.
        let mut crowds: BTreeMap<Looks, (usize, usize)> = BTreeMap::new();
        for (looks, size) in children.iter().filter_map(|child| self.uniform(child)) {
            let crowd = crowds.entry(looks).or_default();
            *crowd = (crowd.0 + 1, crowd.1 + size);
        }
        crowds.retain(|_, (neighbours, all)| *neighbours > 1 && *all >= CROWD);
        let mut met: BTreeSet<Looks> = BTreeSet::new();
        children.retain_mut(|child| {
            let Some((looks, _)) = self.uniform(child) else { return true };
            let Some((_, all)) = crowds.get(&looks) else { return true };
            child.count = *all;
            child.children.clear();
            met.insert(looks)
        });
        Node { pid, children, count: 1 }
    }

    /// What all processes of a tree look like, and how many they are; none if they differ.
    fn uniform(&self, node: &Node) -> Option<(Looks, usize)> {
        let looks = self.looks(node.pid);
        let mut size = node.count;
        for child in &node.children {
            let (others, more) = self.uniform(child)?;
            if others != looks {
                return None;
            }
            size += more;
        }
        Some((looks, size))
    }

    fn looks(&self, pid: i32) -> Looks {
        let process = self.process(pid);
        let places = Kind::ALL.map(|kind| match process.place(kind) {
            Place::In(id) => (0, Some(id)),
            Place::Host => (1, None),
            Place::Elsewhere => (2, None),
            Place::Closed => (3, None),
            Place::None => (4, None),
        });
        (process.user, self.command(pid), places, process.zombie(), process.ended)
    }

    /// What it runs, as somebody would type it.
    fn command(&self, pid: i32) -> Vec<String> {
        let process = self.process(pid);
        let mut command = process.arguments.clone();
        match command.first_mut() {
            Some(first) if first == PROGRAM_ITSELF => {}
            Some(first) => {
                let name = first.rsplit('/').next().unwrap_or_default().to_string();
                if !name.is_empty() {
                    *first = name;
                }
            }
            None => command.push(process.stat.name.clone()),
        }
        command
    }

    /// The programs at the top of some trees, and how often each of them is there: the most frequent first.
    fn programs<'t>(&self, trees: impl Iterator<Item = &'t Tree>) -> Vec<(String, usize)> {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        for tree in trees {
            *count.entry(self.command(tree.top).swap_remove(0)).or_default() += 1;
        }
        let mut list: Vec<(String, usize)> = count.into_iter().collect();
        list.sort_by_key(|(program, count)| (std::cmp::Reverse(*count), program.clone()));
        list
    }

    /// The trees, each below those who have started it; who has started several is there once.
    fn forest(&self, trees: &[Tree]) -> Vec<Node> {
        let mut lines: Vec<(u32, Vec<i32>)> = Vec::new();
        for tree in trees {
            let mut line = vec![tree.top];
            for ancestor in self.snapshot.ancestors(tree.top) {
                let first = line.len() == 1;
                if self.process(ancestor).stat.terminal != 0 {
                    line.push(ancestor);
                    continue;
                }
                // Nobody at a terminal: at least who has started it, if that is anybody in particular.
                if first && ancestor != 1 && self.process(tree.top).stat.terminal == 0 {
                    line.push(ancestor);
                }
                break;
            }
            line.reverse();
            lines.push((tree.rank, line));
        }
        lines.sort_by_key(|(rank, line)| {
            let age = |pid: &i32| (self.process(*pid).stat.started, *pid);
            (*rank, line.iter().map(age).collect::<Vec<_>>())
        });
        let mut forest = Vec::new();
        for (_, line) in lines {
            self.plant(&mut forest, &line);
        }
        forest
    }

    fn plant(&self, forest: &mut Vec<Node>, line: &[i32]) {
        let [first, rest @ ..] = line else { return };
        if rest.is_empty() {
            forest.push(self.node(*first));
            return;
        }
        let at = forest.iter().position(|node| node.pid == *first).unwrap_or_else(|| {
            forest.push(Node { pid: *first, children: Vec::new(), count: 1 });
            forest.len() - 1
        });
        self.plant(&mut forest[at].children, rest);
    }
}

/// What two processes have in common that cannot be told from one another in the picture.
type Looks = (u32, Vec<String>, [(u8, Option<Id>); Kind::ALL.len()], bool, bool);

/// Draws nodes as rows, and gives names on the way.
struct Painter<'a, 'b> {
    viewer: &'b Viewer<'a>,
    names: &'b mut Names,
    containers: BTreeMap<Letter, Container>,
    used: BTreeSet<(Kind, Id)>,
}

/// Where a node stands: what its parent is.
#[derive(Clone, Copy, Default)]
struct Above<'a> {
    pid: Option<i32>,
    letter: Option<Letter>,
    own: &'a [(Kind, Id)],
}

impl Painter<'_, '_> {
    fn node(&mut self, node: &Node, above: Above, branches: &mut Vec<bool>, rows: &mut Vec<Row>) {
        let process = self.viewer.process(node.pid);
        let snapshot = self.viewer.snapshot;
        let own: Vec<(Kind, Id)> = Kind::ALL
            .into_iter()
            .filter_map(|kind| match process.place(kind) {
                Place::In(id) if !snapshot.is_host(kind, process.place(kind)) => Some((kind, id)),
                _ => None,
            })
            .collect();
        self.used.extend(&own);
        let letter = if own.is_empty() { None } else { self.names.name(&own, &above) };
        let cells = Kind::ALL.map(|kind| self.cell(process, kind));
        self.count(node.pid, process, letter, above.pid, &cells);
        rows.push(Row {
            pid: Some(node.pid),
            started: process.stat.started,
            branches: branches.clone(),
            inside: process.pids.iter().skip(1).copied().collect(),
            user: process.user,
            user_inside: (!matches!(
                cells[Kind::User as usize],
                Cell::Host | Cell::Closed | Cell::None
            ))
            .then(|| proc::inside(&process.map, process.user).unwrap_or(NOBODY)),
            cells,
            command: self.viewer.command(node.pid),
            count: node.count,
            zombie: process.zombie(),
            ended: process.ended,
        });
        let above = Above { pid: Some(node.pid), letter, own: &own };
        for (at, child) in node.children.iter().enumerate() {
            branches.push(at + 1 < node.children.len());
            self.node(child, above, branches, rows);
            branches.pop();
        }
    }

    fn cell(&self, process: &Process, kind: Kind) -> Cell {
        if process.zombie() {
            return Cell::None;
        }
        let place = process.place(kind);
        match place {
            _ if self.viewer.snapshot.is_host(kind, place) => Cell::Host,
            Place::In(id) => {
                self.names.0.get(&(kind, id)).map_or(Cell::Elsewhere, |one| Cell::Own(*one))
            }
            Place::Elsewhere => Cell::Elsewhere,
            _ => Cell::Closed,
        }
    }

    /// Notes a process down in its container, and in those whose namespaces it shares.
    fn count(
        &mut self,
        pid: i32,
        process: &Process,
        letter: Option<Letter>,
        above: Option<i32>,
        cells: &[Cell],
    ) {
        if process.ended {
            return;
        }
        for (kind, cell) in cells.iter().enumerate() {
            if let Cell::Own(letter) = cell {
                let container = self.containers.entry(*letter).or_insert(Container {
                    letter: *letter,
                    spots: [None; Kind::ALL.len()],
                    instead: [Cell::Host; Kind::ALL.len()],
                    processes: 0,
                    members: Vec::new(),
                    outside: above,
                });
                container.spots[kind].get_or_insert(pid);
            }
        }
        if let Some(container) = letter.and_then(|letter| self.containers.get_mut(&letter)) {
            container.members.push(pid);
            for (kind, cell) in cells.iter().enumerate() {
                match cell {
                    Cell::Own(_) | Cell::Closed => container.instead[kind] = *cell,
                    Cell::Elsewhere => _ = container.spots[kind].get_or_insert(pid),
                    Cell::Host | Cell::None => {}
                }
            }
        }
    }
}

/// What the kernel calls somebody who has no number in a user namespace: /proc/sys/kernel/overflowuid.
const NOBODY: u32 = 65534;

/// As many lines for each tree as there are: those that need less leave it to the others.
fn shorten(trees: Vec<Vec<Row>>, room: usize) -> Vec<Row> {
    let mut shares = vec![0; trees.len()];
    let mut order: Vec<usize> = (0..trees.len()).collect();
    order.sort_by_key(|tree| trees[*tree].len());
    let mut left = room;
    for (at, tree) in order.iter().enumerate() {
        shares[*tree] = trees[*tree].len().min(left / (trees.len() - at));
        left -= shares[*tree];
    }
    let cut = |(mut rows, share): (Vec<Row>, usize)| {
        if rows.len() > share {
            let out = rows.split_off(share.saturating_sub(1));
            let count = out.iter().map(|row| row.count).sum();
            rows.push(Row { pid: None, count, ended: false, ..out[0].clone() });
        }
        rows
    };
    trees.into_iter().zip(shares).flat_map(cut).collect()
}

/// How many processes are in a PID namespace: also those in namespaces inside of it have a number there.
fn population(snapshot: &Snapshot, member: i32) -> usize {
    let place = snapshot.processes[&member].place(Kind::Pid);
    let inside = |pid: &i32| snapshot.processes[pid].place(Kind::Pid) == place;
    let alive = snapshot.processes.iter().filter(|(_, process)| !process.ended);
    alive.filter(|(pid, _)| inside(pid) || snapshot.ancestors(**pid).iter().any(inside)).count()
}
