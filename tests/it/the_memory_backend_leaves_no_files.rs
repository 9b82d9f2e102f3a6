//! The memory backend keeps its checkpoints on the heap: it works, and leaves nothing in the file system but the lock of
//! the directory it is given for savepoints.

use std::path::Path;

use crate::support::{Demo, LineServer, files_below, send};

fn entries(directory: &Path) -> usize {
    std::fs::read_dir(directory).unwrap().count()
}

#[test]
fn and_only_a_lock_in_the_directory_it_is_given() {
    let home = tempfile::tempdir().unwrap();
    let directory = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let server = LineServer::start();
        let running = Demo::connect(server.address())
            .in_memory()
            .args(["--interval", "10ms"])
            .checkpoint_dir(directory.path())
            .at_home(home.path())
            .start();
        let mut connection = server.accept();
        for count in 1..=3 {
            send(&mut connection, "1 3\n");
            running.wait_for_logs("checkpoint completed", count);
        }
        drop(connection);
        let ended = running.wait().in_order();
        assert_eq!(ended.stdout, "(1,3)\n(1,3)\n", "each start is empty");
        assert_eq!(entries(home.path()), 0);
        let lock = directory.path().join("running-average/LOCK");
        assert_eq!(files_below(directory.path()), [(lock, Vec::new())].into());
    }
}

#[test]
fn the_file_backend_has_a_directory_by_default() {
    let home = tempfile::tempdir().unwrap();
    let results = ["2", "4"].map(|readings| {
        let demo = Demo::new().args(["--sensors", "1", "--rate", "1000", "--readings", readings]);
        demo.at_home(home.path()).run().in_order().stdout.lines().count()
    });
    // The first reading of a key has no average, but after a restart it is not the first.
    assert_eq!(results, [1, 4]);
    let folder = home.path().join(".local/share/tidegate/demo-sensors/running-average");
    assert_eq!(entries(&folder.join("manifests")), 2);
}
