//! Mutated frames: whatever comes, columns stay equally long, a refused frame leaves nothing, and nothing panics.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::RngSeed;

use serde_json::Value;

use super::cause;
use super::csv::CsvFormat;
use super::decoder::Format;
use super::test_source::{TestSource, fields};
use crate::metrics::RejectCause;
use crate::query::column::Column;
use crate::query::datum::Datum;
use crate::query::sql_type::SqlType;

/// Mutated frames of each format.
const MUTATIONS: u32 = 20_000;
/// Rows after which the columns are emptied.
const ROWS_KEPT: usize = 64;

/// A change of one place of a frame.
#[derive(Debug, Clone)]
enum Mutation {
    Replace(char),
    Insert(char),
    Remove(usize),
    Repeat(usize),
    Cut,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let character = || {
        prop_oneof![
            3 => prop::sample::select("{}[]\",:\\u0123456789.-+eE \t\n'ntfNIé;_/".chars().collect::<Vec<_>>()),
            1 => any::<char>(),
        ]
    };
    prop_oneof![
        3 => character().prop_map(Mutation::Replace),
        3 => character().prop_map(Mutation::Insert),
        2 => (1usize..8).prop_map(Mutation::Remove),
        2 => (1usize..24).prop_map(Mutation::Repeat),
        1 => Just(Mutation::Cut),
    ]
}

fn mutated(frame: &str, mutations: &[(prop::sample::Index, Mutation)]) -> String {
    let mut characters: Vec<char> = frame.chars().collect();
    for (place, mutation) in mutations {
        if characters.is_empty() {
            break;
        }
        let at = place.index(characters.len());
        let end = |length: usize| (at + length).min(characters.len());
        match *mutation {
            Mutation::Replace(character) => characters[at] = character,
            Mutation::Insert(character) => characters.insert(at, character),
            Mutation::Remove(length) => drop(characters.drain(at..end(length))),
            Mutation::Repeat(length) => {
                let repeated = characters[at..end(length)].to_vec();
                characters.splice(at..at, repeated);
            }
            Mutation::Cut => characters.truncate(at),
        }
    }
    characters.into_iter().collect()
}

/// Decodes mutations of `frames`; gives how many were taken and how many refused.
fn decode_mutations(
    source: &mut TestSource,
    frames: &[&str],
    check_taken: impl Fn(&str, &[Column]),
) -> (u32, u32) {
    let mut counts = (0, 0);
    let config = ProptestConfig {
        cases: 1,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_122),
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let mutations = prop::collection::vec((any::<prop::sample::Index>(), mutation()), 1..4);
    for round in 0..MUTATIONS as usize {
        let mutations = mutations.new_tree(&mut runner).unwrap().current();
        let frame = mutated(frames[round % frames.len()], &mutations);
        match source.decode(&frame) {
            Ok(_) => {
                counts.0 += 1;
                check_taken(&frame, &source.columns);
            }
            Err(cause) => {
                counts.1 += 1;
                check_cause(cause, &frame);
            }
        }
        if source.columns[0].len() > ROWS_KEPT {
            source.columns.iter_mut().for_each(Column::clear);
        }
    }
    counts
}

fn check_cause(cause: RejectCause, frame: &str) {
    let is_blank = frame.trim_ascii().is_empty();
    assert_eq!(cause == RejectCause::EMPTY, is_blank, "{frame:?}");
    if cause == cause::INVALID_JSON {
        // The parser by itself takes a frame only when its depth is the fault: then it does not.
        assert!(serde_json::from_str::<serde_json::Value>(frame).is_err(), "{frame:?}");
    }
}

fn check(
    format: Format,
    specs: &[(&str, &str, SqlType)],
    frames: &[&str],
    check_taken: impl Fn(&str, &[Column]),
) {
    let mut source = TestSource::new(format, &fields(specs));
    for frame in frames {
        assert!(source.decode(frame).is_ok(), "{frame}");
    }
    let (taken, refused) = decode_mutations(&mut source, frames, check_taken);
    assert!(taken > MUTATIONS / 100 && refused > MUTATIONS / 100, "{taken} taken, {refused} refused");
}

/// The last row of a frame has the values that are found in a tree of all its values.
fn agrees_with_a_tree(frame: &str, columns: &[Column]) {
    let tree: Value = serde_json::from_str(frame).unwrap();
    let object = match &tree {
        Value::Array(objects) => objects.last(),
        object => Some(object),
    };
    let (Some(object), Some(row)) = (object, columns[0].len().checked_sub(1)) else { return };
    let at = |pointer: &str| object.pointer(pointer).filter(|value| !value.is_null());
    let text = at("/sensor").map_or(Datum::Null, |value| Datum::String(value.as_str().unwrap().into()));
    let double = at("/data/temp").map_or(Datum::Null, |value| Datum::Double(value.as_f64().unwrap()));
    let is_minus_zero = |value: &Value| value.as_f64() == Some(0.0);
    let integer = at("/data/values/1").map_or(Datum::Null, |value| {
        Datum::BigInt(
            value.as_i64().unwrap_or_else(|| if is_minus_zero(value) { 0 } else { panic!("{frame:?}") }),
        )
    });
    let boolean =
        at("/data/values/2/x").map_or(Datum::Null, |value| Datum::Boolean(value.as_bool().unwrap()));
    let expected = [(0, text), (1, double), (2, integer), (4, boolean)];
    for (column, datum) in expected {
        assert_eq!(columns[column].datum(row), datum, "column {column} of {frame:?}");
    }
}

#[test]
fn mutated_json() {
    let specs = [
        ("sensor", "sensor", SqlType::String),
        ("temp", "data.temp", SqlType::Double),
        ("count", "data.values[1]", SqlType::BigInt),
        ("sum", "sum", SqlType::Decimal),
        ("x", "data.values[2].x", SqlType::Boolean),
        ("ts", "ts", SqlType::Timestamp),
        ("blob", "blob", SqlType::Bytes),
    ];
    let frames = [
        r#"{"sensor":"s1","data":{"temp":21.5,"values":[1,2,{"x":true},5]},"ts":1732270000000,"sum":7,"blob":"00ff"}"#,
        r#"[{"sensor":"\u00e9\n","ts":"2026-11-22T10:00:00Z"},{"skipped":{"a":[1,-2.5e-3,"b",null]},"sum":"18446744073709551616"}]"#,
        r#"{"data":null,"ts":1e3,"blob":null}"#,
    ];
    check(Format::Json, &specs, &frames, agrees_with_a_tree);
}

#[test]
fn mutated_senml() {
    let specs = [
        ("name", "name", SqlType::String),
        ("unit", "unit", SqlType::String),
        ("value", "value", SqlType::Double),
        ("text", "string_value", SqlType::String),
        ("flag", "boolean_value", SqlType::Boolean),
        ("data", "data", SqlType::String),
        ("sum", "sum", SqlType::Double),
        ("time", "time", SqlType::Timestamp),
        ("update", "update_time", SqlType::Double),
    ];
    let frames = [
        r#"[{"bn":"urn:dev:1:","bt":1.276020076001e+09,"bu":"A","n":"v","u":"V","v":120.1},{"n":"c","t":-5,"v":1.2}]"#,
        r#"[{"n":"a","vs":"\u00e9","x":{"y":[1]}},{"n":"b","vb":true,"ut":3},{"n":"c","vd":"_w","s":1,"bs":2}]"#,
    ];
    check(Format::Senml, &specs, &frames, |_, _| {});
}

#[test]
fn mutated_lines() {
    let specs = [
        ("name", "name", SqlType::String),
        ("count", "count", SqlType::BigInt),
        ("level", "level", SqlType::Double),
        ("ts", "ts", SqlType::Timestamp),
        ("blob", "blob", SqlType::Bytes),
    ];
    let csv = CsvFormat {
        header: ["name", "count", "level", "ts", "blob"].map(str::to_owned).into(),
        ..CsvFormat::default()
    };
    let lines = [
        r#""a,""b""",-12,1.5e3,2026-11-22T10:00:00.5+01:00,00ff"#,
        "é,,,1732270000,",
        "name,count,level,ts,blob",
    ];
    check(Format::Csv(csv), &specs, &lines, |_, _| {});
    check(
        Format::Text,
        &specs,
        &["a -12 1.5e3 2026-11-22T10:00:00.5+01:00 00ff", "é  1\t2.5 1732270000 ab"],
        |_, _| {},
    );
}
