//! `Disk`: a model of what a disk has after the power went, beside the real folder that it mirrors.
//!
//! Modelled: content is kept once its file was synced; before that it is cut to what was synced, or zeros stand in its place, or it is there
//! all the same. A name that was made, changed or removed is kept once its folder was synced afterwards; before that each such change may
//! have reached the disk or not, whatever became of the others, but the two names of a rename change together.
//!
//! Not modelled: bytes that were never written, a sync that lies, two halves of one rename, links, modes, and files that are changed in place,
//! for a build has none. Real file systems keep more order among names than this one; none is counted on.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// What becomes of everything that was not synced.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Loss {
    /// It is gone: no name, and content cut.
    All,
    /// Every name is there, with zeros for content.
    Content,
    /// A coin decides for each name and each file, thrown from this seed.
    Some(u64),
}

/// A folder's names and what they lead to.
type Names = BTreeMap<OsString, usize>;

#[derive(Debug)]
enum Node {
    File { content: Vec<u8>, synced: usize },
    Folder { now: Names, synced: Names, pending: Vec<Vec<(OsString, Option<usize>)>> },
}

/// The model of a folder and of everything below it.
#[derive(Debug)]
pub(crate) struct Disk {
    root: PathBuf,
    /// The root is the first one.
    nodes: Vec<Node>,
}

impl Disk {
    /// Takes in what is there, all of it durable.
    pub(crate) fn read(root: &Path) -> Self {
        let mut disk = Self { root: root.to_owned(), nodes: Vec::new() };
        disk.take_in(root);
        disk
    }

    fn take_in(&mut self, path: &Path) -> usize {
        let number = self.nodes.len();
        if path.is_file() {
            let content = fs::read(path).unwrap();
            self.nodes.push(Node::File { synced: content.len(), content });
            return number;
        }
        self.nodes.push(Node::Folder { now: Names::new(), synced: Names::new(), pending: Vec::new() });
        for entry in fs::read_dir(path).unwrap().map(Result::unwrap) {
            let below = self.take_in(&entry.path());
            self.change(number, vec![(entry.file_name(), Some(below))]);
        }
        self.sync(number);
        number
    }

    /// A file was made: its number.
    pub(crate) fn created_file(&mut self, path: &Path) -> usize {
        self.created(path, Node::File { content: Vec::new(), synced: 0 })
    }

    pub(crate) fn created_folder(&mut self, path: &Path) {
        self.created(path, Node::Folder { now: Names::new(), synced: Names::new(), pending: Vec::new() });
    }

    pub(crate) fn wrote(&mut self, file: usize, bytes: &[u8]) {
        match &mut self.nodes[file] {
            Node::File { content, .. } => content.extend_from_slice(bytes),
            Node::Folder { .. } => panic!("a folder was written"),
        }
    }

    /// Takes in what somebody wrote behind this model's back into a file that it has as empty: SQLite does, and is done before the sync.
    pub(crate) fn written_by_others(&mut self, file: usize, path: &Path) {
        match &mut self.nodes[file] {
            Node::File { content, .. } if content.is_empty() => *content = fs::read(path).unwrap(),
            Node::File { .. } => {}
            Node::Folder { .. } => panic!("a folder was written"),
        }
    }

    pub(crate) fn synced(&mut self, file: usize) {
        self.sync(file);
    }

    pub(crate) fn synced_folder(&mut self, path: &Path) {
        let folder = self.find(path);
        self.sync(folder);
    }

    pub(crate) fn renamed(&mut self, from: &Path, to: &Path) {
        assert_eq!(from.parent(), to.parent());
        let moved = self.find(from);
        let folder = self.find(from.parent().unwrap());
        self.change(folder, vec![(name(from), None), (name(to), Some(moved))]);
    }

    pub(crate) fn removed(&mut self, path: &Path) {
        let folder = self.find(path.parent().unwrap());
        self.change(folder, vec![(name(path), None)]);
    }

    pub(crate) fn has(&self, path: &Path) -> bool {
        self.look_up(path).is_some()
    }

    /// The power goes: what is in the real folder becomes what the disk kept of it.
    pub(crate) fn lose(&self, loss: Loss) {
        for entry in fs::read_dir(&self.root).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        }
        let mut coin = match loss {
            Loss::Some(seed) => seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            _ => 1,
        };
        self.restore(0, &self.root, loss, &mut coin);
    }

    fn restore(&self, number: usize, path: &Path, loss: Loss, coin: &mut u64) {
        match &self.nodes[number] {
            Node::File { content, synced } => {
                let mut kept = content.clone();
                match loss {
                    Loss::All => kept.truncate(*synced),
                    Loss::Content => kept[*synced..].fill(0),
                    Loss::Some(_) => match throw(coin) % 3 {
                        0 => kept.truncate(*synced),
                        1 => kept[*synced..].fill(0),
                        _ => {}
                    },
                }
                fs::write(path, kept).unwrap();
            }
            Node::Folder { synced, pending, .. } => {
                let mut kept = synced.clone();
                for change in pending {
                    let survives = match loss {
                        Loss::All => false,
                        Loss::Content => true,
                        Loss::Some(_) => throw(coin).is_multiple_of(2),
                    };
                    if survives {
                        apply(&mut kept, change);
                    }
                }
                for (name, below) in kept {
                    let path = path.join(name);
                    if matches!(self.nodes[below], Node::Folder { .. }) {
                        fs::create_dir(&path).unwrap();
                    }
                    self.restore(below, &path, loss, coin);
                }
            }
        }
    }

    fn created(&mut self, path: &Path, node: Node) -> usize {
        let folder = self.find(path.parent().unwrap());
        self.nodes.push(node);
        let number = self.nodes.len() - 1;
        self.change(folder, vec![(name(path), Some(number))]);
        number
    }

    fn change(&mut self, folder: usize, change: Vec<(OsString, Option<usize>)>) {
        match &mut self.nodes[folder] {
            Node::Folder { now, pending, .. } => {
                apply(now, &change);
                pending.push(change);
            }
            Node::File { .. } => panic!("a file has no names"),
        }
    }

    fn sync(&mut self, number: usize) {
        match &mut self.nodes[number] {
            Node::File { content, synced } => *synced = content.len(),
            Node::Folder { now, synced, pending } => {
                synced.clone_from(now);
                pending.clear();
            }
        }
    }

    fn find(&self, path: &Path) -> usize {
        self.look_up(path).unwrap_or_else(|| panic!("{} is not there", path.display()))
    }

    fn look_up(&self, path: &Path) -> Option<usize> {
        let below = path.strip_prefix(&self.root).unwrap();
        below.iter().try_fold(0, |folder, name| match &self.nodes[folder] {
            Node::Folder { now, .. } => now.get(name).copied(),
            Node::File { .. } => None,
        })
    }
}

fn apply(names: &mut Names, change: &[(OsString, Option<usize>)]) {
    for (name, to) in change {
        match to {
            Some(number) => names.insert(name.clone(), *number),
            None => names.remove(name),
        };
    }
}

fn name(path: &Path) -> OsString {
    path.file_name().unwrap().to_owned()
}

/// A coin's next throw (xorshift64).
pub(crate) fn throw(coin: &mut u64) -> u64 {
    *coin ^= *coin << 13;
    *coin ^= *coin >> 7;
    *coin ^= *coin << 17;
    *coin >> 32
}

/// The model itself: what it keeps and what it loses.
#[test]
fn what_is_kept_when_the_power_goes() {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    fs::write(root.join("old"), "old").unwrap();
    let after = |loss| {
        let mut disk = Disk::read(root);
        let file = disk.created_file(&root.join("new"));
        disk.wrote(file, b"synced");
        disk.synced(file);
        disk.wrote(file, b"+more");
        disk.removed(&root.join("old"));
        disk.renamed(&root.join("new"), &root.join("newer"));
        disk.lose(loss);
        let found = ["old", "new", "newer"].map(|name| fs::read_to_string(root.join(name)).ok());
        for name in ["new", "newer"] {
            let _ = fs::remove_file(root.join(name));
        }
        fs::write(root.join("old"), "old").unwrap();
        found
    };
    let text = |text: &str| Some(text.to_owned());
    assert_eq!(after(Loss::All), [text("old"), None, None]);
    assert_eq!(after(Loss::Content), [None, None, text("synced\0\0\0\0\0")]);
    let mut seen: Vec<_> = (0..200).map(|seed| after(Loss::Some(seed))).collect();
    seen.sort();
    seen.dedup();
    // Old or not; new, newer or neither, or both where the making of the one and the rename are not undone together; three contents.
    assert!(seen.len() > 10, "{seen:?}");
    assert!(seen.contains(&[text("old"), None, text("synced+more")]), "{seen:?}");
    assert!(seen.contains(&[None, text("synced"), None]), "{seen:?}");
    // What is synced is beyond any coin.
    let mut disk = Disk::read(root);
    let file = disk.created_file(&root.join("new"));
    disk.wrote(file, b"synced");
    disk.synced(file);
    disk.synced_folder(root);
    for seed in 0..20 {
        disk.lose(Loss::Some(seed));
        assert_eq!(fs::read_to_string(root.join("new")).unwrap(), "synced");
    }
}
