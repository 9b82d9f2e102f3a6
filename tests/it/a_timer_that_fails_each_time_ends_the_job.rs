//! A timer that fails is no frame's fault: no frame is given up for it, and the job ends by its restart strategy. One that
//! sets itself again for a time that has come fails.

use std::time::Duration;

use tidegate::{
    Backend, Collected, Collector, Environment, JobError, KeyedContext, KeyedProcessFunction, OperatorError,
    RecordedBatch, RecordedInput, RestartStrategy, Settings, StateError, StateRegistry, TimeDomain,
    Timestamp,
};

/// Sets a timer for each record; when it fires it panics, or sets itself again.
#[derive(Debug, Clone)]
struct Faulty {
    is_endless: bool,
}

impl KeyedProcessFunction<i64, (i64, i64)> for Faulty {
    type Out = (i64, i64);
    type State = ();

    fn open(&mut self, _: &mut StateRegistry) -> Result<(), StateError> {
        Ok(())
    }

    fn process(
        &mut self,
        record: (i64, i64),
        (): &mut (),
        context: &mut KeyedContext<'_, i64>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        context.register_processing_time_timer(context.processing_time() + Duration::from_millis(5));
        out.collect(record);
        Ok(())
    }

    fn on_timer(
        &mut self,
        time: Timestamp,
        _: TimeDomain,
        (): &mut (),
        context: &mut KeyedContext<'_, i64>,
        _: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        assert!(self.is_endless, "cannot bear the timer for {}", time.0);
        context.register_processing_time_timer(time);
        Ok(())
    }
}

fn failure(is_endless: bool) -> String {
    let directory = tempfile::tempdir().unwrap();
    let batch = |stamp_ms| RecordedBatch { stamp_ms, lines: vec!["1 2".to_owned()] };
    let settings = Settings {
        backend: Backend::File { directory: directory.path().to_owned() },
        restart: RestartStrategy::FixedDelay { attempts_max: 5, delay: Duration::from_millis(1) },
        ..Settings::default()
    };
    let environment = Environment::with_settings("faulty", settings);
    environment
        .recorded(RecordedInput::new(vec![batch(0), batch(10)]))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .process(Faulty { is_endless })
        .collect_into(&Collected::new());
    match environment.execute() {
        Err(JobError::RestartsExhausted { failures: 6, cause, .. }) => {
            assert!(!directory.path().join("faulty/dead-letter.jsonl").exists());
            cause.to_string()
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn by_a_panic() {
    assert_eq!(failure(false), "panicked: cannot bear the timer for 5");
}

#[test]
fn by_setting_itself_again() {
    let cause = failure(true);
    assert!(cause.contains("more than 1048576 timers that are due at once"), "{cause}");
}
