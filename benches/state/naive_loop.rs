//! What RocksDB gives without a cache of decoded rows: one get, one decoding, one encoding and one put a reading.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rocksdb::{Cache, DB, Env, Options, WriteOptions};

/// Readings that are measured, after as many keys were put in.
const READINGS: usize = 500_000;
/// The engine's share for blocks and write buffers at the bench's `--memory-max`.
const CACHE_BYTES: usize = 384 << 20;

/// Readings a second.
pub(crate) fn measure(data: &[u8]) -> f64 {
    let directory = tempfile::tempdir().unwrap();
    let cache = Cache::new_lru_cache(CACHE_BYTES);
    let options_file = engine_options(directory.path());
    let env = Env::new().unwrap();
    let (mut options, _) = Options::load_latest(options_file.parent().unwrap(), env, true, cache).unwrap();
    options.create_if_missing(true);
    options.set_error_if_exists(false);
    let database = DB::open(&options, directory.path().join("naive")).unwrap();
    let mut write = WriteOptions::default();
    write.disable_wal(true);
    for key in 0..super::KEYS {
        put(&database, &write, i64::try_from(key).unwrap(), (1, 1));
    }
    let mut results = String::new();
    let start = Instant::now();
    for line in data.split(|byte| *byte == b'\n').take(READINGS) {
        let line = std::str::from_utf8(line).unwrap();
        let (key, value) = line.split_once(' ').unwrap();
        let (key, value): (i64, i64) = (key.parse().unwrap(), value.parse().unwrap());
        let encoded = postcard::to_stdvec(&key).unwrap();
        let found = database.get_pinned(&encoded).unwrap();
        let (count, sum): (i64, i64) = found.map_or((0, 0), |found| postcard::from_bytes(&found).unwrap());
        let state = (count + 1, sum + value);
        put(&database, &write, key, state);
        results.clear();
        std::fmt::Write::write_fmt(&mut results, format_args!("({key},{})\n", state.1 / state.0)).unwrap();
        std::hint::black_box(&results);
    }
    READINGS as f64 / start.elapsed().as_secs_f64()
}

fn put(database: &DB, write: &WriteOptions, key: i64, state: (i64, i64)) {
    let (key, state) = (postcard::to_stdvec(&key).unwrap(), postcard::to_stdvec(&state).unwrap());
    database.put_opt(&key, &state, write).unwrap();
}

/// A copy of the options file of an engine's database, in a folder of its own.
fn engine_options(directory: &Path) -> PathBuf {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut child = super::engine("rocksdb", directory)
        .arg("--connect")
        .arg(listener.local_addr().unwrap().to_string())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let copy = loop {
        if let Some(found) = find_options(&directory.join("checkpoints")) {
            let folder = directory.join("options");
            std::fs::create_dir_all(&folder).unwrap();
            let to = folder.join(found.file_name().unwrap());
            std::fs::copy(&found, &to).unwrap();
            break to;
        }
        assert!(Instant::now() < until, "the engine's database has no options file");
        std::thread::sleep(Duration::from_millis(20));
    };
    child.kill().unwrap();
    child.wait().unwrap();
    copy
}

fn find_options(directory: &Path) -> Option<PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let is_options = entry
            .file_name()
            .to_str()
            .is_some_and(|name| name.starts_with("OPTIONS-") && !name.ends_with("dbtmp"));
        if is_options {
            return Some(path);
        }
        if path.is_dir()
            && let Some(found) = find_options(&path)
        {
            return Some(found);
        }
    }
    None
}
