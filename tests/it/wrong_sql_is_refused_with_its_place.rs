//! What is wrong with the SQL of a job file is shown where it stands, with the cause and what to do.
//!
//! `TIDEGATE_BLESS=1` writes what is said now as what is expected.

use std::path::Path;
use std::process::Command;

#[test]
fn each_message_names_the_line_the_cause_and_the_remedy() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/jobs/wrong_sql");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    files.sort();
    assert!(files.len() >= 30, "{} files", files.len());
    for file in files {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["check", &file])
            .current_dir(&folder)
            .env("NO_COLOR", "1")
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{file}: {said}");
        assert!(output.stdout.is_empty(), "{file}: nothing is said as if it were right");
        assert!(said.contains(&format!("--> {file}:")) && said.contains("help: "), "{file}: {said}");
        let expected = folder.join(file.replace(".toml", ".stderr"));
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(&expected, &said).unwrap();
        }
        assert_eq!(said, std::fs::read_to_string(&expected).unwrap(), "{file}");
    }
}
