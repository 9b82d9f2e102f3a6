//! Aggregate calls: which there are, and what they take and give.
//!
//! | call | of | gives |
//! |---|---|---|
//! | `COUNT(*)`, `COUNT(x)`, `COUNT(DISTINCT x)`, `COUNT(DISTINCT x, y)` | any | `BIGINT` |
//! | `SUM(x)` | `BIGINT`, `DECIMAL` | `DECIMAL` |
//! | `SUM(x)`, `AVG(x)` | `DOUBLE` | `DOUBLE` |
//! | `AVG(x)` | `BIGINT`, `DECIMAL` | the same, cut off toward zero, as in Flink: `AVG(CAST(x AS DOUBLE))` keeps the fraction |
//! | `MIN(x)`, `MAX(x)`, `FIRST_VALUE(x)`, `LAST_VALUE(x)` | any | the same |
//! | `VAR_POP(x)`, `VAR_SAMP(x)`, `STDDEV_POP(x)`, `STDDEV_SAMP(x)` | `DOUBLE` | `DOUBLE`; NULL for a sample of one |
//! | `APPROX_COUNT_DISTINCT(x)` | any | `BIGINT`, standard error 2.3 % |
//! | `APPROX_PERCENTILE(x, p)` | `DOUBLE` | `DOUBLE` within 1 % |
//! | `LISTAGG(x)`, `LISTAGG(x, separator)` | `STRING` | `STRING`, with a comma when the separator is left out |
//! | `MIN_BY(x, y)`, `MAX_BY(x, y)` | any | x of the row where y is least or greatest, the first such |
//!
//! `SUM` and `AVG` take `DISTINCT`; for `MIN` and `MAX` it changes nothing. A row with a NULL among several values of `COUNT(DISTINCT …)` does not count.
//! `VARIANCE` is `VAR_SAMP`, `STDDEV` is `STDDEV_SAMP`. `FIRST_VALUE`, `LAST_VALUE` and `LISTAGG` go by arrival.

use serde::{Deserialize, Serialize};

use crate::query::datum::Datum;
use crate::query::function::{did_you_mean, widens};
use crate::query::sql_type::SqlType;

use super::moments::Spread;

/// An aggregate call as planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Aggregate {
    pub(super) function: AggregateFunction,
    argument_types: Vec<SqlType>,
    returns: SqlType,
}

/// What an aggregate computes, with its literal parameters.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) enum AggregateFunction {
    Count,
    CountDistinct,
    Sum,
    Average,
    Minimum,
    Maximum,
    First,
    Last,
    Spread(Spread),
    ApproximateCountDistinct,
    /// 0.0..=1.0
    ApproximatePercentile(f64),
    /// With the separator.
    List(String),
    MinimumBy,
    MaximumBy,
    SumDistinct,
    AverageDistinct,
}

/// One row of the aggregates' documentation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct AggregateLine {
    pub(crate) name: &'static str,
    /// As `COUNT(*) | COUNT(x)`.
    pub(crate) forms: &'static str,
    pub(crate) about: &'static str,
}

const fn line(name: &'static str, forms: &'static str, about: &'static str) -> AggregateLine {
    AggregateLine { name, forms, about }
}

const LINES: [AggregateLine; 18] = [
    line(
        "APPROX_COUNT_DISTINCT",
        "APPROX_COUNT_DISTINCT(x)",
        "The number of distinct values, within some 2 %.",
    ),
    line(
        "APPROX_PERCENTILE",
        "APPROX_PERCENTILE(number, literal from 0 to 1)",
        "The value below which that share of the values lies, within 1 %.",
    ),
    line("AVG", "AVG(number) | AVG(DISTINCT number)", "The mean; of whole numbers a whole number, cut off."),
    line(
        "COUNT",
        "COUNT(*) | COUNT(x) | COUNT(DISTINCT x, …)",
        "The number of rows, values, or distinct values.",
    ),
    line("FIRST_VALUE", "FIRST_VALUE(x)", "The value that came first."),
    line("LAST_VALUE", "LAST_VALUE(x)", "The value that came last."),
    line(
        "LISTAGG",
        "LISTAGG(STRING) | LISTAGG(STRING, literal separator)",
        "The texts one behind the other, with a comma or the separator between.",
    ),
    line("MAX", "MAX(x)", "The greatest value."),
    line("MAX_BY", "MAX_BY(x, y)", "The x of the row with the greatest y."),
    line("MIN", "MIN(x)", "The least value."),
    line("MIN_BY", "MIN_BY(x, y)", "The x of the row with the least y."),
    line("STDDEV", "STDDEV(number)", "The standard deviation of a sample; as STDDEV_SAMP."),
    line("STDDEV_POP", "STDDEV_POP(number)", "The standard deviation of all values."),
    line("STDDEV_SAMP", "STDDEV_SAMP(number)", "The standard deviation of a sample; NULL of one value."),
    line("SUM", "SUM(number) | SUM(DISTINCT number)", "The sum."),
    line("VARIANCE", "VARIANCE(number)", "The variance of a sample; as VAR_SAMP."),
    line("VAR_POP", "VAR_POP(number)", "The variance of all values."),
    line("VAR_SAMP", "VAR_SAMP(number)", "The variance of a sample; NULL of one value."),
];

/// Every aggregate, by name.
pub(crate) fn all() -> Vec<AggregateLine> {
    LINES.to_vec()
}

/// True when there is an aggregate of this name, in any case.
pub(crate) fn is_aggregate(name: &str) -> bool {
    LINES.iter().any(|line| line.name.eq_ignore_ascii_case(name))
}

/// How many of the arguments of a call, the last ones, have to be literals: they are parameters of the aggregate.
pub(crate) fn literal_count(name: &str, arguments: usize) -> usize {
    let has_literal = ["LISTAGG", "APPROX_PERCENTILE"].iter().any(|of| of.eq_ignore_ascii_case(name));
    usize::from(has_literal && arguments > 1)
}

impl Aggregate {
    /// The aggregate of this name (in any case) for arguments of these types (`None` is an untyped NULL; none at all is
    /// `*`) and these literals behind them.
    ///
    /// # Errors
    /// A text for the user: there is no such aggregate, or it takes other arguments or parameters.
    pub(crate) fn resolve(
        name: &str,
        arguments: &[Option<SqlType>],
        distinct: bool,
        parameters: &[Datum],
    ) -> Result<Self, String> {
        let Some(line) = LINES.iter().find(|line| line.name.eq_ignore_ascii_case(name)) else {
            let near = did_you_mean(&name.to_ascii_uppercase(), LINES.iter().map(|line| line.name));
            return Err(format!("there is no aggregate {name}{near}"));
        };
        let name = line.name;
        let refusal = || {
            let given: Vec<String> = arguments
                .iter()
                .map(|argument| argument.map_or("NULL".into(), |of| of.to_string()))
                .chain(parameters.iter().map(|parameter| format!("{parameter:?}")))
                .collect();
            format!("{name}({}) is not defined; its forms are {}", given.join(", "), line.forms)
        };
        let function = function(name, arguments.len(), parameters).ok_or_else(refusal)?;
        let function = match (function, distinct) {
            (AggregateFunction::Count, true) if !arguments.is_empty() => AggregateFunction::CountDistinct,
            // The least of the distinct values is that of all.
            (AggregateFunction::Minimum, true) => AggregateFunction::Minimum,
            (AggregateFunction::Maximum, true) => AggregateFunction::Maximum,
            (AggregateFunction::Sum, true) => AggregateFunction::SumDistinct,
            (AggregateFunction::Average, true) => AggregateFunction::AverageDistinct,
            (_, true) => {
                return Err(format!("{name} does not take DISTINCT; COUNT, SUM, AVG, MIN and MAX do"));
            }
            (AggregateFunction::Count, false) if arguments.len() > 1 => return Err(refusal()),
            (function, false) => function,
        };
        let argument_types = argument_types(&function, arguments).ok_or_else(refusal)?;
        let returns = returns(&function, argument_types.first().copied());
        Ok(Self { function, argument_types, returns })
    }

    /// The types the planner casts the arguments to.
    pub(crate) fn argument_types(&self) -> &[SqlType] {
        &self.argument_types
    }

    /// True when a row can fail for it.
    pub(crate) fn can_fail(&self) -> bool {
        use AggregateFunction as F;
        let argument = self.argument_types.first();
        match self.function {
            // 2^64 rows of 64 bits are below 2^127.
            F::Sum | F::Average => argument != Some(&SqlType::BigInt),
            F::Spread(_) | F::CountDistinct | F::SumDistinct | F::AverageDistinct | F::List(_) => true,
            _ => false,
        }
    }

    /// True when it takes rows with [`Accumulator::add_row`](super::Accumulator::add_row).
    pub(crate) fn counts_rows(&self) -> bool {
        matches!(self.function, AggregateFunction::Count)
    }

    /// True when it takes rows with [`Accumulator::add_double`](super::Accumulator::add_double).
    pub(crate) fn takes_doubles(&self) -> bool {
        use AggregateFunction as F;
        matches!(self.function, F::Sum | F::Average | F::Minimum | F::Maximum)
            && self.argument_types == [SqlType::Double]
    }

    /// The type of the result.
    pub(crate) fn returns(&self) -> SqlType {
        self.returns
    }
}

fn function(name: &str, arguments: usize, parameters: &[Datum]) -> Option<AggregateFunction> {
    use AggregateFunction as F;
    Some(match (name, arguments, parameters) {
        // Of several only the distinct ones.
        ("COUNT", _, []) => F::Count,
        ("SUM", 1, []) => F::Sum,
        ("AVG", 1, []) => F::Average,
        ("MIN", 1, []) => F::Minimum,
        ("MAX", 1, []) => F::Maximum,
        ("FIRST_VALUE", 1, []) => F::First,
        ("LAST_VALUE", 1, []) => F::Last,
        ("VAR_POP", 1, []) => F::Spread(Spread::VariancePopulation),
        ("VAR_SAMP" | "VARIANCE", 1, []) => F::Spread(Spread::VarianceSample),
        ("STDDEV_POP", 1, []) => F::Spread(Spread::DeviationPopulation),
        ("STDDEV_SAMP" | "STDDEV", 1, []) => F::Spread(Spread::DeviationSample),
        ("APPROX_COUNT_DISTINCT", 1, []) => F::ApproximateCountDistinct,
        ("APPROX_PERCENTILE", 1, [Datum::Double(share)]) if (0.0..=1.0).contains(share) => {
            F::ApproximatePercentile(*share)
        }
        ("APPROX_PERCENTILE", 1, [Datum::BigInt(share @ (0 | 1))]) => {
            F::ApproximatePercentile(if *share == 0 { 0.0 } else { 1.0 })
        }
        ("LISTAGG", 1, []) => F::List(",".to_owned()),
        ("LISTAGG", 1, [Datum::String(separator)]) => F::List(separator.to_string()),
        ("MIN_BY", 2, []) => F::MinimumBy,
        ("MAX_BY", 2, []) => F::MaximumBy,
        _ => return None,
    })
}

/// The types to cast arguments of these types to, when they can be.
fn argument_types(function: &AggregateFunction, arguments: &[Option<SqlType>]) -> Option<Vec<SqlType>> {
    use AggregateFunction as F;
    let any = |argument: &Option<SqlType>| Some(argument.unwrap_or(SqlType::BigInt));
    let only =
        |argument: &Option<SqlType>, to: SqlType| argument.is_none_or(|from| widens(from, to)).then_some(to);
    arguments
        .iter()
        .map(|argument| match function {
            F::Sum | F::Average | F::SumDistinct | F::AverageDistinct => {
                any(argument).filter(|of| of.is_numeric())
            }
            F::Spread(_) | F::ApproximatePercentile(_) => only(argument, SqlType::Double),
            F::List(_) => only(argument, SqlType::String),
            F::Count
            | F::CountDistinct
            | F::Minimum
            | F::Maximum
            | F::First
            | F::Last
            | F::ApproximateCountDistinct
            | F::MinimumBy
            | F::MaximumBy => any(argument),
        })
        .collect()
}

fn returns(function: &AggregateFunction, argument: Option<SqlType>) -> SqlType {
    use AggregateFunction as F;
    let argument = argument.unwrap_or(SqlType::BigInt);
    match function {
        F::Count | F::CountDistinct | F::ApproximateCountDistinct => SqlType::BigInt,
        F::Sum | F::SumDistinct if argument == SqlType::BigInt => SqlType::Decimal,
        F::Spread(_) | F::ApproximatePercentile(_) => SqlType::Double,
        F::List(_) => SqlType::String,
        F::Sum
        | F::Average
        | F::SumDistinct
        | F::AverageDistinct
        | F::Minimum
        | F::Maximum
        | F::First
        | F::Last
        | F::MinimumBy
        | F::MaximumBy => argument,
    }
}
