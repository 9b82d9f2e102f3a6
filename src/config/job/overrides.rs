//! `--set KEY=VALUE`: values of the command line in place of those of the job file.
//!
//! KEY is `section.key`, and for a source, a query or a sink `source.NAME.key`. VALUE is TOML where it reads as TOML, or else
//! a string: `5s`, `/var/lib/tidegate` and `tcp-listen` need no quotes.

use super::document::{self, Located, Node, Table, Value};
use super::report::{Report, SET_FLAG};
use super::suggestion::did_you_mean;
use crate::config::diagnostics::{Diagnostic, Location};

/// Sections that there may be several of, each with a `name`.
const NAMED: [&str; 3] = ["source", "query", "sink"];
/// Most parts of a key.
const KEY_PARTS_MAX: usize = 5;

/// Applies text number `text` of the report to the document.
pub(super) fn apply(text: usize, root: &mut Table, report: &Report) {
    let set = report.text(text);
    let Some((flag_and_key, _)) = set.split_once('=') else {
        let at = Location { text, span: SET_FLAG.len()..set.len() };
        let fault = Diagnostic::new("--set needs a key and a value").at(&at);
        report.add(fault.help("write for instance --set checkpoint.interval=5s"));
        return;
    };
    let equals = flag_and_key.len();
    let Some(node) = value(text, equals + 1, report) else { return };
    let mut parts = Vec::new();
    let mut start = SET_FLAG.len();
    for part in set.get(start..equals).unwrap_or_default().split('.') {
        let leading = part.len() - part.trim_start().len();
        let name = part.trim();
        let span = start + leading..start + leading + name.len();
        parts.push(Located { value: name.to_owned(), at: Location { text, span } });
        start += part.len() + 1;
    }
    let Some(key) = parts.pop() else { return };
    let is_named = parts.first().is_some_and(|section| NAMED.contains(&section.value.as_str()));
    let parts_min = if is_named { 2 } else { 1 };
    let is_empty = |part: &Located<String>| part.value.is_empty();
    if parts.len() < parts_min || parts.len() >= KEY_PARTS_MAX || parts.iter().chain([&key]).any(is_empty) {
        let at = Location { text, span: SET_FLAG.len()..equals };
        let fault = Diagnostic::new(format!("--set has no key {:?}", report.source(&at))).at(&at);
        report
            .add(fault.help("write section.key=value, or source.NAME.key=value, and so for query and sink"));
        return;
    }
    if let Some(table) = find(root, &parts, report) {
        table.set(key, node);
    }
}

/// What stands behind the `=`, which is before byte `start`.
fn value(text: usize, start: usize, report: &Report) -> Option<Node> {
    let set = report.text(text);
    let raw = set.get(start..).unwrap_or_default();
    let at = Location { text, span: start..set.len() };
    // The same text with `k` for a key, so that places stay what they are.
    let mut document = " ".repeat(start.saturating_sub(2));
    document.push_str("k=");
    document.push_str(raw);
    let trial = Report::new("", &document, &[]);
    let table = document::parse(0, &trial);
    if trial.is_empty()
        && let [(_, node)] = table.entries.as_slice()
    {
        let mut node = node.clone();
        move_to(text, &mut node);
        return Some(node);
    }
    // Nobody means these as they stand.
    if raw.trim_start().starts_with(['"', '\'', '[']) {
        let fault = Diagnostic::new(format!("the value of --set is not TOML: {raw}")).at(&at);
        report
            .add(fault.help(
                "close what is opened; quotes must be kept from the shell: --set 'key=[\"a\", \"b\"]'",
            ));
        return None;
    }
    Some(Node { value: Value::String(raw.to_owned()), at })
}

fn move_to(text: usize, node: &mut Node) {
    node.at.text = text;
    match &mut node.value {
        Value::Array(nodes) => nodes.iter_mut().for_each(|node| move_to(text, node)),
        Value::Table(table) => {
            for (key, node) in &mut table.entries {
                key.at.text = text;
                move_to(text, node);
            }
        }
        Value::String(_) | Value::Integer(_) | Value::Float | Value::Boolean(_) | Value::Datetime => {}
    }
}

/// The table that the parts of the key lead to; one that the file lacks is made.
fn find<'t>(root: &'t mut Table, parts: &[Located<String>], report: &Report) -> Option<&'t mut Table> {
    let mut table = root;
    let mut parts = parts.iter();
    while let Some(part) = parts.next() {
        if table.get(&part.value).is_none() {
            let empty = Node { value: Value::Table(Table::default()), at: part.at.clone() };
            if NAMED.contains(&part.value.as_str()) {
                report.add(nobody(part, parts.next(), &[]));
                return None;
            }
            table.set(part.clone(), empty);
        }
        match &mut table.get_mut(&part.value)?.value {
            Value::Table(inner) => table = inner,
            Value::Array(nodes) => table = find_named(part, parts.next()?, nodes, report)?,
            other => {
                let fault = Diagnostic::new(format!("`{}` is {}, not a table", part.value, other.kind()));
                report.add(fault.at(&part.at).help("set the key itself: leave out what is behind it"));
                return None;
            }
        }
    }
    Some(table)
}

fn find_named<'t>(
    section: &Located<String>,
    name: &Located<String>,
    nodes: &'t mut [Node],
    report: &Report,
) -> Option<&'t mut Table> {
    let name_of = |node: &Node| match &node.value {
        Value::Table(table) => match &table.get("name")?.value {
            Value::String(name) => Some(name.clone()),
            _ => None,
        },
        _ => None,
    };
    let names: Vec<String> = nodes.iter().filter_map(name_of).collect();
    if let Some(position) = nodes.iter().position(|node| name_of(node).as_deref() == Some(&name.value))
        && let Some(Node { value: Value::Table(table), .. }) = nodes.get_mut(position)
    {
        return Some(table);
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    report.add(nobody(section, Some(name), &names));
    None
}

fn nobody(section: &Located<String>, name: Option<&Located<String>>, names: &[&str]) -> Diagnostic {
    let name = name.unwrap_or(section);
    let fault = Diagnostic::new(format!("there is no {} `{}`", section.value, name.value)).at(&name.at);
    fault.help(if names.is_empty() {
        format!("the job file has no [[{}]]", section.value)
    } else {
        did_you_mean(&name.value, names)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str =
        "[checkpoint]\ninterval = \"2s\"\n[[source]]\nname = \"a\"\n[[source]]\nname = \"b\"\n";

    fn applied(set: &str) -> Result<Table, String> {
        let report = Report::new("job.toml", FILE, &[set.to_owned()]);
        let mut root = document::parse(0, &report);
        apply(1, &mut root, &report);
        report.finish().map_err(|faults| faults.to_string())?;
        Ok(root)
    }

    fn at<'a>(table: &'a Table, section: &str, key: &str) -> &'a Node {
        let Value::Table(table) = &table.get(section).unwrap().value else { panic!("no table") };
        table.get(key).unwrap()
    }

    #[test]
    fn a_value_takes_the_place_of_the_files() {
        let root = applied("checkpoint.interval=5s").unwrap();
        let node = at(&root, "checkpoint", "interval");
        assert_eq!(node.value, Value::String("5s".into()));
        assert_eq!(node.at, Location { text: 1, span: 26..28 });
        let root = applied("journal.max = \"1GiB\"").unwrap();
        assert_eq!(at(&root, "journal", "max").value, Value::String("1GiB".into()));
        let root = applied("job.threads=2").unwrap();
        assert_eq!(at(&root, "job", "threads").value, Value::Integer(Some(2)));
    }

    #[test]
    fn a_named_section_is_found_by_its_name() {
        let root = applied("source.b.topics=[\"x\", \"y\"]").unwrap();
        let Value::Array(sources) = &root.get("source").unwrap().value else { panic!("no array") };
        let Value::Table(b) = &sources[1].value else { panic!("no table") };
        let Value::Array(topics) = &b.get("topics").unwrap().value else { panic!("no array") };
        assert_eq!(topics[1].at.text, 1);
        let root = applied("source.a.paths.t=data.t").unwrap();
        let Value::Array(sources) = &root.get("source").unwrap().value else { panic!("no array") };
        let Value::Table(a) = &sources[0].value else { panic!("no table") };
        assert!(matches!(&a.get("paths").unwrap().value, Value::Table(paths) if paths.get("t").is_some()));
    }

    #[test]
    fn faults_point_into_the_command_line() {
        for (set, expected) in [
            ("checkpoint.interval", "needs a key and a value"),
            ("interval=5s", "write section.key=value"),
            ("source.a=1", "source.NAME.key=value"),
            ("source.c.qos=1", "there is no source `c`"),
            ("sink.c.qos=1", "there is no sink `c`"),
            ("checkpoint.interval.x=1", "not a table"),
            ("source.a.topics=[\"x\"", "close what is opened"),
            ("=", "section.key"),
            ("..=1", "section.key"),
        ] {
            let shown = applied(set).unwrap_err();
            assert!(shown.contains(expected) && shown.contains("command line:1:"), "{shown}");
        }
    }

    #[test]
    fn a_value_cannot_bring_in_other_keys() {
        let root = applied("job.name=1\n[state]\nbackend=\"memory\"").unwrap();
        assert!(root.get("state").is_none());
    }
}
