//! A control group for each unit: which unit has which, and what is told about it.
//!
//! Not the groups themselves (`sys::cgroup`) and not what a kill means (`manager`). There are
//! groups only where some unit has a limit that needs one; then every unit has one, for a stop
//! finds everybody in it. **Invariant:** a unit's limits are set before its first process is in
//! its group, and what the kernel killed there is told before the death that it caused.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::CString;
use std::io;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};

use super::{Rung, Usage};
use crate::manager::event::{OomKill, OomKiller};
use crate::manager::time::Timestamp;
use crate::sys::cgroup::{Kills, Leaf, Limits, Obstacle, Place, Tree, Unheld, Version, Watch};
use crate::sys::{Pid, errno_of, reason};
use crate::unit::process::{ExecError, ExecStage};
use crate::unit::resources::{Amount, MemoryEnforce, OomPolicy, Resources};
use crate::unit::slice::{self, Slices};
use crate::unit::{Unit, UnitName};

/// The memory controller is what groups are made for; the number of tasks costs nothing.
const ALWAYS: [&str; 2] = ["memory", "pids"];

/// A group that is not empty yet is looked at again so soon.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A kill comes as soon after its announcement as the kernel has found its victim.
const TRIES: u32 = 10;

/// Who was left to live (`KillMode=process`) may live for ever.
const LOOKS: u32 = 100;

/// One unit's group.
#[derive(Debug)]
struct Held {
    leaf: Leaf,
    limits: Limits,
    /// `MemoryMax=` and `MemoryHigh=` are in force.
    holds_memory: bool,
    told: Kills,
    /// The slices that it is in, the innermost last.
    slices: Vec<UnitName>,
    watch: Option<(usize, Watch)>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Groups {
    tree: Option<Tree>,
    /// Why there is none, once it was tried.
    obstacle: Option<Obstacle>,
    slices: Slices,
    /// Those that were made, with their limits, and what was told of each.
    made: BTreeMap<UnitName, (Leaf, Kills)>,
    of_unit: BTreeMap<UnitName, Held>,
    by_number: BTreeMap<usize, UnitName>,
    numbers: usize,
    /// Their units ended, and somebody lives in them still.
    left: Vec<Leaf>,
    /// So often these are looked at again; after that only when a unit starts.
    looks: u32,
    /// Units in whose groups the kernel may have killed.
    suspects: BTreeSet<UnitName>,
    /// So often the kill that was announced in these is looked for again.
    announced: BTreeMap<UnitName, u32>,
    /// Units that wait for their group to become empty.
    waiting: BTreeSet<UnitName>,
    look_at: Option<Timestamp>,
    /// What was said once.
    said: BTreeSet<String>,
}

/// Whether a unit has a limit that only a group can keep, or keeps best.
fn needs_group(resources: &Resources) -> bool {
    let by_group = matches!(resources.enforce, MemoryEnforce::Auto | MemoryEnforce::Cgroup);
    let memory = resources.limits_memory()
        || resources.memory_min.is_some()
        || resources.memory_low.is_some()
        || resources.memory_swap_max.is_some();
    resources.enforce == MemoryEnforce::Cgroup
        || (by_group && memory)
        || resources.tasks_max.is_some()
        || resources.cpu_quota.is_some()
        || resources.cpu_weight.is_some()
        || resources.io_weight.is_some()
}

/// The directives whose limits are not kept without groups.
fn lost_without_group(resources: &Resources) -> Vec<&'static str> {
    let by_group = resources.enforce == MemoryEnforce::Auto;
    let asked = [
        ("MemoryMin=", by_group && resources.memory_min.is_some()),
        ("MemoryLow=", by_group && resources.memory_low.is_some()),
        ("TasksMax=", resources.tasks_max.is_some()),
        ("CPUQuota=", resources.cpu_quota.is_some()),
        ("CPUWeight=", resources.cpu_weight.is_some()),
        ("IOWeight=", resources.io_weight.is_some()),
    ];
    asked.into_iter().filter(|(_, asked)| *asked).map(|(name, _)| name).collect()
}

/// What was asked, in bytes of a container with `total`.
fn limits(resources: &Resources, total: Option<u64>) -> Limits {
    let by_group = matches!(resources.enforce, MemoryEnforce::Auto | MemoryEnforce::Cgroup);
    let bytes = |amount: Option<Amount>| amount.filter(|_| by_group)?.bytes(total);
    let max = bytes(resources.memory_max);
    // Or the limit would leak into swap.
    let swap = bytes(resources.memory_swap_max).or(max.filter(|_| !resources.swaps).map(|_| 0));
    Limits {
        memory_max: max,
        memory_high: bytes(resources.memory_high),
        memory_min: bytes(resources.memory_min),
        memory_low: bytes(resources.memory_low),
        swap_max: swap,
        swap_declared: resources.memory_swap_max.is_some(),
        kill_as_one: max.is_some() && resources.oom_policy == OomPolicy::Kill,
        tasks_max: resources.tasks_max,
        cpu_quota: resources.cpu_quota,
        cpu_weight: resources.cpu_weight,
        io_weight: resources.io_weight,
    }
}

/// What is to be said at a start, and how loud.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Note {
    /// It is as it should be.
    Info(String),
    /// Something does not hold.
    Warning(String),
}

impl Groups {
    /// Has the groups if these units need them; what is to be said of that.
    ///
    /// # Errors
    /// The sentence: a unit says `MemoryEnforce=cgroup`, and there are none.
    pub fn settle(&mut self, units: &[Arc<Unit>], slices: &Slices) -> Result<Vec<Note>, String> {
        self.slices.clone_from(slices);
        self.made.clear(); // their limits may be others
        // What an instance says, its service says.
        let of_units = units.iter().filter(|unit| unit.instance_of.is_none());
        let of_units = of_units.filter_map(|it| Some((&it.name, it.service.resources.as_deref()?)));
        let of_slices = slices.values().map(|it| (&it.name, &it.resources));
        let asking: Vec<(&UnitName, &Resources)> =
            of_units.chain(of_slices).filter(|(_, it)| needs_group(it)).collect();
        if asking.is_empty() {
            return Ok(Vec::new()); // exec'ed processes, the runtime's tools: all stay where they are
        }
        let mut controllers = ALWAYS.to_vec();
        if asking.iter().any(|(_, it)| it.cpu_quota.is_some() || it.cpu_weight.is_some()) {
            controllers.push("cpu");
        }
        if asking.iter().any(|(_, it)| it.io_weight.is_some()) {
            controllers.push("io");
        }
        if let Some(tree) = &mut self.tree {
            tree.enable(&controllers);
            return Ok(Vec::new());
        }
        if self.obstacle.is_none() {
            match Tree::acquire(&Place::find(), &controllers) {
                Ok(tree) => {
                    let kind = match tree.version() {
                        Version::V2 => "v2",
                        Version::V1 => "v1",
                    };
                    let path = tree.path().display();
                    let note = format!("control groups ({kind}): one for each unit, in {path}");
                    self.tree = Some(tree);
                    return Ok(vec![Note::Info(note)]);
                }
                Err(obstacle) => self.obstacle = Some(obstacle),
            }
        }
        let Some(Obstacle { what, help }) = self.obstacle.clone() else { return Ok(Vec::new()) };
        let strict = asking.iter().find(|(_, it)| it.enforce == MemoryEnforce::Cgroup);
        if let Some((name, _)) = strict {
            return Err(format!("{name}: MemoryEnforce=cgroup, but {what}; to have it, {help}"));
        }
        let lost: Vec<String> = asking.iter().filter_map(|(name, it)| lost(name, it)).collect();
        let watched = asking.iter().any(|(_, it)| it.limits_memory());
        let mut text = format!("no control groups: {what}");
        if watched {
            text += ", so rinit itself watches the memory (watchdog)";
        }
        if !lost.is_empty() {
            text += &format!("; not in force: {}", lost.join(", "));
        }
        text += &format!("; to have them, {help}");
        let news = self.said.insert(text.clone());
        Ok(if news { vec![Note::Warning(text)] } else { Vec::new() })
    }

    /// By what the memory of a unit that is to be held by a group is held.
    pub(super) fn rung(&self, unit: &UnitName) -> Rung {
        let (Some(tree), held) = (&self.tree, self.of_unit.get(unit)) else {
            return Rung::Watchdog;
        };
        match tree.version() {
            _ if held.is_some_and(|held| !held.holds_memory) => Rung::Watchdog,
            Version::V2 => Rung::CgroupV2,
            Version::V1 => Rung::CgroupV1,
        }
    }

    /// The doors of a unit's group (`ExecPlan::cgroups`), with its limits set; none: there are no
    /// groups. What does not hold is noted.
    ///
    /// # Errors
    /// It must have a group and cannot.
    pub fn enter(
        &mut self,
        unit: &Unit,
        total: Option<u64>,
        registry: &Registry,
        first_token: usize,
        notes: &mut Vec<String>,
    ) -> Result<Vec<CString>, ExecError> {
        if self.tree.is_none() {
            return Ok(Vec::new());
        }
        let nothing = Resources::default();
        let resources = unit.service.resources.as_deref().unwrap_or(&nothing);
        let limits = limits(resources, total);
        if let Some(held) = self.of_unit.get(&unit.name)
            && held.limits == limits
        {
            return Ok(held.leaf.entrances());
        }
        let required = resources.enforce == MemoryEnforce::Cgroup;
        let failed = |errno: i32, message: String| {
            let message = format!("{message} (MemoryEnforce=cgroup)");
            ExecError { stage: ExecStage::Cgroup, errno, message }
        };
        let leaf = match self.of_unit.remove(&unit.name) {
            Some(held) => {
                self.unwatch(held.watch, registry);
                held.leaf
            }
            None => match self.make(unit, resources, total, notes) {
                Ok(leaf) => leaf,
                Err(error) => {
                    let errno = errno_of(&error);
                    let text = format!("its control group: {}", reason(errno));
                    if required {
                        return Err(failed(errno, text));
                    }
                    self.note(notes, &unit.name, text);
                    return Ok(Vec::new());
                }
            },
        };
        let unheld = leaf.limit(&limits);
        for Unheld { directive, why } in &unheld {
            let watched =
                if *directive == "MemoryMax" { ", so rinit itself watches it" } else { "" };
            self.note(notes, &unit.name, format!("{directive}= is not in force{watched}: {why}"));
        }
        let memory = unheld.iter().find(|unheld| unheld.directive == "MemoryMax");
        if let Some(unheld) = memory.filter(|_| required) {
            let _ = leaf.remove();
            return Err(failed(0, format!("MemoryMax=: {}", unheld.why)));
        }
        // v1 has no MemoryHigh=; what kills is what counts.
        let decisive = if limits.memory_max.is_some() { "MemoryMax" } else { "MemoryHigh" };
        let holds_memory = !unheld.iter().any(|unheld| unheld.directive == decisive);
        let entrances = leaf.entrances();
        let told = leaf.kills();
        let watch = leaf.watch().filter(|_| limits.memory_max.is_some());
        let watch = watch.and_then(|watch| self.watch(&unit.name, watch, registry, first_token));
        let slices = slices_of(resources);
        let held = Held { leaf, limits, holds_memory, told, slices, watch };
        self.of_unit.insert(unit.name.clone(), held);
        Ok(entrances)
    }

    /// Says something of a unit, once; of all instances of a service once.
    fn note(&mut self, notes: &mut Vec<String>, unit: &UnitName, text: String) {
        let service = unit.as_str().split('@').next().unwrap_or_default();
        if self.said.insert(format!("{service} {text}")) {
            notes.push(format!("{unit}: {text}"));
        }
    }

    fn make(
        &mut self,
        unit: &Unit,
        resources: &Resources,
        total: Option<u64>,
        notes: &mut Vec<String>,
    ) -> io::Result<Leaf> {
        self.remove_left();
        let path = slices_of(resources);
        let names: Vec<&str> = path.iter().map(UnitName::as_str).collect();
        for (at, name) in path.iter().enumerate() {
            self.make_slice(name, names.get(..=at).unwrap_or_default(), total, notes)?;
        }
        let Some(tree) = &self.tree else { return Err(io::ErrorKind::NotFound.into()) };
        // A replacement will have the name of whom it replaces.
        tree.leaf(&names, &unit.name.as_str().replace("+new", ""))
    }

    fn make_slice(
        &mut self,
        name: &UnitName,
        path: &[&str],
        total: Option<u64>,
        notes: &mut Vec<String>,
    ) -> io::Result<()> {
        let Some(tree) = self.tree.as_ref().filter(|_| !self.made.contains_key(name)) else {
            return Ok(());
        };
        let leaf = tree.slice(path)?;
        let resources = self.slices.get(name).map(|slice| slice.resources.clone());
        let mut limits = limits(&resources.unwrap_or_default(), total);
        limits.kill_as_one = false; // what is in it are several
        for Unheld { directive, why } in leaf.limit(&limits) {
            self.note(notes, name, format!("{directive}= is not in force: {why}"));
        }
        let told = leaf.kills();
        self.made.insert(name.clone(), (leaf, told));
        Ok(())
    }

    fn watch(
        &mut self,
        unit: &UnitName,
        watch: Watch,
        registry: &Registry,
        first_token: usize,
    ) -> Option<(usize, Watch)> {
        self.numbers += 1;
        let token = Token(first_token + self.numbers);
        // Without it the group is looked at when somebody dies.
        let early = watch.is_early();
        let interest = if early { Interest::READABLE } else { Interest::PRIORITY };
        registry.register(&mut SourceFd(&watch.as_raw_fd()), token, interest).ok()?;
        self.by_number.insert(self.numbers, unit.clone());
        Some((self.numbers, watch))
    }

    fn unwatch(&mut self, watch: Option<(usize, Watch)>, registry: &Registry) {
        if let Some((number, watch)) = watch {
            // Not just closed: a child on its way to exec has a copy.
            let _ = registry.deregister(&mut SourceFd(&watch.as_raw_fd()));
            self.by_number.remove(&number);
        }
    }

    /// A group has news.
    pub fn knock(&mut self, number: usize, now: Timestamp) {
        if let Some(unit) = self.by_number.get(&number) {
            let held = self.of_unit.get(unit).and_then(|held| held.watch.as_ref());
            if held.is_some_and(|(_, watch)| watch.is_early()) {
                self.announced.insert(unit.clone(), TRIES);
                self.look_at = self.look_at.or(Some(now.after(LOOK_AGAIN)));
            }
            self.suspects.insert(unit.clone());
        }
    }

    /// Somebody was killed who is none of our children: no group of v1 would tell.
    pub fn suspect_all(&mut self) {
        let all = self.of_unit.iter().filter(|(_, held)| held.watch.is_none());
        self.suspects.extend(all.map(|(name, _)| name.clone()));
    }

    /// Whether a look at the groups is due.
    pub fn has_work(&self) -> bool {
        !self.suspects.is_empty()
    }

    /// A kill of which nobody was told yet.
    pub fn next_kill(&mut self, container: Option<u64>) -> Option<(UnitName, OomKill, u64)> {
        while let Some(unit) = self.suspects.pop_first() {
            if let Some((kill, killed)) = self.kill_in(&unit, container) {
                return Some((unit, kill, killed));
            }
        }
        None
    }

    /// What the kernel killed in a unit's group since this was last asked, and how many.
    pub fn kill_in(&mut self, unit: &UnitName, container: Option<u64>) -> Option<(OomKill, u64)> {
        let held = self.of_unit.get_mut(unit)?;
        let watched = held.watch.as_ref().and_then(|(_, watch)| watch.read());
        let now = watched.unwrap_or_else(|| held.leaf.kills());
        let before = std::mem::replace(&mut held.told, now);
        let killed = now.killed.saturating_sub(before.killed);
        if killed == 0 {
            // A limit that was met and nobody killed yet: the kill is still to come.
            held.told.over_limit = before.over_limit;
            return None;
        }
        let kill = if now.over_limit > before.over_limit {
            let used = held.leaf.used();
            OomKill { by: OomKiller::Kernel, limit: used.memory_max, peak: used.memory_peak }
        } else if let Some(limit) = full_slice(&held.slices, &mut self.made) {
            OomKill { by: OomKiller::Slice, limit: Some(limit), peak: None }
        } else {
            OomKill { by: OomKiller::Container, limit: container, peak: None }
        };
        Some((kill, killed))
    }

    /// Whether the kernel counts what is killed in a group in those that hold it, too.
    pub fn counts_upwards(&self) -> bool {
        self.tree.as_ref().is_some_and(|tree| tree.version() == Version::V2)
    }
    /// The processes of a unit as its group has them. What is frozen can go on, so that it gets
    /// its signal.
    pub fn thawed(&self, unit: &UnitName) -> Vec<Pid> {
        let Some(held) = self.of_unit.get(unit) else { return Vec::new() };
        held.leaf.thaw();
        held.leaf.processes()
    }

    /// Kills all that is in a unit's group at once.
    pub fn kill(&self, unit: &UnitName) {
        if let Some(held) = self.of_unit.get(unit) {
            held.leaf.kill();
        }
    }

    /// Lets all go on, or kills all.
    pub fn signal_all(&self, deadly: bool) {
        for leaf in self.of_unit.values().map(|held| &held.leaf).chain(&self.left) {
            leaf.thaw();
            if deadly {
                leaf.kill();
            }
        }
    }

    /// Whether somebody lives in a unit's group whom nobody else knows of; then it is to be asked
    /// again.
    pub fn is_populated(&mut self, unit: &UnitName, now: Timestamp) -> bool {
        let populated = self.of_unit.get(unit).is_some_and(|held| held.leaf.is_populated());
        if populated {
            self.waiting.insert(unit.clone());
            self.look_at = self.look_at.or(Some(now.after(LOOK_AGAIN)));
        }
        populated
    }

    /// When somebody is to be looked at again.
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.look_at
    }

    /// Units that are to be asked again whether they are empty.
    pub fn due(&mut self, now: Timestamp) -> BTreeSet<UnitName> {
        if self.look_at.is_none_or(|at| at > now) {
            return BTreeSet::new();
        }
        self.remove_left();
        self.looks = self.looks.saturating_sub(1);
        self.suspects.extend(self.announced.keys().cloned());
        self.announced.retain(|_, tries| {
            *tries -= 1;
            *tries > 0
        });
        let again = (self.looks > 0 && !self.left.is_empty()) || !self.announced.is_empty();
        self.look_at = again.then(|| now.after(LOOK_AGAIN));
        std::mem::take(&mut self.waiting)
    }

    fn remove_left(&mut self) {
        self.left.retain(|leaf| leaf.remove().is_err());
    }

    /// The unit has another name; its group keeps its own.
    pub fn rename(&mut self, from: &UnitName, to: &UnitName, registry: &Registry) {
        let Some(held) = self.of_unit.remove(from) else { return };
        if let Some((number, _)) = &held.watch {
            self.by_number.insert(*number, to.clone());
        }
        if let Some(tries) = self.announced.remove(from) {
            self.announced.insert(to.clone(), tries);
        }
        for names in [&mut self.suspects, &mut self.waiting] {
            if names.remove(from) {
                names.insert(to.clone());
            }
        }
        if let Some(old) = self.of_unit.insert(to.clone(), held) {
            self.retire(old, registry);
        }
    }

    /// The unit ended: its group goes, as soon as nobody is in it.
    pub fn release(&mut self, unit: &UnitName, registry: &Registry, now: Timestamp) {
        self.waiting.remove(unit);
        self.suspects.remove(unit);
        self.announced.remove(unit);
        if let Some(held) = self.of_unit.remove(unit) {
            self.retire(held, registry);
            if !self.left.is_empty() {
                self.look_at = self.look_at.or(Some(now.after(LOOK_AGAIN)));
            }
        }
    }

    fn retire(&mut self, held: Held, registry: &Registry) {
        self.unwatch(held.watch, registry);
        if held.leaf.remove().is_err() {
            self.left.push(held.leaf);
            self.looks = LOOKS;
        }
    }

    /// What a unit uses, if it has a group.
    pub fn used(&self, unit: &UnitName) -> Option<Usage> {
        let held = self.of_unit.get(unit)?;
        let used = held.leaf.used();
        Some(Usage {
            current: used.memory,
            peak: used.memory_peak,
            max: used.memory_max,
            high: used.memory_high,
            oom_kills: Some(held.leaf.kills().killed),
            tasks: used.tasks,
            tasks_max: None, // as declared
            cpu: used.cpu,
        })
    }

    /// Where a unit's group is, as `show` has it.
    pub fn path(&self, unit: &UnitName) -> Option<String> {
        let path = self.of_unit.get(unit)?.leaf.path();
        let below = path.strip_prefix("/sys/fs/cgroup").unwrap_or(path);
        Some(Path::new("/").join(below).display().to_string())
    }

    /// At the end: leaves nothing behind that is empty.
    pub fn remove_all(&mut self) {
        for held in std::mem::take(&mut self.of_unit).into_values() {
            let _ = held.leaf.remove();
        }
        self.remove_left();
        if let Some(tree) = self.tree.take() {
            tree.remove();
        }
    }
}

/// The slices of a unit, the innermost last.
fn slices_of(resources: &Resources) -> Vec<UnitName> {
    resources.slice.as_ref().map_or_else(Vec::new, |it| slice::path(&it.name))
}

/// The limit of the slice that was met since this was last asked, if one was.
fn full_slice(slices: &[UnitName], made: &mut BTreeMap<UnitName, (Leaf, Kills)>) -> Option<u64> {
    for slice in slices.iter().rev() {
        let (leaf, told) = made.get_mut(slice)?;
        let now = leaf.kills();
        let before = std::mem::replace(told, now);
        if now.over_limit > before.over_limit {
            return leaf.used().memory_max;
        }
    }
    None
}

/// `a.service (TasksMax=, CPUQuota=)`.
fn lost(name: &UnitName, resources: &Resources) -> Option<String> {
    let directives = lost_without_group(resources);
    (!directives.is_empty()).then(|| format!("{} of {name}", directives.join(" ")))
}
