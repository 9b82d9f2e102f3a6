//! Operators of queries: they work on columns, where those of the typed streams work on records.

mod aggregate;
mod calc;
mod encode;
mod keyed;
mod over;
mod rejected;
mod rows;
mod scan;
mod to_keys;
mod union;
mod window;

pub(crate) use aggregate::ContinuousAggregate;
pub(crate) use calc::CalcOperator;
pub(crate) use encode::EncodeRows;
pub(crate) use keyed::{KeyedRowFunction, KeyedRows};
pub(crate) use over::Over;
pub(crate) use rows::Side;
pub(crate) use scan::Scan;
pub(crate) use to_keys::{KeyedRowsPart, ToKeys};
pub(crate) use union::{ToUnion, UnionRows};
pub(crate) use window::WindowAggregate;
