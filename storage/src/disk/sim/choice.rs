//! What a power cut decides, thing by thing: so that all outcomes can be gone through, or one of them be
//! named and found again.
//!
//! ```text
//!   a group          its things                        an option of a thing
//!   ───────────────  ────────────────────────────────  ────────────────────────────────────────────
//!   a name change    it alone                          0 lost, 1 kept
//!   a length         it alone                          0 as on the platter, then those it had since
//!   a page           each sector that was written to   0 as on the platter, then what it held since
//! ```
//!
//! What is never written twice in the same way is counted once: the product of all options is the number
//! of different outcomes, but for bytes that end up behind the end of their file and for names in folders
//! that are lost themselves.

use std::{
    collections::BTreeMap,
    fmt::{self, Write as _},
    hash::{DefaultHasher, Hasher},
    ops::Range,
};

use fastrand::Rng;

use super::{
    SimDisk,
    page::SectorChoice,
    world::{Node, NodeId, World},
};

/// All that a power cut at one moment decides. It holds the disk as it was then, and that goes on.
#[derive(Clone)]
pub struct Choices {
    world: World,
    groups: Vec<Group>,
    /// How many options each thing has; never less than two.
    options: Vec<u32>,
}

/// Things that belong together.
#[derive(Debug, Clone)]
struct Group {
    things: Range<usize>,
    of: Of,
}

#[derive(Debug, Clone)]
enum Of {
    /// One of the pending changes, of the folder that it leaves.
    Name { change: usize, folder: NodeId },
    /// A file's length. `kept` is the last of its options that it had.
    Length {
        node: NodeId,
        lens: Vec<u64>,
        kept: u32,
    },
    /// A page. Versions are those of all of it.
    Page {
        node: NodeId,
        no: u64,
        sectors: Vec<SectorChoice>,
        versions: usize,
        kept: usize,
    },
}

/// How much a sampled cut keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mood {
    Even,
    /// Most groups are as they were seen.
    Keeping,
    /// Most groups are as on the platter.
    Losing,
}

/// A choice: one option for each thing.
pub type Picks = Vec<u32>;

impl SimDisk {
    /// What a cut of the power at this moment would decide. The disk runs on.
    #[must_use]
    pub fn choices(&self) -> Choices {
        Choices::of(self.any_life().clone())
    }

    /// A checksum of all that is seen: names, lengths and bytes.
    #[must_use]
    pub fn image(&self) -> u64 {
        self.any_life().image()
    }
}

impl Choices {
    pub(super) fn of(world: World) -> Self {
        let mut choices = Self {
            groups: Vec::new(),
            options: Vec::new(),
            world: World::new(),
        };
        for (change, pending) in world.pending.iter().enumerate() {
            let folder = pending.sets[0].folder;
            choices.add(Of::Name { change, folder });
        }
        for (&node, file) in &world.nodes {
            let Node::File(file) = file else { continue };
            let lens = file.pages.lengths();
            let kept = lens.iter().position(|len| *len == file.pages.len());
            let kept = u32::try_from(kept.unwrap_or_default()).unwrap_or_default();
            if lens.len() > 1 {
                choices.add(Of::Length { node, lens, kept });
            }
            for (no, page) in file.pages.unsettled() {
                let sectors = page.choices();
                let (versions, kept) = (page.versions(), page.kept_version());
                if !sectors.is_empty() {
                    choices.add(Of::Page {
                        node,
                        no,
                        sectors,
                        versions,
                        kept,
                    });
                }
            }
        }
        choices.world = world;
        choices
    }

    fn add(&mut self, of: Of) {
        let from = self.options.len();
        let count = |len: usize| u32::try_from(len).unwrap_or(u32::MAX);
        match &of {
            Of::Name { .. } => self.options.push(2),
            Of::Length { lens, .. } => self.options.push(count(lens.len())),
            Of::Page { sectors, .. } => self
                .options
                .extend(sectors.iter().map(|sector| count(sector.contents.len()))),
        }
        let things = from..self.options.len();
        self.groups.push(Group { things, of });
    }

    /// How many groups there are.
    pub fn groups(&self) -> usize {
        self.groups.len()
    }

    /// How many choices there are, as far as that can be counted.
    pub fn count(&self) -> u64 {
        let product = |all: u64, options: &u32| all.saturating_mul(u64::from(*options));
        self.options.iter().fold(1, product)
    }

    /// One of all of them, by its number.
    pub fn nth(&self, mut number: u64) -> Picks {
        let pick = |options: &u32| {
            let pick = number % u64::from(*options);
            number /= u64::from(*options);
            u32::try_from(pick).unwrap_or_default()
        };
        self.options.iter().map(pick).collect()
    }

    /// Everything is lost that was not synced.
    pub fn lost(&self) -> Picks {
        vec![0; self.options.len()]
    }

    /// Everything has just been written; what a failed sync forgot is lost even so.
    pub fn kept(&self) -> Picks {
        let mut picks = self.lost();
        for at in 0..self.groups.len() {
            self.keep(at, &mut picks);
        }
        picks
    }

    /// Keeps a group.
    pub fn keep(&self, group: usize, picks: &mut Picks) {
        let Group { things, of } = &self.groups[group];
        match of {
            Of::Name { change, .. } => {
                picks[things.start] = u32::from(!self.world.pending[*change].is_forgotten());
            }
            Of::Length { kept, .. } => picks[things.start] = *kept,
            Of::Page { kept, .. } => self.version(group, *kept, picks),
        }
    }

    /// Loses a group.
    pub fn lose(&self, group: usize, picks: &mut Picks) {
        picks[self.groups[group].things.clone()].fill(0);
    }

    /// True where nothing of a group is kept.
    pub fn is_lost(&self, group: usize, picks: &Picks) -> bool {
        let mut picked = picks[self.groups[group].things.clone()].iter();
        picked.all(|pick| *pick == 0)
    }

    /// Gives all sectors of a page what they held in one version of it.
    fn version(&self, group: usize, version: usize, picks: &mut Picks) {
        let Group { things, of } = &self.groups[group];
        if let Of::Page { sectors, .. } = of {
            for (pick, sector) in picks[things.clone()].iter_mut().zip(sectors) {
                *pick = sector.of_version[version];
            }
        }
    }

    /// Any of them, as this generator has it: with whole pages and torn ones, with the first name changes
    /// of a folder or any of them, and with more or less of it all.
    pub fn sample(&self, rng: &mut Rng) -> Picks {
        let mood = match rng.u8(..4) {
            0 => Mood::Keeping,
            1 => Mood::Losing,
            _ => Mood::Even,
        };
        let mut picks = self.lost();
        let mut first = self.first_names(rng);
        for (at, Group { things, of }) in self.groups.iter().enumerate() {
            let settled = mood != Mood::Even && rng.u8(..6) > 0;
            match of {
                _ if settled && mood == Mood::Keeping => self.keep(at, &mut picks),
                _ if settled => {}
                Of::Name { folder, .. } => {
                    let kept = match first.get_mut(folder) {
                        Some(left) => {
                            let kept = *left > 0;
                            *left = left.saturating_sub(1);
                            kept
                        }
                        None => rng.bool(),
                    };
                    picks[things.start] = u32::from(kept);
                }
                Of::Page { versions, .. } if rng.u8(..4) > 0 => {
                    self.version(at, rng.usize(..*versions), &mut picks);
                }
                Of::Length { .. } | Of::Page { .. } => {
                    for thing in things.clone() {
                        picks[thing] = rng.u32(..self.options[thing]);
                    }
                }
            }
        }
        picks
    }

    /// For about half of the folders, how many of their changes are kept, from the first one on.
    fn first_names(&self, rng: &mut Rng) -> BTreeMap<NodeId, usize> {
        let mut changes: BTreeMap<NodeId, usize> = BTreeMap::new();
        for group in &self.groups {
            if let Of::Name { folder, .. } = group.of {
                *changes.entry(folder).or_default() += 1;
            }
        }
        let counted = changes.into_iter().filter(|_| rng.bool());
        let counted: Vec<_> = counted.collect();
        let first = counted.into_iter();
        first
            .map(|(folder, count)| (folder, rng.usize(..=count)))
            .collect()
    }

    /// The disk that is left by this choice, as one of its own.
    #[must_use]
    pub fn cut(&self, picks: &Picks) -> SimDisk {
        let mut world = self.world.clone();
        self.apply(picks, &mut world);
        SimDisk::of(world)
    }

    /// Leaves in `world`, which is as this was made of it, what the choice says.
    pub(super) fn apply(&self, picks: &Picks, world: &mut World) {
        let pending = std::mem::take(&mut world.pending);
        // They are the first things, in the same order.
        let picked = pending.into_iter().zip(picks);
        let kept = picked.filter_map(|(change, pick)| (*pick == 1).then_some(change));
        world.make_durable(kept.collect());
        let mut lens = BTreeMap::new();
        let mut pages: BTreeMap<_, BTreeMap<_, _>> = BTreeMap::new();
        for Group { things, of } in &self.groups {
            match of {
                Of::Name { .. } => {}
                Of::Length {
                    node, lens: had, ..
                } => {
                    lens.insert(*node, had[picks[things.start] as usize]);
                }
                Of::Page {
                    node, no, sectors, ..
                } => {
                    let picked = sectors.iter().zip(&picks[things.clone()]);
                    let found = picked
                        .map(|(sector, pick)| (sector.sector, &*sector.contents[*pick as usize]));
                    if let Some(page) = world.page(*node, *no) {
                        let found = page.with(found);
                        pages.entry(*node).or_default().insert(*no, found);
                    }
                }
            }
        }
        world.settle(&lens, pages);
    }

    /// What is kept, for people: a line for each group of which anything is.
    pub fn tell(&self, picks: &Picks) -> String {
        let mut told = String::new();
        for (at, group) in self.groups.iter().enumerate() {
            if self.is_lost(at, picks) {
                continue;
            }
            let picked = &picks[group.things.clone()];
            let line = match &group.of {
                Of::Name { change, .. } => self.world.tell_change(*change),
                Of::Length { node, lens, .. } => {
                    let len = lens[picked[0] as usize];
                    format!(
                        "{} has {len} bytes and not {}",
                        self.world.path(*node),
                        lens[0]
                    )
                }
                Of::Page {
                    node, no, sectors, ..
                } => {
                    let versions = sectors.iter().zip(picked);
                    let versions: Vec<_> = versions
                        .filter(|(_, pick)| **pick > 0)
                        .map(|(s, pick)| {
                            format!("{}: {pick} of {}", s.sector, s.contents.len() - 1)
                        })
                        .collect();
                    let path = self.world.path(*node);
                    format!("{path}, page {no}, sectors {}", versions.join(", "))
                }
            };
            let _ = writeln!(told, "  {line}");
        }
        told
    }
}

impl fmt::Debug for Choices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Choices")
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

impl World {
    fn image(&self) -> u64 {
        let mut sum = DefaultHasher::new();
        self.sum_folder(super::world::ROOT, &mut sum);
        sum.finish()
    }

    fn sum_folder(&self, node: NodeId, sum: &mut DefaultHasher) {
        let Some(Node::Folder(folder)) = self.nodes.get(&node) else {
            return;
        };
        for (name, node) in &folder.names {
            let name = name.as_encoded_bytes();
            sum.write_u64(name.len() as u64);
            sum.write(name);
            match self.nodes.get(node) {
                Some(Node::File(file)) => {
                    sum.write_u8(1);
                    file.pages.sum(sum);
                }
                _ => {
                    sum.write_u8(2);
                    self.sum_folder(*node, sum);
                }
            }
        }
        sum.write_u8(3);
    }
}
