//! Studies through the binary: a grid is run once, goes on where it was, and its page needs only its records.

use assert_cmd::Command;
use serde_json::Value;
use std::fs;
use std::path::Path;

fn study(folder: &Path, arguments: &[&str]) -> std::process::Output {
    let output = Command::cargo_bin("adamant")
        .unwrap()
        .current_dir(folder)
        .args(["study"])
        .args(arguments)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{arguments:?}: {told}");
    output
}

fn convolution(run: &Path) -> Vec<u8> {
    let bytes = fs::read(run.join("last.safetensors")).unwrap();
    let model = safetensors::SafeTensors::deserialize(&bytes).unwrap();
    let mut filters: Vec<(String, Vec<u8>)> = model
        .tensors()
        .into_iter()
        .filter(|(_, tensor)| tensor.shape().len() == 4)
        .map(|(name, tensor)| (name, tensor.data().to_vec()))
        .collect();
    filters.sort();
    filters.into_iter().flat_map(|(_, values)| values).collect()
}

#[test]
fn a_study_ends_in_a_page_is_not_run_twice_and_is_rendered_from_its_records_alone() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    study(here, &["filters", "--quick"]);
    let out = here.join("runs/studies/filters-quick");
    let page = fs::read_to_string(out.join("study.md")).unwrap();
    assert!(page.contains("4 of 4 cells, 1 seeds") && page.contains("**undecided**"), "{page}");
    assert!(fs::read_to_string(out.join("quick-arms.svg")).unwrap().starts_with("<svg"));
    let json: Value = serde_json::from_slice(&fs::read(out.join("study.json")).unwrap()).unwrap();
    assert_eq!((&json["cells"], &json["findings"][0]["seeds"]), (&4.into(), &1.into()));

    // Filters stay those of the arm that a cell begins with; whoever learns everything moves them.
    let run = |arm: &str| out.join(format!("cells/quick.{arm}.seed-0"));
    assert_eq!(convolution(&run("adversarial")), convolution(&run("adversarial-filters")));
    assert_eq!(convolution(&run("standard")), convolution(&run("standard-filters")));
    assert_ne!(convolution(&run("standard")), convolution(&run("adversarial")));

    // Again: nothing is trained. With a record lost: what was judged stays judged.
    let told = study(here, &["filters", "--quick"]);
    let told = String::from_utf8_lossy(&told.stderr).into_owned();
    assert!(!told.contains("cell 1 of"), "{told}");
    let lost = out.join("results/quick.standard-filters.seed-0.json");
    let record = |text: &[u8]| -> Value {
        let record: Value = serde_json::from_slice(text).unwrap();
        record["evaluations"].clone()
    };
    let before = record(&fs::read(&lost).unwrap());
    fs::remove_file(&lost).unwrap();
    let told = study(here, &["filters", "--quick"]);
    assert!(String::from_utf8_lossy(&told.stderr).contains("cell 4 of 4"));
    assert_eq!(record(&fs::read(&lost).unwrap()), before);

    // The records alone give the same page elsewhere.
    let elsewhere = tempfile::tempdir().unwrap();
    let results = out.join("results").display().to_string();
    study(
        elsewhere.path(),
        &["filters", "--quick", "--render", "--results", &results, "--out", "page"],
    );
    let again = fs::read_to_string(elsewhere.path().join("page/study.md")).unwrap();
    let figures = |page: &str| page.split("## quick").next().unwrap().to_string();
    assert_eq!(figures(&again), figures(&page));
}

#[test]
fn the_table_of_the_papers_claims_is_what_the_committed_results_say() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("PAPER.md");
    fs::copy(root.join("PAPER.md"), &copy).unwrap();
    study(&root, &["--paper", copy.to_str().unwrap()]);
    let text = fs::read_to_string(&copy).unwrap();
    let committed = fs::read_to_string(root.join("PAPER.md")).unwrap();
    let stale: Vec<&str> =
        committed.lines().filter(|line| !text.lines().any(|own| own == *line)).collect();
    assert!(
        text == committed,
        "PAPER.md is older than studies/results: run adamant study --paper PAPER.md\n{stale:#?}"
    );
    assert!(text.contains("| [C20](#c20) |"), "{text}");
}

#[test]
fn a_name_that_does_not_exist_is_wrong_usage_and_lists_those_that_do() {
    for (arguments, expected) in [
        (&["study", "depht"][..], "clean-fraction"),
        (&["study", "depth", "--regime", "mnist"], "fashion-0.1"),
        (&["study", "depth", "--set", "attack.step=3"], "attack.steps"),
        (&["study"], "--list"),
    ] {
        let output = Command::cargo_bin("adamant").unwrap().args(arguments).output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{told}");
        assert!(told.contains(expected), "{told}");
    }
}
