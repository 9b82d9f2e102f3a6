//! Boards are listed, shown and detected; a job takes the defaults of its board, and one that cannot run there or has no room is
//! refused with the numbers.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::support::{Demo, LineServer, send, tidegate};

/// Refused for a setting.
const CONFIGURATION: i32 = 78;

fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn job() -> String {
    repository("config/running-average.toml").display().to_string()
}

/// A board whose programs do not run here.
fn foreign() -> &'static str {
    if cfg!(target_arch = "x86_64") { "raspberry-pi-4" } else { "generic-amd64" }
}

/// The profile that fits any machine of this architecture.
fn native() -> &'static str {
    match std::env::consts::ARCH {
        "aarch64" => "generic-aarch64",
        "arm" => "generic-armv7",
        _ => "generic-amd64",
    }
}

/// A copy of what the kernel says of a machine.
fn machine(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = tempfile::tempdir().unwrap();
    for (path, text) in files {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    root
}

#[test]
fn every_board_is_listed_and_shown() {
    let listed = tidegate(["board", "list"]).in_order().stdout;
    for file in repository("boards").read_dir().unwrap().map(|entry| entry.unwrap().path()) {
        if file.extension().is_none_or(|end| end != "toml") {
            continue;
        }
        let name = file.file_stem().unwrap().to_str().unwrap();
        assert!(listed.lines().any(|line| line.split(' ').next() == Some(name)), "{name} in {listed}");
    }
    let shown = tidegate(["board", "show", "raspberry-pi-4"]).in_order().stdout;
    let profile = std::fs::read_to_string(repository("boards/raspberry-pi-4.toml")).unwrap();
    assert!(shown.starts_with(profile.trim_end()), "{shown}");
    assert!(shown.contains("# memory at most 256MiB\n#        12MiB  code, stacks, allocator\n"), "{shown}");
    let shown = tidegate(["board", "show", "beaglebone-black", "--json"]).in_order().stdout;
    let shown: Value = serde_json::from_str(&shown).unwrap();
    assert_eq!(shown["build"]["target"], "armv7-unknown-linux-gnueabihf");
    assert_eq!(
        (&shown["machine"]["cores"], &shown["defaults"]["journal_sync"]),
        (&1.into(), &"100ms".into())
    );
    let objects = tidegate(["board", "list", "--json"]).in_order().stdout;
    assert_eq!(objects.lines().count(), listed.lines().count());
    assert!(objects.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()));
}

#[test]
fn a_board_is_detected_by_its_device_tree() {
    let detect = |root: &Path, more: &[&str]| {
        let root = root.to_str().unwrap();
        tidegate(["board", "detect", "--root", root].iter().chain(more)).in_order().stdout
    };
    let pi = machine(&[
        ("proc/sys/kernel/arch", "aarch64\n"),
        ("proc/device-tree/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
        ("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.4\0"),
        ("proc/meminfo", "MemTotal:        8121344 kB\n"),
        ("proc/cpuinfo", "processor\t: 0\nprocessor\t: 1\nprocessor\t: 2\nprocessor\t: 3\n"),
    ]);
    assert_eq!(
        detect(pi.path(), &[]),
        "raspberry-pi-4\n  because the device tree says \"raspberrypi,4-model-b\"\n  it calls itself \"Raspberry Pi 4 Model B Rev \
         1.4\"\n  it has 7.7GiB of memory, the profile 1GiB: jobs may have a larger memory-max\n"
    );
    let found: Value = serde_json::from_str(&detect(pi.path(), &["--json"])).unwrap();
    assert_eq!((&found["board"], &found["machine"]["cores"]), (&"raspberry-pi-4".into(), &4.into()));
    let unknown = machine(&[
        ("proc/sys/kernel/arch", "armv7l\n"),
        ("proc/device-tree/compatible", "allwinner,sun8i-h3\0"),
    ]);
    let said = detect(unknown.path(), &[]);
    assert!(
        said.starts_with("generic-armv7\n  because the device tree says \"allwinner,sun8i-h3\", which no"),
        "{said}"
    );
    // A device tree alone is enough. The kernel's link to it is absolute, and leads elsewhere below another root.
    let bare = machine(&[
        ("sys/firmware/devicetree/base/compatible", "raspberrypi,4-model-b\0brcm,bcm2711\0"),
        ("elsewhere/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0"),
    ]);
    std::fs::create_dir(bare.path().join("proc")).unwrap();
    std::os::unix::fs::symlink(bare.path().join("elsewhere"), bare.path().join("proc/device-tree")).unwrap();
    let said = detect(bare.path(), &[]);
    assert!(
        said.starts_with("raspberry-pi-4\n  because the device tree says \"raspberrypi,4-model-b\""),
        "{said}"
    );
    let linked = machine(&[
        ("elsewhere/compatible", "raspberrypi,5-model-b\0brcm,bcm2712\0"),
        ("proc/meminfo", "MemTotal: 9 kB\n"),
    ]);
    std::os::unix::fs::symlink(linked.path().join("elsewhere"), linked.path().join("proc/device-tree"))
        .unwrap();
    assert!(detect(linked.path(), &[]).starts_with("generic\n"));
    // What would be refused there is said, also of a machine whose architecture is not known.
    let tree = ("proc/device-tree/compatible", "raspberrypi,4-model-b\0");
    let said = detect(machine(&[tree, ("proc/sys/kernel/osrelease", "4.9.0\n")]).path(), &[]);
    assert!(said.contains("the kernel is 4.9, but"), "{said}");
    let old = machine(&[
        ("proc/device-tree/compatible", "raspberrypi,4-model-b\0"),
        ("proc/sys/kernel/osrelease", "4.9.0\n"),
        ("proc/cpuinfo", "processor\t: 0\nFeatures\t: fp asimd\nCPU architecture: 8\n"),
    ]);
    let said = detect(old.path(), &[]);
    for said_of_it in [
        "no job of this board runs on it: the kernel is 4.9, but the board raspberry-pi-4 needs 4.19 or newer",
        "no job of this board runs on it: the processor lacks crc32, which programs for the board raspberry-pi-4 use",
    ] {
        assert!(said.contains(said_of_it), "{said}");
    }
    let nowhere = machine(&[]);
    let refused = tidegate(["board", "detect", "--root", nowhere.path().to_str().unwrap()]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(CONFIGURATION), ""));
    // Whatever this machine is, it is something.
    let here = tidegate(["board", "detect"]).in_order().stdout;
    assert!(here.contains("\n  because "), "{here}");
}

#[test]
fn a_board_that_this_machine_is_not_is_refused_but_can_be_checked_for_elsewhere() {
    let job = job();
    let refused = tidegate(["check", &job, "--board", foreign()]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(CONFIGURATION), ""));
    assert!(refused.stderr.starts_with("error: this program is for "), "{}", refused.stderr);
    assert!(refused.stderr.contains(&format!("1 | --board {}\n", foreign())), "{}", refused.stderr);
    assert!(refused.stderr.contains("--elsewhere"), "{}", refused.stderr);
    let refused = tidegate(["run", &job, "--board", foreign()]);
    assert_eq!((refused.code, refused.stdout.as_str()), (Some(CONFIGURATION), ""));
    let refused = tidegate(["demo", "--board", foreign()]);
    assert_eq!(refused.code, Some(CONFIGURATION));
    assert_eq!(refused.stderr.lines().count(), 1, "{}", refused.stderr);
    let checked = tidegate(["check", &job, "--board", "beaglebone-black", "--elsewhere"]).in_order();
    let board = "board beaglebone-black\n  BeagleBone Black, also Wireless\n  512MiB of memory, of which the system keeps \
                 160MiB: 352MiB are left for jobs\n";
    assert!(checked.stdout.contains(board), "{}", checked.stdout);
    let plan = "memory at most 128MiB\n       12MiB  code, stacks, allocator\n        1MiB  batches: 8 under way, 32KiB each";
    assert!(checked.stdout.contains(plan), "{}", checked.stdout);
    assert!(checked.stdout.ends_with("\nok\n") && checked.stderr.is_empty(), "{}", checked.stdout);
    // Samples run anywhere.
    let samples = repository("config/samples/running-average.txt");
    let flags = ["--input", samples.to_str().unwrap(), "--board", foreign()];
    tidegate(["test", &job].iter().chain(&flags)).in_order();
}

#[test]
fn what_no_board_is_called_and_what_does_not_fit_is_refused() {
    let job = job();
    for arguments in [
        vec!["check", &job, "--board", "raspberry-pi4"],
        vec!["board", "show", "raspberry-pi4"],
        vec!["demo", "--board", "raspberry-pi4"],
    ] {
        let refused = tidegate(&arguments);
        assert_eq!((refused.code, refused.stdout.as_str()), (Some(CONFIGURATION), ""), "{arguments:?}");
        assert!(refused.stderr.contains("did you mean"), "{arguments:?}: {}", refused.stderr);
    }
    let set = ["--elsewhere", "--board", "beaglebone-black", "--set", "job.memory-max=500MiB"];
    let refused = tidegate(["check", &job].iter().chain(&set));
    assert_eq!(refused.code, Some(CONFIGURATION));
    let said = "memory-max is 500MiB, but the board beaglebone-black leaves 352MiB: it has 512MiB, of which the system keeps \
                160MiB";
    assert!(refused.stderr.contains(said), "{}", refused.stderr);
    let refused = tidegate(["demo", "--board", native(), "--memory-max", "100000GiB", "--backend", "memory"]);
    assert_eq!(refused.code, Some(CONFIGURATION));
    assert!(refused.stderr.contains("error: memory-max is 100000GiB, but the board "), "{}", refused.stderr);
}

#[test]
fn a_small_processor_and_too_much_memory_are_said() {
    let job = job();
    let check = |set: &[&str]| tidegate(["check", &job].iter().chain(set));
    let small = ["--elsewhere", "--board", "generic-armv7", "--set", "board.memory=16GiB"];
    let refused = check(&[&small[..], &["--set", "job.memory-max=15GiB"]].concat());
    assert_eq!(refused.code, Some(CONFIGURATION));
    assert!(refused.stderr.contains("and a 32-bit program may have 2GiB"), "{}", refused.stderr);
    check(&[&small[..], &["--set", "job.memory-max=2GiB", "--set", "journal.max=1000GiB"]].concat())
        .in_order();
    let large = ["--elsewhere", "--board", "raspberry-pi-4", "--set", "board.memory=8GiB"];
    let doubted = check(&[&large[..], &["--set", "job.memory-max=6500MiB"]].concat()).in_order();
    assert!(
        doubted.stdout.contains("warning: memory-max is 6.3GiB, but the service tidegate@ is ended at 75 %"),
        "{}",
        doubted.stdout
    );
    let doubted = check(&["--set", "job.memory-max=100000GiB"]).in_order();
    assert!(doubted.stdout.contains("warning: memory-max is 100000GiB, but th"), "{}", doubted.stdout);
}

#[test]
fn a_job_runs_with_the_defaults_of_its_board() {
    let directory = tempfile::tempdir().unwrap();
    let server = LineServer::start();
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(["run", &job(), "--board", native()]);
    command.arg("--set").arg(format!("source.readings.address={}", server.address()));
    command.arg("--set").arg(format!("state.directory={}", directory.path().display()));
    let running = Demo::of(command).start();
    let mut client = server.accept();
    send(&mut client, "1 3\n1 5\n");
    running.wait_for_outputs(1);
    let ended = running.stop().in_order();
    assert_eq!(ended.stdout, "(1,4)\n");
    assert!(ended.log("starting on a board").contains(native()), "{}", ended.stderr);
}
