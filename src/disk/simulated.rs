//! A disk in memory that knows what was synced, for tests: its power can be cut at any call, and any call can fail.
//!
//! A cut keeps what was synced. Of the rest it keeps what the seed says: each unsynced write wholly, torn at
//! 512-byte sectors, or not at all, in any combination; each unsynced name (creation, rename, removal) or not.
//!
//! A failed write leaves its first half behind. A failed sync does what Linux does: every second write since the last
//! one has reached the disk, the others never will; a reader sees all of them until the cache is dropped, and the next
//! sync succeeds.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use rustix::io::Errno;

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

/// A kind of call that changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Call {
    Create,
    Preallocate,
    Write,
    Sync,
    Truncate,
    Rename,
    Remove,
    SyncDirectory,
}

/// Calls that are to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) call: Call,
    /// How many calls of this kind succeed before.
    pub(crate) after: u64,
    /// How many fail then.
    pub(crate) times: u64,
    pub(crate) errno: Errno,
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
    fault: Option<Fault>,
    /// Calls that failed because of it.
    faults_met: u64,
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

    /// Lets some calls fail.
    pub(crate) fn fail(&self, fault: Fault) {
        let mut state = self.lock();
        (state.fault, state.faults_met) = (Some(fault), 0);
    }

    /// Lets no call fail any more; returns how many did.
    pub(crate) fn heal(&self) -> u64 {
        let mut state = self.lock();
        state.fault = None;
        state.faults_met
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
        let state =
            State { inodes, durable_names: names.clone(), names, calls_left: u64::MAX, ..State::default() };
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

    /// Takes a file away behind the program's back.
    pub(crate) fn lose(&self, path: &Path) {
        let mut state = self.lock();
        state.names.remove(path);
        state.durable_names.remove(path);
    }

    /// Every file's path.
    pub(crate) fn files(&self) -> Vec<PathBuf> {
        self.lock().names.keys().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no code panics while it holds the disk")
    }

    /// Counts a changing call; an error once the power is off, or when this one is to fail.
    fn change(&self, call: Call) -> io::Result<MutexGuard<'_, State>> {
        let mut state = self.lock();
        if state.calls_left == 0 {
            return Err(io::Error::other("the power is off"));
        }
        state.calls_left -= 1;
        match &mut state.fault {
            Some(fault) if fault.call == call && fault.after > 0 => fault.after -= 1,
            Some(fault) if fault.call == call && fault.times > 0 => {
                fault.times -= 1;
                let errno = fault.errno;
                state.faults_met += 1;
                return Err(errno.into());
            }
            _ => {}
        }
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

    /// The disk has every write.
    fn sync(&mut self) {
        for (position, bytes) in std::mem::take(&mut self.pending) {
            self.apply(position, &bytes);
        }
        self.durable.resize(self.content.len(), 0);
    }

    /// The disk has every second write, and the others are forgotten.
    fn fail_to_sync(&mut self) {
        for (position, bytes) in std::mem::take(&mut self.pending).into_iter().step_by(2) {
            self.apply(position, &bytes);
        }
        self.durable.resize(self.content.len(), 0);
    }

    fn apply(&mut self, position: usize, bytes: &[u8]) {
        let end = position + bytes.len();
        if self.durable.len() < end {
            self.durable.resize(end, 0);
        }
        self.durable[position..end].copy_from_slice(bytes);
    }

    fn truncate(&mut self, length: usize) {
        self.content.truncate(length);
        // The old length may come back with a power cut; writes beyond the new one do not.
        for (position, bytes) in &mut self.pending {
            bytes.truncate(length.saturating_sub(*position));
        }
    }

    /// A reader sees what the disk has, and what is still to be written to it.
    fn drop_cache(&mut self) {
        let pending = self.pending.clone();
        let length = self.content.len();
        self.content = self.durable.clone();
        self.content.resize(length, 0);
        for (position, bytes) in pending {
            self.content[position..position + bytes.len()].copy_from_slice(&bytes);
        }
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
        let mut state = self.change(Call::Create)?;
        if state.names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.names.insert(path.to_owned(), inode);
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode, position: Some(0) }))
    }

    fn append(&self, path: &Path) -> io::Result<Box<dyn DurableFile>> {
        if self.content(path).is_none() {
            self.create_new(path)?;
        }
        let inode = *self.lock().names.get(path).ok_or_else(not_found)?;
        Ok(Box::new(SimulatedFile { disk: self.clone(), inode, position: None }))
    }

    fn truncate(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let mut state = self.change(Call::Truncate)?;
        let inode = *state.names.get(path).ok_or_else(not_found)?;
        state.inodes[inode].truncate(usize::try_from(bytes).map_err(io::Error::other)?);
        Ok(())
    }

    fn open(&self, path: &Path) -> io::Result<(Box<dyn Read + Send>, u64)> {
        let content = self.content(path).ok_or_else(not_found)?;
        let length = content.len() as u64;
        Ok((Box::new(io::Cursor::new(content)), length))
    }

    fn drop_cache(&self, path: &Path) -> io::Result<()> {
        let mut state = self.lock();
        let inode = *state.names.get(path).ok_or_else(not_found)?;
        state.inodes[inode].drop_cache();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.change(Call::Rename)?;
        let inode = state.names.remove(from).ok_or_else(not_found)?;
        state.names.insert(to.to_owned(), inode);
        Ok(())
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        super::copy(self, from, to)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        self.change(Call::Remove)?.names.retain(|path, _| !path.starts_with(directory));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        if !self.lock().names.contains_key(path) {
            return Err(not_found());
        }
        self.change(Call::Remove)?.names.remove(path);
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
        let mut state = self.change(Call::SyncDirectory)?;
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
    /// Where the next write goes; `None` at the end, wherever that is then.
    position: Option<usize>,
}

impl Write for SimulatedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let changed = self.disk.change(Call::Write);
        let (mut state, bytes, outcome) = match changed {
            Ok(state) => (state, bytes, Ok(bytes.len())),
            Err(error) if error.raw_os_error().is_some() => {
                (self.disk.lock(), &bytes[..bytes.len() / 2], Err(error))
            }
            Err(error) => return Err(error),
        };
        let inode = &mut state.inodes[self.inode];
        inode.write(self.position.unwrap_or(inode.content.len()), bytes);
        if let Some(position) = &mut self.position {
            *position += bytes.len();
        }
        outcome
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DurableFile for SimulatedFile {
    fn preallocate(&mut self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.change(Call::Preallocate)?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        let inode = &mut state.inodes[self.inode];
        if inode.content.len() < bytes {
            inode.content.resize(bytes, 0);
        }
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        match self.disk.change(Call::Sync) {
            Ok(mut state) => {
                state.inodes[self.inode].sync();
                Ok(())
            }
            Err(error) => {
                if error.raw_os_error().is_some() {
                    self.disk.lock().inodes[self.inode].fail_to_sync();
                }
                Err(error)
            }
        }
    }
}
