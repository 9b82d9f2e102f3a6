//! Clauses of SQL that there are not, each with what to write instead.

use sqlparser::ast::{Query, Select, Spanned};
use sqlparser::tokenizer::Span;

/// A clause around the SELECTs that is not supported: where it is, its name, what to do.
pub(super) fn clause_of_query(query: &Query) -> Option<(Span, &'static str, &'static str)> {
    if let Some(with) = &query.with {
        return Some((with.span(), "WITH", "make it a [[query]] of its own and read that by its name"));
    }
    if let Some(order_by) = &query.order_by {
        let help =
            "results leave in the order of their rows; a stream has no end at which it could be sorted";
        return Some((order_by.span(), "ORDER BY", help));
    }
    let is_limited = query.limit_clause.is_some() || query.fetch.is_some();
    is_limited.then(|| (query.span(), "LIMIT", "a stream does not end; filter with WHERE instead"))
}

/// A clause of a SELECT that is not supported: its name, what to do.
pub(super) fn clause_of_select(select: &Select) -> Option<(&'static str, &'static str)> {
    let clauses = [
        (
            select.distinct.is_some(),
            "DISTINCT",
            "keep the first row of a key with ROW_NUMBER() OVER (PARTITION BY key ORDER BY time) and WHERE … = 1 around it",
        ),
        (select.top.is_some(), "TOP", "a stream does not end; filter with WHERE instead"),
        (select.into.is_some(), "INTO", "a [[sink]] names the query it takes"),
        (!select.lateral_views.is_empty(), "LATERAL VIEW", "docs/sql.md lists what there is"),
        (select.qualify.is_some(), "QUALIFY", "put the query in FROM of another and filter there with WHERE"),
        (!select.named_window.is_empty(), "WINDOW", "write the OVER clause out"),
        (
            !select.sort_by.is_empty() || !select.cluster_by.is_empty() || !select.distribute_by.is_empty(),
            "SORT BY",
            "GROUP BY and PARTITION BY choose the key",
        ),
    ];
    clauses.into_iter().find(|(is_there, ..)| *is_there).map(|(_, clause, help)| (clause, help))
}
