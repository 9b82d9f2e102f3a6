//! The watermark of streams in union is the least of theirs; an idle stream does not count.

use std::time::Duration;

use tidegate::{
    Backend, Collected, Collector, Environment, KeyedContext, KeyedProcessFunction, OperatorError,
    RecordedBatch, RecordedInput, Settings, StateError, StateRegistry, TimeDomain, Timestamp,
    WatermarkStrategy,
};

/// Sets an event-time timer for each record, and tells when it fires: its time, the watermark and the batch's stamp.
#[derive(Debug, Clone)]
struct Passed;

impl KeyedProcessFunction<i64, (i64, i64)> for Passed {
    type Out = (i64, i64, i64);
    type State = ();

    fn open(&mut self, _: &mut StateRegistry) -> Result<(), StateError> {
        Ok(())
    }

    fn process(
        &mut self,
        (_, time): (i64, i64),
        (): &mut (),
        context: &mut KeyedContext<'_, i64>,
        _: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        context.register_event_time_timer(Timestamp(time));
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _: TimeDomain,
        (): &mut (),
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        out.collect((time.0, context.current_watermark().0, context.processing_time().0));
        Ok(())
    }
}

/// Stream 1 keeps its order, stream 2 is up to 5 ms out of order and idle after 100 ms.
fn run(batches: &[(i64, &[&str])], parallelism: usize) -> String {
    let batch = |(stamp_ms, lines): &(i64, &[&str])| RecordedBatch {
        stamp_ms: *stamp_ms,
        lines: lines.iter().map(|line| (*line).to_owned()).collect(),
    };
    let batches: Vec<RecordedBatch> = batches.iter().map(batch).collect();
    let settings = Settings { parallelism, backend: Backend::Memory, journal: None, ..Settings::default() };
    let collected = Collected::new();
    let environment = Environment::with_settings("union", settings);
    let (first, second) = environment.recorded(RecordedInput::new(batches)).parse::<(i64, i64)>().tee();
    let time = |(_, time): &(i64, i64)| Timestamp(*time);
    let first = first
        .filter(|(stream, _)| *stream == 1)
        .assign_timestamps_and_watermarks(WatermarkStrategy::monotonous(), time);
    let bounded = WatermarkStrategy::bounded_out_of_orderness(Duration::from_millis(5));
    let second = second
        .filter(|(stream, _)| *stream == 2)
        .assign_timestamps_and_watermarks(bounded.with_idleness(Duration::from_millis(100)), time);
    first.union(second).key_by(|(stream, _)| *stream).process(Passed).collect_into(&collected);
    environment.execute().unwrap();
    collected.text()
}

#[test]
fn unless_that_is_idle() {
    let batches: [(i64, &[&str]); 5] = [
        (0, &["1 10", "1 20", "2 30"]),
        (50, &["1 100"]),
        (99, &["1 200"]),
        (100, &["1 300"]),
        (101, &["2 290", "1 301"]),
    ];
    // Watermarks: 19, 24 (the second stream's 30 - 5 - 1), 24, 299 (it is idle), and never back.
    let expected = "(10,19,0)\n(20,24,50)\n(30,299,100)\n(100,299,100)\n(200,299,100)\n(290,299,101)\n";
    for parallelism in 1..=3 {
        let mut results: Vec<String> = run(&batches, parallelism).lines().map(str::to_owned).collect();
        if parallelism > 1 {
            // Those of one batch and several subtasks are in the subtasks' order.
            let number = |line: &String| line[1..].split(',').next().unwrap().parse::<i64>().unwrap();
            results.sort_by_key(number);
        }
        assert_eq!(results.join("\n") + "\n", expected, "parallelism {parallelism}");
    }
}
