//! The names of the disk and what they stand for.

use std::{
    collections::{BTreeMap, BTreeSet},
    ffi::{OsStr, OsString},
    io,
    path::{Component, Path},
    sync::Arc,
};

use rustix::io::Errno;

use super::{
    super::{Entry, Space},
    page::{Block, PAGE, Page},
    pages::Pages,
};

pub(super) type NodeId = u64;

pub(super) const ROOT: NodeId = 0;
/// The size of a disk without end.
const ENDLESS: u64 = 1 << 60;

type Predicate = Arc<dyn Fn(&Path) -> bool + Send + Sync>;

/// Everything on the disk, and in the cache before it. A clone shares all of it until one of them is
/// changed.
#[derive(Clone)]
pub(super) struct World {
    /// Which life of the machine this is.
    pub(super) life: u64,
    pub(super) locks: BTreeSet<NodeId>,
    pub(super) fail_syncs: Vec<Predicate>,
    pub(super) nodes: BTreeMap<NodeId, Node>,
    /// Changes of names that are not durable, in order.
    pub(super) pending: Vec<NameChange>,
    capacity: Option<u64>,
    next_node: NodeId,
    next_change: u64,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Folder(Arc<Folder>),
    File(File),
}

#[derive(Debug, Clone, Default)]
pub(super) struct Folder {
    /// As seen.
    pub(super) names: BTreeMap<OsString, NodeId>,
    /// On the platter: which change a name stands after, and for what. Names that are gone are
    /// kept while an older change of the folder is pending, lest that one revive them.
    pub(super) durable: BTreeMap<OsString, (u64, Option<NodeId>)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct File {
    pub(super) pages: Arc<Pages>,
    /// How many names it has, as seen.
    pub(super) names: u32,
    /// How many handles it has.
    pub(super) handles: u32,
}

/// One creation, rename, link or removal: the names that it sets, all at once.
#[derive(Debug, Clone)]
pub(super) struct NameChange {
    pub(super) number: u64,
    /// By a failed sync; no later one makes it durable.
    forgotten: bool,
    pub(super) sets: Vec<Set>,
}

#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) folder: NodeId,
    name: OsString,
    to: Option<NodeId>,
}

impl NameChange {
    fn touches(&self, folder: NodeId) -> bool {
        self.sets.iter().any(|set| set.folder == folder)
    }

    pub(super) fn is_forgotten(&self) -> bool {
        self.forgotten
    }
}

impl World {
    pub(super) fn new() -> Self {
        Self {
            life: 0,
            locks: BTreeSet::new(),
            fail_syncs: Vec::new(),
            nodes: BTreeMap::from([(ROOT, Node::Folder(Arc::default()))]),
            pending: Vec::new(),
            capacity: None,
            next_node: ROOT + 1,
            next_change: 1,
        }
    }

    pub(super) fn set_capacity(&mut self, bytes: Option<u64>) {
        self.capacity = bytes;
    }

    pub(super) fn used(&self) -> u64 {
        let held = |node: &Node| match node {
            Node::File(file) if file.names + file.handles > 0 => file.pages.room(),
            _ => 0,
        };
        self.nodes.values().map(held).sum::<u64>() * PAGE as u64
    }

    pub(super) fn free_pages(&self) -> u64 {
        match self.capacity {
            Some(capacity) => capacity.saturating_sub(self.used()) / PAGE as u64,
            None => u64::MAX,
        }
    }

    pub(super) fn space(&self) -> Space {
        let total = self.capacity.unwrap_or(ENDLESS);
        Space {
            free: total.saturating_sub(self.used()),
            total,
        }
    }

    pub(super) fn find(&self, path: &Path) -> io::Result<NodeId> {
        let mut node = ROOT;
        for part in path.components() {
            match part {
                Component::RootDir | Component::CurDir => {}
                Component::Normal(name) => {
                    node = *self.folder(node)?.names.get(name).ok_or(Errno::NOENT)?;
                }
                Component::ParentDir | Component::Prefix(_) => return Err(Errno::INVAL.into()),
            }
        }
        Ok(node)
    }

    /// The folder in which the path's last part stands or would stand, and that part.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(NodeId, &'a OsStr)> {
        // The root, which always exists, has neither.
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Errno::EXIST.into());
        };
        let parent = self.find(parent)?;
        self.folder(parent)?;
        Ok((parent, name))
    }

    fn folder(&self, node: NodeId) -> io::Result<&Folder> {
        match self.nodes.get(&node) {
            Some(Node::Folder(folder)) => Ok(folder),
            Some(Node::File(_)) => Err(Errno::NOTDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn file(&self, node: NodeId) -> io::Result<&Pages> {
        match self.nodes.get(&node) {
            Some(Node::File(file)) => Ok(&file.pages),
            Some(Node::Folder(_)) => Err(Errno::ISDIR.into()),
            None => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn file_mut(&mut self, node: NodeId) -> io::Result<&mut Pages> {
        self.file(node)?;
        match self.nodes.get_mut(&node) {
            Some(Node::File(file)) => Ok(Arc::make_mut(&mut file.pages)),
            _ => Err(Errno::NOENT.into()),
        }
    }

    pub(super) fn opened(&mut self, node: NodeId) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            file.handles += 1;
        }
    }

    pub(super) fn closed(&mut self, node: NodeId) {
        if let Some(Node::File(file)) = self.nodes.get_mut(&node) {
            file.handles -= 1;
        }
    }

    pub(super) fn create_file(&mut self, path: &Path) -> io::Result<NodeId> {
        self.create(path, Node::File(File::default()))
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        self.create(path, Node::Folder(Arc::default())).map(drop)
    }

    fn create(&mut self, path: &Path, node: Node) -> io::Result<NodeId> {
        let (folder, name) = self.place(path)?;
        if self.folder(folder)?.names.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        let id = self.next_node;
        self.next_node += 1;
        self.nodes.insert(id, node);
        self.change(vec![Set {
            folder,
            name: name.into(),
            to: Some(id),
        }]);
        Ok(id)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        // Of folders nothing here is ever renamed.
        self.file(node)?;
        let (old_folder, old_name) = self.place(from)?;
        let (folder, name) = self.place(to)?;
        if let Some(&there) = self.folder(folder)?.names.get(name) {
            self.file(there)?;
            if there == node {
                return Ok(());
            }
        }
        self.change(vec![
            Set {
                folder: old_folder,
                name: old_name.into(),
                to: None,
            },
            Set {
                folder,
                name: name.into(),
                to: Some(node),
            },
        ]);
        Ok(())
    }

    pub(super) fn link(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        let node = self.find(from)?;
        if self.file(node).is_err() {
            return Err(Errno::PERM.into());
        }
        let (folder, name) = self.place(to)?;
        if self.folder(folder)?.names.contains_key(name) {
            return Err(Errno::EXIST.into());
        }
        self.change(vec![Set {
            folder,
            name: name.into(),
            to: Some(node),
        }]);
        Ok(())
    }

    /// Removes a file, or an empty folder.
    pub(super) fn remove(&mut self, path: &Path, folder: bool) -> io::Result<()> {
        let node = self.find(path)?;
        if !folder {
            self.file(node)?;
        } else if !self.folder(node)?.names.is_empty() {
            return Err(Errno::NOTEMPTY.into());
        }
        let (folder, name) = self.place(path)?;
        self.change(vec![Set {
            folder,
            name: name.into(),
            to: None,
        }]);
        Ok(())
    }

    pub(super) fn list(&self, dir: &Path) -> io::Result<Vec<Entry>> {
        let names = &self.folder(self.find(dir)?)?.names;
        let entry = |(name, node): (&OsString, &NodeId)| {
            let is_dir = matches!(self.nodes.get(node), Some(Node::Folder(_)));
            Entry {
                name: name.clone(),
                is_dir,
                is_file: !is_dir,
            }
        };
        Ok(names.iter().map(entry).collect())
    }

    pub(super) fn sync_dir(&mut self, dir: &Path) -> io::Result<()> {
        let node = self.find(dir)?;
        self.folder(node)?;
        let (now, later) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|change| change.touches(node) && !change.forgotten);
        self.pending = later;
        self.make_durable(now);
        self.collect_garbage();
        Ok(())
    }

    pub(super) fn forget_names(&mut self, dir: &Path) {
        if let Ok(node) = self.find(dir) {
            for change in self
                .pending
                .iter_mut()
                .filter(|change| change.touches(node))
            {
                change.forgotten = true;
            }
        }
    }

    /// Whether the sync of this path is one that was to fail.
    pub(super) fn take_failing_sync(&mut self, path: &Path) -> bool {
        match self.fail_syncs.iter().position(|wanted| wanted(path)) {
            Some(at) => {
                self.fail_syncs.remove(at);
                true
            }
            None => false,
        }
    }

    /// Changes names as they are seen, and remembers that they are not durable.
    fn change(&mut self, sets: Vec<Set>) {
        for set in &sets {
            let Some(Node::Folder(folder)) = self.nodes.get_mut(&set.folder) else {
                continue;
            };
            let folder = Arc::make_mut(folder);
            let before = match set.to {
                Some(node) => folder.names.insert(set.name.clone(), node),
                None => folder.names.remove(&set.name),
            };
            if let Some(Node::File(file)) = before.and_then(|node| self.nodes.get_mut(&node)) {
                file.names -= 1;
            }
            if let Some(Node::File(file)) = set.to.and_then(|node| self.nodes.get_mut(&node)) {
                file.names += 1;
            }
        }
        self.pending.push(NameChange {
            number: self.next_change,
            forgotten: false,
            sets,
        });
        self.next_change += 1;
    }

    /// Puts changes on the platter. A name that a later change has already set there stays so.
    pub(super) fn make_durable(&mut self, changes: Vec<NameChange>) {
        for change in changes {
            for set in change.sets {
                let Some(Node::Folder(folder)) = self.nodes.get_mut(&set.folder) else {
                    continue;
                };
                let durable = &mut Arc::make_mut(folder).durable;
                let on_platter = durable.entry(set.name).or_insert((0, None));
                if on_platter.0 < change.number {
                    *on_platter = (change.number, set.to);
                }
            }
        }
    }

    pub(super) fn page(&self, node: NodeId, no: u64) -> Option<&Page> {
        match self.nodes.get(&node)? {
            Node::File(file) => file.pages.page(no),
            Node::Folder(_) => None,
        }
    }

    /// What is on the platter is all that there is, once the changes of names that are kept are there:
    /// files have these lengths and these pages. The machine is gone.
    pub(super) fn settle(
        &mut self,
        lens: &BTreeMap<NodeId, u64>,
        mut pages: BTreeMap<NodeId, BTreeMap<u64, Block>>,
    ) {
        for (id, node) in &mut self.nodes {
            match node {
                Node::Folder(folder) => {
                    let durable = folder.durable.iter();
                    let durable = durable.filter_map(|(name, at)| Some((name, at.1?)));
                    let seen = folder.names.iter().map(|(name, node)| (name, *node));
                    if !durable.clone().eq(seen) {
                        let names = durable.map(|(name, node)| (name.clone(), node)).collect();
                        Arc::make_mut(folder).names = names;
                    }
                }
                Node::File(file) => {
                    file.names = 0;
                    if !file.pages.is_settled() {
                        let len = lens.get(id).copied().unwrap_or(file.pages.len());
                        let found = pages.remove(id).unwrap_or_default();
                        file.pages = Arc::new(file.pages.after(len, found));
                    }
                }
            }
        }
        self.end_process();
        self.count_names();
    }

    fn count_names(&mut self) {
        let folders = self.nodes.values().filter_map(|node| match node {
            Node::Folder(folder) => Some(folder.names.values().copied()),
            Node::File(_) => None,
        });
        for id in folders.flatten().collect::<Vec<_>>() {
            if let Some(Node::File(file)) = self.nodes.get_mut(&id) {
                file.names += 1;
            }
        }
    }

    /// Where a node is, as it is seen or is on its way to be.
    pub(super) fn path(&self, node: NodeId) -> String {
        if node == ROOT {
            return String::new();
        }
        let seen = self.nodes.iter().find_map(|(id, folder)| match folder {
            Node::Folder(folder) => {
                let mut names = folder.names.iter();
                let (name, _) = names.find(|(_, to)| **to == node)?;
                Some((*id, name.clone()))
            }
            Node::File(_) => None,
        });
        let mut changes = self.pending.iter().rev().flat_map(|change| &change.sets);
        let mut pending = || {
            let set = changes.find(|set| set.to == Some(node))?;
            Some((set.folder, set.name.clone()))
        };
        match seen.or_else(&mut pending) {
            Some((folder, name)) => format!("{}/{}", self.path(folder), name.display()),
            None => format!("a file that has no name any more ({node})"),
        }
    }

    /// A change of names, for people.
    pub(super) fn tell_change(&self, change: usize) -> String {
        let sets = self.pending[change].sets.iter();
        let told = sets.map(|set| {
            let path = format!("{}/{}", self.path(set.folder), set.name.display());
            match set.to.map(|node| self.nodes.get(&node)) {
                None => format!("{path} is gone"),
                Some(Some(Node::Folder(_))) => format!("{path} is there, a folder"),
                Some(_) => format!("{path} is there"),
            }
        });
        told.collect::<Vec<_>>().join(", ")
    }

    /// Drops what no name, no handle and no pending change leads to any more.
    pub(super) fn collect_garbage(&mut self) {
        let mut reached = vec![false; usize::try_from(self.next_node).unwrap_or(usize::MAX)];
        let at = |id: NodeId| usize::try_from(id).unwrap_or(usize::MAX);
        let mut next = vec![ROOT];
        next.extend(
            self.pending
                .iter()
                .flat_map(|change| &change.sets)
                .filter_map(|set| set.to),
        );
        for (&id, node) in &self.nodes {
            if matches!(node, Node::File(file) if file.handles > 0) {
                next.push(id);
            }
        }
        while let Some(id) = next.pop() {
            if std::mem::replace(&mut reached[at(id)], true) {
                continue;
            }
            if let Some(Node::Folder(folder)) = self.nodes.get(&id) {
                next.extend(folder.names.values().copied());
                next.extend(folder.durable.values().filter_map(|(_, node)| *node));
            }
        }
        if self.nodes.keys().any(|id| !reached[at(*id)]) {
            self.nodes.retain(|id, _| reached[at(*id)]);
        }
        for (id, node) in &mut self.nodes {
            if let Node::Folder(folder) = node
                && !self.pending.iter().any(|change| change.touches(*id))
                && folder.durable.values().any(|(_, node)| node.is_none())
            {
                let durable = &mut Arc::make_mut(folder).durable;
                durable.retain(|_, (_, node)| node.is_some());
            }
        }
    }
}
