//! Every profile: that it loads, and that what it says goes together.

use std::collections::BTreeSet;
use std::path::Path;

use super::architecture::Architecture;
use super::catalogue::{GENERIC, names, profile_text, profiles};
use super::{BoardProfile, ChosenBoard, Place};
use crate::config::BackendKind;
use crate::runtime::Settings;

#[test]
fn the_generic_profile_is_the_librarys_default() {
    let (board, library) = (BoardProfile::generic(), Settings::default());
    assert_eq!(board.settings().check(), Ok(()));
    assert_eq!(format!("{:?}", board.settings()), format!("{library:?}"));
    assert_eq!(board.backend(), BackendKind::File);
    assert!(board.is_any_machine());
}

#[test]
fn an_unknown_key_is_refused_with_its_line() {
    for (name, key) in
        [("generic", "batches-in-flight"), ("raspberry-pi-4", "system-memory"), ("rock-3a", "segment")]
    {
        let text = profile_text(name).unwrap();
        let wrong = text.replace(&format!("{key} = "), &format!("{key}s = "));
        let line = wrong.lines().position(|line| line.starts_with(&format!("{key}s"))).unwrap() + 1;
        let message = BoardProfile::from_toml("x.toml", &wrong).unwrap_err().to_string();
        assert!(message.contains(&format!("{key}s")), "{message}");
        assert!(message.contains(&format!("x.toml: TOML parse error at line {line}, column 1")), "{message}");
    }
}

#[test]
fn a_profile_cannot_give_away_what_was_acknowledged() {
    for sync in ["off", "none"] {
        let text = profile_text(GENERIC).unwrap().replace("\"always\"", &format!("{sync:?}"));
        assert!(BoardProfile::from_toml("x.toml", &text).is_err(), "{sync}");
    }
}

#[test]
fn the_catalogue_is_the_folder() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("boards");
    let files = folder.read_dir().unwrap().map(|entry| entry.unwrap().path());
    let there: BTreeSet<String> = files
        .filter(|path| path.extension().is_some_and(|end| end == "toml"))
        .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(there, names().map(str::to_owned).collect());
}

#[test]
fn every_profile_loads_and_goes_together() {
    let mut detected_by = BTreeSet::new();
    assert_eq!(profiles().count(), names().count());
    for (name, profile) in names().zip(profiles()) {
        assert_eq!(profile.name, name);
        for compatible in &profile.compatible {
            assert!(detected_by.insert(compatible.clone()), "{compatible} is in two profiles");
        }
        let settings = profile.settings();
        let backend = profile.backend().at(|| Ok::<_, ()>("/data".into())).unwrap();
        assert_eq!(Settings { backend, ..settings.clone() }.check(), Ok(()), "{name}");
        if name == GENERIC {
            continue;
        }
        let (build, machine) = (profile.build.as_ref().unwrap(), profile.machine.as_ref().unwrap());
        let debian = match build.architecture() {
            Architecture::Aarch64 => "arm64",
            Architecture::Armv7 => "armhf",
            Architecture::Amd64 => "amd64",
        };
        assert_eq!(build.debian_architecture, debian, "{name}");
        assert!(build.rustc_flags.contains(&format!("target-cpu={}", build.cpu)), "{name}");
        assert!(!machine.cpu_features.is_empty(), "{name}");
        // rustc takes the extension for granted in these processors.
        let lacks_aes = !machine.cpu_features.iter().any(|feature| feature == "aes");
        if build.cpu.starts_with("cortex-a") && build.architecture() == Architecture::Aarch64 {
            assert_eq!(lacks_aes, build.rustc_flags.contains("-aes,-sha2"), "{name}");
        }
        // A 32-bit program reads them all.
        assert!(u32::try_from(machine.memory_bytes()).is_ok(), "{name}");
        let memory = ChosenBoard::named(name, Place::Elsewhere).unwrap().memory().unwrap();
        assert!(settings.memory_max.unwrap() <= memory.left() / 2, "{name}: a second job fits beside it");
        assert!(machine.cores.is_none_or(|cores| settings.threads <= cores), "{name}");
    }
}

#[test]
fn each_architecture_has_its_generic_profile() {
    for architecture in [Architecture::Aarch64, Architecture::Armv7, Architecture::Amd64] {
        let profile = BoardProfile::find(architecture.generic_profile()).unwrap();
        assert_eq!(profile.build.unwrap().architecture(), architecture);
        assert!(profile.compatible.is_empty());
    }
}
