//! Opening an incarnation, and being fenced by a newer one.

use std::path::PathBuf;

use super::{Chain, Connectivity, INCARNATIONS_REMEMBERED, Shipping, Stage, Work};
use crate::checkpoint::archive::ArchiveError;
use crate::checkpoint::archive::catalogue::Claim;
use crate::checkpoint::archive::paths::Incarnation;
use crate::mutants::Mutant;

impl Shipping {
    /// Opens an incarnation: whoever shipped under this identity before stops when it sees it.
    pub(super) fn open(&mut self, opening: Option<Incarnation>) -> Result<(), ArchiveError> {
        let incarnation = match opening {
            Some(incarnation) => incarnation,
            None => {
                let current = self.archive.incarnation()?;
                let is_ours = current.is_none_or(|current| self.mark.incarnations.contains(&current));
                // A device that remembers nothing is a new one, and takes over.
                if !is_ours && !self.mark.incarnations.is_empty() && !self.policy.take_over {
                    self.fence(current);
                    return Ok(());
                }
                let named = self.archive.incarnations()?.iter().map(|found| found.number).max();
                let number =
                    self.mark.incarnations.iter().map(|own| own.number).max().max(named).unwrap_or(0);
                let incarnation = Incarnation { number: number.saturating_add(1), id: random_id()? };
                // Remembered before it exists: after a crash in between, what is found there is known to be ours.
                self.mark.incarnations.push(incarnation);
                let surplus = self.mark.incarnations.len().saturating_sub(INCARNATIONS_REMEMBERED);
                self.mark.incarnations.drain(..surplus);
                self.mark_file.write(&self.mark)?;
                self.stage = Stage::Closed { opening: Some(incarnation) };
                incarnation
            }
        };
        let claim = self.archive.claim(&incarnation)?;
        if claim == Claim::Taken {
            // What is remembered lets the next number be a higher one.
            self.stage = Stage::Closed { opening: None };
            return Ok(());
        }
        self.archive.open_incarnation(incarnation)?;
        if !self.check_fence(incarnation)? {
            return Ok(());
        }
        self.say_who_ships(incarnation, claim);
        self.stage = Stage::Open(incarnation);
        Ok(())
    }

    /// Says what tells this device from another with its name, and from a remote that was set back.
    fn say_who_ships(&self, incarnation: Incarnation, claim: Claim) {
        let promise = match claim {
            Claim::Exclusive => {
                "the remote creates only what is absent: of two devices with this name no two have one incarnation, the newer \
                 ships, the older stops when it looks next"
            }
            Claim::Shared | Claim::Taken => {
                "weaker, for the remote overwrites what is there: two devices with this name that start at once are told apart \
                 by its listings only, which must show what was written; the newer ships, the older stops when it looks next"
            }
        };
        tracing::info!(
            remote = self.archive.store.address(),
            device = self.archive.device,
            incarnation = incarnation.number,
            seen_incarnation = self.mark.incarnation,
            seen_generation = self.mark.generation,
            promise,
            "checkpoints are shipped"
        );
    }

    /// True while nobody has taken over.
    pub(super) fn check_fence(&mut self, own: Incarnation) -> Result<bool, ArchiveError> {
        let current = self.archive.incarnation()?;
        if current == Some(own) || Mutant::NewerIncarnationIgnored.is_on() {
            return Ok(true);
        }
        self.fence(current);
        Ok(false)
    }

    pub(super) fn fence(&mut self, by: Option<Incarnation>) {
        tracing::error!(
            remote = self.archive.store.address(),
            device = self.archive.device,
            incarnation = by.map_or(0, |by| by.number),
            "another device ships under this identity: this one ships no more. The job goes on. If the other one is the \
             wrong one, stop it and start this one with --take-over"
        );
        self.stage = Stage::Fenced;
        self.status.connectivity = Connectivity::Fenced;
        self.work = Work::Nothing;
        self.pins.release();
    }

    pub(super) fn find_chain(&mut self) -> Result<Chain, ArchiveError> {
        let names = self.archive.manifests()?;
        let newest_named = names.iter().map(|name| name.generation).max().unwrap_or(0);
        let mut chain = Chain { generation: newest_named.max(self.mark.generation), ..Chain::default() };
        for name in &names {
            match self.archive.manifest(name) {
                Ok(shipped) => {
                    if (name.incarnation, name.generation) < (self.mark.incarnation, self.mark.generation) {
                        tracing::warn!(
                            found = shipped.manifest.generation,
                            seen = self.mark.generation,
                            "the remote holds only older checkpoints than it did: it may have been set back"
                        );
                    }
                    chain.previous = Some(*shipped.seal.as_bytes());
                    self.status.newest = Some(shipped.checkpoint.id);
                    chain.readings = shipped.checkpoint.readings;
                    chain.checkpoint.clone_from(&shipped.manifest.checkpoint);
                    chain.manifest =
                        (shipped.packing == self.archive.packing()).then(|| Box::new(shipped.manifest));
                    break;
                }
                Err(error @ ArchiveError::Unusable { .. }) => {
                    tracing::warn!(%error, "a manifest is passed over")
                }
                Err(error) => return Err(error),
            }
        }
        Ok(chain)
    }
}

/// An id that no other incarnation has.
fn random_id() -> Result<[u8; 16], ArchiveError> {
    let mut id = [0; 16];
    getrandom::fill(&mut id).map_err(|error| ArchiveError::Local {
        operation: "read random bytes from",
        path: PathBuf::from("the operating system"),
        source: std::io::Error::other(error.to_string()),
    })?;
    Ok(id)
}
