//! A savepoint that is missing, damaged or another job's is refused with one line, and nothing is touched.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;

use crate::support::{Demo, LineServer, files_below, tidegate};

#[track_caller]
fn assert_refused(data: &Path, output: &Path, savepoint: &Path, text: &str) {
    let server = LineServer::start();
    let before = (files_below(data), files_below(output.parent().unwrap()));
    let fresh = data.with_file_name("never-made");
    for directory in [data, &fresh] {
        let demo = Demo::connect(server.address()).checkpoint_dir(directory).arg("--output").arg(output);
        let ended = demo.arg("--from-savepoint").arg(savepoint).run();
        assert!(matches!(ended.code, Some(74 | 78)), "the log:\n{}", ended.stderr);
        let errors = ended.logs("error:");
        assert!(errors.len() == 1 && errors[0].contains(text), "{text:?} is not in: {errors:?}");
    }
    assert!(!server.has_another_client(), "it is refused before anything is read");
    assert!(!fresh.exists());
    assert!((files_below(data), files_below(output.parent().unwrap())) == before, "something was changed");
}

#[test]
fn and_nothing_is_touched() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let output = home.path().join("output/results");
    std::fs::create_dir(output.parent().unwrap()).unwrap();
    let good = home.path().join("good");
    let running =
        Demo::listen().journaled("always").checkpoint_dir(&data).arg("--output").arg(&output).start();
    let mut client = TcpStream::connect(running.listening_at()).unwrap();
    client.write_all(b"1 3\n1 5\n").unwrap();
    crate::support::wait_until(
        || output.metadata().is_ok_and(|file| file.len() > 0),
        || "no results".to_owned(),
    );
    let arguments = ["savepoint", "--data-dir", data.to_str().unwrap(), "--to", good.to_str().unwrap()];
    tidegate(arguments).in_order();
    drop(client);
    running.stop().in_order();
    let copy = |name: &str, change: &dyn Fn(&Path)| {
        let copy = home.path().join(name);
        std::fs::create_dir(&copy).unwrap();
        for (path, bytes) in files_below(&good) {
            std::fs::write(copy.join(path.file_name().unwrap()), bytes).unwrap();
        }
        change(&copy);
        copy
    };
    assert_refused(&data, &output, &home.path().join("nowhere"), "no savepoint in");
    assert_refused(&data, &output, &data, "no savepoint in");
    for file in ["savepoint.manifest", "0.part"] {
        let flipped = copy(&format!("flipped-{file}"), &|copy| {
            let mut bytes = std::fs::read(copy.join(file)).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            std::fs::write(copy.join(file), bytes).unwrap();
        });
        assert_refused(&data, &output, &flipped, "cannot be used");
    }
    let cut = copy("cut", &|copy| std::fs::remove_file(copy.join("0.part")).unwrap());
    assert_refused(&data, &output, &cut, "0.part");
    let file = output.clone();
    let long = std::fs::read(&file).unwrap();
    std::fs::write(&file, &long[..1]).unwrap();
    assert_refused(&data, &output, &good, "had 6 at the savepoint");
    std::fs::write(&file, &long).unwrap();
    // Another job's: the library's own.
    let environment = tidegate::Environment::with_settings(
        "another",
        tidegate::Settings {
            start: tidegate::Start::Savepoint(good.clone()),
            ..tidegate::Settings::default()
        },
    );
    let none: [tidegate::RecordedBatch; 0] = [];
    environment
        .recorded(tidegate::RecordedInput::new(none))
        .parse::<(i64, i64)>()
        .key_by(|(key, _)| *key)
        .flat_map(tidegate::ValueStateDescriptor::<i64>::new("avg"), |reading, _, out| out.collect(reading))
        .collect_into(&tidegate::Collected::new());
    let error = environment.execute().expect_err("it is another job's").to_string();
    assert!(error.contains("\"running-average\"") && error.contains("\"another\""), "{error}");
    // And the good one is good.
    let ended = Demo::run_on("1 4\n", |demo| demo.arg("--from-savepoint").arg(&good).checkpoint_dir(&data));
    assert_eq!(ended.stdout, "(1,4)\n");
}
