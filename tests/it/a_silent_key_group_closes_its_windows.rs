//! With a watermark for each key group and `idle-timeout`, the windows of a sensor that is silent close though no reading comes at all, and
//! its later readings count.

use std::process::Command;

use crate::support::{Demo, LineServer, send};

const JOB: &str = r#"
[job]
name = "silent"

[state]
backend = "file"

[[source]]
name = "readings"
type = "tcp-connect"
address = "127.0.0.1:1"
format = "text"
schema = "sensor STRING, t BIGINT, ts AS TO_TIMESTAMP_LTZ(t, 3), WATERMARK FOR ts AS ts"
idle-timeout = "50ms"

[[query]]
name = "counts"
sql = """
SELECT sensor, COUNT(*) AS readings
FROM TABLE(TUMBLE(TABLE readings, DESCRIPTOR(ts), INTERVAL '0.200' SECOND))
GROUP BY sensor, window_start, window_end
"""
watermark-per = "key-group"

[[sink]]
name = "counts"
from = "counts"
type = "print"
format = "text"
"#;

#[test]
fn though_no_reading_comes() {
    let directory = tempfile::tempdir().unwrap();
    let job = directory.path().join("silent.toml");
    std::fs::write(&job, JOB).unwrap();
    let server = LineServer::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.arg("run").arg(&job);
    command.arg("--set").arg(format!("source.readings.address={}", server.address()));
    command.arg("--set").arg(format!("state.directory={}", directory.path().display()));
    let running = Demo::of(command).start();
    let mut client = server.accept();
    send(&mut client, "cellar 1700000000000\ncellar 1700000000010\nattic 1700000900000\n");
    running.wait_for_outputs(2);
    send(&mut client, "cellar 1700000000200\n");
    running.wait_for_outputs(3);
    let ended = running.stop().in_order();
    let mut counts: Vec<&str> = ended.stdout.lines().collect();
    counts.sort_unstable();
    assert_eq!(counts, ["attic 1", "cellar 1", "cellar 2"]);
    assert_eq!(ended.rejected(), []);
}
