//! Scalar functions, casts, arithmetic and comparisons: kernels over columns.
//!
//! A kernel takes vectors of the types the planner has cast to and gives a column of as many rows. NULL in any
//! argument gives NULL (but for `CONCAT_WS` and `IS DISTINCT FROM`), and a NULL row never fails. A row a kernel has no
//! result for goes to [`Failures`](super::vector::Failures) with its cause; its value in the column means nothing.
//!
//! Results are the same on every processor: transcendental functions are `libm`'s, everything else is exact or
//! rounded as IEEE 754 says.

pub(crate) mod arithmetic;
mod calendar;
pub(crate) mod cast;
pub(crate) mod comparison;
mod decimal_digits;
mod extremum;
mod kernel;
mod like;
mod logarithm;
mod numeric;
mod padding;
mod regexp;
mod registry;
mod rounding;
mod text;
mod text_search;
mod time;
mod time_format;

pub(crate) use calendar::TimeUnit;
#[cfg(test)]
pub(crate) use kernel::TEXT_BYTES_MAX;
pub(crate) use like::{LikePattern, like};
pub(crate) use regexp::check_pattern;
pub(crate) use registry::{ScalarFunction, all, did_you_mean, resolve, widens};
pub(crate) use time::{ceil_timestamp, extract, floor_timestamp, timestamp_add, timestamp_difference};
pub(crate) use time_format::check_date_format;

#[cfg(test)]
mod arithmetic_tests;
#[cfg(test)]
mod cast_tests;
#[cfg(test)]
mod function_tests;
#[cfg(test)]
mod null_tests;
#[cfg(test)]
mod test_values;
