//! The replica of a journal on a remote: which pieces carry a checkpoint on, and bringing them back.
//!
//! Pieces form a tree by the seal of the piece each goes on behind (see `piece`). A restore walks it from the piece that
//! holds the batch behind the checkpoint, from the beginning of that piece's segment; where two go on behind one, the one
//! of the newer incarnation counts. The walk ends where no piece goes on, or none that does is whole: what lies behind is
//! lost, and that is said.
//!
//! | a run carries a checkpoint on when one of its pieces | for then |
//! |---|---|
//! | names the checkpoint's manifest | who made it knew of it |
//! | is of the manifest's incarnation and ends at its batch or behind | one process made both |
//! | is the one the manifest names, and ends at its batch or behind | who made the manifest held it |
//!
//! What was fetched is recovered like a journal before it counts, and takes the place of a journal here only when it goes
//! farther; that one is moved to quarantine.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::ArchiveError;
use super::error::Unusable;
use super::manifest::Shipped;
use super::paths::PieceName;
use super::piece::{Piece, ShippedPiece};
use super::restore::{Keep, Restorer, local};
use super::restored::latest;
use crate::checkpoint::{Manifest, Reached};
use crate::disk::DurableFile;
use crate::journal::{JournalError, list, recover, segment_name};
use crate::remote::RemoteError;
use crate::runtime::Offset;

/// Pieces that cannot be restored that are looked at to tell what is lost.
const LOST_LOOKED_AT_MAX: usize = 64;

/// The journal that carries a checkpoint on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Replica {
    /// How far it goes; of clients the last lines in it.
    pub(crate) reached: Reached,
    /// Its pieces, those at the beginning of the first segment included.
    pub(crate) pieces: usize,
    /// Bytes of its records.
    pub(crate) bytes: u64,
    /// When its last piece was made, in milliseconds since 1970 by that device's clock.
    pub(crate) heard_ms: i64,
    segments: Vec<Offset>,
}

/// What was found behind a checkpoint.
#[derive(Debug, Default)]
pub(super) struct Carried {
    pub(super) replica: Option<Replica>,
    /// How far the device had come by what pieces say that cannot be restored, and when it said so.
    pub(super) heard: Option<(Reached, i64)>,
}

/// What listings say.
struct Tree {
    names: Vec<PieceName>,
    by_seal: BTreeMap<[u8; 8], PieceName>,
    /// What goes on behind a piece, newest first.
    behind: BTreeMap<[u8; 8], Vec<PieceName>>,
}

impl Tree {
    fn new(names: Vec<PieceName>) -> Self {
        let by_seal = names.iter().map(|name| (name.seal, *name)).collect();
        let mut behind: BTreeMap<_, Vec<PieceName>> = BTreeMap::new();
        for name in &names {
            behind.entry(name.previous).or_default().push(*name);
        }
        behind.values_mut().for_each(|names| names.sort_unstable_by(|left, right| right.cmp(left)));
        Self { names, by_seal, behind }
    }

    fn parent(&self, name: &PieceName) -> Option<&PieceName> {
        self.by_seal.get(&name.previous).filter(|_| name.previous != [0; 8])
    }

    /// Those that go on behind a piece, newest first.
    fn children(&self, seal: [u8; 8]) -> &[PieceName] {
        self.behind.get(&seal).map(Vec::as_slice).unwrap_or_default()
    }

    /// The pieces that may hold the batch at `first`, newest first.
    fn starts(&self, first: Offset) -> Vec<PieceName> {
        let may_hold = |name: &&PieceName| {
            name.through >= first
                && name.segment <= first
                && self.parent(name).is_none_or(|parent| parent.through < first)
        };
        let mut starts: Vec<PieceName> = self.names.iter().filter(may_hold).copied().collect();
        starts.sort_unstable_by(|left, right| right.cmp(left));
        starts
    }

    /// The pieces of a piece's segment before it, oldest first.
    fn before(&self, name: &PieceName) -> Vec<PieceName> {
        let mut before = Vec::new();
        let mut at = name;
        // Bounded: names that go round in a circle are no more than there are.
        while let Some(parent) = self.parent(at).filter(|parent| parent.segment == name.segment)
            && before.len() < self.names.len()
        {
            before.push(*parent);
            at = parent;
        }
        before.reverse();
        before
    }
}

/// A run that is walked.
struct Walk<'s> {
    shipped: &'s Shipped,
    /// Where segments are put together; `None` when they are only looked at.
    folder: Option<PathBuf>,
    file: Option<(PathBuf, Box<dyn DurableFile>)>,
    hasher: blake3::Hasher,
    /// The last piece taken: its seal, its segment, and the byte behind it.
    last: Option<([u8; 32], Offset, u64)>,
    incarnation: u32,
    belongs: bool,
    replica: Replica,
}

impl Restorer<'_> {
    /// Finds the journal that carries `shipped` on.
    ///
    /// # Errors
    /// The remote's, and [`ArchiveError::Local`]. Pieces that are missing or not whole are no error: they end the run.
    pub(super) fn carry_on(&mut self, shipped: &Shipped, keep: Keep) -> Result<Carried, ArchiveError> {
        let archive = self.archive;
        let names = match self.retry(|| Ok(archive.pieces()?)) {
            Err(error @ ArchiveError::Remote(RemoteError::TooMany { .. })) => {
                tracing::warn!(%error, "the journal on the remote is not used");
                return Ok(Carried::default());
            }
            pieces => pieces?.into_iter().map(|(name, _)| name).collect(),
        };
        let tree = Tree::new(names);
        let first = shipped.checkpoint.offset.next();
        let mut carried = Carried::default();
        let mut incarnation = shipped.manifest.incarnation.number;
        for start in tree.starts(first) {
            if let Some(walk) = self.walk(&tree, &start, shipped, keep)? {
                incarnation = walk.incarnation;
                carried.replica = Some(walk.replica);
                break;
            }
        }
        let through =
            carried.replica.as_ref().map_or(shipped.checkpoint.offset, |found| found.reached.offset);
        carried.heard = self.hear(&tree, through, incarnation, shipped)?;
        Ok(carried)
    }

    /// Walks the run that begins with the segment of `start`; `None` when it does not carry the checkpoint on.
    fn walk<'s>(
        &mut self,
        tree: &Tree,
        start: &PieceName,
        shipped: &'s Shipped,
        keep: Keep,
    ) -> Result<Option<Walk<'s>>, ArchiveError> {
        let folder = (keep == Keep::Files).then(|| self.incoming().join("journal"));
        if let Some(folder) = &folder {
            // What an earlier attempt left.
            self.disk.remove_directory(folder).map_err(local("clear", folder))?;
            self.disk.create_directory(folder).map_err(local("create", folder))?;
        }
        let mut walk = Walk::new(shipped, folder);
        for name in tree.before(start).iter().chain([start]) {
            if let Err(error) = self.go_on(&mut walk, name)? {
                tracing::warn!(%error, "a run of the journal on the remote cannot be used");
                return Ok(None);
            }
        }
        let mut seal = start.seal;
        loop {
            let mut next = None;
            for name in tree.children(seal) {
                match self.go_on(&mut walk, name)? {
                    Ok(()) => {
                        next = Some(name.seal);
                        break;
                    }
                    // What a cut upload left, most often.
                    Err(ArchiveError::Unusable { name, reason: Unusable::Torn }) => {
                        tracing::info!(piece = %name, "a piece of the journal on the remote is cut short");
                    }
                    Err(error) => {
                        tracing::warn!(%error, "a piece of the journal on the remote cannot be used")
                    }
                }
            }
            match next {
                Some(next) => seal = next,
                None => break,
            }
        }
        if !walk.belongs {
            tracing::warn!(
                piece = %self.archive.paths.piece(start),
                "a run of the journal on the remote does not carry this checkpoint on: it is passed over"
            );
            return Ok(None);
        }
        walk.finish()?;
        if let Some(folder) = &walk.folder
            && !self.is_whole(folder, &mut walk.replica, &shipped.checkpoint)?
        {
            return Ok(None);
        }
        Ok(Some(walk))
    }

    /// Takes a piece in, or says why the run ends before it.
    fn go_on(
        &mut self,
        walk: &mut Walk<'_>,
        name: &PieceName,
    ) -> Result<Result<(), ArchiveError>, ArchiveError> {
        let archive = self.archive;
        let piece = match self.retry(|| archive.piece(name)) {
            Ok(piece) => piece,
            Err(error @ ArchiveError::Unusable { .. }) => return Ok(Err(error)),
            Err(ArchiveError::Remote(error @ RemoteError::NotFound { .. })) => return Ok(Err(error.into())),
            Err(error) => return Err(error),
        };
        if let Err(reason) = walk.check(&piece) {
            return Ok(Err(ArchiveError::unusable(&archive.paths.piece(name), reason)));
        }
        walk.take(&*self.disk, &piece).map_err(|(path, source)| ArchiveError::Local {
            operation: "write",
            path,
            source,
        })?;
        Ok(Ok(()))
    }

    /// Recovers what was fetched like a journal. It may end before its last piece, but not before the checkpoint.
    fn is_whole(
        &self,
        folder: &Path,
        replica: &mut Replica,
        checkpoint: &Manifest,
    ) -> Result<bool, ArchiveError> {
        let needed = checkpoint.offset.next();
        let recovered = recover(&*self.disk, folder, &checkpoint.job, needed)
            .map_err(|error| read_failed(folder, error))?;
        let is_usable = recovered.first.is_some_and(|first| first <= needed) && recovered.last >= needed;
        if let Some(corruption) = &recovered.corruption {
            tracing::warn!(
                segment = %corruption.segment.display(), byte = corruption.byte, reason = corruption.reason,
                "the journal on the remote is damaged"
            );
        }
        if is_usable && recovered.last < replica.reached.offset {
            tracing::warn!(through = %recovered.last, "the journal on the remote ends early");
            replica.reached.offset = recovered.last;
        }
        Ok(is_usable)
    }

    /// How far the device had come by what the newest pieces say.
    fn hear(
        &mut self,
        tree: &Tree,
        through: Offset,
        incarnation: u32,
        shipped: &Shipped,
    ) -> Result<Option<(Reached, i64)>, ArchiveError> {
        let archive = self.archive;
        let mut farther: Vec<&PieceName> = tree
            .names
            .iter()
            .filter(|name| name.through > through && name.incarnation >= incarnation)
            .collect();
        farther.sort_unstable_by(|left, right| right.cmp(left));
        let mut heard: Option<(Reached, i64)> = None;
        for name in farther.into_iter().take(LOST_LOOKED_AT_MAX) {
            let piece = match self.retry(|| archive.piece(name)) {
                Ok(piece) if piece.shipped.lineage == shipped.checkpoint.lineage => piece.shipped,
                Ok(_)
                | Err(ArchiveError::Unusable { .. } | ArchiveError::Remote(RemoteError::NotFound { .. })) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            let ShippedPiece { through: offset, readings, clients, shipped_ms, .. } = piece;
            let (known, at_ms) =
                heard.unwrap_or((Reached { offset, readings, clients: Vec::new() }, shipped_ms));
            heard = Some((Reached { clients: latest(&known.clients, &clients), ..known }, at_ms));
        }
        Ok(heard)
    }

    /// Moves the fetched journal to its place. A journal here that goes as far stays; another is moved to quarantine.
    pub(super) fn install_journal(
        &self,
        replica: &Replica,
        checkpoint: &Manifest,
    ) -> Result<(), ArchiveError> {
        let journal = self.directory.join("journal");
        self.disk.create_directory(&journal).map_err(local("create", &journal))?;
        let here = list(&*self.disk, &journal).map_err(|error| read_failed(&journal, error))?;
        if !here.is_empty() {
            let needed = checkpoint.offset.next();
            let recovered = recover(&*self.disk, &journal, &checkpoint.job, needed)
                .map_err(|error| read_failed(&journal, error))?;
            if recovered.first.is_some_and(|first| first <= needed)
                && recovered.last >= replica.reached.offset
            {
                tracing::info!(through = %recovered.last, "the journal here goes as far as the one on the remote: it stays");
                return Ok(());
            }
            let quarantine = self.directory.join("quarantine");
            self.disk.create_directory(&quarantine).map_err(local("create", &quarantine))?;
            tracing::warn!(
                segments = here.len(), last = %recovered.last,
                "what is left of the journal here is moved to quarantine: the one on the remote goes farther"
            );
            let kept = self.disk.list(&quarantine).map_err(local("list", &quarantine))?;
            for segment in &here {
                let to = quarantine.join(new_name(&segment_name(segment.base), &kept));
                self.disk.rename(&segment.path, &to).map_err(local("move to quarantine", &segment.path))?;
            }
            self.disk.sync_directory(&quarantine).map_err(local("sync", &quarantine))?;
        }
        let incoming = self.incoming().join("journal");
        for segment in &replica.segments {
            let name = segment_name(*segment);
            let from = incoming.join(&name);
            self.disk.rename(&from, &journal.join(&name)).map_err(local("move to its place", &from))?;
        }
        self.disk.sync_directory(&journal).map_err(local("sync", &journal))
    }
}

impl<'s> Walk<'s> {
    fn new(shipped: &'s Shipped, folder: Option<PathBuf>) -> Self {
        let reached = Reached { clients: Vec::new(), ..Reached::of(&shipped.checkpoint) };
        Self {
            shipped,
            folder,
            file: None,
            hasher: blake3::Hasher::new(),
            last: None,
            incarnation: 0,
            belongs: false,
            replica: Replica { reached, pieces: 0, bytes: 0, heard_ms: 0, segments: Vec::new() },
        }
    }

    /// Whether `piece` goes on behind the last one.
    fn check(&self, piece: &Piece) -> Result<(), Unusable> {
        let shipped = &piece.shipped;
        if shipped.lineage != self.shipped.checkpoint.lineage {
            return Err(Unusable::Contradiction("it belongs to another history than the checkpoint"));
        }
        let goes_on = match self.last {
            None => shipped.position == 0,
            Some((seal, segment, end)) => {
                let is_behind = if shipped.position == 0 {
                    shipped.segment > segment
                } else {
                    (shipped.segment, shipped.position) == (segment, end)
                };
                is_behind && shipped.previous == Some(seal)
            }
        };
        if !goes_on {
            return Err(Unusable::Contradiction("it does not go on behind the piece before it"));
        }
        let mut hasher = if shipped.position == 0 { blake3::Hasher::new() } else { self.hasher.clone() };
        if hasher.update(&piece.records).finalize() != shipped.hash {
            return Err(Unusable::Contradiction("it is not what its segment holds there"));
        }
        Ok(())
    }

    /// Takes in a piece that was checked.
    fn take(&mut self, disk: &dyn crate::disk::Disk, piece: &Piece) -> Result<(), (PathBuf, std::io::Error)> {
        let shipped = &piece.shipped;
        if shipped.position == 0 {
            self.finish_file()?;
            self.hasher = blake3::Hasher::new();
            self.replica.segments.push(shipped.segment);
            if let Some(folder) = &self.folder {
                let path = folder.join(segment_name(shipped.segment));
                let file = disk.create_new(&path).map_err(|source| (path.clone(), source))?;
                self.file = Some((path, file));
            }
        }
        self.hasher.update(&piece.records);
        if let Some((path, file)) = &mut self.file {
            file.write_all(&piece.records).map_err(|source| (path.clone(), source))?;
        }
        self.last = Some((piece.seal, shipped.segment, piece.end()));
        self.incarnation = shipped.incarnation.number;
        let (manifest, checkpoint) = (&self.shipped.manifest, &self.shipped.checkpoint);
        let is_as_far = shipped.through >= checkpoint.offset;
        self.belongs |= shipped.behind == *self.shipped.seal.as_bytes()
            || is_as_far
                && (shipped.incarnation == manifest.incarnation
                    || manifest.journal.as_ref() == Some(&piece.seal));
        self.replica.heard_ms = shipped.shipped_ms;
        self.replica.pieces += 1;
        self.replica.bytes += u64::from(shipped.bytes);
        if shipped.through > self.replica.reached.offset {
            let clients = latest(&self.replica.reached.clients, &shipped.clients);
            let (offset, readings) = (shipped.through, shipped.readings);
            self.replica.reached = Reached { offset, readings, clients };
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), ArchiveError> {
        self.finish_file().map_err(|(path, source)| ArchiveError::Local { operation: "sync", path, source })
    }

    fn finish_file(&mut self) -> Result<(), (PathBuf, std::io::Error)> {
        let Some((path, mut file)) = self.file.take() else { return Ok(()) };
        file.sync().map_err(|source| (path, source))
    }
}

/// `name`, or where that is taken `name` and a number: what is in quarantine stays.
fn new_name(name: &str, taken: &[String]) -> String {
    let numbered = (1..).map(|number| format!("{name}.{number}"));
    let mut names = std::iter::once(name.to_owned()).chain(numbered);
    names.find(|name| !taken.contains(name)).unwrap_or_default()
}

fn read_failed(folder: &Path, error: JournalError) -> ArchiveError {
    let path = folder.to_owned();
    ArchiveError::Local { operation: "read the journal in", path, source: std::io::Error::other(error) }
}

/// The pieces on a remote, as listings tell of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PieceListing {
    pub(crate) pieces: usize,
    /// Of the objects.
    pub(crate) bytes: u64,
    /// The last batch.
    pub(crate) through: Offset,
}

impl Restorer<'_> {
    /// What pieces of the journal there are, by their names; `None` when there are none.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn list_journal(&mut self) -> Result<Option<PieceListing>, ArchiveError> {
        let archive = self.archive;
        let pieces = self.retry(|| Ok(archive.pieces()?))?;
        let Some(through) = pieces.iter().map(|(name, _)| name.through).max() else { return Ok(None) };
        let bytes = pieces.iter().map(|(_, bytes)| bytes).sum();
        Ok(Some(PieceListing { pieces: pieces.len(), bytes, through }))
    }

    /// The journal that carries a checkpoint on, every byte of it read; nothing is kept.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn look_at_journal(&mut self, shipped: &Shipped) -> Result<Option<Replica>, ArchiveError> {
        Ok(self.carry_on(shipped, Keep::Nothing)?.replica)
    }

    /// Reads every piece of the journal: how many are whole, and what is wrong with the others. What a cut upload left, which
    /// nothing goes on behind, is passed over.
    ///
    /// # Errors
    /// The remote's.
    pub(crate) fn verify_journal(&mut self) -> Result<(usize, Vec<ArchiveError>), ArchiveError> {
        let archive = self.archive;
        let names = self.retry(|| Ok(archive.pieces()?))?.into_iter().map(|(name, _)| name).collect();
        let tree = Tree::new(names);
        let (mut whole, mut damaged) = (0, Vec::new());
        for name in &tree.names {
            match self.retry(|| archive.piece(name)) {
                Ok(_) => whole += 1,
                // The device removes what it needs no more.
                Err(ArchiveError::Remote(RemoteError::NotFound { .. })) => {}
                Err(ArchiveError::Unusable { reason: Unusable::Torn, name: path })
                    if tree.children(name.seal).is_empty() =>
                {
                    tracing::warn!(piece = %path, "an upload of a piece of the journal was cut; no restore uses it");
                }
                Err(error @ ArchiveError::Unusable { .. }) => damaged.push(error),
                Err(error) => return Err(error),
            }
        }
        Ok((whole, damaged))
    }
}
