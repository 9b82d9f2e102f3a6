//! Watermarks of key groups against a plain model: sensors whose clocks are far ahead or behind, on a simulated disk whose power is
//! cut at a random call, again and again, each life with another parallelism.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::column::Column;
use super::format::{Format, OutputFormat};
use super::group_key::GroupKeyBuilder;
use super::job::{QueryJob, QueryOptions, QuerySink, QueryText};
use super::plan::WatermarkPer;
use super::schema::Schema;
use super::source::QuerySource;
use super::sql_type::SqlType;
use crate::disk::{Disk, Random, SimulatedDisk};
use crate::runtime::{
    Backend, JobError, JobHandle, JobReport, JournalSettings, RestartStrategy, Settings, run_on,
};
use crate::sink::SinkSpec;
use crate::source::{Acknowledged, END_OF_INPUT, RecordedBatch, RecordedInput, SourceSpec};
use crate::state::key::KeyEncoder;
use crate::state::{KeyGroup, MaxParallelism};
use crate::stream::Environment;

const SENSORS: u64 = 9;
/// Few, so that some sensors share one.
const GROUPS: u16 = 5;
const SIZE_MS: i64 = 20;
const BOUND_MS: i64 = 6;
const TIMEOUT_MS: i64 = 40;
/// How far the clocks of sensors are apart.
const CLOCKS_MS: [i64; 4] = [0, 1_000_000, -1_000_000, 35];
const SEEDS: u64 = 60;
const LIVES_MAX: usize = 4;
const RESULTS: [&str; 2] = ["/out/results", "/out/late"];

struct Case {
    batches: Vec<RecordedBatch>,
    timeout_ms: Option<i64>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let mut stamp_ms = 10_000_000;
        let mut batches: Vec<RecordedBatch> = (0..10 + random.below(30))
            .map(|_| {
                // Now and then nothing happens for long.
                let pause = if random.below(8) == 0 { 10 * TIMEOUT_MS } else { 10 };
                stamp_ms += random.below(pause.unsigned_abs()).cast_signed();
                let lines = (0..1 + random.below(6)).map(|_| reading(random, stamp_ms)).collect();
                RecordedBatch { stamp_ms, lines }
            })
            .collect();
        batches.push(RecordedBatch { stamp_ms, lines: vec![END_OF_INPUT.to_owned()] });
        let timeout_ms = (random.below(3) > 0).then_some(TIMEOUT_MS);
        Self { batches, timeout_ms }
    }

    /// The rows the job must write, results and late ones, each sorted.
    fn expected(&self) -> [Vec<String>; 2] {
        let mut model = Model::default();
        let mut before = None;
        for batch in &self.batches {
            for line in batch.lines.iter().filter(|line| *line != END_OF_INPUT) {
                let (sensor, time) = line.split_once(' ').unwrap();
                model.row(sensor, time.parse().unwrap());
            }
            let passed = before.map_or(0, |before| batch.stamp_ms - before);
            before = Some(batch.stamp_ms);
            model.end_batch(passed, self.timeout_ms, batch.lines.iter().any(|line| line == END_OF_INPUT));
        }
        let Model { mut results, mut late, .. } = model;
        results.sort();
        late.sort();
        [results, late]
    }
}

fn reading(random: &mut Random, stamp_ms: i64) -> String {
    let sensor = random.below(SENSORS);
    let clock = CLOCKS_MS[usize::try_from(sensor).unwrap() % CLOCKS_MS.len()];
    // Some come later than the bound allows.
    let behind = random.below(3 * BOUND_MS.unsigned_abs()).cast_signed();
    format!("s{sensor} {}", stamp_ms + clock - behind)
}

fn group_of(sensor: &str) -> u16 {
    let mut column = Column::new(SqlType::String);
    column.push_text(Some(sensor));
    let mut builder = GroupKeyBuilder::default();
    builder.clear();
    builder.append(&column, 0);
    let (_, hash) = builder.end(&mut KeyEncoder::new()).unwrap();
    KeyGroup::of(hash, MaxParallelism::new(GROUPS).unwrap()).0
}

/// What is known of each group, and its open windows: rows by start and sensor.
#[derive(Default)]
struct Model {
    groups: BTreeMap<u16, Group>,
    results: Vec<String>,
    late: Vec<String>,
}

#[derive(Default)]
struct Group {
    highest: Option<i64>,
    watermark: Option<i64>,
    silent_ms: i64,
    is_heard: bool,
    open: BTreeMap<(i64, String), usize>,
}

impl Model {
    fn row(&mut self, sensor: &str, time: i64) {
        let group = self.groups.entry(group_of(sensor)).or_default();
        group.is_heard = true;
        group.highest = group.highest.max(Some(time));
        let start = time.div_euclid(SIZE_MS) * SIZE_MS;
        if group.watermark.is_some_and(|watermark| start + SIZE_MS - 1 <= watermark) {
            self.late.push(format!("{sensor} {time}"));
        } else {
            *group.open.entry((start, sensor.to_owned())).or_default() += 1;
        }
    }

    fn end_batch(&mut self, passed_ms: i64, timeout_ms: Option<i64>, is_end: bool) {
        for group in self.groups.values_mut() {
            let step = timeout_ms.map_or(0, |timeout| passed_ms.min(group.silent_ms.max(timeout / 2)));
            group.silent_ms = if std::mem::take(&mut group.is_heard) { 0 } else { group.silent_ms + step };
            let mut watermark = group.highest.map(|highest| highest - BOUND_MS - 1);
            if let (Some(of_rows), Some(((start, _), _))) = (watermark, group.open.last_key_value())
                && timeout_ms.is_some_and(|timeout| group.silent_ms >= timeout)
            {
                watermark = watermark.max(Some((of_rows + group.silent_ms).min(start + SIZE_MS - 1)));
            }
            group.watermark = group.watermark.max(if is_end { Some(i64::MAX) } else { watermark });
            let watermark = group.watermark;
            let is_due = |(start, _): &(i64, String), _: &mut usize| Some(start + SIZE_MS - 1) <= watermark;
            for ((start, sensor), count) in group.open.extract_if(.., is_due) {
                self.results.push(format!("{sensor} {start} {count}"));
            }
        }
    }
}

/// Runs the job on `disk` until its input ends or the power is cut.
fn live(
    disk: &SimulatedDisk,
    case: &Case,
    (watermark_per, parallelism): (WatermarkPer, usize),
    acknowledged: &Arc<Acknowledged>,
) -> Result<JobReport, JobError> {
    let schema = format!(
        "k STRING, t BIGINT, ts AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR ts AS ts - INTERVAL '0.{BOUND_MS:03}' SECOND"
    );
    let mut source = QuerySource::new("readings", Schema::parse("readings", &schema).unwrap(), Format::Text);
    (source.is_file, source.idle_ms) = (true, case.timeout_ms);
    let sql = format!(
        "SELECT k, (UNIX_TIMESTAMP(window_start) * 1000 + EXTRACT(MILLISECOND FROM window_start)) AS s, COUNT(*) AS n \
         FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '0.{SIZE_MS:03}' SECOND)) GROUP BY k, window_start, window_end"
    );
    let options = QueryOptions { watermark_per, ..QueryOptions::default() };
    let query = QueryText { name: "q".to_owned(), sql, options };
    let sink = |from: &str| QuerySink { from: from.to_owned(), format: OutputFormat::Text };
    let job = QueryJob::plan(vec![source], &[query], vec![sink("q"), sink("q.late")])
        .unwrap_or_else(|errors| panic!("{errors:?}"));
    let settings = Settings {
        threads: 1,
        parallelism,
        max_parallelism: MaxParallelism::new(GROUPS).unwrap(),
        batches_in_flight: 3,
        backend: Backend::File { directory: PathBuf::from("/data") },
        journal: Some(JournalSettings {
            segment_bytes: 64 << 10,
            reserve_bytes: 4 << 10,
            ..JournalSettings::default()
        }),
        checkpoint_interval: Duration::from_millis(10),
        restart: RestartStrategy::None,
        ..Settings::default()
    };
    let environment = Environment::with_settings("simulated", settings);
    let input = RecordedInput::new(&case.batches[..]).sent_by("recording", acknowledged);
    let sinks = RESULTS.map(|path| SinkSpec::File(PathBuf::from(path)));
    job.build(&environment, vec![SourceSpec::Recorded(input)], sinks.into());
    let (topology, settings) = environment.build();
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    run_on(&disk, topology, settings, &JobHandle::new())
}

/// What it wrote, sorted; of late rows the sensor and the time.
fn written(disk: &SimulatedDisk) -> [Vec<String>; 2] {
    RESULTS.map(|path| {
        let text = String::from_utf8(disk.content(Path::new(path)).unwrap_or_default()).unwrap();
        let fields = if path == RESULTS[0] { 3 } else { 2 };
        let row = |line: &str| line.split(' ').take(fields).collect::<Vec<_>>().join(" ");
        let mut rows: Vec<String> = text.lines().map(row).collect();
        rows.sort();
        rows
    })
}

#[test]
fn rows_are_those_of_the_model_whenever_the_power_is_cut() {
    let first = std::env::var("TIDEGATE_TEST_SEED").map_or(0, |text| text.parse().unwrap());
    let (mut cuts, mut late) = (0, 0);
    for seed in first..first + SEEDS {
        let mut random = Random(seed);
        let case = Case::random(&mut random);
        let mut disk = SimulatedDisk::new();
        let acknowledged = Arc::default();
        for _ in 0..LIVES_MAX {
            disk.cut_after(random.below(90));
            let with = (WatermarkPer::KeyGroup, 1 + usize::try_from(random.below(3)).unwrap());
            if live(&disk, &case, with, &acknowledged).is_ok() {
                break;
            }
            cuts += 1;
            disk = disk.after_power_cut(&mut random);
        }
        disk.cut_after(u64::MAX);
        let ended = live(&disk, &case, (WatermarkPer::KeyGroup, 2), &acknowledged);
        assert!(ended.is_ok(), "TIDEGATE_TEST_SEED={seed}: {ended:?}");
        let expected = case.expected();
        assert_eq!(written(&disk), expected, "TIDEGATE_TEST_SEED={seed}");
        late += expected[1].len();
    }
    assert!(cuts >= SEEDS && late > 0, "{cuts} cuts in {SEEDS} runs, {late} late rows");
}

#[test]
fn state_of_another_kind_of_watermark_is_refused() {
    let mut random = Random(1);
    let case = Case::random(&mut random);
    let disk = SimulatedDisk::new();
    let acknowledged = Arc::default();
    live(&disk, &case, (WatermarkPer::Source, 1), &acknowledged).unwrap();
    let refused = live(&disk, &case, (WatermarkPer::KeyGroup, 1), &acknowledged).unwrap_err();
    let mut text = String::new();
    let mut error: Option<&dyn std::error::Error> = Some(&refused);
    while let Some(cause) = error {
        text.push_str(&format!("{cause}; "));
        error = cause.source();
    }
    assert!(text.contains("of event time") && text.contains("of the event time of each key group"), "{text}");
}
