//! An emulated 64-bit ARM board runs the reference job with its journal on its own disk. Its power is cut in the middle of
//! the readings, and it boots again; then its disk is replaced by an empty one, and it restores from the remote.
//! `make reboot-test` prepares the machine.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::support::{
    Averages, Board, DEVICE, GUEST_PORT, HOST, Kind, PoweredBoard, Random, RemoteServer, field,
    send_carefully, state_hash, tidegate, wait_until_within,
};

const READINGS: usize = 120_000;
const KEYS: usize = 200;
const CUTS: usize = 2;
/// Readings of each life that are durable, at least, when the power is cut.
const LIFE_READINGS: usize = READINGS / 8;
const DISK_BYTES: u64 = 128 << 20;
/// Between two writes of some 60 readings.
const PACE: Duration = Duration::from_millis(10);
/// Longest wait for the readings: an emulated machine, on a busy one.
const DURABLE_MAX: Duration = Duration::from_secs(600);
const KEY: &str = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// Who sends, and how far it is.
#[derive(Default)]
struct Sender {
    durable: AtomicU64,
    is_done: AtomicBool,
}

impl Sender {
    /// Sends `lines` until all are durable, over as many connections as it takes.
    fn send(&self, address: SocketAddr, lines: &[String]) {
        while !self.is_done.load(Ordering::SeqCst) {
            send_carefully(address, "boiler-7", lines, PACE, &self.durable);
        }
    }

    fn durable(&self) -> usize {
        usize::try_from(self.durable.load(Ordering::SeqCst)).expect("few readings")
    }

    fn wait_for(&self, count: usize, board: &PoweredBoard) {
        wait_until_within(
            DURABLE_MAX,
            || self.durable() >= count,
            || format!("{:?} of {count} readings are durable:\n{:#?}", self.durable, board.lines("")),
        );
    }
}

/// Runs the job until a line is typed.
fn script(backend: &str, server: &RemoteServer) -> String {
    let remote = server.uri_at(SocketAddr::from((HOST, server.address().port())));
    let exports = server.environment().into_iter().map(|(name, value)| {
        format!("export {name}='{}'\n", value.into_string().expect("credentials are text"))
    });
    let job = format!(
        "--listen 0.0.0.0:{GUEST_PORT} --ack lines --backend {backend} --journal-sync always --interval 2s \
         --checkpoint-dir /var/lib/tidegate --output /var/lib/tidegate/results \
         --device {DEVICE} --remote-key /tmp/key --remote-interval 0s --remote '{remote}'"
    );
    let exports: String = exports.collect();
    format!(
        "{exports}export HOME=/var/lib/tidegate NO_COLOR=1\n(umask 077; echo {KEY} > /tmp/key)\n\
         tidegate demo {job} &\nread -r _\nkill -TERM $!\nwait $!\necho \"MACHINE job ended with $?\"\n\n"
    )
}

/// The board's disk as a data directory of this machine: its results, and its state's hash by this machine's program.
fn look_at(board: &Board, to: &Path) -> (String, String) {
    std::fs::create_dir(to).unwrap();
    board.copy_from_disk("/", to);
    let results = std::fs::read_to_string(to.join("results")).unwrap();
    let data = to.display().to_string();
    let replayed = tidegate(["replay", "--data-dir", &data]);
    assert_eq!(replayed.code, Some(0), "{}", replayed.stderr);
    (results, state_hash(&replayed))
}

fn an_interrupted_board(backend: &str) {
    let Some(board) = Board::find() else { return };
    let Some(server) = RemoteServer::start(Kind::S3) else { return };
    let mut random = Random::seeded();
    let readings: Vec<_> = (0..READINGS).map(|_| random.reading(KEYS)).collect();
    let lines: Vec<String> = readings.iter().map(|(key, value)| format!("{key} {value}")).collect();
    let script = script(backend, &server);
    let sender = Sender::default();
    let looks = tempfile::tempdir().unwrap();

    board.insert_disk(DISK_BYTES);
    let mut machine = board.boot(&script);
    eprintln!("{backend}: {}", machine.wait_for("MACHINE up", 1).trim());
    std::thread::scope(|scope| {
        let _ends = EndOnDrop(&sender.is_done);
        scope.spawn(|| sender.send(board.address(), &lines));
        for life in 0..CUTS {
            if life == 0 {
                machine.wait_for("checkpoint shipped", 1);
            }
            sender.wait_for(sender.durable() + LIFE_READINGS, &machine);
            machine.cut_power();
            let durable = sender.durable();
            assert!(durable < READINGS, "the cut came too late");
            eprintln!("{backend}: power cut when {durable} of {READINGS} readings were acknowledged");
            machine = board.boot(&script);
            eprintln!("{backend}: {}", machine.wait_for("MACHINE up", 1).trim());
            eprintln!("{backend}: {}", machine.wait_for("restored", 1).trim());
        }
        sender.wait_for(READINGS, &machine);
    });
    machine.type_line("stop");
    eprintln!("{backend}: {}", machine.wait_for("MACHINE job ended", 1).trim());
    machine.wait_until_off();
    let model = Averages::after(&readings);
    let (results, hash) = look_at(&board, &looks.path().join("first"));
    assert!(results == model.outputs, "{} bytes of results, {} expected", results.len(), model.outputs.len());
    eprintln!("{backend}: {} results on the disk, each once; state {hash}", results.lines().count());

    // A new card.
    board.insert_disk(DISK_BYTES);
    let mut machine = board.boot(&script);
    let restored = machine.wait_for("restored", 1);
    eprintln!("{backend}: empty disk: {}", restored.trim());
    let in_state: usize = field(&restored, "readings").parse().unwrap();
    assert!(in_state >= CUTS * LIFE_READINGS, "{restored}");
    let lost = READINGS - in_state;
    // The sender has what was acknowledged behind the checkpoint no more: it goes on with new ones.
    let more: Vec<_> = (0..KEYS * 2).map(|_| random.reading(KEYS)).collect();
    let mut model = Averages::after(&readings[..in_state]).without_outputs();
    model.add_all(&more);
    let lines: Vec<String> =
        readings[..in_state].iter().chain(&more).map(|(key, value)| format!("{key} {value}")).collect();
    let sender = Sender::default();
    std::thread::scope(|scope| {
        let _ends = EndOnDrop(&sender.is_done);
        scope.spawn(|| sender.send(board.address(), &lines));
        sender.wait_for(lines.len(), &machine);
    });
    machine.type_line("stop");
    machine.wait_for("MACHINE job ended", 1);
    machine.wait_until_off();
    let (results, hash) = look_at(&board, &looks.path().join("second"));
    assert_eq!(results, model.outputs);
    eprintln!(
        "{backend}: {lost} readings lost with the disk; {} new results are right; state {hash}",
        results.lines().count()
    );
}

/// Lets the sender end, also when the scenario fails.
struct EndOnDrop<'a>(&'a AtomicBool);

impl Drop for EndOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn with_state_in_files() {
    an_interrupted_board("file");
}

#[cfg(feature = "rocksdb")]
#[test]
fn with_state_in_rocksdb() {
    an_interrupted_board("rocksdb");
}
