//! `tidegate board`: the profiles, and which of them this machine is; and what the other commands do with `--board`.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Subcommand;
use serde_json::{Value, json};

use super::memory_plan;
use crate::board::{
    BoardMemory, BoardProfile, ChosenBoard, DETECT, JobSize, Machine, Obstacle, Place, detect, differences,
    fit, names, profile_text, profiles,
};
use crate::config::{did_you_mean, size_text};
use crate::runtime::{Backend, JobError, JournalSync, MemoryOverhead, Settings};

/// Commands of `tidegate board`.
#[derive(Debug, Subcommand)]
pub enum BoardCommand {
    /// One line a board
    List {
        /// One JSON object a line
        #[arg(long)]
        json: bool,
    },
    /// The profile of a board, with the reasons for its defaults, and where the memory of a small job goes
    Show {
        /// The board
        name: String,

        /// One JSON object
        #[arg(long)]
        json: bool,
    },
    /// Which board this machine is, why, in what it differs from its profile, and what keeps jobs from running on it
    Detect {
        /// A machine whose /proc and /sys are copied to, or mounted at, DIR [default: this machine]
        #[arg(long, value_name = "DIR")]
        root: Option<PathBuf>,

        /// One JSON object
        #[arg(long)]
        json: bool,
    },
}

pub(super) fn run(command: &BoardCommand) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match command {
        BoardCommand::List { json } => list(*json, &mut out)?,
        BoardCommand::Show { name, json } => show(name, *json, &mut out)?,
        BoardCommand::Detect { root: None, json } => show_detected(&Machine::here(), *json, &mut out)?,
        BoardCommand::Detect { root: Some(root), json } => {
            let machine = Machine::at(root).ok_or_else(|| nothing_known(root))?;
            show_detected(&machine, *json, &mut out)?;
        }
    }
    Ok(())
}

fn nothing_known(root: &Path) -> JobError {
    JobError::Configuration(format!(
        "{} has nothing of a machine: copy or mount its /proc and /sys there, at the least \
         sys/firmware/devicetree/base/compatible or proc/cpuinfo",
        root.display()
    ))
}

fn list(is_json: bool, out: &mut impl Write) -> io::Result<()> {
    let width = names().map(str::len).max().unwrap_or(0);
    for profile in profiles() {
        if is_json {
            writeln!(out, "{}", as_json(&profile))?;
        } else {
            writeln!(out, "{:width$}  {}", profile.name, profile.description)?;
        }
    }
    Ok(())
}

fn show(name: &str, is_json: bool, out: &mut impl Write) -> anyhow::Result<()> {
    let (Some(text), Some(profile)) = (profile_text(name), BoardProfile::find(name)) else {
        return Err(unknown(name, names()).into());
    };
    if is_json {
        writeln!(out, "{}", as_json(&profile))?;
        return Ok(());
    }
    writeln!(out, "{}\n", text.trim_end())?;
    writeln!(out, "# A job with one operator and no remote:")?;
    let (settings, overhead) = smallest_job(&profile);
    memory_plan::show(&settings, &overhead, memory_plan::SMALLEST.queries, "# ", out)?;
    Ok(())
}

/// The settings of a job with one of everything.
fn smallest_job(profile: &BoardProfile) -> (Settings, MemoryOverhead) {
    let nowhere = || Ok::<_, std::convert::Infallible>(PathBuf::from("."));
    let backend = profile.backend().at(nowhere).unwrap_or(Backend::Memory);
    let settings = Settings { backend, ..profile.settings() };
    let overhead = MemoryOverhead::of(&settings, memory_plan::SMALLEST.has_remote);
    (settings, overhead)
}

fn show_detected(machine: &Machine, is_json: bool, out: &mut impl Write) -> io::Result<()> {
    let detected = detect(machine);
    let differs: Vec<String> =
        differences(&detected.profile, machine).iter().map(ToString::to_string).collect();
    let between =
        if machine.architecture.is_some() { Obstacle::between } else { Obstacle::beside_architecture };
    let obstacles: Vec<String> =
        between(&detected.profile, machine).iter().map(ToString::to_string).collect();
    if is_json {
        let found = json!({
            "board": detected.profile.name,
            "because": detected.because,
            "differences": differs,
            "obstacles": obstacles,
            "machine": {
                "architecture": machine.architecture.map(|architecture| architecture.to_string()),
                "model": machine.model,
                "compatible": machine.compatible,
                "kernel": machine.kernel.map(|kernel| kernel.to_string()),
                "cpu_features": machine.cpu_features,
                "cores": machine.cores,
                "memory_bytes": machine.memory_bytes,
                "storage": machine.storage.map(|storage| storage.name()),
            },
        });
        return writeln!(out, "{found}");
    }
    writeln!(out, "{}", detected.profile.name)?;
    writeln!(out, "  because {}", detected.because)?;
    if let Some(model) = &machine.model {
        writeln!(out, "  it calls itself {model:?}")?;
    }
    for difference in differs {
        writeln!(out, "  {difference}")?;
    }
    for obstacle in obstacles {
        writeln!(out, "  no job of this board runs on it: {obstacle}")?;
    }
    Ok(())
}

fn as_json(profile: &BoardProfile) -> Value {
    let settings = profile.settings();
    let journal = settings.journal.unwrap_or_default();
    let sync = match journal.sync {
        JournalSync::Always => json!("always"),
        JournalSync::Every(interval) => json!(format!("{}ms", interval.as_millis())),
        JournalSync::Off => json!("off"),
    };
    json!({
        "name": profile.name,
        "description": profile.description,
        "compatible": profile.compatible,
        "build": profile.build.as_ref().map(|build| json!({
            "architecture": build.architecture().to_string(),
            "target": build.target,
            "debian_architecture": build.debian_architecture,
            "cpu": build.cpu,
            "rustc_flags": build.rustc_flags,
        })),
        "machine": profile.machine.as_ref().map(|machine| json!({
            "cores": machine.cores,
            "memory_bytes": machine.memory_bytes(),
            "firmware_memory_bytes": machine.firmware_bytes(machine.memory_bytes()),
            "system_memory_bytes": machine.system_bytes(),
            "storage": machine.storage.name(),
            "cpu_features": machine.cpu_features,
            "kernel_min": machine.kernel_min.to_string(),
        })),
        "defaults": {
            "backend": profile.preferred_backend().name(),
            "memory_max_bytes": settings.memory_max,
            "threads": settings.threads,
            "batch_frames_max": settings.batch_frames_max,
            "batch_bytes_max": settings.batch_bytes_max,
            "batches_in_flight": settings.batches_in_flight,
            "journal_sync": sync,
            "journal_segment_bytes": journal.segment_bytes,
            "journal_bytes_max": journal.bytes_max,
            "checkpoint_interval_ms": u64::try_from(settings.checkpoint_interval.as_millis()).unwrap_or(u64::MAX),
            "checkpoints_retained": settings.checkpoints_retained,
        },
    })
}

fn unknown(name: &str, known: impl Iterator<Item = &'static str>) -> JobError {
    let known: Vec<&str> = known.collect();
    JobError::Configuration(format!("there is no board {name:?}; {}", did_you_mean(name, &known)))
}

/// The board of a job without a file.
///
/// # Errors
/// There is no such board, or this machine cannot be it.
pub(super) fn of_demo(name: Option<&str>) -> Result<ChosenBoard, JobError> {
    let Some(name) = name else { return Ok(ChosenBoard::generic()) };
    let board =
        ChosenBoard::named(name, Place::Here).ok_or_else(|| unknown(name, names().chain([DETECT])))?;
    match board.obstacles().first() {
        None => Ok(board),
        Some(obstacle) => Err(JobError::Configuration(format!("{obstacle}; {}", obstacle.help()))),
    }
}

/// Refuses a job without a file that has no room on its board.
///
/// # Errors
/// What does not fit.
pub(super) fn check_fit(board: &ChosenBoard, settings: &Settings, size: JobSize) -> Result<(), JobError> {
    let Some(memory) = board.memory() else { return Ok(()) };
    fit(&board.profile.name, memory, settings, size)
        .map_err(|misfit| JobError::Configuration(format!("{misfit}; {}", misfit.help())))
}

/// Writes which board a job is for, and what it has.
pub(super) fn describe(board: &ChosenBoard, out: &mut impl Write) -> io::Result<()> {
    writeln!(out, "board {}\n  {}", board.profile.name, board.profile.description)?;
    if let Some(because) = &board.because {
        writeln!(out, "  because {because}")?;
    }
    if let Some(memory) = board.memory() {
        writeln!(
            out,
            "  {} of memory, of which the system keeps {}{}: {} are left for jobs",
            size_text(memory.all_bytes),
            size_text(memory.kept()),
            memory.limit_clause(),
            size_text(memory.left())
        )?;
    }
    let profile = &board.profile;
    if profile.backend() != profile.preferred_backend() {
        let (own, instead) = (profile.preferred_backend().name(), profile.backend().name());
        writeln!(
            out,
            "  its backend is {own}, which this program was built without: the default is {instead}"
        )?;
    }
    Ok(())
}

/// What speaks against the limit of memory that a job is given; `None`: nothing does. Whether it fits its board is checked
/// elsewhere.
pub(super) fn memory_doubt(board: &ChosenBoard, settings: &Settings, place: Place) -> Option<String> {
    let memory_max = settings.memory_max?;
    let memory = match (board.memory(), place) {
        (Some(memory), _) => memory,
        (None, Place::Here) => BoardMemory::of_any(&Machine::here())?,
        (None, Place::Elsewhere) => return None,
    };
    let why = if memory_max > memory.left() {
        match memory.binding_limit() {
            Some((limit, whose)) => format!("{whose} may have {}", size_text(limit)),
            None => format!("this machine has {}", size_text(memory.all_bytes)),
        }
    } else if memory_max > memory.of_service() {
        let most = size_text(memory.of_service());
        format!("the service tidegate@ is ended at 75 % of the memory, {most} (`MemoryMax=` of the unit)")
    } else {
        return None;
    };
    Some(format!("memory-max is {}, but {why}", size_text(memory_max)))
}

/// Logs the board of a job that starts, and what this machine has otherwise.
pub(super) fn log(board: &ChosenBoard) {
    if board.is_generic() {
        return;
    }
    tracing::info!(board = board.profile.name, because = board.because, "starting on a board");
    for doubt in board.doubts() {
        tracing::warn!(board = board.profile.name, "this machine is not as its profile says: {doubt}");
    }
}
