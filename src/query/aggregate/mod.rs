//! Aggregates: what a query computes of the rows of a group.
//!
//! An [`Aggregate`] is a call as planned; an [`Accumulator`] is what state keeps of a group for it. NULL arguments are
//! skipped; of no value `COUNT` and `APPROX_COUNT_DISTINCT` are 0, all others NULL.

mod accumulator;
mod call;
mod distinct;
mod double_sum;
mod hyperloglog;
mod moments;
mod quantile_sketch;
mod text_list;
mod value_bytes;

pub(crate) use accumulator::Accumulator;
pub(crate) use call::{Aggregate, all, is_aggregate, literal_count};

#[cfg(test)]
pub(crate) use distinct::DISTINCT_VALUES_MAX;
#[cfg(test)]
pub(crate) use text_list::LIST_BYTES_MAX;

#[cfg(test)]
mod aggregate_tests;
