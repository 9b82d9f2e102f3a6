//! Random queries over random readings, and the same ones on SQLite: row for row they give the same.
//!
//! The grammar leaves out what the dialects define otherwise:
//!
//! | left out | here | SQLite |
//! |---|---|---|
//! | a number that does not fit, a divisor of zero | the row is rejected | a `REAL`, NULL |
//! | `CAST` of a text that is no number | the row is rejected | 0 |
//! | `CAST(BOOLEAN AS STRING)` | `TRUE` | `1` |
//! | `%` of `DOUBLE` | the exact remainder | that of the integers |
//! | `SUBSTRING` from a place below 1 | as in Flink | counts places before the text |
//! | letters beyond ASCII in `UPPER`, `LOWER` | have both cases | are left as they are |
//! | readings as far apart as the gap of a session | depend on the watermark, as in Flink | |
//! | a `DOUBLE` of more than 15 digits as text | all digits that matter | 15 digits |
//!
//! Every `DOUBLE` is a multiple of a power of two and so small that no operation rounds but the division of an average. `AVG` of
//! `BIGINT` is cut off here, as in Flink; on SQLite it is written `SUM(x) / COUNT(x)`.
//!
//! `TIDEGATE_TEST_SEED=<number>` repeats one case; each case prints its number.

mod disorder_tests;
mod grammar;
mod job;
mod sqlite;

use crate::disk::Random;
use grammar::{Expr, Grammar, Kind};
use job::{SHAPES, each_case, rows_of};
use sqlite::{Cell, Sqlite};

/// Cases of each kind.
const CASES: u64 = 150;
/// Most rows of a case.
const ROWS_MAX: u64 = 60;

/// A table of random columns and values.
struct Table {
    kinds: Vec<Kind>,
    rows: Vec<Vec<Cell>>,
}

impl Table {
    fn random(random: &mut Random) -> Self {
        let kinds: Vec<Kind> = (0..3 + random.below(4)).map(|_| Kind::random(random)).collect();
        let rows = (0..random.below(ROWS_MAX))
            .map(|_| kinds.iter().map(|kind| Cell::random(*kind, random)).collect())
            .collect();
        Self { kinds, rows }
    }

    fn schema(&self) -> String {
        let column = |(at, kind): (usize, &Kind)| format!("c{at} {}", kind.sql());
        self.kinds.iter().enumerate().map(column).collect::<Vec<_>>().join(", ")
    }

    /// As lines of JSON; a NULL is now and then left out.
    fn lines(&self, random: &mut Random) -> Vec<String> {
        let mut line = |row: &Vec<Cell>| {
            let member = |(at, cell): (usize, &Cell)| {
                (*cell != Cell::Null || random.below(2) == 0).then(|| (format!("c{at}"), cell.json()))
            };
            let members: serde_json::Map<_, _> = row.iter().enumerate().filter_map(member).collect();
            serde_json::Value::Object(members).to_string()
        };
        self.rows.iter().map(&mut line).collect()
    }

    fn sqlite(&self) -> Sqlite {
        let columns: Vec<(String, Kind)> =
            self.kinds.iter().enumerate().map(|(at, kind)| (format!("c{at}"), *kind)).collect();
        Sqlite::with_readings(&columns, &self.rows)
    }
}

/// A SELECT list of these, in ours and in SQLite's text.
fn items(items: &[Expr]) -> (String, String) {
    let list = |text: fn(&Expr) -> &str| {
        let items = items.iter().enumerate().map(|(at, item)| format!("{} AS x{at}", text(item)));
        items.collect::<Vec<_>>().join(", ")
    };
    (list(|item| &item.ours), list(|item| &item.sqlite))
}

fn kinds(items: &[Expr]) -> Vec<Kind> {
    items.iter().map(|item| item.kind).collect()
}

#[test]
fn projections_and_filters_give_the_rows_of_sqlite() {
    let count = each_case(CASES, |random| {
        let table = Table::random(random);
        let mut grammar = Grammar { columns: &table.kinds, random };
        let selected: Vec<Expr> = (0..1 + grammar.random.below(5)).map(|_| grammar.any(4)).collect();
        let filter = grammar.filter();
        let (ours, theirs) = items(&selected);
        let sql = format!("SELECT {ours} FROM readings{}", clause("WHERE", &filter, |filter| &filter.ours));
        let oracle = format!(
            "SELECT {theirs} FROM readings{} ORDER BY n",
            clause("WHERE", &filter, |filter| &filter.sqlite)
        );
        let expected = table.sqlite().rows(&oracle, &kinds(&selected), None);
        let lines = table.lines(random);
        // Only one subtask keeps the order of all rows.
        let found = rows_of(&table.schema(), &sql, &lines, &kinds(&selected), random, 1);
        assert_eq!(found, expected, "{sql}\n{oracle}\n{}", lines.join("\n"));
        found.len()
    });
    println!("projections: {count} rows are those of SQLite");
}

fn clause(word: &str, expression: &Option<Expr>, text: fn(&Expr) -> &str) -> String {
    expression.as_ref().map_or(String::new(), |expression| format!(" {word} {}", text(expression)))
}

/// Both sides read the same readings; SQLite gives the rows of one side behind those of the other.
#[test]
fn unions_give_the_rows_of_sqlite() {
    let count = each_case(CASES, |random| {
        let table = Table::random(random);
        let mut grammar = Grammar { columns: &table.kinds, random };
        let of: Vec<Expr> = (0..1 + grammar.random.below(4)).map(|_| grammar.any(3)).collect();
        let mut sides = vec![(items(&of), grammar.filter())];
        for _ in 0..1 + grammar.random.below(3) {
            let same: Vec<Expr> = of.iter().map(|item| grammar.of(item.kind, 3)).collect();
            sides.push((items(&same), grammar.filter()));
        }
        let union = |sqlite: bool| {
            let side = |((ours, theirs), filter): &((String, String), Option<Expr>)| match sqlite {
                true => format!(
                    "SELECT {theirs} FROM readings{}",
                    clause("WHERE", filter, |filter| &filter.sqlite)
                ),
                false => {
                    format!("SELECT {ours} FROM readings{}", clause("WHERE", filter, |filter| &filter.ours))
                }
            };
            sides.iter().map(side).collect::<Vec<_>>().join(" UNION ALL ")
        };
        let sorted = |mut rows: Vec<Vec<Cell>>| {
            rows.sort_by_key(|row| format!("{row:?}"));
            rows
        };
        let (sql, oracle) = (union(false), union(true));
        let expected = sorted(table.sqlite().rows(&oracle, &kinds(&of), None));
        let lines = table.lines(random);
        for parallelism in [1, 3] {
            let found = sorted(rows_of(&table.schema(), &sql, &lines, &kinds(&of), random, parallelism));
            assert_eq!(found, expected, "{sql}\n{oracle}\n{}", lines.join("\n"));
        }
        2 * expected.len()
    });
    println!("unions: {count} rows are those of SQLite");
}

/// Each reading gives one row of its key: what a query over the readings up to it gives for that key.
#[test]
fn continuous_aggregates_give_what_sqlite_gives_of_the_readings_so_far() {
    let count = each_case(CASES, |random| {
        let table = Table::random(random);
        let mut grammar = Grammar { columns: &table.kinds, random };
        let keys = grammar.keys();
        let mut selected = keys.clone();
        selected.extend((0..1 + grammar.random.below(4)).map(|_| grammar.aggregated(2)));
        let having = (grammar.random.below(2) == 0).then(|| grammar.aggregated_condition());
        let filter = grammar.filter();
        let (ours, theirs) = items(&selected);
        let join = |text: fn(&Expr) -> &str| keys.iter().map(text).collect::<Vec<_>>().join(", ");
        let group = |list: String| if list.is_empty() { list } else { format!(" GROUP BY {list}") };
        let sql = format!(
            "SELECT {ours} FROM readings{}{}{}",
            clause("WHERE", &filter, |filter| &filter.ours),
            group(join(|key| &key.ours)),
            clause("HAVING", &having, |having| &having.ours),
        );
        let condition = filter.as_ref().map_or("TRUE", |filter| &filter.sqlite);
        let is_key = |key: &Expr| format!(" AND {0} IS (SELECT {0} FROM readings WHERE n = ?1)", key.sqlite);
        let oracle = format!(
            "SELECT {theirs} FROM readings WHERE n <= ?1 AND (SELECT {condition} FROM readings WHERE n = ?1) \
             AND {condition}{}{}{}",
            keys.iter().map(is_key).collect::<String>(),
            // Without a key there would be a row of no readings too.
            group(if keys.is_empty() { "n < 0".to_owned() } else { join(|key| &key.sqlite) }),
            clause("HAVING", &having, |having| &having.sqlite),
        );
        let sqlite = table.sqlite();
        let expected: Vec<Vec<Cell>> = (1..=table.rows.len())
            .flat_map(|reading| sqlite.rows(&oracle, &kinds(&selected), i64::try_from(reading).ok()))
            .collect();
        let lines = table.lines(random);
        let found = rows_of(&table.schema(), &sql, &lines, &kinds(&selected), random, 1);
        assert_eq!(found, expected, "{sql}\n{oracle}\n{}", lines.join("\n"));
        let mut spread = rows_of(&table.schema(), &sql, &lines, &kinds(&selected), random, 3);
        let mut sorted = expected;
        spread.sort_by_key(|row| format!("{row:?}"));
        sorted.sort_by_key(|row| format!("{row:?}"));
        assert_eq!(spread, sorted, "parallelism 3: {sql}");
        found.len()
    });
    println!("continuous aggregates: {count} rows are those of SQLite");
}

/// The grammar reaches everything it has: a generator that gives only columns would test nothing.
#[test]
fn the_grammar_uses_every_shape() {
    let mut random = Random(7);
    let kinds = [Kind::Int, Kind::Double, Kind::Text, Kind::Bool];
    let mut grammar = Grammar { columns: &kinds, random: &mut random };
    let mut text = String::new();
    for _ in 0..2_000 {
        text.push_str(&grammar.any(4).ours);
        text.push_str(&grammar.aggregated(2).ours);
    }
    let missing: Vec<_> = SHAPES.iter().filter(|shape| !text.contains(**shape)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
