//! `tidegate state`: look at the state a checkpoint or a savepoint holds. Only reads.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::sync::Arc;

use anyhow::Context;
use tracing::level_filters::LevelFilter;

use super::arguments::{StateAction, StateCommand};
use super::logging;
use crate::checkpoint::{Inspection, PartEntry};
use crate::disk::{Disk, RealDisk};
use crate::json;
use crate::runtime::JobError;
use crate::state::inspect::{PartItem, PartStream, Renderer, visit_store};
use crate::state::part::PartHeader;
use crate::state::{GroupSet, KeyGroup, StateSetup, TimeDomain};

pub(super) fn run(command: &StateCommand) -> anyhow::Result<()> {
    logging::start(LevelFilter::WARN);
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let inspection = Inspection::open(disk, &command.directory)?;
    check_operator(&inspection, command.operator.as_deref())?;
    let mut out = BufWriter::new(io::stdout().lock());
    match (&command.action, &command.key) {
        (StateAction::List, None) => list(&inspection, command, &mut out)?,
        (StateAction::Get, Some(key)) => get(&inspection, command, key, &mut out)?,
        (StateAction::Export, None) => export(&inspection, command, &mut out)?,
        (StateAction::Get, None) => {
            return Err(JobError::Configuration("give the key with --key".to_owned()).into());
        }
        (StateAction::List | StateAction::Export, Some(_)) => {
            return Err(JobError::Configuration("--key is for `get`".to_owned()).into());
        }
    }
    out.flush()?;
    Ok(())
}

fn check_operator(inspection: &Inspection, wanted: Option<&str>) -> anyhow::Result<()> {
    let mut operators: Vec<&str> = inspection.manifest.parts.iter().map(|entry| &*entry.operator).collect();
    operators.dedup();
    match wanted {
        Some(wanted) if !operators.contains(&wanted) => {
            let message = format!("no state of an operator {wanted:?}; there is: {}", operators.join(", "));
            Err(JobError::Configuration(message).into())
        }
        _ => Ok(()),
    }
}

/// The parts of the operator asked for, or of all.
fn parts<'a>(inspection: &'a Inspection, command: &'a StateCommand) -> impl Iterator<Item = &'a PartEntry> {
    let is_wanted = |entry: &&PartEntry| command.operator.as_ref().is_none_or(|name| *name == entry.operator);
    inspection.manifest.parts.iter().filter(is_wanted)
}

/// What all parts of an operator hold together.
#[derive(Default)]
struct OperatorSummary {
    header: Option<PartHeader>,
    keys: u64,
    timers: u64,
    bytes: u64,
    parts: u64,
    backend: Option<String>,
    groups: BTreeMap<u16, u64>,
    list_items: BTreeMap<String, u64>,
}

fn summaries(
    inspection: &Inspection,
    command: &StateCommand,
) -> anyhow::Result<BTreeMap<String, OperatorSummary>> {
    let mut summaries: BTreeMap<String, OperatorSummary> = BTreeMap::new();
    for entry in parts(inspection, command) {
        let summary = summaries.entry(entry.operator.clone()).or_default();
        let part = PartStream::open(inspection.part(entry)?)?;
        if entry.has_lists {
            for list in &part.header().lists {
                *summary.list_items.entry(list.name.clone()).or_default() += list.items.len() as u64;
            }
        }
        summary.header.get_or_insert_with(|| part.header().clone());
        summary.keys += entry.keys();
        summary.bytes += entry.total_bytes();
        summary.parts += 1;
        for group in &entry.groups {
            *summary.groups.entry(group.group).or_default() += group.keys;
        }
        if let Some(store) = &entry.store {
            summary.backend = Some(store.kind.clone());
        }
        let mut timers = 0;
        part.visit(&groups_of(entry), &mut |_, item| {
            timers += u64::from(matches!(item, PartItem::Timer(..)));
            Ok(())
        })?;
        summary.timers += timers;
    }
    Ok(summaries)
}

fn list(inspection: &Inspection, command: &StateCommand, out: &mut impl Write) -> anyhow::Result<()> {
    let manifest = &inspection.manifest;
    let kind = if inspection.is_savepoint { "savepoint" } else { "checkpoint" };
    let (id, job, offset) = (manifest.id, &manifest.job, manifest.offset);
    let (readings, parallelism, stamp) = (manifest.readings, manifest.parallelism, manifest.stamp.0);
    if !command.json {
        writeln!(
            out,
            "{kind} {id} of job {job:?}: offset {offset}, readings {readings}, parallelism {parallelism}, time {stamp} ms"
        )?;
    }
    let mut operators = Vec::new();
    for (name, summary) in summaries(inspection, command)? {
        if command.json {
            operators.push(summary.json(&name));
        } else {
            summary.describe(&name, out)?;
        }
    }
    if command.json {
        let operators = operators.join(",");
        let job = json::text(job);
        writeln!(
            out,
            r#"{{"kind":"{kind}","id":{id},"job":{job},"offset":{offset},"readings":{readings},"parallelism":{parallelism},"time_ms":{stamp},"operators":[{operators}]}}"#
        )?;
    }
    Ok(())
}

impl OperatorSummary {
    fn describe(&self, name: &str, out: &mut impl Write) -> io::Result<()> {
        let Some(header) = &self.header else { return Ok(()) };
        let Self { keys, timers, bytes, parts, .. } = self;
        let files = self.backend.as_ref().map(|kind| format!(" and files of {kind}")).unwrap_or_default();
        writeln!(
            out,
            "operator {name:?}: keys {keys} of type {}, timers {timers}, bytes {bytes}, parts {parts}{files}, key groups {} of {}",
            header.key_type,
            self.groups.len(),
            header.max_parallelism.get()
        )?;
        for state in &header.states {
            let ttl = if state.has_ttl { ", time to live" } else { "" };
            writeln!(out, "  state {:?}: {state}{ttl}", state.name)?;
        }
        for list in &header.lists {
            let items = self.list_items.get(&list.name).copied().unwrap_or(0);
            writeln!(
                out,
                "  operator list {:?}: {items} items of {} version {}",
                list.name, list.type_name, list.version
            )?;
        }
        Ok(())
    }

    fn json(&self, name: &str) -> String {
        let Some(header) = &self.header else { return "null".to_owned() };
        let Self { keys, timers, bytes, parts, .. } = self;
        let states = header.states.iter().map(|state| {
            format!(
                r#"{{"name":{},"kind":"{}","type":{},"version":{},"ttl":{}}}"#,
                json::text(&state.name),
                state.kind.name(),
                json::text(&state.type_name),
                state.version,
                state.has_ttl
            )
        });
        let lists = header.lists.iter().map(|list| {
            format!(
                r#"{{"name":{},"type":{},"version":{},"items":{}}}"#,
                json::text(&list.name),
                json::text(&list.type_name),
                list.version,
                self.list_items.get(&list.name).copied().unwrap_or(0)
            )
        });
        // Of groups whose entries are in a store the number of keys is not known.
        let groups = self.groups.iter().map(|(group, keys)| match self.backend {
            Some(_) => format!("[{group},null]"),
            None => format!("[{group},{keys}]"),
        });
        format!(
            r#"{{"name":{},"key_type":{},"max_parallelism":{},"keys":{keys},"timers":{timers},"bytes":{bytes},"parts":{parts},"store":{},"states":[{}],"lists":[{}],"groups":[{}]}}"#,
            json::text(name),
            json::text(&header.key_type),
            header.max_parallelism.get(),
            self.backend.as_deref().map_or("null".to_owned(), json::text),
            states.collect::<Vec<_>>().join(","),
            lists.collect::<Vec<_>>().join(","),
            groups.collect::<Vec<_>>().join(",")
        )
    }
}

fn groups_of(entry: &PartEntry) -> GroupSet {
    entry.groups.iter().map(|group| group.group).collect()
}

/// Visits everything an entry of the manifest holds: the part's items, then those of the store beside it.
fn visit(
    inspection: &Inspection,
    entry: &PartEntry,
    visit: &mut dyn FnMut(&Renderer, PartItem<'_>) -> io::Result<ControlFlow<()>>,
) -> anyhow::Result<()> {
    let groups = groups_of(entry);
    let part = PartStream::open(inspection.part(entry)?)?;
    let renderer = Renderer::of(part.header());
    let mut is_over = false;
    part.visit(&groups, &mut |_, item| {
        if !is_over {
            is_over = visit(&renderer, item)?.is_break();
        }
        Ok(())
    })?;
    let Some(saved) = inspection.store(entry)?.filter(|_| !is_over) else { return Ok(()) };
    let setup = StateSetup::heap();
    let store = setup.open_saved(&saved, &entry.operator)?;
    let mut outcome = Ok(ControlFlow::Continue(()));
    visit_store(&*store, &groups, &mut |group, key, value| {
        outcome = visit(&renderer, PartItem::Entry(group, key, value));
        match &outcome {
            Ok(flow) => *flow,
            Err(_) => ControlFlow::Break(()),
        }
    })?;
    Ok(outcome.map(|_| ())?)
}

fn get(
    inspection: &Inspection,
    command: &StateCommand,
    key: &str,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut operators: Vec<&str> = parts(inspection, command).map(|entry| &*entry.operator).collect();
    operators.dedup();
    operators.sort_unstable();
    operators.dedup();
    let [_] = *operators else {
        let message = format!("say of which operator with --operator: {}", operators.join(", "));
        return Err(JobError::Configuration(message).into());
    };
    let mut is_found = false;
    for entry in parts(inspection, command) {
        let header = PartStream::open(inspection.part(entry)?)?.header().clone();
        let wanted = Renderer::of(&header).parse_key(key).map_err(JobError::Configuration)?;
        let group = KeyGroup::of_encoded(&wanted, header.max_parallelism);
        if !entry.groups.iter().any(|found| found.group == group.0) {
            continue;
        }
        visit(inspection, entry, &mut |renderer, item| {
            let is_wanted =
                matches!(item, PartItem::Entry(_, key, _) | PartItem::Timer(_, _, _, key) if key == wanted);
            if is_wanted {
                is_found |= matches!(item, PartItem::Entry(..));
                writeln!(out, "{}", line(&entry.operator, renderer, item)?)?;
            }
            let is_behind = matches!(item, PartItem::Entry(found, ..) if found > group);
            Ok(if is_behind && entry.store.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
    }
    if !is_found {
        out.flush()?;
        let message = format!("no key {key} in the operator {:?}", operators[0]);
        return Err(JobError::Configuration(message).into());
    }
    Ok(())
}

fn export(inspection: &Inspection, command: &StateCommand, out: &mut impl Write) -> anyhow::Result<()> {
    for entry in parts(inspection, command) {
        if entry.has_lists {
            let part = PartStream::open(inspection.part(entry)?)?;
            for list in &part.header().lists {
                let (operator, name) = (json::text(&entry.operator), json::text(&list.name));
                writeln!(out, r#"{{"operator":{operator},"list":{name},"items":{}}}"#, Renderer::list(list))?;
            }
        }
        visit(inspection, entry, &mut |renderer, item| {
            writeln!(out, "{}", line(&entry.operator, renderer, item)?)?;
            Ok(ControlFlow::Continue(()))
        })
        .with_context(|| format!("cannot export the state of {:?}", entry.operator))?;
    }
    Ok(())
}

/// One key's values, or one timer, as a JSON object.
fn line(operator: &str, renderer: &Renderer, item: PartItem<'_>) -> io::Result<String> {
    let operator = json::text(operator);
    Ok(match item {
        PartItem::Entry(group, key, entry) => {
            let states = renderer.entry(entry).ok_or_else(|| {
                io::Error::new(
                    io::ErrorKind::InvalidData,
                    format!("a malformed value in key group {}", group.0),
                )
            })?;
            let key = renderer.key(key);
            format!(r#"{{"operator":{operator},"group":{},"key":{key},"states":{states}}}"#, group.0)
        }
        PartItem::Timer(group, domain, time, key) => {
            let key = renderer.key(key);
            let clock = match domain {
                TimeDomain::ProcessingTime => "processing-time",
                TimeDomain::EventTime => "event-time",
            };
            let timer = format!(r#"{{"clock":"{clock}","time_ms":{time}}}"#);
            format!(r#"{{"operator":{operator},"group":{},"key":{key},"timer":{timer}}}"#, group.0)
        }
    })
}
