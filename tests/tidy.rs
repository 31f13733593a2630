//! The rules of `ARCHITECTURE.md` that a machine can check: who imports whom, where `unsafe` may stand, who may
//! print, and that every file says what it is for.

use std::fs;
use std::path::{Path, PathBuf};

const CRATES: [&str; 6] = ["network", "kernels", "engine", "collective", "adamant", "cli"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("the cli crate lies two folders below the root")
        .to_path_buf()
}

/// Every Rust file below `folder`, in a fixed order: its name from the root, and its text.
fn rust_files(folder: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_path_buf()];
    while let Some(next) = pending.pop() {
        for entry in fs::read_dir(&next).unwrap_or_else(|e| panic!("{}: {e}", next.display())) {
            let path = entry.expect("a readable entry").path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
                let name = path.strip_prefix(root()).expect("below the root").display().to_string();
                found.push((name, text));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty(), "{} holds no Rust file", folder.display());
    found
}

fn sources(krate: &str) -> Vec<(String, String)> {
    rust_files(&root().join("crates").join(krate).join("src"))
}

/// Lines of code before a file's unit tests, with their numbers: tests and comments may name anything.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let library = text.split("#[cfg(test)]").next().unwrap_or(text);
    let lines = library.lines().enumerate();
    lines.map(|(number, line)| (number + 1, line.split("//").next().unwrap_or("")))
}

fn forbid(rule: &str, files: &[(String, String)], words: &[&str]) {
    let mut found = Vec::new();
    for (name, text) in files {
        for (number, line) in code_lines(text) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{name}:{number}: {}", line.trim()));
            }
        }
    }
    assert!(found.is_empty(), "{rule}:\n{}", found.join("\n"));
}

#[test]
fn crates_depend_only_downwards() {
    let allowed: [(&str, &[&str]); 6] = [
        ("network", &[]),
        ("kernels", &[]),
        ("collective", &[]),
        ("engine", &["network", "kernels"]),
        ("adamant", &["network", "engine", "kernels", "collective"]),
        ("cli", &["adamant", "network", "engine", "collective"]),
    ];
    for (krate, may) in allowed {
        let path = root().join("crates").join(krate).join("Cargo.toml");
        let manifest = fs::read_to_string(&path).expect("a manifest");
        let after = manifest.split("[dependencies]").nth(1).unwrap_or("");
        let dependencies = after.split("\n[").next().unwrap_or(after);
        for other in CRATES {
            let mut names =
                dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next());
            let depends = names.any(|name| name == other);
            assert!(!depends || may.contains(&other), "{krate} must not depend on {other}");
        }
    }
}

#[test]
fn attacks_know_a_victim_and_nothing_behind_it() {
    let attacks = rust_files(&root().join("crates/adamant/src/attack"));
    let forbidden = ["engine::", "network::", "crate::objective", "crate::train", "crate::victim"];
    forbid("an attack must not import the engine, the network or objectives", &attacks, &forbidden);
}

#[test]
fn reports_render_and_neither_compute_nor_read() {
    let reports = rust_files(&root().join("crates/adamant/src/report"));
    let words = [
        "engine::",
        "network::",
        "crate::attack",
        "crate::victim",
        "crate::objective",
        "std::fs",
        "rayon",
    ];
    forbid("report renders what others found", &reports, &words);
}

#[test]
fn unsafe_stands_only_in_kernels() {
    for krate in CRATES.into_iter().filter(|&krate| krate != "kernels") {
        let main = if krate == "cli" { "main.rs" } else { "lib.rs" };
        let path = root().join("crates").join(krate).join("src").join(main);
        let text = fs::read_to_string(&path).expect("a crate root");
        assert!(text.contains("#![forbid(unsafe_code)]"), "{krate} does not forbid unsafe code");
    }
}

#[test]
fn each_unsafe_block_says_why_it_is_sound() {
    for (name, text) in sources("kernels") {
        let lines: Vec<&str> = text.lines().collect();
        for (number, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or("");
            if code.contains("unsafe {") {
                let before = &lines[number.saturating_sub(6)..=number];
                let argued = before.iter().any(|l| l.contains("SAFETY"));
                assert!(argued, "{name}:{}: unsafe block without a SAFETY argument", number + 1);
            }
        }
    }
}

#[test]
fn libraries_do_not_print_or_exit() {
    let words = ["println!", "eprintln!", "print!(", "dbg!", "process::exit"];
    for krate in CRATES.into_iter().filter(|&krate| krate != "cli") {
        forbid("only the binary prints", &sources(krate), &words);
    }
}

/// The files through which time enters a library: figures about a run, never its results.
const CLOCKS: [&str; 1] = ["crates/adamant/src/train/run.rs"];

#[test]
fn only_the_run_record_reads_the_clock() {
    for krate in CRATES.into_iter().filter(|&krate| krate != "cli") {
        let mut files = sources(krate);
        files.retain(|(name, _)| !CLOCKS.contains(&name.as_str()));
        forbid("only the run record reads the clock", &files, &["Instant::now", "SystemTime::now"]);
    }
}

#[test]
fn only_the_trainer_absorbs_moments() {
    let mut files: Vec<_> = ["engine", "adamant", "cli"].into_iter().flat_map(sources).collect();
    files.retain(|(name, _)| !name.starts_with("crates/adamant/src/train/"));
    forbid("only the trainer absorbs moments (T2)", &files, &[".absorb("]);
}

#[test]
fn every_source_file_opens_with_what_it_is_for() {
    for (name, text) in CRATES.into_iter().flat_map(sources) {
        assert!(text.starts_with("//!"), "{name} does not open with a //! sentence");
    }
}

#[test]
fn no_source_file_holds_two_ideas() {
    for (name, text) in CRATES.into_iter().flat_map(sources) {
        let lines = text.lines().count();
        assert!(lines <= 600, "{name} has {lines} lines: are there two ideas in it?");
    }
}

#[test]
fn nothing_unfinished_is_left_in_the_sources() {
    let words = ["todo!(", "unimplemented!(", "FIXME", "#[ignore"];
    for krate in CRATES {
        forbid("no stub, no ignored test", &sources(krate), &words);
    }
}

#[test]
fn ci_runs_the_very_test_command_of_the_readme() {
    let readme = fs::read_to_string(root().join("README.md")).expect("README.md");
    let ci = fs::read_to_string(root().join(".ci/run")).expect(".ci/run");
    let command = "cargo test --release --workspace";
    assert!(readme.contains(command), "README.md does not name `{command}`");
    assert!(ci.contains(command), ".ci/run does not call `{command}`");
}

#[test]
fn links_between_the_documents_lead_somewhere() {
    for document in ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "PAPER.md"] {
        let path = root().join(document);
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{document}: {e}"));
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") {
                continue;
            }
            assert!(root().join(path).exists(), "{document} links to {path}, which is absent");
        }
    }
}
