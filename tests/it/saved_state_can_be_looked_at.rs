//! `tidegate state` lists, finds and exports what checkpoints and savepoints of every backend hold, and changes nothing.

use std::path::Path;

use tidegate::{
    AfterSavepoint, Backend, Collected, Collector, Environment, JobHandle, KeyedContext,
    KeyedProcessFunction, ListState, ListStateDescriptor, MapState, MapStateDescriptor, OperatorError,
    RecordedBatch, RecordedInput, Settings, StateError, StateRegistry, TextKey, ValueState,
    ValueStateDescriptor,
};

use crate::support::{CheckpointFolder, Ended, files_below, tidegate};

const JOB: &str = "seen";
const KEYS: usize = 40;

/// A type the tools cannot know.
#[derive(Debug, Clone, serde::Serialize, serde::Deserialize)]
struct Own {
    number: u8,
}

#[derive(Debug, Clone, Copy)]
struct Keep;

struct Kept {
    average: ValueState<(i64, Option<f64>)>,
    newest: ListState<i64>,
    names: MapState<u32, String>,
    own: ValueState<Own>,
}

impl KeyedProcessFunction<TextKey, (TextKey, i64)> for Keep {
    type Out = (TextKey, i64);
    type State = Kept;

    fn open(&mut self, states: &mut StateRegistry) -> Result<Kept, StateError> {
        Ok(Kept {
            average: states.value(&ValueStateDescriptor::new("average"))?,
            newest: states.list(&ListStateDescriptor::new("newest").version(3))?,
            names: states.map(&MapStateDescriptor::new("names"))?,
            own: states.value(&ValueStateDescriptor::new("own"))?,
        })
    }

    fn process(
        &mut self,
        (key, value): (TextKey, i64),
        kept: &mut Kept,
        _: &mut KeyedContext<'_, TextKey>,
        out: &mut Collector<'_, Self::Out>,
    ) -> Result<(), OperatorError> {
        kept.average.update((value, Some(0.5)));
        kept.newest.add(value);
        kept.newest.add(-value);
        kept.names.put(&7, format!("\"{value}\""));
        kept.own.update(Own { number: 255 });
        out.collect((key, value));
        Ok(())
    }
}

/// Runs over `keys` keys; takes a savepoint before anything is read.
fn run(backend: Backend, keys: usize, savepoint: Option<&Path>) {
    let settings = Settings { backend, parallelism: 2, ..Settings::default() };
    let environment = Environment::with_settings(JOB, settings);
    let lines = (0..keys).map(|key| format!("sensor-{key} {key}")).collect();
    environment
        .recorded(RecordedInput::new([RecordedBatch { stamp_ms: 5, lines }]))
        .parse::<(TextKey, i64)>()
        .key_by(|(key, _)| key.clone())
        .process(Keep)
        .name("keeper")
        .collect_into(&Collected::new());
    let handle = JobHandle::new();
    let asked =
        savepoint.map(|to| handle.ask_for_savepoint(Some(to.to_owned()), AfterSavepoint::GoOn).unwrap());
    environment.execute_with(&handle).expect("it ends in order");
    if let Some(asked) = asked {
        asked.wait().expect("it is taken");
    }
}

fn state(action: &str, directory: &Path, arguments: &[&str]) -> Ended {
    let fixed = ["state".as_ref(), action.as_ref(), directory.as_os_str()];
    tidegate(fixed.into_iter().chain(arguments.iter().map(|argument| argument.as_ref())))
}

fn value_of(key: usize) -> String {
    format!(
        r#"{{"average":[{key},0.5],"newest":[{key},{}],"names":[[7,"\"{key}\""]],"own":{{"type":"#,
        -i64::try_from(key).unwrap()
    )
}

#[track_caller]
fn assert_seen(directory: &Path) {
    let before = files_below(directory);
    let listed = state("list", directory, &[]).in_order().stdout;
    for text in [
        r#"job "seen""#,
        "readings 40",
        "parallelism 2",
        r#"operator "keeper": keys 40 of type tidegate::state::key::TextKey"#,
        "timers 0",
        r#"state "average": value state of (i64, core::option::Option<f64>) version 1"#,
        r#"state "newest": list state of i64 version 3"#,
        r#"state "names": map state of u32 to alloc::string::String"#,
    ] {
        assert!(listed.contains(text), "{text:?} is not in:\n{listed}");
    }
    let json = state("list", directory, &["--json"]).in_order().stdout;
    assert!(json.contains(r#""keys":40"#) && json.lines().count() == 1, "{json}");
    let exported = state("export", directory, &[]).in_order().stdout;
    assert_eq!(exported.lines().count(), KEYS);
    for key in 0..KEYS {
        let line = exported.lines().find(|line| line.contains(&format!(r#""key":"sensor-{key}","#)));
        let line = line.unwrap_or_else(|| panic!("no key {key} in:\n{exported}"));
        assert!(line.contains(&value_of(key)), "{line}");
        assert!(line.contains("Own") && line.contains(r#""hex":"ff""#), "{line}");
        if key % 13 == 0 {
            let got = state("get", directory, &["--operator", "keeper", "--key", &format!("sensor-{key}")]);
            assert_eq!(got.in_order().stdout.trim_end(), line);
        }
    }
    let by_bytes = state("get", directory, &["--key", "hex:0873656e736f722d31"]).in_order();
    assert!(by_bytes.stdout.contains(r#""key":"sensor-1","#), "{}", by_bytes.stdout);
    let missing = state("get", directory, &["--key", "sensor-99"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (Some(78), ""));
    assert_eq!(state("get", directory, &["--operator", "nobody", "--key", "1"]).code, Some(78));
    assert!(files_below(directory) == before, "looking changes nothing");
}

#[test]
fn of_every_backend_and_of_savepoints() {
    let places = tempfile::tempdir().unwrap();
    let directory = |name: &str| places.path().join(name);
    let backends = [
        Backend::File { directory: directory("file") },
        #[cfg(feature = "sled")]
        Backend::Sled { directory: directory("sled") },
        #[cfg(feature = "rocksdb")]
        Backend::RocksDb { directory: directory("rocksdb") },
    ];
    for backend in backends {
        let data = backend.directory().unwrap().to_owned();
        run(backend.clone(), KEYS, None);
        assert_seen(&data);
        assert_seen(&data.join(JOB));
        let savepoint = data.with_extension("savepoint");
        run(backend, 0, Some(&savepoint));
        assert_seen(&savepoint);
    }
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_that_is_said() {
    let places = tempfile::tempdir().unwrap();
    let data = places.path().join("data");
    run(Backend::File { directory: data.clone() }, KEYS, None);
    run(Backend::File { directory: data.clone() }, KEYS, None);
    let folder = CheckpointFolder::of_job(&data, JOB);
    let newest = folder.manifests().pop().unwrap();
    let mut bytes = std::fs::read(&newest).unwrap();
    bytes[20] ^= 1;
    std::fs::write(&newest, bytes).unwrap();
    let listed = state("list", &data, &[]);
    assert!(listed.stderr.contains("not whole"), "{}", listed.stderr);
    assert!(listed.in_order().stdout.contains("keys 40"));
    for manifest in folder.manifests() {
        std::fs::write(manifest, "").unwrap();
    }
    let none = state("list", &data, &[]);
    assert_eq!((none.code, none.stdout.as_str()), (Some(70), ""), "{}", none.stderr);
    assert_eq!(state("list", places.path(), &[]).code, Some(78));
    assert_eq!(state("list", &places.path().join("nowhere"), &[]).code, Some(73));
}
