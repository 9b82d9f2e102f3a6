//! A disk in memory that knows what was synced, for tests: its power can be cut at any call.
//!
//! A cut keeps what was synced. Of the rest it keeps what the seed says: each unsynced write wholly, torn at
//! 512-byte sectors, or not at all, in any combination; each unsynced name (creation, rename, removal) or not.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use super::{DirectoryLock, Disk, DurableFile};

const SECTOR_BYTES: usize = 512;

/// A small generator for seeds (SplitMix64; Steele, Lea, Flood 2014).
#[derive(Debug, Clone)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit.max(1)
    }
}

#[derive(Debug, Clone, Default)]
struct Inode {
    content: Vec<u8>,
    durable: Vec<u8>,
    /// Writes since the last sync: position and bytes.
    pending: Vec<(usize, Vec<u8>)>,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Calls that change something, counted down; the power is off at zero.
    calls_left: u64,
}

/// The disk. Clones are the same disk.
#[derive(Debug, Clone)]
pub(crate) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

impl SimulatedDisk {
    pub(crate) fn new() -> Self {
        let state = State { calls_left: u64::MAX, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Cuts the power after `calls` more changing calls.
    pub(crate) fn cut_after(&self, calls: u64) {
        self.lock().calls_left = calls;
    }

    /// What is found when the power is back.
    pub(crate) fn after_power_cut(&self, random: &mut Random) -> Self {
        let state = self.lock();
        let mut names = state.durable_names.clone();
        let changed: Vec<&PathBuf> = state
            .names
            .keys()
            .chain(state.durable_names.keys())
            .filter(|path| state.names.get(*path) != state.durable_names.get(*path))
            .collect();
        for path in changed {
            if random.below(2) == 0 {
                match state.names.get(path) {
                    Some(inode) => names.insert(path.clone(), *inode),
                    None => names.remove(path),
                };
            }
        }
        let inodes = state.inodes.iter().map(|inode| inode.after_power_cut(random)).collect();
        let state = State { inodes, durable_names: names.clone(), names, calls_left: u64::MAX };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// A file's bytes as a reader sees them now.
    pub(crate) fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.lock();
        let inode = *state.names.get(path)?;
        Some(state.inodes[inode].content.clone())
    }

    /// Changes a file's bytes behind the program's back.
    pub(crate) fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.lock();
        let inode = state.names[path];
        change(&mut state.inodes[inode].content);
        state.inodes[inode].durable = state.inodes[inode].content.clone();
    }

    /// Every file's path.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the disk")
    }

    /// Counts a changing call; an error once the power is off.
    fn change(&self) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.calls_left == 0 {
            return Err(io::Error::other("the power is off"));
        }
        state.calls_left -= 1;
        Ok(state)
    }
}

impl Inode {
    fn after_power_cut(&self, random: &mut Random) -> Self {
        let mut content = self.durable.clone();
        for (position, bytes) in &self.pending {
            let fate = random.below(3);
            for (index, byte) in bytes.iter().enumerate() {
                let at = position + index;
                let sector_survives = match fate {
                    0 => false,
                    1 => true,
                    _ => Random((at / SECTOR_BYTES) as u64 ^ *position as u64 ^ random.0).below(2) == 0,
                };
                if sector_survives {
                    if content.len() <= at {
                        content.resize(at + 1, 0);
                    }
                    content[at] = *byte;
                }
            }
        }
        Self { durable: content.clone(), content, pending: Vec::new() }
    }

    fn write(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        if self.content.len() < end {
            self.content.resize(end, 0);
        }
        self.content[position..end].copy_from_slice(bytes);
        self.pending.push((position, bytes.to_vec()));
    }
}

fn not_found() -> io::Error {
    io::ErrorKind::NotFound.into()
}

impl Disk for SimulatedDisk {
    fn create_directory(&self, _directory: &Path) -> io::Result<()> {
        Ok(())
    }

    fn create_new(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        let mut state = self.change()?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode, position: 0 }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        let found = {
            let state = self.lock();
            state.names.get(path).map(|inode| (*inode, state.inodes[*inode].content.len()))
        };
        match found {
            Some((inode, position)) => Ok(Box::new(SimulatedFile { disk: self.clone(), inode, position })),
            None => self.create_new(path),
        }
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut state = self.change()?;
        let inode = *state.names.get(path).ok_or_else(not_found)?;
        let inode = &mut state.inodes[inode];
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        inode.content.truncate(bytes);
        // The old length may come back with a power cut; writes beyond the new one do not.
        inode.pending.retain(|(position, written)| position + written.len() <= bytes);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let content = self.content(path).ok_or_else(not_found)?;
        let length = content.len() as u64;
        Ok((Box::new(io::Cursor::new(content)), length))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let inode = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        super::copy(self, from, to)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.change()?.names.retain(|path, _| !path.starts_with(directory));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.lock().names.contains_key(path) {
            return Err(not_found());
        }
        self.change()?.names.remove(path);
        Ok(())
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let state = self.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(directory));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn lock(&self, _path: &Path) -> io::Result<DirectoryLock> {
        Ok(DirectoryLock::unneeded())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut state = self.change()?;
        let inside = |path: &PathBuf| path.parent() == Some(directory);
        let current: Vec<_> = state
            .names
            .iter()
            .filter(|(path, _)| inside(path))
            .map(|(path, inode)| (path.clone(), *inode))
            .collect();
        state.durable_names.retain(|path, _| !inside(path));
        state.durable_names.extend(current);
        Ok(())
    }
}

struct SimulatedFile {
    disk: SimulatedDisk,
    inode: usize,
    position: usize,
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut state = self.disk.change()?;
        state.inodes[self.inode].write(self.position, bytes);
        self.position += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DurableFile for SimulatedFile {
    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        let inode = &mut state.inodes[self.inode];
        if inode.content.len() < bytes {
            inode.content.resize(bytes, 0);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut state = self.disk.change()?;
        let inode = &mut state.inodes[self.inode];
        inode.durable = inode.content.clone();
        inode.pending.clear();
        Ok(())
    }
}
