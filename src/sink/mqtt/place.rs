//! What an MQTT sink keeps on disk: its outbox, and which incarnation of the job's numbering it belongs to.
//!
//! ```text
//! sinks/mqtt-<topic>-<hash>/
//!   incarnation       16 hexadecimal digits; written before the first output
//!   outbox/           see `outbox`
//!   outbox.damaged/   the last one that could not be opened
//! ```
//!
//! The folder is named by the topic: a broker that moves finds its outputs waiting. A damaged outbox is put aside and
//! its incarnation kept, so what replay makes again has the ids it had.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use super::settings::CheckedPublish;
use crate::disk::{Disk, read_whole};
use crate::runtime::{Offset, Timestamp};
use crate::sink::SinkStart;
use crate::sink::outbox::{Incarnation, Outbox, OutboxSettings, OutboxStore};

/// Bytes of the file with the incarnation: its digits and a line end.
const INCARNATION_BYTES: u64 = 17;
/// How often a store that is still open is tried again, and the pause between: two seconds.
#[cfg(feature = "sled")]
const OPEN_TRIES_MAX: u32 = 40;
#[cfg(feature = "sled")]
const OPEN_PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
const INCARNATION: &str = "incarnation";
const OUTBOX: &str = "outbox";

/// The folder of the sink with this topic, within the folder of sinks.
pub(crate) fn folder_name(topic: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '.' | '-') { c } else { '_' };
    let readable: String = topic.chars().map(allowed).take(40).collect();
    let hash = blake3::hash(topic.as_bytes()).to_hex();
    format!("mqtt-{readable}-{}", &hash[..8])
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Opens the outbox, and says through which batch it has taken in the job's outputs.
pub(super) fn open_outbox(
    start: &SinkStart<'_>,
    folder: &Path,
    publish: &CheckedPublish,
) -> io::Result<(Outbox, Offset)> {
    start.disk.create_directory(folder)?;
    let found = read_incarnation(&**start.disk, folder)?;
    let incarnation = match found {
        Some(incarnation) => incarnation,
        None => begin_incarnation(&**start.disk, folder, None)?,
    };
    let restored = start.restored.map(|position| position.delivered);
    let (outbox, store) = open(start.disk, folder, publish.outbox, incarnation)?;
    let admitted = outbox.admitted();
    if admitted > start.last {
        tracing::warn!(
            last = %start.last, %admitted,
            "the journal has lost batches whose outputs are known: numbering begins anew, under another incarnation"
        );
        drop(outbox);
        let incarnation = begin_incarnation(&**start.disk, folder, Some(incarnation))?;
        let outbox = Outbox::open(store, publish.outbox, incarnation)?;
        return Ok((outbox, restored.unwrap_or_default()));
    }
    if let Some(position) = start.restored
        && found.is_some()
        && admitted < position.delivered
        && position.bytes > 0
    {
        tracing::error!(
            folder = %folder.display(), waiting = position.bytes,
            "the outbox has lost what it held at the last checkpoint: as many outputs may be missing"
        );
    }
    Ok((outbox, admitted.max(restored.unwrap_or_default())))
}

/// Opens the outbox of a job that is not running, to look at it.
///
/// # Errors
/// The store's; nothing is made or put aside.
pub(crate) fn look_at(disk: &Arc<dyn Disk>, folder: &Path) -> io::Result<Outbox> {
    let incarnation = read_incarnation(&**disk, folder)?
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "it holds no incarnation"))?;
    disk.list(&folder.join(OUTBOX))?;
    let store = open_store(&folder.join(OUTBOX))?;
    Ok(Outbox::open(store, OutboxSettings::default(), incarnation)?)
}

fn open(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    settings: OutboxSettings,
    incarnation: Incarnation,
) -> io::Result<(Outbox, Arc<dyn OutboxStore>)> {
    let directory = folder.join(OUTBOX);
    let attempt = || {
        let store = open_store(&directory)?;
        Ok((Outbox::open(Arc::clone(&store), settings, incarnation)?, store))
    };
    match attempt() {
        Err(error) if is_damage(&error) => {
            let aside = folder.join("outbox.damaged");
            tracing::error!(
                outbox = %directory.display(), aside = %aside.display(), %error,
                "the outbox is damaged and put aside: outputs that waited in it are lost, but for those that replay makes again"
            );
            disk.remove_directory(&aside)?;
            disk.rename(&directory, &aside)?;
            attempt()
        }
        outcome => outcome,
    }
}

/// Whether the store's files are at fault, not the disk's space or another process.
fn is_damage(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData
            | io::ErrorKind::UnexpectedEof
            | io::ErrorKind::InvalidInput
            | io::ErrorKind::Other
    )
}

#[cfg(feature = "sled")]
fn open_store(directory: &Path) -> io::Result<Arc<dyn OutboxStore>> {
    let mut tries = 0;
    loop {
        match crate::sink::outbox::SledOutboxStore::open(directory) {
            // A job of this process that has just ended may not have let go of it.
            Err(error) if error.kind() == io::ErrorKind::WouldBlock && tries < OPEN_TRIES_MAX => {
                tries += 1;
                std::thread::sleep(OPEN_PAUSE);
            }
            Err(error) => return Err(error),
            Ok(store) => return Ok(Arc::new(store)),
        }
    }
}

#[cfg(not(feature = "sled"))]
fn open_store(_: &Path) -> io::Result<Arc<dyn OutboxStore>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        "this program was built without sled, which holds the outbox",
    ))
}

fn read_incarnation(disk: &dyn Disk, folder: &Path) -> io::Result<Option<Incarnation>> {
    match read_whole(disk, &folder.join(INCARNATION), INCARNATION_BYTES) {
        Ok(bytes) => Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim_end().parse().ok())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn begin_incarnation(
    disk: &dyn Disk,
    folder: &Path,
    earlier: Option<Incarnation>,
) -> io::Result<Incarnation> {
    let mut random = [0; 4];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let seconds = u64::try_from(now().0 / 1000).unwrap_or(0);
    let incarnation = Incarnation::after(earlier, seconds, u32::from_le_bytes(random));
    let path = folder.join(INCARNATION);
    let temporary = path.with_extension("tmp");
    match disk.remove(&temporary) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = disk.create_new(&temporary)?;
    io::Write::write_all(&mut file, format!("{incarnation}\n").as_bytes())?;
    file.sync()?;
    disk.rename(&temporary, &path)?;
    disk.sync_directory(folder)?;
    if let Some(parent) = folder.parent() {
        disk.sync_directory(parent)?;
    }
    Ok(incarnation)
}

/// The folders of MQTT sinks among those of a job's sinks.
pub(crate) fn folders(disk: &dyn Disk, sinks: &Path) -> io::Result<Vec<PathBuf>> {
    let mut names: Vec<String> =
        disk.list(sinks)?.into_iter().filter(|name| name.starts_with("mqtt-")).collect();
    names.sort();
    Ok(names.into_iter().map(|name| sinks.join(name)).collect())
}
