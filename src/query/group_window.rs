//! Windows to group by: `TUMBLE(ts, size)` in GROUP BY, or `TABLE(TUMBLE(TABLE t, DESCRIPTOR(ts), size))` in FROM.

use sqlparser::ast::Expr;

use super::datum::Datum;
use super::error::QueryError;
use super::expression::Node;
use super::field::{Field, TimeAttribute, field_of};
use super::interval;
use super::plan::WindowKind;
use super::resolve::{Scope, arguments};

/// The forms of window functions.
pub(super) const FORMS: &str = "there are TUMBLE(TABLE t, DESCRIPTOR(time), size), HOP(TABLE t, DESCRIPTOR(time), slide, size) \
                                and SESSION(TABLE t, DESCRIPTOR(time), gap)";
/// The forms of group windows.
const GROUP_FORMS: &str =
    "there are TUMBLE(time, size), HOP(time, slide, size), SESSION(time, gap) and COUNT_WINDOW(rows)";
/// Windows of a hop that one row is in.
const OVERLAPS_MAX: i64 = 1_024;
/// Rows of a count window.
const COUNT_ROWS_MAX: u64 = 1 << 32;

/// A window to group by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupWindow {
    pub(super) kind: WindowKind,
    pub(super) is_event_time: bool,
}

/// The window that `expression` of a GROUP BY is, if it is one.
///
/// # Errors
/// A window with other arguments than there are.
pub(super) fn of_group(expression: &Expr, scope: &Scope<'_>) -> Result<Option<GroupWindow>, QueryError> {
    let Expr::Function(call) = expression else { return Ok(None) };
    let name = call.name.to_string().to_uppercase();
    let arguments = match name.as_str() {
        "TUMBLE" | "HOP" | "SESSION" | "COUNT_WINDOW" => arguments(call)?,
        _ => return Ok(None),
    };
    if name == "COUNT_WINDOW" {
        return count_window(&arguments, scope).map(Some);
    }
    let [time, lengths @ ..] = arguments.as_slice() else {
        return Err(QueryError::new(format!("{name} has no arguments")).help(GROUP_FORMS));
    };
    Ok(Some(GroupWindow {
        is_event_time: time_attribute(time, scope)? == TimeAttribute::Event,
        kind: kind(&name, lengths, GROUP_FORMS)?,
    }))
}

/// The window of a window function, from its arguments behind the relation.
///
/// # Errors
/// A function there is not, and other arguments than there are.
pub(super) fn of_table_function(
    name: &str,
    arguments: &[Expr],
    scope: &Scope<'_>,
) -> Result<GroupWindow, QueryError> {
    if !matches!(name, "TUMBLE" | "HOP" | "SESSION") {
        return Err(QueryError::new(format!("the window function {name} is not supported")).help(FORMS));
    }
    let [Expr::Function(descriptor), lengths @ ..] = arguments else {
        return Err(QueryError::new(format!("{name} has no DESCRIPTOR")).help(FORMS));
    };
    let columns = super::resolve::arguments(descriptor)?;
    let (true, [time]) = (descriptor.name.to_string().eq_ignore_ascii_case("DESCRIPTOR"), columns.as_slice())
    else {
        return Err(QueryError::new(format!("{descriptor} is not DESCRIPTOR(time)")).help(FORMS));
    };
    Ok(GroupWindow {
        is_event_time: time_attribute(time, scope)? == TimeAttribute::Event,
        kind: kind(name, lengths, FORMS)?,
    })
}

fn count_window(arguments: &[Expr], scope: &Scope<'_>) -> Result<GroupWindow, QueryError> {
    let refused =
        || QueryError::new("COUNT_WINDOW takes a number of rows, from 1").help("write COUNT_WINDOW(10)");
    let [rows] = arguments else { return Err(refused()) };
    match scope.resolve(rows)?.node {
        Node::Literal(Datum::BigInt(rows)) => match u64::try_from(rows) {
            Ok(rows) if (1..=COUNT_ROWS_MAX).contains(&rows) => {
                Ok(GroupWindow { kind: WindowKind::Count { rows }, is_event_time: false })
            }
            _ => Err(refused()),
        },
        _ => Err(refused()),
    }
}

fn time_attribute(time: &Expr, scope: &Scope<'_>) -> Result<TimeAttribute, QueryError> {
    let fields: &[Field] = scope.fields;
    let attribute = match field_of(time, fields) {
        Some(field) => fields[field?].time,
        None if time.to_string().eq_ignore_ascii_case("PROCTIME()") => TimeAttribute::Processing,
        None => TimeAttribute::None,
    };
    if attribute == TimeAttribute::None {
        let known = fields.iter().find(|field| field.time != TimeAttribute::None);
        let error = scope.error(time, format!("{time} is neither event time nor processing time"));
        return Err(match known {
            Some(field) => error.help(format!("windows here are of {}", field.name)),
            None => error.help(format!(
                "give the source's schema WATERMARK FOR {time} AS {time} - INTERVAL '5' SECOND, or a column AS PROCTIME()"
            )),
        });
    }
    Ok(attribute)
}

fn kind(name: &str, lengths: &[Expr], forms: &str) -> Result<WindowKind, QueryError> {
    let lengths = lengths.iter().map(length).collect::<Result<Vec<i64>, _>>()?;
    let kind = match (name, lengths.as_slice()) {
        ("TUMBLE", [size_ms]) => WindowKind::Tumble { size_ms: *size_ms, offset_ms: 0 },
        ("TUMBLE", [size_ms, offset]) => WindowKind::Tumble { size_ms: *size_ms, offset_ms: *offset },
        ("HOP", [slide_ms, size_ms]) => {
            WindowKind::Hop { slide_ms: *slide_ms, size_ms: *size_ms, offset_ms: 0 }
        }
        ("HOP", [slide_ms, size_ms, offset]) => {
            WindowKind::Hop { slide_ms: *slide_ms, size_ms: *size_ms, offset_ms: *offset }
        }
        ("SESSION", [gap_ms]) => WindowKind::Session { gap_ms: *gap_ms },
        _ => return Err(QueryError::new(format!("{name} has {} lengths", lengths.len())).help(forms)),
    };
    match kind {
        WindowKind::Tumble { size_ms, .. } | WindowKind::Session { gap_ms: size_ms } if size_ms <= 0 => {
            Err(QueryError::new(format!("the length of {name} is not above 0")))
        }
        WindowKind::Hop { slide_ms, size_ms, .. } if slide_ms <= 0 || size_ms <= 0 => {
            Err(QueryError::new("a length of HOP is not above 0"))
        }
        WindowKind::Hop { slide_ms, size_ms, .. } if size_ms / slide_ms > OVERLAPS_MAX => {
            Err(QueryError::new(format!(
                "each row would be in {} windows; at most {OVERLAPS_MAX} are allowed",
                size_ms / slide_ms
            ))
            .help("HOP takes the slide first, then the size"))
        }
        WindowKind::Hop { slide_ms, size_ms, .. } if size_ms % slide_ms != 0 => {
            Err(QueryError::new("the size of HOP is not a multiple of its slide")
                .help("HOP takes the slide first, then the size"))
        }
        kind => Ok(kind),
    }
}

fn length(expression: &Expr) -> Result<i64, QueryError> {
    match expression {
        Expr::Interval(interval) => interval::milliseconds(interval)
            .map_err(|message| QueryError::new(message).help("write a length as INTERVAL '30' DAY")),
        other => Err(QueryError::new(format!("{other} is not an interval"))
            .help("write a length as INTERVAL '1' MINUTE")),
    }
}
