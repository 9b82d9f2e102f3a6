//! Where an operator puts its results.

/// Results one input record may produce; more is a fault of the operator, which panics.
pub(crate) const RESULTS_PER_RECORD_MAX: usize = 65_536;

/// Collects an operator's results, in order.
#[derive(Debug)]
pub struct Collector<'a, T> {
    out: &'a mut Vec<T>,
    limit: usize,
}

impl<'a, T> Collector<'a, T> {
    pub(crate) fn new(out: &'a mut Vec<T>) -> Self {
        let limit = out.len() + RESULTS_PER_RECORD_MAX;
        Self { out, limit }
    }

    /// Starts the next input record.
    #[inline]
    pub(crate) fn next_record(&mut self) {
        self.limit = self.out.len() + RESULTS_PER_RECORD_MAX;
    }

    /// Results so far, of all records.
    pub(crate) fn count(&self) -> usize {
        self.out.len()
    }

    /// Adds a result.
    ///
    /// # Panics
    /// When one input record produces more than 65,536 results: memory is bounded for any input.
    #[inline]
    pub fn collect(&mut self, result: T) {
        assert!(self.out.len() < self.limit, "an operator emitted more than 65,536 results for one record");
        self.out.push(result);
    }
}
